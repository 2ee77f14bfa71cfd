"""`platform_grades` in Dagster: off until a system is named, and what it records of a month."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import dagster as dg
import pyarrow as pa
import pytest

from nba_ml.contract.times import eastern_noon
from nba_ml.data.stored import SNAPSHOT
from nba_ml.data.tables import PLATFORM_PREDICTIONS
from nba_ml.defs.assets import platform_grades
from nba_ml.defs.resources import Store
from nba_ml.registry.production import kept_production
from nba_ml.sources.job_costs import JobCost, record_job
from nba_ml_tests.conftest import snapshot_of

pytestmark = pytest.mark.slow

MONTH = "2022-06"
"""A month of six games."""


class Platform:
    """Its systems predict ten points for everybody, an hour before noon."""

    def __init__(self, *systems: str) -> None:
        self.systems = systems

    def read(self, month: str, systems: Sequence[str]) -> pa.Table:
        record_job(JobCost("job", "platform-predictions", 10_000_000, 1.0))
        played = snapshot_of(month).results.to_pylist()
        rows = [
            {**row, "system_id": system, "predicted_points": 10.0, "created_at": _before(row["game_date"])}
            for system in systems
            for row in played
        ]
        return pa.Table.from_pylist(rows, schema=PLATFORM_PREDICTIONS)


def _before(day: datetime) -> datetime:
    noon = eastern_noon(day)
    return noon.replace(hour=noon.hour - 1)


def materialised(platform: Platform, root: Path) -> dg.AssetMaterialization:
    store = Store(str(root))
    store.months().save(SNAPSHOT, MONTH, snapshot_of(MONTH))
    months = dg.MonthlyPartitionsDefinition(start_date="2021-10", end_date="2022-07", fmt="%Y-%m")
    result = dg.materialize(
        [platform_grades.build(months)],
        partition_key=MONTH,
        resources={"store": store, "platform_predictions": platform},
        run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
    )
    [event] = result.asset_materializations_for_node("platform_grades")
    return event


def test_it_is_off_until_a_system_is_named(tmp_path: Path) -> None:
    """Guards against a red asset, or a query, for who asked for nothing."""
    event = materialised(Platform(), tmp_path)
    assert "Set it to the system_ids" in str(event.metadata["note"].value)
    assert "bigquery_bytes_billed" not in event.metadata


@pytest.mark.parametrize("systems", [("moving_average",), ("moving_average", "catboost_v8")], ids=["one", "two"])
def test_a_month_is_graded_kept_and_its_query_counted(tmp_path: Path, systems: tuple[str, ...]) -> None:
    """Guards the asset's own part: the setting's systems, the numbers, what is kept, and what it cost."""
    event = materialised(Platform(*systems), tmp_path)
    played = snapshot_of(MONTH).results.num_rows
    assert event.metadata["rows"].value == played * len(systems)
    assert event.metadata["systems"].value == ", ".join(systems)
    assert all(system in str(event.metadata["grades"].value) for system in systems)
    assert event.metadata["bigquery_bytes_billed"].value == 10_000_000
    for system in systems:
        assert kept_production(Store(str(tmp_path)).months().objects, system, MONTH).num_rows == played
