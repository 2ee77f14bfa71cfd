"""A slate in one transaction, for a table of predictions without a column that holds the slate's id.

Such a table cannot tell a slate's rows from others, so the rows cannot be loaded first and activated later. One job
deactivates the active rows of the same players, games and systems, and inserts the slate's rows as they stay. BigQuery
runs a job's id only once, and a transaction has its effect completely or not at all.
"""

from collections.abc import Sequence
from datetime import date

import pyarrow as pa
from google.cloud import bigquery

from nba_ml.slates.prediction_columns import TableFit
from nba_ml.slates.prediction_rows import COLUMNS
from nba_ml.slates.slate import SERVED

_KEY = ("player_lookup", "game_id", "system_id")
"""A date has one active row for each of these."""

_TYPES = {
    column.name: bigquery.ScalarQueryParameterType(column.type)  # type: ignore[no-untyped-call]
    for column in COLUMNS
}


def with_activity(rows: pa.Table, *, is_current: bool) -> pa.Table:
    """A slate's rows (`TableFit.rows`), the served ones active if the slate is the version that counts."""
    roles = rows.column("role").to_pylist() if "role" in rows.column_names else [SERVED] * rows.num_rows
    active = pa.array([is_current and role == SERVED for role in roles], pa.bool_())
    return rows.set_column(rows.schema.get_field_index("is_active"), "is_active", active)


def parameters_of(
    day: date, rows: pa.Table, replaced: Sequence[pa.Table]
) -> list[bigquery.ScalarQueryParameter | bigquery.ArrayQueryParameter]:
    """The parameters of all statements here.

    Args:
        rows: the slate's rows.
        replaced: the rows of the date's other versions too, since a player who left the slate must not stay active.
    """
    keys = {"|".join(key) for each in replaced for key in zip(*(each[name].to_pylist() for name in _KEY), strict=True)}
    types = [_TYPES[name].with_name(name) for name in rows.column_names]
    structs = [
        bigquery.StructQueryParameter(
            None, *(bigquery.ScalarQueryParameter(name, _TYPES[name], value) for name, value in row.items())
        )
        for row in rows.to_pylist()
    ]
    struct = bigquery.StructQueryParameterType(*types)  # type: ignore[no-untyped-call]  # a slate may have no rows
    return [
        bigquery.ScalarQueryParameter("day", "DATE", day),
        bigquery.ArrayQueryParameter("replaced", "STRING", sorted(keys)),
        bigquery.ArrayQueryParameter("rows", struct, structs),
    ]


def replace_rows(fit: TableFit) -> str:
    """The transaction."""
    columns = ", ".join(fit.fields)
    return (
        f"BEGIN TRANSACTION; UPDATE {fit.name} SET is_active = FALSE {_replaced()}; "
        f"INSERT INTO {fit.name} ({columns}) SELECT {', '.join(f'slate.{name}' for name in fit.fields)} "
        "FROM UNNEST(@rows) AS slate; COMMIT TRANSACTION"
    )


def count_replaced(fit: TableFit) -> str:
    """How many rows the transaction would deactivate."""
    return f"SELECT COUNT(*) AS n FROM {fit.name} {_replaced()}"


def count_written(fit: TableFit) -> str:
    """How many of the slate's rows the table has: the same prediction, as active as it should be."""
    same = " AND ".join(f"written.{name} = slate.{name}" for name in (*_KEY, "predicted_points", "is_active"))
    key = ", '|', ".join(f"slate.{name}" for name in _KEY)
    return (
        f"SELECT COUNT(DISTINCT CONCAT({key})) AS n FROM {fit.name} AS written "
        f"INNER JOIN UNNEST(@rows) AS slate ON {same} WHERE written.game_date = @day"
    )


def _replaced() -> str:
    key = ", '|', ".join(_KEY)
    return f"WHERE game_date = @day AND is_active AND CONCAT({key}) IN UNNEST(@replaced)"
