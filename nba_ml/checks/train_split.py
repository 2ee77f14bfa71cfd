"""Checks of the split: sides in time order, expected shares, no missing month."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

from nba_ml.checks.check import Check, CheckContext, Consequence, Finding
from nba_ml.contract.thresholds import Thresholds
from nba_ml.data.snapshot import Snapshot
from nba_ml.data.split import EARLY_STOPPING_SHARE, SIDES, VALIDATION_SHARE, SplitManifest

ASSET = "train_split"

_check = partial(Check, ASSET)

MEANT_SHARES = {
    "train": (1 - VALIDATION_SHARE) * (1 - EARLY_STOPPING_SHARE),
    "early_stopping": (1 - VALIDATION_SHARE) * EARLY_STOPPING_SHARE,
    "validation": VALIDATION_SHARE,
}


def _dates(split: SplitManifest, context: CheckContext) -> Finding:
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
        metric="sides that overlap, are missing, or do not contain all rows",
        value=len(faults),
        n=split.rows,
        worst=faults,
        next_step=f"Materialise train_split for {context.month} again. The sides have {counted:,} rows, the snapshots "
        f"{split.rows:,}; they must be equal.",
    )


def _shares(split: SplitManifest, context: CheckContext) -> Finding:
    sides = split.sides()
    shares = {name: side.rows / split.rows for name, side in sides.items()}
    off = {name: abs(share - MEANT_SHARES[name]) for name, share in shares.items()}
    # The split cuts between dates. With 28 dates, as in the first month, one date is over two percentage points.
    dates = sum(side.dates for side in sides.values())
    tolerance = max(context.limits.split_share_tolerance, 1 / dates) if dates else 0.0
    faults = [
        {"side": name, "share": round(shares[name], 4), "meant": round(MEANT_SHARES[name], 4)}
        for name in off
        if off[name] > tolerance
    ]
    return Finding(
        passed=not faults,
        metric="largest difference of a side's share from its target",
        value=round(max(off.values(), default=0.0), 4),
        n=split.rows,
        worst=faults,
        next_step=f"Materialise train_split for {context.month} again: this version cuts at the date nearest to the "
        f"target share, at most {tolerance:.3f} away.",
    )


def _at_least(limit: int, advice: str) -> Callable[[SplitManifest, CheckContext], Finding]:
    """Rule: at least `limit` rows, or none yet. `advice` is appended to the sentence with the number of rows."""

    def examine(split: SplitManifest, context: CheckContext) -> Finding:
        validation = split.validation.rows if split.validation else 0
        return Finding(
            passed=split.empty or split.rows >= limit,
            metric="rows",
            value=split.rows,
            n=split.rows,
            next_step=f"Up to {context.month} there are {split.rows:,} samples, {validation:,} of them for validation"
            f"{advice}",
        )

    return examine


def _window(split: SplitManifest, context: CheckContext) -> Finding:
    included = {ref.month for ref in split.snapshots}
    faults = [
        {"month": month, "fault": fault}
        for month in context.months
        if month not in included and (fault := _why_missing(month, context))
    ]
    faults += [
        {"month": month, "fault": f"later than {context.month}"} for month in sorted(included) if month > context.month
    ]
    return Finding(
        passed=not faults,
        metric="months that are missing from the window or do not belong to it",
        value=len(faults),
        n=split.rows,
        worst=faults,
        next_step="The training window has a gap or a wrong month. Materialise feature_store_snapshot for these "
        f"months, then train_split for {context.month}.",
    )


def _why_missing(month: str, context: CheckContext) -> str:
    """Why a month is missing from the split, or '' if it has no samples."""
    snapshot = context.load("feature_store_snapshot", month)
    if not isinstance(snapshot, Snapshot):
        return "it has no snapshot"
    return f"its {snapshot.table.num_rows:,} samples were left out" if snapshot.table.num_rows else ""


def checks(limits: Thresholds) -> tuple[Check, ...]:
    """The checks of this asset with the given limits."""
    return (
        _check(
            name="dates_disjoint_and_ordered",
            consequence=Consequence.STOPS_RUN,
            threshold="train ends before early stopping begins, and that before validation",
            reason="If a date is on two sides, the model is evaluated on the night that it was trained on.",
            examine=_dates,
        ),
        _check(
            name="shares",
            consequence=Consequence.STOPS_RUN,
            threshold="70% train, 10% early stopping, 20% validation, each within "
            f"{100 * limits.split_share_tolerance:g} points or the rows of one date",
            reason="A score on a small validation side is meaningless.",
            examine=_shares,
        ),
        _check(
            name="min_rows",
            consequence=Consequence.STOPS_RUN,
            threshold=f"at least {limits.min_rows:,} rows, or none yet",
            reason="A model's score on under 200 rows is meaningless.",
            examine=_at_least(limits.min_rows, ": too few to evaluate a model. Backfill earlier months first."),
        ),
        _check(
            name="few_rows",
            consequence=Consequence.WARNS,
            threshold=f"at least {limits.few_rows:,} rows, or none yet",
            reason="With few rows, 33 features overfit.",
            examine=_at_least(
                limits.few_rows,
                ". The model is likely to overfit. Backfill earlier months, or check the gap between train and "
                "validation.",
            ),
        ),
        _check(
            name="window_without_holes",
            consequence=Consequence.STOPS_RUN,
            threshold="every month up to this one that has samples is in the split, and none after it",
            reason="A missing month, or one from the future, changes all later numbers without an error.",
            examine=_window,
        ),
    )
