"""How a slate fits into a predictions table: what is filled, rounded, left out, and refused; and the load.

The platform's table has had several forms, so a few columns are required and the others are filled where they exist.

BigQuery compares column modes twice: the job's schema with the table's, and the file's with the job's. A job without a
schema uses the file's. It reads every Parquet column as nullable, which cannot be appended to a REQUIRED column
(googleapis/python-bigquery #1981). With the table's schema, only a column that is REQUIRED in the file alone is
rejected (#10 there). So the job uses the table's columns and all columns of the file are nullable, as in Google's
library for DataFrames.

The schema also needs type parameters, like those of NUMERIC(5, 2): a load without them removes them from the table
(GoogleCloudDataproc/spark-bigquery-connector #550).
"""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import cached_property

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from google.cloud import bigquery

from nba_ml.contract.errors import SlateError
from nba_ml.slates.prediction_rows import COLUMNS, REQUIRED, Column, add_columns, create_table
from nba_ml.slates.slate import SERVED

_BEFORE = {"over_probability": 1, "push_probability": 1, "confidence_score": 3}
"""Column -> digits before the decimal point. The default is 2."""

_AFTER = {"over_probability": 4, "push_probability": 4}
"""Column -> digits after the decimal point. The default is 2."""

_NUMERIC = (38, 9)
"""Default precision and scale of NUMERIC."""

_SENT = ("name", "type", "mode", "precision", "scale", "maxLength")
"""API names of the column properties in a load's schema."""

_SPELT = {"BOOLEAN": "BOOL", "INTEGER": "INT64"}
"""Older type names that BigQuery's API returns."""

_SLATE_OF = r"^(\d{4}-\d{2}-\d{2}-\d{6}-[0-9a-f]{12})-"
"""The slate's id at the beginning of a prediction_id, in a table without slate_id."""

_WITHOUT: dict[str, str] = {
    "slate_id": "each prediction_id begins with the slate's id instead",
    "role": "predictions in shadow are not written",
}
"""What is different without a column."""

_SPREAD = ("points_low", "points_high", "points_low_90", "points_high_90", "over_probability", "push_probability")
_WORTH_ADDING = ("model_version", "model_points", *_SPREAD, "slate_id", "role", "side")
"""What `nba-ml slate table` proposes to add, if it is not there."""


@dataclass(frozen=True, slots=True)
class ReportedColumn:
    """A column of a slate or a table: its type in each (None where there is no such column), and how it is written."""

    name: str
    slate_type: str | None
    table_type: str | None
    written: str


@dataclass(frozen=True, slots=True)
class TableReport:
    """A table against a slate's columns. `statement` adds what is worth adding; None if nothing is."""

    table: str
    columns: tuple[ReportedColumn, ...]
    statement: str | None

    def lines(self) -> Iterator[str]:
        for each in self.columns:
            yield f"{each.name:28}{each.slate_type or '-':11}{each.table_type or '-':16}{each.written}"
        if self.statement:
            yield f"To add what is missing: {self.statement}"


@dataclass(frozen=True)
class TableFit:
    """A slate's columns against those of a table. `name` is quoted."""

    name: str
    schema: Sequence[bigquery.SchemaField]

    @cached_property
    def fields(self) -> dict[str, bigquery.SchemaField]:
        """The table's columns that a slate fills, by our name. BigQuery ignores the case of names."""
        found = {field.name.lower(): field for field in self.schema}
        return {column.name: found[column.name] for column in COLUMNS if column.name in found}

    @property
    def faults(self) -> list[str]:
        """Why the table cannot take a slate; empty if it can."""
        faults = [fault for column in COLUMNS if column.name in self.fields for fault in self._faults(column)]
        faults += [f"{field.name} is REQUIRED but not a column of slates" for field in self.unknown if _is_due(field)]
        return faults

    @property
    def missing(self) -> list[str]:
        """Required columns that the table lacks."""
        return [name for name in REQUIRED if name not in self.fields]

    @property
    def unknown(self) -> list[bigquery.SchemaField]:
        """The table's columns that slates do not have."""
        return [field for field in self.schema if field.name.lower() not in self.fields]

    @property
    def rounded(self) -> dict[str, int]:
        """Column -> decimals in the table, where a slate has more."""
        numeric = (name for name, field in self.fields.items() if field.field_type == "NUMERIC")
        scales = {name: _precision_and_scale(self.fields[name])[1] for name in numeric}
        return {name: scale for name, scale in scales.items() if scale < _AFTER.get(name, 2)}

    @property
    def slate_key(self) -> str | None:
        """SQL for the id of a row's slate, NULL for other writers' rows; None if the table has no column for it."""
        if "slate_id" in self.fields:
            return "slate_id"
        return f"REGEXP_EXTRACT(prediction_id, r'{_SLATE_OF}')" if "prediction_id" in self.fields else None

    def require(self) -> None:
        """Do nothing if the table can take a slate's rows.

        Raises:
            SlateError: a required column is missing, one has another type or is too narrow, or the table requires one
                that slates do not have.
        """
        again = "The slate is stored: then run the same command again."
        if self.missing:
            raise SlateError(
                f"{self.name} lacks {len(self.missing)} of the {len(REQUIRED)} required columns: "
                f"{', '.join(self.missing)}. Add them: {add_columns(self.name, self.missing)}. {again}"
            )
        if self.faults:
            raise SlateError(
                f"{self.name} cannot take a slate: {'; '.join(self.faults)}. Alter these columns (`nba-ml slate table` "
                f"shows all), or set NBA_ML_PREDICTION_TABLE to a new table: {create_table(self.name)}. {again}"
            )

    def rows(self, rows: pa.Table) -> pa.Table:
        """A slate's rows (`prediction_rows.SCHEMA`) as the table takes them: its columns, under its names.

        Decimals are rounded to the column's parameters as BigQuery does: half away from zero, for example a line of
        20.125.
        """
        if "role" not in self.fields:
            rows = rows.filter(pc.equal(rows.column("role"), SERVED))
        columns = {field.name: self._values(name, rows) for name, field in self.fields.items()}
        return pa.table(columns)

    def load_schema(self) -> list[bigquery.SchemaField]:
        """The filled columns, for a load: type with parameters, and mode.

        Leaves out descriptions and policy tags, which would need more permissions.
        """
        columns = (field.to_api_repr() for field in self.fields.values())
        return [bigquery.SchemaField.from_api_repr({n: column[n] for n in _SENT if n in column}) for column in columns]

    def report(self) -> TableReport:
        """The table's columns against ours, and the statement that adds what is worth it."""
        absent = [name for name in (*REQUIRED, *_WORTH_ADDING) if name not in self.fields]
        statement = add_columns(self.name, absent) if absent else None
        return TableReport(
            self.name.strip("`"), (*map(self._reported, COLUMNS), *map(_left_out, self.unknown)), statement
        )

    def _reported(self, column: Column) -> ReportedColumn:
        field = self.fields.get(column.name)
        if field is None:
            lost = "REQUIRED, missing" if column.name in REQUIRED else _WITHOUT.get(column.name, "not written")
            if column.name == "slate_id" and self.slate_key is None:
                lost = "a slate is known by its job's id instead"
            return ReportedColumn(column.name, column.type, None, lost)
        decimals = self.rounded.get(column.name)
        filled = "filled" if decimals is None else f"filled, rounded to {decimals} decimals"
        return ReportedColumn(column.name, column.type, _type_of(field), "; ".join(self._faults(column)) or filled)

    def _faults(self, column: Column) -> Iterator[str]:
        field = self.fields[column.name]
        found = _SPELT.get(field.field_type, field.field_type)
        if found != column.type or field.mode == "REPEATED":
            yield f"{column.name} is {_type_of(field)}, expected {column.type}"
            return
        if column.type == "NUMERIC":
            precision, scale = _precision_and_scale(field)
            if precision - scale < (needed := _BEFORE.get(column.name, 2)):
                yield f"{column.name} has {precision - scale} digits before the point, needs {needed}"
        if column.nullable and field.mode == "REQUIRED" and column.name != "confidence_score":
            yield f"{column.name} is REQUIRED but NULL in some rows"

    def _values(self, name: str, rows: pa.Table) -> pa.ChunkedArray:
        values, field = rows.column(name), self.fields[name]
        if name == "prediction_id" and "slate_id" not in self.fields:
            return pc.binary_join_element_wise(rows.column("slate_id"), values, "-")
        if name == "confidence_score" and field.mode == "REQUIRED":
            values = pc.fill_null(values, pa.scalar(Decimal("0.000000"), values.type))
        if field.precision is None:
            return values
        precision, scale = _precision_and_scale(field)
        return pc.round(values, scale, "half_towards_infinity").cast(pa.decimal128(precision, scale))


def parquet_file(rows: pa.Table) -> io.BytesIO:
    """Rows as a Parquet file for a load, all columns nullable."""
    data = io.BytesIO()
    pq.write_table(rows, data, compression="zstd")
    return data


def require_kept(name: str, table: bigquery.Table, day: date, now: datetime | None = None) -> None:
    """Do nothing if the table keeps rows of a date.

    Raises:
        SlateError: the date's partition has expired, so BigQuery would delete the rows after the load.
    """
    partitioning = table.time_partitioning
    if partitioning is None or partitioning.expiration_ms is None or partitioning.field not in (None, "game_date"):
        return
    kept = timedelta(milliseconds=int(partitioning.expiration_ms))
    if datetime(day.year, day.month, day.day, tzinfo=UTC) + kept <= (now or datetime.now(UTC)):
        raise SlateError(
            f"{name} keeps its partitions for {kept.days} days, so that of {day} has expired: BigQuery would delete "
            "the rows. Nothing was sent. Set partition_expiration_days of the table higher, or set "
            "NBA_ML_PREDICTION_TABLE to another table."
        )


def _left_out(field: bigquery.SchemaField) -> ReportedColumn:
    left = "REQUIRED without a default: a slate cannot be written" if _is_due(field) else "left out"
    return ReportedColumn(field.name, None, _type_of(field), left)


def _is_due(field: bigquery.SchemaField) -> bool:
    """Whether a row needs a value for the column: it is REQUIRED and has no default."""
    return field.mode == "REQUIRED" and field.default_value_expression is None


def _type_of(field: bigquery.SchemaField) -> str:
    kind = _SPELT.get(field.field_type, field.field_type)
    if field.precision is not None:
        kind += f"({field.precision}, {field.scale or 0})"
    return f"ARRAY<{kind}>" if field.mode == "REPEATED" else kind + ("!" if field.mode == "REQUIRED" else "")


def _precision_and_scale(field: bigquery.SchemaField) -> tuple[int, int]:
    """Precision and scale of a NUMERIC. NUMERIC(5) has 5 digits and no decimals."""
    if field.precision is None:
        return _NUMERIC
    return int(field.precision), int(field.scale or 0)
