"""Columns as numbers, and groups of rows: a rule about whole games is then a few operations on columns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

V = TypeVar("V")
Mask = npt.NDArray[np.bool_]
Numbers = npt.NDArray[np.int64]

TEXT_CODES = pa.dictionary(pa.int32(), pa.string())
"""Of a column of text whose different values are few."""

_SHORT = 1 << 16


@dataclass(frozen=True, slots=True)
class Coded(Generic[V]):
    """A column as numbers: `codes` (rows,) into its different `values`, -1 for null."""

    codes: Numbers
    values: list[V]

    @classmethod
    def of(cls, column: pa.ChunkedArray) -> Coded[Any]:
        """A column of any type."""
        array = column.combine_chunks()
        given = pa.types.is_dictionary(array.type)
        encoded = array if given else array.dictionary_encode()
        indices = encoded.indices.fill_null(-1) if encoded.null_count else encoded.indices
        codes, values = indices.to_numpy().astype(np.int64), encoded.dictionary.to_pylist()
        if given and (encoded.dictionary.null_count or len(set(values)) < len(values)):
            return cls.of(pa.chunked_array([array.cast(array.type.value_type)]))
        return cls(codes, values)._without_unused() if given else cls(codes, values)

    def _without_unused(self) -> Coded[V]:
        """A dictionary may have values of no row: of rows that were left out, or that its file does not have."""
        used = np.zeros(len(self.values) + 1, np.bool_)  # the last one is for nulls
        used[self.codes] = True
        used = used[:-1]
        if used.all():
            return self
        places = np.append(np.cumsum(used) - 1, -1)
        return Coded(places[self.codes], [value for value, kept in zip(self.values, used, strict=True) if kept])

    @property
    def firsts(self) -> Numbers:
        """(values,): the first row of each value, where no row has a null."""
        return firsts_of(self.codes)

    def where(self, holds: Callable[[V], object]) -> Mask:
        """(rows,): whether it gives something true for the row's value; not for null."""
        return np.array([*map(bool, map(holds, self.values)), False])[self.codes]

    def each(self, of: Callable[[V], Any], null: object, kind: npt.DTypeLike) -> npt.NDArray[Any]:
        """(rows,): a function of the row's value, called once for each different one."""
        return np.array([*map(of, self.values), null], kind)[self.codes]

    def texts(self, of: Callable[[V], str]) -> pa.Array:
        """(rows,): likewise a text of the row's value, as Arrow has it; null for null."""
        nulls = self.codes < 0
        return pa.array([*map(of, self.values)], pa.string()).take(
            pa.array(self.codes, mask=nulls if nulls.any() else None)
        )

    def ranks(self) -> Numbers:
        """(rows,): the place of the row's value among the values in order; -1 for null."""
        places = {value: place for place, value in enumerate(sorted(self.values))}  # type: ignore[type-var]
        ranks: Numbers = self.each(places.__getitem__, -1, np.int64)
        return ranks

    def taken(self, rows: Numbers) -> list[V]:
        """The values of some rows without nulls."""
        return [self.values[code] for code in self.codes[rows].tolist()]


class Columns:
    """The columns of a table as numbers, each made when it is first asked for; `known` are those that are made."""

    def __init__(self, table: pa.Table, known: Mapping[str, Coded[Any]] | None = None) -> None:
        self.table = table
        self._coded = dict(known or {})
        self._numbers: dict[str, Numbers] = {}

    def coded(self, name: str) -> Coded[Any]:
        """A column of any type."""
        if name not in self._coded:
            self._coded[name] = Coded.of(self.table[name])
        return self._coded[name]

    def integers(self, name: str) -> npt.NDArray[np.integer[Any]]:
        """(rows,): a column of whole numbers without nulls, in its own type."""
        values: npt.NDArray[np.integer[Any]] = self.table[name].combine_chunks().to_numpy()
        return values

    def numbers(self, name: str) -> Numbers:
        """(rows,): a column of whole numbers or booleans; 0 for null."""
        if name not in self._numbers:
            values = self.table[name].combine_chunks()
            if values.null_count:
                values = values.cast(pa.int64()).fill_null(0)
            self._numbers[name] = values.to_numpy(zero_copy_only=False).astype(np.int64)
        return self._numbers[name]

    def filter(self, kept: Mask | pa.ChunkedArray) -> Columns:
        """The rows (kept,)."""
        return Columns(self.table.filter(kept))

    def ordered(self, order: Numbers) -> Columns:
        """All rows in another order (rows,)."""
        known = {name: Coded(each.codes[order], each.values) for name, each in self._coded.items()}
        return Columns(pc.take(self.table, pa.array(order), boundscheck=False), known)

    def replaced(self, name: str, column: pa.Array) -> Columns:
        """With another column in the place of one."""
        known = {each: coded for each, coded in self._coded.items() if each != name}
        return Columns(self.table.set_column(self.table.column_names.index(name), name, column), known)


def paired(*columns: npt.NDArray[Any]) -> Numbers:
    """(rows,): one number for each combination of the columns' numbers."""
    pairs = np.zeros(len(columns[0]), np.int64)
    for column in columns:
        if len(column):
            pairs = pairs * (int(column.max()) - int(column.min()) + 1) + (column - column.min())
    return pairs


def order_of(keys: Numbers) -> Numbers:
    """(rows,): the rows in the order of their keys; rows with the same key as they are."""
    if len(keys) and int(keys.max()) - (least := int(keys.min())) < _SHORT:
        keys = (keys - least).astype(np.uint16)  # NumPy sorts these by radix, many times faster
    return np.argsort(keys, kind="stable")


def firsts_of(keys: Numbers) -> Numbers:
    """(different numbers,): the first row of each number, in the order of numbers."""
    least = int(keys.min(initial=0))
    span = int(keys.max(initial=0)) - least + 1
    if span > _SHORT + len(keys):
        return np.unique(keys, return_index=True)[1]
    firsts = np.full(span, -1)
    firsts[keys[::-1] - least] = np.arange(len(keys))[::-1]  # the last that is written stays
    return firsts[firsts >= 0]


def repeated(keys: Numbers) -> Mask:
    """(rows,): whether another row has the same number."""
    if len(firsts_of(keys)) == len(keys):
        return np.zeros(len(keys), np.bool_)
    groups = Groups(keys)
    return groups.size[groups.index] > 1


class Groups:
    """Rows with the same number, in the order of the numbers. Each method gives one value for each group (groups,)."""

    def __init__(self, keys: Numbers) -> None:
        self._order = order_of(keys)
        ordered = keys[self._order]
        begins = np.ones(len(keys), np.bool_)
        np.not_equal(ordered[1:], ordered[:-1], out=begins[1:])
        self._starts = np.flatnonzero(begins)
        self.index = np.empty(len(keys), np.int64)
        """(rows,): the place of the row's group."""
        self.index[self._order] = np.cumsum(begins) - 1

    @property
    def firsts(self) -> Numbers:
        """The first row of each group."""
        return self._order[self._starts]

    @cached_property
    def size(self) -> Numbers:
        """How many rows it has."""
        return np.bincount(self.index, minlength=len(self._starts))

    def any(self, rows: Mask | Numbers) -> Mask:
        """Whether one of its rows is among some: a mask (rows,), or their places."""
        return np.bincount(self.index[rows], minlength=len(self._starts)) > 0

    def sum(self, values: npt.NDArray[Any]) -> Numbers:
        """The sum of its values."""
        return self._over(np.add, values.astype(np.int64))

    def least(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The least of its values."""
        return self._over(np.minimum, values)

    def most(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The largest of its values."""
        return self._over(np.maximum, values)

    def differ(self, *columns: npt.NDArray[Any]) -> Mask:
        """Whether its rows differ in any of the columns."""
        changes = np.zeros(len(self._order), np.bool_)
        for each in columns:
            ordered = each[self._order]
            changes[1:] |= ordered[1:] != ordered[:-1]
        changes[self._starts] = False
        return self._over_ordered(np.logical_or, changes)

    def distinct(self, values: npt.NDArray[Any]) -> Numbers:
        """How many different values it has."""
        firsts = firsts_of(paired(self.index, values))
        return np.bincount(self.index[firsts], minlength=len(self._starts))

    def _over(self, operation: np.ufunc, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return self._over_ordered(operation, values[self._order])

    def _over_ordered(self, operation: np.ufunc, ordered: npt.NDArray[Any]) -> npt.NDArray[Any]:
        reduced: npt.NDArray[Any] = operation.reduceat(ordered, self._starts)
        return reduced
