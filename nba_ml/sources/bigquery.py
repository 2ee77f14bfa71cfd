"""The feature store in BigQuery: one query for a month's rows, and one for the state of all months.

`bigquery_connection` runs the queries; `data.snapshot` interprets the rows and `data.progress` the counts.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from nba_ml.contract.errors import SourceDataError
from nba_ml.contract.features import V2_33FEATURES
from nba_ml.contract.lineage import Inputs
from nba_ml.contract.season import had_games, month_bounds
from nba_ml.data.progress import MonthProgress, TableState
from nba_ml.data.results_due import last_date_due, split_by_due
from nba_ml.data.snapshot import MAX_REJECTED_SHARE, MonthRows
from nba_ml.data.tables import FEATURE_ROWS, RESULTS
from nba_ml.sources.bigquery_connection import BigQueryConnection, quoted_table
from nba_ml.sources.month_rows import FEATURES, SUMMARY, MonthRowsSource
from nba_ml.sources.queries import query

_EMPTY = TableState(0, 0, 0, 0, None, "")

_OF_RESULTS = ("box_scores", "result_high", "result_low")
"""Columns that form the version of the results: a player-game's rows, and sums over the halves of their digests."""


@dataclass(frozen=True)
class BigQueryFeatureSource(MonthRowsSource):
    """The platform's own tables: `ml_feature_store_v2` and `player_game_summary`."""

    connection: BigQueryConnection
    feature_table: str
    summary_table: str

    def read(self, month: str) -> tuple[MonthRows, Inputs]:
        """One query: feature rows with their results, and results that have no feature row.

        Raises:
            SourceDataError: the backfill has not reached the month, a player-game has two different results, or the
                query failed.
        """
        first, last = month_bounds(month)
        names = ",".join(V2_33FEATURES.names)
        table = self.connection.rows(
            self._sql("month_rows"), {"first": first, "last": last, "feature_names": names}, "month-rows"
        )
        have = pc.fill_null(table.column("has_features"), False)
        features = table if pc.all(have).as_py() else table.filter(have)
        results, notes = self._results(month, table.filter(pc.is_valid(table.column("minutes_played"))))
        self._require_reached(month, features.num_rows, results.num_rows)
        _require_one_result(month, results, self.summary_table)
        # A player-game with two feature rows brings its result twice.
        grouped = results.group_by(["player_lookup", "game_date"])
        once = grouped.aggregate([(name, "min") for name in ("points", "minutes_played", *_OF_RESULTS)])
        box_scores, *played = (pc.sum(once.column(f"{name}_min")).as_py() for name in _OF_RESULTS)
        high, low = (pc.sum(features.column(f"feature_{half}")).as_py() for half in ("high", "low"))
        newest = pc.max(features.column("updated_at")).as_py()
        versions = {
            SUMMARY: {month: _version(box_scores, *played)},
            FEATURES: {month: _version(features.num_rows, high, low, newest)},
        }
        rows = MonthRows(
            features=features.select(FEATURE_ROWS.names).cast(FEATURE_ROWS),
            results=once.drop_columns([f"{name}_min" for name in _OF_RESULTS])
            .rename_columns(RESULTS.names)
            .cast(RESULTS),
            notes=notes,
        )
        return rows, versions

    def progress(
        self, months: list[str], within: float | None = None, now: datetime | None = None
    ) -> list[MonthProgress]:
        """One query over the months' keys, without a feature array."""
        first, last = month_bounds(months[0])[0], month_bounds(months[-1])[1]
        parameters: dict[str, str | int | date] = {
            "first": first,
            "last": last,
            "feature_version": V2_33FEATURES.name,
            "feature_count": V2_33FEATURES.count,
        }
        rows = self.connection.rows(self._sql("observe_months"), parameters, "observe-months", within).to_pylist()
        due = last_date_due(now or datetime.now(UTC))
        found = {row["month"]: _progress(row, due) for row in rows}
        return [
            found.get(month) or MonthProgress(month, _EMPTY, _EMPTY, 0, None, no_games=not had_games(month))
            for month in months
        ]

    def _results(self, month: str, found: pa.Table) -> tuple[pa.Table, tuple[str, ...]]:
        """The results that have a player. A few without one are left out and reported.

        Otherwise one unusable row would stop the training of every later month.
        """
        if found.column("player_lookup").null_count == 0:
            return found, ()
        results = found.filter(pc.is_valid(found.column("player_lookup")))
        unnamed = found.select(["game_date", "box_scores"]).filter(pc.is_null(found.column("player_lookup")))
        rows = sum(unnamed.column("box_scores").to_pylist())
        days = ", ".join(
            f"{r['game_date']} ({r['box_scores']:,})" for r in unnamed.sort_by("game_date").to_pylist()[:5]
        )
        note = f"{month}: {self.summary_table} has {rows:,} results without a player_lookup, on {days}"
        if rows > MAX_REJECTED_SHARE * (rows + results.num_rows):
            raise SourceDataError(
                f"{note}. They cannot be joined to features, and they are more than {MAX_REJECTED_SHARE:.0%} of the "
                "results. Set their player_lookup or remove the rows, then materialise the month again. The stored "
                "snapshot is unchanged."
            )
        return results, (f"{note}. They were left out, because they cannot be joined to features.",)

    def _require_reached(self, month: str, feature_rows: int, results: int) -> None:
        if feature_rows == 0 and (results or had_games(month)):
            raise SourceDataError(
                f"{month}: the backfill has not reached this month. {self.feature_table} has 0 rows of it, "
                f"{self.summary_table} has {results:,} player-games with a result. The stored snapshot is "
                "unchanged. Wait for the backfill (see `nba-ml progress`), then materialise the month again."
            )

    def _sql(self, name: str) -> str:
        return query(
            name,
            feature_table=quoted_table(self.feature_table, self.connection.project),
            summary_table=quoted_table(self.summary_table, self.connection.project),
        )


def _require_one_result(month: str, results: pa.Table, table: str) -> None:
    contradictory = results.filter(results.column("contradictory"))
    if contradictory.num_rows:
        named = ", ".join(f"{r['player_lookup']} {r['game_date']}" for r in contradictory.slice(0, 5).to_pylist())
        raise SourceDataError(
            f"{month}: {table} has {contradictory.num_rows:,} player-games with two different results: {named}. "
            "Remove the wrong rows, then materialise the month again."
        )


def _progress(row: Mapping[str, Any], due: date) -> MonthProgress:
    def state(kind: str, version: str, newest: Any = None) -> TableState:
        counts = {what: row[f"{kind}_{what}"] or 0 for what in ("rows", "players", "dates", "games", "duplicates")}
        return TableState(**counts, newest_update=newest, version=version)

    def version(kind: str, rows: int, newest: Any = None) -> str:
        return _version(rows, row[f"{kind}_high"], row[f"{kind}_low"], newest)

    newest, box_scores = row["newest_update"], (row["played_rows"] or 0) + (row["played_duplicates"] or 0)
    days, players = (row[f"{what}_without_results"] or () for what in ("dates", "players"))
    missing, awaited = split_by_due(dict(zip(days, players, strict=True)), due)
    return MonthProgress(
        month=row["month"],
        played=state("played", version("played", box_scores)),
        features=state("feature", version("feature", row["feature_rows"], newest), newest),
        covered=row["covered"] or 0,
        quality=row["quality"],
        missing=missing,
        awaited=awaited,
        undated=row["undated"] or 0,
    )


def _version(rows: int | None, high: int | None, low: int | None, newest: datetime | None = None) -> str:
    """A month's data version. It changes when a row is added, removed or rewritten, including duplicates."""
    parts = [str(rows or 0), f"{high or 0:x}", f"{low or 0:x}", *([newest.isoformat()] if newest else [])]
    return "-".join(parts)
