"""Feature rows as callers give them, by name, turned into the contract's matrix or refused by row and name.

What belongs here: reading a mapping, a list of mappings, a pandas DataFrame or an Arrow table, and naming the row and
the field of each fault. What does not: predicting, and the tables of other libraries (`tables`).

`ROW` is the contract as a Pydantic type: it validates every row, and the OpenAPI document describes it. What older
feature stores wrote for a missing value is read as training reads it (`data.canonical`).
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, time
from decimal import Decimal
from functools import cache
from itertools import chain, islice
from numbers import Real
from operator import itemgetter
from typing import Annotated, Any, Literal, NotRequired

import numpy as np
import numpy.typing as npt
from pydantic import BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from nba_ml.contract.errors import FeatureRowsError
from nba_ml.contract.features import FEATURE_VERSIONS, V2_33FEATURES, Feature, FeatureVersion
from nba_ml.data.canonical import canonical_vectors
from nba_ml.serving.bulk_rows import BulkContract
from nba_ml.serving.tables import columns_of, is_missing

KEYS = ("player_lookup", "game_date", "game_id")
"""Optional fields beside the features, returned with the prediction."""

MOST_FAULTS = 50
"""Faults that an error lists; the rest are only counted."""

LINE, FLAG = "vegas_points_line", "has_vegas_line"

LONGEST_KEY = 200
"""Characters of a player's or a game's name."""

FEWEST_AT_ONCE = 8
"""Rows that are validated by columns; fewer take less time one by one."""

Floats = npt.NDArray[np.float64]

_ANY = {feature.name: feature for version in reversed(FEATURE_VERSIONS.values()) for feature in version.features}
"""The features of all versions. One that the model's version lacks is left out: a client may send the rows of several
versions as one, since whoever sends them does not know which model serves which row."""
_ISO_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_PLAIN = frozenset((float, int, str, date, type(None)))
"""Types that Pydantic validates as the contract means them. It would also accept True as a number."""


def _date(value: Any) -> Any:
    """A date, a midnight or `YYYY-MM-DD` as a date; Pydantic would also accept a number of seconds."""
    if isinstance(value, str) and _ISO_DATE.fullmatch(value):
        return date.fromisoformat(value)
    if isinstance(value, datetime) and value.time() == time():
        return value.date()
    if value is None or (isinstance(value, date) and not isinstance(value, datetime)):
        return value
    raise ValueError("not a date")


def _feature_type(feature: Feature) -> Any:
    """The Pydantic type of a feature's value."""
    number: Any = Annotated[float, Field(strict=True, ge=feature.low, le=feature.high)]
    value = Literal[0, 1] if feature.unit == "0/1" else number
    missing = f" null: {feature.missing_when}." if feature.nullable else ""
    return Annotated[
        value | None if feature.nullable else value,
        Field(description=f"{feature.definition} ({feature.unit}).{missing}"),
    ]


def row_type(version: FeatureVersion) -> Any:
    """A row of a feature version as a `TypedDict`: all features required, the keys optional, nothing else."""
    key = Annotated[str, Field(strict=True, min_length=1, max_length=LONGEST_KEY)] | None
    make: Any = TypedDict  # to mypy, whose fields must be literal
    row = make(
        "Row",
        {
            **{feature.name: _feature_type(feature) for feature in version.features},
            "player_lookup": NotRequired[key],
            "game_date": NotRequired[Annotated[date | None, BeforeValidator(_date)]],
            "game_id": NotRequired[key],
        },
    )
    row.__doc__ = f"The features of {version.name} by name, and optional keys that come back with the prediction."
    row.__pydantic_config__ = ConfigDict(extra="forbid")
    return row


def joint_version(first: FeatureVersion, second: FeatureVersion) -> FeatureVersion:
    """The features of both, each within the range that both allow: a row that a model of either can serve."""
    if first == second:
        return first
    features = {each.name: each for each in (*first.features, *second.features)}
    for name in set(first.names) & set(second.names):
        one, other = first[name], second[name]
        features[name] = replace(
            one if other.nullable else other, low=max(one.low, other.low), high=min(one.high, other.high)
        )
    return FeatureVersion(f"{first.name} and {second.name}", tuple(features.values()))


Row: Any = row_type(V2_33FEATURES)
ROW: TypeAdapter[dict[str, Any]] = TypeAdapter(Row)


class _Contract:
    """How rows of a version are validated and put in order."""

    def __init__(self, version: FeatureVersion) -> None:
        self.version = version
        self.known = frozenset((*version.names, *KEYS))
        row = ROW if version == V2_33FEATURES else TypeAdapter(row_type(version))
        self.validated: Callable[[object], dict[str, Any]] = row.validator.validate_python
        self.vector = itemgetter(*version.names)
        self.bulk = BulkContract(version, self.known | _ANY.keys(), line=LINE, flag=FLAG, longest_key=LONGEST_KEY)


@cache
def _contract(name: str) -> _Contract:
    return _Contract(FEATURE_VERSIONS[name])


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with a field of a row. `row` counts from 0; None means all rows, or the whole row."""

    row: int | None
    field: str | None
    problem: str

    def __str__(self) -> str:
        where = [] if self.row is None else [f"row {self.row}"]
        where += [] if self.field is None else [self.field]
        return f"{', '.join(where)}: {self.problem}" if where else self.problem


@dataclass(frozen=True, slots=True)
class FeatureRows:
    """Rows that keep the contract. `features` (n, features) in the version's order, NaN for missing; the keys where
    given.
    """

    features: Floats
    player_lookup: Sequence[str | None]
    game_date: Sequence[date | None]
    game_id: Sequence[str | None]
    version: FeatureVersion = V2_33FEATURES

    def take(self, indices: Sequence[int]) -> FeatureRows:
        """Some of the rows, in this order."""
        return FeatureRows(
            self.features[list(indices)],
            [self.player_lookup[index] for index in indices],
            [self.game_date[index] for index in indices],
            [self.game_id[index] for index in indices],
            self.version,
        )


def read_rows(given: object, version: FeatureVersion = V2_33FEATURES, *, line_as_flagged: bool = False) -> FeatureRows:
    """Read rows of any accepted kind: a mapping of names to values, a list of those, a DataFrame, an Arrow table.

    All names of the version are required, in any order; no others are allowed but `KEYS`, and the features of other
    versions, which are left out. None and NaN are missing.

    Args:
        version: of the model that serves the rows.
        line_as_flagged: refuse a mapping whose `has_vegas_line` contradicts its line. Otherwise it is read as training
            reads it, as no line: older feature stores wrote the season average beside a flag of 0.

    Raises:
        FeatureRowsError: names are missing, unknown or repeated; a value is not a number, infinite, outside its
            range, or missing where the contract forbids it; or a bare array or list of numbers, whose order cannot be
            checked.
    """
    if isinstance(given, FeatureRows) and given.version == version:
        return given
    contract = _contract(version.name)
    if (table := columns_of(given)) is not None:
        faults = _faults_of_names(table.names, contract)
        if faults:
            raise _refusal(faults, len(faults), table.rows, contract)
    return _of_mappings(list_rows(given), contract, line_as_flagged)


def list_rows(given: object) -> Sequence[object]:
    """Rows of any accepted kind one by one, not validated yet.

    Raises:
        FeatureRowsError: a bare array or a list of numbers, whose order cannot be checked.
    """
    if isinstance(given, Mapping):
        return [given]
    if isinstance(given, list | tuple):
        return given
    if (table := columns_of(given)) is not None:
        values = zip(*(table.values_of(name) for name in table.names), strict=True)
        return [dict(zip(table.names, row, strict=True)) for row in values]
    problem = (
        f"rows of type {type(given).__name__} have no names. Give a mapping of the feature names to values, a list of "
        "mappings, a pandas DataFrame or an Arrow table"
    )
    raise _refusal([Fault(None, None, problem)], 1, 1, _contract(V2_33FEATURES.name))


def player_and_date(row: object) -> tuple[str, date] | None:
    """Whose row it is; None if it does not say so in a form that the contract accepts."""
    player, day = (row.get("player_lookup"), row.get("game_date")) if isinstance(row, Mapping) else (None, None)
    try:
        read = _date(day)
    except ValueError:
        return None
    return (player, read) if isinstance(player, str) and isinstance(read, date) else None


def _refusal(faults: list[Fault], count: int, rows: int, contract: _Contract) -> FeatureRowsError:
    listed = tuple(faults[:MOST_FAULTS])
    shown = "; ".join(str(fault) for fault in listed[:5])
    more = f"; and {count - 5:,} more" if count > 5 else ""
    return FeatureRowsError(
        f"{count:,} fault(s) in {rows:,} row(s) for {contract.version.name}: {shown}{more}. No predictions were "
        "made: correct these rows, or leave them out.",
        listed,
    )


def _faults_of_names(names: Sequence[Any], contract: _Contract) -> list[Fault]:
    """The faults of a table's names, which are reported once, not for each row."""
    faults = [Fault(None, _name(name), "is given more than once") for name, n in Counter(names).items() if n > 1]
    faults += [
        Fault(None, name, _problem(name, None, "missing", contract))
        for name in contract.version.names
        if name not in names
    ]
    return [*faults, *_unknown_names(names, None, contract)]


def _of_mappings(given: Sequence[object], contract: _Contract, line_as_flagged: bool) -> FeatureRows:
    if len(given) >= FEWEST_AT_ONCE and (read := contract.bulk.read(given, line_as_flagged=line_as_flagged)):
        features = canonical_vectors(read.features, contract.version)
        return FeatureRows(features, read.player_lookup, read.game_date, read.game_id, contract.version)
    return _one_by_one(given, contract, line_as_flagged)


def _one_by_one(given: Sequence[object], contract: _Contract, line_as_flagged: bool) -> FeatureRows:
    """Rows of which some may be faulty, or have values of other libraries' types."""
    rows: list[dict[str, Any]] = []
    faults: list[Fault] = []
    count = 0
    for index, row in enumerate(given):
        read = _read(row, index, contract)
        if isinstance(read, dict) and line_as_flagged and read[FLAG] != (read[LINE] is not None):
            read = 1, iter([Fault(index, FLAG, _contradiction(read))])
        if isinstance(read, dict):
            rows.append(read)
        else:
            count += read[0]
            faults += islice(read[1], MOST_FAULTS - len(faults))
    if count:
        raise _refusal(faults, count, len(given), contract)
    version = contract.version
    values = np.array([*map(contract.vector, rows)], dtype=np.float64).reshape(len(rows), version.count)
    players, dates, games = ([row.get(name) for row in rows] for name in KEYS)
    return FeatureRows(canonical_vectors(values, version), players, dates, games, version)


def _read(row: object, index: int, contract: _Contract) -> dict[str, Any] | tuple[int, Iterator[Fault]]:
    """The valid row, or the number of its faults and the faults, made on demand: only the first are listed.

    Most rows are valid as they are. Others are read again, more slowly.
    """
    if not isinstance(row, Mapping):
        return 1, iter([Fault(index, None, f"is {_shown(row)}, not an object of names and values")])
    if len(row) <= len(contract.known) and _PLAIN.issuperset(map(type, row.values())):
        try:
            return contract.validated(row)
        except ValueError:  # a ValidationError, or a name that has no UTF-8
            pass
    unknown = list(_unknown_names(row, index, contract))
    try:
        valid = contract.validated(_plain(row, contract))
    except ValidationError as error:
        return len(unknown) + error.error_count(), chain(unknown, _faults_of(error, row, index, contract))
    return (len(unknown), iter(unknown)) if unknown else valid


def _faults_of(error: ValidationError, row: Mapping[Any, Any], index: int, contract: _Contract) -> Iterator[Fault]:
    for each in error.errors(include_url=False, include_context=False, include_input=False):
        name = str(each["loc"][0])
        yield Fault(index, name, _problem(name, row.get(name), each["type"], contract))


def _plain(row: Mapping[Any, Any], contract: _Contract) -> dict[str, Any]:
    """The fields of the contract, with their numbers as `_number` reads them."""
    plain = {name: _number(row[name]) for name in contract.version.names if name in row}
    return {**plain, **{name: None if is_missing(row[name]) else row[name] for name in KEYS if name in row}}


def _number(value: object) -> float | str | None:
    """A number of any library as a float; None for a missing one; "" for what is not a number.

    Google's client gives a NUMERIC column as Decimals, and pandas NA for what an integer column lacks.
    """
    if is_missing(value):
        return None
    if isinstance(value, bool) or not isinstance(value, Real | Decimal):
        return ""
    try:
        number = float(value)
    except OverflowError:
        return math.inf
    except ValueError:  # Decimal("sNaN")
        return ""
    return None if math.isnan(number) else number


def _unknown_names(names: Iterable[object], row: int | None, contract: _Contract) -> Iterator[Fault]:
    """A fault for each name that is not the contract's, up to `MOST_FAULTS`: a client may send any number."""
    unknown = [name for name in names if name not in contract.known and name not in _ANY]
    for name in unknown[:MOST_FAULTS]:
        yield Fault(row, _name(name), f"is not a feature of {contract.version.name}")
    if len(unknown) > MOST_FAULTS:
        more = len(unknown) - MOST_FAULTS
        yield Fault(row, None, f"{more:,} more names are not features of {contract.version.name}")


def of_rows(error: FeatureRowsError, indices: Sequence[int]) -> FeatureRowsError:
    """The error of some rows with their places among all of those given."""
    faults = tuple(each if each.row is None else replace(each, row=indices[each.row]) for each in error.faults)
    text = re.sub(r"(?<=[:;] )row (\d+)", lambda found: f"row {indices[int(found[1])]}", str(error))
    return FeatureRowsError(text, faults)


def without_values(fault: Fault) -> Fault:
    """A fault that says what its field has to be, and not what was given."""
    name = fault.field
    if name is None or name not in (*_ANY, *KEYS):
        known = name is None
        return Fault(fault.row, name, "is not an object of names and values" if known else "is not a known feature")
    if name in KEYS:
        rule = "a date such as 2025-01-15" if name == "game_date" else f"text of 1 to {LONGEST_KEY} characters"
        return Fault(fault.row, name, f"must be {rule}, or null")
    feature = _ANY[name]
    rule = "0 or 1" if feature.unit == "0/1" else f"a number, {feature.low:g} to {feature.high:g} ({feature.unit})"
    agrees = f": 1 with a {LINE}, 0 without" if name == FLAG else ""
    return Fault(fault.row, name, f"must be {rule}{', or null' if feature.nullable else ''}{agrees}")


def _contradiction(row: Mapping[str, Any]) -> str:
    if row[FLAG]:
        return f"is 1, and {LINE} is null. Give the line, or 0 if no book has one"
    return f"is 0, and {LINE} is {_shown(row[LINE])}. Give 1, or null for the line if no book has one"


def _problem(name: str, value: object, kind: str, contract: _Contract) -> str:
    """What is wrong with the value of a field; `kind` is Pydantic's."""
    if kind == "missing":
        return "is missing. Give every feature; null where the contract allows a missing value"
    if name == "game_date":
        return f"is {_shown(value)}, not a date such as 2025-01-15"
    if name in KEYS:
        return f"is {_shown(value)}, not text of 1 to {LONGEST_KEY} characters (UTF-8)"
    feature, number = contract.version[name], _number(value)
    limits = f"{feature.low:g} to {feature.high:g} ({feature.unit})"
    if number is None:
        return f"is missing, which the contract forbids. Give a number, {limits}"
    if isinstance(number, str):
        return f"is {_shown(value)}, not a number"
    if math.isinf(number):
        return f"is infinite, outside {limits}"
    if feature.unit == "0/1" and feature.low <= number <= feature.high:
        return f"is {number!r}, neither 0 nor 1"
    return f"is {number!r}, outside {limits}"


def _name(name: object) -> str:
    """An unknown name as a message can hold it."""
    return _printable(str, name)[:LONGEST_KEY]


def _shown(value: object) -> str:
    """The value as JSON writes it, as most callers send JSON; what JSON lacks as Python writes it, with its type."""
    try:
        text, kind = json.dumps(value, allow_nan=False), ""
    except (TypeError, ValueError, RecursionError):
        text, kind = _printable(repr, value), f" ({type(value).__name__})"
    return f"{text if len(text) <= 40 else text[:40] + '...'}{kind}"


def _printable(form: Callable[[object], str], value: object) -> str:
    """Any value as text that can be written anywhere. Python has no text for an integer of 5,000 digits, nor for lists
    nested a thousand deep, and half of a surrogate pair has no UTF-8.
    """
    try:
        return form(value).encode("utf-8", "backslashreplace").decode()
    except (ValueError, RecursionError):
        return "something too large to be shown"
