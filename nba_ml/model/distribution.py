"""How right the published distributions are: coverage of both intervals, and two measures of the whole."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from nba_ml.model.calibration import HIGH, LOW, WIDE, Array, Calibration, Coverage
from nba_ml.model.chunks import row_chunks
from nba_ml.model.spread import Spread
from nba_ml.model.tiers import TIER_NAMES, tier_of

Floats = npt.NDArray[np.float64]

_FROZEN = ConfigDict(frozen=True, extra="forbid")


class DistributionScores(BaseModel):
    """Of `n` results. `crps` is in points, lower is better; that of a prediction without a spread is its MAE.

    `pit_mean` and `pit_variance` are those of the probability integral transform: 0.5 and 0.0833 (1/12) if the stated
    probabilities are right. A higher variance means that the distributions are too narrow, a lower one too wide.
    """

    model_config = _FROZEN

    n: int
    crps: float
    pit_mean: float
    pit_variance: float
    coverage_80: Coverage
    coverage_90: Coverage


class DistributionReport(BaseModel):
    """Scores over all rows, and per tier of season average (only tiers with rows, lowest first)."""

    model_config = _FROZEN

    overall: DistributionScores
    tiers: dict[str, DistributionScores] = Field(description="by tier of season average, lowest first")


def score_rows(points: Floats, narrow: Floats, wide: Floats, crps: Floats, pit: Floats) -> DistributionScores:
    """Scores of results (n,).

    Args:
        narrow, wide: ends of the 80% and the 90% interval (n, 2).
        crps: (n,), in points.
        pit: the probabilities of fewer points and of at most as many (n, 2). The transform is uniform between the two.
    """
    low, high = pit.T
    mean = float((low + high).mean()) / 2
    square = float((low * low + low * high + high * high).mean()) / 3
    return DistributionScores(
        n=len(points),
        crps=round(float(crps.mean()), 6),
        pit_mean=round(mean, 6),
        pit_variance=round(square - mean * mean, 6),
        coverage_80=Coverage.of(points < narrow[:, 0], points > narrow[:, 1], HIGH - LOW),
        coverage_90=Coverage.of(points < wide[:, 0], points > wide[:, 1], WIDE),
    )


def measure_distribution(
    calibration: Calibration, predicted: Array, actual: Array, season_average: Array
) -> DistributionReport:
    """Scores on rows that the distributions were not fitted on, as published without a line.

    Args:
        predicted, actual, season_average: (n,), points; a season average may be NaN. At least one row.
    """
    points: Floats = np.asarray(actual, dtype=np.float64)
    chunks = [_row_scores(calibration, predicted[rows], points[rows]) for rows in row_chunks(len(points))]
    parts = (points, *(np.concatenate(each) for each in zip(*chunks, strict=True)))
    tiers = tier_of(season_average)
    return DistributionReport(
        overall=score_rows(*parts),
        tiers={name: score_rows(*(part[tiers == name] for part in parts)) for name in TIER_NAMES if name in tiers},
    )


def _row_scores(calibration: Calibration, predicted: Array, points: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    """What `score_rows` takes beside the results: ends of both intervals (n, 2), crps (n,) and pit (n, 2)."""
    stated = calibration.beliefs(predicted, np.full(len(points), np.nan))
    spread = Spread.published(stated.quantiles)
    narrow, wide = np.stack(stated.interval, axis=1), np.stack(stated.wide_interval, axis=1)
    return narrow, wide, spread.crps(points), spread.pit(points)
