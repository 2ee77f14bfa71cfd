"""What is published of a prediction: the points as a worker writes them, and what they say about a line.

Imports nothing but NumPy and the errors: the prediction worker comes to the same answers with this code.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from nba_ml.core.errors import BundleError

LOWEST, HIGHEST = 0.0, 60.0
"""Published points lie within these, both inclusive."""

EDGE = 1.5
"""Points between prediction and line from which on there is a bet."""

BREAK_EVEN = 0.5238
"""Share of bets that must be right at the usual odds of -110: 110 are risked to win 100, so 110 / 210."""

OVER, UNDER, PASS, NO_LINE = "OVER", "UNDER", "PASS", "NO_LINE"

Floats = npt.NDArray[np.float64]


def publish_points(raw: npt.NDArray[np.floating]) -> Floats:
    """A model's output (n,) as points with two decimals, within 0 and 60.

    Raises:
        BundleError: an output is not finite. Nothing is made up in its place.
    """
    if not np.isfinite(raw).all():
        raise BundleError(
            f"The model predicts {raw[~np.isfinite(raw)][0]} points for {int((~np.isfinite(raw)).sum()):,} of "
            f"{len(raw):,} rows. It must not serve: run the asset checks of xgboost_model, and train it again."
        )
    return np.asarray(np.clip(np.round(raw.astype(np.float64), 2), LOWEST, HIGHEST) + 0.0, dtype=np.float64)


def margin_over(points: Floats, line: Floats) -> Floats:
    """Published points minus the line, (n,); NaN without a line. Without the noise of binary fractions."""
    margin: Floats = np.round(points - line, 6) + 0.0
    return margin


def recommend(points: Floats, line: Floats) -> npt.NDArray[np.str_]:
    """OVER from +1.5 points over the line on, UNDER from -1.5 on, PASS in between, NO_LINE where it is NaN; (n,)."""
    margin = margin_over(points, line)
    return np.select([np.isnan(margin), margin >= EDGE, margin <= -EDGE], [NO_LINE, OVER, UNDER], PASS)
