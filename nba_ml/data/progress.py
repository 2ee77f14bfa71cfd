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

from nba_ml.contract.thresholds import COMPLETE, SUBSTANTIAL
from nba_ml.data.results_due import named_dates

if TYPE_CHECKING:
    import pandas as pd

    from nba_ml.data.lines import LineCounts

ROWS_PER_GAME = 21.5
"""Average number of player rows per game."""

_THIN = 0.85
"""If box scores have fewer rows per game than this share of the average, they are incomplete themselves."""


class BackfillStatus(StrEnum):
    """How complete a month's features are."""

    COMPLETE = "complete"
    SUBSTANTIAL = "substantial"
    PARTIAL = "partial"
    MISSING = "missing"


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
    `updated_at`. `no_games`: the month is known to have none, and is complete without rows. `lines` are the counts of
    the month's lines, None if they are unknown.
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
    lines: LineCounts | None = None

    @property
    def missing_results(self) -> int:
        """Player-games with features whose results are due but missing."""
        return sum(self.missing.values())

    @property
    def coverage(self) -> float:
        """Share of the player-games, played or with results missing, that have both; 0 where nothing was played yet."""
        if self.no_games:
            return 1.0
        expected = self.played.rows + self.missing_results
        return self.covered / expected if expected else 0.0

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
        if self.missing:
            yield f"results missing: {named_dates(self.missing)} ({self.missing_results:,} player-games with features)"
        if self.awaited:
            yield f"results not due yet: {named_dates(self.awaited)}"
        for what, state in (("feature rows", self.features), ("results", self.played)):
            if state.duplicates:
                yield f"{state.duplicates:,} duplicate {what}"
        if self.undated:
            yield f"{self.undated:,} feature rows without updated_at: corrections to them may go unnoticed"
        if self.lines is not None and self.lines.unmatched:
            lost = sum(self.lines.unmatched.values())
            reasons = ", ".join(f"{reason} ({n:,})" for reason, n in self.lines.unmatched.items())
            yield f"{lost:,} of {self.lines.judged:,} lines match no player: {reasons}"


def progress_table(months: Iterable[MonthProgress]) -> pd.DataFrame:
    """A table with one row per month, for display."""
    import pandas as pd  # noqa: PLC0415 (the settings need the limits above, and --help answers without pandas)

    return pd.DataFrame(
        {
            "month": m.month,
            "status": str(m.status) + (" (box scores incomplete)" if m.thin_box_scores else ""),
            "coverage": f"{int(m.coverage * 1000) / 10}%",  # rounded down: 94.96% is not 95%
            "player-games": f"{m.covered:,} of {m.played.rows:,}",
            "games": f"{m.features.games:,} of {m.played.games:,}",
            "dates": f"{m.features.dates:,} of {m.played.dates:,}",
            "quality": "" if m.quality is None else f"{m.quality:.1f}",
            "last update": "" if m.features.newest_update is None else f"{m.features.newest_update:%Y-%m-%d}",
            "notes": "; ".join(m.notes()),
        }
        for m in months
    )
