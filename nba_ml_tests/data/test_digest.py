"""A digest names content: equal for the same rows however they are held, different for any other."""

from __future__ import annotations

import io
import math
import struct
from datetime import date
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nba_ml.contract.digest import bytes_digest, json_digest
from nba_ml.data.table_digest import table_digest

TYPES = {
    "name": pa.string(),
    "day": pa.date32(),
    "points": pa.int16(),
    "value": pa.float64(),
    "flag": pa.bool_(),
    "vector": pa.list_(pa.float64()),
    "words": pa.list_(pa.string()),
    "quality": pa.decimal128(5, 2),
    "at": pa.timestamp("us", tz="UTC"),
}
floats = st.floats(allow_nan=True, allow_infinity=True)
texts = st.text(alphabet="ab;:0ć", max_size=4)
CELLS = {
    "name": texts,
    "day": st.dates(date(1900, 1, 1), date(2100, 1, 1)),
    "points": st.integers(-100, 100),
    "value": floats,
    "flag": st.booleans(),
    "vector": st.lists(floats, max_size=3),
    "words": st.lists(texts, max_size=3),
    "quality": st.decimals(0, 100, places=2),
    "at": st.datetimes().map(lambda moment: moment.replace(year=2000)),
}
rows = st.lists(st.fixed_dictionaries({name: st.none() | cell for name, cell in CELLS.items()}), max_size=6)


def table(content: list[dict[str, object]]) -> pa.Table:
    return pa.Table.from_pylist(content, schema=pa.schema(list(TYPES.items())))


@given(rows, st.integers(0, 6))
def test_chunks_slices_and_parquet_change_nothing(content: list[dict[str, object]], cut: int) -> None:
    """Guards against a digest of how rows are held: every read would look like new data."""
    whole = table(content)
    digest = table_digest(whole)
    assert table_digest(pa.concat_tables([whole.slice(0, cut), whole.slice(cut)])) == digest
    assert table_digest(pa.concat_tables([whole, whole]).slice(len(content))) == digest
    file = io.BytesIO()
    pq.write_table(whole, file, compression="zstd")
    assert table_digest(pq.read_table(file)) == digest


@given(rows.filter(bool), st.data())
def test_any_other_cell_gives_another_digest(content: list[dict[str, object]], data: st.DataObject) -> None:
    """Guards against rows that change behind a digest that stays."""
    row = data.draw(st.integers(0, len(content) - 1))
    name = data.draw(st.sampled_from(sorted(CELLS)))
    value = data.draw(st.none() | CELLS[name])
    changed = [{**each, name: value} if i == row else each for i, each in enumerate(content)]
    assert (table_digest(table(changed)) == table_digest(table(content))) == same(value, content[row][name])


def same(one: object, other: object) -> bool:
    """Equal as the digest sees it: one NaN, no sign of zero, null is no value."""
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(same(a, b) for a, b in zip(one, other, strict=True))
    if isinstance(one, float) and isinstance(other, float) and math.isnan(one):
        return math.isnan(other)
    return one is other if one is None or other is None else one == other


@pytest.mark.parametrize(
    ("one", "other", "kind"),
    [
        (["ab", "c"], ["a", "bc"], pa.string()),
        ([None, ""], ["", None], pa.string()),
        ([None], [math.nan], pa.float64()),
        ([None, 0], [0, None], pa.int64()),
        ([[1.0], []], [[], [1.0]], pa.list_(pa.float64())),
        ([[1.0, 2.0]], [[1.0], [2.0]], pa.list_(pa.float64())),
        ([[]], [None], pa.list_(pa.float64())),
        ([1, 2], [2, 1], pa.int64()),
    ],
)
def test_boundaries_nulls_and_order_count(one: list[object], other: list[object], kind: pa.DataType) -> None:
    """Guards against values that run into each other, against a null taken for a value, and against unsorted rows."""
    digests = {table_digest(pa.table({"a": pa.array(each, kind, from_pandas=False)})) for each in (one, other)}
    assert len(digests) == 2


def test_names_types_and_order_of_columns_count() -> None:
    """Guards against two features that changed places without a change of digest."""
    columns = {"a": pa.array([1, 2]), "b": pa.array([3, 4])}
    tables = [
        pa.table(columns),
        pa.table({"b": columns["b"], "a": columns["a"]}),
        pa.table({"b": columns["a"], "a": columns["b"]}),
        pa.table({"a": columns["a"].cast(pa.int32()), "b": columns["b"]}),
        pa.table({"a": columns["a"]}),
    ]
    assert len({table_digest(each) for each in tables}) == len(tables)
    assert table_digest(tables[0], without=["b"]) == table_digest(tables[4])


def test_every_nan_is_one_and_zero_has_no_sign() -> None:
    """Guards against a digest that follows the machine: the bits of a NaN differ between processors."""
    other_nan = struct.unpack("<d", struct.pack("<Q", 0x7FF8_0000_0000_0001))[0]
    negative_nan = struct.unpack("<d", struct.pack("<Q", 0xFFF8_0000_0000_0000))[0]
    one, *others = (
        table_digest(pa.table({"a": pa.array([nan, zero], from_pandas=False)}))
        for nan, zero in ((math.nan, 0.0), (other_nan, 0.0), (negative_nan, -0.0))
    )
    assert others == [one, one]


def test_the_canonical_bytes_never_change() -> None:
    """Guards against a release that renames every snapshot ever taken: what is stored would all look stale."""
    content = {
        "name": "lukadoncic",
        "day": date(2024, 1, 26),
        "points": 73,
        "value": math.nan,
        "flag": True,
        "vector": [1.5, -0.0],
        "words": ["points", ""],
        "quality": Decimal("98.50"),
        "at": 0,
    }
    assert (
        table_digest(table([content, dict.fromkeys(TYPES)]))
        == "a56bea8670890ae0a82154135e3a28b9dbc81aad76ea567ca1e99b64a6a9d75c"
    )
    assert json_digest({"b": [1, 2.5], "a": None}) == "e57f5d37865437a82e1108bafb4e5213dfe7e9085f5c253341ebbab30cac5faf"


def test_json_digests_ignore_the_order_of_keys_and_refuse_nan() -> None:
    """Guards against a digest that depends on how a dict was built, and against JSON that others cannot read."""
    assert json_digest({"a": 1, "b": 2}) == json_digest({"b": 2, "a": 1})
    assert json_digest([1, 2]) != json_digest([2, 1])
    with pytest.raises(ValueError, match="not JSON compliant"):
        json_digest(math.nan)


def test_a_column_without_canonical_bytes_is_an_error() -> None:
    """Guards against a nested or binary column that would be left out, or be digested by accident."""
    with pytest.raises(TypeError, match=r"a column of type struct<x: int64> \(a\) has no canonical bytes"):
        table_digest(pa.table({"a": [{"x": 1}]}))


def test_bytes_digest_is_sha256() -> None:
    """Guards against another hash: published manifests promise sha256."""
    assert bytes_digest(b"abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
