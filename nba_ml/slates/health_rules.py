"""Whether the slates of the last days were made: facts in, a finding out, and the clock is an argument.

A schedule's tick that raises, or skips since the features were late, fails no run, so no notice tells of it. What is
looked at is therefore whether the slate is there, once its hour is over.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from nba_ml.monitoring.health import HOME, HealthFinding, Level

SLATE_HOUR = 17
"""Hour in New York at which `daily_slate` asks: lines and injury reports are in, and few games have begun."""

LATE_AFTER = timedelta(hours=1)
"""From that hour on. A slate takes seconds, a daemon that was busy some minutes; most games begin later still."""

LOOKED_BACK = timedelta(days=7)
"""An older date is past mending: its slate would be a replay, and a week of notices was not heeded."""


@dataclass(frozen=True, slots=True)
class SlateDays:
    """What is there of slates.

    `on` is the moment at which `daily_slate` was turned on, None if it is off. `made` are the dates of the last weeks
    that have a slate, `with_rows` those that have feature rows. `unread` says why the latter could not be looked at.
    """

    on: datetime | None
    made: Sequence[date]
    with_rows: Sequence[date]
    unread: str = ""


def slates_made(days: SlateDays, now: datetime) -> HealthFinding:
    """Whether every date of the last week that has feature rows has a slate, however late it was made.

    Due are dates since `daily_slate` is on. Where it is off and slates were made all the same, by somebody else's
    scheduler or by hand, those after the first are looked at, and what is missing is a warning.
    """
    name = "slates_made"
    if days.on is None and not days.made:
        return HealthFinding(
            name, Level.FINE, "No slate is due: daily_slate is off, and none was made of the last weeks."
        )
    level = Level.WARNING if days.on is None else Level.RED
    if days.unread:
        return HealthFinding(
            name,
            level,
            f"Of which dates a slate is due could not be looked at. {days.unread}",
            "Mend what it names; `nba-ml health` looks again.",
        )
    earliest = now.astimezone(HOME).date() - LOOKED_BACK
    due = [day for day in sorted(days.with_rows) if day >= earliest and _is_due(day, days, now)]
    missing = [day for day in due if day not in days.made]
    if not missing:
        return HealthFinding(
            name, Level.FINE, f"Each of the {len(due)} dates of the last week that were due has a slate."
        )
    since = "daily_slate is off, and others were made" if days.on is None else "daily_slate is on"
    return HealthFinding(
        name,
        level,
        f"{len(missing)} of the {len(due)} dates of the last week that were due have no slate, though their features "
        f"are there: {', '.join(map(str, missing))}. {since}.",
        "Look at the ticks of daily_slate on the UI's Automation page: one that finds no rows yet skips, one that "
        f"raises is red, and neither is told. `nba-ml slate predict --date {missing[-1]}` makes the slate now "
        "(--to-bigquery sends it); one made after midnight UTC is a replay.",
        [{"date": str(day)} for day in missing],
    )


def _is_due(day: date, days: SlateDays, now: datetime) -> bool:
    hour = datetime(day.year, day.month, day.day, SLATE_HOUR, tzinfo=HOME)
    asked = day > min(days.made) if days.on is None else hour >= days.on
    return asked and now >= hour + LATE_AFTER
