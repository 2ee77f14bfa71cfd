"""Metrics of predictions, with the number of rows and bootstrap intervals."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

RESAMPLES = 2000
SEED = 42
LEVEL = 0.95
_AT_ONCE = 400
"""Resamples whose draws are numbers of eight bytes at one time. A divisor of RESAMPLES, and a multiple of 16, as BLAS
takes rows: the same sums as of all resamples together, to the bit."""
Z_95 = 1.96
"""95% of a normal distribution lie within this many standard deviations of its mean."""

FEWEST_DAYS = 5
"""A bootstrap interval over fewer days is not meaningful."""

Array = npt.NDArray[np.floating]


class Interval(BaseModel):
    """A 95% bootstrap interval over days."""

    model_config = ConfigDict(frozen=True)

    low: float
    high: float


class PredictionMetrics(BaseModel):
    """How far `n` predictions lie from the points scored.

    `bias` is the mean of prediction minus result: negative means too low. `within_3` and
    `within_5` are shares of predictions at most 3 and 5 points off.
    """

    model_config = ConfigDict(frozen=True)

    n: int
    mae: float
    rmse: float
    bias: float
    within_3: float
    within_5: float


def measure(predicted: Array, actual: Array) -> PredictionMetrics:
    """Metrics of predictions (n,) against results (n,), in points. Raises ValueError if n is 0."""
    if not len(actual):
        raise ValueError("no rows to measure")
    error = predicted.astype(np.float64) - actual
    size = np.abs(error)
    return PredictionMetrics(
        n=len(error),
        mae=rounded(size.mean()),
        rmse=rounded(np.sqrt(np.square(error).mean())),
        bias=rounded(error.mean()),
        within_3=rounded((size <= 3).mean()),
        within_5=rounded((size <= 5).mean()),
    )


def interval_over_days(values: Array, days: npt.NDArray[np.datetime64]) -> Interval:
    """95% interval of the mean of `values` (n,), by resampling whole days.

    Days, not rows: the games of a night share opponents, pace and news, so their errors are not
    independent, and an interval over rows would be too narrow. Percentile bootstrap (Efron and
    Tibshirani, An Introduction to the Bootstrap, ch. 13), seeded.
    """
    _, index = np.unique(days, return_inverse=True)
    sums = np.bincount(index, weights=values.astype(np.float64))
    counts = np.bincount(index).astype(np.float64)
    means = np.empty(RESAMPLES)
    for start in range(0, RESAMPLES, _AT_ONCE):
        draws = _draws(len(sums))[start : start + _AT_ONCE].astype(np.float64)
        means[start : start + _AT_ONCE] = (draws @ sums) / (draws @ counts)
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(low=rounded(low), high=rounded(high))


@lru_cache(maxsize=4)  # a slice's intervals have few different numbers of days, and the draws take most of the time
def _draws(days: int) -> npt.NDArray[np.uint8]:
    """How often each of the days was drawn, in each resample (resamples, days).

    A day is drawn once on average, and ten times at most in millions of resamples. All that is kept of 36 months takes
    an eighth of the memory that it would in NumPy's own integers.
    """
    drawn, random = np.empty((RESAMPLES, days), dtype=np.uint8), np.random.default_rng(SEED)
    for start in range(0, RESAMPLES, _AT_ONCE):
        drawn[start : start + _AT_ONCE] = random.multinomial(days, np.full(days, 1 / days), size=_AT_ONCE)
    drawn.flags.writeable = False
    return drawn


def rounded(value: float | np.floating) -> float:
    """Rounded to six decimals, which are the same on every machine."""
    return round(float(value), 6) + 0.0
