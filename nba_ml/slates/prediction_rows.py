"""The columns of BigQuery's `player_prop_predictions` that a slate fills, and a slate as rows.

The writer, its error messages and the documentation use these definitions.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pyarrow as pa

from nba_ml.contract.digest import bytes_digest
from nba_ml.contract.quantiles import QUANTILE_COLUMNS
from nba_ml.data.tables import DESCRIPTIONS, REPLAYED
from nba_ml.slates.slate import AHEAD, CHALLENGER, UNKNOWN, Slate, made


@dataclass(frozen=True, slots=True)
class Column:
    """A column: BigQuery's type, whether it may be NULL, and its meaning."""

    name: str
    type: str
    nullable: bool
    holds: str


COLUMNS = (
    Column("prediction_id", "STRING", False, "row id, unique; in a table without slate_id it begins with the slate's"),
    Column("prediction_version", "INT64", False, "number of the slate's version, from 1"),
    Column(
        "system_id",
        "STRING",
        False,
        "xgboost_v1 (or v2, v3), catboost_v8, xgboost_registered, lightgbm_registered, moving_average or mock, unless "
        "NBA_ML_SYSTEM_IDS has another",
    ),
    Column("model_version", "STRING", False, "the model id"),
    Column("ml_model_id", "STRING", False, "the model id"),
    Column("model_type", "STRING", False, "xgboost, catboost, lightgbm, rule or mock"),
    Column("model_sha256", "STRING", True, "sha256 of the model; NULL for a rule"),
    Column("feature_version", "STRING", False, "that of the model, such as v2_33features"),
    Column("player_lookup", "STRING", False, "the player's key in the feature store"),
    Column("universal_player_id", "STRING", True, "as in the feature store"),
    Column("game_date", "DATE", False, "date of the game; the table's partition"),
    Column("game_id", "STRING", False, "the game"),
    Column("predicted_points", "NUMERIC", False, "0 to 60, two decimals"),
    Column("model_points", "NUMERIC", True, "the model's own number: with a line, predicted_points lies between them"),
    Column("points_low", "NUMERIC", True, "low end of the 80% interval; NULL for a system without one"),
    Column("points_high", "NUMERIC", True, "high end of the 80% interval"),
    Column("points_low_90", "NUMERIC", True, "low end of the 90% interval"),
    Column("points_high_90", "NUMERIC", True, "high end of the 90% interval"),
    *(
        Column(name, "NUMERIC", True, DESCRIPTIONS[name][0].lower() + DESCRIPTIONS[name][1:].rstrip("."))
        for name in QUANTILE_COLUMNS
    ),
    Column("over_probability", "NUMERIC", True, "0 to 1; NULL without a line or an interval"),
    Column("push_probability", "NUMERIC", True, "of exactly as many points as the line"),
    Column("confidence_score", "NUMERIC", True, "0 to 100; without an interval NULL, or 0 if NULL is not allowed"),
    Column("current_points_line", "NUMERIC", True, "the points line; NULL without one"),
    Column("has_prop_line", "BOOL", False, "whether there is a points line"),
    Column("line_source", "STRING", False, "ACTUAL_PROP with a points line, NO_PROP_LINE without"),
    Column("line_margin", "NUMERIC", True, "prediction minus line"),
    Column("recommendation", "STRING", False, "OVER, UNDER, PASS or NO_LINE"),
    Column("side", "STRING", False, "champion or challenger"),
    Column("role", "STRING", False, "served or shadow"),
    Column("is_active", "BOOL", False, "TRUE for the served row of each player in the slate version that counts"),
    Column("channel_serial", "INT64", False, "serial of the channel state that chose the serving model"),
    Column("slate_version", "INT64", False, "number of the slate's version, from 1"),
    Column("slate_id", "STRING", False, "date, version and digest of the slate"),
    Column("prediction_made_before_game", "BOOL", True, "whether it was; NULL if the tip-off is unknown"),
    Column("created_at", "TIMESTAMP", False, "when it was scored"),
)

REQUIRED = ("player_lookup", "game_date", "game_id", "system_id", "predicted_points", "is_active")
"""Columns that any table of predictions must have. The others are filled where they exist."""

_ARROW: Mapping[str, pa.DataType] = {
    "STRING": pa.string(),
    "DATE": pa.date32(),
    "NUMERIC": pa.decimal128(15, 6),
    "BOOL": pa.bool_(),
    "INT64": pa.int64(),
    "TIMESTAMP": pa.timestamp("us", tz="UTC"),
}

SCHEMA = pa.schema([pa.field(each.name, _ARROW[each.type], nullable=each.nullable) for each in COLUMNS])


_BEFORE_THE_GAME = {AHEAD: True, UNKNOWN: None, REPLAYED: False}


@dataclass(frozen=True, slots=True)
class TableWrite:
    """Result of a write. `loaded` is False if the rows existed already. `retired` counts the deactivated rows of other
    versions."""

    table: str
    rows: int
    loaded: bool
    retired: int


def create_table(table: str) -> str:
    """The CREATE TABLE statement. `table` is quoted. Queries must filter by the partition column `game_date`."""
    columns = ", ".join(f"{c.name} {c.type}{'' if c.nullable else ' NOT NULL'}" for c in COLUMNS)
    return (
        f"CREATE TABLE {table} ({columns}) PARTITION BY game_date CLUSTER BY player_lookup, system_id "
        "OPTIONS (require_partition_filter = TRUE)"
    )


def add_columns(table: str, names: list[str]) -> str:
    """The ALTER TABLE statement that adds columns. `table` is quoted. New columns in BigQuery are nullable."""
    added = ", ".join(f"ADD COLUMN {column.name} {column.type}" for column in COLUMNS if column.name in names)
    return f"ALTER TABLE {table} {added}"


def columns_table() -> str:
    """The columns as a Markdown table, for the documentation."""
    lines = [f"| `{c.name}` | {c.type} | {'yes' if c.nullable else 'no'} | {c.holds} |" for c in COLUMNS]
    return "\n".join(["| column | type | NULL | holds |", "|---|---|---|---|", *lines])


def served_rows(slate: Slate, number: int, slate_id: str, ids: Mapping[str, str] | None = None) -> pa.Table:
    """A slate as rows of the table, in `SCHEMA`. NaN becomes NULL.

    All rows are inactive. Once they are all loaded, one statement activates them and deactivates the previous version.

    Args:
        number, slate_id: number and id of the version.
        ids: system id, or 'challenger' for a challenger's -> system id in the table.
    """
    rows = [
        {
            **row,
            "system_id": system_id_of(row, ids or {}),
            "ml_model_id": row["model_version"],
            "model_sha256": row["model_sha256"] or None,
            "prediction_id": bytes_digest(f"{slate_id}|{row['player_lookup']}|{row['side']}".encode())[:32],
            "prediction_version": number,
            "has_prop_line": not math.isnan(row["current_points_line"]),
            "line_source": "NO_PROP_LINE" if math.isnan(row["current_points_line"]) else "ACTUAL_PROP",
            "prediction_made_before_game": _BEFORE_THE_GAME[made(row["created_at"], row["game_date"], row["tip_off"])],
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


def system_id_of(row: Mapping[str, Any], ids: Mapping[str, str]) -> str:
    """A row's system id in the table."""
    own: str = row["system_id"]
    mapped = ids.get(own, own)
    return ids.get(CHALLENGER, mapped) if row["side"] == CHALLENGER else mapped


def _value(value: Any, kind: pa.DataType) -> Any:
    """A number as an exact decimal, converted through text: a binary fraction differs from the published number."""
    if not pa.types.is_decimal(kind) or value is None:
        return value
    return None if math.isnan(value) else Decimal(f"{value:.6f}")
