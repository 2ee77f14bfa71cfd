"""The sensor and the schedules through Dagster: what they ask for, when, and what the runs make of it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from itertools import takewhile
from pathlib import Path
from zoneinfo import ZoneInfo

import dagster as dg
import pytest
from dagster._utils.schedules import cron_string_iterator, get_latest_completed_cron_tick

from nba_ml.automation import NEW_YORK, STANDING_CHECKS, build_jobs, build_sensors
from nba_ml.core.follow import Followed
from nba_ml.core.lineage import Inputs
from nba_ml.core.progress import MonthProgress, TableState
from nba_ml.core.season import season_months
from nba_ml.core.snapshot import MonthRows
from nba_ml.definitions import build_defs, month_rows_of, partitions_of
from nba_ml.freshness import HELD_FRESH, POLICY
from nba_ml.home import open_instance
from nba_ml.resources.month_rows import FEATURES, SUMMARY, MonthRowsSource
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


# --- schedules ------------------------------------------------------------------------------------------------


def graph(tmp_path: Path, **environ: str) -> dg.Definitions:
    return build_defs(Settings.from_environment({"NBA_ML_HOME": str(tmp_path), **environ}))


def schedules(defs: dg.Definitions) -> dict[str, dg.ScheduleDefinition]:
    return {each.name: each for each in defs.schedules or () if isinstance(each, dg.ScheduleDefinition)}


def ticks(schedule: dg.ScheduleDefinition, first: datetime, last: datetime) -> list[datetime]:
    """When the scheduler would evaluate it."""
    assert isinstance(schedule.cron_schedule, str)
    every = cron_string_iterator(first.timestamp(), schedule.cron_schedule, schedule.execution_timezone)
    return list(takewhile(lambda moment: moment <= last, every))


@cache
def untouched() -> dg.DagsterInstance:
    """An instance that nobody writes to."""
    return dg.DagsterInstance.local_temp()


def asked(
    defs: dg.Definitions,
    name: str,
    moment: datetime,
    month_rows: MonthRowsSource | None = None,
    instance: dg.DagsterInstance | None = None,
) -> list[dg.RunRequest] | str:
    """What a tick asks for, or why it skips. Without an instance: in one in which nothing was ever made."""
    resources = {"month_rows": month_rows} if month_rows else {}
    with dg.build_schedule_context(
        instance=instance or untouched(),
        scheduled_execution_time=moment,
        repository_def=defs.get_repository_def(),
        resources=resources,
    ) as context:
        data = schedules(defs)[name].evaluate_tick(context)
    return list(data.run_requests or []) or str(data.skip_message)


def test_a_year_of_monthly_training(tmp_path: Path) -> None:
    """Guards against a month that no tick asks for, one asked for twice, and a tick for a month without games."""
    defs = graph(tmp_path)
    when = ticks(
        schedules(defs)["monthly_training"], datetime(2022, 9, 1, tzinfo=UTC), datetime(2023, 9, 1, tzinfo=UTC)
    )
    requests = [asked(defs, "monthly_training", moment) for moment in when]
    assert [r[0].partition_key for r in requests if not isinstance(r, str)] == season_months("2022-10", "2023-06")
    assert requests[0][0].run_key == "monthly_training-2022-10"  # type: ignore[union-attr]
    assert len(requests) == 9
    # Nine in New York on both sides of the change of clocks.
    assert {moment.astimezone(ZoneInfo(NEW_YORK)).hour for moment in when} == {9}
    assert {moment.astimezone(UTC).hour for moment in when} == {13, 14}


BIGQUERY = {"NBA_ML_SOURCE": "bigquery", "NBA_ML_BIGQUERY_PROJECT": "some-project"}


class Tables(MonthRowsSource):
    """A source that says how far a month is, and has no rows."""

    played: int
    covered: int

    def read(self, month: str) -> tuple[MonthRows, Inputs]:
        raise NotImplementedError(month)

    def progress(self, months: list[str]) -> list[MonthProgress]:
        state = TableState(self.played, 1, 1, 1, None, "v")
        return [MonthProgress(month, state, state, self.covered, None) for month in months]


def test_a_year_of_weekly_training(tmp_path: Path) -> None:
    """Guards the running month: each Monday's own, none in the off-season, a key of its own for each week."""
    defs = graph(tmp_path, **BIGQUERY)
    when = ticks(schedules(defs)["weekly_training"], datetime(2022, 9, 1, tzinfo=UTC), datetime(2023, 9, 1, tzinfo=UTC))
    assert {moment.weekday() for moment in when} == {0}
    found = [asked(defs, "weekly_training", moment, Tables(played=500, covered=500)) for moment in when]
    requests = [each[0] for each in found if not isinstance(each, str)]
    assert len(requests) == len(when) == len({r.run_key for r in requests}) == 39
    assert [r.partition_key for r in requests] == [f"{moment:%Y-%m}" for moment in when]
    assert not {"07", "08", "09"} & {str(r.partition_key)[5:] for r in requests}


@pytest.mark.parametrize("name", ["monthly_training", "weekly_training"])
def test_where_the_source_has_no_such_month_a_tick_skips_with_a_sentence(tmp_path: Path, name: str) -> None:
    """Guards against a red tick every month on a laptop, whose data end in 2025-06."""
    said = asked(graph(tmp_path), name, datetime(2025, 12, 2, 14, tzinfo=UTC))
    month = {"monthly_training": "2025-11", "weekly_training": "2025-12"}[name]
    assert said == (f"{month} is no month of the source, which has 2021-10 to 2025-06: there is nothing to train on.")


def test_every_schedule_is_off_until_somebody_turns_it_on(tmp_path: Path) -> None:
    """Guards against a laptop that trains by night."""
    found = schedules(graph(tmp_path))
    assert {"monthly_training", "weekly_training", "daily_release", "daily_health"} <= set(found)
    assert {each.default_status for each in found.values()} == {dg.DefaultScheduleStatus.STOPPED}
    assert {each.execution_timezone for each in found.values()} == {NEW_YORK}


@pytest.mark.parametrize(("played", "covered", "asks"), [(0, 0, False), (500, 100, False), (500, 450, True)])
def test_the_running_month_is_trained_once_its_games_have_features(
    tmp_path: Path, played: int, covered: int, asks: bool
) -> None:
    """Guards against a failed run each Monday of October before the first game."""
    rows = Tables(played=played, covered=covered)
    found = asked(graph(tmp_path, **BIGQUERY), "weekly_training", datetime(2024, 11, 4, 14, tzinfo=UTC), rows)
    assert isinstance(found, list) is asks
    if not asks:
        assert f"{covered:,} of them, too few to train on" in str(found)


@pytest.mark.parametrize("source", [{}, BIGQUERY], ids=["embedded", "bigquery"])
def test_a_month_is_graded_once_the_month_before_has_a_model(tmp_path: Path, source: dict[str, str]) -> None:
    """Guards the first scheduled run after `nba-ml run`, which trained one model: it failed for want of the one before.

    The months before were read, which is enough to train on.
    """
    defs, moment = graph(tmp_path, **source), datetime(2024, 2, 2, 14, tzinfo=UTC)
    chain = {"feature_store_snapshot", "train_split", "xgboost_model", "model_metadata", "gcs_artifact", "champion"}
    made_here = set() if source else {"player_game_summary", "ml_feature_store_v2"}
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        instance.report_runless_asset_event(dg.AssetMaterialization("xgboost_model", partition="2024-01"))
        instance.report_runless_asset_event(dg.AssetMaterialization("feature_store_snapshot", partition="2023-12"))
        found = asked(defs, "monthly_training", moment, instance=instance)[0]
        assert isinstance(found, dg.RunRequest)
        assert {key.to_user_string() for key in found.asset_selection or ()} == chain | made_here
        assert "2023-12 has no model to predict with" in found.tags["nba_ml/left_out"]
        job = defs.resolve_job_def("monthly_retraining").get_subset(asset_selection=set(found.asset_selection or ()))
        assert {key.name for key in job.asset_layer.asset_graph.asset_check_keys} >= set(STANDING_CHECKS)

        instance.report_runless_asset_event(dg.AssetMaterialization("xgboost_model", partition="2023-12"))
        found = asked(defs, "monthly_training", moment, instance=instance)[0]
        assert isinstance(found, dg.RunRequest)
        assert found.asset_selection is None


# --- the job that retrains ------------------------------------------------------------------------------------


def test_one_run_makes_the_month_and_decides_on_the_champion(deployment: Deployment) -> None:
    """Guards against a published model that nobody proposes, and against a second run that would be needed."""
    job = deployment.defs.resolve_job_def("monthly_retraining")
    for month in ("2021-10", "2021-11"):
        result = job.execute_in_process(instance=deployment.instance, partition_key=month)
        assert result.success
    [event] = result.asset_materializations_for_node("champion")
    assert event.partition is None
    assert str(event.metadata["champion"].value).startswith("xgboost_v1_33features_202111_")
    made = {e.asset_key.to_user_string() for e in result.get_asset_materialization_events() if e.asset_key}
    assert {"prediction_grades", "gcs_artifact"} <= made
    assert {e.check_name for e in result.get_asset_check_evaluations()} >= set(STANDING_CHECKS)

    release = deployment.defs.resolve_job_def("release").execute_in_process(instance=deployment.instance)
    assert release.success
    assert release.asset_materializations_for_node("rollout")


def test_a_refused_model_leaves_the_champion_alone(tmp_path: Path) -> None:
    """Guards against a champion that is decided in the run whose model was refused."""
    settings = Settings.from_environment({"NBA_ML_HOME": str(tmp_path), "NBA_ML_THREADS": "1"})
    with open_instance(settings) as instance:
        job = build_defs(settings).resolve_job_def("monthly_retraining")
        assert job.execute_in_process(instance=instance, partition_key="2021-10").success
        before = instance.get_latest_materialization_event(dg.AssetKey("champion"))
        result = job.execute_in_process(instance=instance, partition_key="2021-11", raise_on_error=False)
        assert not result.success
        assert result.asset_materializations_for_node("champion") == []
        after = instance.get_latest_materialization_event(dg.AssetKey("champion"))
    assert before is not None
    assert after is not None
    assert after.run_id == before.run_id


# --- freshness ------------------------------------------------------------------------------------------------


def test_only_a_source_that_grows_has_freshness_policies(tmp_path: Path) -> None:
    """Guards against a laptop whose graph is red for ever, and a deployment without a policy."""

    def held(environ: dict[str, str]) -> set[str]:
        assets = graph(tmp_path, **environ).resolve_asset_graph()
        return {key.to_user_string() for key in assets.get_all_asset_keys() if assets.get(key).freshness_policy}

    assert held({}) == set()
    assert held(BIGQUERY) == HELD_FRESH


@pytest.mark.parametrize(
    ("today", "deadline"),
    [("2024-07-20", "2024-07-08"), ("2024-10-31", "2024-07-08"), ("2024-11-07", "2024-07-08"),
     ("2024-11-09", "2024-11-08"), ("2025-03-08", "2025-03-08")],
)  # fmt: skip
def test_the_off_season_has_no_deadline(today: str, deadline: str) -> None:
    """Guards against an alarm in September: what counts there is still July's deadline."""
    now = datetime.fromisoformat(f"{today}T12:00").replace(tzinfo=ZoneInfo(NEW_YORK))
    last = get_latest_completed_cron_tick(POLICY.deadline_cron, now, POLICY.timezone)
    assert f"{last.astimezone(ZoneInfo(NEW_YORK)):%Y-%m-%d}" == deadline
