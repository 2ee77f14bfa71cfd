"""Files as tables of raw values: CSV, JSON and Parquet, also compressed by gzip. What it is shows in the content."""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from nba_ml.contract.errors import SourceDataError
from nba_ml.contract.limits import DATA_BYTES
from nba_ml.contract.reading import RefusedFileError
from nba_ml.contract.reading import read_file as read_bytes
from nba_ml.sources.importers.mapping import Mapping, Read, label
from nba_ml.storage.parquet import read_parquet

_PREAMBLE = 20
"""Rows at a file's top among which the header is looked for: a site's note on how to cite it stands above it."""


@dataclass
class RawTable:
    """A file's rows: columns by `label`, of objects; the index is the row's number in the file."""

    file: str
    frame: pd.DataFrame
    read: int
    headers: int = 0
    """Rows that repeat the header."""
    cut: list[int] = field(default_factory=list)
    """Rows with fewer or more cells than the header."""


def read_file(file: Path, mapping: Mapping) -> RawTable:
    """A file's rows.

    Raises:
        SourceDataError: an unreadable or empty file, or one without rows of the format.
    """
    try:
        content = read_bytes(file, DATA_BYTES)
        if content[:2] == b"\x1f\x8b":
            content = _unzipped(content)
    except (OSError, EOFError, zlib.error) as error:
        raise SourceDataError(f"{file} cannot be read ({error}). It may be cut short; copy it again.") from error
    if not content.strip():
        raise SourceDataError(f"{file} is empty. Nothing was imported; leave it out or download it again.")
    if content[:4] == b"PAR1":
        return _parquet(file, content)
    words = _decoded(file, content)
    if words.lstrip()[:1] in "{[":
        return _json(file, words, mapping.read)
    return _csv(file, words, mapping)


def _unzipped(content: bytes) -> bytes:
    with gzip.open(io.BytesIO(content)) as file:
        found = file.read(DATA_BYTES + 1)
    if len(found) > DATA_BYTES:
        raise RefusedFileError(f"it has more than {DATA_BYTES:,} bytes when unzipped, and at most that many are read")
    return found


def _decoded(file: Path, content: bytes) -> str:
    utf_16 = content[:2] in (b"\xff\xfe", b"\xfe\xff")
    encodings = ("utf-16",) if utf_16 else ("utf-8-sig", "cp1252", "latin-1")
    for encoding in encodings:
        try:
            words = content.decode(encoding)
        except UnicodeError:
            continue
        if "\0" in words:
            break
        return words
    raise SourceDataError(f"{file} is not text, and not Parquet. Export it as CSV, JSON or Parquet.")


# --- CSV ------------------------------------------------------------------------------------------------------


def _csv(file: Path, words: str, mapping: Mapping) -> RawTable:
    try:
        rows = list(csv.reader(io.StringIO(words, newline=""), delimiter=_delimiter(words, mapping)))
    except csv.Error as error:
        raise SourceDataError(f"{file} is not valid CSV ({error}). Export it again.") from error
    known = mapping.file_columns
    matches = [len(known & set(_header(row))) for row in rows[:_PREAMBLE]]
    top = matches.index(max(matches))
    header = _header(rows[top])
    width = len(header)
    table = RawTable(str(file), pd.DataFrame(), 0)
    absent = {label(word) for word in mapping.rules.did_not_play}
    kept: list[list[str]] = []
    numbers: list[int] = []
    first = rows[top][: next((i for i, cell in enumerate(rows[top]) if cell.strip()), 0) + 1]
    for i, row in enumerate(rows[top + 1 :], top + 2):
        if not "".join(row).strip():
            continue
        table.read += 1
        if row[: len(first)] == first and _repeats(row, rows[top]):
            table.headers += 1
        elif len(row) == width:
            kept.append(row)
            numbers.append(i)
        elif not any(cell.strip() for cell in row[width:]) and (len(row) > width or label(row[-1]) in absent):
            kept.append((row + [""] * width)[:width])  # commas at the end, or none after 'Inactive'
            numbers.append(i)
        else:
            table.cut.append(i)
    places = {name: header.index(name) for name in header}  # of two columns with one name, the first
    columns = {name: [row[at] for row in kept] for name, at in places.items()}
    table.frame = pd.DataFrame(columns, index=numbers, dtype=object)
    return table


def _delimiter(words: str, mapping: Mapping) -> str:
    """The one that splits one of the first lines into the most columns that the mapping knows."""
    lines = words.splitlines()[:_PREAMBLE]
    known = mapping.file_columns

    def found(delimiter: str) -> int:
        return max(len(known & {label(cell.strip('"')) for cell in line.split(delimiter)}) for line in lines)

    return max(",;\t|", key=found)


def _header(row: list[str]) -> list[str]:
    """Labels of the columns. One without a name is called after the one before it: '(after tm)'."""
    names: list[str] = []
    for cell in row:
        name = label(cell)
        if (not name or re.fullmatch("unnamed: [0-9]+", name)) and names:
            name = f"(after {names[-1]})"
        names.append(name)
    return names


def _repeats(row: list[str], header: list[str]) -> bool:
    """Whether a row is the header again: more than half of its cells are."""
    named = [(cell, name) for cell, name in zip(row, header, strict=False) if name.strip()]
    return sum(label(cell) == label(name) for cell, name in named) > len(named) / 2


# --- JSON -----------------------------------------------------------------------------------------------------


def _json(file: Path, words: str, read: Read) -> RawTable:
    try:
        content = json.loads(words)
    except (ValueError, RecursionError) as error:
        try:  # a record on each line
            content = [json.loads(line) for line in words.splitlines() if line.strip()]
        except (ValueError, RecursionError):
            raise SourceDataError(
                f"{file} is not valid JSON ({error}). It may be cut short; download it again."
            ) from error
    try:
        records = _records(content, read)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise SourceDataError(f"{file}: its JSON holds no rows of this format ({error}).") from error
    frame = pd.DataFrame(records, dtype=object)
    frame = frame.rename(columns=label)
    frame = frame.loc[:, ~frame.columns.duplicated()]
    frame.index = pd.RangeIndex(1, len(frame) + 1)
    return RawTable(str(file), frame, len(frame))


def _records(content: Any, read: Read) -> list[dict[str, Any]]:
    if isinstance(content, list):
        return [record for each in content for record in _records(each, read)]
    if not isinstance(content, dict):
        raise ValueError("a value where a record was expected")
    sets = content.get("resultSets", content.get("resultSet"))
    if sets is not None:
        return _result_sets([sets] if isinstance(sets, dict) else sets, read)
    if isinstance(content.get("columns"), list) and isinstance(content.get("data"), list):  # pandas, orient="split"
        return [dict(zip(content["columns"], row, strict=True)) for row in content["data"]]
    if "error_code" in content or (set(content) <= {"message", "error", "status", "Message"}):
        raise ValueError(f"it is the server's error: {str(content)[:200]}")
    outer: dict[str, Any] = {}
    if read.unwrap and read.unwrap in content:
        outer = {name: value for name, value in content.items() if name != read.unwrap}
        inner = content[read.unwrap] or []
        return [{**record, **outer} for record in _records(inner, read)]
    return _flat(content, read.nested, "") if read.nested and read.nested[0] in content else [content]


def _result_sets(sets: list[dict[str, Any]], read: Read) -> list[dict[str, Any]]:
    wanted = [each for each in sets if each["name"] in read.result_sets] if read.result_sets else sets[:1]
    if not wanted:
        raise ValueError(f"result sets {', '.join(each['name'] for each in sets)}, not {', '.join(read.result_sets)}")
    return [dict(zip(each["headers"], row, strict=True)) for each in wanted for row in each["rowSet"]]


def _flat(record: dict[str, Any], path: tuple[str, ...], prefix: str) -> list[dict[str, Any]]:
    """Rows of the innermost lists, with what stands around them; names are paths: 'bookmakers.markets.key'."""
    if not path:
        plain = {prefix + name: value for name, value in record.items() if not isinstance(value, dict)}
        inside = [(name, value) for name, value in record.items() if isinstance(value, dict)]
        return [plain | {f"{prefix}{name}.{key}": each for name, value in inside for key, each in value.items()}]
    around = {prefix + name: value for name, value in record.items() if name != path[0]}
    inner = record.get(path[0]) or []
    return [{**around, **row} for each in inner for row in _flat(each, path[1:], f"{prefix}{path[0]}.")]


# --- Parquet --------------------------------------------------------------------------------------------------


def _parquet(file: Path, content: bytes) -> RawTable:
    try:
        table = read_parquet(content)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as error:
        raise SourceDataError(
            f"{file} is not a readable Parquet file ({str(error).splitlines()[0]}). It may be cut short; copy it again."
        ) from error
    columns = {label(name): pd.Series(table.column(name).to_pylist(), dtype=object) for name in table.column_names}
    frame = pd.DataFrame(columns, dtype=object)
    frame.index = pd.RangeIndex(1, len(frame) + 1)
    return RawTable(str(file), frame, len(frame))
