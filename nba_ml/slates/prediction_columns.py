"""Checks that a predictions table can take a slate, and prepares the load.

BigQuery compares column modes twice: the job's schema with the table's, and the file's with the job's. A job without a
schema uses the file's. It reads every Parquet column as nullable, which cannot be appended to a REQUIRED column
(googleapis/python-bigquery #1981). With the table's schema, only a column that is REQUIRED in the file alone is
rejected (#10 there). So the job uses the table's columns and all columns of the file are nullable, as in Google's
library for DataFrames.

The schema also needs type parameters, like those of NUMERIC(5, 2): a load without them removes them from the table
(GoogleCloudDataproc/spark-bigquery-connector #550).
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
"""Column -> digits before and after the decimal point. The default is 2 and 2."""

_NUMERIC = (38, 9)
"""Default precision and scale of NUMERIC."""

_SENT = ("name", "type", "mode", "precision", "scale", "maxLength")
"""API names of the column properties in a load's schema."""

_SPELT = {"BOOLEAN": "BOOL", "INTEGER": "INT64"}
"""Older type names that BigQuery's API returns."""


def require_columns(name: str, schema: Sequence[bigquery.SchemaField]) -> None:
    """Do nothing if the table can take a slate's rows.

    Each column must have its type in `served_table`. BIGNUMERIC is rejected, because BigQuery reads Parquet decimals
    with few digits as NUMERIC, which does not match the table.

    Args:
        name: quoted name of the table, for the message.

    Raises:
        SlateError: a column is missing, has another type, is too narrow, or is required but unknown.
    """
    found = {field.name: _SPELT.get(field.field_type, field.field_type) for field in schema}
    missing = [column.name for column in COLUMNS if column.name not in found]
    if missing:
        raise SlateError(
            f"{name} lacks {len(missing)} of the {len(COLUMNS)} columns of a slate: {', '.join(missing)}. Add "
            f"them: {add_columns(name, missing)}. The slate is stored: then run the same command again."
        )
    fields = {field.name: field for field in schema}
    faults = [f"{c.name} is {found[c.name]}, expected {c.type}" for c in COLUMNS if found[c.name] != c.type]
    for column in COLUMNS:
        field = fields[column.name]
        if column.type == found[column.name] == "NUMERIC":
            faults += _too_narrow(field)
        if column.nullable and field.mode == "REQUIRED":
            faults.append(f"{column.name} is REQUIRED but NULL in some rows")
    faults += [f"{name} is REQUIRED but not a column of slates" for name in _unknown(schema)]
    if faults:
        raise SlateError(
            f"{name} cannot take a slate: {'; '.join(faults)}. Alter these columns, or set NBA_ML_PREDICTION_TABLE to "
            f"a new table: {create_table(name)}. The slate is stored: then run the same command again."
        )


def load_schema(schema: Sequence[bigquery.SchemaField]) -> list[bigquery.SchemaField]:
    """The table's columns that a slate fills, for a load: type with parameters, and mode.

    Leaves out descriptions and policy tags, which would need more permissions.
    """
    known = {column.name for column in COLUMNS}
    columns = (field.to_api_repr() for field in schema if field.name in known)
    return [bigquery.SchemaField.from_api_repr({n: column[n] for n in _SENT if n in column}) for column in columns]


def load_file(rows: pa.Table, schema: Sequence[bigquery.SchemaField]) -> io.BytesIO:
    """A slate's rows (`served_table.SCHEMA`) as a Parquet file for a load with `schema`.

    All columns are nullable. Decimals are rounded to the column's parameters as BigQuery does: half away from zero, for
    example a line of 20.125.
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
        found.append(f"{field.name} has {scale} decimals, needs {after}")
    if precision - scale < before:
        found.append(f"{field.name} has {precision - scale} digits before the point, needs {before}")
    return found


def _precision_and_scale(field: bigquery.SchemaField) -> tuple[int, int]:
    """Precision and scale of a NUMERIC. NUMERIC(5) has 5 digits and no decimals."""
    if field.precision is None:
        return _NUMERIC
    return int(field.precision), int(field.scale or 0)


def _unknown(schema: Sequence[bigquery.SchemaField]) -> list[str]:
    """Required columns that slates do not have."""
    known = {column.name for column in COLUMNS}
    return [field.name for field in schema if field.mode == "REQUIRED" and field.name not in known]
