"""The calibration's numbers, where they can be worked out by hand; pure functions, a second for all of them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from nba_ml.contract.errors import CalibrationError
from nba_ml.contract.quantiles import PUBLISHED_LEVELS
from nba_ml.model.calibration import (
    LEVELS,
    SMALLEST_DISAGREEMENT,
    Calibration,
    Coverage,
    PointsDistribution,
    _seen_from,
    calibrate,
    fit_distribution,
    measure_coverage,
)

Floats = npt.NDArray[np.float64]
NAN = float("nan")


def flat(line_trust: float = 1.0) -> Calibration:
    """Results spread evenly over 10 points around the prediction: the quantile at a level is 10 * (level - 0.5) off."""
    shape = tuple(5 * (level - 0.5) for level in LEVELS)
    return Calibration(rows=100, scale=(2.0, 0.0), levels=LEVELS, knots=(10.0,), shapes=(shape,), line_trust=line_trust)


def at_most(whole: float, around: float) -> float:
    """P(points <= whole), with the continuity correction, if results spread evenly over 10 points."""
    return float(np.clip((whole + 0.5 - around) / 10 + 0.5, 0.01, 0.99)) if whole >= 0 else 0.0


def test_the_levels_that_every_published_model_has() -> None:
    """Guards readers of published models, whose levels these are, and the ends of the interval among them."""
    assert LEVELS[:3] == (0.01, 0.025, 0.05)
    assert LEVELS[-3:] == (0.95, 0.975, 0.99)
    assert len(LEVELS) == 41
    assert np.allclose(np.diff(LEVELS[1:-1]), 0.025)
    assert flat().line_rows == 0
    assert Calibration(**flat().model_dump(exclude={"line_trust"})).line_trust == 0


def test_the_interval_is_between_the_quantiles_and_around_the_prediction() -> None:
    low, high = flat().interval(np.array([20.0, 2.0, 0.0]))
    assert low == pytest.approx([16, 0, 0])
    assert high == pytest.approx([24, 6, 4])
    shifted = flat().model_copy(update={"shapes": (tuple(3 + value for value in flat().shapes[0]),)})
    assert shifted.interval(np.array([20.0]))[0] == pytest.approx([20]), "6 points above: 22 to 30, without the 20"
    shifted = flat().model_copy(update={"shapes": (tuple(value - 3 for value in flat().shapes[0]),)})
    assert shifted.interval(np.array([20.0]))[1] == pytest.approx([20])


def test_the_scale_grows_with_the_root_of_the_prediction_and_has_a_floor() -> None:
    spread = flat().model_copy(update={"scale": (1.0, 0.5)})
    assert spread.interval(np.array([16.0, 36.0]))[1] == pytest.approx([16 + 2 * 3, 36 + 2 * 4])
    assert flat().model_copy(update={"scale": (0.1, 0.0)}).interval(np.array([16.0]))[1] == pytest.approx(
        [16 + 2 * 0.5]
    )
    assert flat().model_copy(update={"scale": (0.6, 0.0)}).interval(np.array([16.0]))[1] == pytest.approx(
        [16 + 2 * 0.6]
    )
    below_zero = flat().model_copy(update={"scale": (1.0, 0.5)}).interval(np.array([-1.0]))
    assert np.isfinite(below_zero).all()


def test_single_precision_changes_nothing() -> None:
    """Guards against probabilities that depend on who asks: the booster predicts in single precision."""
    # The last is below 1, and below 6 with 5 points more, but only in double precision.
    points, lines = np.array([10.1, 20.7, 0.99999994], dtype=np.float32), np.array([12.5, NAN, NAN], dtype=np.float32)
    exact = points.astype(np.float64), lines.astype(np.float64)
    rooted = flat(0.3).model_copy(update={"scale": (1.0, 0.5)})
    for single, double in (
        (rooted.interval(points), rooted.interval(exact[0])),
        (flat(0.3).interval(points), flat(0.3).interval(exact[0])),
        (flat(0.3).over_probability(points, lines), flat(0.3).over_probability(*exact)),
        (flat(0.3).confidence_score(points, lines), flat(0.3).confidence_score(*exact)),
    ):
        np.testing.assert_array_equal(single, double)


def test_a_calibration_cannot_be_changed_or_given_what_it_does_not_know() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        flat().rows = 3
    with pytest.raises(ValidationError, match="extra"):
        Calibration(**flat().model_dump(), spread=1.0)


def test_shapes_are_interpolated_between_knots_and_stay_beyond_them() -> None:
    wide = tuple(2 * value for value in flat().shapes[0])
    two = flat().model_copy(update={"knots": (10.0, 20.0), "shapes": (flat().shapes[0], wide)})
    assert two.interval(np.array([8.0, 10.0, 15.0, 20.0, 40.0]))[1] == pytest.approx([12, 14, 21, 28, 48])


@pytest.mark.parametrize("levels", [LEVELS, (0.01, 0.33, 0.71, 0.99)])
@pytest.mark.parametrize("kind", [Calibration, PointsDistribution])
def test_the_published_quantiles_are_read_between_the_levels(
    kind: type[Calibration], levels: tuple[float, ...]
) -> None:
    """Guards the 19 columns of every table: any levels of a bundle give them, in points, none below 0."""
    shape = tuple(5 * (level - 0.5) for level in levels)
    spread = kind(rows=100, scale=(2.0, 0.0), levels=levels, knots=(10.0,), shapes=(shape,))
    found = spread.beliefs(np.array([20.0, 2.0]), np.array([NAN, NAN])).quantiles
    expected = np.array([20.0, 2.0])[:, None] + 10 * (np.array(PUBLISHED_LEVELS) - 0.5)
    assert found == pytest.approx(np.maximum(expected, 0), abs=0.0051)


def test_only_a_distribution_is_read_from_what_is_published() -> None:
    """Guards bundles of earlier versions: their probability is that around the line, whatever is published."""
    points, lines, published = np.array([28.0]), np.array([20.0]), np.array([25.0])
    assert flat(0.25).beliefs(points, lines, published).over == pytest.approx([1 - at_most(20, 22)])
    distribution = PointsDistribution(**flat(0.25).model_dump())
    assert distribution.beliefs(points, lines, published).over == pytest.approx([1 - at_most(20, 25)], abs=1e-3)


@given(st.floats(0, 40), st.one_of(st.integers(0, 50).map(float), st.integers(0, 50).map(lambda n: n + 0.5)))
def test_the_probability_of_going_over_a_line(predicted: float, line: float) -> None:
    """Guards the side, the push and the ends: the distribution is known, so each probability is."""
    points, lines = np.array([predicted, predicted]), np.array([line, NAN])
    over = 1 - at_most(np.floor(line), predicted)
    under = at_most(np.ceil(line) - 1, predicted)
    found = flat().over_probability(points, lines)
    assert found[0] == pytest.approx(over, abs=1e-9)
    assert np.isnan(found[1])
    side = over if predicted > line else under if predicted < line else max(over, under)
    near = at_most(np.floor(predicted + 5), predicted) - at_most(np.ceil(predicted - 5) - 1, predicted)
    assert flat().confidence_score(points, lines) == pytest.approx([100 * side, 100 * near], abs=1e-7)


@pytest.mark.parametrize(("shift", "line", "most"), [(0, 0, 0.45), (-3, 20, 0.75), (3, 20, 0.75)])
def test_a_prediction_on_the_line_takes_the_likelier_side(shift: float, line: float, most: float) -> None:
    shape = tuple(value + shift / 2 for value in flat().shapes[0])
    calibration = flat().model_copy(update={"shapes": (shape,)})
    assert calibration.confidence_score(np.array([line]), np.array([line])) == pytest.approx([100 * most])


@pytest.mark.parametrize(("trust", "around"), [(0.0, 20.0), (0.25, 22.0), (1.0, 28.0)])
def test_results_spread_around_the_line_as_far_as_the_model_is_trusted(trust: float, around: float) -> None:
    """Guards the sign and the weight of the shrinkage: a prediction of 28 against a line of 20."""
    points, lines = np.array([28.0]), np.array([20.0])
    over = 1 - at_most(20, around)
    assert flat(trust).over_probability(points, lines) == pytest.approx([over])
    assert flat(trust).confidence_score(points, lines) == pytest.approx([100 * over])


def test_equal_quantiles_are_a_step() -> None:
    """Guards the division by the width between two quantiles, which is 0 where many results were the same."""
    step = flat().model_copy(update={"shapes": ((0.0,) * len(LEVELS),)})
    found = step.over_probability(np.array([10.0, 10.0, 10.0]), np.array([9.0, 9.5, 10.0]))
    assert found == pytest.approx([0.99, 0.99, 0.0175])  # half a point of the width taken for 1


def trust(slope: float, rows: int, offset: float = 0.0, bias: float = 0.0) -> float:
    """What rows teach whose results lie `slope` of the model's disagreement (2 points either way) from the line."""
    lines = np.full(rows, 20.0)
    points = lines + np.tile([2.0, -2.0], rows // 2) + offset
    return calibrate(points, lines + slope * (points - lines) + bias, lines).line_trust


@pytest.mark.parametrize(("slope", "rows", "expected"), [(0.6, 500, 0.3), (0.6, 1_000, 0.4), (0.5, 100, 0.0833)])
def test_trust_is_the_slope_shrunk_towards_the_line(slope: float, rows: int, expected: float) -> None:
    """Guards the sign of the shrinkage and its weight: 500 rows of doubt."""
    assert trust(slope, rows) == expected
    assert trust(slope, rows, offset=1.0, bias=3.0) == expected, "what all rows share is no disagreement"


def test_trust_stays_between_none_and_all() -> None:
    assert trust(-0.6, 500) == 0
    assert trust(5.0, 500) == 1
    assert trust(1.5, 500) == 0.75


def test_disagreement_that_hardly_varies_teaches_nothing() -> None:
    lines = np.full(100, 20.0)
    for size, teaches in ((0.0099, False), (0.011, True)):
        points = lines + 1 + np.tile([size, -size], 50)
        assert (calibrate(points, points, lines).line_trust > 0) == teaches, size
    exactly = np.tile([SMALLEST_DISAGREEMENT, -SMALLEST_DISAGREEMENT], 50)
    assert calibrate(exactly, exactly, np.zeros(100)).line_trust > 0


def test_only_rows_with_a_line_teach_trust() -> None:
    lines = np.full(1_000, 20.0)
    lines[500:] = NAN
    points = np.full(1_000, 20.0) + np.tile([2.0, -2.0], 500)
    results = np.where(np.isnan(lines), 0.0, 20 + 0.6 * (points - 20))
    found = calibrate(points, results, lines)
    assert (found.rows, found.line_rows, found.line_trust) == (1_000, 500, 0.3)
    assert (calibrate(points, results).line_rows, calibrate(points, results).line_trust) == (0, 0)


@pytest.mark.parametrize(
    ("rows", "knots"), [(1, 1), (249, 1), (499, 1), (500, 2), (749, 2), (750, 3), (1_000, 4), (1_250, 4), (5_000, 4)]
)
def test_the_number_of_knots_follows_the_rows(rows: int, knots: int) -> None:
    """Guards the tails: 250 rows for each knot, and four knots at most; each at the mean of its equal share."""
    points = np.arange(rows, dtype=float)[::-1]
    found = calibrate(points, points + 1).knots
    shares = np.array_split(np.arange(rows), knots)
    assert len(found) == knots
    assert found == pytest.approx([share.mean() for share in shares], abs=1)


def test_equal_predictions_share_a_knot_and_no_knot_is_left_with_few_rows() -> None:
    low, high = np.zeros(300), np.arange(1.0, 301)
    assert len(calibrate(np.concatenate([low, high]), np.zeros(600)).knots) == 2
    # Half the share of a knot, 150 rows, must lie on either side of a cut: 149 of them do not.
    for zeros, knots in ((450, 1), (449, 1)):
        points = np.concatenate([np.zeros(zeros), np.arange(1.0, 601 - zeros)])
        assert len(calibrate(points, points).knots) == knots
    for first, knots in ((149, 1), (150, 2)):  # the middle lies among equal predictions that begin at `first`
        points = np.concatenate([np.arange(first) / 1_000, np.full(600 - first, 9.0)])
        assert len(calibrate(points, points).knots) == knots, first


def test_quantiles_are_weibulls_of_the_standardised_residual() -> None:
    """Guards the finite-sample correction: of 9 rows, the k-th smallest stands for k / 10."""
    points = np.full(9, 16.0)
    residuals = np.array([-4.0, -3, -2, -1, 0, 1, 2, 3, 4])
    found = calibrate(points, points + residuals)
    scale = np.abs(residuals).mean()
    assert found.scale[0] + 4 * found.scale[1] == pytest.approx(scale, abs=1e-5)
    shape = dict(zip(found.levels, found.shapes[0], strict=True))
    assert [shape[level] * scale for level in (0.1, 0.2, 0.5, 0.8, 0.9)] == pytest.approx([-4, -3, 0, 3, 4], abs=1e-3)
    assert shape[0.15] * scale == pytest.approx(-3.5, abs=1e-3)
    assert shape[0.01] * scale == pytest.approx(-4, abs=1e-3)


def test_zeros_are_learnt_at_the_distance_of_their_knot() -> None:
    """Guards both ends: a 0 is as far below its knot as 0 is, and what was scored stays above what is read as 1."""
    standard, results = np.array([-3.0, -0.5, 1.0, -1.9]), np.array([0.0, 1.0, 7.0, 2.0])
    assert _seen_from(4.0, standard, results, (2.0, 0.0)) == pytest.approx([-2.0, -0.5, 1.0, -1.75])
    points = np.arange(1.0, 10)
    learnt, plain = (each(points, np.zeros(9)).shapes[0] for each in (fit_distribution, calibrate))
    assert len(set(learnt)) == 1, "all of them scored nothing, as far from the knot as 0 is"
    assert plain[0] < plain[-1], "each as far from 0 as its own prediction"


def test_a_calibration_is_rounded_as_in_published_models() -> None:
    """Guards model ids, which are digests of records that contain these numbers."""
    points = np.array([1.0, 2, 3, 5, 8, 13, 21])
    found = calibrate(points, np.array([2.0, 1, 5, 4, 11, 12, 31]), points + np.array([1.0, -1, 2, -2, 1.5, 0, -3]))
    assert found.scale == (-2.077739, 1.927949)
    assert found.knots == (7.571429,)
    assert (found.shapes[0][0], found.shapes[0][20], found.shapes[0][-1]) == (-1.5413, 0.8888, 2.0)
    assert found.line_trust == 0.0235


@pytest.mark.parametrize(
    ("points", "results", "said"),
    [
        ([], [], "got 0 rows, 0 of them"),
        ([1.0, NAN], [1.0, 1.0], "2 rows, 1 of"),
        ([1.0, 1.0], [1.0, NAN], "2 rows, 1 of"),
        ([1.0, NAN], [NAN, 1.0], "2 rows, 2 of"),
    ],
)
def test_rows_without_a_value_are_refused(points: list[float], results: list[float], said: str) -> None:
    with pytest.raises(CalibrationError, match=said):
        calibrate(np.array(points), np.array(results))


def test_coverage_counts_each_side() -> None:
    found = Coverage.of(np.array([True, False, False, False]), np.array([False, True, True, False]))
    assert found == Coverage(n=4, nominal=0.8, inside=0.25, below=0.25, above=0.5)
    third = Coverage.of(np.array([True, False, False]), np.array([False, False, True]))
    assert (third.inside, third.below, third.above) == (0.333333, 0.333333, 0.333333)


def test_a_result_on_an_end_is_inside() -> None:
    predicted, average = np.full(4, 20.0), np.array([2.0, 2.0, 25.0, 25.0])
    found = measure_coverage(flat(), predicted, np.array([16.0, 24.0, 15.0, 25.0]), average)
    assert (found.overall.n, found.overall.inside, found.overall.below, found.overall.above) == (4, 0.5, 0.25, 0.25)
    assert [(tier.n, tier.inside) for tier in found.tiers.values()] == [(2, 1.0), (2, 0.0)]
    with pytest.raises(CalibrationError, match="at least one row"):
        measure_coverage(flat(), np.array([]), np.array([]), np.array([]))
