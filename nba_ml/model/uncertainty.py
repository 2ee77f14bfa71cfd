"""How far results spread around a prediction, learnt from held-out days.

A prediction is a median; this module says how wide the results lie around it. What belongs here: the
calibration, what is read off it (interval, probability of going over a line, confidence), and how its
coverage is measured. Imports NumPy and Pydantic only: the prediction worker imports this module.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from nba_ml.contract.errors import CalibrationError
from nba_ml.model.tiers import TIER_NAMES, tier_of

Array = npt.NDArray[np.floating]
Floats = npt.NDArray[np.float64]

LOW, HIGH = 0.10, 0.90
"""The quantiles of the interval."""

NEAR = 5.0
"""Points within which a result counts as near the prediction, where there is no line."""

SMALLEST_DISAGREEMENT = 0.01
"""Points: predictions that all lie as far from their lines as this teach nothing about disagreement."""

LEVELS = (0.01, *(round(0.025 * i, 3) for i in range(1, 40)), 0.99)
"""Levels of the residual quantiles that are kept. No probability is ever stated beyond the outermost."""

ROWS_PER_KNOT = 250
MOST_KNOTS = 4
"""A quantile in the tails needs some hundred rows; four knots follow how the skew falls as predictions rise."""

SMALLEST_SCALE = 0.5
"""Half a point: results are whole numbers, so no spread is narrower."""

DOUBT_ROWS = 500
"""Rows of doubt in the model's disagreement with the line. n rows know the slope of results on disagreement to
3.8 / sqrt(n), as results spread by 6.7 points around disagreements of 1.8: a few hundred rows outweigh chance."""

_FROZEN = ConfigDict(frozen=True, extra="forbid")


class Calibration(BaseModel):
    """A scale of the residual (result minus prediction) that grows with the prediction, and its shape at some points.

    `scale` is (a, b): the mean size of the residual around a prediction p is about a + b * sqrt(p) points.
    `knots` (k,) are predicted points, rising; `shapes` (k, levels) the quantiles there of the residual divided by
    its scale. Between knots they are interpolated, beyond the outermost the shape stays and the scale goes on.
    `line_trust` is how much of its disagreement with a betting line the model has shown to be right about, from 0
    (the line knows all that the model does) to 1 (the line adds nothing); 0 until rows with lines have shown it.
    `rows` is how many held-out rows this comes from, `line_rows` how many of them had a line.
    """

    model_config = _FROZEN

    rows: int
    scale: tuple[float, float]
    levels: tuple[float, ...]
    knots: tuple[float, ...]
    shapes: tuple[tuple[float, ...], ...]
    line_trust: float = 0.0
    line_rows: int = 0

    def interval(self, predicted: Array) -> tuple[Floats, Floats]:
        """The 10% and 90% quantiles (n,) of the points scored; 0 <= low <= predicted <= high.

        They are fractions of a point, though results are whole: of the results that fall on the whole number
        nearest to an end, the end takes in a part. So the share inside comes to 80% over many rows.
        """
        points = np.asarray(predicted, dtype=np.float64)
        spread = self._quantiles(points)
        low, high = (spread[:, self.levels.index(level)] for level in (LOW, HIGH))
        return np.minimum(np.maximum(low, 0.0), points), np.maximum(high, points)

    def over_probability(self, predicted: Array, line: Array) -> Floats:
        """Probability (n,) that the points exceed the line; NaN where the line is NaN.

        Results spread around the line plus `line_trust` of the prediction's disagreement with it: a line is
        evidence too, and a prediction 5 points away from it is usually the one that is wrong. So this is for the
        line that the market offers, not for alternative lines on the same player. Points are whole numbers: a line
        of 20 is exceeded from 21 on, as a line of 20.5 is; 20 is a push.
        """
        lines = np.asarray(line, dtype=np.float64)
        return np.where(np.isnan(lines), np.nan, 1 - self._cdf(self._given(predicted, lines), np.floor(lines)))

    def confidence_score(self, predicted: Array, line: Array) -> Floats:
        """Confidence (n,) from 0 to 100.

        With a line: the probability, in percent, of the side that the prediction takes (a push is neither;
        a prediction exactly on the line takes the likelier side). Without one: the probability, in percent,
        that the result lies within 5 points of the prediction.
        """
        points, lines = np.asarray(predicted, dtype=np.float64), np.asarray(line, dtype=np.float64)
        spread = self._given(points, lines)
        near = self._cdf(spread, np.floor(points + NEAR)) - self._cdf(spread, np.ceil(points - NEAR) - 1)
        over = 1 - self._cdf(spread, np.floor(lines))
        under = self._cdf(spread, np.ceil(lines) - 1)
        side = np.select([points > lines, points < lines], [over, under], np.maximum(over, under))
        return 100 * np.where(np.isnan(lines), near, side)

    def _given(self, predicted: Array, lines: Floats) -> Floats:
        """Quantiles (n, levels) of the points scored, given the predictions (n,) and the lines (n,) where there are."""
        points = np.asarray(predicted, dtype=np.float64)
        return self._quantiles(np.where(np.isnan(lines), points, lines + self.line_trust * (points - lines)))

    def _quantiles(self, points: Floats) -> Floats:
        """Quantiles (n, levels) of the points scored around predictions (n,)."""
        shape = np.stack([np.interp(points, self.knots, column) for column in np.array(self.shapes).T], axis=1)
        return np.asarray(points[:, None] + shape * _scale_at(points, self.scale)[:, None])

    def _cdf(self, spread: Floats, whole: Floats) -> Floats:
        """P(points <= whole) (n,) for whole numbers (n,): 0 below 0, and half a point of continuity correction."""
        at = whole + 0.5
        levels = np.array(self.levels)
        above = np.clip((spread <= at[:, None]).sum(axis=1), 1, len(levels) - 1)
        rows = np.arange(len(at))
        left, right = spread[rows, above - 1], spread[rows, above]
        share = np.clip((at - left) / np.where(right > left, right - left, 1.0), 0.0, 1.0)
        inside = levels[above - 1] + share * (levels[above] - levels[above - 1])
        return np.where(whole < 0, 0.0, inside)


def calibrate(predicted: Array, actual: Array, line: Array | None = None) -> Calibration:
    """Learn the spread of results (n,) around predictions (n,) from rows that the model was not fitted on.

    Args:
        predicted, actual: (n,), points.
        line: (n,), points, NaN where a row had none; None is no line at all. It teaches `line_trust` only.

    Raises:
        CalibrationError: there is no row, or a value is not finite.
    """
    points, results = np.asarray(predicted, dtype=np.float64), np.asarray(actual, dtype=np.float64)
    if not len(points) or not (np.isfinite(points).all() and np.isfinite(results).all()):
        unusable = int((~np.isfinite(points) | ~np.isfinite(results)).sum())
        raise CalibrationError(
            f"An interval needs held-out rows with a finite prediction and result: got {len(points):,} rows, "
            f"{unusable:,} of them not finite. Give the early-stopping side of a split that holds samples."
        )
    residual = results - points
    fitted = np.linalg.lstsq(_scale_design(points), np.abs(residual), rcond=None)[0]
    scale = (round(float(fitted[0]), 6), round(float(fitted[1]), 6))
    standard = residual / _scale_at(points, scale)
    groups = _groups(points)
    lines = np.full_like(points, np.nan) if line is None else np.asarray(line, dtype=np.float64)
    there = ~np.isnan(lines)
    return Calibration(
        rows=len(points),
        scale=scale,
        levels=LEVELS,
        knots=tuple(round(float(points[group].mean()), 6) for group in groups),
        shapes=tuple(_conformal_quantiles(standard[group]) for group in groups),
        line_trust=_line_trust(points[there], results[there], lines[there]),
        line_rows=int(there.sum()),
    )


def _line_trust(points: Floats, results: Floats, lines: Floats) -> float:
    """Slope of result minus line on prediction minus line, shrunk towards 0 by DOUBT_ROWS, within 0 to 1.

    Towards 0, because a market is hard to beat: over rows with lines, the line's own error is below the model's.
    """
    if not len(lines):
        return 0.0
    disagreement = points - lines
    apart = disagreement - disagreement.mean()
    if np.abs(apart).max() < SMALLEST_DISAGREEMENT:
        return 0.0
    slope = float(apart @ (results - lines) / (apart @ apart))
    return round(min(max(slope * len(lines) / (len(lines) + DOUBT_ROWS), 0.0), 1.0), 4)


def _conformal_quantiles(values: Floats) -> tuple[float, ...]:
    """Quantiles at LEVELS by Weibull's plotting positions, i / (n + 1): the finite-sample correction of conformal
    prediction (Vovk, Gammerman and Shafer, Algorithmic Learning in a Random World, ch. 2)."""
    return tuple(round(float(value), 4) for value in np.quantile(values, LEVELS, method="weibull"))


def _scale_design(points: Floats) -> Floats:
    return np.asarray(np.stack([np.ones_like(points), np.sqrt(np.maximum(points, 0.0))], axis=1))


def _scale_at(points: Floats, scale: tuple[float, float]) -> Floats:
    """The scale (n,), in points, of the residual around predictions (n,)."""
    return np.asarray(np.maximum(_scale_design(points) @ np.array(scale), SMALLEST_SCALE))


def _groups(points: Floats) -> list[npt.NDArray[np.intp]]:
    """Indices of the rows by rising prediction, in groups of about equal size; equal predictions stay together."""
    order = np.argsort(points, kind="stable")
    ranked, count = points[order], max(1, min(MOST_KNOTS, len(points) // ROWS_PER_KNOT))
    size = len(points) / count
    cuts = [0]
    for i in range(1, count):
        cut = int(np.searchsorted(ranked, ranked[round(i * size)], side="left"))
        if cut - cuts[-1] >= size / 2:  # what follows the cut is a share or more: it lies at or before its place
            cuts.append(cut)
    return np.split(order, cuts[1:])


class Coverage(BaseModel):
    """How often results fell inside the interval that should hold `nominal` of them; shares of `n` rows."""

    model_config = _FROZEN

    n: int
    nominal: float
    inside: float
    below: float
    above: float

    @classmethod
    def of(cls, below: npt.NDArray[np.bool_], above: npt.NDArray[np.bool_]) -> Coverage:
        """From which results (n,) lie below the interval and which above."""
        under, over = float(below.mean()), float(above.mean())
        return cls(
            n=len(below),
            nominal=round(HIGH - LOW, 6),
            inside=round(1 - under - over, 6),
            below=round(under, 6),
            above=round(over, 6),
        )


class CoverageReport(BaseModel):
    """Coverage over all rows, and per tier of season average (only tiers with rows, lowest first)."""

    model_config = _FROZEN

    overall: Coverage
    tiers: dict[str, Coverage]


def measure_coverage(
    calibration: Calibration, predicted: Array, actual: Array, season_average: Array
) -> CoverageReport:
    """Coverage of the interval on rows that it was not calibrated on.

    Args:
        predicted, actual, season_average: (n,), points; a season average may be NaN.

    Raises:
        CalibrationError: there is no row.
    """
    if not len(predicted):
        raise CalibrationError("Coverage needs at least one row with a result: got none. Grade a month with games.")
    low, high = calibration.interval(predicted)
    below, above = np.asarray(actual) < low, np.asarray(actual) > high
    tiers = tier_of(season_average)
    return CoverageReport(
        overall=Coverage.of(below, above),
        tiers={name: Coverage.of(below[tiers == name], above[tiers == name]) for name in TIER_NAMES if name in tiers},
    )
