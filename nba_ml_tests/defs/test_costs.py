"""What BigQuery billed: on the materialisation of the asset that asked, and summed by month by `nba-ml progress`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import dagster as dg
import pytest

from nba_ml.contract.features import V2_33FEATURES
from nba_ml.contract.lineage import Inputs
from nba_ml.contract.systems import XGBOOST_V1, System
from nba_ml.data.progress import MonthProgress, TableState
from nba_ml.data.snapshot import MonthRows
from nba_ml.defs.assets import backfill_progress, external, feature_store_snapshot
from nba_ml.defs.costs import month_costs
from nba_ml.defs.internals import silence_preview_warnings
from nba_ml.defs.io_manager import MonthStoreIOManager
from nba_ml.defs.resources import Store
from nba_ml.runner.home import open_instance
from nba_ml.settings import Settings
from nba_ml.sources.job_costs import Cost, JobCost, record_job
from nba_ml.sources.month_rows import FEATURES, SUMMARY, MonthRowsSource
from nba_ml_tests.cli.command import Home
from nba_ml_tests.cloud.bigquery import PROJECT
from nba_ml_tests.cloud.scripted import ScriptedService
from nba_ml_tests.conftest import features_of, summary_of

pytestmark = pytest.mark.slow

MONTHS = ("2021-10", "2021-11")
"""The first needs no history, so its features are computed quickly."""

BILLED = 21_000_001
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


class Billed(MonthRowsSource):
    """Real rows. Each call is a query with a bill, as `BigQueryConnection` reports it."""

    def read(self, month: str, system: System = XGBOOST_V1) -> tuple[MonthRows, Inputs]:  # noqa: ARG002 (as the interface has it)
        record_job(JobCost("job-1", "month-rows", BILLED, 2.5))
        return MonthRows.of_tables(features_of(month), summary_of(month), V2_33FEATURES), {}

    def progress(
        self,
        months: list[str],
        within: float | None = None,  # noqa: ARG002 (as the interface has it)
        now: datetime | None = None,  # noqa: ARG002 (likewise)
        system: System = XGBOOST_V1,  # noqa: ARG002 (likewise)
    ) -> list[MonthProgress]:
        record_job(JobCost("job-2", "observe-months", BILLED, 1.0))
        state = TableState(10, 2, 5, 5, None, "v1")
        return [MonthProgress(month, state, state, 10, None) for month in months]


@pytest.fixture
def resources(tmp_path: Path) -> dict[str, object]:
    root = str(tmp_path / "store")
    return {"month_rows": Billed(), "store": Store(root), "io_manager": MonthStoreIOManager(root)}


@pytest.fixture
def months() -> dg.MonthlyPartitionsDefinition:
    return dg.MonthlyPartitionsDefinition(start_date=MONTHS[0], end_date="2021-12", fmt="%Y-%m")


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    with ScriptedService() as scripted:
        scripted.finish_without_rows(bytes_billed=10_000_000, slot_millis=500)
        settings = {
            "NBA_ML_SOURCE": "bigquery",
            "NBA_ML_BIGQUERY_PROJECT": PROJECT,
            "NBA_ML_FIRST_MONTH": MONTHS[0],
            "BIGQUERY_EMULATOR_HOST": scripted.endpoint,
            "BIGQUERY_STORAGE_EMULATOR_HOST": "127.0.0.1:1",
        }
        yield Home(tmp_path / "home", settings=settings)


def test_every_query_is_on_its_asset_and_in_the_sums(
    home: Home, resources: dict[str, object], months: dg.MonthlyPartitionsDefinition
) -> None:
    """Guards against a bill that nobody can trace to a month, and against a query counted twice or not at all."""
    nothing = json.loads(home.run_here("progress", "--json").stdout)["bigquery"]
    assert nothing["all"] == {"bytes_billed": 0, "slot_seconds": 0.0}, "no run yet"
    with open_instance(Settings.from_environment(home.environment())) as instance:
        snapshot = feature_store_snapshot.build(months)
        for _ in range(2):  # taken twice is billed twice
            made = dg.materialize(
                [snapshot], instance=instance, partition_key=MONTHS[0], resources=resources, run_config=QUIET
            )
        [event] = made.asset_materializations_for_node("feature_store_snapshot")
        assert event.metadata["bigquery_bytes_billed"].value == BILLED
        assert event.metadata["bigquery_slot_seconds"].value == 2.5
        assert "job-1" in str(event.metadata["bigquery_jobs"].value)
        dg.materialize([backfill_progress.build(months)], instance=instance, resources=resources, run_config=QUIET)
        with silence_preview_warnings():
            job = dg.define_asset_job("observe", dg.AssetSelection.assets(FEATURES, SUMMARY))
            defs = dg.Definitions(external.build_external(months), jobs=[job], resources=resources)
        assert defs.resolve_job_def("observe").execute_in_process(instance=instance, run_config=QUIET).success
        costs = month_costs(instance)
    observed = [BILLED // 2 + 1, BILLED // 2]
    assert costs == {
        MONTHS[0]: Cost(2 * BILLED + observed[0], 5.5),
        MONTHS[1]: Cost(observed[1], 0.5),
        None: Cost(BILLED, 1.0),
    }
    shown = json.loads(home.run_here("progress", "--json").stdout)
    assert {each["month"]: each["bigquery"]["bytes_billed"] for each in shown["months"]}[MONTHS[0]] == 52_500_003
    assert shown["bigquery"]["all"]["bytes_billed"] == 4 * BILLED
    assert shown["bigquery"]["this_command"] == {"bytes_billed": 10_000_000, "slot_seconds": 0.5}
    lines = home.run_here("progress").stdout.splitlines()
    billed = [line.partition("MB billed: ")[2] for line in lines if line.startswith("  ") and "slot s: " in line]
    assert billed[:2] == ["52.5; slot s: 5.5", "10.5; slot s: 0.5"]
    assert "BigQuery, all months: 84.0 MB billed, 7.0 slot seconds." in lines
    assert "  of this, queries over all months at once: 21.0 MB billed, 1.0 slot seconds." in lines
    assert "This command: 10.0 MB billed, 0.5 slot seconds." in lines


def test_the_embedded_source_has_no_bill(tmp_path: Path) -> None:
    """Guards against columns of zeros for who has no BigQuery."""
    home = Home(tmp_path / "home")
    shown = json.loads(home.run_here("progress", "--json").stdout)
    assert set(shown) == {"months"}
    assert not any("bigquery" in each for each in shown["months"])
