"""Checks of a split."""

from __future__ import annotations

from datetime import timedelta

import pytest

from nba_ml.checks.build import _result
from nba_ml.checks.train_split import CHECKS
from nba_ml.core.split import SplitManifest, split_by_date
from nba_ml_tests.conftest import split_of

[DATES] = CHECKS
REAL = split_of(["2021-11", "2021-12"])


def described(split: SplitManifest) -> tuple[bool, str, str]:
    result = _result(DATES, DATES.examine(split, "2021-12"))
    return (
        result.passed,
        str(result.description),
        str(result.metadata["worst"].value if "worst" in result.metadata else ""),
    )


@pytest.mark.parametrize("split", [REAL, split_by_date({})], ids=["real", "empty"])
def test_a_chronological_split_passes(split: SplitManifest) -> None:
    """Guards against a check that refuses real splits, or the empty one of the first October."""
    passed, message, worst = described(split)
    assert passed
    assert message.startswith("passed: ")
    assert worst == ""


@pytest.mark.parametrize(("earlier", "later"), [("train", "early_stopping"), ("early_stopping", "validation")])
def test_a_date_on_two_sides_fails(earlier: str, later: str) -> None:
    """Guards against a night whose games teach the model about themselves: one shared date is enough."""
    shared = getattr(REAL, later).first
    overlapping = REAL.model_copy(update={earlier: getattr(REAL, earlier).model_copy(update={"last": shared})})
    passed, message, worst = described(overlapping)
    assert not passed
    assert "sides that overlap in time, are missing, or do not hold all rows 1 over 9,053 rows" in message
    assert "Materialise train_split for 2021-12 again" in message
    assert earlier in worst
    assert str(shared) in worst


def test_sides_in_the_wrong_order_fail() -> None:
    """Guards against training on the newest games and validating on the oldest."""
    swapped = REAL.model_copy(update={"train": REAL.validation, "validation": REAL.train})
    passed, message, _ = described(swapped)
    assert not passed
    assert "do not hold all rows 2 over" in message


def test_rows_that_are_on_no_side_fail() -> None:
    """Guards against a night that fell between two sides."""
    assert REAL.validation is not None
    short = REAL.validation.model_copy(
        update={"first": REAL.validation.first + timedelta(days=1), "rows": REAL.validation.rows - 100}
    )
    passed, message, worst = described(REAL.model_copy(update={"validation": short}))
    assert not passed
    assert "its 8,953 rows must be those of its snapshots (9,053)" in message
    assert "8953" in worst


def test_a_missing_side_fails() -> None:
    """Guards against a model that stops on nothing, or is reported on nothing."""
    passed, _, worst = described(REAL.model_copy(update={"early_stopping": None}))
    assert not passed
    assert "early_stopping" in worst
