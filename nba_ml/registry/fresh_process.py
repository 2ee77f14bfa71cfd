"""A fresh Python process that predicts with a model's bytes: a file that could end a process ends that one.

What belongs here: starting it, and saying in words how it failed. What it does with the model stands in the modules
that answer (`reference`, `others`).
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

TIME_LIMIT_SECONDS = 60.0
"""It takes under a second, with CatBoost two; the limit is for a machine that is very busy."""


def predict_apart(
    module: str, model: bytes, rows: Sequence[object], what: str, time_limit_seconds: float = TIME_LIMIT_SECONDS
) -> list[float]:
    """What `python -m module` answers to `{"model": base64, "rows": [...]}`: a prediction for each row.

    Args:
        what: the model, for messages.

    Raises:
        BundleError: the process failed, with the last lines of what it said, or it took too long.
    """
    request = {"model": base64.b64encode(model).decode(), "rows": list(rows)}
    try:
        child = subprocess.run(
            # From the folder that this package lies in: the child must run this code, not another installed copy.
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
            f"A fresh process did not predict {len(rows)} reference rows with {what} within {time_limit_seconds:g} "
            "seconds. Try again on a machine that is less busy; if it happens again, the model is not usable."
        ) from None
    if child.returncode != 0:
        said = " | ".join(child.stderr.strip().splitlines()[-5:]) or "nothing"
        how = f"was killed by signal {-child.returncode}" if child.returncode < 0 else f"ended with {child.returncode}"
        raise BundleError(
            f"A fresh process could not load {what} ({len(model):,} bytes) and predict {len(rows)} reference rows: it "
            f"{how} and said: {said}"
        )
    predicted: list[float] = json.loads(child.stdout)
    return predicted


def predict_in_fresh_process(
    booster: bytes, rows: Sequence[Sequence[float | None]], *, time_limit_seconds: float = TIME_LIMIT_SECONDS
) -> list[float]:
    """As `reference.predict_rows`, computed by a new Python process that has loaded nothing else.

    Raises:
        BundleError: the process failed, with the last lines of its output, or it took too long.
    """
    return predict_apart(
        "nba_ml.registry.reference", booster, [list(row) for row in rows], "the model", time_limit_seconds
    )
