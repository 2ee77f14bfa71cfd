"""Tables that take seconds to compute: made by the first worker of a test run that needs them, mapped by the others."""

from __future__ import annotations

import fcntl
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa

_folder: list[Path] = []
"""Where the workers of this run share them; empty where there is one process."""


def share_in(folder: Path) -> None:
    """From now on, this process shares them with those that name the same folder."""
    folder.mkdir(exist_ok=True)
    _folder[:] = [folder]


def shared(name: str, make: Callable[[], pa.Table]) -> pa.Table:
    """The table of that name. Two tables must not have the same name; `make` may ask for others."""
    if not _folder:
        return make()
    file = _folder[0] / f"{name}.arrow"
    with file.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not file.exists():
            table = make()
            part = file.with_suffix(".part")
            with pa.OSFile(str(part), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
                writer.write_table(table)
            part.rename(file)
            return table
    with pa.memory_map(str(file)) as source:
        return pa.ipc.open_file(source).read_all()
