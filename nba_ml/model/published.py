"""The published columns for a model's output, in the `predictions` asset and in serving.

Imports only NumPy, Pydantic and light modules, because the prediction worker imports it.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from nba_ml.model.calibration import Calibration
from nba_ml.model.recommendation import margin_over, publish_points, recommend

Floats = npt.NDArray[np.float64]


def published_columns(
    raw: npt.NDArray[np.floating], line: Floats, calibration: Calibration
) -> dict[str, npt.NDArray[np.generic]]:
    """The published columns for a model's output (n,) and lines (n,), NaN for no line: column -> values (n,).

    All columns are computed from the published points with two decimals, so that they can be recomputed from these.

    Raises:
        BundleError: an output is not finite.
    """
    points = publish_points(raw)
    low, high = calibration.interval(points)
    confidence = np.round(calibration.confidence_score(points, line), 2)
    return {
        "predicted_points": points,
        "points_low": np.round(low, 2),
        "points_high": np.round(high, 2),
        "over_probability": np.round(calibration.over_probability(points, line), 4),
        "confidence_score": confidence,
        "current_points_line": line,
        "line_margin": margin_over(points, line),
        # With a line, the confidence is the probability of the side that the prediction takes.
        "recommendation": recommend(points, line, confidence / 100),
    }
