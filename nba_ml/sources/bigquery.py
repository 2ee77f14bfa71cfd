"""The feature store in BigQuery: one query for a month's rows, and one for the state of all months.

`bigquery_connection` runs the queries; `data.snapshot` interprets the rows and `data.progress` the counts.
"""

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from nba_ml.contract.errors import SourceDataError
from nba_ml.contract.features import V2_33FEATURES, FeatureVersion
from nba_ml.contract.lineage import Inputs
from nba_ml.contract.season import month_bounds, month_of
from nba_ml.contract.systems import XGBOOST_V1, System
from nba_ml.data.feature_rows import KEY
from nba_ml.data.progress import (
    EmptyMonth,
    MonthProgress,
    TableState,
    is_shifted,
    results_without_features,
    shifted,
    what_to_do,
    why_empty,
)
from nba_ml.data.results_due import absent_dates, last_date_due, split_by_due
from nba_ml.data.snapshot import MAX_REJECTED_SHARE, MonthRows
from nba_ml.data.tables import FEATURE_ROWS, RESULTS
from nba_ml.sources.bigquery_connection import BigQueryConnection, quoted_table
from nba_ml.sources.month_rows import FEATURES, SUMMARY, MonthRowsSource
from nba_ml.sources.queries import query
from nba_ml.sources.table_columns import FEATURE_COLUMNS, feature_parts, of_version, result_parts

_OF_RESULTS = ("box_scores", "result_high", "result_low")
"""Columns that form the version of the results: a player-game's rows, and sums over the halves of their digests."""

_ALWAYS = {"first": date(1946, 11, 1), "last": date(2100, 1, 1)}


@dataclass(frozen=True)
class BigQueryFeatureSource(MonthRowsSource):
    """The platform's own tables: `ml_feature_store_v2` and `player_game_summary`.

    `versions` are what the first system's rows may be called; the first that a player-game has counts. The rows of
    another system are in the same table, under the name of its feature version.
    """

    connection: BigQueryConnection
    feature_table: str
    summary_table: str
    versions: tuple[str, ...] = (V2_33FEATURES.name,)

    def read(self, month: str, system: System = XGBOOST_V1) -> tuple[MonthRows, Inputs]:
        """One query: feature rows with their results, and results that have no feature row.

        Raises:
            SourceDataError: the backfill has not reached the month, a player-game has two different results, the
                tables are a day apart, a column cannot be read, or the query failed.
        """
        first, last = month_bounds(month)
        version = system.features
        names = ",".join(version.names)
        table = self.connection.rows(
            self._sql("month_rows", version), {"first": first, "last": last, "feature_names": names}, "month-rows"
        )
        have = pc.fill_null(table.column("has_features"), False)
        features = table if pc.all(have).as_py() else table.filter(have)
        results, notes = self._results(month, table.filter(pc.is_valid(table.column("minutes_played"))))
        if features.num_rows == 0:
            self._require_no_games(month, results.num_rows, version)
        _require_one_result(month, results, self.summary_table)
        # A player-game with two feature rows brings its result twice.
        grouped = results.group_by(["player_lookup", "game_date"])
        once = grouped.aggregate([(name, "min") for name in ("points", "minutes_played", *_OF_RESULTS)])
        box_scores, *played = (pc.sum(once.column(f"{name}_min")).as_py() for name in _OF_RESULTS)
        high, low = (pc.sum(features.column(f"feature_{half}")).as_py() for half in ("high", "low"))
        newest = pc.max(features.column("updated_at")).as_py()
        versions = {
            SUMMARY: {month: _version(box_scores, *played)},
            system.asset(FEATURES): {month: _version(features.num_rows, high, low, newest)},
        }
        known = set(features.column("game_date").to_pylist()) | set(once.column("game_date").to_pylist())
        rows = MonthRows(
            features=features.select(FEATURE_ROWS.names).cast(FEATURE_ROWS),
            results=once.drop_columns([f"{name}_min" for name in _OF_RESULTS])
            .rename_columns(RESULTS.names)
            .cast(RESULTS),
            notes=(*notes, *_left_out(month, table), *_compared(month, features, once)),
            absent=absent_dates(month, known, once.num_rows, last_date_due(datetime.now(UTC))),
        )
        return rows, versions

    def progress(
        self,
        months: list[str],
        within: float | None = None,
        now: datetime | None = None,
        system: System = XGBOOST_V1,
    ) -> list[MonthProgress]:
        """One query over the months' keys, without a feature array."""
        ends = None if within is None else time.monotonic() + within
        first, last = month_bounds(months[0])[0], month_bounds(months[-1])[1]
        version = system.features
        parameters: dict[str, str | int | date] = {"first": first, "last": last, "feature_count": version.count}
        sql = self._sql("observe_months", version, ends)
        rows = self.connection.rows(sql, parameters, "observe-months", _left(ends)).to_pylist()
        due = last_date_due(now or datetime.now(UTC))
        found = {row["month"]: _progress(row, due) for row in rows}
        rows_of = [month for month, progress in found.items() if progress.features.rows]
        span = (min(rows_of, default=None), max(rows_of, default=None))
        if len(months) == 1 and not rows_of:
            span = self._span(version, _left(ends))
        empty = (MonthProgress(month, _EMPTY, _EMPTY, 0, None) for month in months)
        return [_explained(found.get(each.month) or each, span, version) for each in empty]

    def _require_no_games(self, month: str, results: int, version: FeatureVersion) -> None:
        """Raise SourceDataError unless a month without feature rows had no games."""
        span = self._span(version)
        why = why_empty(month, *span, results)
        if why is not EmptyMonth.NO_GAMES:
            named = "" if version == V2_33FEATURES else f" {version.name}"
            raise SourceDataError(
                f"{month}: {_what_to_do(why, month, span, version)}. {self.feature_table} has 0{named} rows of it, "
                f"{self.summary_table} has {results:,} player-games with a result. The stored snapshot is unchanged. "
                "`nba-ml progress` shows every month; materialise this one when it has feature rows."
            )

    def _span(self, version: FeatureVersion, within: float | None = None) -> tuple[str | None, str | None]:
        """The first and the last month with feature rows of a version."""
        table = quoted_table(self.feature_table, self.connection.project)
        sql = query("table_extent", feature_table=table, of_version=of_version(self.versions, version))
        [found] = self.connection.rows(sql, _ALWAYS, "table-extent", within).to_pylist()
        first, last = (month_of(day) if (day := found[f"{which}_date"]) else None for which in ("first", "last"))
        return first, last

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

    def _sql(self, name: str, version: FeatureVersion, ends: float | None = None) -> str:
        """A statement for the tables as they are.

        Raises:
            SourceDataError: a column is missing or has another type.
        """
        features, summary = (
            quoted_table(table, self.connection.project) for table in (self.feature_table, self.summary_table)
        )
        columns = {table: self.connection.columns(table, _left(ends)) for table in (features, summary)}
        return query(
            name,
            feature_table=features,
            summary_table=summary,
            **feature_parts(features, columns[features], self.versions, FEATURE_COLUMNS, version),
            **result_parts(summary, columns[summary]),
        )


def _what_to_do(why: EmptyMonth, month: str, span: tuple[str | None, str | None], version: FeatureVersion) -> str:
    """As `what_to_do`; rows of the first version come from the platform, those of another are computed from here."""
    if version == V2_33FEATURES:
        return what_to_do(why, span[0])
    return (
        f"the feature table has no {version.name} rows of this month: compute them with `nba-ml features --to-bigquery "
        f"--version {version.name} --from {month}`"
    )


def _explained(progress: MonthProgress, span: tuple[str | None, str | None], version: FeatureVersion) -> MonthProgress:
    """The progress of a month, with why it has no feature rows."""
    if progress.features.rows:
        return progress
    why = why_empty(progress.month, *span, progress.played.rows)
    known = why in (EmptyMonth.BEFORE_THE_TABLE, EmptyMonth.SKIPPED) or (
        why is EmptyMonth.NOT_REACHED and version != V2_33FEATURES and progress.played.rows > 0
    )
    empty = _what_to_do(why, progress.month, span, version) if known else ""
    return replace(progress, no_games=why is EmptyMonth.NO_GAMES, empty=empty)


def _left(ends: float | None) -> float | None:
    return None if ends is None else max(ends - time.monotonic(), 0.05)


def _left_out(month: str, table: pa.Table) -> Iterator[str]:
    """What the query left out of a month, for the log."""
    for name, what in (
        ("other_versions", "feature rows of other versions, whose player-games have a row of an accepted version"),
        ("older_results", "versions of results that a newer record_version or processed_at replaces"),
    ):
        rows = table.column(name)[0].as_py() if table.num_rows else 0
        if rows:
            yield f"{month}: {rows:,} {what}, were left out."


def _compared(month: str, features: pa.Table, results: pa.Table) -> Iterator[str]:
    """Players whose keys are in the results only, for the log.

    Raises:
        SourceDataError: the features are dated a day before or after the results.
    """
    have = set(zip(*(features.column(name).to_pylist() for name in KEY), strict=True))
    played = list(zip(*(results.column(name).to_pylist() for name in KEY), strict=True))
    matching = {days: sum((player, day + timedelta(days)) in have for player, day in played) for days in (-1, 0, 1)}
    for days in (-1, 1):
        if have and played and is_shifted(matching[0], matching[days], len(played)):
            raise SourceDataError(
                f"{month}: {shifted(days)}. {matching[days]:,} of {len(played):,} player-games match that way, "
                f"{matching[0]:,} on the same day. The stored snapshot is unchanged."
            )
    known = {player for player, _ in have}
    only = Counter(player for player, _ in played if player not in known)
    if have and only:
        yield f"{month}: {results_without_features(only)}."


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
        absent=absent_dates(row["month"], row["known_dates"] or (), row["played_rows"] or 0, due),
        other_versions=(row["stored_rows"] or 0) - (row["feature_rows"] or 0),
        older_results=row["older_results"] or 0,
        results_only=dict(zip(row["results_only"] or (), row["results_only_games"] or (), strict=True))
        if row["feature_rows"]
        else {},
        shift=_shift(row),
    )


def _shift(row: Mapping[str, Any]) -> int:
    played, covered = row["played_rows"] or 0, row["covered"] or 0
    matching = {days: row[name] or 0 for days, name in ((1, "dated_later"), (-1, "dated_earlier"))}
    return next((d for d, n in matching.items() if played and is_shifted(covered, n, played)), 0)


def _version(rows: int | None, high: int | None, low: int | None, newest: datetime | None = None) -> str:
    """A month's data version. It changes when a row is added, removed or rewritten, including duplicates."""
    parts = [str(rows or 0), f"{high or 0:x}", f"{low or 0:x}", *([newest.isoformat()] if newest else [])]
    return "-".join(parts)


_EMPTY = TableState(0, 0, 0, 0, None, _version(0, None, None))
