"""Predict with a model file in this process or in a new one, which a forged file may crash without harm."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from nba_ml.contract.errors import BundleError
from nba_ml.registry.fresh_process import predict_in_subprocess
from nba_ml.registry.learners.interface import Floats, ParsedModel, Vectors
from nba_ml.registry.learners.known import learner_of

FILE = "The file given"
"""What a file is called in error messages before it has an id."""


def predict_points(model: ParsedModel, vectors: Vectors, what: str) -> Floats:
    """Points (n,) for filled vectors (n, features).

    Raises:
        BundleError: the model does not predict one number for each vector.
    """
    predicted = np.asarray(model.predict(vectors), dtype=np.float64)
    if predicted.shape != (len(vectors),):
        raise BundleError(
            f"{what} predicts an array of shape {predicted.shape} for {len(vectors)} vectors, and one number for each "
            "is expected. Register a regression model of the points."
        )
    return predicted


def predict_apart(data: bytes, vectors: Vectors, what: str) -> Floats:
    """`predict_points` with a model file in a new process.

    Raises:
        BundleError: the process failed or exceeded the time limit.
    """
    rows = [[None if math.isnan(value) else value for value in row] for row in vectors.tolist()]
    return np.array(predict_in_subprocess("nba_ml.registry.learners.process:predict_file", data, rows, what))


def predict_file(data: bytes, rows: Sequence[Sequence[float | None]]) -> list[float]:
    """Points for filled vectors (None or NaN for missing) with the bytes of a model file, as `fresh_process` calls it.

    Raises:
        BundleError: it is not a model file, or cannot be loaded or asked.
        MissingExtraError: its learner is not installed.
    """
    model = learner_of(data, FILE).parse(data, FILE, 1)
    vectors = np.array(rows, dtype=np.float32).reshape(len(rows), model.columns)
    predicted: list[float] = predict_points(model, vectors, FILE).tolist()
    return predicted
