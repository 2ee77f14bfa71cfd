"""Columns as numbers, and groups of rows: a rule about whole games is then a few operations on columns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

V = TypeVar("V")
Mask = npt.NDArray[np.bool_]
Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Coded(Generic[V]):
    """A column as numbers: `codes` (rows,) into its different `values`, -1 for null."""

    codes: Numbers
    values: list[V]

    @classmethod
    def of(cls, column: pa.ChunkedArray) -> Coded[Any]:
        """A column of any type."""
        encoded = column.combine_chunks().dictionary_encode()
        indices = encoded.indices.fill_null(-1) if encoded.null_count else encoded.indices
        return cls(indices.to_numpy().astype(np.int64), encoded.dictionary.to_pylist())

    def where(self, holds: Callable[[V], bool]) -> Mask:
        """(rows,): whether it holds for the row's value; not for null."""
        held: Mask = self.each(holds, False, bool)
        return held

    def each(self, of: Callable[[V], Any], null: object, kind: npt.DTypeLike) -> npt.NDArray[Any]:
        """(rows,): a function of the row's value, called once for each different one."""
        return np.array([*map(of, self.values), null], kind)[self.codes]

    def texts(self, of: Callable[[V], str]) -> pa.Array:
        """(rows,): likewise a text of the row's value, as Arrow has it; null for null."""
        return pa.array([*map(of, self.values)], pa.string()).take(pa.array(self.codes, mask=self.codes < 0))


class Columns:
    """The columns of a table as numbers, each made when it is first asked for."""

    def __init__(self, table: pa.Table) -> None:
        self.table = table
        self._coded: dict[str, Coded[Any]] = {}

    def coded(self, name: str) -> Coded[Any]:
        """A column of any type."""
        if name not in self._coded:
            self._coded[name] = Coded.of(self.table[name])
        return self._coded[name]

    def numbers(self, name: str) -> Numbers:
        """(rows,): a column of whole numbers or booleans; 0 for null."""
        values = self.table[name].combine_chunks().cast(pa.int64())
        whole: Numbers = (values.fill_null(0) if values.null_count else values).to_numpy()
        return whole

    def filter(self, kept: Mask | pa.ChunkedArray) -> Columns:
        """The rows (kept,)."""
        return Columns(self.table.filter(kept))


def paired(*columns: npt.NDArray[Any]) -> Numbers:
    """(rows,): one number for each combination of the columns' numbers."""
    pairs = np.zeros(len(columns[0]), np.int64)
    for column in columns:
        if len(column):
            pairs = pairs * (int(column.max()) - int(column.min()) + 1) + (column - column.min())
    return pairs


class Groups:
    """Rows with the same number. Each method gives the same for all rows of a group, as an array (rows,)."""

    def __init__(self, keys: Numbers) -> None:
        self._order = np.argsort(keys, kind="stable")
        ordered = keys[self._order]
        begins = np.diff(ordered, prepend=ordered[:1] - 1) != 0
        self._starts = np.flatnonzero(begins)
        self.index = np.empty(len(keys), np.int64)
        """The number of the row's group, counted from 0 in the order of the keys."""
        self.index[self._order] = np.cumsum(begins) - 1

    @property
    def firsts(self) -> Numbers:
        """(groups,): the first row of each group."""
        return self._order[self._starts]

    @property
    def size(self) -> Numbers:
        """How many rows it has."""
        return np.bincount(self.index)[self.index]

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
        differ: Mask = np.logical_or.reduce([self.least(each) != self.most(each) for each in columns])
        return differ

    def distinct(self, values: npt.NDArray[Any]) -> Numbers:
        """How many different values it has."""
        firsts = Groups(paired(self.index, values)).firsts
        return np.bincount(self.index[firsts])[self.index]

    def _over(self, operation: np.ufunc, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        reduced: npt.NDArray[Any] = operation.reduceat(values[self._order], self._starts)
        return reduced[self.index]
