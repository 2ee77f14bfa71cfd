"""Checks of the record: another process, given the bytes and the record, must come to the same predictions."""

from __future__ import annotations

from nba_ml.checks.check import Check, Finding, Severity
from nba_ml.core.values import DescribedModel
from nba_ml.serving.reference import predict_in_fresh_process

ASSET = "model_metadata"


def _loads_in_fresh_process(model: DescribedModel, month: str) -> Finding:
    if model.record is None or model.booster is None:
        return Finding(passed=True, metric="reference rows that differ", value="no model yet", n=0)
    rows = model.record.reference_rows
    predicted = predict_in_fresh_process(model.booster, [row.features for row in rows])
    differing = [
        {"player": row.player_lookup, "date": row.game_date, "recorded": row.prediction, "predicted": value}
        for row, value in zip(rows, predicted, strict=True)
        if value != row.prediction
    ]
    return Finding(
        passed=not differing,
        metric="reference rows that differ",
        value=len(differing),
        n=len(rows),
        worst=differing,
        next_step=f"The saved booster is not the one that was measured. Materialise xgboost_model for {month} again.",
    )


CHECKS = (
    Check(
        asset=ASSET,
        name="loads_in_fresh_process",
        severity=Severity.ERROR,
        blocking=True,
        threshold="every reference row predicted to the last bit",
        reason="A booster that predicts otherwise once saved and loaded (all trees instead of the best, another "
        "feature order) is what the prediction worker would get.",
        examine=_loads_in_fresh_process,
    ),
)
