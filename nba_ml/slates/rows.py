"""Feature rows of a date: the interface, and the local store's. `rows_from_bigquery` has BigQuery's.

Does not import Dagster, because the terminal scores slates too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Protocol

import pyarrow as pa
import pyarrow.compute as pc

from nba_ml.contract.errors import SlateError
from nba_ml.contract.features import V2_33FEATURES, FeatureVersion
from nba_ml.contract.season import in_season, month_of
from nba_ml.contract.systems import system_of_features
from nba_ml.data.line_prices import Prices
from nba_ml.data.snapshot import MonthRows
from nba_ml.data.stored import FEATURES
from nba_ml.data.tables import GAME_FACTS, PLAYER_GAME_SUMMARY, PRICES, SEPARATE_PRICES, SLATE_ROWS
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

    def read(self, day: date, version: FeatureVersion = V2_33FEATURES) -> pa.Table:
        """All the rows of a date with the features of a version, in `tables.SLATE_ROWS`. May be empty.

        Raises:
            NbaMlError: the rows cannot be read.
        """
        ...

    def upcoming(self, day: date, games: str = "", version: FeatureVersion = V2_33FEATURES) -> Upcoming:
        """The rows of a date that has none yet, as far as they can be made.

        Args:
            games: 'BOS@NYK,LAL@DEN' (away@home); '' for those of the schedule.

        Raises:
            NbaMlError: they cannot be made.
        """
        ...

    def days_near(self, day: date) -> list[date]:
        """The dates with rows, or with scheduled games, within a month of a date, in order."""
        ...


@dataclass(frozen=True, slots=True)
class Upcoming:
    """Rows of a date without results, in `tables.SLATE_ROWS`, and what they were made from."""

    rows: pa.Table
    notes: tuple[str, ...]


def require_no_games(games: str) -> None:
    """Raise SlateError if games were named to a source that has no use for them."""
    if games:
        raise SlateError(
            "--games names the games of a date whose rows are made from box scores. Here the feature store in BigQuery "
            "says who plays; leave it out."
        )


def no_rows(day: date, near: Sequence[date]) -> SlateError:
    """The error for a date without rows. The message has the nearest dates with rows."""
    before, after = max((d for d in near if d < day), default=None), min((d for d in near if d > day), default=None)
    sides = [
        f"the nearest earlier date is {before}" if before else "",
        f"the nearest later date is {after}" if after else "",
    ]
    known = " and ".join(side for side in sides if side) or "there are none within a month of it either"
    return SlateError(
        f"There are no feature rows of {day}; {known}. If there are games on {day}, its features do not exist yet: run "
        "`nba-ml progress` to see how far the backfill is."
    )


def slate_rows(features: pa.Table, version: FeatureVersion = V2_33FEATURES) -> pa.Table:
    """Rows of `tables.ML_FEATURE_STORE_V2` in `tables.SLATE_ROWS`."""
    rows = MonthRows.of_tables(features, PLAYER_GAME_SUMMARY.empty_table(), version).features
    rows = rows.append_column("universal_player_id", features.column("universal_player_id"))
    return with_tip_offs(rows, {})


def with_tip_offs(
    rows: pa.Table, tip_offs: Mapping[str, datetime | None], prices: Mapping[str, Prices] | None = None
) -> pa.Table:
    """The rows in `tables.SLATE_ROWS`, with the known tip-offs by `game_id` and prices by player id, or by lookup
    of a player without one."""
    rows = rows.drop_columns([name for name in (*GAME_FACTS, SEPARATE_PRICES) if name in rows.column_names])
    ids, lookups = (rows.column(name).to_pylist() for name in ("universal_player_id", "player_lookup"))
    lines = [(prices or {}).get(player or lookup, Prices()) for player, lookup in zip(ids, lookups, strict=True)]
    facts = {
        "tip_off": [tip_offs.get(game) for game in rows.column("game_id").to_pylist()],
        **{name: [both[side] for both in lines] for side, name in enumerate(PRICES)},
        SEPARATE_PRICES: [both.separate for both in lines],
    }
    for name, values in facts.items():
        rows = rows.append_column(name, pa.array(values, SLATE_ROWS.field(name).type))
    return rows.select(SLATE_ROWS.names).cast(SLATE_ROWS)


class StoredSlateRows:
    """The stored rows of `ml_feature_store_v2` under a root. Opens the store on first use."""

    def __init__(self, root: str) -> None:
        self.root = root

    def read(self, day: date, version: FeatureVersion = V2_33FEATURES) -> pa.Table:
        table = self._month(day, version)
        return table.filter(pc.equal(table.column("game_date"), pa.scalar(day, pa.date32())))

    def upcoming(self, day: date, games: str = "", version: FeatureVersion = V2_33FEATURES) -> Upcoming:  # noqa: ARG002 (as the protocol has it)
        raise no_rows(day, self.days_near(day))

    def days_near(self, day: date) -> list[date]:
        months = months_of(day - NEAR, day + NEAR)
        return sorted(each for month in months for each in self._dates(month) if abs(each - day) <= NEAR)

    def _dates(self, month: str) -> list[date]:
        value = self._store.load(FEATURES, month, ["game_date"]) if in_season(month) else None
        if value is None:
            return []
        days: list[date] = value.table.column("game_date").unique().to_pylist()
        return days

    def _month(self, day: date, version: FeatureVersion) -> pa.Table:
        month, features = month_of(day), FEATURES.of(system_of_features(version))
        value = self._store.load(features, month) if in_season(month) else None
        if value is None:
            return SLATE_ROWS.empty_table()
        return slate_rows(value.table, version)

    @property
    def _store(self) -> MonthStore:
        return MonthStore(open_objects(self.root))
