"""Dates of games: the NBA's day is the Eastern one."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

EASTERN = ZoneInfo("America/New_York")

REPORT_CUT_OFF = timedelta(minutes=30)
"""Before tip-off, unless a setting says otherwise: reports from then on do not count."""


class TimeWithoutZone(ValueError):  # noqa: N818 - what is wrong with a value, not with the program
    """A time of day without a zone, whose date depends on where it was written."""


def eastern_date(moment: date | datetime) -> date:
    """The Eastern date of a moment. A date, and midnight without a zone, is that date.

    Raises:
        TimeWithoutZone: a time of day without a zone.
        OverflowError: the date is outside the years 1 to 9999.
    """
    if not isinstance(moment, datetime):
        return moment
    if moment.tzinfo is not None:
        return moment.astimezone(EASTERN).date()
    if moment != _midnight_of(moment):
        raise TimeWithoutZone("a time without a zone")
    return moment.date()


def _midnight_of(moment: datetime) -> datetime:
    return moment.replace(hour=0, minute=0, second=0, microsecond=0)


def look_like_dates(moments: Iterable[date | datetime | None]) -> bool:
    """Whether times with a zone are dates that a program wrote as midnight of its zone: 2024-11-01T00:00:00Z.

    BigQuery's timestamp of a date is one, and nba.com's schedule has them. As moments they would be the evenings before
    in the East. A game at 7 pm is one too: of a file in which every row is such a one, its author has to say.
    """
    found = False
    for each in moments:
        if each is None:
            continue
        if not isinstance(each, datetime) or each.tzinfo is None or each != _midnight_of(each):
            return False
        if eastern_date(each) == each.date():
            return False
        found = True
    return found


def eastern_noon(day: date) -> datetime:
    """Noon Eastern of a date, in UTC: no game begins earlier."""
    return datetime(day.year, day.month, day.day, 12, tzinfo=EASTERN).astimezone(UTC)


def eastern_midnight(day: date) -> datetime:
    """The end of a date in the East, in UTC: no game of the date begins later."""
    return datetime.combine(day + timedelta(days=1), time.min, EASTERN).astimezone(UTC)
