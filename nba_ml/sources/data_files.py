"""Parquet files of a data folder, each read once while it is the same file."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa

from nba_ml.contract.errors import SourceDataError
from nba_ml.sources.sums import read_data
from nba_ml.storage.parquet import read_parquet


class FilesRead:
    """What was read from files. One that is replaced is read again."""

    def __init__(self) -> None:
        self._kept: dict[Path, tuple[tuple[int, int], Any]] = {}

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


def read_columns(file: Path, columns: tuple[str, ...]) -> pa.Table:
    """Those of the columns that a file has.

    Raises:
        SourceDataError: it is not a readable Parquet file, or not the one that `SHA256SUMS` names.
    """
    try:
        return read_parquet(read_data(file), optional=columns)
    except (pa.ArrowInvalid, OSError) as error:
        raise SourceDataError(
            f"{file} is not a readable Parquet file ({str(error).splitlines()[0]}). It may be cut short; copy it again."
        ) from error
