"""The numbers behind the pictures: counted again by hand, from rows and from a real model."""

from __future__ import annotations

from datetime import date

import numpy as np
import pyarrow as pa
import pytest
import xgboost as xgb

from nba_ml.contract.features import V2_33FEATURES
from nba_ml.model.diagnosis import BANDS, MISSES, contributions, diagnose
from nba_ml.model.fitting import load, predict
from nba_ml_tests.conftest import Trained


def rows(predicted: list[float], points: list[float], **columns: list[float]) -> pa.Table:
    """Predictions with results and an interval of 5 points to both sides; lines are missing."""
    n = len(predicted)
    values = {
        "predicted_points": predicted,
        "points": points,
        "points_low": [each - 5 for each in predicted],
        "points_high": [each + 5 for each in predicted],
        "over_probability": [np.nan] * n,
        "current_points_line": [np.nan] * n,
        **columns,
    }
    keys = {"player_lookup": [f"p{i}" for i in range(n)], "game_date": [date(2022, 1, 1 + i % 28) for i in range(n)]}
    return pa.table({**keys, **values})


def test_every_row_is_in_one_band_and_the_edges_belong_to_the_upper() -> None:
    """Guards against rows that are counted twice or not at all, such as a prediction below 0 or of exactly 5."""
    found = diagnose(rows([-0.5, 4.99, 5.0, 30.0], [3.0, 4.99, 11.0, 24.0])).bands
    assert [(band.low, band.n, band.inside) for band in found] == [(0.0, 2, 2), (5.0, 1, 0), (25.0, 1, 0)]
    assert [band.residual for band in found] == [1.75, 6.0, -6.0]


def test_a_push_and_a_missing_line_are_no_result_over_or_under() -> None:
    """Guards the reliability of the over probability against rows that say nothing about it."""
    table = rows(
        [10.0] * 5,
        [9.0, 10.0, 11.0, 12.0, 13.0],
        over_probability=[0.52, 0.52, 0.54, np.nan, 0.61],
        current_points_line=[10.0, 10.0, 10.0, np.nan, 10.5],
    )
    found = [(band.low, band.n, band.over, band.expected) for band in diagnose(table).over]
    assert found == [(0.5, 2, 1, 0.53), (0.6, 1, 1, 0.61)]
    assert diagnose(rows([10.0], [9.0])).over == ()


def test_the_largest_misses_come_first_and_ties_do_not_depend_on_the_order_of_rows() -> None:
    """Guards against a table that changes when the rows are read in another order."""
    table = rows([10.0] * 40, [10.0 + i // 2 for i in range(40)])
    misses = diagnose(table).misses
    assert len(misses) == MISSES
    assert [abs(miss.points - miss.predicted) for miss in misses] == [19, 19, 18, 18, 17, 17, 16, 16, 15, 15]
    shuffled = table.take(np.random.default_rng(0).permutation(40))
    assert diagnose(shuffled) == diagnose(table)


def test_a_real_model_is_diagnosed_on_its_validation_rows(trained: Trained) -> None:
    """Guards against numbers of the train side, of another booster, or that do not add up to the judgement."""
    found, judged = trained.report.diagnosis, trained.record.metrics
    assert found is not None
    validation = trained.side("validation")
    assert sum(band.n for band in found.bands) == judged.validation.n == len(validation)
    assert {band.low for band in found.bands} <= set(BANDS)
    inside = sum(band.inside for band in found.bands) / len(validation)
    assert inside == pytest.approx(judged.published_coverage.overall.inside, abs=5e-3), "published points are rounded"
    assert {tier: mae["model"] for tier, mae in found.tier_mae.items()} == pytest.approx(
        {tier: metrics.mae for tier, metrics in judged.tiers.items()}, abs=1e-4
    )
    assert found.over == (), "no line was listed in 2021"


def test_contributions_are_those_of_xgboost(trained: Trained) -> None:
    """Guards against a feature under another's name: the values of each row add up to its prediction."""
    booster, features = load(trained.fitted.booster, 1), trained.side("validation").features[:50]
    matrix = xgb.DMatrix(features, feature_names=list(V2_33FEATURES.names))
    each = booster.predict(matrix, pred_contribs=True)
    assert each.sum(axis=1) == pytest.approx(predict(booster, features), abs=1e-3)
    found = contributions(booster, features, V2_33FEATURES)
    assert found == pytest.approx(
        dict(zip(V2_33FEATURES.names, np.abs(each[:, :-1]).mean(axis=0), strict=True)), abs=1e-4
    )
    assert list(found.values()) == sorted(found.values(), reverse=True)
