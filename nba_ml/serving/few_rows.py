"""A booster's prediction of a few rows by XGBoost's C interface, whose Python method takes as long again for one row.

What a row costs there: a JSON document for the arguments, a class for the result, and questions about other types of
tables. The interface and the answer are the same.
"""

from __future__ import annotations

import ctypes
import json

import numpy as np
import numpy.typing as npt
import xgboost as xgb
from xgboost.libpath import find_lib_path

Matrix = npt.NDArray[np.float32]

_ARGUMENTS = json.dumps(
    {
        "type": 0,
        "training": False,
        "iteration_begin": 0,
        "iteration_end": 0,
        "missing": float("nan"),
        "strict_shape": False,
        "cache_id": 0,
    }
).encode()
"""Those of `Booster.inplace_predict`: the prediction by all trees, NaN for missing."""


class FewRows:
    """Predicts with a loaded booster, in any number of threads at once."""

    def __init__(self, booster: xgb.Booster) -> None:
        self._booster = booster
        # The library is loaded already: this is another name for it.
        self._predict = ctypes.CDLL(find_lib_path()[0]).XGBoosterPredictFromDense
        self._predict.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_char_p, *[ctypes.c_void_p] * 4]
        self._handle = booster.handle

    def __call__(self, matrix: Matrix) -> Matrix:
        """The output (n,) for features (n, features), in the version's order.

        Raises:
            XGBoostError: XGBoost refuses the matrix.
        """
        rows, columns = matrix.shape
        described = b'{"data":[%d,true],"typestr":"<f4","version":3,"strides":null,"shape":[%d,%d]}' % (
            matrix.ctypes.data,
            rows,
            columns,
        )
        shape, dimensions = ctypes.POINTER(ctypes.c_uint64)(), ctypes.c_uint64()
        found = ctypes.POINTER(ctypes.c_float)()
        outputs = (ctypes.byref(each) for each in (shape, dimensions, found))
        if self._predict(self._handle, described, _ARGUMENTS, None, *outputs):
            return np.asarray(self._booster.inplace_predict(matrix, missing=np.nan))  # raises it in words
        # A copy: XGBoost uses the memory again for the thread's next prediction.
        return np.frombuffer(ctypes.string_at(found, 4 * rows), np.float32)
