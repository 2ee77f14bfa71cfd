"""Predict given rows with a booster's bytes, in this process or in a new one.

Training records the model's predictions for some reference rows. Before a model is used on another machine, a new
process predicts the same rows: the predictions must be exactly equal. A new process also protects the caller from a
booster that crashes the parser.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from nba_ml.contract.errors import BundleError
from nba_ml.contract.features import FEATURE_VERSIONS, FeatureVersion
from nba_ml.registry.booster_structure import StructureError, inspect_booster

if TYPE_CHECKING:
    import xgboost as xgb

Row = Sequence[float | None]
"""One feature vector in the order of the contract; None is missing."""

_FLOAT32_MAX = float(np.finfo(np.float32).max)


def predict_rows(
    booster: bytes, rows: Sequence[Row], version: FeatureVersion, threads: int | None = None
) -> list[float]:
    """Predict points for feature vectors, as exact float32 values.

    Args:
        booster: XGBoost's JSON or UBJ.
        rows: n vectors of numbers, None for missing, in the version's order and units.
        threads: used to predict; None for all cores. Affects only the speed.

    Returns:
        n predictions, in points. A row's prediction does not depend on the other rows.

    Raises:
        BundleError: as `load_booster`; or a row is not a vector of finite numbers, or a prediction is not finite.
    """
    values = _matrix(rows, version)
    return _predict(load_booster(booster, version, threads), values)


def predict_request(booster: bytes, rows: Sequence[Row], feature_version: str) -> list[float]:
    """`predict_rows` as `fresh_process` calls it."""
    return predict_rows(booster, rows, FEATURE_VERSIONS[feature_version], 1)


def predict_loaded(model: xgb.Booster, rows: Sequence[Row], version: FeatureVersion) -> list[float]:
    """As `predict_rows`, with a booster from `load_booster`.

    Raises:
        BundleError: a row is not a vector of finite numbers, or a prediction is not finite.
    """
    return _predict(model, _matrix(rows, version))


def load_booster(
    booster: bytes, version: FeatureVersion, threads: int | None = None, *, inspected: bool = False
) -> xgb.Booster:
    """Check the structure of a booster, then load it.

    Args:
        booster: XGBoost's JSON or UBJ.
        threads: used to predict; None for all cores. Affects only the speed.
        inspected: the structure of these very bytes was checked already, in a new process.

    Raises:
        BundleError: its structure cannot be trusted, XGBoost cannot load it, or its features are not the version's.
    """
    import xgboost as xgb

    if not booster.startswith(b"{"):
        raise BundleError(f"The model is neither XGBoost's JSON nor UBJ: it begins with {booster[:4]!r}.")
    try:
        if not inspected:
            inspect_booster(booster)
        model = xgb.Booster(params={"nthread": threads or 0}, model_file=bytearray(booster))
        names = model.feature_names
    # XGBoost returns damaged text inside a model unchanged, and Python cannot decode it.
    except (StructureError, xgb.core.XGBoostError, UnicodeDecodeError) as error:
        raise BundleError(f"XGBoost {xgb.__version__} cannot load the model: {_first_line(error)}") from error
    _require_contract(names, version)
    return model


def _predict(model: xgb.Booster, values: npt.NDArray[np.float32]) -> list[float]:
    import xgboost as xgb

    if not len(values):
        return []
    try:
        predicted = model.inplace_predict(values, missing=np.nan)
    except (xgb.core.XGBoostError, UnicodeDecodeError) as error:
        raise BundleError(f"XGBoost {xgb.__version__} cannot predict with the model: {_first_line(error)}") from error
    if not np.isfinite(predicted).all():
        raise BundleError(f"The model predicts {predicted[~np.isfinite(predicted)][0]} points. It must not serve.")
    return [float(value) for value in predicted]


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _matrix(rows: Sequence[Row], version: FeatureVersion) -> npt.NDArray[np.float32]:
    """float32 (n, features), missing as NaN."""
    expected = version.count
    for index, row in enumerate(rows):
        if len(row) != expected:
            raise BundleError(f"Row {index} has {len(row)} features; {version.name} has {expected}.")
        for name, value in zip(version.names, row, strict=True):
            # Missing is None, never NaN; a value too large for float32 would become infinity.
            if value is not None and not _is_float32(value):
                raise BundleError(f"Row {index} has {value!r} for {name}; a finite number or null is expected.")
    numbers = [[math.nan if value is None else value for value in row] for row in rows]
    return np.asarray(numbers, dtype=np.float32).reshape(len(rows), expected)


def _is_float32(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= _FLOAT32_MAX


def _require_contract(names: Sequence[str] | None, version: FeatureVersion) -> None:
    """The booster's own feature names must be the contract's: vectors in another order would give wrong predictions."""
    expected = list(version.names)
    found = list(names or [])
    if found != expected:
        pairs = enumerate(zip_longest(found, expected, fillvalue="nothing"))
        position, (name, right) = next((position, pair) for position, pair in pairs if pair[0] != pair[1])
        raise BundleError(
            f"The model's features are not those of {version.name}: it has {len(found)}, and at position "
            f"{position} {name} where {right} is expected."
        )
