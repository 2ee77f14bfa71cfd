"""Comparison of another predictor with the model on the same rows."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from nba_ml.model.metrics import Array, Interval, PredictionMetrics, interval_over_days, measure


class BaselineResult(BaseModel):
    """A baseline on the rows on which it has a value.

    `gain` is its MAE minus the model's on these rows: above 0, the model is better.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    metrics: PredictionMetrics
    model_mae: float
    gain: float
    gain_interval: Interval


def compare(values: Array, predicted: Array, actual: Array, days: npt.NDArray[np.datetime64]) -> BaselineResult | None:
    """Compare another predictor's values (n,), NaN for none, with the model's on its rows; None if it has no values."""
    known = ~np.isnan(values)
    if not known.any():
        return None
    values, predicted, actual = values[known], predicted[known], actual[known]
    gain = np.abs(values - actual) - np.abs(predicted.astype(np.float64) - actual)
    return BaselineResult(
        metrics=measure(values, actual),
        model_mae=measure(predicted, actual).mae,
        gain=round(float(gain.mean()), 6),
        gain_interval=interval_over_days(gain, days[known]),
    )
