"""Feature rows of a date: the interface, and the local store's. `bigquery_rows` has BigQuery's.

Does not import Dagster, because the terminal scores slates too.
"""

from __future__ import annotations

from datetime import date, timedelta
from typing import Protocol

import pyarrow as pa
import pyarrow.compute as pc

from nba_ml.contract.features import V2_33FEATURES
from nba_ml.contract.season import in_season, month_of
from nba_ml.data.snapshot import MonthRows
from nba_ml.data.stored import FEATURES
from nba_ml.data.tables import PLAYER_GAME_SUMMARY, SLATE_ROWS
from nba_ml.storage.months import MonthStore
from nba_ml.storage.opening import open_objects

NEAR = timedelta(days=31)
"""How far from a date without rows to look for other dates."""


def months_of(first: date, last: date) -> list[str]:
    """The months from `first` to `last`, both inclusive."""
    days = (first + timedelta(days=n) for n in range((last - first).days + 1))
    return sorted({month_of(day) for day in days})


class SlateRows(Protocol):
    """The current feature rows of the feature store, by date."""

    def read(self, day: date) -> pa.Table:
        """All versions of the rows of a date, in `tables.SLATE_ROWS`. May be empty.

        Raises:
            NbaMlError: the rows cannot be read.
        """
        ...

    def days_near(self, day: date) -> list[date]:
        """The dates with rows within a month of a date, in order."""
        ...


class StoredSlateRows:
    """The stored rows of `ml_feature_store_v2` under a root. Opens the store on first use."""

    def __init__(self, root: str) -> None:
        self.root = root

    def read(self, day: date) -> pa.Table:
        table = self._month(day)
        return table.filter(pc.equal(table.column("game_date"), pa.scalar(day, pa.date32())))

    def days_near(self, day: date) -> list[date]:
        months = months_of(day - NEAR, day + NEAR)
        return sorted(each for month in months for each in self._dates(month) if abs(each - day) <= NEAR)

    def _dates(self, month: str) -> list[date]:
        value = self._store.load(FEATURES, month, ["game_date"]) if in_season(month) else None
        if value is None:
            return []
        days: list[date] = value.table.column("game_date").unique().to_pylist()
        return days

    def _month(self, day: date) -> pa.Table:
        month = month_of(day)
        value = self._store.load(FEATURES, month) if in_season(month) else None
        if value is None:
            return SLATE_ROWS.empty_table()
        rows = MonthRows.of_tables(value.table, PLAYER_GAME_SUMMARY.empty_table(), V2_33FEATURES).features
        return rows.append_column(
            SLATE_ROWS.field("universal_player_id"), value.table.column("universal_player_id")
        ).cast(SLATE_ROWS)

    @property
    def _store(self) -> MonthStore:
        return MonthStore(open_objects(self.root))
