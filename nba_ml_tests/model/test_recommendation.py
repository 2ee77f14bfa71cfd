"""What is published of a prediction, at its edges."""

from __future__ import annotations

import ast
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nba_ml.contract.errors import BundleError
from nba_ml.contract.thresholds import BREAK_EVEN
from nba_ml.model import recommendation
from nba_ml.model.calibration import Calibration, calibrate
from nba_ml.model.published import published_columns
from nba_ml.model.recommendation import (
    EDGE,
    HIGHEST,
    LOWEST,
    NO_LINE,
    OVER,
    PASS,
    UNDER,
    break_even,
    margin_over,
    publish_points,
    recommend,
)
from nba_ml.registry.systems.published import system_columns

CERTAIN = np.array([1.0])


@pytest.mark.parametrize(
    ("raw", "published"),
    [(17.126, 17.13), (17.124, 17.12), (-0.4, 0.0), (-0.001, 0.0), (60.004, 60.0), (71.2, 60.0), (0.0, 0.0)],
)
def test_points_have_two_decimals_and_stay_within_0_and_60(raw: float, published: float) -> None:
    """Guards against -0.4 points, 71 points, or seven decimals in the platform's table."""
    [found] = publish_points(np.array([raw], dtype=np.float32))
    assert found == published
    assert math.copysign(1, found) == 1


@pytest.mark.parametrize("broken", [math.nan, math.inf, -math.inf])
def test_an_output_that_is_not_finite_is_an_error(broken: float) -> None:
    """Guards against a NaN, or an infinity clamped to 60, published as a prediction."""
    with pytest.raises(BundleError, match=r"predicts (nan|inf|-inf) points for 1 of 2 rows"):
        publish_points(np.array([10.0, broken], dtype=np.float32))


@pytest.mark.parametrize(
    ("points", "line", "expected"),
    [
        (22.0, 20.5, "OVER"),
        (21.99, 20.5, "PASS"),
        (19.0, 20.5, "UNDER"),
        (19.01, 20.5, "PASS"),
        (20.5, 20.5, "PASS"),
        # 16.4 - 14.9 is 1.4999999999999982 in binary.
        (16.4, 14.9, "OVER"),
        (14.9, 16.4, "UNDER"),
        (20.0, math.nan, "NO_LINE"),
    ],
)
def test_a_bet_begins_at_one_and_a_half_points(points: float, line: float, expected: str) -> None:
    """Guards against an edge of exactly 1.5 that is no bet, or is one or not by the noise of binary fractions."""
    assert recommend(np.array([points]), np.array([line]), CERTAIN).tolist() == [expected]


@given(st.lists(st.tuples(st.integers(0, 6000), st.integers(0, 640)), min_size=1, max_size=30))
def test_recommendations_follow_from_the_margin(pairs: list[tuple[int, int]]) -> None:
    """Guards against a recommendation that the published margin does not bear out: exact arithmetic in hundredths."""
    points, line = (np.array(c) for c in zip(*((p / 100, h / 8) for p, h in pairs), strict=True))
    found = recommend(points, line, np.ones(len(points)))
    for (hundredths, eighths), margin, told in zip(pairs, margin_over(points, line), found, strict=True):
        exact = 2 * hundredths - 25 * eighths  # in two-hundredths of a point
        assert margin == pytest.approx(exact / 200, abs=1e-6)
        assert told == ("OVER" if exact >= 300 else "UNDER" if exact <= -300 else "PASS")


@pytest.mark.parametrize(
    ("probability", "odds", "bet"),
    [
        (0.5239, -110, True),
        (0.5238, -110, False),  # below 110 / 210 by 0.00001
        (110 / 210, -110, False),
        (0.5, -110, False),
        (0.38, -110, False),
        (math.nan, -110, False),
        (0.5, 100, False),
        (0.5001, 100, True),
        (0.525, -110, True),
        (52.5 / 100, -100 * 0.525 / 0.475, False),  # break-even 0.525, give or take a last bit
        (0.6, -150, False),
        (0.61, -150, True),
        (0.4, 150, False),
        (0.41, 150, True),
        (0.99, -10_000, False),  # 10,000 / 10,100 is 0.990099
    ],
)
def test_a_bet_must_be_likelier_than_its_price(probability: float, odds: float, bet: bool) -> None:
    """Guards against a bet whose own probability says that it loses money, and against one at exactly break-even."""
    for points, side in ((25.0, OVER), (15.0, UNDER)):
        [told] = recommend(np.array([points]), np.array([20.5]), np.array([probability]), odds)
        assert told == (side if bet else PASS)


def test_each_row_has_its_own_price() -> None:
    """Guards against the first price taken for all rows."""
    points, line, probability = np.full(3, 25.0), np.full(3, 20.5), np.full(3, 0.55)
    assert recommend(points, line, probability, np.array([-110, -150, 200])).tolist() == [OVER, PASS, OVER]


@pytest.mark.parametrize("odds", [0, 99.9, -99.9, 1.91, math.nan, math.inf, -math.inf])
def test_a_price_that_is_not_american_is_refused(odds: float) -> None:
    """Guards against decimal odds of 1.91 read as American ones: their break-even would be 98%."""
    with pytest.raises(ValueError, match="American odds are -100 or lower, or \\+100 or higher"):
        break_even(np.array([-110, odds]))


@pytest.mark.parametrize("probability", [-0.01, 1.01, 57.2])
def test_a_percentage_is_no_probability(probability: float) -> None:
    """Guards against a confidence of 48.0 percent taken for a certain bet."""
    with pytest.raises(ValueError, match="within 0 and 1"):
        recommend(np.array([25.0]), np.array([20.5]), np.array([probability]))


def calibration_with(trust: float, skew: float) -> Calibration:
    """Learnt from 2,000 made results around made predictions, skewed by `skew`; `trust` in disagreements with lines."""
    draws = np.random.default_rng(7)
    points = draws.uniform(0, 35, 2000)
    results = np.maximum(
        np.round(points + 6 * (draws.normal(size=2000) + skew * (draws.exponential(size=2000) - 1))), 0
    )
    return calibrate(points, results).model_copy(update={"line_trust": trust})


CALIBRATIONS = [calibration_with(trust, skew) for trust in (0.0, 0.2, 1.0) for skew in (0.0, 1.0)]

PREDICTED_WITH_LINES = st.lists(
    st.tuples(st.floats(-5, 70), st.integers(0, 160).map(lambda q: q / 4) | st.just(math.nan)), min_size=1
)
"""A model's output, and a line in quarters of a point or none."""


@given(st.sampled_from(CALIBRATIONS), PREDICTED_WITH_LINES)
def test_no_published_recommendation_bets_against_its_own_probability(
    calibration: Calibration, rows: list[tuple[float, float]]
) -> None:
    """Guards the record as it is published: of 737 bets on an unseen season, 250 stated a probability under break-even.

    Whole lines, quarters and pushes included; the rule is held against both published probabilities.
    """
    raw, line = (np.array(column) for column in zip(*rows, strict=True))
    made = published_columns(raw, line, calibration)
    columns = (made[n].tolist() for n in ("over_probability", "confidence_score", "recommendation"))
    for over, confidence, told, margin in zip(*columns, made["model_points"] - line, strict=True):
        if told in (OVER, UNDER):
            assert confidence / 100 > BREAK_EVEN
            assert (over if told == OVER else 1 - over) > BREAK_EVEN - 1e-9
            assert (margin if told == OVER else -margin) >= EDGE
        elif told == PASS:
            assert abs(margin) < EDGE or confidence / 100 <= BREAK_EVEN
        else:
            assert told == NO_LINE
            assert math.isnan(margin)


@given(st.sampled_from(CALIBRATIONS), PREDICTED_WITH_LINES)
def test_the_published_points_lie_between_the_line_and_the_models_own_number(
    calibration: Calibration, rows: list[tuple[float, float]]
) -> None:
    """Guards the number that is graded: with a line it was 0.05 points worse than the line that it was given."""
    raw, line = (np.array(column) for column in zip(*rows, strict=True))
    made = published_columns(raw, line, calibration)
    own, points = made["model_points"].astype(float), made["predicted_points"].astype(float)
    assert own.tolist() == publish_points(raw).tolist()
    known = ~np.isnan(line)
    trusted = np.clip(line + calibration.line_trust * (own - line), LOWEST, HIGHEST)
    assert points[known] == pytest.approx(trusted[known], abs=0.005001)
    assert points[~known].tolist() == own[~known].tolist()
    assert made["line_margin"][known].astype(float) == pytest.approx((points - line)[known], abs=1e-6)
    assert (made["points_low"].astype(float) <= points + 0.005).all()
    assert (made["points_high"].astype(float) >= points - 0.005).all()


def test_bets_are_left() -> None:
    """Guards the property above against a rule that never bets."""
    points, line = np.arange(0, 40, 0.5), np.full(80, 20.5)
    told = [set(published_columns(points, line, each)["recommendation"].tolist()) for each in CALIBRATIONS]
    assert told.count({OVER, UNDER, PASS}) >= 2


@given(st.lists(st.tuples(st.floats(0, 60), st.floats(0, 60) | st.just(math.nan)), min_size=1))
def test_a_system_without_probabilities_never_bets(rows: list[tuple[float, float]]) -> None:
    """Guards against a rule, or a CatBoost without a calibration, that recommends on its edge alone."""
    raw, line = (np.array(column) for column in zip(*rows, strict=True))
    told = system_columns(raw, line, None)["recommendation"]
    assert told.tolist() == [NO_LINE if math.isnan(each) else PASS for each in line]


def test_the_module_needs_numpy_only() -> None:
    """Guards against a prediction worker that has to install pandas, Arrow or Dagster to round a number."""
    tree = ast.parse(Path(recommendation.__file__).read_text(encoding="utf-8"))
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    imported |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert imported == {"__future__", "numpy", "numpy.typing", "nba_ml.contract.errors"}


@given(st.floats(1.01, 99))
def test_decimal_and_american_odds_break_even_alike(price: float) -> None:
    """Guards against a price read as another one: a bet at decimal odds breaks even at their inverse."""
    assert recommendation.break_even(recommendation.american_odds(price)) == pytest.approx(1 / price)
