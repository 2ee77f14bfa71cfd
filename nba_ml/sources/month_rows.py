"""The source of a snapshot's rows: the interface, and the implementation that reads the graph's own assets.

`sources.bigquery` reads BigQuery's tables instead.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import UTC, date, datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nba_ml.contract.lineage import Inputs
from nba_ml.contract.systems import XGBOOST_V1, System
from nba_ml.data import stored
from nba_ml.data.feature_rows import KEY
from nba_ml.data.lines import FeatureMonth
from nba_ml.data.progress import MonthProgress, TableState
from nba_ml.data.results_due import dates_without_results, last_date_due, split_by_due
from nba_ml.data.snapshot import MonthRows
from nba_ml.storage.months import MonthStore
from nba_ml.storage.opening import open_objects

SUMMARY, FEATURES = stored.SUMMARY.name, stored.FEATURES.name
"""The two assets that a snapshot is made from."""


class MonthRowsSource(ABC):
    """A month's feature rows with their results, and the versions of the two tables that they came from."""

    @abstractmethod
    def read(self, month: str, system: System = XGBOOST_V1) -> tuple[MonthRows, Inputs]:
        """The month's rows with the features of a system, and asset -> month -> data version of what was read.

        Raises:
            NbaMlError: the month is missing or cannot be read.
        """

    @abstractmethod
    def progress(
        self,
        months: list[str],
        within: float | None = None,
        now: datetime | None = None,
        system: System = XGBOOST_V1,
    ) -> list[MonthProgress]:
        """The progress of the backfill of a system's features for each of the months, in order.

        `now` decides which results are due (`data.results_due`). None: the present.

        `within` is for who cannot wait as long as the source may: the most seconds until there is an answer or an
        error. None: the source's own deadline.

        Raises:
            NbaMlError: the source cannot be read, or not in time.
        """


@dataclass(frozen=True)
class StoredMonthRows(MonthRowsSource):
    """The stored values of `player_game_summary` and `ml_feature_store_v2`."""

    root: str

    def read(self, month: str, system: System = XGBOOST_V1) -> tuple[MonthRows, Inputs]:
        store, kept = MonthStore(open_objects(self.root)), stored.FEATURES.of(system)
        summary, features = (store.require(each, [month])[month] for each in (stored.SUMMARY, kept))
        lines = features.lines if isinstance(features, FeatureMonth) else None
        rows = MonthRows.of_tables(features.table, summary.table, system.features, lines)
        return rows, {SUMMARY: {month: summary.digest}, kept.name: {month: features.digest}}

    def progress(
        self,
        months: list[str],
        within: float | None = None,  # noqa: ARG002 (reads the store, without a limit)
        now: datetime | None = None,
        system: System = XGBOOST_V1,
    ) -> list[MonthProgress]:
        store, due = MonthStore(open_objects(self.root)), last_date_due(now or datetime.now(UTC))
        return [_stored_progress(store, month, due, system) for month in months]


def _stored_progress(store: MonthStore, month: str, due: date, system: System) -> MonthProgress:
    summary = store.load(stored.SUMMARY, month, [*KEY, "game_id", "minutes_played"])
    features = store.load(stored.FEATURES.of(system), month, [*KEY, "game_id", "feature_quality_score", "updated_at"])
    played = summary.table.filter(pc.greater(summary.table.column("minutes_played"), 0)) if summary else None
    rows = features.table if features else None
    missing, awaited = split_by_due(_without_results(rows, played) if rows else {}, due)
    return MonthProgress(
        month=month,
        played=_state(played, summary.digest if summary else ""),
        features=_state(rows, features.digest if features else ""),
        covered=played.join(rows.select(KEY), KEY, join_type="inner").num_rows if played and rows else 0,
        quality=pc.mean(rows.column("feature_quality_score").cast(pa.float64())).as_py() if rows else None,
        missing=missing,
        awaited=awaited,
        undated=rows.column("updated_at").null_count if rows else 0,
        lines=features.lines if isinstance(features, FeatureMonth) else None,
        no_games=summary is not None
        and features is not None
        and summary.table.num_rows == features.table.num_rows == 0,
    )


def _without_results(features: pa.Table, played: pa.Table | None) -> dict[date, int]:
    """As `results_due.dates_without_results`."""
    rows = features.select([*KEY, "game_id"]).to_pandas(date_as_object=False)
    if played is None:
        return dates_without_results(rows, np.zeros(len(rows), dtype=bool))
    found = rows.merge(
        played.select(KEY).to_pandas(date_as_object=False).drop_duplicates(), on=KEY, how="left", indicator=True
    )
    return dates_without_results(rows, (found["_merge"] == "both").to_numpy())


def _state(table: pa.Table | None, version: str) -> TableState:
    if table is None:
        return TableState(0, 0, 0, 0, None, version)
    players, dates, games = (len(pc.unique(table.column(n))) for n in ("player_lookup", "game_date", "game_id"))
    updated = pc.max(table.column("updated_at")).as_py() if "updated_at" in table.column_names else None
    duplicates = table.num_rows - table.group_by(KEY).aggregate([]).num_rows
    return TableState(table.num_rows, players, dates, games, updated, version, duplicates)
