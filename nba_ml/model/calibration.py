"""The spread of results around a prediction, calibrated on held-out days.

A prediction is a median; the calibration gives its interval, the probability of going over a line, and the confidence.
Also measures the interval's coverage. Imports only NumPy and Pydantic, because the prediction worker imports it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from nba_ml.contract.errors import CalibrationError
from nba_ml.contract.quantiles import PUBLISHED_LEVELS
from nba_ml.model.chunks import row_chunks
from nba_ml.model.spread import Floats, Spread, interpolated
from nba_ml.model.tiers import TIER_NAMES, tier_of

Array = npt.NDArray[np.floating]

LOW, HIGH = 0.10, 0.90
"""The quantiles of the interval."""

WIDE = 0.9
"""The share of results inside the wider interval."""

NEAR = 5.0
"""Points within which a result counts as near the prediction; used for the confidence without a line."""

SMALLEST_DISAGREEMENT = 0.01
"""Points: if all predictions differ from their lines by the same amount, `line_trust` cannot be estimated."""

LEVELS = (0.01, *(round(0.025 * i, 3) for i in range(1, 40)), 0.99)
"""Levels of the stored residual quantiles. No probability is outside the outermost two."""

ROWS_PER_KNOT = 250
MOST_KNOTS = 4
"""A quantile in the tails needs a few hundred rows; four knots capture how the skew falls as predictions rise."""

SMALLEST_SCALE = 0.5
"""Half a point: results are whole numbers, so the spread cannot be narrower."""

JUST_SCORED = 0.5
"""Where the half point of 1 begins."""

DOUBT_ROWS = 500
"""Weight, in rows, of the prior that the model's disagreement with the line is wrong. The standard error of the slope
from n rows is 3.8 / sqrt(n), because results spread by 6.7 points and disagreements by 1.8."""

_FROZEN = ConfigDict(frozen=True, extra="forbid")


@dataclass(frozen=True, slots=True)
class Beliefs:
    """What is stated about n results: ends of both intervals (n,), published quantiles (n, 19), and the probabilities
    (n,) of more points than the line and of exactly as many, NaN without a line. `confidence` is 0 to 100."""

    interval: tuple[Floats, Floats]
    wide_interval: tuple[Floats, Floats]
    quantiles: Floats
    over: Floats
    push: Floats
    confidence: Floats


@dataclass(frozen=True, slots=True, eq=False)  # arrays are no truth value, and the model's fields are compared
class _Table:
    """A calibration's numbers as arrays. `published`: the published levels, as columns and the shares beyond them."""

    levels: Floats
    knots: Floats
    shapes: Floats
    slopes: Floats
    published: tuple[npt.NDArray[np.intp], Floats]


class Calibration(BaseModel):
    """A scale of the residual (result minus prediction) that grows with the prediction, and its shape at some knots.

    `scale` is (a, b): the mean size of the residual around a prediction p is about a + b * sqrt(p) points.
    `knots` (k,) are increasing predicted points; `shapes` (k, levels) the quantiles there of the residual over its
    scale. Between knots they are interpolated; beyond the outermost knots the shape is constant, but the scale is not.
    `line_trust` is the share of the model's disagreement with a betting line that has proved right, from 0 (the model
    adds nothing to the line) to 1 (the line adds nothing to the model); 0 if there are no rows with lines.
    `rows` is the number of held-out rows, `line_rows` the number of those with a line.
    """

    model_config = _FROZEN

    rows: int
    scale: tuple[float, float]
    levels: tuple[float, ...]
    knots: tuple[float, ...]
    shapes: tuple[tuple[float, ...], ...]
    line_trust: float = 0.0
    line_rows: int = 0

    def interval(self, predicted: Array, share: float = HIGH - LOW) -> tuple[Floats, Floats]:
        """The ends (n,) that should hold this share of the results; 0 <= low <= predicted <= high.

        They are fractional although results are whole numbers, so that the share inside is right over many rows.
        """
        points = np.asarray(predicted, dtype=np.float64)
        return self._around(points, self._spread(points), share)

    def beside_line(self, predicted: Array, line: Array) -> Floats:
        """The points (n,) to publish for predictions (n,): the line plus `line_trust` times the disagreement with it.

        Without a line (NaN) it is the prediction itself.
        """
        points, lines = np.asarray(predicted, dtype=np.float64), np.asarray(line, dtype=np.float64)
        return np.where(np.isnan(lines), points, lines + self.line_trust * (points - lines))

    def over_probability(self, predicted: Array, line: Array) -> Floats:
        """Probability (n,) that the points exceed the line; NaN where the line is NaN.

        Results spread around the line plus `line_trust` times the prediction's disagreement with it, because a line is
        evidence too: if it differs from the prediction by 5 points, the prediction is usually wrong. So this is for
        the market's line; the probability for another line is read from the published quantiles (`Spread`). Points are
        whole numbers: lines of 20 and 20.5 are both exceeded from 21; 20 is a push on the first.
        """
        return self.beliefs(predicted, line).over

    def confidence_score(self, predicted: Array, line: Array) -> Floats:
        """Confidence (n,) from 0 to 100.

        With a line: the probability, in percent, of the predicted side (a push is neither; for a prediction exactly on
        the line, the more likely side). Without a line: the probability, in percent, that the result is within 5 points
        of the prediction.
        """
        return self.beliefs(predicted, line).confidence

    def beliefs(self, predicted: Array, line: Array, published: Floats | None = None) -> Beliefs:
        """What is stated about results (n,), given predictions (n,) and lines (n,), NaN for no line.

        Args:
            published: the points (n,) that the intervals are around, as published; None for those of `beside_line`.
        """
        own, lines = np.asarray(predicted, dtype=np.float64), np.asarray(line, dtype=np.float64)
        given = self.beside_line(own, lines)
        points = given if published is None else published
        spread = self._spread(points)
        # Without lines both are around the prediction itself.
        judged = spread if self._from_published or np.array_equal(points, given) else self._spread(given)
        bare = np.isnan(lines)
        top = np.where(bare, np.floor(own + NEAR), np.floor(lines))
        bottom = np.where(bare, np.ceil(own - NEAR), np.ceil(lines)) - 1
        at_top, at_bottom = self._at_most(judged, np.array([top, bottom]).T).T
        over, under, between = 1 - at_top, at_bottom, at_top - at_bottom
        side = np.where(own > lines, over, np.where(own < lines, under, np.maximum(over, under)))
        return Beliefs(
            interval=self._around(points, spread, HIGH - LOW),
            wide_interval=self._around(points, spread, WIDE),
            quantiles=spread.quantiles if self._from_published else self._published(spread),
            over=np.where(bare, np.nan, over),
            push=np.where(bare, np.nan, between),
            confidence=100 * np.where(bare, between, side),
        )

    @property
    def _from_published(self) -> bool:
        """Whether probabilities are read from the published quantiles."""
        return False

    def _spread(self, points: Floats) -> Spread:
        """The distributions of the points scored around predictions (n,)."""
        table = self._table
        index = np.searchsorted(table.knots, points, side="right") - 1
        index = np.minimum(np.maximum(index, 0), len(table.knots) - 1)
        within = np.minimum(np.maximum(points, table.knots[0]), table.knots[-1])
        shape = table.slopes[index] * (within - table.knots[index])[:, None] + table.shapes[index]
        return Spread(table.levels, points[:, None] + shape * _scale_at(points, self.scale)[:, None])

    def _published(self, spread: Spread) -> Floats:
        """The published quantiles (n, 19)."""
        left, share = self._table.published
        quantiles = (1 - share) * spread.quantiles[:, left] + share * spread.quantiles[:, left + 1]
        return np.asarray(np.maximum(quantiles, 0.0).round(2))

    def _at_most(self, spread: Spread, whole: Floats) -> Floats:
        """P(points <= whole) (n, m) for whole numbers (n, m)."""
        return np.where(whole < 0, 0.0, interpolated(spread.levels, spread.quantiles, whole + 0.5))

    def _around(self, points: Floats, spread: Spread, share: float) -> tuple[Floats, Floats]:
        """The ends (n,) of an interval around points (n,)."""
        low, high = spread.quantile((1 - share) / 2), spread.quantile((1 + share) / 2)
        return np.minimum(np.maximum(low, 0.0), points), np.maximum(high, points)

    @cached_property
    def _table(self) -> _Table:
        levels, knots, shapes = np.array(self.levels), np.array(self.knots), np.array(self.shapes)
        slopes = np.zeros_like(shapes)  # beyond the outermost knots the shape is constant
        slopes[:-1] = np.diff(shapes, axis=0) / np.diff(knots)[:, None]
        at = np.interp(PUBLISHED_LEVELS, levels, np.arange(len(levels)))
        left = np.minimum(np.round(at, 9).astype(np.intp), len(levels) - 2)
        return _Table(levels, knots, shapes, slopes, (left, np.round(at - left, 9)))


class PointsDistribution(Calibration):
    """A calibration that knows that many players score nothing.

    It has the form of a calibration, and is fitted and read in another way: the results of 0 points that a shape is
    learnt from are at the distance of its own knot from 0, so that a player near the knot has 0 points as often as
    they did; and everything is read from the published quantiles, so that whoever has a published prediction can
    compute the same probability for any other line.
    """

    @property
    def _from_published(self) -> bool:
        return True

    def _spread(self, points: Floats) -> Spread:
        return Spread.published(self._published(super()._spread(points)))

    def _at_most(self, spread: Spread, whole: Floats) -> Floats:
        return spread.at_most(whole)

    def _around(self, points: Floats, spread: Spread, share: float) -> tuple[Floats, Floats]:
        low, high = spread.interval(share)
        return np.minimum(low, points), np.maximum(high, points)


def calibrate(predicted: Array, actual: Array, line: Array | None = None) -> Calibration:
    """Calibrate the spread of results (n,) around predictions (n,) on rows that the model was not fitted on.

    Args:
        predicted, actual: (n,), points.
        line: (n,), points, NaN for no line; None if there are no lines. Used only for `line_trust`.

    Raises:
        CalibrationError: there are no rows, or a value is not finite.
    """
    return Calibration(**_fitted(predicted, actual, line, zeros_apart=False))


def fit_distribution(predicted: Array, actual: Array, line: Array | None = None) -> PointsDistribution:
    """As `calibrate`, the distribution that is published."""
    return PointsDistribution(**_fitted(predicted, actual, line, zeros_apart=True))


def _fitted(predicted: Array, actual: Array, line: Array | None, *, zeros_apart: bool) -> dict[str, Any]:
    points, results = np.asarray(predicted, dtype=np.float64), np.asarray(actual, dtype=np.float64)
    if not len(points) or not (np.isfinite(points).all() and np.isfinite(results).all()):
        unusable = int((~np.isfinite(points) | ~np.isfinite(results)).sum())
        raise CalibrationError(
            f"An interval needs held-out rows with finite predictions and results: got {len(points):,} rows, "
            f"{unusable:,} of them not finite. Use the early-stopping side of a split with samples."
        )
    residual = results - points
    fitted = np.linalg.lstsq(_scale_design(points), np.abs(residual))[0]
    scale = (round(float(fitted[0]), 6), round(float(fitted[1]), 6))
    standard = residual / _scale_at(points, scale)
    groups = _groups(points)
    knots = [round(float(points[group].mean()), 6) for group in groups]
    if zeros_apart:
        for group, knot in zip(groups, knots, strict=True):
            standard[group] = _seen_from(knot, standard[group], results[group], scale)
    lines = np.full_like(points, np.nan) if line is None else np.asarray(line, dtype=np.float64)
    known = ~np.isnan(lines)
    return {
        "rows": len(points),
        "scale": scale,
        "levels": LEVELS,
        "knots": tuple(knots),
        "shapes": tuple(_conformal_quantiles(standard[group]) for group in groups),
        "line_trust": _line_trust(points[known], results[known], lines[known]),
        "line_rows": int(known.sum()),
    }


def _seen_from(knot: float, standard: Floats, results: Floats, scale: tuple[float, float]) -> Floats:
    """Standardised residuals (n,) of a knot's rows, with 0 points where the knot has them.

    Moved to the knot with its prediction, a result of 0 would be below or above 0; and one above 0 may be moved no
    lower than what is read as 1 point.
    """
    size = float(_scale_at(np.array([knot]), scale)[0])
    return np.where(results == 0, -knot / size, np.maximum(standard, (JUST_SCORED - knot) / size))


def _line_trust(points: Floats, results: Floats, lines: Floats) -> float:
    """Slope of result minus line on prediction minus line, shrunk towards 0 by DOUBT_ROWS, within 0 to 1.

    Towards 0, because the market is hard to beat: on rows with lines, the line's error is below the model's.
    """
    if not len(lines):
        return 0.0
    disagreement = points - lines
    centred = disagreement - disagreement.mean()
    if np.abs(centred).max() < SMALLEST_DISAGREEMENT:
        return 0.0
    slope = float(centred @ (results - lines) / (centred @ centred))
    return round(min(max(slope * len(lines) / (len(lines) + DOUBT_ROWS), 0.0), 1.0), 4)


def _conformal_quantiles(values: Floats) -> tuple[float, ...]:
    """Quantiles at LEVELS by Weibull's plotting positions, i / (n + 1): the finite-sample correction of conformal
    prediction (Vovk, Gammerman and Shafer, Algorithmic Learning in a Random World, ch. 2)."""
    return tuple(round(float(value), 4) for value in np.quantile(values, LEVELS, method="weibull"))


def _scale_design(points: Floats) -> Floats:
    design = np.ones((len(points), 2))
    design[:, 1] = np.sqrt(np.maximum(points, 0.0))
    return design


def _scale_at(points: Floats, scale: tuple[float, float]) -> Floats:
    """The scale (n,), in points, of the residual around predictions (n,)."""
    return np.asarray(np.maximum(_scale_design(points) @ np.array(scale), SMALLEST_SCALE))


def _groups(points: Floats) -> list[npt.NDArray[np.intp]]:
    """Indices of the rows by rising prediction, in groups of about equal size; equal predictions stay together."""
    order = np.argsort(points)
    ranked, count = points[order], max(1, min(MOST_KNOTS, len(points) // ROWS_PER_KNOT))
    size = len(points) / count
    cuts = [0]
    for i in range(1, count):
        cut = int(np.searchsorted(ranked, ranked[round(i * size)]))
        if cut - cuts[-1] >= size / 2:  # what follows the cut is a share or more: it lies at or before its place
            cuts.append(cut)
    return np.split(order, cuts[1:])


class Coverage(BaseModel):
    """Shares of `n` results inside, below and above the interval that should contain the share `nominal`."""

    model_config = _FROZEN

    n: int
    nominal: float
    inside: float
    below: float
    above: float

    @classmethod
    def of(cls, below: npt.NDArray[np.bool_], above: npt.NDArray[np.bool_], nominal: float = HIGH - LOW) -> Coverage:
        """Build it from masks (n,) of the results below and above the interval."""
        under, over = float(below.mean()), float(above.mean())
        return cls(
            n=len(below),
            nominal=nominal,
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
        CalibrationError: there are no rows.
    """
    if not len(predicted):
        raise CalibrationError("Coverage needs at least one row with a result: got none. Grade a month with games.")
    below, above = np.empty(len(predicted), dtype=bool), np.empty(len(predicted), dtype=bool)
    for rows in row_chunks(len(predicted)):
        low, high = calibration.interval(predicted[rows])
        below[rows], above[rows] = actual[rows] < low, actual[rows] > high
    tiers = tier_of(season_average)
    return CoverageReport(
        overall=Coverage.of(below, above),
        tiers={name: Coverage.of(below[tiers == name], above[tiers == name]) for name in TIER_NAMES if name in tiers},
    )
