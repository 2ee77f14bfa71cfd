"""The columns of BigQuery's `player_prop_predictions` that a slate fills, and a slate as rows of them.

The one place that names them: the writer, its complaints about a table, and the documentation read it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pyarrow as pa

from nba_ml.contract.digest import bytes_digest
from nba_ml.slates.slate import Slate


@dataclass(frozen=True, slots=True)
class Column:
    """A column: BigQuery's type, whether it may be NULL, and what it holds."""

    name: str
    type: str
    nullable: bool
    holds: str


COLUMNS = (
    Column("prediction_id", "STRING", False, "names the row: version of the slate, player and side, as 32 hex digits"),
    Column("system_id", "STRING", False, "xgboost_v1, catboost_v8, moving_average or mock"),
    Column("model_version", "STRING", False, "the model id"),
    Column("model_type", "STRING", False, "xgboost, catboost, rule or mock"),
    Column("model_sha256", "STRING", True, "digest of the very model; NULL for a rule"),
    Column("feature_version", "STRING", False, "v2_33features"),
    Column("player_lookup", "STRING", False, "the player, in the feature store's canonical form"),
    Column("universal_player_id", "STRING", True, "as the feature store has it"),
    Column("game_date", "DATE", False, "date of the game; the table's partition"),
    Column("game_id", "STRING", False, "the game"),
    Column("predicted_points", "NUMERIC", False, "0 to 60, two decimals"),
    Column("points_low", "NUMERIC", True, "low end of the 80% interval; NULL for a system without one"),
    Column("points_high", "NUMERIC", True, "high end of the 80% interval"),
    Column("over_probability", "NUMERIC", True, "0 to 1; NULL without a line or an interval"),
    Column("confidence_score", "NUMERIC", True, "0 to 100; NULL for a system without an interval"),
    Column("current_points_line", "NUMERIC", True, "the points line; NULL without one"),
    Column("line_margin", "NUMERIC", True, "prediction minus line"),
    Column("recommendation", "STRING", False, "OVER, UNDER, PASS or NO_LINE"),
    Column("side", "STRING", False, "champion or challenger"),
    Column("role", "STRING", False, "served or shadow"),
    Column("is_active", "BOOL", False, "TRUE for the one served row of a player in the version that counts"),
    Column("channel_serial", "INT64", False, "state of the channel that said who serves"),
    Column("slate_version", "INT64", False, "number of the slate's version, from 1"),
    Column("slate_id", "STRING", False, "date, version and digest of the slate"),
    Column("created_at", "TIMESTAMP", False, "when it was scored"),
)

_ARROW: Mapping[str, pa.DataType] = {
    "STRING": pa.string(),
    "DATE": pa.date32(),
    "NUMERIC": pa.decimal128(15, 6),
    "BOOL": pa.bool_(),
    "INT64": pa.int64(),
    "TIMESTAMP": pa.timestamp("us", tz="UTC"),
}

SCHEMA = pa.schema([pa.field(each.name, _ARROW[each.type], nullable=each.nullable) for each in COLUMNS])


def create_table(table: str) -> str:
    """The statement that makes the table (its name quoted), partitioned by date, which every query must name."""
    columns = ", ".join(f"{c.name} {c.type}{'' if c.nullable else ' NOT NULL'}" for c in COLUMNS)
    return (
        f"CREATE TABLE {table} ({columns}) PARTITION BY game_date CLUSTER BY player_lookup, system_id "
        "OPTIONS (require_partition_filter = TRUE)"
    )


def add_columns(table: str, names: list[str]) -> str:
    """The statement that adds columns to a table (its name quoted). New columns of BigQuery may be NULL."""
    added = ", ".join(f"ADD COLUMN {column.name} {column.type}" for column in COLUMNS if column.name in names)
    return f"ALTER TABLE {table} {added}"


def columns_table() -> str:
    """The columns as a Markdown table, for the documentation."""
    lines = [f"| `{c.name}` | {c.type} | {'yes' if c.nullable else 'no'} | {c.holds} |" for c in COLUMNS]
    return "\n".join(["| column | type | NULL | holds |", "|---|---|---|---|", *lines])


def served_rows(slate: Slate, number: int, slate_id: str) -> pa.Table:
    """A slate as rows of the table, in `SCHEMA`. NaN is NULL.

    None is active yet: the rows of a version become so all at once, and those of the one before it cease in the same
    statement, once all of them are there.

    Args:
        number, slate_id: of the version.
    """
    rows = [
        {
            **row,
            "model_sha256": row["model_sha256"] or None,
            "prediction_id": bytes_digest(f"{slate_id}|{row['player_lookup']}|{row['side']}".encode())[:32],
            "is_active": False,
            "slate_version": number,
            "slate_id": slate_id,
        }
        for row in slate.table.to_pylist()
    ]
    columns = {
        field.name: pa.array([_value(row[field.name], field.type) for row in rows], field.type) for field in SCHEMA
    }
    return pa.table(columns, schema=SCHEMA)


def _value(value: Any, kind: pa.DataType) -> Any:
    """A number as an exact decimal: through its text, since a binary fraction is not the number that was published."""
    if not pa.types.is_decimal(kind) or value is None:
        return value
    return None if math.isnan(value) else Decimal(f"{value:.6f}")
