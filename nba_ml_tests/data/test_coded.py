"""Columns as numbers, and what is true of groups of rows, against plain loops."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nba_ml.data.coded import Coded, Columns, Groups, firsts_of, order_of, paired, repeated

NEW = pa.array(["L", "W", "W"])
Rows = list[tuple[int, int]]
rows_of_groups = st.lists(st.tuples(st.integers(-3, 3), st.integers(-40, 40)), max_size=30)


@given(rows_of_groups)
@pytest.mark.parametrize(
    ("of_groups", "of_values"),
    [
        (lambda groups, values: groups.sum(values), sum),
        (lambda groups, values: groups.least(values), min),
        (lambda groups, values: groups.most(values), max),
        (lambda groups, values: groups.distinct(values), lambda own: len(set(own))),
        (lambda groups, values: groups.differ(values), lambda own: len(set(own)) > 1),
        (lambda groups, values: groups.any(values > 0), lambda own: any(value > 0 for value in own)),
        (lambda groups, values: values[groups.firsts], lambda own: own[0]),
        (lambda groups, _: groups.size, len),
    ],
    ids=["sum", "least", "most", "distinct", "differ", "any", "first", "size"],
)
def test_each_group_gets_what_is_true_of_its_rows(
    of_groups: Callable[[Groups, Any], Any], of_values: Callable[[list[int]], int], rows: Rows
) -> None:
    """Guards against a game that is judged by the rows of another one, where the rows are in any order."""
    keys, values = (np.array([row[at] for row in rows], np.int64) for at in (0, 1))
    expected = [of_values([value for other, value in rows if other == key]) for key, _ in rows]
    groups = Groups(keys)
    assert of_groups(groups, values)[groups.index].tolist() == expected
    assert len(groups.size) == len(set(keys.tolist()))


@given(st.lists(st.integers(-(1 << 17), 1 << 17) | st.sampled_from([0, (1 << 16) - 1, 1 << 16]), max_size=30))
def test_order_holds_for_keys_of_any_range(keys: list[int]) -> None:
    """Guards against keys that are cut to 16 bits where they do not fit: rows of two games would be one group."""
    assert order_of(np.array(keys, np.int64)).tolist() == sorted(range(len(keys)), key=keys.__getitem__)


@given(rows_of_groups)
def test_rows_have_one_number_only_if_they_are_alike_in_all_columns(rows: Rows) -> None:
    """Guards against two sides of a game, or two players on a date, that are taken for one."""
    numbers = paired(*(np.array([row[at] for row in rows], np.int64) for at in (0, 1)))
    assert [numbers.tolist().index(number) for number in numbers] == [rows.index(row) for row in rows]


@given(st.lists(st.integers(-5, 5) | st.integers(-(1 << 40), 1 << 40), max_size=30))
def test_first_rows_and_repeated_rows_are_found_for_keys_of_any_range(keys: list[int]) -> None:
    """Guards against a duplicate (date, player) that passes, and a game whose facts are those of its last row."""
    numbers = np.array(keys, np.int64)
    assert firsts_of(numbers).tolist() == [keys.index(key) for key in sorted(set(keys))]
    assert repeated(numbers).tolist() == [keys.count(key) > 1 for key in keys]


def _dictionary(codes: list[int | None], values: list[str | None]) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(codes, pa.int32()), pa.array(values, pa.string()))


@pytest.mark.parametrize(
    "chunks",
    [
        [_dictionary([1, 1, 3, None], ["X", "W", "Y", "L"])],
        [_dictionary([0, 0, 1, None], ["W", "L", "Z"])],
        [_dictionary([0, 1, 2, None], ["W", "W", "L"])],
        [_dictionary([0, 0, 1, 2], ["W", "L", None])],
        [_dictionary([0, 0], ["W"]), _dictionary([1, None], ["X", "L"])],
        [_dictionary([0, 0, 1, None], ["W", "L", "Z"]).slice(0, 3), pa.array([None], pa.string()).dictionary_encode()],
    ],
    ids=["unused", "unused at the end", "twice", "null in it", "two of them", "sliced"],
)
def test_a_dictionary_is_coded_as_its_texts(chunks: list[pa.DictionaryArray]) -> None:
    """Guards against games, names and results that no row has, and against one value that is taken for two."""
    column = pa.chunked_array(chunks)
    coded = Coded.of(column)
    assert coded.texts(str).to_pylist() == column.to_pylist() == ["W", "W", "L", None]
    assert sorted(coded.values) == ["L", "W"]


def test_a_missing_value_is_no_value() -> None:
    """Guards against a null that is taken for the last of the values, whose number is -1 too to NumPy."""
    coded = Coded.of(pa.chunked_array([["W", None], ["L", "W"]]))
    assert coded.values == ["W", "L"]
    assert coded.codes.tolist() == [0, -1, 1, 0]
    assert coded.where("L".__eq__).tolist() == [False, False, True, False]
    assert coded.ranks().tolist() == [1, -1, 0, 1]
    assert coded.texts(str.lower).to_pylist() == ["w", None, "l", "w"]
    assert Columns(pa.table({"min": pa.chunked_array([[3, None]])})).numbers("min").tolist() == [3, 0]


@pytest.mark.parametrize(
    "made", [lambda rows: rows.ordered(np.array([2, 0, 1])), lambda rows: rows.replaced("wl", NEW)]
)
def test_what_is_coded_stays_that_of_the_rows(made: Callable[[Columns], Columns]) -> None:
    """Guards against numbers of the rows before they were put in order, or of the column that was replaced."""
    rows = Columns(pa.table({"wl": ["W", "L", "L"], "team": ["BKN", "CHI", "BOS"]}))
    rows.coded("wl"), rows.coded("team")
    found = made(rows)
    for name in ("wl", "team"):
        assert found.coded(name).taken(np.arange(3)) == found.table[name].to_pylist()
