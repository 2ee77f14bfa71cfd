"""The sensor through Dagster: run requests for months that are there, and what their runs make of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from nba_ml.automation import build_jobs, build_sensors
from nba_ml.core.follow import Followed
from nba_ml.definitions import build_defs, month_rows_of, partitions_of
from nba_ml.home import open_instance
from nba_ml.resources.month_rows import FEATURES, SUMMARY
from nba_ml.settings import Settings
from nba_ml_tests.limits import LENIENT, written


class Deployment:
    """A home, its graph, its instance and the sensor with its cursor.

    The sensor follows whatever fills the two tables. Here the graph's own assets do, in place of a platform.
    """

    def __init__(self, settings: Settings, instance: dg.DagsterInstance) -> None:
        self.instance = instance
        self.defs = build_defs(settings)
        self.rows = month_rows_of(settings)
        (self.sensor,) = build_sensors(partitions_of(settings), build_jobs(observable=False), settings.retrain)
        self.cursor: str | None = None

    def materialise(self, month: str, *assets: str) -> None:
        job = self.defs.resolve_implicit_global_asset_job_def()
        subset = job.get_subset(asset_selection=frozenset(dg.AssetKey(asset) for asset in assets))
        assert subset.execute_in_process(instance=self.instance, partition_key=month).success

    def look(self) -> dg.SensorResult | dg.SkipReason:
        """One evaluation."""
        context = dg.build_sensor_context(
            instance=self.instance, cursor=self.cursor, resources={"month_rows": self.rows}, definitions=self.defs
        )
        result = self.sensor(context)
        assert isinstance(result, dg.SensorResult | dg.SkipReason)
        if isinstance(result, dg.SensorResult):
            self.cursor = result.cursor
        return result

    def requests(self) -> list[dg.RunRequest]:
        result = self.look()
        assert isinstance(result, dg.SensorResult), result
        return list(result.run_requests or [])

    def run(self, request: dg.RunRequest) -> None:
        assert request.job_name is not None
        job = self.defs.resolve_job_def(request.job_name)
        assert job.execute_in_process(instance=self.instance, partition_key=request.partition_key).success


@pytest.fixture
def deployment(tmp_path: Path) -> Iterator[Deployment]:
    environ = {"NBA_ML_HOME": str(tmp_path), "NBA_ML_THREADS": "1", "NBA_ML_THRESHOLDS": str(written(LENIENT))}
    settings = Settings.from_environment(environ)
    with open_instance(settings) as instance:
        yield Deployment(settings, instance)


def test_the_backfill_becomes_snapshots_and_then_a_model(deployment: Deployment) -> None:
    """Guards against a sensor that asks for what no job can run, and against one that asks for ever."""
    assert isinstance(deployment.look(), dg.SkipReason)
    for month in ("2021-10", "2021-11"):
        deployment.materialise(month, SUMMARY, FEATURES)

    snapshots = deployment.requests()
    assert [(r.job_name, r.partition_key) for r in snapshots] == [
        ("monthly_snapshot", "2021-10"),
        ("monthly_snapshot", "2021-11"),
    ]
    waiting = deployment.look()
    assert isinstance(waiting, dg.SkipReason)
    assert "2021-10, 2021-11 was asked for" in str(waiting.skip_message)

    for request in snapshots:
        deployment.run(request)
    (model,) = deployment.requests()
    assert (model.job_name, model.partition_key) == ("monthly_model", "2021-11")
    deployment.run(model)
    assert isinstance(deployment.look(), dg.SkipReason)


def test_the_observed_versions_are_recorded_with_the_request(deployment: Deployment) -> None:
    """Guards against a snapshot that the UI calls out of date the moment it is taken."""
    deployment.materialise("2021-10", SUMMARY, FEATURES)
    deployment.requests()
    (state,) = deployment.rows.progress(["2021-10"])
    for asset, version in ((SUMMARY, state.played.version), (FEATURES, state.features.version)):
        page = deployment.instance.fetch_observations(dg.AssetKey(asset), limit=10)
        found = {
            record.asset_observation.partition: (record.asset_observation.tags or {})["dagster/data_version"]
            for record in page.records
            if record.asset_observation
        }
        assert found == {"2021-10": version}


def test_a_lost_cursor_asks_with_the_same_keys(deployment: Deployment) -> None:
    """Guards against a storm after somebody reset the sensor: Dagster drops a run key that it knows."""
    deployment.materialise("2021-10", SUMMARY, FEATURES)
    before = [r.run_key for r in deployment.requests()]
    deployment.cursor = None
    assert [r.run_key for r in deployment.requests()] == before
    assert Followed.model_validate_json(deployment.cursor or "").snapshots.keys() == {"2021-10"}
