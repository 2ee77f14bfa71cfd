"""The columns of somebody's table of predictions: whether a slate fits into them, and the load that fits them.

BigQuery compares the modes of a load twice: those of the job's schema with the table's, and those of the file with
the schema. A job without a schema takes the file's, and of Parquet it then reads every column as one that may be NULL,
which cannot be appended to a REQUIRED one, whatever the file says (googleapis/python-bigquery #1981). With the table's
own schema only a column that is REQUIRED in the file alone is refused (#10 there). So the job carries the table's own
columns, and the file demands nothing, as Google's library does it with a DataFrame.

The parameters of a type, the 5 and 2 of NUMERIC(5, 2), go with them: a load whose schema leaves them out takes them
off the table (GoogleCloudDataproc/spark-bigquery-connector #550).
"""

import io
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from google.cloud import bigquery

from nba_ml.contract.errors import SlateError
from nba_ml.slates.served_table import COLUMNS, add_columns, create_table

_DIGITS = {"over_probability": (1, 4), "confidence_score": (3, 2)}
"""Digits before and after the point that a column's values have, where they are not two and two."""

_NUMERIC = (38, 9)
"""Precision and scale of a NUMERIC without parameters."""

_SENT = ("name", "type", "mode", "precision", "scale", "maxLength")
"""What a load's schema says of a column, as the API names it."""

_SPELT = {"BOOLEAN": "BOOL", "INTEGER": "INT64"}
"""BigQuery's older names, as its API gives them."""


def require_columns(name: str, schema: Sequence[bigquery.SchemaField]) -> None:
    """Pass silently for a table that takes a slate's rows.

    Each column has the type that `served_table` names. A BIGNUMERIC could hold the values too, and is refused: decimals
    of a Parquet file with so few digits become NUMERIC by BigQuery's rule, which is then not the table's type.

    Args:
        name: the table's, quoted, for the message.

    Raises:
        SlateError: a column is missing, of another type, too narrow, or demanded and unknown here; says how to mend it.
    """
    found = {field.name: _SPELT.get(field.field_type, field.field_type) for field in schema}
    missing = [column.name for column in COLUMNS if column.name not in found]
    if missing:
        raise SlateError(
            f"{name} lacks {len(missing)} of the {len(COLUMNS)} columns that a slate fills: {', '.join(missing)}. Add "
            f"them: {add_columns(name, missing)}. The slate is kept: the same command then writes it."
        )
    fields = {field.name: field for field in schema}
    other = [f"{c.name} is {found[c.name]}, {c.type} is due" for c in COLUMNS if found[c.name] != c.type]
    for column in COLUMNS:
        field = fields[column.name]
        if column.type == found[column.name] == "NUMERIC":
            other += _too_narrow(field)
        if column.nullable and field.mode == "REQUIRED":
            other.append(f"{column.name} is REQUIRED, and is NULL in some rows")
    other += [f"{name} is REQUIRED, and no slate has it" for name in _unknown(schema)]
    if other:
        raise SlateError(
            f"{name} cannot take a slate: {'; '.join(other)}. Alter those columns, or name another table in "
            f"NBA_ML_PREDICTION_TABLE, made so: {create_table(name)}. The slate is kept: the same command then writes "
            "it."
        )


def load_schema(schema: Sequence[bigquery.SchemaField]) -> list[bigquery.SchemaField]:
    """The columns of a table that a slate fills, as a load names them: type with its parameters, and mode.

    Descriptions and policy tags stay away: whoever loads need not be allowed to set them.
    """
    ours = {column.name for column in COLUMNS}
    columns = (field.to_api_repr() for field in schema if field.name in ours)
    return [bigquery.SchemaField.from_api_repr({n: column[n] for n in _SENT if n in column}) for column in columns]


def load_file(rows: pa.Table, schema: Sequence[bigquery.SchemaField]) -> io.BytesIO:
    """A slate's rows (`served_table.SCHEMA`) as a Parquet file for a load with that schema.

    Every column may be NULL in it. A decimal has the digits of a column that has parameters, rounded as BigQuery
    rounds what has more: a line of 20.125, half away from zero.
    """
    digits = {field.name: _precision_and_scale(field) for field in schema if field.precision is not None}
    columns = {}
    for name, values in zip(rows.column_names, rows.columns, strict=True):
        columns[name] = values
        if name in digits:
            precision, scale = digits[name]
            columns[name] = pc.round(values, scale, "half_towards_infinity").cast(pa.decimal128(precision, scale))
    data = io.BytesIO()
    pq.write_table(pa.table(columns), data, compression="zstd")
    return data


def _too_narrow(field: bigquery.SchemaField) -> list[str]:
    precision, scale = _precision_and_scale(field)
    before, after = _DIGITS.get(field.name, (2, 2))
    found = []
    if scale < after:
        found.append(f"{field.name} keeps {scale} decimals, {after} are due")
    if precision - scale < before:
        found.append(f"{field.name} keeps {precision - scale} digits before the point, {before} are due")
    return found


def _precision_and_scale(field: bigquery.SchemaField) -> tuple[int, int]:
    """Of a NUMERIC: NUMERIC(5) is one of 5 digits and no decimals."""
    if field.precision is None:
        return _NUMERIC
    return int(field.precision), int(field.scale or 0)


def _unknown(schema: Sequence[bigquery.SchemaField]) -> list[str]:
    """Columns that every row must have and no slate has."""
    known = {column.name for column in COLUMNS}
    return [field.name for field in schema if field.mode == "REQUIRED" and field.name not in known]
