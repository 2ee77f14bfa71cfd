"""Collects the facts for `slates_made`: the schedule's switch, the stored slates, the feature store's dates.

The rule is in `slates.health_rules`.
"""

from __future__ import annotations

from datetime import datetime

from nba_ml.contract.errors import NbaMlError
from nba_ml.contract.times import eastern_date
from nba_ml.slates.health_rules import SlateDays
from nba_ml.slates.rows import NEAR, SlateRows, months_of
from nba_ml.slates.store import SlateStore


def read_slate_days(on: datetime | None, rows: SlateRows, slates: SlateStore, now: datetime) -> SlateDays:
    """The slates of the last weeks. `on` is when the schedule `daily_slate` was turned on, or None if it is off.

    If a slate can be due, this reads the feature store's dates. With BigQuery that is one query of the partition
    column. A failed read does not raise: it is stored in `unread`.
    """
    today = eastern_date(now)
    kept = (day for month in months_of(today - NEAR, today) for day in slates.days(month))
    made = [day for day in kept if day >= today - NEAR]
    if on is None and not made:
        return SlateDays(None, (), ())
    try:
        return SlateDays(on, made, rows.days_near(today))
    except NbaMlError as error:
        return SlateDays(on, made, (), unread=str(error))
