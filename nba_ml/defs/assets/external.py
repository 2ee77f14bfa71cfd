"""The platform's two tables, where the feature store is BigQuery: observed here, made elsewhere.

They have the keys that the embedded source's assets have, so nothing downstream changes.
"""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from nba_ml.data.progress import MonthProgress
from nba_ml.data.results_due import named_dates
from nba_ml.defs.assets.recording import cost_sums
from nba_ml.defs.partitions import month_keys
from nba_ml.sources.job_costs import Cost, recorded_jobs
from nba_ml.sources.month_rows import FEATURES, SUMMARY, MonthRowsSource

_DESCRIPTIONS = {
    SUMMARY: "Box scores in BigQuery, one row per player and game: the target. An observation gives each month a data "
    "version that changes when a result does.",
    FEATURES: "The platform's feature store in BigQuery. An observation gives each month a data version that changes "
    "when a row is written, and its coverage; it reads no feature.",
}


def build_external(months: dg.MonthlyPartitionsDefinition) -> list[dg.AssetsDefinition]:
    """Both tables as observable external assets, partitioned by the given months.

    One query tells of both, so they are observed by one function: of the months that are asked for, or of all.
    """

    @dg.multi_observable_source_asset(  # type: ignore[untyped-decorator]  # Dagster left out its return type
        name="observe_tables",
        specs=[
            dg.AssetSpec(asset, description=_DESCRIPTIONS[asset], tags={"dagster/kind/bigquery": ""})
            for asset in (SUMMARY, FEATURES)
        ],
        partitions_def=months,
        group_name="feature_store",
        can_subset=True,
    )
    def observe_tables(
        context: dg.AssetExecutionContext, month_rows: dg.ResourceParam[MonthRowsSource]
    ) -> Iterator[dg.AssetObservation]:
        some = context.has_partition_key or context.has_partition_key_range
        with recorded_jobs() as jobs:
            states = month_rows.progress(list(context.partition_keys) if some else month_keys(months))
        assets = sorted(key.to_user_string() for key in context.selected_asset_keys)
        # Not as an `ObserveResult`, which has the month of the run, and none if all were asked for.
        seen = [each for state in states for asset in assets if (each := observation_of(asset, state)) is not None]
        # One query told of all of them: each has its share, so that the shares add up to what was billed.
        for observation, cost in zip(seen, Cost.of(jobs).shares(len(seen)), strict=True):
            yield observation.with_metadata({**observation.metadata, **cost_sums(cost)}) if jobs else observation

    return [observe_tables]


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
        "duplicate_rows": state.duplicates,
        "results_missing": progress.missing_results,
        "notes": "; ".join(progress.notes()),
    }
    if progress.missing:
        metadata["results_missing_dates"] = named_dates(progress.missing)
    if asset == FEATURES:
        metadata |= {
            "games_expected": max(progress.played.games, progress.features.games),
            "rows_expected": progress.expected,
            "coverage": round(progress.coverage, 6),
            "status": str(progress.status),
            "rows_without_updated_at": progress.undated,
        }
        if progress.quality is not None:
            metadata["mean_quality"] = round(progress.quality, 2)
        if state.newest_update is not None:
            metadata["newest_update"] = dg.MetadataValue.timestamp(state.newest_update)
    return dg.AssetObservation(
        asset_key=asset, partition=progress.month, metadata=metadata, tags={"dagster/data_version": state.version}
    )
