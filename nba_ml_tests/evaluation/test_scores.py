"""Scores of probabilities: the numbers of an independent library, and intervals that hold what they promise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss, log_loss

from nba_ml.evaluation.scores import CERTAIN, Floats, Truth, calibration_error, mean_by_game, recalibration, score

SOME = st.integers(0, 10_000)


def drawn(seed: int, n: int = 400, spread: float = 1.0) -> tuple[Floats, Truth]:
    """Probabilities, and outcomes that follow others than these."""
    random = np.random.default_rng(seed)
    stated = 1 / (1 + np.exp(-random.normal(0.1, spread, n)))
    return np.round(stated, 4), random.random(n) < 0.3 + 0.5 * stated


@given(SOME, st.sampled_from([0.05, 0.3, 1.0, 2.5]))
def test_scores_are_those_of_scikit_learn(seed: int, spread: float) -> None:
    """Guards against a score of our own making: every figure is that of a library which shares no code with ours."""
    stated, happened = drawn(seed, spread=spread)
    found = score(stated, happened)
    assert found.brier == pytest.approx(brier_score_loss(happened, stated), abs=1e-6)
    inside = np.clip(stated, CERTAIN, 1 - CERTAIN)
    assert found.log_loss == pytest.approx(log_loss(happened, inside), abs=1e-6)
    odds = np.log(inside / (1 - inside))[:, None]
    fitted = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(odds, happened)
    assert found.slope == pytest.approx(fitted.coef_[0, 0], abs=2e-3 * max(1, abs(fitted.coef_[0, 0])))
    assert found.intercept == pytest.approx(fitted.intercept_[0], abs=2e-3)


@given(SOME)
def test_the_calibration_error_is_that_of_groups_of_equal_size(seed: int) -> None:
    """Guards against groups that lose rows, or weigh alike whatever their size."""
    stated, happened = drawn(seed)
    observed, mean = calibration_curve(happened, stated, n_bins=10, strategy="quantile")
    size = np.histogram(stated, np.quantile(stated, np.linspace(0, 1, 11)))[0]
    expected = float(np.abs(observed - mean) @ size / len(stated))
    assert calibration_error(stated, happened) == pytest.approx(expected, abs=0.01)  # a value on an edge may move
    assert calibration_error(np.full(100, 0.4), np.arange(100) < 55) == pytest.approx(0.15)


@pytest.mark.parametrize(
    ("stated", "happened"),
    [([0.5] * 4, [True, False] * 2), ([0.2, 0.3, 0.7], [True] * 3), ([0.1, 0.2, 0.8, 0.9], [False, False, True, True])],
    ids=["all equal", "one outcome", "separated"],
)
def test_a_slope_that_does_not_exist_is_not_made_up(stated: list[float], happened: list[bool]) -> None:
    """Guards against a calibration slope of a million for a model that knows the results."""
    assert recalibration(np.array(stated), np.array(happened)) is None
    assert score(np.array(stated), np.array(happened)).slope is None


def test_certainties_that_were_wrong_have_a_finite_loss() -> None:
    """Guards against one stored 1.0000 that makes every log loss infinite."""
    assert score(np.array([1.0, 0.0, 0.5]), np.array([False, True, True])).log_loss < 10


def test_the_interval_covers_the_mean_where_rows_of_a_game_belong_together() -> None:
    """Guards against intervals over rows: those cover the mean in far fewer than 95 of 100 samples."""
    random = np.random.default_rng(7)
    covered, by_rows = 0, 0
    for _ in range(400):
        games = np.repeat(np.arange(60), 8)
        values = np.repeat(random.normal(0, 1, 60), 8) + random.normal(0, 1, 480)
        found = mean_by_game(values, games)
        assert found.low is not None
        assert found.high is not None
        covered += found.low <= 0 <= found.high
        by_rows += abs(values.mean()) <= 1.96 * values.std() / np.sqrt(480)
    assert 0.92 <= covered / 400 <= 0.97
    assert by_rows / 400 < 0.75


def test_a_few_games_have_no_interval() -> None:
    """Guards against a normal interval over two games."""
    few = mean_by_game(np.arange(58.0), np.arange(58) // 2)
    assert (few.value, few.low, few.high) == (28.5, None, None)
    assert mean_by_game(np.arange(60.0), np.arange(60) // 2).low is not None
