"""Other learners on the same split, to see how much of the score comes from XGBoost and how much from the data.

Like the model, each challenger is fitted on the train side, may use the early-stopping side to stop or to choose its
strength, and is measured on the validation side. Ridge regression always runs; LightGBM and CatBoost run if the extra
`nba_ml[challengers]` is installed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from nba_ml.contract.digest import json_digest
from nba_ml.contract.errors import MissingExtraError, SplitError
from nba_ml.contract.features import FeatureVersion
from nba_ml.data.split import SplitManifest
from nba_ml.model.comparison import BaselineResult, compare
from nba_ml.model.fitting import Matrix, Samples, predict, rows_to_learn

Floats = npt.NDArray[np.float64]
Predictor = Callable[[Matrix], Floats]
"""Feature vectors (n, features) -> predicted points (n,)."""

EXTRA = "nba_ml[challengers]"

ROUNDS, LEARNING_RATE, EARLY_STOPPING_ROUNDS, SEED = 1000, 0.03, 50, 42
"""The same as the model's, so that learners are compared and not budgets."""

RIDGE_STRENGTHS = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""Penalties per row, on standardised columns."""


class ChallengerReport(BaseModel):
    """The challengers' results on the validation rows, and the challengers whose library is not installed.

    In each result `gain` is the challenger's MAE minus the model's on the same rows: above 0, the model is better.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    results: dict[str, BaselineResult]
    not_installed: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        return json_digest(self.model_dump(mode="json"))


def measure_challengers(
    samples: Samples, split: SplitManifest, booster: bytes, version: FeatureVersion, threads: int | None
) -> ChallengerReport:
    """Fit every installed challenger and compare it with the booster on the validation rows.

    Args:
        samples: the split's rows, from `training.gather`.
        booster: the saved bytes of the booster that was fitted on the train side only.
        threads: affects only the speed; None for all cores.

    Raises:
        SplitError: the split has no samples.
    """
    if split.empty:
        raise SplitError("The split has no samples to fit a challenger on. Backfill earlier months first.")
    train, early_stopping, validation = (samples.between(side.first, side.last) for side in split.sides().values())
    ours = predict(booster, validation.features, threads)
    results: dict[str, BaselineResult] = {}
    missing: list[str] = []
    for name, fit in CHALLENGERS.items():
        try:
            predictor = fit(rows_to_learn(train, version), early_stopping, version, threads)
        except MissingExtraError:
            missing.append(name)
            continue
        compared = compare(predictor(validation.features), ours, validation.points, validation.dates)
        if compared is not None:
            results[name] = compared
    return ChallengerReport(results=results, not_installed=tuple(missing))


def fit_ridge(train: Samples, early_stopping: Samples, _version: FeatureVersion, _threads: int | None) -> Predictor:
    """Ridge regression (Hoerl and Kennard, 1970) in closed form; it predicts the mean, never below 0.

    Columns are standardised on the train side. A missing value takes the train side's median, and a column of
    its own says that it was missing. Of `RIDGE_STRENGTHS` the one with the best MAE on the early-stopping side
    is kept. Version and threads are ignored: NumPy solves one small system.
    """
    columns = _RidgeColumns(train.features)
    design, mean = columns.of(train.features), float(train.points.mean(dtype=np.float64))
    # One eigendecomposition serves every strength.
    values, vectors = np.linalg.eigh(design.T @ design / len(train))
    target = vectors.T @ (design.T @ (train.points - mean) / len(train))
    watched = columns.of(early_stopping.features)

    def solved(strength: float) -> Floats:
        return np.asarray(vectors @ (target / (np.maximum(values, 0.0) + strength)))

    def missed(strength: float) -> float:
        guess = np.maximum(mean + watched @ solved(strength), 0.0)
        return float(np.abs(guess - early_stopping.points).mean())

    weights = solved(min(RIDGE_STRENGTHS, key=missed))
    return lambda features: np.maximum(mean + columns.of(features) @ weights, 0.0)


class _RidgeColumns:
    """Standardised columns with missing values filled in, using the train side's statistics."""

    def __init__(self, features: Matrix) -> None:
        self._has_missing = np.isnan(features).any(axis=0)
        known = ~np.isnan(features).all(axis=0)
        self._medians = np.zeros(features.shape[1])
        self._medians[known] = np.nanmedian(features[:, known].astype(np.float64), axis=0)
        self._mean, self._scale = np.zeros(1), np.ones(1)
        filled = self.of(features)
        spread = filled.std(axis=0)
        # A column that is constant on the train side (the lines, before there were any) gets no weight.
        self._mean, self._scale = filled.mean(axis=0), np.where(spread > 0, spread, np.inf)

    def of(self, features: Matrix) -> Floats:
        missing = np.isnan(features)
        filled = np.where(missing, self._medians, features.astype(np.float64))
        return np.asarray((np.hstack([filled, missing[:, self._has_missing]]) - self._mean) / self._scale)


def fit_lightgbm(train: Samples, early_stopping: Samples, version: FeatureVersion, threads: int | None) -> Predictor:
    """LightGBM with absolute error, stopped on the early-stopping side.

    Raises:
        MissingExtraError: LightGBM is not installed.
    """
    lightgbm = _library("lightgbm")
    names = list(version.names)
    rows = lightgbm.Dataset(train.features, label=train.points, feature_name=names, params={"verbosity": -1})
    watched = lightgbm.Dataset(early_stopping.features, label=early_stopping.points, feature_name=names, reference=rows)
    parameters = {
        "objective": "regression_l1",
        "metric": "l1",
        "learning_rate": LEARNING_RATE,
        "num_leaves": 63,
        "min_data_in_leaf": 20,
        "feature_fraction": 0.7,
        "bagging_fraction": 0.7,
        "bagging_freq": 1,
        "lambda_l1": 0.5,
        "lambda_l2": 5.0,
        "seed": SEED,
        "deterministic": True,
        "force_row_wise": True,  # LightGBM's documentation recommends it with `deterministic`
        "num_threads": threads or 0,
        "verbosity": -1,
    }
    stop = lightgbm.early_stopping(EARLY_STOPPING_ROUNDS, verbose=False)
    model = lightgbm.train(parameters, rows, num_boost_round=ROUNDS, valid_sets=[watched], callbacks=[stop])
    return lambda features: np.asarray(
        model.predict(features, num_iteration=model.best_iteration, num_threads=threads or 0), dtype=np.float64
    )


def fit_catboost(train: Samples, early_stopping: Samples, version: FeatureVersion, threads: int | None) -> Predictor:
    """CatBoost with absolute error, stopped on the early-stopping side.

    Raises:
        MissingExtraError: CatBoost is not installed.
    """
    catboost = _library("catboost")
    names = list(version.names)
    model = catboost.CatBoostRegressor(
        loss_function="MAE",
        iterations=ROUNDS,
        learning_rate=LEARNING_RATE,
        depth=6,
        l2_leaf_reg=5.0,
        random_seed=SEED,
        od_type="Iter",
        od_wait=EARLY_STOPPING_ROUNDS,
        use_best_model=True,
        thread_count=threads or -1,
        allow_writing_files=False,
        verbose=False,
    )
    pools = [catboost.Pool(side.features, side.points, feature_names=names) for side in (train, early_stopping)]
    model.fit(pools[0], eval_set=pools[1])
    return lambda features: np.asarray(model.predict(features, thread_count=threads or -1), dtype=np.float64)


def _library(name: str) -> Any:
    """Import an optional library. Raises MissingExtraError, which names the extra, if it is not installed."""
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise  # the library is installed but lacks a dependency
        raise MissingExtraError(
            f"The challenger {name} is not installed. It is optional: to use it, run pip install '{EXTRA}'."
        ) from error


Fit = Callable[[Samples, Samples, FeatureVersion, int | None], Predictor]

CHALLENGERS: Mapping[str, Fit] = {"ridge": fit_ridge, "lightgbm": fit_lightgbm, "catboost": fit_catboost}
"""Name -> function that fits it on (train, early stopping, version, threads)."""
