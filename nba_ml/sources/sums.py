"""Files of a data folder, verified against its `SHA256SUMS`: one line for each file, as `sha256sum` writes them.

The shipped data has one, an import writes one, and a user's own folder may have one. A file that it does not name, and
every file of a folder without one, is read as it is.
"""

from __future__ import annotations

import hashlib
import logging
import re
import shlex
from collections.abc import Mapping
from functools import cache, lru_cache
from pathlib import Path

from nba_ml.contract.errors import SourceDataError
from nba_ml.contract.limits import DATA_BYTES, TEXT_BYTES
from nba_ml.contract.reading import read_file, read_text
from nba_ml.storage.directory import DirectoryStore

SUMS = "SHA256SUMS"

PARQUET_FILES = "[!.]*.parquet"
"""Pattern of a table's files. A Mac puts a hidden `._2025-06.parquet` beside each file on a disk of another kind."""

_LINE = re.compile(r"([0-9a-f]{64}) [ *](?:\./)?(\S.*)")
Sums = Mapping[str, frozenset[str]]
"""A file's name relative to the folder -> its digests. While an import replaces it, the old one and the new one."""


def read_data(file: Path) -> bytes:
    """The bytes of a file of a data folder, `FOLDER/TABLE/FILE`.

    Raises:
        SourceDataError: its digest is not the one in `SHA256SUMS`, or that file has a line of another form.
        OSError: it cannot be read, is too large, or is not an ordinary file of the folder.
    """
    folder = file.parent.parent
    data = read_file(file, DATA_BYTES, within=folder)
    stated = read_sums(folder).get(file.relative_to(folder).as_posix())
    found = hashlib.sha256(data).hexdigest()
    if not stated or found in stated:
        return data
    if read_file(file, DATA_BYTES, within=folder) != data:  # an import has replaced it since
        return read_data(file)
    raise SourceDataError(
        f"{file} was changed or damaged: its sha256 begins with {found[:12]}, and {SUMS} states "
        f"{', '.join(sorted(each[:12] for each in stated))}. Restore the file. If the change was intended, accept it: "
        f"{_command(folder)}"
    )


def read_sums(folder: Path) -> Sums:
    """What a folder's `SHA256SUMS` states; nothing if there is none.

    Raises:
        SourceDataError: it cannot be read, or has a line of another form.
    """
    file = folder / SUMS
    try:
        text = read_text(file, TEXT_BYTES)
    except FileNotFoundError:
        _note_missing(folder)
        return {}
    except OSError as error:
        raise SourceDataError(
            f"{file} cannot be read ({error}). Restore it, or remove it to read without it."
        ) from error
    return _parsed(folder, text)


@lru_cache(maxsize=4)  # a folder has one text, and it is asked for with each of its files
def _parsed(folder: Path, text: str) -> Sums:
    found: dict[str, frozenset[str]] = {}
    for number, line in enumerate(text.splitlines(), 1):
        match = _LINE.fullmatch(line)
        if match is None:
            raise SourceDataError(
                f"{folder / SUMS}, line {number} is not 64 hex digits, two spaces and a name. Restore it, or write it "
                f"anew: {_command(folder)}"
            )
        found[match[2]] = found.get(match[2], frozenset()) | {match[1]}
    return found


def write_data(folder: Path, name: str, data: bytes) -> None:
    """Write a file of a data folder, and its digest.

    Both digests are stated while the file is replaced, so that a process that is killed in between leaves a folder that
    can be read. A folder that has files but no `SHA256SUMS` gets one of the files that are written.
    """
    store = DirectoryStore(folder)
    before, digest = read_sums(folder), hashlib.sha256(data).hexdigest()
    if (folder / name).exists():
        old = before.get(name) or {hashlib.sha256(read_data(folder / name)).hexdigest()}
        store.write(SUMS, _text({**before, name: frozenset({digest, *old})}))
    store.write(name, data)
    store.write(SUMS, _text({**before, name: frozenset({digest})}))


def _text(sums: Sums) -> bytes:
    return "".join(f"{digest}  {name}\n" for name in sorted(sums) for digest in sorted(sums[name])).encode()


@cache
def _note_missing(folder: Path) -> None:
    """Once for each folder and process."""
    logging.getLogger(__name__).info(
        "%s has no %s: a damaged file cannot be told from a good one. To write it: %s", folder, SUMS, _command(folder)
    )


def _command(folder: Path) -> str:
    return f"cd {shlex.quote(str(folder))} && sha256sum */*.* > {SUMS}"
