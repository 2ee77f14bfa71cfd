"""The platform's two tables, where the feature store is BigQuery: observed here, made elsewhere.

The feature table is one asset for each system, which are the rows of its feature version.

They have the keys that the embedded source's assets have, so nothing downstream changes.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import dagster as dg

from nba_ml.contract.systems import XGBOOST_V1, System
from nba_ml.data.progress import MonthProgress
from nba_ml.data.results_due import named_dates
from nba_ml.defs.assets.recording import cost_sums
from nba_ml.defs.partitions import month_keys
from nba_ml.sources.job_costs import Cost, recorded_jobs
from nba_ml.sources.month_rows import FEATURES, SUMMARY, MonthRowsSource

_OF_SUMMARY = (
    "Box scores in BigQuery, one row per player and game: the target. An observation gives each month a data version "
    "that changes when a result does."
)
_OF_FEATURES = (
    "The platform's feature store in BigQuery: its rows of `{version}`. An observation gives each month a data version "
    "that changes when a row is written, and its coverage; it reads no feature."
)


def build_external(
    months: dg.MonthlyPartitionsDefinition, systems: Sequence[System] = (XGBOOST_V1,)
) -> list[dg.AssetsDefinition]:
    """Both tables as observable external assets, partitioned by the given months; of the features one for each system.

    One query tells of both, so they are observed by one function: of the months that are asked for, or of all. There is
    one query for each system that is asked for.
    """
    of_system = {system.asset(FEATURES): system for system in systems}
    described = {
        SUMMARY: (_OF_SUMMARY, systems[0]),
        **{asset: (_OF_FEATURES.format(version=of.features.name), of) for asset, of in of_system.items()},
    }

    @dg.multi_observable_source_asset(  # type: ignore[untyped-decorator]  # Dagster left out its return type
        name="observe_tables",
        specs=[
            dg.AssetSpec(
                dg.AssetKey.from_user_string(asset),
                description=description,
                group_name=system.group("feature_store"),
                tags={"dagster/kind/bigquery": ""},
            )
            for asset, (description, system) in described.items()
        ],
        partitions_def=months,
        can_subset=True,
    )
    def observe_tables(
        context: dg.AssetExecutionContext, month_rows: dg.ResourceParam[MonthRowsSource]
    ) -> Iterator[dg.AssetObservation]:
        some = context.has_partition_key or context.has_partition_key_range
        wanted = list(context.partition_keys) if some else month_keys(months)
        assets = {key.to_user_string() for key in context.selected_asset_keys}
        asked = [system for asset, system in of_system.items() if asset in assets] or systems[:1]
        for system in asked:
            mine = [SUMMARY] if SUMMARY in assets and system == asked[0] else []
            mine += [asset for asset in assets if of_system.get(asset) == system]
            with recorded_jobs() as jobs:
                states = month_rows.progress(wanted, system=system)
            # Not as an `ObserveResult`, which has the month of the run, and none if all were asked for.
            seen = [each for state in states for asset in sorted(mine) if (each := observation_of(asset, state))]
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
    if asset != SUMMARY:
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
        asset_key=dg.AssetKey.from_user_string(asset),
        partition=progress.month,
        metadata=metadata,
        tags={"dagster/data_version": state.version},
    )
