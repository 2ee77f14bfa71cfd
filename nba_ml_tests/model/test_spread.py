"""The distribution of points: what is read from its quantiles, and how it is scored and fitted."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nba_ml.contract.quantiles import PUBLISHED_LEVELS, QUANTILE_COLUMNS
from nba_ml.model.calibration import calibrate, fit_distribution
from nba_ml.model.distribution import measure_distribution
from nba_ml.model.spread import LEAST_PROBABILITY, MOST_POINTS, Spread

Floats = npt.NDArray[np.float64]

rising = st.lists(st.floats(0, 60), min_size=19, max_size=19).map(lambda each: np.sort(np.round(each, 2)))
lines = st.integers(0, 160).map(lambda halves: halves / 2)


def results(count: int, seed: int) -> tuple[Floats, Floats, Floats]:
    """Predictions, results with as many zeros as the bench has, and the players' averages."""
    rng = np.random.default_rng(seed)
    mean = np.minimum(rng.gamma(1.6, 6.5, count) + 0.5, 24.0)
    points = rng.poisson(mean * rng.gamma(4.0, 0.25, count)).astype(np.float64)
    points[rng.random(count) < 0.35 * np.exp(-mean / 4)] = 0.0
    predicted = np.round(np.maximum(0.93 * mean - 0.6, 0.0), 2)
    return np.asarray(predicted, dtype=np.float64), points, np.asarray(mean, dtype=np.float64)


def share(inside: npt.NDArray[np.bool_]) -> float:
    return float(inside.mean())


def test_names_and_levels() -> None:
    """The columns of tables are named after their levels; other programs read them by name."""
    assert PUBLISHED_LEVELS == (
        0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95,
    )  # fmt: skip
    assert (QUANTILE_COLUMNS[0], QUANTILE_COLUMNS[9], QUANTILE_COLUMNS[-1]) == (
        "points_q05",
        "points_q50",
        "points_q95",
    )
    assert len(QUANTILE_COLUMNS) == len(PUBLISHED_LEVELS)


def test_probabilities_of_known_quantiles() -> None:
    """By hand: quantiles 5, 6 ... 23 at 5% ... 95%. A result of 14 or less ends at 14.5, between 50% and 55%."""
    spread = Spread.published(np.arange(5.0, 24.0)[None, :])
    at = np.array([[14.0, 13.0, -1.0]])
    assert spread.at_most(at)[0] == pytest.approx([0.525, 0.475, 0.0])
    assert spread.over(np.array([14.0])) == pytest.approx(0.475)
    assert spread.over(np.array([14.5])) == pytest.approx(0.475)
    assert spread.push(np.array([14.0])) == pytest.approx(0.05)
    assert spread.push(np.array([14.5])) == 0.0
    # Above 23 the probability halves with each point, as it did from 22 to 23; below 5 likewise.
    assert spread.over(np.array([24.0])) == pytest.approx(0.05 * 0.5**1.5)
    assert spread.at_most(np.array([[3.0]]))[0] == pytest.approx(0.05 * 0.5**1.5)
    assert spread.quantile(0.5)[0] == 14.0
    assert spread.quantile(0.525)[0] == pytest.approx(14.5)
    assert np.isnan(spread.over(np.array([np.nan]))[0])


@given(rising, st.lists(lines, min_size=1, max_size=12))
def test_over_push_and_under_add_up_and_over_falls(quantiles: Floats, asked: list[float]) -> None:
    """Guards against an alternate line that is dearer than a lower one, a line that is certain, and chances above 1."""
    at = np.array(sorted(asked))
    spread = Spread.published(np.tile(quantiles, (len(at), 1)))
    over, push = spread.over(at), spread.push(at)
    under = spread.at_most((np.ceil(at) - 1)[:, None])[:, 0]
    assert over + push + under == pytest.approx(np.ones(len(at)))
    assert (np.diff(over) <= 1e-12).all()
    assert ((over >= LEAST_PROBABILITY - 1e-12) & (push >= -1e-12) & (under >= 0)).all()
    assert (push[at % 1 == 0.5] == 0).all()


@given(rising)
def test_the_wide_interval_holds_the_narrow_one(quantiles: Floats) -> None:
    """Guards against a 90% interval that ends before the 80% one, above all where the low ends become 0."""
    spread = Spread.published(quantiles[None, :])
    (low, high), (lowest, highest) = spread.interval(0.8), spread.interval(0.9)
    assert 0 <= lowest[0] <= low[0] <= high[0]
    # With a low end of 0 in the narrow one alone, it takes all of its 20% from above.
    assert highest[0] >= high[0]


def test_the_low_end_is_0_where_0_points_are_likely() -> None:
    """Guards against "80%" for a bench player whose zeros all lie inside: his high end is the 80% quantile."""
    zeros = np.concatenate([np.zeros(7), np.arange(1.0, 13.0)])  # 0 points in about 38% of games
    low, high = Spread.published(zeros[None, :]).interval(0.8)
    assert (low[0], high[0]) == (0.0, zeros[15])
    never = np.arange(5.0, 24.0)
    low, high = Spread.published(never[None, :]).interval(0.8)
    assert (low[0], high[0]) == (never[1], never[17])


@given(rising, st.integers(0, 70))
def test_crps_is_that_of_the_whole_numbers_own_probabilities(quantiles: Floats, result: int) -> None:
    """By its other definition, E|X - y| - E|X - X'| / 2 over the probability of each whole number."""
    spread, whole = Spread.published(quantiles[None, :]), np.arange(MOST_POINTS + 1.0)
    stated = np.concatenate([[0.0], spread.at_most(whole[None, :])[0]])
    mass = np.diff(stated)
    mass[-1] += 1 - mass.sum()
    apart = np.abs(whole[:, None] - whole)
    expected = mass @ np.abs(whole - result) - mass @ apart @ mass / 2
    assert spread.crps(np.array([float(result)]))[0] == pytest.approx(expected, abs=1e-3)


def test_the_transform_is_uniform_for_results_of_the_distribution() -> None:
    """Guards against a score that calls a right distribution wrong: results drawn from it have 1/12."""
    rng = np.random.default_rng(7)
    quantiles = np.quantile(rng.negative_binomial(4, 0.3, 200_000), PUBLISHED_LEVELS, method="linear")
    spread = Spread.published(quantiles[None, :])
    mass = np.diff(np.concatenate([[0.0], spread.at_most(np.arange(MOST_POINTS + 1.0)[None, :])[0]]))
    drawn = rng.choice(MOST_POINTS + 1, 40_000, p=mass / mass.sum()).astype(np.float64)
    low, high = Spread.published(np.tile(quantiles, (len(drawn), 1))).pit(drawn).T
    transform = low + rng.random(len(drawn)) * (high - low)
    assert transform.mean() == pytest.approx(0.5, abs=0.01)
    assert transform.var() == pytest.approx(1 / 12, abs=0.002)


# -- fitted -------------------------------------------------------------------------------------------------------


def test_zeros_are_as_likely_as_they_were_and_both_intervals_hold_in_every_tier() -> None:
    """The reason for fitting zeros apart: with one shape for all results the bench's zeros are smeared below 0 and up
    to 2 points, and "80%" holds 83% of its results."""
    distribution = fit_distribution(*results(8_000, seed=1)[:2])
    predicted, points, mean = results(60_000, seed=2)
    report = measure_distribution(distribution, predicted, points, mean)
    assert list(report.tiers) == ["0-5", "5-10", "10-15", "15-20", "20-25"]
    for name, scores in (("all", report.overall), *report.tiers.items()):
        assert scores.coverage_80.inside == pytest.approx(0.8, abs=0.025), name
        assert scores.coverage_90.inside == pytest.approx(0.9, abs=0.02), name
    assert report.overall.pit_variance == pytest.approx(1 / 12, abs=0.002)
    bench = mean < 5
    spread = Spread.published(distribution.beliefs(predicted, np.full(len(points), np.nan)).quantiles)
    stated = spread.at_most(np.zeros((len(points), 1)))[:, 0]
    assert stated[bench].mean() == pytest.approx(share(points[bench] == 0), abs=0.015)
    before = measure_distribution(calibrate(*results(8_000, seed=1)[:2]), predicted, points, mean)
    assert abs(before.tiers["0-5"].pit_variance - 1 / 12) > abs(report.tiers["0-5"].pit_variance - 1 / 12) + 0.002


pairs = st.lists(st.tuples(st.floats(0, 60), st.integers(0, 80)), min_size=1, max_size=600)


@given(pairs, st.lists(st.floats(0, 60), min_size=1, max_size=20))
def test_quantiles_never_cross_whatever_they_are_learnt_from(
    games: list[tuple[float, int]], asked: list[float]
) -> None:
    """Guards against a probability that rises with the line; also with one row, equal predictions, and only zeros."""
    points, scored = (np.array(column, dtype=np.float64) for column in zip(*games, strict=True))
    predicted = np.round(np.array(asked), 2)
    stated = fit_distribution(points, scored).beliefs(predicted, np.full(len(predicted), np.nan))
    assert (np.diff(stated.quantiles, axis=1) >= 0).all()
    assert (stated.quantiles >= 0).all()
    for low, high in (stated.interval, stated.wide_interval):
        assert ((low >= 0) & (low <= predicted) & (high >= predicted)).all()


def test_everything_can_be_computed_from_the_published_quantiles() -> None:
    """Guards against a price for the market's line that differs from the same line asked for as an alternate one."""
    predicted, points, _ = results(3_000, seed=3)
    line = np.round(2 * predicted) / 2
    distribution = fit_distribution(predicted, points, line)
    published = np.round(distribution.beside_line(predicted, line), 2)
    stated = distribution.beliefs(predicted, line, published)
    spread = Spread.published(stated.quantiles)
    assert np.array_equal(stated.over, spread.over(line))
    assert np.array_equal(stated.push, spread.push(line))
    assert (np.round(stated.quantiles, 2) == stated.quantiles).all()
