"""XGBoost's C interface against its Python method, which is the reference."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt
import pytest
import xgboost as xgb

from nba_ml.serving.few_rows import FewRows

FEATURES = 5
Matrix = npt.NDArray[np.float32]


def rows(count: int, seed: int = 0) -> Matrix:
    """Some of the values missing."""
    draws = np.random.default_rng(seed)
    values = draws.normal(10, 5, (count, FEATURES))
    values[draws.random(values.shape) < 0.2] = np.nan
    return values.astype(np.float32)


@pytest.fixture(scope="module")
def booster() -> xgb.Booster:
    known = rows(400)
    matrix = xgb.DMatrix(known, label=np.nansum(known, axis=1))
    return xgb.train({"max_depth": 3, "nthread": 1, "objective": "reg:absoluteerror"}, matrix, 20)


@pytest.mark.parametrize("count", [1, 2, 450])
def test_the_output_is_that_of_the_python_method_to_the_bit(booster: xgb.Booster, count: int) -> None:
    """Guards against a model that answers otherwise than the one that was measured: missing values taken for 0, say."""
    given = rows(count, seed=1)
    found = FewRows(booster)(given)
    assert found.tobytes() == booster.inplace_predict(given, missing=np.nan).tobytes()


def test_an_output_stays_when_others_follow(booster: xgb.Booster) -> None:
    """Guards against an output that is XGBoost's own memory, which the next prediction of the thread overwrites."""
    predict = FewRows(booster)
    first, second = rows(3, seed=2), rows(3, seed=3)
    found = predict(first)
    predict(second)
    assert found.tolist() == booster.inplace_predict(first, missing=np.nan).tolist()


def test_threads_get_the_output_of_their_own_rows(booster: xgb.Booster) -> None:
    """Guards against requests in two threads of which one gets the other's prediction."""
    predict = FewRows(booster)
    given = [rows(1 + seed % 3, seed) for seed in range(200)]
    with ThreadPoolExecutor(4) as threads:
        found = [*threads.map(predict, given)]
    for mine, ours in zip(given, found, strict=True):
        assert ours.tolist() == booster.inplace_predict(mine, missing=np.nan).tolist()


def test_rows_of_another_width_are_refused(booster: xgb.Booster) -> None:
    """Guards against a C function that reads beyond a row's end, or fails without saying so."""
    with pytest.raises(ValueError, match="expected: 5, got 4"):
        FewRows(booster)(np.zeros((1, 4), np.float32))
