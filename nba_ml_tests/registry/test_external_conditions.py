"""The conditions that an external model must meet on stored rows, on formulas whose faults are known."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date

import numpy as np
import pyarrow as pa
import pytest

from nba_ml.contract.errors import BundleError
from nba_ml.contract.thresholds import Thresholds
from nba_ml.registry.external import SEASON_AVERAGE, backtest_external
from nba_ml.registry.promotion_rules import Backtest
from nba_ml.registry.systems.interface import Columns, Floats, TrainingExtent
from nba_ml.registry.systems.rules import Rule
from nba_ml_tests.conftest import snapshot_of

DECEMBER = date(2021, 12, 31)


def backtest(formula: Callable[[Columns], Floats], given: date = DECEMBER, *tables: pa.Table) -> Backtest:
    system = Rule("formula", formula, extent=TrainingExtent(given, given))
    return backtest_external(system, tables or [snapshot_of("2022-01").table], Thresholds())


def unmet(found: Backtest) -> list[str]:
    return [condition.name for condition in found.conditions if not condition.met]


def average(columns: Columns) -> Floats:
    return SEASON_AVERAGE.formula(columns)


def test_the_season_average_itself_is_not_worse_than_the_season_average() -> None:
    """Guards against conditions that no honest model can meet, and pins what is recorded."""
    found = backtest(average)
    assert (found.passed, unmet(found)) == (True, [])
    assert found.evidence is not None
    assert (found.evidence.champion, found.evidence.rows, found.evidence.gain) == ("season_average", 4878, 0.0)
    assert found.evidence.first > DECEMBER
    assert found.summary.startswith("Met: unseen_rows: 4,878 stored player-games on 31 dates after 2021-12-31")


@pytest.mark.parametrize(
    ("formula", "named"),
    [
        (lambda c: np.full(len(average(c)), 9.0), ["season_average", "spread", "correlation"]),
        (lambda c: average(c) / 5 + 7, ["season_average", "spread"]),
        (lambda c: 22 - average(c), ["season_average", "correlation"]),
        (lambda c: average(c) + 3, ["season_average", "stored_bias"]),
        (lambda c: average(c) - 2, ["season_average", "stored_bias"]),
        (lambda c: average(c) / 48, ["season_average", "stored_bias", "spread"]),
        (lambda c: 100 + average(c), ["season_average", "stored_bias", "spread", "correlation"]),
        (lambda c: c["minutes_avg_last_10"], ["season_average", "stored_bias"]),
        (lambda c: np.roll(average(c), 1), ["season_average", "correlation"]),
    ],
    ids=[
        "constant",
        "nearly constant",
        "reversed",
        "3 high",
        "2 low",
        "per minute",
        "clamped",
        "minutes",
        "other rows",
    ],
)
def test_what_is_no_model_of_points_is_refused_by_name(formula: Callable[[Columns], Floats], named: list[str]) -> None:
    """Guards each condition on its own fault, under the shipped limits."""
    found = backtest(formula)
    assert unmet(found) == named
    for condition in found.conditions:
        assert "required" in condition.detail
        assert "4,8" in condition.detail  # the rows that it was measured on
    assert found.summary.startswith(f"Not met: {named[0]}: ")


def test_what_knows_the_results_is_taken_for_a_leak() -> None:
    """Guards against a date that hides what a model was given: nothing else is wrong with a memory."""
    points = snapshot_of("2022-01").table.column("points").to_numpy()
    assert unmet(backtest(lambda c: 0.8 * points + 0.2 * average(c))) == ["no_leak"]


def test_only_rows_after_what_it_was_given_count() -> None:
    """Guards the count: rows of the day itself are not unseen, and rows that nobody can predict are none."""
    january = snapshot_of("2022-01").table
    dates = january.column("game_date").to_pylist()
    found = backtest(average, date(2022, 1, 20))
    later = sum(day > date(2022, 1, 20) for day in dates)
    assert found.evidence is not None
    assert (found.evidence.rows, found.evidence.first) == (later, date(2022, 1, 21))
    assert unmet(found) == ["unseen_rows"]
    assert f"{later:,} stored player-games on 11 dates" in found.summary
    for count, missing in ((1999, ["unseen_rows"]), (2000, [])):
        few = backtest(lambda c, n=count: np.where(np.cumsum(~np.isnan(average(c))) <= n, average(c), np.nan))  # type: ignore[misc]
        assert few.evidence is not None
        assert (few.evidence.rows, unmet(few)) == (count, missing)


@pytest.mark.parametrize("months", [(), ("2022-01",)], ids=["no month", "no later row"])
def test_without_a_row_every_condition_is_unmet(months: tuple[str, ...]) -> None:
    """Guards against conditions that hold of nothing."""
    tables = [snapshot_of(month).table for month in months]
    found = backtest_external(Rule("f", average, extent=TrainingExtent(date.max, date.max)), tables, Thresholds())
    assert len(unmet(found)) == len(found.conditions) == 6
    assert (found.passed, found.evidence) == (False, None)
    nothing = backtest(lambda c: np.full(len(average(c)), np.nan))
    assert (len(unmet(nothing)), nothing.evidence) == (6, None)


def test_an_infinite_prediction_is_an_error() -> None:
    """Guards against a clamp that makes 60 points of infinity."""
    with pytest.raises(BundleError, match="predicts inf points"):
        backtest(lambda c: average(c) + np.inf)
