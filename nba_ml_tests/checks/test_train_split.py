"""Checks of a split."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest

from nba_ml.checks.check import Severity
from nba_ml.checks.train_split import checks
from nba_ml.contract.thresholds import Thresholds
from nba_ml.data.split import SnapshotRef, SplitManifest, split_by_date
from nba_ml_tests.checks.scenes import scene, told
from nba_ml_tests.conftest import snapshot_of, split_of

CHECKS = {check.name: check for check in checks(Thresholds())}
MONTH = "2021-12"


def real() -> SplitManifest:
    """The split of two real months."""
    return split_of(["2021-11", MONTH])


def described(split: SplitManifest, name: str = "dates_disjoint_and_ordered") -> tuple[bool, str, str]:
    return told(CHECKS[name], CHECKS[name].examine(split, scene(MONTH)))


@pytest.mark.parametrize("name", [name for name in CHECKS if name != "few_rows"])
@pytest.mark.parametrize("month", ["2021-10", "2021-11", "2021-12"])
def test_the_first_real_months_pass(name: str, month: str) -> None:
    """Guards against a backfill that is refused for its few dates, or for its empty first October."""
    split = split_of([each for each in ("2021-10", "2021-11", "2021-12") if each <= month])
    finding = CHECKS[name].examine(split, scene(month))
    assert finding.passed
    assert not finding.worst


@pytest.mark.parametrize("months", [["2021-11", MONTH], []], ids=["real", "empty"])
def test_a_chronological_split_passes(months: list[str]) -> None:
    """Guards against a check that refuses real splits, or the empty one of the first October."""
    passed, message, worst = described(split_of(months))
    assert passed
    assert message.startswith("passed: ")
    assert worst == ""


@pytest.mark.parametrize(("earlier", "later"), [("train", "early_stopping"), ("early_stopping", "validation")])
def test_a_date_on_two_sides_fails(earlier: str, later: str) -> None:
    """Guards against a night whose games teach the model about themselves: one shared date is enough."""
    shared = getattr(real(), later).first
    overlapping = real().model_copy(update={earlier: getattr(real(), earlier).model_copy(update={"last": shared})})
    passed, message, worst = described(overlapping)
    assert not passed
    assert "Sides that overlap, are missing, or do not contain all rows: 1, required: " in message
    assert "Materialise train_split for 2021-12 again" in message
    assert earlier in worst
    assert str(shared) in worst


def test_sides_in_the_wrong_order_fail() -> None:
    """Guards against training on the newest games and validating on the oldest."""
    split = real()
    swapped = split.model_copy(update={"train": split.validation, "validation": split.train})
    passed, message, _ = described(swapped)
    assert not passed
    assert "do not contain all rows: 2, required: " in message


def test_rows_that_are_on_no_side_fail() -> None:
    """Guards against a night that fell between two sides."""
    validation = real().validation
    assert validation is not None
    short = validation.model_copy(update={"first": validation.first + timedelta(days=1), "rows": validation.rows - 100})
    passed, message, worst = described(real().model_copy(update={"validation": short}))
    assert not passed
    assert "The sides have 8,953 rows, the snapshots 9,053" in message
    assert "8953" in worst


def test_a_missing_side_fails() -> None:
    """Guards against a model that stops on nothing, or is reported on nothing."""
    passed, _, worst = described(real().model_copy(update={"early_stopping": None}))
    assert not passed
    assert "early_stopping" in worst


# --- shares ---------------------------------------------------------------------------------------------------


def moved(rows: int) -> SplitManifest:
    """The real split, had so many rows of validation gone to train."""
    train, validation = real().train, real().validation
    assert train is not None
    assert validation is not None
    return real().model_copy(
        update={
            "train": train.model_copy(update={"rows": train.rows + rows}),
            "validation": validation.model_copy(update={"rows": validation.rows - rows}),
        }
    )


def test_a_validation_side_that_shrank_fails() -> None:
    """Guards against a score over the few games that suit it."""
    passed, message, worst = described(moved(real().rows // 10), "shares")
    assert not passed
    assert "70% train, 10% early stopping, 20% validation, each within 2 points or the rows of one date" in message
    assert "validation" in worst
    assert "early_stopping" not in worst


def test_a_share_may_be_off_by_what_one_date_holds() -> None:
    """Guards against a limit that moved: 58 dates allow two points, three dates a third."""
    assert described(moved(real().rows // 100), "shares")[0]
    assert not described(moved(real().rows // 30), "shares")[0]
    days = np.repeat(np.array(["2021-12-01", "2021-12-02", "2021-12-03"], "datetime64[D]"), [60, 10, 30])
    assert described(split_by_date({MONTH: ("digest", days)}), "shares")[0]


# --- rows -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "enough", "blocks"), [("min_rows", 1_000, True), ("few_rows", 10_000, False)])
def test_too_few_rows_block_or_warn(name: str, enough: int, blocks: bool) -> None:
    """Guards against a limit off by one, and a score on a handful of rows that nobody questions."""

    def of_rows(rows: int) -> SplitManifest:
        return real().model_copy(update={"snapshots": (SnapshotRef(month=MONTH, digest="digest", rows=rows),)})

    assert described(of_rows(enough), name)[0]
    passed, message, _ = described(of_rows(enough - 1), name)
    assert not passed
    assert f"Rows: {enough - 1:,}, required: " in message
    assert f"at least {enough:,} rows, or none yet" in message
    check = CHECKS[name]
    assert (check.severity, check.blocking) == ((Severity.ERROR, True) if blocks else (Severity.WARN, False))


# --- the window -----------------------------------------------------------------------------------------------


def test_a_month_that_was_left_out_fails() -> None:
    """Guards against a hole in the training data that nobody is told of."""
    passed, message, worst = described(split_of([MONTH]), "window_without_holes")
    assert not passed
    assert "Months that are missing from the window or do not belong to it: 1" in message
    assert "2021-11" in worst
    assert f"its {snapshot_of('2021-11').table.num_rows:,} samples were left out" in worst


def test_a_month_without_a_snapshot_fails() -> None:
    """Guards against a month that was never materialised and is taken for an empty one."""
    there = scene(MONTH, values={("feature_store_snapshot", "2021-10"): None})
    finding = CHECKS["window_without_holes"].examine(real(), there)
    assert not finding.passed
    assert finding.worst == [{"month": "2021-10", "fault": "it has no snapshot"}]


def test_a_month_of_the_future_fails() -> None:
    """Guards against games that had not been played when the model claims to have been trained."""
    finding = CHECKS["window_without_holes"].examine(split_of(["2021-11", MONTH]), scene("2021-11"))
    assert not finding.passed
    assert finding.worst == [{"month": MONTH, "fault": "later than 2021-11"}]
