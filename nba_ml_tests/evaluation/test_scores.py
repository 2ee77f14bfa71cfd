"""Scores of probabilities: the numbers of an independent library, and intervals that hold what they promise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.spatial.distance import sqeuclidean
from scipy.special import expit
from scipy.stats import bernoulli, binned_statistic

from nba_ml.evaluation.scores import CERTAIN, Floats, Truth, calibration_error, mean_by_game, recalibration, score

SOME = st.integers(0, 10_000)


def brier_score_loss(happened: Truth, stated: Floats) -> float:
    return float(sqeuclidean(stated, happened.astype(float)) / len(stated))


def log_loss(happened: Truth, stated: Floats) -> float:
    return float(-bernoulli.logpmf(happened, stated).mean())


def drawn(seed: int, n: int = 400, spread: float = 1.0) -> tuple[Floats, Truth]:
    """Probabilities, and outcomes that follow others than these."""
    random = np.random.default_rng(seed)
    stated = 1 / (1 + np.exp(-random.normal(0.1, spread, n)))
    return np.round(stated, 4), random.random(n) < 0.3 + 0.5 * stated


@given(SOME, st.sampled_from([0.05, 0.3, 1.0, 2.5]))
def test_scores_are_those_of_scipy(seed: int, spread: float) -> None:
    """Guards against a score of our own making: every figure is that of a library which shares no code with ours."""
    stated, happened = drawn(seed, spread=spread)
    found = score(stated, happened)
    assert found.brier == pytest.approx(brier_score_loss(happened, stated), abs=1e-6)
    inside = np.clip(stated, CERTAIN, 1 - CERTAIN)
    assert found.log_loss == pytest.approx(log_loss(happened, inside), abs=1e-6)
    odds = np.log(inside / (1 - inside))
    fitted = minimize(lambda line: log_loss(happened, expit(line[0] + line[1] * odds)), (0, 1), tol=1e-10)
    assert found.slope == pytest.approx(fitted.x[1], abs=2e-3 * max(1, abs(fitted.x[1])))
    assert found.intercept == pytest.approx(fitted.x[0], abs=2e-3)


@given(SOME)
def test_the_calibration_error_is_that_of_groups_of_equal_size(seed: int) -> None:
    """Guards against groups that lose rows, or weigh alike whatever their size."""
    stated, happened = drawn(seed)
    groups = np.quantile(stated, np.linspace(0, 1, 11))
    expected = np.abs(binned_statistic(stated, stated - happened, "sum", groups).statistic).sum() / len(stated)
    assert calibration_error(stated, happened) == pytest.approx(expected, abs=0.01)  # a value on an edge may move
    assert calibration_error(np.full(100, 0.4), np.arange(100) < 55) == pytest.approx(0.15)


@pytest.mark.parametrize("above", [499, 500, 700])
def test_few_different_probabilities_do_not_share_a_group(above: int) -> None:
    """Guards against a market of a few prices that looks calibrated because its errors on both sides cancel out."""
    stated = np.repeat([0.4, 0.6], [1000 - above, above])
    assert calibration_error(stated, stated < 0.5) == pytest.approx(0.6)
    prices = np.repeat([0.48, 0.5, 0.52], [100, 800, 100])
    assert calibration_error(prices, np.arange(1000) % 2 == 0) == pytest.approx(0.004)


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
