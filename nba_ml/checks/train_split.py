"""Checks of the split: time runs one way."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from nba_ml.checks.check import Check, Finding, Severity
from nba_ml.core.split import SIDES, SplitManifest

ASSET = "train_split"


def _dates(split: SplitManifest, month: str) -> Finding:
    sides = list(split.sides().items())
    overlaps = [
        {"earlier": a, "its last date": str(left.last), "later": b, "its first date": str(right.first)}
        for (a, left), (b, right) in pairwise(sides)
        if left.last >= right.first
    ]
    counted = sum(side.rows for _, side in sides)
    uncounted = [{"rows of the sides": counted, "rows of the snapshots": split.rows}] if counted != split.rows else []
    missing = [{"missing side": name} for name in SIDES if sides and name not in split.sides()]
    faults: list[dict[str, Any]] = [*overlaps, *uncounted, *missing]
    return Finding(
        passed=not faults,
        metric="sides that overlap in time, are missing, or do not hold all rows",
        value=len(faults),
        n=split.rows,
        worst=faults,
        next_step=f"Materialise train_split for {month} again; its {counted:,} rows must be those of its snapshots "
        f"({split.rows:,}).",
    )


CHECKS = (
    Check(
        asset=ASSET,
        name="dates_disjoint_and_ordered",
        severity=Severity.ERROR,
        blocking=True,
        threshold="train ends before early stopping begins, and that before validation",
        reason="A date on two sides lets the games of one night teach the model about themselves.",
        examine=_dates,
    ),
)
