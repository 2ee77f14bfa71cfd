"""Feature rows as callers give them, by name, turned into the contract's matrix or refused by name.

What belongs here: reading one mapping, a list of them, a pandas DataFrame or an Arrow table, and saying of each
fault in which row and under which name it lies. What does not: predicting. pandas and Arrow are never imported
here: whoever gives one of theirs has loaded them.

What older feature stores wrote for "missing" is read as training reads it (`data.canonical`).
"""

from __future__ import annotations

import math
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from numbers import Real
from typing import Any

import numpy as np
import numpy.typing as npt

from nba_ml.contract.errors import FeatureRowsError
from nba_ml.contract.features import V2_33FEATURES, Feature
from nba_ml.data.canonical import canonical_vectors

KEYS = ("player_lookup", "game_date", "game_id")
"""What may stand beside the features, and comes back with the prediction."""

MOST_FAULTS = 50
"""Faults that an error lists; the rest it counts."""

LONGEST_KEY = 200
"""Characters of a player's or a game's name."""

Floats = npt.NDArray[np.float64]

_FEATURES = V2_33FEATURES.features
_NAMES = V2_33FEATURES.names
_KNOWN = frozenset((*_NAMES, *KEYS))
_LOW = np.array([feature.low for feature in _FEATURES])
_HIGH = np.array([feature.high for feature in _FEATURES])
_FORBIDS_MISSING = np.array([not feature.nullable for feature in _FEATURES])
_FLAG = np.array([feature.unit == "0/1" for feature in _FEATURES])
_ISO_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_PLAIN = {float, int, type(None)}


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with the value under a name in a row; `row` counts from 0, None speaks of all rows."""

    row: int | None
    field: str | None
    problem: str

    def __str__(self) -> str:
        where = "" if self.row is None else f"row {self.row}, "
        return f"{where}{self.field or 'as a whole'}: {self.problem}"


@dataclass(frozen=True, slots=True)
class FeatureRows:
    """Rows that keep the contract. `features` (n, 33) in its order, NaN for missing; the keys where given."""

    features: Floats
    player_lookup: Sequence[str | None]
    game_date: Sequence[date | None]
    game_id: Sequence[str | None]

    def take(self, indices: Sequence[int]) -> FeatureRows:
        """Some of the rows, in this order."""
        return FeatureRows(
            self.features[list(indices)],
            [self.player_lookup[index] for index in indices],
            [self.game_date[index] for index in indices],
            [self.game_id[index] for index in indices],
        )


def read_rows(given: object) -> FeatureRows:
    """Read rows of any accepted kind: a mapping of names to values, a list of those, a DataFrame, an Arrow table.

    Every one of the 33 names must be there, in any order, and no other but `KEYS`. None and NaN are missing.

    Raises:
        FeatureRowsError: names are missing, unknown or repeated; a value is no number, infinite, outside its range,
            or missing where the contract forbids it; a bare array or list of numbers, whose order nobody can check.
    """
    if isinstance(given, Mapping):
        return _of_mappings([given])
    if isinstance(given, _classes("pandas", "DataFrame")):
        return _of_columns(len(given), list(given.columns), lambda name: _pandas_values(given[name]))
    if isinstance(given, _classes("pyarrow", "Table", "RecordBatch")):
        return _of_columns(given.num_rows, given.schema.names, lambda name: _arrow_values(given.column(name)))
    if isinstance(given, list | tuple):
        return _of_mappings(given)
    problem = (
        f"a {type(given).__name__} is no kind of rows that carries names. Give a mapping of the 33 names to values, a "
        "list of mappings, a pandas DataFrame or an Arrow table"
    )
    raise _refusal([Fault(None, None, problem)], 1)


def _classes(library: str, *names: str) -> tuple[type[Any], ...]:
    """Classes of a library that somebody has loaded, as far as they are there.

    Another thread may be in the middle of importing it, as CatBoost imports pandas while a challenger is loaded: then
    the module is there and its classes are not, and nobody can have given one of its tables yet.
    """
    module = sys.modules.get(library)
    return tuple(getattr(module, name) for name in names if hasattr(module, name))


def _refusal(faults: list[Fault], rows: int) -> FeatureRowsError:
    listed = tuple(faults[:MOST_FAULTS])
    shown = "; ".join(str(fault) for fault in listed[:5])
    more = f"; and {len(faults) - 5:,} more" if len(faults) > 5 else ""
    return FeatureRowsError(
        f"{len(faults):,} fault(s) in {rows:,} row(s) for {V2_33FEATURES.name}: {shown}{more}. Nothing was predicted: "
        "correct the rows, or leave those out that cannot be corrected.",
        listed,
    )


def _of_mappings(given: Sequence[object]) -> FeatureRows:
    faults: list[Fault] = []
    vectors: list[list[Any]] = []
    keys: list[tuple[Any, ...]] = []
    for index, row in enumerate(given):
        if not isinstance(row, Mapping):
            faults.append(Fault(index, None, f"is {_shown(row)}, where a mapping of names to values is due"))
            continue
        faults += _name_faults(row.keys(), index)
        vector = [row.get(name) for name in _NAMES]
        if not _PLAIN.issuperset(map(type, vector)):
            vector = _numbers(vector, row, index, faults)
        vectors.append(vector)
        keys.append(tuple(row.get(name) for name in KEYS))
    if faults:
        raise _refusal(faults, len(given))
    try:
        values = np.array(vectors, dtype=np.float64).reshape(len(vectors), len(_NAMES))
    except OverflowError:  # an integer that no float can hold; some ranges end at 100
        values = np.array([[_float(value) for value in vector] for vector in vectors])
    players, dates, games = zip(*keys, strict=True) if keys else ((), (), ())
    return _checked(values, players, dates, games)


def _name_faults(names: Iterable[object], row: int | None) -> Iterator[Fault]:
    """Names that are missing and names that do not belong, one fault each; of the latter only so many as are listed,
    as anyone may send any number.
    """
    present = set(names)
    if len(present & _KNOWN) == len(present) and present.issuperset(_NAMES):
        return
    for name in _NAMES:
        if name not in present:
            yield Fault(row, name, "is missing. Give every feature; None where the contract lets it be unknown")
    foreign = [name for name in names if name not in _KNOWN]
    for name in sorted(map(_name, foreign[:MOST_FAULTS])):
        yield Fault(row, name, f"is no feature of {V2_33FEATURES.name}")
    if len(foreign) > MOST_FAULTS:
        more = len(foreign) - MOST_FAULTS
        yield Fault(row, None, f"has {more:,} more names that are no features of {V2_33FEATURES.name}")


def _numbers(vector: list[Any], row: Mapping[Any, Any], index: int, faults: list[Fault]) -> list[Any]:
    """The vector with numbers of other libraries as floats; a fault for each value that is no number."""
    numbers: list[Any] = []
    for name, value in zip(_NAMES, vector, strict=True):
        if value is None or (isinstance(value, Real) and not isinstance(value, bool)):
            numbers.append(None if value is None else _float(value))
        else:
            numbers.append(None)
            if name in row:
                faults.append(Fault(index, name, f"is {_shown(value)}, where a number is due"))
    return numbers


def _float(value: Any) -> float:
    """A number as a float; one too large for a float is infinite, and refused as such."""
    try:
        return math.nan if value is None else float(value)
    except OverflowError:
        return math.inf


def _name(name: object) -> str:
    """A name that is none of ours, as a message can hold it."""
    return _readable(str, name)[:LONGEST_KEY]


def _shown(value: object) -> str:
    text = _readable(repr, value)
    return f"{text if len(text) <= 40 else text[:40] + '...'} ({type(value).__name__})"


def _readable(form: Callable[[object], str], value: object) -> str:
    """Any value as text that can be written anywhere: Python has no text of an integer of 5,000 digits, nor of a list
    in a list in a list, a thousand times over, and half of a surrogate pair has no UTF-8.
    """
    try:
        return form(value).encode("utf-8", "backslashreplace").decode()
    except (ValueError, RecursionError):
        return "something too large to be shown"


def _of_columns(rows: int, names: Sequence[Any], values_of: Any) -> FeatureRows:
    """Rows of a table: checked column by column."""
    faults = [
        Fault(None, name, "is there more than once")
        for name in sorted(_name(name) for name, count in Counter(names).items() if count > 1)
    ]
    faults += _name_faults(names, None)
    if faults:
        raise _refusal(faults, rows)
    matrix = np.empty((rows, len(_NAMES)))
    for position, name in enumerate(_NAMES):
        values = values_of(name)
        if isinstance(values, np.ndarray):
            matrix[:, position] = values
            continue
        for index, value in enumerate(values):
            matrix[index, position] = math.nan
            if isinstance(value, Real) and not isinstance(value, bool):
                matrix[index, position] = _float(value)
            elif value is not None:
                faults.append(Fault(index, name, f"is {_shown(value)}, where a number is due"))
    if faults:
        raise _refusal(faults, rows)
    keys = (list(values_of(name)) if name in names else [None] * rows for name in KEYS)
    return _checked(matrix, *keys)


def _pandas_values(series: Any) -> Floats | list[Any]:
    """A column of numbers as floats, any other as Python's values with None for what pandas takes for missing."""
    kind = series.dtype.kind
    if kind in "iuf":
        numbers: Floats = series.to_numpy(dtype=np.float64, na_value=np.nan)
        return numbers
    return [None if gone else value for value, gone in zip(series.tolist(), series.isna().tolist(), strict=True)]


def _arrow_values(column: Any) -> Floats | list[Any]:
    """A column of numbers as floats, any other as Python's values; a null is NaN or None."""
    arrow = sys.modules["pyarrow"]
    if arrow.types.is_floating(column.type) or arrow.types.is_integer(column.type):
        numbers: Floats = column.cast(arrow.float64(), safe=False).to_numpy(zero_copy_only=False)
        return numbers
    return list(column.to_pylist())


def _checked(values: Floats, players: Sequence[Any], dates: Sequence[Any], games: Sequence[Any]) -> FeatureRows:
    """The rows, if they keep the contract as they are, made canonical as training does it."""
    missing = np.isnan(values)
    outside = (values < _LOW) | (values > _HIGH)  # of which infinity is
    no_flag = _FLAG & ~missing & (values != 0) & (values != 1)
    wrong = outside | no_flag | (missing & _FORBIDS_MISSING)
    faults = [
        Fault(int(row), _NAMES[column], _said(_FEATURES[column], float(values[row, column])))
        for row, column in np.argwhere(wrong)
    ]
    days = [_day(value, row, faults) for row, value in enumerate(dates)]
    for name, texts in (("player_lookup", players), ("game_id", games)):
        faults += [
            Fault(row, name, f"is {_shown(text)}, where 1 to {LONGEST_KEY} characters of UTF-8 are due")
            for row, text in enumerate(texts)
            if text is not None and not _is_key(text)
        ]
    if faults:
        raise _refusal(faults, len(values))
    return FeatureRows(canonical_vectors(values, V2_33FEATURES), players, days, games)


def _is_key(text: object) -> bool:
    """Whether it is text of the right length that has a form in UTF-8, by whose hash a rollout goes.

    Half of a surrogate pair, which JSON can hold as an escape, has none.
    """
    try:
        return isinstance(text, str) and 0 < len(text) <= LONGEST_KEY and len(text.encode()) > 0
    except UnicodeEncodeError:
        return False


def _said(feature: Feature, value: float) -> str:
    if math.isnan(value):
        return "is missing, which the contract forbids"
    if math.isinf(value):
        return "is infinite"
    if feature.unit == "0/1" and feature.low <= value <= feature.high:
        return f"is {value!r}, neither 0 nor 1"
    return f"is {value!r}, outside {feature.low:g} to {feature.high:g} ({feature.unit})"


def _day(value: Any, row: int, faults: list[Fault]) -> date | None:
    """A date from a date, a midnight or `YYYY-MM-DD`."""
    if value is None:
        return None
    if isinstance(value, datetime):
        if value.time() == time():
            return value.date()
    elif isinstance(value, date):
        return value
    elif isinstance(value, str) and _ISO_DATE.fullmatch(value):
        try:
            return date.fromisoformat(value)
        except ValueError:
            pass  # the 30th of February is said below, like any other text that is no date
    faults.append(Fault(row, "game_date", f"is {_shown(value)}, where a date is due, such as 2025-01-15"))
    return None
