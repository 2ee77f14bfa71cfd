"""Whether the release is alive, on made-up facts and a clock that is set: what is red, and what it says."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nba_ml.contract.season import season_months
from nba_ml.contract.thresholds import Thresholds
from nba_ml.monitoring.health import (
    FailedMonth,
    Level,
    Release,
    SchedulerState,
    ServingModel,
    champion_not_too_old,
    channel_signature,
    no_month_left_failed,
    playing_days,
    retraining_ran,
    scheduler_runs,
    switched_on,
)

LIMITS = Thresholds(max_champion_age_days=45, max_retraining_delay_days=7)
MONTHS = season_months("2023-10", "2025-01")
NOON = 17
"""Hours: noon in New York, in UTC."""


def at(day: str) -> datetime:
    return datetime.fromisoformat(f"{day}T{NOON}:00:00+00:00")


def release(
    *,
    months: list[str] = MONTHS,
    failed: tuple[FailedMonth, ...] = (),
    trained: dict[str, str] | None = None,
    published: tuple[str, ...] = (),
    champion: str | None = "2024-11-30",
) -> Release:
    serving = ServingModel("a_model", date.fromisoformat(champion), at("2024-12-02")) if champion else None
    made = {month: at(day) for month, day in (trained or {}).items()}
    return Release(months=months, failed=failed, trained=made, published=published, champion=serving)


def refused(month: str) -> FailedMonth:
    return FailedMonth(month, "gcs_artifact", "r" * 36, "it may not be published: beats_mock", refused=True)


# --- months left failed ---------------------------------------------------------------------------------------


def test_a_month_that_failed_and_was_not_made_good_is_red_and_says_where() -> None:
    """Guards against a hole that was red for a day and then forgotten."""
    failed = FailedMonth("2024-03", "feature_store_snapshot", "abcdef0123", "3% of the rows are rejected")
    found = no_month_left_failed(release(failed=(failed,), published=("2024-12",)))
    assert found.level is Level.RED
    assert "feature_store_snapshot of 2024-03: 3% of the rows are rejected" in found.said
    assert "backfill --from 2024-03 --to 2024-03 --only-missing" in found.next_step
    assert found.worst[0]["run"] == "abcdef0123"


def test_refused_months_are_passed_over_once_a_later_one_is_published() -> None:
    """Guards against a check that is red for ever for the first months, whose models never are good enough."""
    found = no_month_left_failed(release(failed=(refused("2023-11"), refused("2023-12")), published=("2024-02",)))
    assert found.level is Level.FINE
    assert "Refused and skipped: 2023-11, 2023-12" in found.said


def test_a_refused_newest_month_is_red() -> None:
    """Guards against a release that stands still because every new model is refused."""
    found = no_month_left_failed(release(failed=(refused("2023-11"), refused("2024-12")), published=("2024-11",)))
    assert found.level is Level.RED
    assert [each["month"] for each in found.worst] == ["2024-12"]


def test_a_month_refused_after_it_was_published_is_red() -> None:
    """Guards against silence about a running month whose newer model was refused: its older one is published."""
    found = no_month_left_failed(release(failed=(refused("2024-12"),), published=("2024-11", "2024-12")))
    assert found.level is Level.RED
    assert [each["month"] for each in found.worst] == ["2024-12"]


# --- the champion's age ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given_until", "today", "level"),
    [
        ("2024-11-30", "2025-01-02", Level.FINE),  # December's model comes today
        ("2024-11-30", "2025-01-14", Level.FINE),  # 45 days
        ("2024-11-30", "2025-01-15", Level.RED),  # 46
        ("2024-06-17", "2024-10-31", Level.FINE),  # no game has taught anybody anything since
        ("2024-06-12", "2024-12-15", Level.FINE),
        ("2024-06-17", "2024-12-15", Level.FINE),
        ("2024-06-17", "2024-12-20", Level.RED),
        ("2025-01-12", "2025-01-20", Level.FINE),  # of the weekly training
        ("2024-12-08", "2025-01-22", Level.FINE),  # 45 days
        ("2024-12-08", "2025-01-23", Level.RED),  # 46, though its id says December
    ],
)
def test_the_champions_age_counts_days_with_games_only(given_until: str, today: str, level: Level) -> None:
    """Guards against an alarm every September, against none in December, and against a month that is half a month."""
    assert champion_not_too_old(release(champion=given_until), at(today), LIMITS).level is level


@pytest.mark.parametrize(
    ("today", "says"),
    [
        ("2025-07-10", ""),  # the summer after the last month
        ("2025-12-01", "The data end with 2025-06, 154 days ago: 28 playing days are missing, and do not count."),
    ],
)
def test_data_that_end_long_ago_are_named(today: str, says: str) -> None:
    """Guards against '0 playing days ago' of a home whose files nobody has added to for a season."""
    found = champion_not_too_old(
        replace(release(champion="2025-06-17"), months=["2025-05", "2025-06"]), at(today), LIMITS
    )
    assert found.level is Level.FINE
    assert (says in found.said) if says else ("The data end" not in found.said)


def test_a_champion_whose_bundle_cannot_be_read_is_red() -> None:
    """Guards against a damaged bundle that hides every other finding, or passes for a young model."""
    damaged = replace(release(), champion=ServingModel("a_model", None, at("2024-12-02"), "it is damaged."))
    found = champion_not_too_old(damaged, at("2025-01-02"), LIMITS)
    assert (found.level, found.said) == (Level.RED, "The age of a_model is unknown: it is damaged.")
    assert "champion rollback" in found.next_step


def test_where_the_source_has_ended_the_champion_does_not_age() -> None:
    """Guards against the embedded data being red for ever."""
    ended = release(months=season_months("2023-10", "2024-06"), champion="2024-06-17")
    assert champion_not_too_old(ended, at("2026-11-23"), LIMITS).level is Level.FINE


def test_no_champion_is_red() -> None:
    """Guards against a release that is fine because nothing serves."""
    assert champion_not_too_old(release(champion=None), at("2025-01-02"), LIMITS).level is Level.RED


@given(st.dates(date(2021, 1, 1), date(2027, 1, 1)), st.integers(0, 800))
def test_playing_days_add_up(first: date, length: int) -> None:
    """Guards the count against gaps and doubles at the ends: a stretch is the sum of its parts, day by day."""
    last = first + timedelta(days=length)
    half = first + timedelta(days=length // 2)
    assert playing_days(first, last) == playing_days(first, half) + playing_days(half, last)
    assert 0 <= playing_days(first, last) <= length
    assert playing_days(last, first) == 0 or length == 0


# --- retraining -----------------------------------------------------------------------------------------------


def test_a_deleted_schedule_is_red_although_nothing_failed() -> None:
    """Guards the case this exists for: no run, no failure, no model."""
    quiet = release(trained={"2024-11": "2024-12-02"})
    assert retraining_ran(quiet, at("2025-01-07"), LIMITS).level is Level.FINE
    found = retraining_ran(quiet, at("2025-01-08"), LIMITS)
    assert found.level is Level.RED
    assert found.said == "2024-12 ended 8 days ago and was never trained. The limit is 7 days."
    assert "monthly_training" in found.next_step


def test_a_model_made_in_the_middle_of_its_month_is_not_the_months() -> None:
    """Guards against the weekly training hiding that the monthly one died."""
    weekly = release(trained={"2024-12": "2024-12-30"})
    found = retraining_ran(weekly, at("2025-01-10"), LIMITS)
    assert "was last trained on 2024-12-30, before it ended" in found.said
    assert retraining_ran(release(trained={"2024-12": "2025-01-02"}), at("2025-01-10"), LIMITS).level is Level.FINE


def test_a_later_months_model_has_learnt_from_it_too() -> None:
    """Guards against red where the running month's training made up for a missed one."""
    assert retraining_ran(release(trained={"2025-01": "2025-01-06"}), at("2025-01-10"), LIMITS).level is Level.FINE


def test_the_months_end_is_new_yorks() -> None:
    """Guards against a model made at ten in the evening of the last day counting as made after the month."""
    evening = Release(MONTHS, (), {"2024-12": datetime(2025, 1, 1, 3, tzinfo=UTC)}, (), None)
    assert retraining_ran(evening, at("2025-01-10"), LIMITS).level is Level.RED


def test_in_the_off_season_june_is_the_month_that_is_due() -> None:
    """Guards against an alarm in September for a month without games."""
    months = season_months("2023-10", "2024-06")
    assert retraining_ran(
        release(months=months, trained={"2024-06": "2024-07-02"}), at("2024-09-20"), LIMITS
    ).level is (Level.FINE)
    assert retraining_ran(release(months=months), at("2024-07-08"), LIMITS).level is Level.RED


def test_a_source_whose_first_month_runs_is_not_late() -> None:
    """Guards against red on the day that somebody begins."""
    assert retraining_ran(release(months=["2025-01"]), at("2025-01-10"), LIMITS).level is Level.FINE


# --- the daemon and the switches ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("minutes", "on", "level"),
    [(5, True, Level.FINE), (29, True, Level.FINE), (31, True, Level.RED), (31, False, Level.WARNING),
     (None, True, Level.RED)],
)  # fmt: skip
def test_a_silent_daemon_is_red_if_something_waits_for_it(minutes: int | None, on: bool, level: Level) -> None:
    """Guards against a dead daemon, which no check inside of Dagster can tell."""
    now = at("2025-01-10")
    heard = None if minutes is None else now - timedelta(minutes=minutes)
    clockwork = SchedulerState({"SENSOR": now, "SCHEDULER": heard}, {"monthly_training": on}, grows=True)
    found = scheduler_runs(clockwork, now)
    assert found.level is level
    assert ("SCHEDULER" in found.said) is (level is not Level.FINE)


@pytest.mark.parametrize(
    ("on", "grows", "level"),
    [({"monthly_training"}, True, Level.FINE), ({"follow_backfill"}, True, Level.FINE), (set(), False, Level.FINE),
     ({"weekly_training", "daily_health"}, True, Level.WARNING)],
)  # fmt: skip
def test_a_source_that_grows_without_anybody_retraining_warns(on: set[str], grows: bool, level: Level) -> None:
    """Guards against a deployment in which nobody turned the switch."""
    names = ("monthly_training", "weekly_training", "follow_backfill", "daily_health")
    found = switched_on(SchedulerState({}, {name: name in on for name in names}, grows))
    assert found.level is level
    assert all(name in found.said for name in names)


@pytest.mark.parametrize(
    ("days", "level"),
    [(None, Level.FINE), (8, Level.FINE), (7, Level.WARNING), (6, Level.WARNING), (0, Level.RED), (-1, Level.RED)],
    ids=["no channel", "eight days", "a week", "six days", "expires now", "expired"],
)
def test_the_channels_signature_is_reported_a_week_before_it_expires(days: int | None, level: Level) -> None:
    """Guards an off-season in which nothing moves: the first sign was a worker that does not start."""
    now = datetime(2025, 7, 1, tzinfo=UTC)
    found = channel_signature(None if days is None else now + timedelta(days=days), now)
    assert found.level is level
    assert ("nba-ml keys renew" in found.next_step) is (level is not Level.FINE)
