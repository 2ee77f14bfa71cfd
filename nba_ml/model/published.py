"""The published columns for a model's output, in the `predictions` asset and in serving.

Imports only NumPy, Pydantic and light modules, because the prediction worker imports it.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from nba_ml.contract.quantiles import QUANTILE_COLUMNS
from nba_ml.model.calibration import Calibration
from nba_ml.model.recommendation import margin_over, publish_points, recommend

Floats = npt.NDArray[np.float64]


def published_columns(
    raw: npt.NDArray[np.floating], line: Floats, calibration: Calibration
) -> dict[str, npt.NDArray[np.generic]]:
    """The published columns for a model's output (n,) and lines (n,), NaN for no line: column -> values (n,).

    With a line, the published points lie between the line and the model's own number, `model_points`, because the line
    knows what the features do not. All columns are computed from these two with two decimals, so that they can be
    recomputed from them.

    Raises:
        BundleError: an output is not finite.
    """
    own = publish_points(raw)
    points = publish_points(calibration.beside_line(own, line))
    stated = calibration.beliefs(own, line, points)
    ends = np.array([*stated.interval, *stated.wide_interval]).round(2)
    over, push = np.array([stated.over, stated.push]).round(4)
    confidence = stated.confidence.round(2)
    return {
        "predicted_points": points,
        "model_points": own,
        "points_low": ends[0],
        "points_high": ends[1],
        "points_low_90": ends[2],
        "points_high_90": ends[3],
        **dict(zip(QUANTILE_COLUMNS, stated.quantiles.T, strict=True)),
        "over_probability": over,
        "push_probability": push,
        "confidence_score": confidence,
        "current_points_line": line,
        "line_margin": margin_over(points, line),
        # With a line, the confidence is the probability of the side that the prediction takes.
        "recommendation": recommend(own, line, confidence / 100),
    }
