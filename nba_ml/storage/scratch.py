"""Folders for files of one computation, which nobody reads later.

A folder is locked while its process lives. The kernel drops the lock with the process, so a folder that can be locked
is a killed process's, and goes when the next one is made.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from nba_ml.contract.errors import SettingsError
from nba_ml.contract.system_errors import reason_of

_PREFIX = "nba_ml_scratch_"


@contextmanager
def scratch_folder(parent: Path | None, needed: int, purpose: str) -> Iterator[Path]:
    """A new folder under `parent`, or under the system's for temporary files; gone when the block ends.

    Args:
        parent: is made if it does not exist.
        needed: bytes that must be free on its disk.
        purpose: what needs them, as the subject of the error's sentence.

    Raises:
        SettingsError: there is no room, or the folder cannot be made.
    """
    above = Path(tempfile.gettempdir()) if parent is None else parent
    try:
        above.mkdir(parents=True, exist_ok=True)
        _sweep(above)
        require_free(above, needed, purpose)
        folder, held = _made(above)
    except OSError as error:
        raise SettingsError(
            f"{purpose} needs a folder for temporary files, and {above} cannot be used: {reason_of(error)}."
        ) from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(held)


def require_free(folder: Path, needed: int, purpose: str) -> None:
    """Pass silently if the disk of the folder has so many bytes; arguments and error as of `scratch_folder`."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise SettingsError(
            f"{purpose} needs about {needed / 1e9:,.1f} GB in {folder}, and {free / 1e9:,.1f} GB are free. Free some "
            "space, or put the home (NBA_ML_HOME) on a larger disk. Nothing was changed."
        )


def _made(above: Path) -> tuple[Path, int]:
    """A locked folder, and what holds the lock."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=above))
        with suppress(FileNotFoundError):  # a sweep came before the lock and took it for a dead process's
            held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            fcntl.flock(held, fcntl.LOCK_EX)
            if folder.exists():
                return folder, held
            os.close(held)


def _sweep(above: Path) -> None:
    """Remove the folders of processes that were killed."""
    for folder in above.glob(f"{_PREFIX}*"):
        # Gone meanwhile, locked by a living process, or another user's: not ours to remove.
        with suppress(OSError):
            held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(held)
