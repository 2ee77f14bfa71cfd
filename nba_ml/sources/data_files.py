"""Parquet files of a data folder, each read once while it is the same file."""

import os
import re
from collections.abc import Callable
from fnmatch import translate
from pathlib import Path
from typing import Any

import pyarrow as pa

from nba_ml.contract.errors import SourceDataError
from nba_ml.sources.sums import PARQUET_FILES, read_data
from nba_ml.storage.parquet import read_parquet

_NAME = re.compile(translate(PARQUET_FILES))

_Stamp = tuple[int, int]
"""Of a file: when it was changed, and its size. A file with another one is another file."""


class FilesRead:
    """What was read from files. One that is replaced is read again."""

    def __init__(self) -> None:
        self._kept: dict[Path, tuple[_Stamp, Any]] = {}
        self._together: dict[Path, tuple[dict[str, _Stamp | None], Any]] = {}

    def once(self, file: Path, read: Callable[[Path], Any]) -> Any:
        """What `read` makes of a file. A file is always read by the same function.

        Raises:
            SourceDataError: it cannot be read.
        """
        try:
            found = file.stat()
        except OSError as error:  # a dangling link, or a file that was removed since the folder was listed
            raise SourceDataError(
                f"{file} cannot be read ({error.strerror}). Restore the file or remove it."
            ) from error
        stamp = (found.st_mtime_ns, found.st_size)
        kept = self._kept.get(file)
        if kept is None or kept[0] != stamp:
            kept = self._kept[file] = (stamp, read(file))
        return kept[1]

    def together(self, folder: Path, make: Callable[[list[Path]], Any]) -> Any:
        """What `make` makes of all files of a folder, in the order of their names; none if there is no folder.

        Again when one was added, replaced or removed. A folder is always asked for with the same function.
        """
        stamps = _stamps(folder)
        kept = self._together.get(folder)
        if kept is None or kept[0] != stamps:
            kept = self._together[folder] = (stamps, make([folder / name for name in sorted(stamps)]))
        return kept[1]


def _stamps(folder: Path) -> dict[str, _Stamp | None]:
    """File name -> its stamp; None for a dangling link."""
    found: dict[str, _Stamp | None] = {}
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if _NAME.match(entry.name):
                    found[entry.name] = _stamp(entry)
    except OSError:  # `source_months` reports a folder that is missing
        return {}
    return found


def _stamp(entry: os.DirEntry[str]) -> _Stamp | None:
    try:
        stated = entry.stat()
    except OSError:
        return None
    return stated.st_mtime_ns, stated.st_size


def read_columns(file: Path, columns: tuple[str, ...], encoded: tuple[str, ...] = ()) -> pa.Table:
    """Those of the columns that a file has; `encoded` as `read_parquet`.

    Raises:
        SourceDataError: it is not a readable Parquet file, or not the one that `SHA256SUMS` names, or has a column
            several times.
    """
    try:
        table = read_parquet(read_data(file), optional=columns, encoded=encoded)
    except (pa.ArrowInvalid, OSError) as error:
        raise SourceDataError(
            f"{file} is not a readable Parquet file ({str(error).splitlines()[0]}). It may be cut short; copy it again."
        ) from error
    names = table.column_names
    if len(set(names)) < len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise SourceDataError(f"{file} has several columns named {', '.join(twice)}. Export it again with one of each.")
    return table
