"""The baselines that a model has to beat, measured on the same rows.

Three averages of points, and the mock that the platform used in production before it had a model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from nba_ml.contract.features import FeatureVersion
from nba_ml.model.chunks import row_chunks

Array = npt.NDArray[np.floating]
Columns = Mapping[str, npt.NDArray[np.float64]]


def mock(columns: Columns) -> npt.NDArray[np.float64]:
    """The platform's mock, without its normal noise of 0.3; NaN before a player's first game.

    Weighted averages plus rules of thumb. A rule whose feature is missing adds nothing. The usage
    rate that scales the pace term is not a feature, so the term uses its typical value of 0.08.
    """
    fatigue, mismatch, spike = (columns[n] for n in ("fatigue_score", "shot_zone_mismatch_score", "usage_spike_score"))
    rating, minutes = columns["opponent_def_rating"], columns["minutes_avg_last_10"]
    paint, three = 100 * columns["pct_paint"], 100 * columns["pct_three"]
    base = (
        0.35 * columns["points_avg_last_5"] + 0.40 * columns["points_avg_last_10"] + 0.25 * columns["points_avg_season"]
    )
    tired = np.select(
        [fatigue < 40, fatigue < 55, fatigue < 70, fatigue < 80, fatigue > 90], [-3.0, -2.0, -1.2, -0.5, 0.8]
    )
    defence = np.select(
        [rating < 106, rating < 110, rating < 113, rating > 120, rating > 116], [-2.0, -1.2, -0.5, 1.5, 0.8]
    )
    played = np.select([minutes > 36, minutes >= 30, minutes < 25], [0.8, 0.4, -1.2])
    profile = np.select(
        [(paint > 40) & (rating > 110), (three > 40) & (rating < 110)],
        [np.minimum((paint - 40) / 10 * (rating - 110) / 5 * 0.4, 1.5), -0.5],
    )
    points = (
        base
        + tired
        + 0.35 * np.nan_to_num(mismatch)
        + 0.08 * np.nan_to_num(columns["pace_score"])
        + np.nan_to_num(spike * np.where(np.abs(spike) > 5, 0.45, 0.30))
        + defence
        - 2.5 * (columns["back_to_back"] == 1)
        + np.where(columns["home_away"] == 1, 1.3, -0.6)
        + played
        + profile
    )
    return np.asarray(np.clip(points, 0, 60), dtype=np.float64)


BASELINES: Mapping[str, Callable[[Columns], npt.NDArray[np.float64]]] = {
    "season_average": lambda columns: columns["points_avg_season"],
    "last_10_average": lambda columns: columns["points_avg_last_10"],
    "last_5_average": lambda columns: columns["points_avg_last_5"],
    "mock": mock,
}
"""Baseline name -> predicted points (n,), NaN where it cannot predict."""


def predict_baselines(features: Array, version: FeatureVersion) -> dict[str, npt.NDArray[np.float64]]:
    """Each baseline's predictions (n,) for feature vectors (n, features)."""
    parts = []
    for rows in row_chunks(len(features)):
        columns = {name: features[rows, i].astype(np.float64) for i, name in enumerate(version.names)}
        parts.append({name: rule(columns) for name, rule in BASELINES.items()})
    return {name: np.concatenate([part[name] for part in parts]) for name in BASELINES}
