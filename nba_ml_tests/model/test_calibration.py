"""Intervals that hold what they promise, probabilities that know that points are whole numbers."""

from __future__ import annotations

import ast
import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nba_ml.contract.errors import CalibrationError
from nba_ml.contract.features import V2_33FEATURES
from nba_ml.model import calibration as calibration_module
from nba_ml.model.calibration import Calibration, calibrate, measure_coverage
from nba_ml.model.fitting import predict
from nba_ml.model.tiers import NO_HISTORY, TIER_NAMES, TIERS, tier_of
from nba_ml_tests.conftest import Trained

Floats = npt.NDArray[np.float64]


def games(rows: int, seed: int) -> tuple[Floats, Floats]:
    """Predictions that are medians, and whole results around them: as they rise, more spread and less skew.

    Gamma variables whose standard deviation is 1.5 times the root of their mean, as in real games.
    """
    rng = np.random.default_rng(seed)
    mean = 1.0 + rng.gamma(2.0, 5.0, rows)
    results = np.round(rng.gamma(mean / 2.25, 2.25))
    return np.maximum(mean - 0.75, 0.0), results  # a gamma's median lies about a third of its scale below the mean


def self_assured(calibration: Calibration) -> Calibration:
    """The same, for lines that add nothing to what the model knows."""
    return calibration.model_copy(update={"line_trust": 1.0})


def share_inside(calibration: Calibration, predicted: Floats, results: Floats) -> float:
    low, high = calibration.interval(predicted)
    return float(((results >= low) & (results <= high)).mean())


def test_the_interval_holds_four_fifths_of_new_results_at_every_height() -> None:
    """Guards against one width for all, which covers the bench at 93% and the stars at 60%."""
    calibration = calibrate(*games(6_000, seed=1))
    predicted, results = games(60_000, seed=2)
    assert share_inside(calibration, predicted, results) == pytest.approx(0.80, abs=0.015)
    for low, high in ((0, 5), (5, 10), (10, 15), (15, 20), (20, 25), (25, 60)):
        there = (predicted >= low) & (predicted < high)
        assert share_inside(calibration, predicted[there], results[there]) == pytest.approx(0.80, abs=0.05), low


def test_misses_fall_evenly_below_and_above() -> None:
    """Guards against ends that are swapped or shifted, and against one skew for all: the bench's results are
    skewed, the stars' nearly symmetric, and with one shape 80% would be 6% on one side and 14% on the other."""
    calibration = calibrate(*games(10_000, seed=1))
    predicted, results = games(100_000, seed=2)
    low, high = calibration.interval(predicted)
    for floor, ceiling in ((0, 60), (4, 7), (7, 12), (18, 60)):
        there = (predicted >= floor) & (predicted < ceiling)
        assert (results < low)[there].mean() == pytest.approx(0.10, abs=0.02), floor
        assert (results > high)[there].mean() == pytest.approx(0.10, abs=0.02), floor


def test_a_few_hundred_rows_do_not_promise_too_much() -> None:
    """Guards against quantiles without the finite-sample correction: from 19 rows they would hold 72%, not 80%."""
    inside = []
    for seed in range(300):
        predicted, results = games(19, seed=seed)
        new = games(200, seed=10_000 + seed)
        inside.append(share_inside(calibrate(predicted, results), *new))
    assert np.mean(inside) == pytest.approx(0.80, abs=0.03)


sensible = st.lists(st.tuples(st.floats(0, 60), st.integers(0, 80)), min_size=1, max_size=600)


@given(sensible, st.lists(st.floats(0, 60), min_size=1, max_size=20))
def test_the_ends_enclose_the_prediction_and_are_never_negative(
    pairs: list[tuple[float, int]], predicted: list[float]
) -> None:
    """Guards against an interval that excludes what it surrounds, or promises fewer than 0 points."""
    points, results = (np.array(column, dtype=np.float64) for column in zip(*pairs, strict=True))
    low, high = calibrate(points, results).interval(np.array(predicted))
    assert (low >= 0).all()
    assert (low <= predicted).all()
    assert (high >= predicted).all()


@given(sensible, st.lists(st.tuples(st.floats(0, 60), st.floats(0, 80)), min_size=1, max_size=20))
def test_probabilities_fall_as_the_line_rises_and_stay_between_0_and_1(
    pairs: list[tuple[float, int]], asked: list[tuple[float, float]]
) -> None:
    """Guards against an interpolation that runs backwards, which would price a higher line as likelier."""
    points, results = (np.array(column, dtype=np.float64) for column in zip(*pairs, strict=True))
    predicted, line = (np.array(column) for column in zip(*asked, strict=True))
    calibration = self_assured(calibrate(points, results))
    here, further = calibration.over_probability(predicted, line), calibration.over_probability(predicted, line + 0.5)
    assert ((here >= 0) & (here <= 1)).all()
    assert (further <= here + 1e-12).all()
    score = calibration.confidence_score(predicted, line)
    assert ((score >= 0) & (score <= 100)).all()


def offered(predicted: Floats, seed: int, spread: float = 4.0) -> Floats:
    """Lines, to the half point, around what is handed in."""
    return np.asarray(np.round(2 * (predicted + np.random.default_rng(seed).normal(0, spread, len(predicted)))) / 2)


def assert_stated_comes_true(stated: Floats, over: npt.NDArray[np.bool_], least: int) -> None:
    """Each tenth of the stated probabilities that has rows enough happens about as often as stated."""
    tenths = [tenth for tenth in range(10) if ((stated * 10).astype(int) == tenth).sum() >= least]
    assert tenths
    for tenth in tenths:
        there = (stated * 10).astype(int) == tenth
        assert over[there].mean() == pytest.approx(stated[there].mean(), abs=0.04), tenth


def test_stated_probabilities_come_true_against_lines_that_know_nothing() -> None:
    """Guards against probabilities that are confident and wrong: each tenth must happen about as often as stated."""
    known, results = games(8_000, seed=3)
    calibration = calibrate(known, results, offered(known, seed=4))
    predicted, results = games(60_000, seed=5)
    line = offered(predicted, seed=6)
    stated = calibration.over_probability(predicted, line)
    assert 0.85 < calibration.line_trust <= 1.0
    assert (stated < 0.3).sum() > 500
    assert_stated_comes_true(stated, results > line, least=500)


def test_stated_probabilities_come_true_against_lines_that_know_more() -> None:
    """Guards against the costliest mistake there is here: 70% stated where the line knows better and 50% come true."""

    def rows(count: int, seed: int) -> tuple[Floats, Floats, Floats]:
        truth, results = games(count, seed)
        line = np.where(truth >= 8, offered(truth, seed + 1, spread=0.5), np.nan)  # books list no bench
        return np.maximum(offered(truth, seed + 2, spread=2.0), 0.0), results, line

    calibration = calibrate(*rows(8_000, seed=20))
    predicted, results, line = rows(60_000, seed=30)
    there = ~np.isnan(line)
    stated = calibration.over_probability(predicted, line)
    assert calibration.line_rows > 3_000
    assert calibration.line_trust < 0.15
    assert_stated_comes_true(stated[there], (results > line)[there], least=500)
    believed = self_assured(calibration).over_probability(predicted, line)[there]
    assert (believed > 0.7).sum() > 500  # what it would have stated


def test_without_lines_to_learn_from_no_disagreement_is_believed() -> None:
    """Guards against confidence before any evidence, and against three lucky rows that pass for it."""
    predicted, results = games(2_000, seed=13)
    silent = calibrate(predicted, results, np.full(len(predicted), np.nan))
    assert (silent.line_trust, silent.line_rows) == (0.0, 0)
    assert silent == calibrate(predicted, results)
    far, near = silent.over_probability(np.array([25.0, 16.0]), np.array([15.5, 15.5]))
    assert far == near
    lucky = np.full(len(predicted), np.nan)
    lucky[:3] = predicted[:3] - np.array([1.0, 2.0, 3.0])
    results[:3] = predicted[:3]
    assert calibrate(predicted, results, lucky).line_trust < 0.01


def test_trust_stays_between_none_and_all() -> None:
    """Guards against a negative trust, which would bet against the model, and one above 1, which would exaggerate."""
    predicted, results = games(4_000, seed=14)
    assert calibrate(predicted, results, (predicted + results) / 2).line_trust == 0.0
    assert calibrate(predicted, results, 2 * predicted - results).line_trust == 1.0
    assert calibrate(predicted, results, predicted - 1.0).line_trust == 0.0  # one disagreement, so no slope


def test_a_push_is_neither_over_nor_under() -> None:
    """Guards against 20 counting as over a line of 20: it is exceeded from 21 on, exactly as 20.5 is."""
    calibration = self_assured(calibrate(*games(4_000, seed=6)))
    predicted = np.array([19.0, 19.0, 19.0])
    over = calibration.over_probability(predicted, np.array([19.5, 20.0, 20.5]))
    assert over[0] > over[1] == over[2]
    under_the_whole, under_the_half = calibration.confidence_score(predicted[:2], np.array([20.0, 20.5]))
    assert under_the_whole < under_the_half  # the push is lost to both sides
    push = 100 * (over[0] - over[1])
    assert under_the_half - under_the_whole == pytest.approx(push)


def test_every_result_exceeds_a_line_below_zero_and_no_line_has_no_probability() -> None:
    """Guards against chances of negative points, and against a made-up probability where there is no line."""
    calibration = calibrate(*games(1_000, seed=7))
    over = calibration.over_probability(np.array([2.0, 2.0]), np.array([-0.5, np.nan]))
    assert over[0] == 1.0
    assert np.isnan(over[1])


def test_confidence_is_of_the_side_that_the_prediction_takes() -> None:
    """Guards against confidence in the likelier side, whichever it is: a prediction over an unlikely line says so."""
    calibration = self_assured(calibrate(*games(8_000, seed=8)))
    predicted, line = np.array([22.0, 10.0]), np.array([18.5, 14.5])
    over = calibration.over_probability(predicted, line)
    assert calibration.confidence_score(predicted, line) == pytest.approx([100 * over[0], 100 * (1 - over[1])])
    # Results that lie far above the predictions: the side taken, under, is the less likely one.
    wrong = self_assured(calibrate(np.full(500, 10.0), np.arange(500) % 10 + 20.0))
    assert wrong.confidence_score(np.array([10.0]), np.array([12.5]))[0] < 5


def test_without_a_line_confidence_is_the_chance_to_be_within_5_points() -> None:
    """Guards against a score that means something else on days without lines; 5 points off counts as near."""
    calibration = calibrate(*games(8_000, seed=9))
    predicted, results = games(40_000, seed=10)
    stated = calibration.confidence_score(predicted, np.full(len(predicted), np.nan))
    assert stated.mean() / 100 == pytest.approx((np.abs(results - predicted) <= 5).mean(), abs=0.02)
    whole = np.round(predicted)
    exact = calibrate(whole, results).confidence_score(whole, np.full(len(whole), np.nan))
    assert exact.mean() / 100 == pytest.approx((np.abs(results - whole) <= 5).mean(), abs=0.02)


def test_all_predictions_equal_give_the_quantiles_of_the_results() -> None:
    """Guards against a division by no spread, or knots that coincide, when a model predicts one number."""
    calibration = calibrate(np.full(999, 10.0), np.arange(999.0) % 21)
    low, high = calibration.interval(np.array([10.0]))
    assert len(calibration.knots) == 1
    assert (low[0], high[0]) == pytest.approx((2.0, 18.0), abs=1.0)


@pytest.mark.parametrize("rows", [1, 2, 9, 250, 586])
def test_it_works_from_one_row_on_and_says_from_how_many(rows: int) -> None:
    """Guards against the first months of a backfill, whose early-stopping side has few rows."""
    calibration = calibrate(*games(rows, seed=11))
    assert calibration.rows == rows
    assert all(np.isfinite(end).all() for end in calibration.interval(np.array([0.0, 5.0, 50.0])))


def test_no_rows_and_numbers_that_are_none_are_refused() -> None:
    """Guards against an interval learnt from nothing, or from a NaN that spreads into every prediction."""
    with pytest.raises(CalibrationError, match="got 0 rows"):
        calibrate(np.array([]), np.array([]))
    with pytest.raises(CalibrationError, match="got 3 rows, 2 of them not finite"):
        calibrate(np.array([1.0, np.nan, 2.0]), np.array([1.0, 2.0, np.inf]))
    with pytest.raises(CalibrationError, match="at least one row"):
        measure_coverage(calibrate(*games(10, seed=0)), np.array([]), np.array([]), np.array([]))


def test_it_goes_through_json_and_back_in_a_few_kilobytes() -> None:
    """Guards against a record that grows with the data, or reads back as another calibration."""
    calibration = calibrate(*games(10_000, seed=12))
    text = calibration.model_dump_json()
    assert len(text) < 4_000
    again = Calibration.model_validate_json(text)
    predicted = np.linspace(0, 40, 50)
    assert again == calibration
    assert np.array_equal(again.interval(predicted), calibration.interval(predicted))


def test_coverage_is_counted_on_both_sides_and_in_every_tier() -> None:
    """Guards against a tier without rows that shows a number, and ends that count as outside."""
    calibration = calibrate(np.full(999, 10.0), np.arange(999.0) % 21)
    low, high = (float(end[0]) for end in calibration.interval(np.array([10.0])))
    results = np.array([low, high, low - 0.1, high + 0.1, high + 5.0])
    report = measure_coverage(calibration, np.full(5, 10.0), results, np.array([4.0, 4.0, 12.0, 12.0, np.nan]))
    assert (report.overall.n, report.overall.inside, report.overall.below, report.overall.above) == (5, 0.4, 0.2, 0.4)
    assert report.overall.nominal == 0.8
    assert {name: (tier.n, tier.inside) for name, tier in report.tiers.items()} == {
        "0-5": (2, 1.0),
        "10-15": (2, 0.0),
        NO_HISTORY: (1, 0.0),
    }
    assert list(report.tiers) == [name for name in TIER_NAMES if name in report.tiers]


def test_tiers_meet_without_gap_or_overlap() -> None:
    """Guards against a season average of exactly 5 in two tiers, or in none, and a debut among the bench."""
    assert all(one.high == other.low for one, other in pairwise(TIERS))
    averages = np.array([0.0, 4.99, 5.0, 24.99, 25.0, 60.0, np.nan])
    assert tier_of(averages).tolist() == ["0-5", "0-5", "5-10", "20-25", "25+", "25+", NO_HISTORY]
    for average, name in zip(averages[:-1], tier_of(averages[:-1]), strict=True):
        (tier,) = (tier for tier in TIERS if tier.low <= average < tier.high)
        assert tier.name == name


def test_a_real_model_calibrated_on_early_stopping_covers_its_validation(trained: Trained) -> None:
    """Guards against what only real games have: zeros, ties, two hundred calibrating rows and drift."""
    stopping, validation = trained.side("early_stopping"), trained.side("validation")
    calibration = calibrate(predict(trained.fitted.booster, stopping.features), stopping.points)
    average = validation.features[:, V2_33FEATURES.index("points_avg_season")]
    predicted = predict(trained.fitted.booster, validation.features)
    report = measure_coverage(calibration, predicted, validation.points, average)
    assert report.overall.n == len(validation) == sum(tier.n for tier in report.tiers.values())
    assert 0.74 < report.overall.inside < 0.86


def test_the_worker_needs_numpy_and_pydantic_only() -> None:
    """Guards against an import that would bring Arrow or XGBoost into a light serving process."""
    allowed = {"__future__", "collections", "dataclasses", "functools", "typing", "numpy", "pydantic", "nba_ml"}
    own = {
        f"nba_ml.{name}"
        for name in ("contract.errors", "contract.quantiles", "model.chunks", "model.spread", "model.tiers")
    }
    for name in ("calibration", "chunks", "spread", "tiers"):
        module = calibration_module.__file__.replace("calibration", name)
        tree = ast.parse(Path(module).read_text())
        names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
        names |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        assert {name.split(".")[0] for name in names} <= allowed
        assert {name for name in names if name.startswith("nba_ml")} <= own


def test_the_record_names_only_what_is_defined() -> None:
    """Guards against a calibration of another version that would be read half: unknown fields are refused."""
    content = json.loads(calibrate(*games(50, seed=13)).model_dump_json())
    with pytest.raises(ValueError, match="extra"):
        Calibration.model_validate({**content, "sigma": 5.0})
