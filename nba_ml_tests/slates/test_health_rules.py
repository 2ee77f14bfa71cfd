"""Whether the slates were made, on made-up facts and a clock that is set: what is red, and what it says."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nba_ml.monitoring.health import Level
from nba_ml.slates.health_rules import LOOKED_BACK, SlateDays, slates_made

ON = datetime(2025, 1, 1, tzinfo=UTC)
TODAY = date(2025, 1, 22)
SIX = datetime(2025, 1, 22, 23, tzinfo=UTC)
"""Six in the evening in New York, when today's slate is due."""

WEEK = tuple(TODAY - timedelta(days=back) for back in range(8))


def test_a_date_with_features_and_without_a_slate_is_red_and_says_what_to_do() -> None:
    """Guards against a tick that raised, or came before the features: no run has failed, and nobody hears of it."""
    found = slates_made(SlateDays(ON, WEEK[1:], WEEK), SIX)
    assert found.level is Level.RED
    assert "1 of 8 due dates of the last week have feature rows but no slate" in found.said
    assert "2025-01-22. daily_slate is on." in found.said
    assert "`nba-ml slate predict --date 2025-01-22`" in found.next_step
    assert found.worst == [{"date": "2025-01-22"}]


def test_a_slate_that_was_made_late_is_made() -> None:
    """Guards against an alarm that goes on after it was mended."""
    assert slates_made(SlateDays(ON, WEEK, WEEK), SIX).level is Level.FINE


@pytest.mark.parametrize(("seconds", "level"), [(-1, Level.FINE), (0, Level.RED)])
def test_todays_slate_is_due_an_hour_after_the_schedule(seconds: int, level: Level) -> None:
    """Guards against a red evening before the slate could be there, and against an hour in UTC."""
    facts = SlateDays(ON, WEEK[1:], WEEK)
    assert slates_made(facts, SIX + timedelta(seconds=seconds)).level is level


def test_the_hour_is_new_yorks_in_summer_too() -> None:
    """Guards against a slate of April that is due an hour late."""
    facts = SlateDays(ON, (), (date(2025, 4, 10),))
    assert slates_made(facts, datetime(2025, 4, 10, 21, 59, tzinfo=UTC)).level is Level.FINE
    assert slates_made(facts, datetime(2025, 4, 10, 22, 0, tzinfo=UTC)).level is Level.RED


def test_a_day_without_games_is_not_due() -> None:
    """Guards against a red All-Star week."""
    assert slates_made(SlateDays(ON, (), ()), SIX).level is Level.FINE


@pytest.mark.parametrize(
    ("turned_on", "due"),
    [
        (datetime(2025, 1, 20, 21, 59, tzinfo=UTC), 3),  # a minute before five on the 20th
        (datetime(2025, 1, 20, 22, 1, tzinfo=UTC), 2),
    ],
)
def test_days_before_it_was_turned_on_are_not_due(turned_on: datetime, due: int) -> None:
    """Guards against a schedule that is red on its first day for the week before it."""
    assert len(slates_made(SlateDays(turned_on, (), WEEK), SIX).worst) == due


def test_where_nobody_makes_slates_none_is_due() -> None:
    """Guards against a red release of those who have no use for slates."""
    found = slates_made(SlateDays(None, (), WEEK), SIX)
    assert (found.level, found.next_step) == (Level.FINE, "")


def test_slates_of_another_scheduler_are_missed_and_one_by_hand_is_no_alarm() -> None:
    """Guards against a coordinator's cron that ended unnoticed, and against telling people for one slate by hand."""
    found = slates_made(SlateDays(None, (WEEK[3], WEEK[2]), WEEK), SIX)
    assert found.level is Level.WARNING
    assert [each["date"] for each in found.worst] == ["2025-01-21", "2025-01-22"]
    assert "daily_slate is off, but other dates have slates" in found.said


@pytest.mark.parametrize(("on", "level"), [(ON, Level.RED), (None, Level.WARNING)])
def test_a_feature_store_that_does_not_answer_is_no_all_clear(on: datetime | None, level: Level) -> None:
    """Guards against a green check of nothing while BigQuery is out of reach."""
    found = slates_made(SlateDays(on, (TODAY,), (), unread="BigQuery did not answer."), SIX)
    assert found.level is level
    assert "could not be read. BigQuery did not answer." in found.said


@given(st.sets(st.integers(-40, 40)), st.sets(st.integers(-40, 40)), st.integers(0, 23))
def test_what_is_missing_is_due_and_was_not_made(rows: set[int], made: set[int], hour: int) -> None:
    """Guards the rule against dates of tomorrow, of last month, and of those that have a slate."""
    slates, games = ([TODAY + timedelta(days=n) for n in each] for each in (made, rows))
    facts = SlateDays(ON - timedelta(days=365), slates, games)
    found = slates_made(facts, datetime(2025, 1, 22, hour, 30, tzinfo=UTC))
    missing = {date.fromisoformat(each["date"]) for each in found.worst}
    assert (found.level is Level.RED) is bool(missing)
    assert missing <= {TODAY + timedelta(days=n) for n in rows - made}
    assert all(TODAY - LOOKED_BACK - timedelta(days=1) <= day <= TODAY for day in missing)
    assert missing >= {TODAY + timedelta(days=n) for n in (rows - made) & set(range(-6, -1))}
