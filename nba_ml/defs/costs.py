"""What the months' BigQuery queries cost, from the materialisations and observations in Dagster's event log."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping

import dagster as dg

from nba_ml.contract.systems import SYSTEMS
from nba_ml.defs.assets.recording import BYTES_BILLED, SLOT_SECONDS
from nba_ml.defs.event_log import all_records
from nba_ml.sources.job_costs import Cost
from nba_ml.sources.month_rows import FEATURES, SUMMARY

_OF_SYSTEMS = ("feature_store_snapshot", "predictions", "prediction_grades", "feature_backfill")
_QUERYING = (
    *("slate_predictions", "backfill_progress", "platform_grades"),
    *(system.asset(name) for system in SYSTEMS.values() for name in _OF_SYSTEMS),
)
"""Assets whose materialisations run queries."""

_OBSERVED = (SUMMARY, *(system.asset(FEATURES) for system in SYSTEMS.values()))


def month_costs(instance: dg.DagsterInstance) -> dict[str | None, Cost]:
    """Month -> what all queries for it cost so far; None for those of assets that have no months.

    A day's slate counts for its month. Failed runs and the sensor's evaluations leave no such record.
    """
    found: defaultdict[str | None, Cost] = defaultdict(Cost)
    for partition, cost in _recorded(instance):
        found[partition[:7] if partition else None] += cost
    return dict(found)


def _recorded(instance: dg.DagsterInstance) -> Iterator[tuple[str | None, Cost]]:
    kinds = ((instance.fetch_materializations, _QUERYING), (instance.fetch_observations, _OBSERVED))
    for fetch, assets in kinds:
        for asset in assets:
            for record in all_records(fetch, asset):
                event = record.asset_materialization or record.asset_observation
                metadata = event.metadata if event else {}
                if BYTES_BILLED in metadata:
                    yield (
                        record.partition_key,
                        Cost(int(_number(metadata, BYTES_BILLED)), _number(metadata, SLOT_SECONDS)),
                    )


def _number(metadata: Mapping[str, dg.MetadataValue], key: str) -> float:
    value = metadata[key].value
    return value if isinstance(value, (int, float)) else 0
