"""Parquet files that we write: a flipped bit is noticed, and no more is read than is allowed."""

from __future__ import annotations

import random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nba_ml.settings import SAMPLE_DATA
from nba_ml.storage import parquet
from nba_ml.storage.parquet import parquet_schema, read_parquet, write_parquet, write_sealed_parquet

SHIPPED = (SAMPLE_DATA / "player_games" / "2022-06.parquet").read_bytes()
TABLE = pq.read_table(pa.BufferReader(SHIPPED))
WRITTEN = write_sealed_parquet(TABLE.replace_schema_metadata({"nba_ml.a": "b"}))


def test_what_is_written_reads_back_here_and_elsewhere() -> None:
    assert write_sealed_parquet(TABLE.replace_schema_metadata({"nba_ml.a": "b"})) == WRITTEN
    assert read_parquet(WRITTEN).equals(TABLE)
    assert read_parquet(WRITTEN, ["player_id", "pts"]).column_names == ["player_id", "pts"]
    assert read_parquet(SHIPPED).equals(TABLE)  # without checksums
    assert pq.read_table(pa.BufferReader(WRITTEN), page_checksum_verification=True).equals(TABLE)
    assert parquet_schema(WRITTEN).metadata[b"nba_ml.a"] == b"b"
    assert read_parquet(write_parquet(TABLE.slice(0, 0))).num_rows == 0


def test_texts_that_are_read_as_dictionaries_are_the_same_texts() -> None:
    """Guards the columns that are no text, or not there: the error about them gives the type that the file has."""
    coded, names = pa.dictionary(pa.int32(), pa.string()), ["season", "wl", "min"]
    read = read_parquet(SHIPPED, optional=names, encoded=names[:2])
    assert read.schema.types == [coded, coded, TABLE.schema.field("min").type]
    assert read.cast(TABLE.select(names).schema).equals(TABLE.select(names))
    for odd in ({"wl": [1, 2]}, {"wl": [b"W", b"\xff"]}, {"min": [1, 2]}):
        table = pa.table({"season": ["2021-22", None], **odd})
        found = read_parquet(write_parquet(table), optional=names, encoded=names[:2])
        assert found.column_names == table.column_names
        assert found.schema.types[1] == table.schema.types[1]
        assert found.to_pylist() == table.to_pylist()


def test_no_flipped_bit_becomes_other_data() -> None:
    """Guards against bit rot, at 600 places; before there were checksums, half of them were accepted."""
    source = random.Random(1)
    for _ in range(600):
        at = source.randrange(len(WRITTEN) * 8)
        damaged = bytearray(WRITTEN)
        damaged[at // 8] ^= 1 << (at % 8)
        try:
            found = read_parquet(bytes(damaged))
        except (pa.ArrowInvalid, OSError):
            continue
        assert found.equals(TABLE), f"bit {at} was accepted"


def test_no_flipped_bit_of_texts_passes_as_the_number_of_no_text() -> None:
    """Guards files of other writers, without checksums: a number beyond the dictionary was a traceback later on."""
    source, texts = random.Random(2), ["team", "wl", "player_name"]
    table = TABLE.select(texts)
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="none", write_statistics=False)
    written, found = sink.getvalue().to_pybytes(), set()
    for _ in range(1500):
        at = source.randrange(len(written) * 8)
        damaged = bytearray(written)
        damaged[at // 8] ^= 1 << (at % 8)
        read = [_texts_or_error(bytes(damaged), encoded) for encoded in ([], texts)]
        assert read[0] == read[1], f"bit {at}"
        found.add(type(read[0]))
    assert found == {str, list}


def _texts_or_error(data: bytes, encoded: list[str]) -> list[dict[str, str]] | str:
    try:
        return read_parquet(data, encoded=encoded).to_pylist()
    except (pa.ArrowInvalid, OSError, UnicodeDecodeError) as error:
        return str(error)


def test_no_cut_becomes_other_data() -> None:
    for length in (0, 4, len(WRITTEN) // 2, len(WRITTEN) - 1):
        with pytest.raises((pa.ArrowInvalid, OSError)):
            read_parquet(WRITTEN[:length])


def test_rows_and_bytes_are_limited_by_the_footer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards memory: the footer states what the pages become, before a page is read."""
    monkeypatch.setattr(parquet, "PARQUET_ROWS", TABLE.num_rows - 1)
    with pytest.raises(pa.ArrowInvalid, match=f"it has {TABLE.num_rows:,} rows"):
        read_parquet(SHIPPED)
    monkeypatch.setattr(parquet, "PARQUET_ROWS", TABLE.num_rows)
    assert read_parquet(SHIPPED).num_rows == TABLE.num_rows
    monkeypatch.setattr(parquet, "PARQUET_MEMORY_BYTES", 1000)
    with pytest.raises(pa.ArrowInvalid, match=r"at most .* and 1,000 bytes are read"):
        read_parquet(SHIPPED)
