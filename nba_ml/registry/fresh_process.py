"""Predict in a new Python process, so that a model file that crashes its parser does not crash the caller.

This module starts the process and reports its failures. The code that runs in it is in `registry.reference` and
`serving.external`.
"""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from nba_ml.contract.errors import BundleError

_PACKAGE_ROOT = Path(__file__).resolve().parents[2]

TIME_LIMIT_SECONDS = 300.0
"""XGBoost takes under a second and CatBoost two. On a very busy machine a minute may not be enough."""


def predict_in_subprocess(
    module: str, model: bytes, rows: Sequence[object], what: str, time_limit_seconds: float = TIME_LIMIT_SECONDS
) -> list[float]:
    """Run `python -m module` with `{"model": base64, "rows": [...]}` as input; returns a prediction for each row.

    Args:
        what: the model, for error messages.

    Raises:
        BundleError: the process failed (the message has the last lines of its output) or exceeded the time limit.
    """
    request = {"model": base64.b64encode(model).decode(), "rows": list(rows)}
    try:
        child = subprocess.run(
            # From this package's folder: the child must run this code, not another installed copy.
            [sys.executable, "-m", module],
            cwd=_PACKAGE_ROOT,
            input=json.dumps(request),
            capture_output=True,
            text=True,
            timeout=time_limit_seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise BundleError(
            f"A new process did not predict {len(rows)} reference rows with {what} within {time_limit_seconds:g} "
            "seconds. Try again on a less busy machine; if it happens again, the model is not usable."
        ) from None
    if child.returncode != 0:
        output = " | ".join(child.stderr.strip().splitlines()[-5:]) or "no output"
        how = f"was killed by signal {-child.returncode}" if child.returncode < 0 else f"exited with {child.returncode}"
        raise BundleError(
            f"A new process could not load {what} ({len(model):,} bytes) and predict {len(rows)} reference rows: it "
            f"{how}: {output}"
        )
    predicted: list[float] = json.loads(child.stdout)
    return predicted


def predict_in_fresh_process(
    booster: bytes, rows: Sequence[Sequence[float | None]], *, time_limit_seconds: float = TIME_LIMIT_SECONDS
) -> list[float]:
    """`reference.predict_rows`, run in a new Python process.

    Raises:
        BundleError: as for `predict_in_subprocess`.
    """
    return predict_in_subprocess(
        "nba_ml.registry.reference", booster, [list(row) for row in rows], "the model", time_limit_seconds
    )
