"""The check of the model record: a new process reproduces its predictions.

Reading a record validates it, so no check does.
"""

from __future__ import annotations

from nba_ml.checks.check import Check, CheckContext, Consequence, Finding
from nba_ml.checks.fresh_predictions import predict_once
from nba_ml.contract.thresholds import Thresholds
from nba_ml.model.values import DescribedModel

ASSET = "model_metadata"


def _loads_in_fresh_process(model: DescribedModel, context: CheckContext) -> Finding:
    if model.record is None or model.booster is None:
        return Finding(passed=True, metric="reference rows that differ", value="no model yet", n=0)
    rows = model.record.reference_rows
    predicted = predict_once(model.booster, [row.features for row in rows], context.system.features)
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
        next_step="The saved booster differs from the one that was measured. Materialise xgboost_model for "
        f"{context.month} again.",
    )


def checks(_limits: Thresholds) -> tuple[Check, ...]:
    """The check of this asset. It uses no limits."""
    return (
        Check(
            asset=ASSET,
            name="loads_in_fresh_process",
            consequence=Consequence.STOPS_RUN,
            threshold="every reference row predicted to the last bit",
            reason="The prediction worker loads the saved booster, which can differ: all trees instead of the best "
            "ones, or another feature order.",
            examine=_loads_in_fresh_process,
        ),
    )
