"""Parquet, as it is written and read everywhere: no flipped bit goes unnoticed, and no more rows than are allowed.

Pages have checksums, which any reader can verify. These leave out the footer and the heads of the pages, so the
metadata of a stored object also has the sha256 of the whole file, computed with zeros in its own place. Files of other
writers have neither, and are read as they are.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pyarrow as pa
import pyarrow.parquet as pq

from nba_ml.contract.limits import PARQUET_MEMORY_BYTES, PARQUET_ROWS

_SEAL = b"nba_ml_sha256"
_ZEROS = b"0" * 64
_FEW_ROWS = 1 << 14
"""A file of so few is read in less time than threads for its columns take to begin."""


def write_parquet(table: pa.Table) -> bytes:
    """A table as a Parquet file: the same bytes for the same rows and metadata."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", write_page_checksum=True)
    return bytes(sink.getvalue())


def write_sealed_parquet(table: pa.Table) -> bytes:
    """As `write_parquet`, with the sha256 of the file: for an object that only we write.

    Not for a file that a user may edit: many writers keep the metadata, and with it a digest that no longer fits.
    """
    data = write_parquet(table.replace_schema_metadata({**(table.schema.metadata or {}), _SEAL: _ZEROS}))
    at = _seal_at(data)
    return data[:at] + hashlib.sha256(data).hexdigest().encode() + data[at + len(_ZEROS) :]


def read_parquet(
    data: bytes, columns: Sequence[str] | None = None, *, optional: Sequence[str] = (), encoded: Sequence[str] = ()
) -> pa.Table:
    """The table, or some of its columns: those of `columns`, and those of `optional` that it has.

    Args:
        encoded: columns that are read as dictionaries if they are texts, as the file has them: in half the time where
            few texts repeat.

    Raises:
        pa.ArrowInvalid: it is not a Parquet file, differs from its checksum, lacks a column, or states too many rows or
            bytes.
        OSError: it is damaged.
    """
    file, schema = _checked(data, encoded)
    known = frozenset(schema.names)
    if lacking := [name for name in columns or () if name not in known]:
        raise pa.ArrowInvalid(f"it lacks the column {lacking[0]}")
    chosen = None if columns is None and not optional else [*(columns or ()), *(n for n in optional if n in known)]
    with _as_invalid():
        table = _with_dictionaries(file, chosen) if encoded else None
        return _read(_opened(data) if encoded else file, chosen) if table is None else table


def _with_dictionaries(file: pq.ParquetFile, columns: Sequence[str] | None) -> pa.Table | None:
    """The columns, with dictionaries for those that it was opened for.

    None if they are no texts, or the file is damaged: a number that is no value's would pass. It is then read without
    dictionaries, which finds the fault.
    """
    try:
        table = _read(file, columns)
        for column in table.columns:
            if pa.types.is_dictionary(column.type):
                if pa.types.is_binary(column.type.value_type):
                    return None
                column.validate(full=True)
    except (pa.ArrowException, OSError):
        return None
    return table


def _read(file: pq.ParquetFile, columns: Sequence[str] | None) -> pa.Table:
    return file.read(columns, use_threads=file.metadata.num_rows > _FEW_ROWS)


def parquet_schema(data: bytes) -> pa.Schema:
    """The schema with its metadata, after all checks but those of the pages; raises as `read_parquet`."""
    return _checked(data)[1]


def _checked(data: bytes, encoded: Sequence[str] = ()) -> tuple[pq.ParquetFile, pa.Schema]:
    """The file and its schema, after all checks but those of its pages, which are made when they are read."""
    with _as_invalid():
        file = _opened(data, encoded)
        stated, schema = file.metadata, file.schema_arrow
    size = sum(stated.row_group(index).total_byte_size for index in range(stated.num_row_groups))
    if stated.num_rows > PARQUET_ROWS or size > PARQUET_MEMORY_BYTES:
        raise pa.ArrowInvalid(
            f"it has {stated.num_rows:,} rows and {size:,} bytes before compression, and at most {PARQUET_ROWS:,} rows "
            f"and {PARQUET_MEMORY_BYTES:,} bytes are read"
        )
    seal = (stated.metadata or {}).get(_SEAL)
    if seal is not None:
        at = _seal_at(data)
        if hashlib.sha256(data[:at] + _ZEROS + data[at + len(_ZEROS) :]).hexdigest().encode() != seal:
            raise pa.ArrowInvalid("its bytes are not those that were written: they differ from its checksum")
    return file, schema


def _opened(data: bytes, encoded: Sequence[str] = ()) -> pq.ParquetFile:
    # Not `read_table`: that imports all of Arrow's datasets, which takes longer than reading months of rows.
    try:
        return pq.ParquetFile(pa.BufferReader(data), read_dictionary=encoded, page_checksum_verification=True)
    except KeyError:  # it lacks one of them, which its reader reports
        return pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True)


@contextmanager
def _as_invalid() -> Iterator[None]:
    """A damaged file can fail in any of Arrow's ways: callers need to know one."""
    try:
        yield
    except (pa.ArrowException, UnicodeError) as error:
        raise pa.ArrowInvalid(str(error)) from error


def _seal_at(data: bytes) -> int:
    """Where the digest is: in the footer after its name, which Thrift writes with the length between them."""
    return data.rindex(_SEAL) + len(_SEAL) + 2
