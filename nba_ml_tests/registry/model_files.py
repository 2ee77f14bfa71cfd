"""Model files as the platform trains them: 33 names, missing values imputed, a few rounds on real rows."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from nba_ml.contract.features import V2_33FEATURES
from nba_ml.registry.learners.missing import NAN, PLATFORM_2026_01, MissingPolicy
from nba_ml.registry.systems.interface import columns_of, matrix_of
from nba_ml_tests.conftest import snapshot_of

NAMES = list(V2_33FEATURES.names)
FORMATS = ("cbm", "json", "ubj", "txt")
"""One for each learner, and both of XGBoost's."""

SYSTEMS = {
    "cbm": "catboost_v8",
    "json": "xgboost_registered",
    "ubj": "xgboost_registered",
    "txt": "lightgbm_registered",
}


def vectors_of(rows: pa.Table, policy: MissingPolicy = NAN) -> npt.NDArray[np.float32]:
    """The feature vectors of rows, filled by a policy."""
    return policy.fill(matrix_of(columns_of(rows, V2_33FEATURES), V2_33FEATURES), V2_33FEATURES)


def trained(
    suffix: str,
    vectors: npt.NDArray[np.float32],
    target: npt.NDArray[np.float64],
    names: list[str] | None = NAMES,
    rounds: int = 50,
) -> Any:
    """A model of the learner that has this suffix. `names` None trains on an array without names."""
    if suffix == "cbm":
        from catboost import CatBoostRegressor, Pool

        model = CatBoostRegressor(
            loss_function="MAE", iterations=rounds, learning_rate=0.15, depth=4, random_seed=42, thread_count=1,
            allow_writing_files=False, verbose=False,
        )  # fmt: skip
        return model.fit(Pool(vectors, target, feature_names=names))
    if suffix == "txt":
        import lightgbm

        data = lightgbm.Dataset(vectors, target, feature_name=names or "auto")
        options = {"objective": "mae", "learning_rate": 0.15, "num_leaves": 15, "num_threads": 1, "verbose": -1}
        return lightgbm.train(options, data, rounds)
    import xgboost

    matrix = xgboost.DMatrix(vectors, target, feature_names=names, nthread=1)
    return xgboost.train({"objective": "reg:absoluteerror", "eta": 0.15, "max_depth": 4, "nthread": 1}, matrix, rounds)


def saved(model: Any, suffix: str) -> bytes:
    """The bytes of its file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"model.{suffix}"
        model.save_model(str(path), **({"format": "cbm"} if suffix == "cbm" else {}))
        return path.read_bytes()


@cache
def december() -> pa.Table:
    """The rows that the files are trained on."""
    return pa.concat_tables([snapshot_of("2021-11").table, snapshot_of("2021-12").table])


@cache
def model_file(suffix: str, kind: str = "imputed") -> bytes:
    """A model of November and December.

    `kind`: 'imputed' as the platform does, 'nan' with missing values as we have them, 'unnamed' on an imputed array,
    'minutes' and 'constant' predict something else than points.
    """
    rows = december()
    target = rows.column("minutes_played" if kind == "minutes" else "points").to_numpy().astype(np.float64)
    vectors = vectors_of(rows, NAN if kind == "nan" else PLATFORM_2026_01)
    if kind == "constant":
        target = np.where(np.arange(len(target)) % 2, 9.0, 9.01)
    return saved(trained(suffix, vectors, target, None if kind == "unnamed" else NAMES), suffix)
