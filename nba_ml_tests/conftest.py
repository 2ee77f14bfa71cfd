"""Real months, from file to trained model: read and computed once, shared by all tests.

Arrow tables and frozen records are handed out as they are; nobody can change them.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Generator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nba_ml.contract.features import V2_33FEATURES
from nba_ml.contract.season import month_bounds, season_months
from nba_ml.contract.systems import XGBOOST_V1
from nba_ml.data.box_scores import summarise_player_games
from nba_ml.data.features import compute_features
from nba_ml.data.snapshot import MonthRows, Snapshot, take_snapshot
from nba_ml.data.split import SplitManifest, split_by_date
from nba_ml.data.tables import PROP_LINES
from nba_ml.machine import available_cores
from nba_ml.model.fitting import FittedBooster, Hyperparameters, Samples, fit, gather
from nba_ml.model.record import ModelRecord, TrainingReport, make_record, report_training
from nba_ml.settings import SAMPLE_DATA
from nba_ml_tests.cloud.bigquery import bigquery_emulator
from nba_ml_tests.cloud.datasets import pytest_fixture_setup, pytest_runtest_call
from nba_ml_tests.cloud.gcs import cloud_store, gcs_bucket, gcs_endpoint
from nba_ml_tests.deploy.postgres import postgres_url
from nba_ml_tests.faults.summary import pytest_terminal_summary
from nba_ml_tests.profiles import load_profile
from nba_ml_tests.shared_tables import share_in, shared

if TYPE_CHECKING:
    from nba_ml_tests.trained_home import TrainedHomes

# Fixtures, here for every test, what drops the emulator's datasets, and the line that counts the faults.
__all__ = [
    "bigquery_emulator",
    "cloud_store",
    "gcs_bucket",
    "gcs_endpoint",
    "postgres_url",
    "pytest_fixture_setup",
    "pytest_runtest_call",
    "pytest_terminal_summary",
]

load_profile()

SLOW_FIXTURES = frozenset({"trained_homes", "all_features", "all_career_features", "games"})
"""What takes many seconds to make: months trained by the command line, features of all shipped months and their
reference."""

EMULATORS = frozenset({"gcs_endpoint", "bigquery_emulator", "postgres_url"})

LONGEST_FIRST = (
    "chaos/test_chaos.py",  # a minute and a half, and the home that it begins with
    "docs/test_snippets.py",  # the chain of 36 months, then a dozen commands
    "e2e/test_freshness.py",  # waits for Dagster's daemon, most of the time
    "cloud/test_full_loop.py",
    "e2e/test_dagit.py",
    "cloud/test_platform.py",
    "e2e/test_bigquery_mode.py",
    "sources/test_bigquery.py",
    "cloud/test_two_systems.py",
    "sources/test_table_forms.py",
    "faults/test_snapshot_faults.py",
    "registry/test_channel.py",
    "docs/test_evening.py",
    "cli/test_systems.py",
    "model/test_dask_chain.py",
    "model/test_dask_training.py",
    "ui/test_server.py",
    "defs/test_chain.py",
    "defs/test_automation.py",
    "cli/test_resume.py",
    "leaks/test_leaks.py",
    "e2e/test_other_sites.py",
    "registry/test_publication.py",
    "slates/test_platform_table.py",
    "sources/test_feature_backfill.py",
    "defs/test_seasons.py",
    "deploy/test_side_by_side.py",
    "data/test_upcoming.py",
    "data/features/test_against_reference.py",
    "faults/test_channel_faults.py",
    "released/test_released.py",
    "cli/test_check.py",
)
"""A file is one worker's. Begun last, any of these would leave the other without work for a minute or two."""

FIRST_MONTH = "2021-10"
COMPUTED_AT = datetime(2025, 7, 1, 12, tzinfo=UTC)

QUICK = Hyperparameters(num_boost_round=60, learning_rate=0.15, early_stopping_rounds=5, refit=False)
"""Few large steps: a tenth of a second on two months, and still better than the averages. Ships what it measures."""


MOST_WORKERS = 8
"""Each worker reads and computes the months for itself: with more, the suite waits for that."""


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """One worker for each core that the tests may use, quotas of the container considered; where not only unit tests
    run, two, because the others wait for daemons, browsers and processes: three on two cores left a fifth unused."""
    cores = available_cores()
    return min(cores if config.option.markexpr == "unit" else 2 * cores, MOST_WORKERS)


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark the test by where it lies and what it needs; what neither this nor the test itself marks is a unit test."""
    place = item.nodeid.removeprefix("nba_ml_tests/")
    if place.startswith("e2e/"):
        item.add_marker("e2e")
    if place.startswith("cloud/") or _needs_emulator(item):
        item.add_marker("cloud")
    if not SLOW_FIXTURES.isdisjoint(getattr(item, "fixturenames", ())):
        item.add_marker("slow")
    if not any(item.get_closest_marker(name) for name in ("e2e", "cloud", "slow")):
        item.add_marker("unit")


def _needs_emulator(item: pytest.Item) -> bool:
    """Whether an emulator is among its fixtures, or in the parameter by which it asks for one when it runs."""
    if not isinstance(item, pytest.Function):
        return False
    asked = item.callspec.params.values() if hasattr(item, "callspec") else ()
    return not EMULATORS.isdisjoint(item.fixturenames) or any(
        isinstance(value, str) and value == "cloud" for value in asked
    )


_running: list[str] = []
"""The id of the unit test that runs now, if one does."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Remember which unit test runs, for `_keep_unit_tests_fast`."""
    _running[:] = [item.nodeid] if item.get_closest_marker("unit") else []
    try:
        return (yield)
    finally:
        _running.clear()


def _keep_unit_tests_fast(event: str, arguments: tuple[Any, ...]) -> None:
    """Fail a unit test that listens on a port or starts another Python: it waits, or imports everything once more."""
    if not _running:
        return
    does = ""
    if event == "socket.bind" and arguments[0].family != socket.AF_UNIX:
        does = "starts a server"
    elif event == "subprocess.Popen" and Path(os.fsdecode(arguments[0])).name.startswith(("python", "nba-ml")):
        does = "starts a Python process"
    if does:
        raise AssertionError(f"{_running[0]} {does}: mark it with @pytest.mark.slow")


sys.addaudithook(_keep_unit_tests_fast)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first; the order within a file stays."""
    rank = {f"nba_ml_tests/{name}": place for place, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: rank.get(item.nodeid.partition("::")[0], len(rank)))


@cache
def games_of(month: str) -> pa.Table:
    """The embedded box scores of a month, as the file has them."""
    return pq.read_table(SAMPLE_DATA / "player_games" / f"{month}.parquet")


@cache
def summary_of(month: str) -> pa.Table:
    """The month in `tables.PLAYER_GAME_SUMMARY`."""
    return shared(f"summary_{month}", lambda: summarise_player_games(games_of(month), month, month).table)


@cache
def features_of(month: str) -> pa.Table:
    """The month in `tables.ML_FEATURE_STORE_V2`, from all months so far and no lines."""

    def computed() -> pa.Table:
        history = pa.concat_tables([summary_of(each) for each in season_months(FIRST_MONTH, month)])
        return compute_features(history, PROP_LINES.empty_table(), *month_bounds(month), computed_at=COMPUTED_AT)

    return shared(f"features_{month}", computed)


@cache
def snapshot_of(month: str) -> Snapshot:
    """The month frozen."""
    return take_snapshot(
        MonthRows.of_tables(features_of(month), summary_of(month), V2_33FEATURES), month, V2_33FEATURES
    )


def split_of(months: list[str]) -> SplitManifest:
    """The split of months."""
    dates = {month: snapshot_of(month).table.column("game_date").to_numpy() for month in months}
    return split_by_date({month: (snapshot_of(month).digest, days) for month, days in dates.items()})


@dataclass(frozen=True)
class Trained:
    """A model of October to December 2021 with everything it came from."""

    tables: dict[str, pa.Table]
    split: SplitManifest
    samples: Samples
    fitted: FittedBooster
    report: TrainingReport
    record: ModelRecord

    def side(self, name: str) -> Samples:
        """The rows of a side of the split."""
        side = self.split.sides()[name]
        return self.samples.between(side.first, side.last)


@pytest.fixture(scope="session")
def trained() -> Trained:
    """A small real model."""
    months = ["2021-10", "2021-11", "2021-12"]
    tables = {month: snapshot_of(month).table for month in months}
    split = split_of(months)
    samples = gather(tables, split, V2_33FEATURES)
    sides = samples.sides(split)
    fitted = fit(sides["train"], sides["early_stopping"], QUICK, V2_33FEATURES, threads=1)
    report = report_training(fitted, fitted.booster, samples, split, QUICK, V2_33FEATURES, threads=1)
    return Trained(tables, split, samples, fitted, report, make_record(report, fitted.booster, XGBOOST_V1))


@pytest.fixture(scope="session", autouse=True)
def _tables_are_shared(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> None:
    if worker_id != "master":
        share_in(tmp_path_factory.getbasetemp().parent / "tables")


@pytest.fixture(scope="session")
def trained_homes(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> TrainedHomes:
    """Homes in which the command line trained months, for all workers. Read only: a test works on a copy."""
    from nba_ml_tests.trained_home import made_once  # Dagster, without which scripts import this module

    own = tmp_path_factory.getbasetemp()
    return made_once(own if worker_id == "master" else own.parent)
