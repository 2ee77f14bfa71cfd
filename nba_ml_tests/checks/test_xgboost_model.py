"""Checks of a booster's quality."""

from __future__ import annotations

import pytest

from nba_ml.checks.build import _result
from nba_ml.checks.xgboost_model import CHECKS
from nba_ml.core.model_record import TrainingReport
from nba_ml.core.split import split_by_date
from nba_ml.core.values import TrainedModel
from nba_ml_tests.conftest import QUICK, Trained

[VALIDATION_MAE] = [check for check in CHECKS if check.name == "validation_mae"]


def with_mae(trained: Trained, mae: float) -> TrainedModel:
    """The real model, had it been that good."""
    judgement = trained.record.metrics
    worse = judgement.model_copy(update={"validation": judgement.validation.model_copy(update={"mae": mae})})
    return TrainedModel(trained.report.model_copy(update={"judgement": worse}), trained.fitted.booster)


def test_a_real_model_passes_with_its_interval(trained: Trained) -> None:
    """Guards against a check that refuses real models, or shows a score without its population and interval."""
    model = TrainedModel(trained.report, trained.fitted.booster)
    result = _result(VALIDATION_MAE, VALIDATION_MAE.examine(model, "2021-12"))
    judgement = trained.record.metrics
    assert result.passed
    assert result.metadata["value"].value == judgement.validation.mae
    assert result.metadata["n"].value == judgement.validation.n
    low, high = judgement.validation_mae_interval.low, judgement.validation_mae_interval.high
    assert result.metadata["interval"].value == f"{low:.3f} to {high:.3f} (95%, bootstrap over days)"


@pytest.mark.parametrize(("mae", "passes"), [(4.999999, True), (5.0, True), (5.000001, False), (6.4, False)])
def test_a_model_above_five_points_fails(trained: Trained, mae: float, passes: bool) -> None:
    """Guards against a limit that moved: above 5.0 a model is worse than every average of past points."""
    result = _result(VALIDATION_MAE, VALIDATION_MAE.examine(with_mae(trained, mae), "2021-12"))
    assert result.passed is passes
    expected = (
        f"{'passed' if passes else 'failed'}: validation MAE {mae} over 1,852 rows; validation MAE at most 5.0 points."
    )
    assert str(result.description).startswith(expected)
    advice = "with few months in training a model overfits. Backfill earlier months, or train a later one."
    assert str(result.description).endswith(advice) is not passes


def test_no_model_yet_passes_and_says_so() -> None:
    """Guards against an October before the first model that turns the backfill red."""
    report = TrainingReport(split=split_by_date({}), parameters=QUICK, feature_version="v2_33features")
    finding = VALIDATION_MAE.examine(TrainedModel(report, None), "2021-10")
    assert (finding.passed, finding.value, finding.n) == (True, "no model yet", 0)
