"""The sensor and the schedules through Dagster: what they ask for, when, and what the runs make of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import takewhile
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_OID, uuid5
from zoneinfo import ZoneInfo

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from dagster._core.errors import ScheduleExecutionError
from dagster._grpc.utils import default_schedule_grpc_timeout, default_sensor_grpc_timeout
from dagster._utils.schedules import cron_string_iterator, get_latest_completed_cron_tick

from nba_ml.checks.registry import STORED
from nba_ml.contract.assets import CHAIN
from nba_ml.contract.errors import SourceDataError
from nba_ml.contract.lineage import Inputs
from nba_ml.contract.season import season_months
from nba_ml.contract.systems import XGBOOST_V1, XGBOOST_V2, System
from nba_ml.data.progress import MonthProgress, TableState
from nba_ml.data.snapshot import MonthRows
from nba_ml.data.table_digest import DigestedTable, table_digest
from nba_ml.defs.build import build_defs
from nba_ml.defs.freshness import HELD_FRESH, POLICY
from nba_ml.defs.jobs import STANDING_CHECKS, build_jobs
from nba_ml.defs.partitions import partitions_of
from nba_ml.defs.resources import month_rows_of, open_store
from nba_ml.defs.schedules import ANSWERED_WITHIN, NEW_YORK
from nba_ml.defs.sensors.backfill_decision import Followed
from nba_ml.defs.sensors.feature_backfill import build_sensors
from nba_ml.runner.home import open_instance
from nba_ml.settings import Settings
from nba_ml.sources.bigquery import BigQueryFeatureSource
from nba_ml.sources.bigquery_connection import BigQueryConnection
from nba_ml.sources.month_rows import FEATURES, SUMMARY, MonthRowsSource, StoredMonthRows
from nba_ml_tests.limits import LENIENT, written
from nba_ml_tests.mail import silent_server

pytestmark = pytest.mark.slow

ONE_SYSTEM = {"NBA_ML_SYSTEMS": XGBOOST_V1.id}


class Deployment:
    """A home, its graph, its instance and the sensor with its cursor.

    The sensor follows whatever fills the two tables. Here the graph's own assets do, in place of a platform.
    """

    def __init__(self, settings: Settings, instance: dg.DagsterInstance) -> None:
        self.instance = instance
        self.defs = build_defs(settings)
        rows = month_rows_of(settings)
        assert isinstance(rows, StoredMonthRows)
        self.rows = rows
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
        """What a look asks for. As with the daemon, each has become a run then, with the key as a tag."""
        result = self.look()
        assert isinstance(result, dg.SensorResult), result
        requests = list(result.run_requests or [])
        for request in requests:
            self.instance.add_run(dg.DagsterRun(str(request.job_name), _run_id(request), tags=_tags(request)))
        return requests

    def says(self) -> str:
        """Why a look asks for nothing."""
        skipped = self.look()
        assert isinstance(skipped, dg.SkipReason), skipped
        return str(skipped.skip_message)

    def run(self, request: dg.RunRequest, *, fails: bool = False) -> None:
        """Run what was asked for."""
        self.instance.delete_run(_run_id(request))
        result = self._job(request).execute_in_process(
            instance=self.instance,
            partition_key=request.partition_key,
            tags=_tags(request),
            run_id=_run_id(request),
            raise_on_error=not fails,
        )
        assert result.success is not fails

    def change(self, month: str, column: str, values: Callable[[pa.ChunkedArray], pa.ChunkedArray]) -> None:
        """Other values in a column of the month's feature rows, as if the backfill had written them."""
        store = open_store(self.rows.root)
        value = store.require(STORED[FEATURES], [month])[month]
        assert isinstance(value, DigestedTable)
        index = value.table.column_names.index(column)
        table = value.table.set_column(index, value.table.schema.field(index), values(value.table.column(column)))
        store.save(STORED[FEATURES], month, DigestedTable(table, table_digest(table)))

    def _job(self, request: dg.RunRequest) -> dg.JobDefinition:
        assert request.job_name is not None
        return self.defs.resolve_job_def(request.job_name)


def _run_id(request: dg.RunRequest) -> str:
    return str(uuid5(NAMESPACE_OID, str(request.run_key)))


def _tags(request: dg.RunRequest) -> dict[str, str]:
    return {**request.tags, "dagster/run_key": str(request.run_key), "dagster/partition": str(request.partition_key)}


@pytest.fixture
def deployment(tmp_path: Path) -> Iterator[Deployment]:
    environ = {**ONE_SYSTEM, "NBA_ML_HOME": str(tmp_path), "NBA_ML_THREADS": "1"}
    settings = Settings.from_environment({**environ, "NBA_ML_THRESHOLDS": str(written(LENIENT))})
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
    first, second = (f"{r.partition_key} (run {_run_id(r)})" for r in snapshots)
    assert deployment.says() == f"The snapshot of {first}, {second} was asked for and is not there yet."

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
    for _ in ("the snapshot", "the model"):
        [request] = deployment.requests()
        deployment.cursor = None
        again = deployment.look()
        assert isinstance(again, dg.SensorResult)
        assert [r.run_key for r in again.run_requests or ()] == [request.run_key]
        deployment.run(request)
    assert Followed.model_validate_json(deployment.cursor or "").models.keys() == {"2021-10"}


def test_rows_that_come_in_between_look_and_run_do_not_stop_it(deployment: Deployment) -> None:
    """Guards against a sensor stuck for good, because the run took newer rows than were asked for."""
    deployment.materialise("2021-10", SUMMARY, FEATURES)
    [snapshot] = deployment.requests()
    deployment.change("2021-10", "updated_at", later)
    deployment.run(snapshot)
    [model] = deployment.requests()
    assert model.job_name == "monthly_model"
    deployment.run(model)
    assert deployment.says() == "Nothing changed."


def test_a_snapshot_that_comes_out_the_same_is_no_reason_to_train(deployment: Deployment) -> None:
    """Guards against every model trained anew because the tables were written again, or their versions are computed
    in another way than before an upgrade: the snapshot is taken again, and its digest is what counts."""
    for month in ("2021-10", "2021-11"):
        deployment.materialise(month, SUMMARY, FEATURES)
    for _ in ("the snapshots", "the model"):
        for request in deployment.requests():
            deployment.run(request)
    deployment.change("2021-11", "updated_at", later)
    [snapshot] = deployment.requests()
    assert snapshot.job_name == "monthly_snapshot"
    deployment.run(snapshot)
    assert deployment.says() == "Nothing changed."
    deployment.change("2021-11", "feature_quality_score", better)
    [snapshot] = deployment.requests()
    deployment.run(snapshot)
    assert [r.job_name for r in deployment.requests()] == ["monthly_model"]


def test_a_snapshot_taken_by_hand_settles_what_was_asked_for(deployment: Deployment) -> None:
    """Guards against a sensor that only believes its own runs: this one was cancelled, and somebody helped."""
    deployment.materialise("2021-10", SUMMARY, FEATURES, "feature_store_snapshot")
    deployment.change("2021-10", "updated_at", later)
    [snapshot] = deployment.requests()
    run = deployment.instance.get_run_by_id(_run_id(snapshot))
    assert run is not None
    deployment.instance.report_run_canceled(run)
    assert f"The snapshot of 2021-10 failed (run {run.run_id}): fix the cause" in deployment.says()
    deployment.materialise("2021-10", "feature_store_snapshot")
    assert [r.job_name for r in deployment.requests()] == ["monthly_model"]


def test_a_snapshot_that_failed_is_named_and_taken_again_when_its_rows_change(deployment: Deployment) -> None:
    """Guards against 'not there yet' for ever, and against no way out but by hand."""
    for month in ("2021-10", "2021-11"):
        deployment.materialise(month, SUMMARY, FEATURES)
    deployment.change("2021-11", "feature_version", older)
    october, november = deployment.requests()
    deployment.run(october)
    deployment.run(november, fails=True)
    [model] = deployment.requests()
    assert model.partition_key == "2021-10", "the month before does not need it"
    deployment.run(model)
    assert deployment.says() == (
        f"Nothing changed. The snapshot of 2021-11 failed (run {_run_id(november)}): fix the cause and materialise it "
        "by hand; until then no model of that month or a later one is asked for."
    )
    deployment.materialise("2021-11", SUMMARY, FEATURES)
    [again] = deployment.requests()
    assert again.run_key != november.run_key
    deployment.run(again)
    assert [(r.job_name, r.partition_key) for r in deployment.requests()] == [("monthly_model", "2021-11")]


def test_no_model_is_asked_for_on_a_snapshot_that_a_check_stopped(deployment: Deployment) -> None:
    """Guards against training that the publisher can only refuse, whoever took the snapshot."""
    for month in ("2021-10", "2021-11"):
        deployment.materialise(month, SUMMARY, FEATURES)
    deployment.materialise("2021-10", "feature_store_snapshot")
    deployment.change("2021-11", "features", with_a_leak)
    job = deployment.defs.resolve_job_def("monthly_snapshot")
    by_hand = job.execute_in_process(instance=deployment.instance, partition_key="2021-11", raise_on_error=False)
    assert not by_hand.success
    [model] = deployment.requests()
    assert (model.job_name, model.partition_key) == ("monthly_model", "2021-10")
    deployment.run(model)
    assert f"The snapshot of 2021-11 did not pass its checks (run {by_hand.run_id})" in deployment.says()


def better(feature_quality_score: pa.ChunkedArray) -> pa.ChunkedArray:
    """Another quality in every row: it is part of a snapshot."""
    return pa.chunked_array([pa.array([1] * len(feature_quality_score), feature_quality_score.type)])


def older(feature_version: pa.ChunkedArray) -> pa.ChunkedArray:
    """Rows of a version that is not the contract's."""
    return pa.chunked_array([["v1"] * len(feature_version)])


@pytest.fixture
def silent_bigquery(monkeypatch: pytest.MonkeyPatch) -> Iterator[BigQueryFeatureSource]:
    """Tables of which nothing is heard, by a connection that would wait for 20 s where a tick waits for half of one."""
    for asker in ("schedules", "sensors.feature_backfill"):
        monkeypatch.setattr(f"nba_ml.defs.{asker}.ANSWERED_WITHIN", 0.5)
    with silent_server() as port:
        yield BigQueryFeatureSource(
            connection=BigQueryConnection(
                project="some-project",
                endpoint=f"http://127.0.0.1:{port}",
                storage_endpoint=f"127.0.0.1:{port}",
                deadline_seconds=20.0,
                request_seconds=20.0,
            ),
            feature_table="a.features",
            summary_table="a.summary",
        )


@pytest.mark.filterwarnings("ignore:InitResourceContext.dagster_run")  # Dagster's own use of it
def test_a_silent_source_is_named_before_dagster_kills_the_tick(
    deployment: Deployment, silent_bigquery: BigQueryFeatureSource
) -> None:
    """Guards against 'Unable to reach the user code server' on the sensor's page, where BigQuery is what is silent."""
    with (
        dg.build_sensor_context(
            instance=deployment.instance, resources={"month_rows": silent_bigquery}, definitions=deployment.defs
        ) as context,
        pytest.raises(SourceDataError, match=r"BigQuery, project some-project did not answer within 0\.5 s"),
    ):
        deployment.sensor(context)


def test_a_tick_gives_up_well_before_dagster_does() -> None:
    """Guards against a deadline that Dagster's own comes before."""
    assert min(default_sensor_grpc_timeout(), default_schedule_grpc_timeout()) >= ANSWERED_WITHIN + 15


def later(updated_at: pa.ChunkedArray) -> pa.ChunkedArray:
    """The same rows, written again an hour later."""
    return pc.add(updated_at, pa.scalar(timedelta(hours=1), pa.duration("us")))


def with_a_leak(features: pa.ChunkedArray) -> pa.ChunkedArray:
    """Averages that no earlier game explains, in range."""
    changed = [[value + 1 if i < 3 else value for i, value in enumerate(row)] for row in features.to_pylist()]
    return pa.chunked_array([changed], features.type)


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

BOTH_ON_BIGQUERY = {**BIGQUERY, "NBA_ML_SYSTEMS": f"{XGBOOST_V1.id},{XGBOOST_V2.id}"}


@dataclass(frozen=True)
class Tables(MonthRowsSource):
    """A source that says how far a month is, and has no rows."""

    played: int
    covered: int
    of_second: int | None = None
    """Player-games that the second system's features cover, if not as many."""

    def read(self, month: str, system: System = XGBOOST_V1) -> tuple[MonthRows, Inputs]:
        raise NotImplementedError(month)

    def progress(
        self,
        months: list[str],
        within: float | None = None,  # noqa: ARG002 (the interface)
        now: datetime | None = None,  # noqa: ARG002 (the interface)
        system: System = XGBOOST_V1,
    ) -> list[MonthProgress]:
        state = TableState(self.played, 1, 1, 1, None, "v")
        covered = self.covered if system == XGBOOST_V1 or self.of_second is None else self.of_second
        return [MonthProgress(month, state, state, covered, None) for month in months]


@pytest.mark.parametrize("month", [None, "2021-11"], ids=["all months", "one month"])
def test_one_query_observes_both_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, month: str | None) -> None:
    """Guards against a bill for the same query twice, and for every month where one was asked for."""
    settings = Settings.from_environment({"NBA_ML_HOME": str(tmp_path), **BIGQUERY})
    defs = build_defs(settings, resource_overrides={"month_rows": Tables(played=500, covered=500)})
    queries: list[list[str]] = []
    progress = Tables.progress

    def listening(self: Tables, months: list[str], **asked: Any) -> list[MonthProgress]:
        queries.append(months)
        return progress(self, months, **asked)

    monkeypatch.setattr(Tables, "progress", listening)
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        job = defs.resolve_job_def("observe_feature_store")
        assert job.execute_in_process(instance=instance, partition_key=month).success
        [months] = queries
        assert months == [month] if month else set(months) > {"2021-10", "2021-11"}
        for asset in (SUMMARY, FEATURES):
            found = instance.fetch_observations(dg.AssetKey(asset), limit=1000).records
            assert sorted(str(each.partition_key) for each in found) == months
            assert {each.asset_observation.data_version for each in found if each.asset_observation} == {"v"}
        (observation,) = (each.asset_observation for each in found[:1])
        assert observation is not None
        assert {"coverage", "status"} <= observation.metadata.keys()


def test_each_system_follows_its_own_features(tmp_path: Path) -> None:
    """Guards against a run that makes both systems' snapshots where one has its rows, and against a request that is
    taken for the other system's, whose key is known already."""
    defs = graph(tmp_path, **BOTH_ON_BIGQUERY)
    rows = Tables(played=500, covered=500, of_second=100)

    def asked_by(sensor: str) -> list[dg.RunRequest]:
        with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
            context = dg.build_sensor_context(instance=instance, resources={"month_rows": rows}, definitions=defs)
            found = defs.resolve_sensor_def(sensor)(context)
        return list(found.run_requests or ()) if isinstance(found, dg.SensorResult) else []

    first = asked_by("follow_backfill")
    assert {request.job_name for request in first} == {"monthly_snapshot"}
    assert {tuple(request.asset_selection or ()) for request in first} == {(dg.AssetKey("feature_store_snapshot"),)}
    assert asked_by("follow_backfill_xgboost_v2") == [], "its features are not there"
    rows = Tables(played=500, covered=500)
    second = asked_by("follow_backfill_xgboost_v2")
    own = (dg.AssetKey(["xgboost_v2", "feature_store_snapshot"]),)
    assert {tuple(request.asset_selection or ()) for request in second} == {own}
    assert len(first) == len(second) == 6
    assert not {request.run_key for request in first} & {request.run_key for request in second}


@pytest.mark.parametrize("schedule", ["monthly_training", "weekly_training"])
def test_a_system_whose_features_are_not_computed_is_left_out(tmp_path: Path, schedule: str) -> None:
    """Guards against a month of the first system that fails because nobody computed the second one's features."""
    defs, moment = graph(tmp_path, **BOTH_ON_BIGQUERY), datetime(2021, 12, 2, 14, tzinfo=UTC)
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        for system in (XGBOOST_V1, XGBOOST_V2):
            for asset in ("feature_store_snapshot", "xgboost_model"):
                for month in ("2021-10", "2021-11"):
                    key = dg.AssetKey.from_user_string(system.asset(asset))
                    instance.report_runless_asset_event(dg.AssetMaterialization(key, partition=month))
        found = [
            asked(defs, schedule, moment, Tables(500, 500, of_second), instance=instance)[0] for of_second in (100, 500)
        ]
    without, both = (each for each in found if isinstance(each, dg.RunRequest))
    assert not [key for key in without.asset_selection or () if key.has_prefix(["xgboost_v2"])]
    assert "lacks its v3_41features" in without.tags["nba_ml/left_out"]
    assert both.asset_selection is None, "the whole job"


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
    assert said == (f"{month} is not in the source, which has 2021-10 to 2025-06: there is nothing to train on.")


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


@pytest.mark.filterwarnings("ignore:InitResourceContext.dagster_run")  # Dagster's own use of it
def test_a_silent_source_is_named_on_the_schedules_page(tmp_path: Path, silent_bigquery: BigQueryFeatureSource) -> None:
    """Guards against a Monday of which nobody hears why nothing was trained: Dagster kills a schedule's tick too."""
    with pytest.raises(ScheduleExecutionError) as raised:
        asked(graph(tmp_path, **BIGQUERY), "weekly_training", datetime(2024, 11, 4, 14, tzinfo=UTC), silent_bigquery)
    assert isinstance(raised.value.__cause__, SourceDataError)
    assert "BigQuery, project some-project did not answer within 0.5 s" in str(raised.value.__cause__)


@pytest.mark.parametrize("source", [ONE_SYSTEM, BIGQUERY], ids=["embedded", "bigquery"])
def test_a_month_is_graded_once_the_month_before_has_a_model(tmp_path: Path, source: dict[str, str]) -> None:
    """Guards the first scheduled run after `nba-ml run`, which trained one model: it failed for want of the one before.

    The months before were read, which is enough to train on.
    """
    defs, moment = graph(tmp_path, **source), datetime(2024, 2, 2, 14, tzinfo=UTC)
    chain = {"feature_store_snapshot", "train_split", "xgboost_model", "model_metadata", "gcs_artifact", "champion"}
    made_here = set() if source == BIGQUERY else {"player_game_summary", "ml_feature_store_v2"}
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


def test_a_system_without_its_history_waits_for_it(tmp_path: Path) -> None:
    """Guards an older home, and the run after `nba-ml run`: the second system's failure kept the champion undecided."""
    defs, moment = graph(tmp_path), datetime(2021, 12, 2, 14, tzinfo=UTC)
    grades = {"predictions", "prediction_grades"}

    def made(asset: str) -> None:
        instance.report_runless_asset_event(
            dg.AssetMaterialization(dg.AssetKey.from_user_string(asset), partition="2021-10")
        )

    def selected() -> set[str]:
        found = asked(defs, "monthly_training", moment, instance=instance)[0]
        assert isinstance(found, dg.RunRequest)
        tags.append(found.tags.get("nba_ml/left_out", ""))
        return {key.to_user_string() for key in found.asset_selection or ()}

    tags: list[str] = []
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        made("xgboost_model")
        first = selected()
        assert first >= {*CHAIN, *grades, "champion"}
        assert not [asset for asset in first if asset.startswith("xgboost_v2/")]
        assert tags[-1] == "xgboost_v2: not every month before has its feature_store_snapshot"

        made("xgboost_v2/feature_store_snapshot")
        assert selected() == first | {XGBOOST_V2.asset(asset) for asset in CHAIN}
        assert tags[-1] == "xgboost_v2/predictions, xgboost_v2/prediction_grades: 2021-10 has no model to predict with"

        made("xgboost_v2/xgboost_model")
        assert selected() == set(), "the whole job"


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
    """Guards against an older model that is proposed in the run whose own was refused."""
    settings = Settings.from_environment({**ONE_SYSTEM, "NBA_ML_HOME": str(tmp_path), "NBA_ML_THREADS": "1"})
    with open_instance(settings) as instance:
        job = build_defs(settings).resolve_job_def("monthly_retraining")
        assert job.execute_in_process(instance=instance, partition_key="2021-10").success
        result = job.execute_in_process(instance=instance, partition_key="2021-11")
        [event] = result.asset_materializations_for_node("champion")
    assert str(event.metadata["note"].value).startswith("Nothing is proposed: the model of 2021-11 was refused. Not ")
    assert "candidate" not in event.metadata


# --- freshness ------------------------------------------------------------------------------------------------


def test_only_a_source_that_grows_has_freshness_policies(tmp_path: Path) -> None:
    """Guards against a laptop whose graph is red for ever, and a deployment or a second system without a policy."""

    def held(environ: dict[str, str]) -> set[str]:
        assets = graph(tmp_path, **environ).resolve_asset_graph()
        return {key.to_user_string() for key in assets.get_all_asset_keys() if assets.get(key).freshness_policy}

    assert held({}) == set()
    first = {"feature_store_snapshot", "xgboost_model", "champion"}
    assert held(BIGQUERY) == first
    both = held(BOTH_ON_BIGQUERY)
    assert both == first | {"xgboost_v2/feature_store_snapshot", "xgboost_v2/xgboost_model"}, "a system is never red"
    assert both <= HELD_FRESH


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
