"""What became of a month's listed lines, and the features that they went into.

What belongs here: the outcomes and how they are counted. Which line is whose is decided by
`features/sql/match_lines.sql`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import pyarrow as pa

from nba_ml.data.table_digest import DigestedTable


class LineOutcome(StrEnum):
    """What became of a listed line."""

    BY_ID = "matched by id"
    BY_NAME = "matched by name"
    DID_NOT_PLAY = "listed but did not play"
    """His team played and he did not: such a bet is void, and nothing is wrong with the line."""
    NOT_YET = "after the last box score"
    """Tonight's lines, beside results up to yesterday."""
    NO_GAME = "no game of that date"
    DAY_BEFORE = "game the day before: dated by UTC?"
    """His team played on the day before and not on this one."""
    NAME_UNKNOWN = "name unknown"
    NAME_AMBIGUOUS = "name ambiguous"
    ID_UNKNOWN = "id unknown"
    """No box score of the last 3 years has the id. The name is not tried: an id of another source would
    otherwise be right for some players and wrong for others."""


MATCHED = (LineOutcome.BY_ID, LineOutcome.BY_NAME)
NOT_JUDGED = (LineOutcome.DID_NOT_PLAY, LineOutcome.NOT_YET)
"""Neither matched nor a fault."""


@dataclass(frozen=True, slots=True)
class LineCounts:
    """Listed lines by outcome; `named_otherwise` counts those whose id is one player's and name another's.

    The id wins there. A name that nobody has, such as one without its suffix, is no contradiction.
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
        """Lines that are somebody's who appeared in a game of that date."""
        return sum(self.by_outcome.get(outcome, 0) for outcome in MATCHED)

    @property
    def judged(self) -> int:
        """Matched and unmatched lines, without those that are neither."""
        return self.listed - sum(self.by_outcome.get(outcome, 0) for outcome in NOT_JUDGED)

    @property
    def unmatched(self) -> dict[str, int]:
        """Reason -> lines that nothing was found for and something should have been, the most frequent first."""
        left = {str(o): n for o, n in self.by_outcome.items() if o not in (*MATCHED, *NOT_JUDGED)}
        return dict(sorted(left.items(), key=lambda entry: -entry[1]))


@dataclass(frozen=True, slots=True)
class FeatureMonth(DigestedTable):
    """A month of `tables.ML_FEATURE_STORE_V2` with what became of its lines, which the digest does not cover."""

    lines: LineCounts
