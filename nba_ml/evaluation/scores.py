"""Scores of stated probabilities against what happened.

Proper scores, calibration, and differences with intervals clustered by game. Knows nothing of lines or markets.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from nba_ml.model.metrics import Z_95, rounded

BINS = 10
"""Groups of equal size by which the calibration error is measured."""

FEWEST_GAMES = 30
"""With fewer clusters the interval, which is that of a normal distribution, would be too narrow."""

CERTAIN = 0.00005
"""Half of the last digit of a stored probability. No probability counts as more certain than that, since the log loss
of a wrong 0 or 1 is infinite."""

_STEPS = 50
_CONVERGED = 1e-10
_LARGEST_STEP = 20.0
"""In log odds. A fit that leaves this range has separated the outcomes: there is no finite slope."""

Floats = npt.NDArray[np.float64]
Truth = npt.NDArray[np.bool_]
Clusters = npt.NDArray[np.generic]

_FROZEN = ConfigDict(frozen=True, extra="forbid")


class Estimate(BaseModel):
    """A mean with its 95% interval, clustered by game; without one for fewer than 30 games."""

    model_config = _FROZEN

    value: float
    low: float | None = None
    high: float | None = None


class Scores(BaseModel):
    """How good `n` stated probabilities were.

    `slope` and `intercept` are those of the logistic regression of what happened on the log odds that were stated
    (Cox, Two further applications of a model for binary regression, Biometrika 45 (1958)): 1 and 0 are ideal, a slope
    under 1 means probabilities that are too far from a half. None if all probabilities are equal, or if they separate
    the outcomes.
    """

    model_config = _FROZEN

    n: int
    brier: float = Field(description="mean squared difference; a coin has 0.25")
    log_loss: float = Field(description="mean negative log likelihood, in nats; a coin has 0.693")
    slope: float | None
    intercept: float | None
    calibration_error: float = Field(description="mean distance of stated from observed shares, over ten equal groups")


def score(stated: Floats, happened: Truth) -> Scores:
    """Score probabilities (n,) of what `happened` (n,). Raises ValueError if n is 0."""
    if not len(stated):
        raise ValueError("no probabilities to score")
    fitted = recalibration(stated, happened)
    slope, intercept = (None, None) if fitted is None else (round(fitted[0], 4), round(fitted[1], 4))
    return Scores(
        n=len(stated),
        brier=rounded(squared_errors(stated, happened).mean()),
        log_loss=rounded(log_losses(stated, happened).mean()),
        slope=slope,
        intercept=intercept,
        calibration_error=rounded(calibration_error(stated, happened)),
    )


def squared_errors(stated: Floats, happened: Truth) -> Floats:
    """Each row's part (n,) of the Brier score."""
    return np.asarray(np.square(stated - happened))


def log_losses(stated: Floats, happened: Truth) -> Floats:
    """Each row's part (n,) of the log loss, in nats."""
    inside = np.clip(stated, CERTAIN, 1 - CERTAIN)
    return np.asarray(-np.log(np.where(happened, inside, 1 - inside)))


def recalibration(stated: Floats, happened: Truth) -> tuple[float, float] | None:
    """Slope and intercept of the logistic regression of `happened` (n,) on the log odds stated (n,).

    By Newton's method. None where there is no unique finite solution.
    """
    inside = np.clip(stated, CERTAIN, 1 - CERTAIN)
    design = np.stack([np.log(inside / (1 - inside)), np.ones_like(inside)], axis=1)
    if np.ptp(design[:, 0]) == 0 or happened.all() or not happened.any():
        return None
    weights = np.array([0.0, 0.0])
    for _ in range(_STEPS):
        fitted = 1 / (1 + np.exp(-design @ weights))
        curvature = (design * (fitted * (1 - fitted))[:, None]).T @ design
        if np.linalg.cond(curvature) > 1 / _CONVERGED:
            return None
        step = np.linalg.solve(curvature, design.T @ (happened - fitted))
        weights += step
        if np.abs(design @ weights).max() > _LARGEST_STEP * (1 + np.abs(design[:, 0]).max()):
            return None
        if np.abs(step).max() < _CONVERGED:
            return float(weights[0]), float(weights[1])
    return None


def calibration_error(stated: Floats, happened: Truth) -> float:
    """Expected calibration error: |mean stated - share that happened| over ten groups of equal size, by rows.

    Groups of equal size, because most probabilities of a line lie near a half and would share one of equal width. Equal
    probabilities stay together.
    """
    edges = np.unique(np.quantile(stated, np.linspace(0, 1, BINS + 1)[1:-1]))
    group = np.searchsorted(edges, stated)
    sums = [np.bincount(group, weights=values) for values in (stated, happened.astype(np.float64))]
    return float(np.abs(sums[0] - sums[1]).sum() / len(stated))


def mean_by_game(values: Floats, games: Clusters) -> Estimate:
    """Mean of values (n,) with its 95% interval, whose clusters are the `games` (n,).

    The players of a game share its pace and its news, so their rows are not independent. The variance is that of the
    sums of deviations by game (Liang and Zeger, Biometrika 73 (1986)), with the usual correction for few of them.
    """
    mean = float(values.mean())
    _, index = np.unique(games, return_inverse=True)
    sums = np.bincount(index, weights=values - mean)
    if len(sums) < FEWEST_GAMES:
        return Estimate(value=rounded(mean))
    half = Z_95 * float(np.sqrt(np.square(sums).sum() * len(sums) / (len(sums) - 1))) / len(values)
    return Estimate(value=rounded(mean), low=rounded(mean - half), high=rounded(mean + half))
