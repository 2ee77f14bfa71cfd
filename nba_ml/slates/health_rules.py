"""The health rule for the slates of the last week: facts in, a finding out. The current time is an argument.

A schedule tick that raises, or that skips because the features are late, fails no run and sends no notice. The rule
therefore checks that each slate exists once it is due.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from nba_ml.contract.times import EASTERN, eastern_date
from nba_ml.monitoring.health import HealthFinding, Level

SLATE_HOUR = 17
"""Hour in New York at which `daily_slate` ticks. Lines and injury reports are in, and few games have begun."""

LATE_AFTER = timedelta(hours=1)
"""Grace period after that hour. A slate takes seconds, a busy daemon minutes, and most games begin later."""

LOOKED_BACK = timedelta(days=7)
"""Older dates are ignored: their slates would be replays, and a week of notices was sent."""


@dataclass(frozen=True, slots=True)
class SlateDays:
    """The slates of the last weeks.

    `on` is when `daily_slate` was turned on, or None if it is off. `made` are the dates with a slate, `with_rows` those
    with feature rows. `unread` is the reason if the feature rows could not be read.
    """

    on: datetime | None
    made: Sequence[date]
    with_rows: Sequence[date]
    unread: str = ""


def slates_made(days: SlateDays, now: datetime) -> HealthFinding:
    """Whether every date of the last week with feature rows has a slate, however late it was made.

    Dates since `daily_slate` was turned on are due. If it is off but slates exist (from another scheduler, or by hand),
    dates after the first slate are due, and a missing slate is a warning.
    """
    name = "slates_made"
    if days.on is None and not days.made:
        return HealthFinding(
            name, Level.FINE, "No slate is due: daily_slate is off, and there are no slates of the last weeks."
        )
    level = Level.WARNING if days.on is None else Level.RED
    if days.unread:
        return HealthFinding(
            name,
            level,
            f"The dates with feature rows could not be read. {days.unread}",
            "Fix the cause, then run `nba-ml health` again.",
        )
    earliest = eastern_date(now) - LOOKED_BACK
    due = [day for day in sorted(days.with_rows) if day >= earliest and _is_due(day, days, now)]
    missing = [day for day in due if day not in days.made]
    if not missing:
        return HealthFinding(name, Level.FINE, f"All {len(due)} due dates of the last week have a slate.")
    since = "daily_slate is off, but other dates have slates" if days.on is None else "daily_slate is on"
    return HealthFinding(
        name,
        level,
        f"{len(missing)} of {len(due)} due dates of the last week have feature rows but no slate: "
        f"{', '.join(map(str, missing))}. {since}.",
        "Check the ticks of daily_slate on the UI's Automation page. A tick without rows skips and a failed tick is "
        f"red, but neither sends a notice. To make the slate now, run `nba-ml slate predict --date {missing[-1]}` "
        "(add --to-bigquery to send it). A slate made after tip-off is a replay.",
        [{"date": str(day)} for day in missing],
    )


def _is_due(day: date, days: SlateDays, now: datetime) -> bool:
    hour = datetime(day.year, day.month, day.day, SLATE_HOUR, tzinfo=EASTERN)
    asked = day > min(days.made) if days.on is None else hour >= days.on
    return asked and now >= hour + LATE_AFTER
