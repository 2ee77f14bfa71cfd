"""The facts behind `slates_made`: the schedule's switch, the slates that are kept, the feature store's dates.

What belongs here: looking. What it means is `slates.health_rules`.
"""

from __future__ import annotations

from datetime import datetime

from nba_ml.contract.errors import NbaMlError
from nba_ml.monitoring.health import HOME
from nba_ml.slates.health_rules import SlateDays
from nba_ml.slates.rows import NEAR, SlateRows, months_of
from nba_ml.slates.store import SlateStore


def look_at_slates(on: datetime | None, rows: SlateRows, slates: SlateStore, now: datetime) -> SlateDays:
    """What is there of the slates of the last weeks. `on`: since when the schedule `daily_slate` is on, if it is.

    Where a slate can be due at all, the feature store is asked for its dates: with BigQuery one query, which reads the
    partition column alone. If it does not answer, the release can be looked at all the same; so that is a fact too.
    """
    today = now.astimezone(HOME).date()
    kept = (day for month in months_of(today - NEAR, today) for day in slates.days(month))
    made = [day for day in kept if day >= today - NEAR]
    if on is None and not made:
        return SlateDays(None, (), ())
    try:
        return SlateDays(on, made, rows.days_near(today))
    except NbaMlError as error:
        return SlateDays(on, made, (), unread=str(error))
