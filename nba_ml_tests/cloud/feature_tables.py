"""Box scores and lines in the emulator, and the features that are computed there."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from nba_ml.contract.features import V2_33FEATURES, FeatureVersion
from nba_ml.contract.season import month_bounds
from nba_ml.data.tables import ML_FEATURE_STORE_V2
from nba_ml.sources.feature_backfill import BigQueryFeatureBackfill
from nba_ml_tests.cloud.bigquery import Platform

_TYPES = {
    pa.string(): "STRING",
    pa.date32(): "DATE",
    pa.bool_(): "BOOL",
    pa.int16(): "INT64",
    pa.int64(): "INT64",
    pa.float64(): "FLOAT64",
    pa.timestamp("us", tz="UTC"): "TIMESTAMP",
}


def make_backfill(
    platform: Platform, summary: pa.Table, lines: pa.Table, version: FeatureVersion = V2_33FEATURES
) -> BigQueryFeatureBackfill:
    """The backfill under test, from new tables with these rows into the platform's feature table.

    That one loses its mandatory filter: the emulator looks for it in the queries that it makes of a MERGE itself.
    """
    names = {name: f"{platform.dataset}.{name}" for name in ("backfill_summary", "backfill_lines")}
    for name, rows in zip(names.values(), (summary, lines), strict=True):
        columns = ", ".join(f"{field.name} {_TYPES[field.type]}" for field in rows.schema)
        options = "PARTITION BY game_date OPTIONS (require_partition_filter = TRUE)"
        platform.sql(f"CREATE TABLE {name} ({columns}) {options}")
        platform.append(name, rows)
    platform.sql("ALTER TABLE {features} SET OPTIONS (require_partition_filter = FALSE)")
    return BigQueryFeatureBackfill(
        platform.emulator.connection(),
        platform.features,
        names["backfill_summary"],
        names["backfill_lines"],
        version,
    )


def stored_features(platform: Platform, version: FeatureVersion, first: str, last: str) -> pa.Table:
    """The version's rows of the months in the feature table, ordered by date and player."""
    days = f"game_date BETWEEN '{month_bounds(first)[0]}' AND '{month_bounds(last)[1]}'"
    query = (
        f"SELECT {', '.join(ML_FEATURE_STORE_V2.names)} FROM {platform.features} "
        f"WHERE {days} AND feature_version = '{version.name}' ORDER BY game_date, player_lookup"
    )
    # Through the emulator's Storage Read API: for many rows the client's own way asks Google's.
    return platform.emulator.connection().rows(query, {}, "stored-features")


def differing_columns(found: pa.Table, expected: pa.Table) -> list[str]:
    """Columns of two feature tables that differ, but their time stamps. Features are compared bit by bit."""
    columns = [name for name in ML_FEATURE_STORE_V2.names if name not in ("created_at", "updated_at")]
    return [name for name in columns if _values(found[name]) != _values(expected[name])]


def _values(column: pa.ChunkedArray) -> object:
    rows = column.to_pylist()
    return np.array(rows, np.float64).tobytes() if rows and isinstance(rows[0], list) and _numbers(rows) else rows


def _numbers(rows: list[list[object]]) -> bool:
    return isinstance(rows[0][0], float)
