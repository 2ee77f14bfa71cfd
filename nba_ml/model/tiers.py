"""Tiers of season average: the groups of players by which results are broken down."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Tier:
    """Players whose season average, in points, is at least `low` and below `high`."""

    name: str
    low: float
    high: float


TIERS = (
    Tier("0-5", 0.0, 5.0),
    Tier("5-10", 5.0, 10.0),
    Tier("10-15", 10.0, 15.0),
    Tier("15-20", 15.0, 20.0),
    Tier("20-25", 20.0, 25.0),
    Tier("25+", 25.0, float("inf")),
)
"""Lowest first."""

NO_HISTORY = "no history"
"""The tier of a player without an earlier game this season."""

TIER_NAMES = (*(tier.name for tier in TIERS), NO_HISTORY)
"""All names that `tier_of` returns, in display order."""


def tier_of(season_average: npt.NDArray[np.floating]) -> npt.NDArray[np.str_]:
    """Names of the tiers (n,) of season averages (n,) in points; NaN is NO_HISTORY."""
    bounds = [tier.high for tier in TIERS[:-1]]
    index = np.where(np.isnan(season_average), len(TIERS), np.digitize(season_average, bounds))
    return np.array(TIER_NAMES)[index]
