"""What is published of a prediction, at its edges."""

from __future__ import annotations

import ast
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nba_ml.core import recommendation
from nba_ml.core.errors import BundleError
from nba_ml.core.recommendation import margin_over, publish_points, recommend


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
    assert recommend(np.array([points]), np.array([line])).tolist() == [expected]


@given(st.lists(st.tuples(st.integers(0, 6000), st.integers(0, 640)), min_size=1, max_size=30))
def test_recommendations_follow_from_the_margin(pairs: list[tuple[int, int]]) -> None:
    """Guards against a recommendation that the published margin does not bear out: exact arithmetic in hundredths."""
    points, line = (np.array(c) for c in zip(*((p / 100, h / 8) for p, h in pairs), strict=True))
    found = recommend(points, line)
    for (hundredths, eighths), margin, told in zip(pairs, margin_over(points, line), found, strict=True):
        exact = 2 * hundredths - 25 * eighths  # in two-hundredths of a point
        assert margin == pytest.approx(exact / 200, abs=1e-6)
        assert told == ("OVER" if exact >= 300 else "UNDER" if exact <= -300 else "PASS")


def test_the_module_needs_numpy_only() -> None:
    """Guards against a prediction worker that has to install pandas, Arrow or Dagster to round a number."""
    tree = ast.parse(Path(recommendation.__file__).read_text(encoding="utf-8"))
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    imported |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert imported == {"__future__", "numpy", "numpy.typing", "nba_ml.core.errors"}
