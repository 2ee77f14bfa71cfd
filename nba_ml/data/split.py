"""The chronological split: train, then early stopping, then validation, cut between dates.

The split is a manifest, not a copy of rows: the snapshots, by digest, and the dates of the cuts.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from nba_ml.contract.digest import json_digest
from nba_ml.contract.errors import SplitError

VALIDATION_SHARE = 0.20
"""The last fifth of the rows, used once, for the reported metrics."""

EARLY_STOPPING_SHARE = 0.125
"""The last eighth of the remaining rows. The score that stops training is never the reported one."""

SIDES = ("train", "early_stopping", "validation")

Dates = npt.NDArray[np.datetime64]


class SnapshotRef(BaseModel):
    """A snapshot that the split uses."""

    model_config = ConfigDict(frozen=True)

    month: str
    digest: str
    rows: int


class Side(BaseModel):
    """One side of the split: its first and last date, both inclusive, and its size."""

    model_config = ConfigDict(frozen=True)

    first: date
    last: date
    dates: int
    rows: int


class SplitManifest(BaseModel):
    """The rows for training, early stopping and validation.

    Months without samples (each October) are not listed, so an October's split equals that of the previous June,
    including its digest. All sides are None while there are no samples.
    """

    model_config = ConfigDict(frozen=True)

    snapshots: tuple[SnapshotRef, ...]
    train: Side | None = None
    early_stopping: Side | None = None
    validation: Side | None = None

    @property
    def rows(self) -> int:
        """Samples of all snapshots together."""
        return sum(ref.rows for ref in self.snapshots)

    @property
    def empty(self) -> bool:
        """Whether no month so far has a sample."""
        return not self.snapshots

    @property
    def newest_month(self) -> str:
        """The month of the newest row. Raises SplitError if there is none."""
        if not self.snapshots:
            raise SplitError("There are no samples yet, so there is no newest month.")
        return self.snapshots[-1].month

    @property
    def digest(self) -> str:
        """sha256 of the manifest's content."""
        return json_digest(self.model_dump(mode="json"))

    def sides(self) -> dict[str, Side]:
        """The three sides by name, in order of time; empty for an empty split."""
        return {name: side for name in SIDES if (side := getattr(self, name)) is not None}


def split_by_date(snapshots: Mapping[str, tuple[str, Dates]]) -> SplitManifest:
    """Cut the rows of all months at date boundaries: 70 / 10 / 20 by rows.

    Each cut is at the boundary between two dates that is nearest to the share. Each side has at least one date, and no
    date is on two sides.

    Args:
        snapshots: month -> (digest, the game dates of its rows as datetime64[D], one per row).

    Raises:
        SplitError: there are rows on fewer than three dates.
    """
    filled = {month: snapshots[month] for month in sorted(snapshots) if len(snapshots[month][1])}
    refs = tuple(SnapshotRef(month=m, digest=digest, rows=len(days)) for m, (digest, days) in filled.items())
    if not filled:
        return SplitManifest(snapshots=refs)
    dates, counts = np.unique(np.concatenate([days for _, days in filled.values()]), return_counts=True)
    if len(dates) < len(SIDES):
        raise SplitError(
            f"{counts.sum():,} rows on {len(dates)} date(s), the last {dates[-1]}, cannot be split by date: train, "
            "early stopping and validation need one date each. Backfill more of the month, or earlier months."
        )
    below = np.concatenate([[0], np.cumsum(counts)])  # rows before the boundary in front of date i
    total = int(below[-1])
    validation_from = _nearest(below, total * (1 - VALIDATION_SHARE), low=2, high=len(dates) - 1)
    stopping_at = below[validation_from] * (1 - EARLY_STOPPING_SHARE)
    early_stopping_from = _nearest(below, stopping_at, low=1, high=validation_from - 1)
    cuts = [0, early_stopping_from, validation_from, len(dates)]
    sides = {
        name: Side(
            first=dates[start].item(),
            last=dates[stop - 1].item(),
            dates=stop - start,
            rows=int(below[stop] - below[start]),
        )
        for name, start, stop in zip(SIDES, cuts[:-1], cuts[1:], strict=True)
    }
    return SplitManifest(snapshots=refs, **sides)


def _nearest(below: npt.NDArray[np.int64], rows: float, *, low: int, high: int) -> int:
    """The date boundary, within [low, high], with the row count nearest to `rows`."""
    return low + int(np.argmin(np.abs(below[low : high + 1] - rows)))
