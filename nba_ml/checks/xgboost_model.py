"""Checks of a booster: is it good enough to be anybody's model."""

from __future__ import annotations

from nba_ml.checks.check import Check, Finding, Severity
from nba_ml.core.values import TrainedModel

ASSET = "xgboost_model"

MAX_VALIDATION_MAE = 5.0
"""Points. The season average alone reaches 4.73 on all players (walk-forward over 37 months): a model
above 5.0 has learnt less than nothing."""


def _validation_mae(model: TrainedModel, month: str) -> Finding:
    judgement = model.report.judgement
    if judgement is None:
        return Finding(passed=True, metric="validation MAE", value="no model yet", n=0)
    interval = judgement.validation_mae_interval
    return Finding(
        passed=judgement.validation.mae <= MAX_VALIDATION_MAE,
        metric="validation MAE",
        value=judgement.validation.mae,
        n=judgement.validation.n,
        interval=f"{interval.low:.3f} to {interval.high:.3f} (95%, bootstrap over days)",
        next_step=f"Look at the baselines beside it and at the coverage of the months before {month}: with few months "
        "in training a model overfits. Backfill earlier months, or train a later one.",
    )


CHECKS = (
    Check(
        asset=ASSET,
        name="validation_mae",
        severity=Severity.ERROR,
        blocking=True,
        threshold=f"validation MAE at most {MAX_VALIDATION_MAE} points",
        reason="Every average of past points does better than that.",
        examine=_validation_mae,
    ),
)
