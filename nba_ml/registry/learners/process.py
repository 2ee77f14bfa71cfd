"""Predict with a model file in this process or in a new one, which a forged file may crash without harm.

`python -m nba_ml.registry.learners.process` is the new process: it reads `{"model": <base64>, "rows": [[number or null,
...], ...]}` on its standard input and prints the predictions as a JSON list.
"""

from __future__ import annotations

import base64
import json
import math
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout

import numpy as np

from nba_ml.contract.errors import BundleError, NbaMlError
from nba_ml.registry.fresh_process import TIME_LIMIT_SECONDS, predict_in_subprocess
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


def predict_apart(data: bytes, vectors: Vectors, what: str, seconds: float = TIME_LIMIT_SECONDS) -> Floats:
    """`predict_points` with a model file in a new process.

    Raises:
        BundleError: the process failed or exceeded the time limit.
    """
    rows = [[None if math.isnan(value) else value for value in row] for row in vectors.tolist()]
    return np.array(predict_in_subprocess("nba_ml.registry.learners.process", data, rows, what, seconds))


def predict_file(data: bytes, rows: Sequence[Sequence[float | None]], threads: int | None = None) -> Floats:
    """Points (n,) for n filled vectors (None or NaN for missing) with the bytes of a model file.

    Raises:
        BundleError: it is not a model file, or cannot be loaded or asked.
        MissingExtraError: its learner is not installed.
    """
    model = learner_of(data, FILE).parse(data, FILE, threads)
    vectors = np.array(rows, dtype=np.float32).reshape(len(rows), model.columns)
    return predict_points(model, vectors, FILE)


def main() -> int:
    """Answer one request. Returns 0 with JSON on standard output, or 1 with one line on standard error."""
    request = json.load(sys.stdin)
    try:
        with redirect_stdout(sys.stderr):  # the answer must stand alone
            predicted = predict_file(base64.b64decode(request["model"]), request["rows"], threads=1)
    except NbaMlError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    json.dump(predicted.tolist(), sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
