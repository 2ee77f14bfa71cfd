"""The distribution of the points of a game, as quantiles: probabilities, intervals and scores are read from it.

Imports only NumPy, because the prediction worker imports it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from nba_ml.contract.quantiles import PUBLISHED_LEVELS

Floats = npt.NDArray[np.float64]

NARROWEST_TAIL = 0.3
"""Points: the least scale of a tail, so that equal outer quantiles do not make a result beyond them impossible."""

LEAST_PROBABILITY = 0.0005
"""Of any result: no line is certain, and the logarithm of a probability is finite."""

MOST_POINTS = 100
"""Where the sum of a score ends; no player has scored more since 1962."""

_ROWS_AT_ONCE = 2_000

_PUBLISHED = np.array(PUBLISHED_LEVELS)
_PUBLISHED.flags.writeable = False


@dataclass(frozen=True, slots=True)
class Spread:
    """The distributions of n results, in points: quantiles (n, levels) at rising levels (levels,).

    Results are whole numbers, and each holds the half point on both sides: the probability of at most 20 points is read
    at 20.5, and a quantile up to 0.5 is 0 points. Between quantiles the probability is linear. Beyond the outermost it
    falls exponentially, at the rate between the outermost two.
    """

    levels: Floats
    quantiles: Floats

    @classmethod
    def published(cls, quantiles: npt.ArrayLike) -> Spread:
        """Of published quantiles (n, 19)."""
        return cls(_PUBLISHED, np.asarray(quantiles, dtype=np.float64))

    def at_most(self, whole: Floats) -> Floats:
        """P(points <= whole) (n, m) for whole numbers (n, m); 0 below 0."""
        at, quantiles = whole + 0.5, self.quantiles
        lower, low, high, upper = quantiles[:, :1], quantiles[:, 1:2], quantiles[:, -2:-1], quantiles[:, -1:]
        first, below_rate, last, above_rate = _tails(self.levels.tobytes())
        found = interpolated(self.levels, quantiles, at)
        if (beyond := at > upper).any():
            scale = np.maximum((upper - high) / above_rate, NARROWEST_TAIL)
            found = np.where(beyond, 1 - last * np.exp(np.minimum(upper - at, 0) / scale), found)
        if (beyond := at < lower).any():
            scale = np.maximum((low - lower) / below_rate, NARROWEST_TAIL)
            found = np.where(beyond, first * np.exp(np.minimum(at - lower, 0) / scale), found)
        return np.where(whole < 0, 0.0, np.minimum(np.maximum(found, LEAST_PROBABILITY), 1 - LEAST_PROBABILITY))

    def over(self, line: Floats) -> Floats:
        """P(points > line) (n,), also for a line other than the market's; NaN where the line is NaN."""
        return np.asarray(1 - self.at_most(np.floor(line)[:, None])[:, 0])

    def push(self, line: Floats) -> Floats:
        """P(points = line) (n,): 0 for a half point; NaN where the line is NaN."""
        within = self.at_most(np.stack([np.floor(line), np.ceil(line) - 1], axis=1))
        return np.asarray(within[:, 0] - within[:, 1])

    def interval(self, share: float) -> tuple[Floats, Floats]:
        """Ends (n,) of the interval that holds this share of the results; 0 <= low <= high.

        As much lies below it as above. Where 0 points is at least as likely as what would lie below, the low end is 0:
        nothing lies below that, so the rest is all above.
        """
        tail = (1 - share) / 2
        low = self.quantile(tail)
        zero = low <= 0.5
        high = np.where(zero, self.quantile(share), self.quantile(1 - tail))
        return np.where(zero, 0.0, low), np.maximum(high, 0.0)

    def quantile(self, level: float) -> Floats:
        """The quantile (n,) at a level; linear between levels, and that of the outermost beyond it."""
        left, share = _position(self.levels.tobytes(), level)
        if not share:
            return self.quantiles[:, left]
        return np.asarray((1 - share) * self.quantiles[:, left] + share * self.quantiles[:, left + 1])

    def crps(self, points: Floats) -> Floats:
        """The continuous ranked probability score (n,) of results (n,), in points; lower is better.

        For whole numbers it is the sum over k of (P(points <= k) - 1{result <= k})^2 (Gneiting and Raftery, Strictly
        proper scoring rules, JASA 102 (2007), section 4.2). For a distribution of one value it is the absolute error.
        """
        whole = np.arange(MOST_POINTS + 1.0)
        parts = []
        for start in range(0, len(points), _ROWS_AT_ONCE):
            rows = slice(start, start + _ROWS_AT_ONCE)
            part = Spread(self.levels, self.quantiles[rows])
            stated = part.at_most(np.broadcast_to(whole, (len(part.quantiles), len(whole))))
            parts.append(np.square(stated - (points[rows, None] <= whole)).sum(axis=1))
        return np.concatenate(parts) if parts else np.empty(0)

    def pit(self, points: Floats) -> Floats:
        """P(fewer points) and P(at most as many) (n, 2) than the results (n,): the ends of their probability integral
        transform, which is uniform between 0 and 1 if the probabilities are right."""
        return self.at_most(np.stack([points - 1, points], axis=1))


def interpolated(levels: Floats, quantiles: Floats, at: Floats) -> Floats:
    """Levels (n, m) of values (n, m) among quantiles (n, levels); linear, and within the outermost two levels."""
    right = (quantiles[:, None, :] <= at[:, :, None]).sum(axis=2)
    right = np.minimum(np.maximum(right, 1), len(levels) - 1)
    rows = np.arange(len(quantiles))[:, None]
    before, after = quantiles[rows, right - 1], quantiles[rows, right]
    share = (at - before) / np.where(after > before, after - before, 1.0)
    share = np.minimum(np.maximum(share, 0.0), 1.0)
    return np.asarray(levels[right - 1] + share * (levels[right] - levels[right - 1]))


@lru_cache(maxsize=64)  # a prediction asks for the same six each time
def _position(levels: bytes, level: float) -> tuple[int, float]:
    """The position of a level among rising ones: the one at or before it, and the share of the way to the next."""
    known = np.frombuffer(levels)
    at = float(np.interp(level, known, np.arange(len(known))))
    left = min(int(at + 1e-9), len(known) - 2)
    return left, round(at - left, 9)


@lru_cache(maxsize=64)
def _tails(levels: bytes) -> tuple[float, float, float, float]:
    """Of both tails: the share of the results in it, and the logarithm of the ratio by which it falls from the second
    outermost level to the outermost. A width over the latter is the tail's scale, in points."""
    known = np.frombuffer(levels)
    first, second, above_high, above_upper = *known[:2], *(1 - known[-2:])
    return first, np.log(second / first), above_upper, np.log(above_high / above_upper)
