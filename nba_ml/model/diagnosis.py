"""Where a model is right and where it is not: the numbers behind the pictures of the model card and the report.

Residuals and interval by prediction, the over probability against what happened, and the largest misses.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict, Field

from nba_ml.contract.features import FeatureVersion
from nba_ml.model import baselines
from nba_ml.model.calibration import Calibration
from nba_ml.model.chunks import row_chunks
from nba_ml.model.fitting import Samples
from nba_ml.model.metrics import Array
from nba_ml.model.published import published_columns
from nba_ml.model.tiers import TIER_NAMES, tier_of

if TYPE_CHECKING:
    import xgboost as xgb

BANDS = (0.0, 5.0, 10.0, 15.0, 20.0, 25.0)
"""Lower bounds, in points, of the groups of predictions; the last has no upper bound."""

OVER_BANDS = (0.0, 0.4, 0.45, 0.5, 0.55, 0.6)
"""Lower bounds of the groups of over probabilities; the last ends at 1. Most lie near a half."""

MISSES = 10
"""Number of the largest misses."""

EXPLAINED_ROWS = 100
"""Most validation rows whose contributions are computed: TreeSHAP takes about 6 ms a row. On the newest shipped month,
100 rows and 1,000 rows give the same order of the first four features, and values within about 14%."""

_PUBLISHED = ("predicted_points", "points_low", "points_high", "over_probability", "current_points_line")
"""Columns of `published_columns` that are diagnosed."""

_FROZEN = ConfigDict(frozen=True, extra="forbid")


class Band(BaseModel):
    """The `n` rows whose prediction is at least `low` and below the next band. Points, except `n` and `inside`.

    A residual is result minus prediction. `inside` counts the results within the 80% interval.
    """

    model_config = _FROZEN

    low: float
    n: int
    predicted: float = Field(description="mean prediction")
    residual: float = Field(description="mean residual")
    residual_low: float = Field(description="10% quantile of the residual")
    residual_median: float
    residual_high: float = Field(description="90% quantile of the residual")
    inside: int


class OverBand(BaseModel):
    """The `n` rows with a line, without pushes, whose over probability is at least `low` and below the next band."""

    model_config = _FROZEN

    low: float
    n: int
    expected: float = Field(description="mean over probability")
    over: int = Field(description="results above the line")


class Miss(BaseModel):
    """A player on a date, with the prediction and the result in points."""

    model_config = _FROZEN

    player_lookup: str
    game_date: str
    predicted: float
    points: float


class Diagnosis(BaseModel):
    """Bands without rows are omitted. `misses`: the largest first."""

    model_config = _FROZEN

    bands: tuple[Band, ...]
    over: tuple[OverBand, ...]
    misses: tuple[Miss, ...]


class ModelDiagnosis(Diagnosis):
    """A model's validation rows. `tier_mae` is tier -> predictor -> MAE in points, on the rows where it has a value.

    `contributions` is feature -> mean absolute contribution to a prediction of the shipped booster, in points, highest
    first (XGBoost's own TreeSHAP).
    """

    tier_mae: dict[str, dict[str, float]]
    contributions: dict[str, float]


def diagnose(table: pa.Table) -> Diagnosis:
    """Diagnose predictions with results.

    Args:
        table: at least the columns player_lookup, game_date, points, and those of `published_columns`.
    """
    columns = (table.column(name).to_numpy().astype(np.float64) for name in (*_PUBLISHED, "points"))
    predicted, low, high, over, line, points = columns
    residual = points - predicted
    inside = (points >= low) & (points <= high)
    went_over = points > line
    judged = np.isfinite(over) & np.isfinite(line) & (points != line)
    return Diagnosis(
        bands=tuple(
            _band(bound, predicted[rows], residual[rows], inside[rows]) for bound, rows in _groups(predicted, BANDS)
        ),
        over=tuple(
            OverBand(
                low=bound,
                n=len(rows),
                expected=_mean(over[judged][rows]),
                over=int(went_over[judged][rows].sum()),
            )
            for bound, rows in _groups(over[judged], OVER_BANDS)
        ),
        misses=_misses(table, predicted, points),
    )


def diagnose_model(
    shipped: xgb.Booster,
    validation: Samples,
    predicted: npt.NDArray[np.float32],
    calibration: Calibration,
    version: FeatureVersion,
) -> ModelDiagnosis:
    """Diagnose the booster fitted on the train side by its raw output (n,) for the validation rows.

    `shipped` is the booster that is published; only the contributions are its own.
    """
    line = validation.features[:, version.index("vegas_points_line")].astype(np.float64)
    chunks = [_published(predicted[rows], line[rows], calibration) for rows in row_chunks(len(line))]
    told = {name: np.concatenate([chunk[name] for chunk in chunks]) for name in _PUBLISHED}
    keys = {name: validation.keys.column(name) for name in ("player_lookup", "game_date")}
    return ModelDiagnosis(
        **dict(diagnose(pa.table({**keys, **told, "points": validation.points}))),
        tier_mae=_tier_mae(validation, predicted, version),
        contributions=contributions(shipped, validation.features, version),
    )


def _published(
    predicted: npt.NDArray[np.float32], line: npt.NDArray[np.float64], calibration: Calibration
) -> dict[str, npt.NDArray[np.generic]]:
    columns = published_columns(predicted, line, calibration)
    return {name: columns[name] for name in _PUBLISHED}


def contributions(booster: xgb.Booster, features: npt.NDArray[np.float32], version: FeatureVersion) -> dict[str, float]:
    """Mean absolute contribution of each feature, in points, over at most EXPLAINED_ROWS evenly spaced rows."""
    import xgboost as xgb

    chosen = np.unique(np.linspace(0, len(features) - 1, EXPLAINED_ROWS).round().astype(int))
    matrix = xgb.DMatrix(features[chosen], feature_names=list(version.names))
    found = np.abs(booster.predict(matrix, pred_contribs=True)[:, :-1]).mean(axis=0, dtype=np.float64)
    shares = {name: round(float(value), 4) for name, value in zip(version.names, found, strict=True)}
    return dict(sorted(shares.items(), key=lambda item: (-item[1], item[0])))


def _groups(values: Array, bounds: tuple[float, ...]) -> list[tuple[float, npt.NDArray[np.intp]]]:
    """The rows of each group that has any, with the group's lower bound. Values below the first bound join it."""
    group = np.maximum(np.digitize(values, bounds) - 1, 0)
    found = [(bound, np.flatnonzero(group == i)) for i, bound in enumerate(bounds)]
    return [(bound, rows) for bound, rows in found if len(rows)]


def _band(bound: float, predicted: Array, residual: Array, inside: npt.NDArray[np.bool_]) -> Band:
    low, median, high = (round(float(value), 4) for value in np.quantile(residual, [0.1, 0.5, 0.9]))
    return Band(
        low=bound,
        n=len(predicted),
        predicted=_mean(predicted),
        residual=_mean(residual),
        residual_low=low,
        residual_median=median,
        residual_high=high,
        inside=int(inside.sum()),
    )


def _mean(values: Array) -> float:
    return round(float(values.mean()), 4)


def _misses(table: pa.Table, predicted: Array, points: Array) -> tuple[Miss, ...]:
    size = np.round(np.abs(points - predicted), 2)
    largest = table.select(["player_lookup", "game_date"]).append_column("size", pa.array(-size))
    order = [("size", "ascending"), ("game_date", "ascending"), ("player_lookup", "ascending")]
    chosen = pc.sort_indices(largest, order).to_numpy()[:MISSES]
    return tuple(
        Miss(
            player_lookup=key["player_lookup"],
            game_date=key["game_date"].isoformat(),
            predicted=round(float(predicted[row]), 2),
            points=float(points[row]),
        )
        for row, key in zip(chosen, largest.take(chosen).to_pylist(), strict=True)
    )


def _tier_mae(
    validation: Samples, predicted: npt.NDArray[np.float32], version: FeatureVersion
) -> dict[str, dict[str, float]]:
    tiers = tier_of(validation.features[:, version.index("points_avg_season")])
    values: Mapping[str, Array] = {"model": predicted, **baselines.predict_baselines(validation.features, version)}
    error = {name: np.abs(each.astype(np.float64) - validation.points) for name, each in values.items()}
    return {
        tier: {
            name: round(float(np.nanmean(size[tiers == tier])), 4)
            for name, size in error.items()
            if not np.isnan(size[tiers == tier]).all()
        }
        for tier in TIER_NAMES
        if tier in tiers
    }
