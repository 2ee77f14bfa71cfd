"""Read a file whole, if it is an ordinary one of a size that is allowed.

A named pipe would wait forever, a device may never end, and a link may lead to a file that was never meant.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path


class RefusedFileError(OSError):
    """A file that is not read. The message says why and what to do; callers add the path."""


def read_file(path: Path, most: int, *, within: Path | None = None) -> bytes:
    """The bytes of an ordinary file.

    Args:
        most: bytes that it may have. A larger file is refused unread.
        within: the folder that its real path must be in; None for any. The folder itself may be a link.

    Raises:
        RefusedFileError: it is a pipe, a device or a socket, is too large, is outside of the folder, or grew meanwhile.
        OSError: it cannot be read.
    """
    _require_ordinary(path.stat(), most)  # before it is opened: to open a device can have effects
    if within is not None and not _inside(path, within):
        raise RefusedFileError(f"it is a link to {os.path.realpath(path)}, which is outside of {within}; copy it there")
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        found = os.fstat(file.fileno())
        _require_ordinary(found, most)
        data = file.read(found.st_size + 1)
    if len(data) > found.st_size:
        raise RefusedFileError("it grew while it was read; try again when it is complete")
    return data


def read_text(path: Path, most: int) -> str:
    """As `read_file`, decoded from UTF-8, with or without a byte-order mark.

    Raises:
        RefusedFileError: as there, or it is not UTF-8.
    """
    return decode(read_file(path, most))


def decode(data: bytes) -> str:
    """UTF-8 as text, without a byte-order mark.

    Raises:
        RefusedFileError: it is not UTF-8; says where.
    """
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise RefusedFileError(
            f"it is not UTF-8: byte {error.start:,} is 0x{data[error.start]:02x}; save it as UTF-8"
        ) from error


def _require_ordinary(found: os.stat_result, most: int) -> None:
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(21, "Is a directory")
    if not stat.S_ISREG(found.st_mode):
        raise RefusedFileError("it is a pipe, a device or a socket; only ordinary files are read")
    if found.st_size > most:
        raise RefusedFileError(f"it has {found.st_size:,} bytes, and at most {most:,} are read")


def _inside(path: Path, within: Path) -> bool:
    plain = path.parent.parent == within and ".." not in path.parts[-2:]
    if plain and not (path.is_symlink() or path.parent.is_symlink()):
        return True  # as nearly all files are, and asked sooner than the real paths of both
    real = os.path.realpath(within)
    return os.path.commonpath([real, os.path.realpath(path)]) == real
