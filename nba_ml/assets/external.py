"""The platform's two tables, where the feature store is BigQuery: observed here, made elsewhere.

They have the keys that the embedded source's assets have, so nothing downstream changes.
"""

from typing import Any

import dagster as dg

from nba_ml.core.progress import MonthProgress
from nba_ml.partitions import month_keys
from nba_ml.resources.month_rows import FEATURES, SUMMARY, MonthRowsSource

_DESCRIPTIONS = {
    SUMMARY: "Box scores in BigQuery, one row per player and game: the target. An observation gives each month a data "
    "version that changes when a result does.",
    FEATURES: "The platform's feature store in BigQuery. An observation gives each month a data version that changes "
    "when a row is written, and its coverage; it reads no feature.",
}


def build_external(months: dg.MonthlyPartitionsDefinition) -> list[dg.SourceAsset]:
    """Both tables as observable external assets, partitioned by the given months."""
    return [_observable(asset, months) for asset in (SUMMARY, FEATURES)]


def _observable(asset: str, months: dg.MonthlyPartitionsDefinition) -> dg.SourceAsset:
    @dg.observable_source_asset(
        name=asset,
        partitions_def=months,
        group_name="feature_store",
        description=_DESCRIPTIONS[asset],
        tags={"dagster/kind/bigquery": ""},
    )
    def observe(context: dg.OpExecutionContext, month_rows: MonthRowsSource) -> dg.DataVersionsByPartition:
        for progress in month_rows.progress(month_keys(months)):
            if (observation := observation_of(asset, progress)) is not None:
                context.log_event(observation)
        # A data version alone, returned, would be recorded without its metadata.
        return dg.DataVersionsByPartition({})

    return observe


def observation_of(asset: str, progress: MonthProgress) -> dg.AssetObservation | None:
    """What is to be recorded of a month of a table; None if it has no row."""
    state = progress.played if asset == SUMMARY else progress.features
    if state.rows == 0:
        return None
    metadata: dict[str, Any] = {
        "rows": state.rows,
        "dagster/partition_row_count": state.rows,
        "players": state.players,
        "dates": state.dates,
        "games": state.games,
    }
    if asset == FEATURES:
        metadata |= {
            "games_expected": progress.played.games,
            "rows_expected": progress.played.rows,
            "coverage": round(progress.coverage, 6),
            "status": str(progress.status),
        }
        if progress.quality is not None:
            metadata["mean_quality"] = round(progress.quality, 2)
        if state.newest_update is not None:
            metadata["newest_update"] = dg.MetadataValue.timestamp(state.newest_update)
    return dg.AssetObservation(
        asset_key=asset, partition=progress.month, metadata=metadata, tags={"dagster/data_version": state.version}
    )
