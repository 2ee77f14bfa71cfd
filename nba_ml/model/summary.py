"""Tables of a training's metrics, for the terminal and the UI."""

from __future__ import annotations

from typing import Any

import pandas as pd

from nba_ml.model.comparison import BaselineResult
from nba_ml.model.record import Judgement


def comparison(judgement: Judgement) -> pd.DataFrame:
    """The model and its baselines on the validation rows, one row each, with the model's MAE on the baseline's rows."""
    ours, interval = judgement.validation, judgement.validation_mae_interval
    rows: list[dict[str, Any]] = [
        {
            "predictor": "xgboost",
            "rows": ours.n,
            "MAE": ours.mae,
            "model's MAE": ours.mae,
            "95% interval": f"{interval.low:.3f} to {interval.high:.3f}",
        }
    ]
    for name, result in judgement.baselines.items():
        rows.append(
            {
                "predictor": name,
                "rows": result.metrics.n,
                "MAE": result.metrics.mae,
                "model's MAE": result.model_mae,
                "95% interval": gain_in_words(result),
            }
        )
    return pd.DataFrame(rows).round(3)


def gain_in_words(result: BaselineResult) -> str:
    """`model better by 0.166 (0.140 to 0.193)`, or `worse`, with the 95% interval of the difference that is named."""
    verb, gain = "better" if result.gain >= 0 else "worse", result.gain_interval
    low, high = (gain.low, gain.high) if result.gain >= 0 else (-gain.high, -gain.low)
    return f"model {verb} by {abs(result.gain):.3f} ({low:.3f} to {high:.3f})"


def by_tier(judgement: Judgement) -> pd.DataFrame:
    """The validation rows by tier of season average: error, bias, and coverage of the 80% interval."""
    coverage = judgement.coverage.tiers
    rows = [
        {
            "season average": name,
            "rows": tier.n,
            "MAE": tier.mae,
            "bias": tier.bias,
            "in interval": coverage[name].inside,
        }
        for name, tier in judgement.tiers.items()
    ]
    return pd.DataFrame(rows).round(3)
