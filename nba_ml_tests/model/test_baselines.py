"""The baselines, above all the mock, against its rules written out one row at a time."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nba_ml.contract.features import V2_33FEATURES
from nba_ml.model.baselines import BASELINES, predict_baselines

NAN = float("nan")
Row = dict[str, float]


def mock_by_hand(row: Row) -> float:  # noqa: C901, PLR0912 (the platform's rules as it lists them)
    """The platform's rules in their own order; a comparison with a missing value is false, its term is 0."""
    points = 0.35 * row["points_avg_last_5"] + 0.40 * row["points_avg_last_10"] + 0.25 * row["points_avg_season"]
    fatigue = row["fatigue_score"]
    if fatigue < 40:
        points -= 3.0
    elif fatigue < 55:
        points -= 2.0
    elif fatigue < 70:
        points -= 1.2
    elif fatigue < 80:
        points -= 0.5
    elif fatigue > 90:
        points += 0.8
    if not math.isnan(row["shot_zone_mismatch_score"]):
        points += 0.35 * row["shot_zone_mismatch_score"]
    if not math.isnan(row["pace_score"]):
        points += 0.08 * row["pace_score"]
    spike = row["usage_spike_score"]
    if not math.isnan(spike):
        points += spike * (0.45 if abs(spike) > 5 else 0.30)
    rating = row["opponent_def_rating"]
    if rating < 106:
        points -= 2.0
    elif rating < 110:
        points -= 1.2
    elif rating < 113:
        points -= 0.5
    elif rating > 120:
        points += 1.5
    elif rating > 116:
        points += 0.8
    if row["back_to_back"] == 1:
        points -= 2.5
    points += 1.3 if row["home_away"] == 1 else -0.6
    minutes = row["minutes_avg_last_10"]
    if minutes > 36:
        points += 0.8
    elif minutes >= 30:
        points += 0.4
    elif minutes < 25:
        points -= 1.2
    paint, three = 100 * row["pct_paint"], 100 * row["pct_three"]
    if paint > 40 and rating > 110:
        points += min((paint - 40) / 10 * (rating - 110) / 5 * 0.4, 1.5)
    elif three > 40 and rating < 110:
        points -= 0.5
    return points if math.isnan(points) else min(max(points, 0.0), 60.0)


# The values on either side of every threshold, and missing.
EDGES: dict[str, list[float]] = {
    "fatigue_score": [0, 39.9, 40, 54.9, 55, 69.9, 70, 79.9, 80, 90, 90.1, 100],
    "opponent_def_rating": [95, 105.9, 106, 109.9, 110, 110.1, 112.9, 113, 116, 116.1, 120, 120.1, 140],
    "minutes_avg_last_10": [10, 24.9, 25, 29.9, 30, 36, 36.1, 42],
    "usage_spike_score": [-8, -5.1, -5, 0, 5, 5.1, 8],
    "pct_paint": [0, 0.39, 0.4, 0.41, 0.7, 1],
    "pct_three": [0, 0.4, 0.41, 0.7],
    "back_to_back": [0, 1],
    "home_away": [0, 1],
}
values = {
    f.name: st.sampled_from(EDGES[f.name]) if f.name in EDGES else st.floats(f.low, f.high)
    for f in V2_33FEATURES.features
}
rows = st.fixed_dictionaries(
    {name: value | st.just(NAN) if V2_33FEATURES[name].nullable else value for name, value in values.items()}
)


def predictions(row: Row) -> dict[str, float]:
    vectors = np.array([[row[name] for name in V2_33FEATURES.names]])
    return {name: values[0] for name, values in predict_baselines(vectors, V2_33FEATURES).items()}


@given(rows)
@example({**{f.name: float(f.low) for f in V2_33FEATURES.features}, "pct_paint": 0.9, "opponent_def_rating": 140.0})
def test_the_mock_follows_its_rules(row: Row) -> None:
    """Guards against a mock weaker than the one that production used: beating it would mean nothing."""
    assert predictions(row)["mock"] == pytest.approx(mock_by_hand(row), abs=1e-9, nan_ok=True)


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, edges in EDGES.items() for value in edges])
def test_the_mock_turns_at_each_threshold(name: str, value: float) -> None:
    """Guards against a threshold that moved by one, or a `<` that became `<=`, which random rows seldom meet."""
    ordinary = {f.name: (f.low + f.high) / 2 for f in V2_33FEATURES.features}
    row = {**ordinary, "points_avg_last_5": 15.0, "points_avg_last_10": 14.0, "points_avg_season": 13.0, name: value}
    assert predictions(row)["mock"] == pytest.approx(mock_by_hand(row), abs=1e-9)


@given(rows)
def test_the_averages_are_the_features_of_their_names(row: Row) -> None:
    """Guards against a baseline that reads another column than its name says."""
    found = predictions(row)
    assert list(found) == list(BASELINES) == ["season_average", "last_10_average", "last_5_average", "mock"]
    for name, feature in (("season_average", "season"), ("last_10_average", "last_10"), ("last_5_average", "last_5")):
        assert found[name] == pytest.approx(row[f"points_avg_{feature}"], nan_ok=True)


def test_before_the_first_game_no_baseline_predicts() -> None:
    """Guards against a made-up 10.0 for a player nobody knows anything about."""
    first_game = {f.name: NAN if f.nullable else float(f.low) for f in V2_33FEATURES.features}
    assert all(math.isnan(value) for value in predictions(first_game).values())


def test_many_rows_are_each_their_own() -> None:
    """Guards against a rule that takes its values from a neighbour's row."""
    rng = np.random.default_rng(5)
    low, high = (np.array([getattr(f, end) for f in V2_33FEATURES.features], dtype=float) for end in ("low", "high"))
    vectors = rng.uniform(low, high, size=(200, 33))
    by_hand = [mock_by_hand(dict(zip(V2_33FEATURES.names, row, strict=True))) for row in vectors]
    np.testing.assert_allclose(predict_baselines(vectors, V2_33FEATURES)["mock"], by_hand, atol=1e-9)
