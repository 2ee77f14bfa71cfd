"""Homes of the benchmarks' own: no setting of the user's leads what they train to a store, a bucket or a table."""

from __future__ import annotations

import os
from pathlib import Path

_PASSED_ON = ("NBA_ML_DATA", "NBA_ML_THREADS")


def environment_of(home: Path) -> dict[str, str]:
    """This process's environment with this home and the first system, and hardly another setting."""
    ours = ("NBA_ML_", "DAGSTER_")
    inherited = {name: value for name, value in os.environ.items() if name in _PASSED_ON or not name.startswith(ours)}
    return {**inherited, "NBA_ML_HOME": str(home), "NBA_ML_SYSTEMS": "xgboost_v1"}


def move_to(home: Path) -> None:
    """Give this process, and the processes that it starts, the environment of this home."""
    environ = environment_of(home)
    os.environ.clear()
    os.environ.update(environ)
