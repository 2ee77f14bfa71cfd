"""What the platform's own systems predicted, from its table of predictions: one query a month."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from nba_ml.contract.season import month_bounds
from nba_ml.data.tables import PLATFORM_PREDICTIONS
from nba_ml.sources.bigquery_connection import BigQueryConnection, quoted_table
from nba_ml.sources.queries import query
from nba_ml.sources.table_columns import NUMBER, TIME, require_columns

_REQUIRED: Mapping[str, tuple[str, ...]] = {
    "system_id": ("STRING",),
    "player_lookup": ("STRING",),
    "game_date": ("DATE",),
    "game_id": ("STRING",),
    "predicted_points": NUMBER,
    "is_active": ("BOOL",),
}
_OPTIONAL: Mapping[str, tuple[tuple[str, ...], str]] = {
    "current_points_line": (NUMBER, "CAST(NULL AS FLOAT64)"),
    "line_source": (("STRING",), "'ACTUAL_PROP'"),  # without the column, any line is taken for a real one
    "recommendation": (("STRING",), "CAST(NULL AS STRING)"),
    "invalidation_reason": (("STRING",), ""),
    "prediction_made_before_game": (("BOOL",), "CAST(NULL AS BOOL)"),
    "prediction_version": (("INT64",), "CAST(NULL AS INT64)"),
    "created_at": (TIME, "CAST(NULL AS TIMESTAMP)"),
}
"""Columns that not every epoch of the table has: the accepted types, and the SQL in its place."""


@dataclass(frozen=True)
class BigQueryPlatformPredictions:
    """The rows of the platform's systems in its table of predictions, `systems` by default."""

    connection: BigQueryConnection
    table: str
    systems: tuple[str, ...] = ()

    def read(self, month: str, systems: Sequence[str]) -> pa.Table:
        """The active rows of a month, in `tables.PLATFORM_PREDICTIONS`, in no order.

        Args:
            systems: their ids in the table, each of which the settings have checked.

        Raises:
            SourceDataError: a column is missing or has another type, or BigQuery rejects the query.
            SettingsError: there are no credentials, or the table's name is invalid.
        """
        name = quoted_table(self.table, self.connection.project)
        found = self.connection.columns(name)
        there = {column: types for column, (types, _) in _OPTIONAL.items() if column in found}
        require_columns(name, found, {**_REQUIRED, **there}, "NBA_ML_PREDICTION_TABLE")
        parts = {column: column if column in found else absent for column, (_, absent) in _OPTIONAL.items()}
        invalidated = "invalidation_reason IS NOT NULL" if "invalidation_reason" in found else "FALSE"
        ids = ", ".join(f"'{each}'" for each in systems)
        sql = query("platform_predictions", prediction_table=name, systems=ids, invalidated=invalidated, **parts)
        first, last = month_bounds(month)
        rows = self.connection.rows(sql, {"first": first, "last": last}, "platform-predictions")
        return rows.select(PLATFORM_PREDICTIONS.names).cast(PLATFORM_PREDICTIONS)
