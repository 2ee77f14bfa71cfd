"""The standing checks through Dagster: on a home where a month was trained, then failed, then was forgotten."""

from __future__ import annotations

from collections.abc import Iterator

import dagster as dg
import pytest

from nba_ml.contract.thresholds import Thresholds
from nba_ml.defs.build import build_defs
from nba_ml.defs.health import read_release, read_scheduler
from nba_ml.defs.jobs import STANDING_CHECKS
from nba_ml.defs.partitions import month_keys, partitions_of
from nba_ml.defs.release_checks import build
from nba_ml.runner.home import open_instance
from nba_ml.settings import Settings
from nba_ml.storage.opening import open_objects
from nba_ml_tests.limits import LENIENT, written
from nba_ml_tests.trained_home import copy_months


class Home:
    """Two months of data, and the jobs on them."""

    def __init__(self, settings: Settings, instance: dg.DagsterInstance) -> None:
        self.settings, self.instance, self.defs = settings, instance, build_defs(settings)

    def run(self, job: str, month: str | None = None) -> dg.ExecuteInProcessResult:
        return self.defs.resolve_job_def(job).execute_in_process(
            instance=self.instance, partition_key=month, raise_on_error=False
        )

    def says(self) -> dict[str, dg.AssetCheckEvaluation]:
        result = self.run("standing_checks")
        assert result.success
        return {each.check_name: each for each in result.get_asset_check_evaluations()}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    folder = tmp_path_factory.mktemp("standing")
    environ = {"NBA_ML_HOME": str(folder / "home"), "NBA_ML_THREADS": "1", "NBA_ML_SYSTEMS": "xgboost_v1"}
    environ |= {"NBA_ML_DATA": str(copy_months(folder / "two", "2021-10", "2021-11"))}
    environ |= {"NBA_ML_THRESHOLDS": str(written(LENIENT))}
    settings = Settings.from_environment(environ)
    with open_instance(settings) as instance:
        yield Home(settings, instance)


@pytest.mark.slow
def test_the_job_runs_these_and_makes_nothing(home: Home) -> None:
    """Guards against a daily job that trains, and one that runs no check; and says what a new home is: not alive."""
    result = home.run("standing_checks")
    assert result.get_asset_materialization_events() == []
    said = home.says()
    assert tuple(said) == STANDING_CHECKS
    assert said["no_month_left_failed"].passed
    assert "There is no champion" in str(said["champion_not_too_old"].description)
    assert "was never trained" in str(said["retraining_ran"].description)


@pytest.mark.slow
def test_a_failed_month_is_red_until_it_is_made_good_and_then_all_is_fine(home: Home) -> None:
    """Guards both directions: a failure that is forgotten, and an alarm that goes on after it was mended."""
    failed = home.run("monthly_model", "2021-11")
    assert not failed.success
    found = home.says()["no_month_left_failed"]
    assert not found.passed
    assert found.severity is dg.AssetCheckSeverity.ERROR
    assert "train_split of 2021-11: feature_store_snapshot was never materialised for 2021-10" in str(found.description)
    assert failed.run_id in str(found.metadata["offender_1"].value)

    objects, months = open_objects(home.settings.artifact_root), month_keys(partitions_of(home.settings))
    release = read_release(home.instance, objects, months, home.settings.systems)
    assert [(f.month, f.asset, f.refused) for f in release.failed] == [("2021-11", "train_split", False)]

    for month in ("2021-10", "2021-11"):
        assert home.run("monthly_retraining", month).success
    assert {name: found.passed for name, found in home.says().items()} == dict.fromkeys(STANDING_CHECKS, True)


def test_the_switches_are_as_somebody_set_them(home: Home) -> None:
    """Guards the one thing that shows a deleted or a stopped schedule from outside."""
    clockwork = read_scheduler(home.instance, home.defs, grows=True)
    assert clockwork.switches["monthly_training"] is False
    repository = home.defs.get_repository_def()
    switched = [schedule.name for schedule in repository.schedule_defs] + [each.name for each in repository.sensor_defs]
    assert set(clockwork.switches) == set(switched)
    assert set(clockwork.heartbeats) >= {"SENSOR", "SCHEDULER"}
    assert set(clockwork.heartbeats.values()) == {None}


def test_each_check_says_its_limit_and_its_reason() -> None:
    """Guards against a red check that has to be looked up, and a limit of the user's that is not applied."""
    months = dg.MonthlyPartitionsDefinition(start_date="2021-10", fmt="%Y-%m")
    specs = {spec.name: spec for spec in build(months, Thresholds(max_champion_age_days=99)).check_specs}
    assert tuple(specs) == STANDING_CHECKS
    assert "99 playing days" in str(specs["champion_not_too_old"].description)
    assert all(not spec.blocking for spec in specs.values())
