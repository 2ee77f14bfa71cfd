"""The progress of the feature backfill by month: player-games played compared with those that have features.

'A date has a row' is not complete. What counts is the share of the player-games played that have a
feature row of the current version.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum
from typing import TYPE_CHECKING

from nba_ml.contract.season import had_games, had_regular_season
from nba_ml.contract.thresholds import COMPLETE, SUBSTANTIAL
from nba_ml.data.results_due import named_dates

if TYPE_CHECKING:
    import pandas as pd

    from nba_ml.data.lines import LineCounts

ROWS_PER_GAME = 21.5
"""Average number of player rows per game."""

_NAMED = 5
"""Players named in a note; the rest are counted."""

_THIN = 0.85
"""If box scores have fewer rows per game than this share of the average, they are incomplete themselves."""


class BackfillStatus(StrEnum):
    """How complete a month's features are."""

    COMPLETE = "complete"
    SUBSTANTIAL = "substantial"
    PARTIAL = "partial"
    MISSING = "missing"


class EmptyMonth(StrEnum):
    """Why a month has no feature rows."""

    NOT_REACHED = "not reached"
    BEFORE_THE_TABLE = "before the table"
    SKIPPED = "skipped"
    NO_GAMES = "no games"


def why_empty(month: str, first: str | None, last: str | None, played: int) -> EmptyMonth:
    """Why a month has no feature rows.

    Args:
        first, last: the first and the last month that have feature rows; None if none has.
        played: the month's results. With none, a month of playoffs only is one without games: the tables are of a
            history of regular seasons.
    """
    if not had_games(month) and not played:
        return EmptyMonth.NO_GAMES
    if first is None or last is None or month > last:
        return EmptyMonth.NOT_REACHED
    if month < first:
        return EmptyMonth.BEFORE_THE_TABLE
    return EmptyMonth.SKIPPED if played or had_regular_season(month) else EmptyMonth.NO_GAMES


def what_to_do(why: EmptyMonth, first: str | None) -> str:
    """What is known of a month without feature rows, and what to do, without a full stop."""
    match why:
        case EmptyMonth.BEFORE_THE_TABLE:
            return (
                f"the feature table begins in {first}: unless the backfill will add earlier months, set "
                f"NBA_ML_FIRST_MONTH={first}"
            )
        case EmptyMonth.SKIPPED:
            return "the feature table has earlier and later months but not this one: run its backfill for the month"
        case EmptyMonth.NOT_REACHED:
            return "the backfill has not reached this month"
        case EmptyMonth.NO_GAMES:
            return "no games"


@dataclass(frozen=True, slots=True)
class TableState:
    """One month of one table: counts, the time of the last update, and a version that changes with any row.

    `duplicates` are the rows beyond the first of each player and date.
    """

    rows: int
    players: int
    dates: int
    games: int
    newest_update: datetime | None
    version: str
    duplicates: int = 0


@dataclass(frozen=True, slots=True)
class MonthProgress:
    """One month of the backfill.

    `played` are the player-games with a result, `features` the rows of the feature store, of whatever version,
    and `covered` the player-games played that have a row of the current version. `quality` is the mean
    quality score, 0 to 100. `missing` and `awaited` are the players with features, by date, of games without a single
    result: of those whose results are due, and of those whose are not yet. `undated` are the feature rows without an
    `updated_at`. `no_games`: the month is known to have none, and is complete without rows. `empty` says why a month
    has no feature rows and what to do. `lines` are the counts of the month's lines, None if they are unknown.

    `absent` are player-games, by date, that the calendar implies on dates that are in neither table. `other_versions`
    are the feature rows that were left out because their player-game has a row of an accepted version, and
    `older_results` the versions of results that a newer one replaces. `results_only` are players with results but no
    feature row in the month, with their games. `shift` is 1 or -1 if most features are dated the day after or before
    their result.
    """

    month: str
    played: TableState
    features: TableState
    covered: int
    quality: float | None
    missing: Mapping[date, int] = field(default_factory=dict)
    awaited: Mapping[date, int] = field(default_factory=dict)
    undated: int = 0
    no_games: bool = False
    empty: str = ""
    absent: Mapping[date, int] = field(default_factory=dict)
    other_versions: int = 0
    older_results: int = 0
    results_only: Mapping[str, int] = field(default_factory=dict)
    shift: int = 0
    lines: LineCounts | None = None

    @property
    def missing_results(self) -> int:
        """Player-games with features whose results are due but missing."""
        return sum(self.missing.values())

    @property
    def expected(self) -> int:
        """Player-games that must be covered: played, with results missing, or implied by the calendar."""
        return self.played.rows + self.missing_results + sum(self.absent.values())

    @property
    def coverage(self) -> float:
        """Share of the expected player-games that have features and a result; 0 where nothing was played yet."""
        if self.no_games:
            return 1.0
        return self.covered / self.expected if self.expected else 0.0

    @property
    def status(self) -> BackfillStatus:
        """By the coverage."""
        if self.no_games:
            return BackfillStatus.COMPLETE
        if self.features.rows == 0 or self.covered == 0:
            return BackfillStatus.MISSING
        if self.coverage >= COMPLETE:
            return BackfillStatus.COMPLETE
        return BackfillStatus.SUBSTANTIAL if self.coverage >= SUBSTANTIAL else BackfillStatus.PARTIAL

    @property
    def trainable(self) -> bool:
        """Whether the month is complete enough for a snapshot to pass."""
        return self.status in (BackfillStatus.SUBSTANTIAL, BackfillStatus.COMPLETE)

    @property
    def thin_box_scores(self) -> bool:
        """Whether the results themselves look incomplete, so that the coverage is misleading."""
        return self.played.games > 0 and self.played.rows < _THIN * ROWS_PER_GAME * self.played.games

    def notes(self) -> Iterator[str]:
        """What is wrong with the rows, or still to come, a sentence without its full stop each."""
        if self.no_games:
            yield "no games"
        if self.empty:
            yield self.empty
        if self.thin_box_scores:
            yield "box scores incomplete"
        if self.shift:
            yield shifted(self.shift)
        yield from self._dates()
        counted = (
            (self.features.duplicates, "duplicate feature rows"),
            (self.played.duplicates, "duplicate results"),
            (self.other_versions, "feature rows of other versions left out"),
            (self.older_results, "older versions of results left out"),
            (self.undated, "feature rows without updated_at: corrections to them may go unnoticed"),
        )
        yield from (f"{rows:,} {what}" for rows, what in counted if rows)
        if self.results_only:
            yield results_without_features(self.results_only)
        if self.lines is not None and self.lines.unmatched:
            lost = sum(self.lines.unmatched.values())
            reasons = ", ".join(f"{reason} ({n:,})" for reason, n in self.lines.unmatched.items())
            yield f"{lost:,} of {self.lines.judged:,} lines match no player: {reasons}"

    def _dates(self) -> Iterator[str]:
        if self.missing:
            yield f"results missing: {named_dates(self.missing)} ({self.missing_results:,} player-games with features)"
        if self.absent:
            yield f"no rows in either table, although the calendar has games: {named_dates(self.absent)}"
        if self.awaited:
            yield f"results not due yet: {named_dates(self.awaited)}"


def shifted(days: int) -> str:
    """Describe features that are dated a day off."""
    return (
        f"most features are dated the day {'after' if days > 0 else 'before'} their result: correct game_date in one "
        "of the tables (perhaps a time in UTC was cut to its date)"
    )


def is_shifted(covered: int, other_day: int, played: int) -> bool:
    """Whether features match the results of another day, rather than the same: `other_day` of them, not `covered`.

    A player of two games in two days matches both by right; that is one player-game in five.
    """
    return covered < played / 2 <= other_day


def results_without_features(players: Mapping[str, int]) -> str:
    """Describe players with results but no feature row in a month."""
    most = sorted(players, key=lambda player: (-players[player], player))[:_NAMED]
    more = f" and {len(players) - _NAMED} more" if len(players) > _NAMED else ""
    named = ", ".join(f"{player} ({players[player]})" for player in most)
    return f"{len(players)} players (games) have results but no features, perhaps for another spelling: {named}{more}"


def progress_table(months: Iterable[MonthProgress]) -> pd.DataFrame:
    """A table with one row per month, for display."""
    import pandas as pd  # noqa: PLC0415 (the settings need the limits above, and --help answers without pandas)

    return pd.DataFrame(
        {
            "month": m.month,
            "status": str(m.status),
            "covered": f"{int(m.coverage * 1000) / 10}%",  # rounded down: 94.96% is not 95%
            "player-games": f"{m.covered:,} of {m.played.rows:,}",
            "games": _part(m.features.games, m.played.games),
            "dates": _part(m.features.dates, m.played.dates + len(m.absent)),
            "quality": "" if m.quality is None else f"{m.quality:.1f}",
            "updated": "" if m.features.newest_update is None else f"{m.features.newest_update:%Y-%m-%d}",
            "notes": "; ".join(m.notes()),
        }
        for m in months
    )


def _part(features: int, played: int) -> str:
    """Those in both tables, of those in either: features whose results are missing are not there yet."""
    return f"{min(features, played):,} of {max(features, played):,}"
