"""Digests of tables. They depend on the rows, not the file, so equal rows have the same digest on every machine."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


def table_digest(table: pa.Table, *, without: Iterable[str] = ()) -> str:
    """sha256 over the canonical bytes of a table: its columns in order, each with name, type and values.

    Independent of chunking, of the Parquet writer and of the library's version, which a digest of
    the file would not be. A NaN is one NaN and a zero has no sign. `without` leaves columns out
    (time stamps of writing). Rows count in their order: sort first.

    Raises:
        TypeError: a column that is neither text, a number, a boolean, a time, nor a list of those.
    """
    sha = hashlib.sha256()
    left_out = set(without)
    for field in table.schema:
        if field.name not in left_out:
            _update(sha, field.name, table.column(field.name).combine_chunks())
    return sha.hexdigest()


def _update(sha: hashlib._Hash, name: str, column: pa.Array) -> None:
    if isinstance(column, pa.ChunkedArray):  # an empty table combines to no chunk at all
        column = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
    kind = column.type
    # Parquet names a list's items 'element', Arrow 'item'; their type is added below, without that name.
    spelt = "list" if pa.types.is_list(kind) else str(kind)
    sha.update(f"{name}:{spelt}:{len(column)}\n".encode())
    if column.null_count:
        sha.update(np.packbits(column.is_valid().to_numpy(zero_copy_only=False)).tobytes())
    if pa.types.is_list(kind):
        _update(sha, "lengths", pc.list_value_length(column).fill_null(0))
        _update(sha, "values", column.flatten())
    elif pa.types.is_floating(kind):
        values = column.fill_null(np.nan).to_numpy(zero_copy_only=False).astype("<f8") + 0.0  # -0.0 + 0.0 is 0.0
        values[np.isnan(values)] = np.nan
        sha.update(values.tobytes())
    elif pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_decimal(kind):
        text = column.cast(pa.string()).fill_null("")
        _update(sha, "bytes", pc.binary_length(text).cast(pa.int64()))
        sha.update("".join(text.to_pylist()).encode())
    elif not (pa.types.is_integer(kind) or pa.types.is_boolean(kind) or pa.types.is_temporal(kind)):
        raise TypeError(f"a column of type {kind} ({name}) has no canonical bytes")
    else:
        numbers = column.cast(pa.int64()) if not pa.types.is_date32(kind) else column.cast(pa.int32()).cast(pa.int64())
        sha.update(numbers.fill_null(0).to_numpy(zero_copy_only=False).astype("<i8").tobytes())


@dataclass(frozen=True, slots=True)
class DigestedTable:
    """A table with the digest of its whole content.

    If only some columns are read back, the digest is still that of all columns.
    """

    table: pa.Table
    digest: str
