"""`slate_predictions` and `slate_grades` through Dagster, the job, and its schedule."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import dagster as dg
import pyarrow as pa
import pytest
from dagster._core.definitions.partitions.context import partition_loading_context

from nba_ml.checks.registry import STORED
from nba_ml.contract.features import V2_33FEATURES, FeatureVersion
from nba_ml.data.table_digest import DigestedTable
from nba_ml.defs.assets.slate_predictions import days_of
from nba_ml.defs.build import build_defs
from nba_ml.defs.jobs import build_grading_job, build_slate_job
from nba_ml.defs.partitions import season_months
from nba_ml.defs.resources import Store
from nba_ml.defs.resources import slate_rows_of as slate_rows_of_settings
from nba_ml.defs.schedules import build_grading_schedule, build_slate_schedule
from nba_ml.defs.sensors.failures import notice_of
from nba_ml.registry.promotion import promote
from nba_ml.registry.rollback import rollout_stop
from nba_ml.registry.rollout import rollout_start
from nba_ml.slates.operations import SlateContext, predict_slate
from nba_ml.slates.rows import StoredSlateRows
from nba_ml.slates.store import SlateStore
from nba_ml_tests.conftest import features_of
from nba_ml_tests.defs.test_chain import Home, failure, materialised, opened
from nba_ml_tests.release_scene import bench_of, published_model
from nba_ml_tests.slate_scene import AFTERWARDS, BEFORE_THE_GAMES, DAY, slate_rows_of
from nba_ml_tests.slates.test_prediction_table import Table, table
from nba_ml_tests.slates.test_upcoming import before, schedule

pytestmark = pytest.mark.slow

__all__ = ["table"]

DAYS = tuple(date(2022, 1, day) for day in range(12, 18))
WHY = "for a test of the slates"


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    """Snapshots, the features of a month, a champion of December and the mock beside it."""
    with opened(tmp_path / "home") as home:
        home.months.save(STORED["ml_feature_store_v2"], "2022-01", DigestedTable(features_of("2022-01"), "a digest"))
        bench = bench_of(home.artifacts, home.months.objects)
        promote(bench, AFTERWARDS, published_model(home.artifacts, "2021-12"), WHY)
        rollout_start(bench, "mock", AFTERWARDS, WHY, DAYS[0], share=10)
        yield home


def run(
    home: Home, asset: str, partition: str, config: dict[str, bool | str] | None = None
) -> dg.ExecuteInProcessResult:
    job = home.defs.resolve_implicit_global_asset_job_def().get_subset(asset_selection=frozenset([dg.AssetKey(asset)]))
    return job.execute_in_process(
        instance=home.instance,
        partition_key=partition,
        run_config={"ops": {asset: {"config": config}}} if config else {},
        raise_on_error=False,
    )


def facts(result: dg.ExecuteInProcessResult, asset: str) -> dict[str, Any]:
    assert result.success
    return {name: value.value for name, value in materialised(result)[asset].metadata.items()}


def test_a_slate_and_its_grade_in_the_ui(home: Home) -> None:
    """Guards the way from a date to a graded month: what is shown of it, under stable keys."""
    found = [facts(run(home, "slate_predictions", day.isoformat()), "slate_predictions") for day in DAYS]
    rows = slate_rows_of(DAYS[0]).num_rows
    assert (found[0]["rows"], found[0]["served"], found[0]["set_aside"], found[0]["counts"]) == (rows, rows, 0, True)
    assert found[0]["served_by_champion"] + found[0]["served_by_challenger"] == rows
    assert found[0]["recommended_no_line"] == rows  # no lines were kept of 2022
    assert (found[0]["challenger"], found[0]["channel_serial"], found[0]["replayed"]) == ("mock", 2, True)
    assert found[0]["dagster/uri"].endswith("slates/2022-01-12/000001.parquet")
    again = facts(run(home, "slate_predictions", DAYS[0].isoformat()), "slate_predictions")
    assert (again["version"], again["created_at"]) == (1, found[0]["created_at"])
    graded = facts(run(home, "slate_grades", "2022-01"), "slate_grades")
    assert (graded["dates"], graded["replayed_dates"], graded["waiting_dates"]) == (6, 6, 0)
    assert 3.5 < graded["mae_replayed"] < 6
    assert "| challenger | shadow | replayed |" in " ".join(str(graded["grades"]).split())
    assert "| mock" in str(graded["compared"])
    assert home.months.objects.read("slate_grades/2022-01.parquet") is not None


def test_a_date_without_games_fails_with_advice(home: Home) -> None:
    """Guards against a green partition over nothing."""
    result = run(home, "slate_predictions", "2021-12-25")
    assert not result.success
    assert "There are no feature rows of 2021-12-25" in failure(result, "slate_predictions")


class OtherUnits(StoredSlateRows):
    """A feature store whose values changed their units: no row keeps the contract."""

    def read(self, day: date, version: FeatureVersion = V2_33FEATURES) -> pa.Table:
        rows = super().read(day, version)
        at = rows.schema.get_field_index("features")
        values = [[None if v is None else v * 1000 + 500 for v in row] for row in rows.column(at).to_pylist()]
        return rows.set_column(at, rows.schema.field(at), pa.array(values, rows.schema.field(at).type))


def checked(result: dg.ExecuteInProcessResult) -> dict[str, dg.AssetCheckEvaluation]:
    return {each.check_name: each for each in result.get_asset_check_evaluations()}


def test_a_slate_of_nobody_is_red_and_told(home: Home) -> None:
    """Guards against a green run over a slate in which nobody is predicted, and against silence about it."""
    broken = {"slate_rows": OtherUnits(home.settings.store)}
    there = replace(home, defs=build_defs(home.settings, resource_overrides=broken))
    result = there.defs.resolve_job_def("slate").execute_in_process(
        instance=home.instance, partition_key=DAY.isoformat(), raise_on_error=False
    )
    assert not result.success
    said = checked(result)
    assert {name: each.passed for name, each in said.items()} == {"somebody_predicted": False, "few_set_aside": False}
    assert {each.partition for each in said.values()} == {DAY.isoformat()}
    notice = notice_of(home.instance, result.run_id, None)
    assert notice is not None
    assert (notice.asset, notice.day) == ("slate_predictions", DAY.isoformat())
    assert "slate_predictions.somebody_predicted: failed: Players predicted: 0" in notice.said


def test_a_slate_is_checked_in_its_own_run_and_by_itself_later(home: Home) -> None:
    """Guards against checks that run before their slate is there, or not at all."""
    job = home.defs.resolve_job_def("slate")
    made = job.execute_in_process(instance=home.instance, partition_key=DAY.isoformat())
    assert {name: each.passed for name, each in checked(made).items()} == dict.fromkeys(checked(made), True)
    assert set(checked(made)) == {"somebody_predicted", "few_set_aside"}
    only = job.get_subset(
        asset_selection=frozenset(),
        asset_check_selection=frozenset([dg.AssetCheckKey(dg.AssetKey("slate_predictions"), "few_set_aside")]),
    )
    later = only.execute_in_process(instance=home.instance, partition_key=DAY.isoformat())
    assert set(checked(later)) == {"few_set_aside"}
    never = only.execute_in_process(instance=home.instance, partition_key="2022-01-16", raise_on_error=False)
    assert "No slate of 2022-01-16 is kept" in failure(never, "slate_predictions_checks")


def test_a_slate_that_cannot_go_to_bigquery_fails(home: Home) -> None:
    """Guards against a run that says it wrote what it did not."""
    result = run(home, "slate_predictions", DAYS[0].isoformat(), {"to_bigquery": True})
    assert not result.success
    assert "NBA_ML_SOURCE is 'embedded'" in failure(result, "slate_predictions")


def test_a_late_slate_brings_the_one_that_counts(home: Home, table: Table) -> None:
    """Guards against a date without an active row: what was said before the games was never sent, this one is."""
    rows = StoredSlateRows(home.settings.store)
    slates = SlateStore(home.months.objects)
    predict_slate(SlateContext(home.artifacts, rows, slates, threads=1), DAY, BEFORE_THE_GAMES)
    rollout_stop(home.artifacts, AFTERWARDS, WHY)
    there = replace(home, defs=build_defs(home.settings, resource_overrides={"prediction_table": table.writer()}))
    late = facts(run(there, "slate_predictions", DAY.isoformat(), {"to_bigquery": True}), "slate_predictions")
    assert (late["version"], late["counts"], late["bigquery_active_version"]) == (2, False, 1)
    assert late["bigquery_rows"] == late["dagster/partition_row_count"]
    assert {(row["slate_version"], row["is_active"]) for row in table.rows() if row["role"] == "served"} == {
        (1, True),
        (2, False),
    }


def test_a_month_without_slates_fails_with_advice(home: Home) -> None:
    """Guards against an empty grade that looks like one."""
    result = run(home, "slate_grades", "2022-01")
    assert not result.success
    assert "There are no slates of 2022-01 to grade" in failure(result, "slate_grades")


def test_the_days_are_those_of_the_months() -> None:
    """Guards against a day that no month has, and against a today that is no partition."""
    bounded = days_of(season_months("2021-10", "2022-10"))
    keys = bounded.get_partition_keys()
    assert (keys[0], keys[-1]) == ("2021-10-01", "2022-10-31")
    assert not [key for key in keys if key[5:7] in ("07", "08", "09")]
    growing = days_of(season_months("2021-10", None))
    scheduled = days_of(season_months("2021-10", "2022-10"), scheduled=True)
    with partition_loading_context(effective_dt=datetime(2026, 1, 5, 22, tzinfo=UTC)):
        assert growing.get_last_partition_key() == scheduled.get_last_partition_key() == "2026-01-05"


@pytest.mark.parametrize("day", ["2022-01-15", "2021-10-01", "2022-06-30"])
def test_a_day_depends_on_its_month_alone(home: Home, day: str) -> None:
    """Guards against a slate that the UI calls stale when another month's features change."""
    graph = home.defs.resolve_asset_graph()
    node = graph.get(dg.AssetKey("slate_predictions"))
    (spec,) = node.assets_def.specs
    (mapping,) = [dep.partition_mapping for dep in spec.deps if dep.asset_key == dg.AssetKey("ml_feature_store_v2")]
    assert mapping is not None
    months, days = season_months("2021-10", "2022-06"), days_of(season_months("2021-10", "2022-06"))
    found = mapping.get_upstream_mapped_partitions_result_for_partitions(
        days.subset_with_partition_keys([day]), days, months
    )
    assert list(found.partitions_subset.get_partition_keys()) == [day[:7]]


def test_tonight_in_dagster(tmp_path: Path) -> None:
    """Guards a user's evening in the UI: a schedule's game of a month without box scores, and games that are named."""
    data = before(tmp_path / "data", DAY)
    for month in ("2021-12", "2022-01"):
        schedule(data, DAY if month == "2022-01" else date(2021, 12, 15), name=month)
    (data / "player_games" / "2022-01.parquet").unlink()
    with opened(tmp_path / "home", data=data) as home:
        promote(
            bench_of(home.artifacts, home.months.objects), AFTERWARDS, published_model(home.artifacts, "2021-11"), WHY
        )
        day = date(2022, 1, 1)
        named = facts(run(home, "slate_predictions", day.isoformat(), {"games": "BKN@CHI"}), "slate_predictions")
        assert named["made_from"][0].startswith("1 games named by --games, ")
        assert named["served"] > 15
        asked = tick(home, datetime(2022, 1, 15, 17, tzinfo=ZoneInfo("America/New_York")), scheduled=True)
        assert isinstance(asked, dg.RunRequest)
        failed = run(home, "slate_predictions", asked.partition_key or "")
        assert "The last box score is of 2021-12-31, 15 days before 2022-01-15" in failure(failed, "slate_predictions")


# --- the schedule ---------------------------------------------------------------------------------------------


def tick(
    home: Home, at: datetime, last: str | None = "2021-12", *, to_bigquery: bool = False, scheduled: bool = False
) -> dg.RunRequest | dg.SkipReason:
    days = days_of(season_months("2021-10", last), scheduled=scheduled)
    schedule = build_slate_schedule(days, build_slate_job(), to_bigquery=to_bigquery)
    with dg.build_schedule_context(
        instance=home.instance,
        scheduled_execution_time=at,
        resources={"slate_rows": slate_rows_of_settings(home.settings)},
    ) as context:
        found = schedule(context)
    assert isinstance(found, dg.RunRequest | dg.SkipReason)
    return found


def test_the_schedule_asks_for_the_slate_of_today_in_new_york(home: Home) -> None:
    """Guards against tomorrow's slate asked for because it is past midnight in UTC, and against two runs a day."""
    found = tick(home, datetime(2022, 1, 15, 17, tzinfo=ZoneInfo("America/New_York")), "2022-06", to_bigquery=True)
    assert isinstance(found, dg.RunRequest)
    assert (found.partition_key, found.run_key) == ("2022-01-15", "slate-2022-01-15")
    assert found.run_config == {"ops": {"slate_predictions": {"config": {"to_bigquery": True}}}}


@pytest.mark.parametrize(
    ("day", "last", "reason"),
    [
        (date(2022, 2, 3), "2022-06", "no rows of 2022-02-03; the latest before it are of 2022-01-31"),
        (date(2022, 7, 4), "2022-06", "2022-07-04 is not in the source, whose last date is 2022-06-30"),
        (date(2022, 6, 1), "2022-06", "no rows of 2022-06-01: no game today, or its features are not made yet"),
    ],
)
def test_the_schedule_skips_with_a_reason(home: Home, day: date, last: str, reason: str) -> None:
    """Guards against a red run on every day without a game."""
    found = tick(home, datetime(day.year, day.month, day.day, 21, tzinfo=UTC), last)
    assert isinstance(found, dg.SkipReason)
    assert reason in (found.skip_message or "")


def test_the_month_that_ended_is_graded_where_slates_of_it_were_kept(home: Home) -> None:
    """Guards against served predictions that nobody grades, and against a red run where none were served."""
    schedule = build_grading_schedule(build_grading_job())

    def on(day: date) -> dg.RunRequest | dg.SkipReason:
        at = datetime(day.year, day.month, day.day, 13, tzinfo=ZoneInfo("America/New_York"))
        resources = {"store": Store(root=home.settings.store)}
        with dg.build_schedule_context(
            instance=home.instance, scheduled_execution_time=at, resources=resources
        ) as context:
            found = schedule(context)
        assert isinstance(found, dg.RunRequest | dg.SkipReason)
        return found

    assert run(home, "slate_predictions", "2022-01-15").success
    found = on(date(2022, 2, 2))
    assert isinstance(found, dg.RunRequest)
    assert (found.partition_key, found.run_key) == ("2022-01", "slate_grading-2022-01")
    skipped = on(date(2022, 7, 2))
    assert isinstance(skipped, dg.SkipReason)
    assert "No slate of 2022-06 was kept" in (skipped.skip_message or "")


@pytest.mark.parametrize("name", ["daily_slate", "monthly_grading"])
def test_the_schedule_is_off_until_somebody_turns_it_on(home: Home, name: str) -> None:
    """Guards against a new home that starts to work by itself."""
    (schedule,) = [each for each in home.defs.schedules or () if each.name == name]
    assert isinstance(schedule, dg.ScheduleDefinition)
    assert schedule.default_status == dg.DefaultScheduleStatus.STOPPED
    assert schedule.execution_timezone == "America/New_York"
