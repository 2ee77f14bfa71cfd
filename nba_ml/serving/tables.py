"""Tables of pandas and Arrow, as names and columns of Python's own values.

Neither library is imported here: a caller who passes one of their tables has imported it.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class TableColumns:
    """A table of any library."""

    names: list[Any]
    values_of: Callable[[Any], list[Any]]
    rows: int


def columns_of(given: Any) -> TableColumns | None:
    """The columns of a table; None for anything else."""
    if isinstance(given, _classes("pandas", "DataFrame")):
        return TableColumns(list(given.columns), lambda name: _pandas_values(given[name]), len(given))
    if isinstance(given, _classes("pyarrow", "Table", "RecordBatch")):
        return TableColumns(list(given.schema.names), lambda name: _arrow_values(given.column(name)), given.num_rows)
    return None


def is_missing(value: object) -> bool:
    """Whether the value is None or pandas' NA, which the rows of its `to_dict` have. NaN is left to the caller."""
    return value is None or value is getattr(sys.modules.get("pandas"), "NA", None)


def _classes(library: str, *names: str) -> tuple[type[Any], ...]:
    """Classes of a library, if it has been imported.

    Another thread may be in the middle of importing it, as CatBoost imports pandas while a challenger is loaded: then
    the module exists without its classes, and no caller can have one of its tables yet.
    """
    module = sys.modules.get(library)
    return tuple(getattr(module, name) for name in names if hasattr(module, name))


def _pandas_values(series: Any) -> list[Any]:
    """A column as Python values, None where pandas has a missing value."""
    return [None if gone else value for value, gone in zip(series.tolist(), series.isna().tolist(), strict=True)]


def _arrow_values(column: Any) -> list[Any]:
    """A column as Python values, None for null and NaN."""
    values: list[Any] = column.to_pylist()
    return [None if isinstance(value, float) and math.isnan(value) else value for value in values]
