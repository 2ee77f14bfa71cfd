"""The published columns for a system's output, with or without an interval, in shadow and in serving.

Imports only NumPy and light modules, because the prediction worker imports it.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from nba_ml.contract.quantiles import QUANTILE_COLUMNS
from nba_ml.model.calibration import Calibration
from nba_ml.model.published import Floats, published_columns
from nba_ml.model.recommendation import margin_over, publish_points, recommend

SPREAD = (
    "points_low",
    "points_high",
    "points_low_90",
    "points_high_90",
    *QUANTILE_COLUMNS,
    "over_probability",
    "push_probability",
    "confidence_score",
)
"""The columns that need an interval."""


def system_columns(
    raw: npt.NDArray[np.floating], line: Floats, calibration: Calibration | None
) -> dict[str, npt.NDArray[np.generic]]:
    """The published columns for a system's output (n,) and lines (n,), NaN for no line: column -> values (n,).

    Without a calibration, the columns of `SPREAD` are NaN and no bet is recommended: without a probability, the value
    of a bet is unknown.

    Raises:
        BundleError: an output is not finite.
    """
    if calibration is not None:
        return published_columns(raw, line, calibration)
    points, unknown = publish_points(raw), np.full(len(raw), np.nan)
    return {
        "predicted_points": points,
        "model_points": points,
        **dict.fromkeys(SPREAD, unknown),
        "current_points_line": line,
        "line_margin": margin_over(points, line),
        "recommendation": recommend(points, line, unknown),
    }
