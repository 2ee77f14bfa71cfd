"""Metrics against NumPy by hand, and intervals against what they claim."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nba_ml.model.metrics import PredictionMetrics, interval_over_days, measure

scores = st.lists(st.tuples(st.floats(0, 60), st.integers(0, 80)), min_size=1, max_size=50)


@given(scores)
def test_metrics_are_what_their_names_say(pairs: list[tuple[float, int]]) -> None:
    """Guards against a sign, a square root or a bound that went astray: each number is computed again, row by row."""
    predicted, actual = (np.array(column, dtype=np.float32) for column in zip(*pairs, strict=True))
    errors = [float(p) - float(a) for p, a in zip(predicted, actual, strict=True)]
    n = len(errors)
    found = measure(predicted, actual)
    assert found.n == n
    assert found.mae == pytest.approx(sum(abs(e) for e in errors) / n, abs=1e-6)
    assert found.rmse == pytest.approx((sum(e * e for e in errors) / n) ** 0.5, abs=1e-6)
    assert found.bias == pytest.approx(sum(errors) / n, abs=1e-6)
    assert found.within_3 == pytest.approx(sum(abs(e) <= 3 for e in errors) / n, abs=1e-6)
    assert found.within_5 == pytest.approx(sum(abs(e) <= 5 for e in errors) / n, abs=1e-6)


def test_bias_is_negative_where_predictions_are_too_low_and_bounds_are_inclusive() -> None:
    """Guards against a bias read the wrong way round, and against 3.0 points off not counting as within 3."""
    predicted, actual = np.array([10.0, 10.0, 10.0, 10.0]), np.array([10.0, 13.0, 15.0, 16.0])
    assert measure(predicted, actual) == PredictionMetrics(
        n=4, mae=3.5, rmse=4.1833, bias=-3.5, within_3=0.5, within_5=0.75
    )


def test_no_rows_have_no_metrics() -> None:
    """Guards against a MAE of NaN, or of 0, over nothing."""
    with pytest.raises(ValueError, match="no rows to measure"):
        measure(np.array([]), np.array([]))


@given(st.lists(st.tuples(st.integers(0, 15), st.floats(-20, 40)), min_size=1, max_size=80))
def test_the_interval_contains_the_mean_and_is_repeatable(rows: list[tuple[int, float]]) -> None:
    """Guards against an interval of something else than the mean, and against one that changes from run to run."""
    day, values = np.array([d for d, _ in rows], "datetime64[D]"), np.array([v for _, v in rows])
    interval = interval_over_days(values, day)
    assert interval.low - 1e-6 <= values.mean() <= interval.high + 1e-6
    assert values.min() - 1e-6 <= interval.low <= interval.high <= values.max() + 1e-6
    assert interval_over_days(values, day) == interval


def test_rows_count_by_their_number_not_by_their_order_or_date() -> None:
    """Guards against an interval that depends on how rows are sorted or on which dates the nights fell."""
    rng = np.random.default_rng(1)
    values, day = rng.gamma(2, 2.5, 600), np.sort(rng.integers(0, 60, 600)).astype("datetime64[D]")
    order = rng.permutation(600)
    shuffled = interval_over_days(values[order], day[order])
    later = interval_over_days(values, (day.astype(np.int64) + 1000).astype("datetime64[D]"))
    for other in (shuffled, later):
        assert (other.low, other.high) == pytest.approx(tuple(interval_over_days(values, day).model_dump().values()))


def test_the_interval_is_wider_over_days_than_over_rows_where_days_are_correlated() -> None:
    """Guards against resampling rows: nights share their news, and an interval over rows claims too much."""
    rng = np.random.default_rng(2)
    day = np.repeat(np.arange(60), 50).astype("datetime64[D]")
    values = 4.6 + np.repeat(rng.normal(0, 1.0, 60), 50) + rng.normal(0, 1.0, 3000)
    each_row = np.arange(3000).astype("datetime64[D]")
    by_day, by_row = (i.high - i.low for i in (interval_over_days(values, day), interval_over_days(values, each_row)))
    # Standard errors: sqrt(1/60 + 1/3000) = 0.130 by day, sqrt(2/3000) = 0.026 by row, times 2 x 1.96.
    assert by_day == pytest.approx(3.92 * 0.130, rel=0.2)
    assert by_row == pytest.approx(3.92 * 0.0258, rel=0.2)


def test_independent_days_give_the_textbook_interval_and_cover_the_truth() -> None:
    """Guards against a level that is not 95%: of 100 experiments about 95 intervals hold the true mean."""
    rng = np.random.default_rng(3)
    hits = 0
    for _ in range(100):
        values = rng.normal(4.6, 2.0, 80)
        interval = interval_over_days(values, np.arange(80).astype("datetime64[D]"))
        hits += interval.low <= 4.6 <= interval.high
    assert 88 <= hits <= 99


def test_the_resamples_are_the_same_in_parts_as_all_at_once() -> None:
    """Guards the stored reports: to spare memory the draws are kept as bytes, and multiplied in parts."""
    rng = np.random.default_rng(4)
    for days in (1, 2, 25, 64, 333, 640):
        day = np.repeat(np.arange(days), rng.integers(1, 200, days))
        values = rng.normal(4.5, 3.0, len(day))
        sums, counts = np.bincount(day, weights=values), np.bincount(day).astype(float)
        draws = np.random.default_rng(42).multinomial(days, np.full(days, 1 / days), size=2000)
        low, high = np.quantile((draws @ sums) / (draws @ counts), [0.025, 0.975]).round(6)
        interval = interval_over_days(values, day.astype("datetime64[D]"))
        assert (interval.low, interval.high) == (pytest.approx(low, abs=1e-9), pytest.approx(high, abs=1e-9))


def test_one_day_has_an_interval_of_its_mean() -> None:
    """Guards against a crash, or an interval over rows, where there is a single night."""
    interval = interval_over_days(np.array([1.0, 2.0, 6.0]), np.array(["2022-01-01"] * 3, "datetime64[D]"))
    assert (interval.low, interval.high) == (3.0, 3.0)
