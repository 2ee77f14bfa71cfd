"""Moves made at the terminal, recorded in the home's Dagster instance by a process of its own.

A move is made without Dagster, and importing Dagster takes longer than the move. So the process starts before the move
and imports Dagster meanwhile.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from nba_ml.contract.system_errors import reason_of
from nba_ml.machine import command_line
from nba_ml.settings import Settings

if TYPE_CHECKING:
    from nba_ml.registry.channel import Channel

RECORDER = "nba_ml.runner.channel_materialization"

TIME_LIMIT_SECONDS = 120.0
"""It takes about a second. A database that another process holds may keep it longer."""


@contextmanager
def move_recorder(asset: str) -> Iterator[Callable[[Channel], str | None]]:
    """What records a state as a materialisation of `asset`, and returns why it could not, or None.

    Only in a home that has a Dagster instance; in others nothing is recorded.
    """
    folder = Settings.from_environment().dagster_home
    if not (folder / "dagster.yaml").exists():
        yield lambda _: None
        return
    process = _started(asset)
    if isinstance(process, OSError):  # a rollback must work where nothing else does
        why = f"Dagster's instance in {folder} did not record it: no process could be started ({reason_of(process)})."
        yield lambda _: why
        return

    def record(state: Channel) -> str | None:
        try:
            output, _ = process.communicate(state.to_bytes(), TIME_LIMIT_SECONDS)
        except subprocess.TimeoutExpired:
            return f"Dagster's instance in {folder} did not record it within {TIME_LIMIT_SECONDS:g} seconds."
        if process.returncode == 0:
            return None
        why = output.decode(errors="replace").strip().splitlines()[-1:] or [f"exit code {process.returncode}"]
        return f"Dagster's instance in {folder} could not record it: {why[0]}"

    try:
        yield record
    finally:
        process.kill()
        process.communicate()


def _started(asset: str) -> subprocess.Popen[bytes] | OSError:
    try:
        # -P: a folder named nba_ml in the working directory is not imported. A session of its own: Ctrl-C is the
        # parent's.
        return subprocess.Popen(
            [sys.executable, "-P", "-m", RECORDER, asset, command_line()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except OSError as error:
        return error
