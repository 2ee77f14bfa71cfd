"""Limits under which the first months publish: for tests of everything but the limits.

The shipped ones refuse 2021-11 to 2022-01, whose models do not beat the averages yet. Most tests run on those
months, because few rows are quick.
"""

from __future__ import annotations

import atexit
import os
import tempfile
from functools import cache
from pathlib import Path

from nba_ml.contract.thresholds import Thresholds

LENIENT = Thresholds(
    min_gain=-10.0, results_above_prediction=(0.0, 1.0), leak_mae=0.0, min_rows=0, max_refit_distance=10.0
)


@cache
def written(limits: Thresholds) -> Path:
    """A file for NBA_ML_THRESHOLDS with what differs from the shipped limits; gone when the process ends."""
    handle, name = tempfile.mkstemp(prefix="nba_ml_limits_", suffix=".toml")
    os.close(handle)
    atexit.register(Path(name).unlink)
    Path(name).write_text("".join(f"{key} = {value}\n" for key, value in limits.changed().items()))
    return Path(name)
