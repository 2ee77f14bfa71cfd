"""Convert the placeholders of older feature stores to NaN, by the same rule in training and serving.

Imports only NumPy and the contract, because a worker must read a stored row as the snapshot does.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from nba_ml.contract.features import FeatureVersion

Floats = npt.NDArray[np.float64]

PLACEHOLDER_LINE = 20.0
"""Value in older feature stores if no book had a line."""

_LINE_FEATURES = ("vegas_points_line", "vegas_opening_line", "vegas_line_move")
_SHOT_PROFILE = ("pct_paint", "pct_mid_range", "pct_three")


def canonical_vectors(vectors: Floats, version: FeatureVersion) -> Floats:
    """Vectors (n, features) with the placeholders of older stores converted to NaN.

    No line is NaN in the line, the opening line and the move, and 0 in `has_vegas_line`, whatever was
    stored there (the season average, on the platform). A line of exactly 20.0 that also opened at 20.0
    is the old placeholder, even where a flag was set beside it: older stores filled both columns. One
    of 20.0 without an opening line is a book's: 27 of the embedded data's lines are. A shot profile of
    three zeros is no profile.
    """
    out = vectors.copy()
    lines, flags, profile = _columns(version.names)
    line, opening, flag = out[:, lines[0]], out[:, lines[1]], out[:, flags]
    placeholder = (line == PLACEHOLDER_LINE) & (opening == PLACEHOLDER_LINE)
    no_line = (flag == 0) | np.isnan(line) | placeholder
    if no_line.any():
        for column in lines:
            out[no_line, column] = np.nan
        out[no_line, flags] = 0.0
    no_profile = (out[:, profile] == 0.0).all(axis=1)
    if no_profile.any():
        out[np.ix_(no_profile, profile)] = np.nan
    out += 0.0  # a zero has no sign
    return out


@lru_cache
def _columns(names: tuple[str, ...]) -> tuple[list[int], int, list[int]]:
    """Positions of the line's features, of their flag, and of the shot profile."""
    return (
        [names.index(each) for each in _LINE_FEATURES],
        names.index("has_vegas_line"),
        [*map(names.index, _SHOT_PROFILE)],
    )
