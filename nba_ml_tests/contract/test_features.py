"""The feature contract is frozen: what a published model was trained on may not move under it."""

from __future__ import annotations

import ast
import dataclasses
import sys
from pathlib import Path

import pytest

from nba_ml.contract import features as contract
from nba_ml.contract.features import NOT_IN_BOX_SCORES, V2_33FEATURES

# Name, lowest and highest value, and '?' where it may be missing: the table of the platform's feature processors.
PLATFORM = """
points_avg_last_5 0 100 ?
points_avg_last_10 0 100 ?
points_avg_season 0 100 ?
points_std_last_10 0 30 ?
games_in_last_7_days 0 5
fatigue_score 0 100
shot_zone_mismatch_score -15 15 ?
pace_score -8 8 ?
usage_spike_score -8 8 ?
rest_advantage -3 3
injury_risk 0 3 ?
recent_trend -2 2
minutes_change -2 2
opponent_def_rating 80 150 ?
opponent_pace 80 125 ?
home_away 0 1
back_to_back 0 1
playoff_game 0 1
pct_paint 0 1 ?
pct_mid_range 0 1 ?
pct_three 0 1 ?
pct_free_throw 0 1 ?
team_pace 80 125 ?
team_off_rating 80 150 ?
team_win_pct 0 1 ?
vegas_points_line 0 80 ?
vegas_opening_line 0 80 ?
vegas_line_move -15 15 ?
has_vegas_line 0 1
avg_points_vs_opponent 0 100 ?
games_vs_opponent 0 100
minutes_avg_last_10 0 65 ?
ppm_avg_last_10 0 10 ?
"""


def test_names_order_ranges_and_nullability_are_the_platforms() -> None:
    """Guards against an edit of the version in place: published models read vectors by position."""
    found = [f"{f.name} {f.low:g} {f.high:g}{' ?' if f.nullable else ''}" for f in V2_33FEATURES.features]
    assert found == PLATFORM.split("\n")[1:-1]
    assert V2_33FEATURES.name == "v2_33features"
    assert V2_33FEATURES.count == len(set(V2_33FEATURES.names)) == 33


def test_positions_are_found_by_name_and_a_foreign_name_is_an_error() -> None:
    """Guards against a lookup that falls back to some position for a name that is not there."""
    for i, name in enumerate(V2_33FEATURES.names):
        assert V2_33FEATURES.index(name) == i
        assert V2_33FEATURES[name] is V2_33FEATURES.features[i]
    with pytest.raises(KeyError, match="v2_33features has no feature 'points_avg_last_7'"):
        V2_33FEATURES.index("points_avg_last_7")


def test_every_feature_says_what_it_is_and_when_it_is_missing() -> None:
    """Guards against a feature without unit or definition, and against one whose range no flag can keep."""
    for feature in V2_33FEATURES.features:
        assert feature.definition
        assert feature.unit
        assert feature.group
        assert feature.missing_when != ""
        assert feature.low < feature.high
        assert feature.unit != "0/1" or (feature.low, feature.high) == (0, 1)


def test_a_version_cannot_be_changed_at_run_time() -> None:
    """Guards against code that widens a range to let its rows through."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        V2_33FEATURES["home_away"].high = 2  # type: ignore[misc]
    with pytest.raises(dataclasses.FrozenInstanceError):
        V2_33FEATURES.name = "v3"  # type: ignore[misc]


def test_what_box_scores_cannot_give_may_be_missing() -> None:
    """Guards against embedded rows that break the contract by construction."""
    assert all(V2_33FEATURES[name].nullable for name in NOT_IN_BOX_SCORES)


def test_the_contract_imports_the_standard_library_only() -> None:
    """Guards against a prediction worker that has to install Arrow to know 33 names."""
    tree = ast.parse(Path(contract.__file__).read_text(encoding="utf-8"))
    imported = {
        name.split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names])
    }
    assert imported
    assert imported <= set(sys.stdlib_module_names)
