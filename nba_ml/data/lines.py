"""Outcomes of matching a month's listed lines to players, and their counts.

`features/sql/match_lines.sql` does the matching.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import pyarrow as pa

from nba_ml.data.table_digest import DigestedTable


class LineOutcome(StrEnum):
    """The outcome of a listed line."""

    BY_ID = "matched by id"
    BY_NAME = "matched by name"
    DID_NOT_PLAY = "listed but did not play"
    """The player's team played but he did not: the bet is void, and the line is not wrong."""
    NOT_YET = "after the last box score"
    """For example tonight's lines when results go up to yesterday."""
    NO_GAME = "no game of that date"
    DAY_BEFORE = "game the day before: dated by UTC?"
    """The player's team played on the day before and not on this date."""
    NAME_UNKNOWN = "name unknown"
    NAME_AMBIGUOUS = "name ambiguous"
    ID_UNKNOWN = "id unknown"
    """No box score of the last 3 years has the id. The name is not tried, because ids from another source would then
    match some players correctly and others wrongly."""


MATCHED = (LineOutcome.BY_ID, LineOutcome.BY_NAME)
NOT_JUDGED = (LineOutcome.DID_NOT_PLAY, LineOutcome.NOT_YET)
"""Outcomes that count neither as matched nor as unmatched."""


@dataclass(frozen=True, slots=True)
class LineCounts:
    """Listed lines by outcome. `named_otherwise` counts lines whose id and name belong to different players.

    The id is used for those. A name that no player has, for example one without its suffix, is not a contradiction.
    """

    by_outcome: Mapping[LineOutcome, int]
    named_otherwise: int = 0

    @classmethod
    def of(cls, matched_lines: pa.Table) -> LineCounts:
        """Counts of what `features.match_lines` returns."""
        found = Counter(matched_lines.column("outcome").to_pylist())
        return cls(
            {outcome: found[outcome] for outcome in LineOutcome if found[outcome]},
            sum(matched_lines.column("named_otherwise").to_pylist()),
        )

    @property
    def listed(self) -> int:
        """All lines."""
        return sum(self.by_outcome.values())

    @property
    def matched(self) -> int:
        """Lines of players who appeared in a game on that date."""
        return sum(self.by_outcome.get(outcome, 0) for outcome in MATCHED)

    @property
    def judged(self) -> int:
        """Matched plus unmatched lines."""
        return self.listed - sum(self.by_outcome.get(outcome, 0) for outcome in NOT_JUDGED)

    @property
    def unmatched(self) -> dict[str, int]:
        """Reason -> number of unmatched lines, most frequent first."""
        left = {str(o): n for o, n in self.by_outcome.items() if o not in (*MATCHED, *NOT_JUDGED)}
        return dict(sorted(left.items(), key=lambda entry: -entry[1]))


@dataclass(frozen=True, slots=True)
class FeatureMonth(DigestedTable):
    """A month of `tables.ML_FEATURE_STORE_V2`, with the counts of its lines, which are not part of the digest.

    `reports` are those that the features know of (`reports.REPORTS`); None for a version without such features.
    """

    lines: LineCounts
    reports: pa.Table | None = None
