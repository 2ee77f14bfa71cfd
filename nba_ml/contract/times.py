"""Dates of games: the NBA's day is the Eastern one."""

from __future__ import annotations

from datetime import date, datetime
from zoneinfo import ZoneInfo

EASTERN = ZoneInfo("America/New_York")


def eastern_date(moment: date | datetime) -> date:
    """The Eastern date of a moment. A date, and midnight without a zone, is that date.

    Raises:
        ValueError: a time of day without a zone, whose date depends on where it was written.
    """
    if not isinstance(moment, datetime):
        return moment
    if moment.tzinfo is not None:
        return moment.astimezone(EASTERN).date()
    if moment != moment.replace(hour=0, minute=0, second=0, microsecond=0):
        raise ValueError("a time without a zone")
    return moment.date()
