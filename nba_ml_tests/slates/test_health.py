"""What is looked at for `slates_made`: the schedule's switch, the kept slates, the feature store's dates."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import dagster as dg
import pyarrow as pa
import pytest
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.remote_origin import InProcessCodeLocationOrigin, RemoteRepositoryOrigin
from dagster._core.scheduler.instigation import InstigatorState, InstigatorStatus, ScheduleInstigatorData
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin

from nba_ml.checks.registry import STORED
from nba_ml.contract.errors import SourceDataError
from nba_ml.contract.times import eastern_date
from nba_ml.data.table_digest import DigestedTable
from nba_ml.defs.build import build_defs
from nba_ml.defs.health import read_scheduler, slates_on_since
from nba_ml.monitoring.health import Level
from nba_ml.settings import Settings
from nba_ml.slates.health import read_slate_days
from nba_ml.slates.health_rules import SlateDays, slates_made
from nba_ml.slates.rows import StoredSlateRows
from nba_ml.slates.store import SlateStore
from nba_ml.storage.directory import DirectoryStore
from nba_ml.storage.months import MonthStore
from nba_ml_tests.conftest import features_of
from nba_ml_tests.slate_scene import DAY, slate, slate_rows_of

pytestmark = pytest.mark.slow

NOW = datetime(2022, 1, 17, 17, tzinfo=UTC)
"""Noon in New York, two days after the slate's date."""

SINCE = datetime(2022, 1, 1, tzinfo=UTC)


class Unreachable(StoredSlateRows):
    """A feature store that does not answer."""

    def days_near(self, day: date) -> list[date]:
        raise SourceDataError(f"BigQuery did not answer about {day}.")


class Scene:
    """The features of a month, a place for slates, and an instance without schedules."""

    def __init__(self, folder: Path, instance: dg.DagsterInstance) -> None:
        self.root, self.instance = str(folder), instance
        objects = DirectoryStore(folder)
        MonthStore(objects).save(
            STORED["ml_feature_store_v2"], "2022-01", DigestedTable(features_of("2022-01"), "a digest")
        )
        self.slates, self.rows = SlateStore(objects), StoredSlateRows(self.root)

    def switch(
        self, schedule: str, status: InstigatorStatus, location: str = "nba_ml", repository: str = "__repository__"
    ) -> None:
        """Set a schedule as the UI's Automation page does."""
        target = LoadableTargetOrigin(module_name="nba_ml.definitions")
        loaded = InProcessCodeLocationOrigin(target, location_name=location)
        origin = RemoteRepositoryOrigin(loaded, repository).get_instigator_origin(schedule)
        data = ScheduleInstigatorData("0 17 * * *", SINCE.timestamp() if status is InstigatorStatus.RUNNING else None)
        self.instance.add_instigator_state(InstigatorState(origin, InstigatorType.SCHEDULE, status, data))


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    with dg.instance_for_test() as instance:
        yield Scene(tmp_path, instance)


def test_a_schedule_that_is_on_and_a_slate_that_is_kept_are_seen(scene: Scene) -> None:
    """Guards the chain from the switch and the store to the finding: of three dates one has its slate."""
    scene.slates.keep(slate())
    scene.switch("daily_release", InstigatorStatus.RUNNING)
    assert read_slate_days(slates_on_since(scene.instance), scene.rows, scene.slates, NOW).on is None
    scene.switch("daily_slate", InstigatorStatus.RUNNING)
    found = read_slate_days(slates_on_since(scene.instance), scene.rows, scene.slates, NOW)
    assert (found.on, found.made) == (SINCE, [DAY])
    assert {date(2022, 1, day) for day in (14, 15, 16)} <= set(found.with_rows)
    said = slates_made(found, NOW)
    assert said.level is Level.RED
    assert {"date": "2022-01-16"} in said.worst
    assert {"date": str(DAY)} not in said.worst


def test_a_schedule_that_was_turned_off_again_is_off(scene: Scene) -> None:
    """Guards against an alarm after somebody has decided that there are no slates."""
    scene.switch("daily_slate", InstigatorStatus.STOPPED)
    assert read_slate_days(slates_on_since(scene.instance), scene.rows, scene.slates, NOW).on is None


@pytest.mark.parametrize(("location", "repository"), [("nba_ml.definitions", "__repository__"), ("nba_ml", "another")])
def test_a_switch_of_another_location_or_repository_is_not_ours(scene: Scene, location: str, repository: str) -> None:
    """Guards against an alarm, or a silence, by what `dagster dev` or another project left in the same instance."""
    defs = build_defs(Settings.from_environment({}))
    for names, on in (((location, repository), False), (("nba_ml", "__repository__"), True)):
        scene.switch("daily_slate", InstigatorStatus.RUNNING, *names)
        assert (slates_on_since(scene.instance) == SINCE) is on
        assert read_scheduler(scene.instance, defs, grows=False).switches["daily_slate"] is on


def test_where_none_is_due_the_feature_store_is_not_asked(scene: Scene) -> None:
    """Guards against a query that is billed every hour, and a red release, for slates that nobody makes."""
    found = read_slate_days(slates_on_since(scene.instance), Unreachable(scene.root), scene.slates, NOW)
    assert found == SlateDays(on=None, made=(), with_rows=(), unread="")
    assert slates_made(found, NOW).level is Level.FINE


def test_a_feature_store_that_does_not_answer_leaves_the_other_findings_alone(scene: Scene) -> None:
    """Guards against `nba-ml health` that says nothing of a dead daemon because BigQuery is out of reach too."""
    scene.switch("daily_slate", InstigatorStatus.RUNNING)
    said = slates_made(
        read_slate_days(slates_on_since(scene.instance), Unreachable(scene.root), scene.slates, NOW), NOW
    )
    assert said.level is Level.RED
    assert "BigQuery did not answer about 2022-01-17." in said.said


def test_a_slate_of_last_season_is_no_habit(scene: Scene) -> None:
    """Guards against a warning for ever after somebody tried the command once."""
    scene.slates.keep(slate())
    later = datetime(2022, 2, 16, 17, tzinfo=UTC)
    assert list(read_slate_days(slates_on_since(scene.instance), scene.rows, scene.slates, later).made) == []


def test_the_slates_of_a_short_month_are_seen(scene: Scene) -> None:
    """Guards against a red March 1st: a step of a month back ends in January, and February is stepped over."""
    yesterday = date(2022, 2, 28)
    scene.slates.keep(slate(day=yesterday, rows=slate_rows_on(yesterday)))
    march = datetime(2022, 3, 1, 17, tzinfo=UTC)
    assert list(read_slate_days(slates_on_since(scene.instance), scene.rows, scene.slates, march).made) == [yesterday]


def slate_rows_on(day: date) -> pa.Table:
    """Real rows, as if their games were played on another date."""
    rows = slate_rows_of(DAY)
    at = rows.schema.get_field_index("game_date")
    return rows.set_column(at, rows.schema.field(at), pa.array([day] * rows.num_rows, pa.date32()))


def test_the_standing_check_warns_and_tells_by_the_switch(tmp_path: Path) -> None:
    """Guards against a missing slate that the daily job does not see, and one that is only by hand told as red."""
    settings = Settings.from_environment({"NBA_ML_HOME": str(tmp_path / "home"), "NBA_ML_THREADS": "1"})
    today = eastern_date(datetime.now(UTC))
    with dg.instance_for_test() as instance:
        there = Scene(tmp_path / "scene", instance)
        defs = build_defs(settings, resource_overrides={"slate_rows": Unreachable(there.root)})
        job = defs.resolve_job_def("standing_checks")

        def says() -> dg.AssetCheckEvaluation:
            result = job.execute_in_process(instance=instance)
            [found] = [each for each in result.get_asset_check_evaluations() if each.check_name == "slates_made"]
            return found

        assert says().passed
        SlateStore(DirectoryStore(Path(settings.store))).keep(slate(day=today, rows=slate_rows_on(today)))
        by_hand = says()
        assert (by_hand.passed, by_hand.severity) == (False, dg.AssetCheckSeverity.WARN)
        there.switch("daily_slate", InstigatorStatus.RUNNING)
        assert (says().passed, says().severity) == (False, dg.AssetCheckSeverity.ERROR)
