"""Columns of a file of a user's, cast to the types that they should have: without loss, or refused by name."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import date

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nba_ml.contract.errors import SourceDataError
from nba_ml.contract.text import clean
from nba_ml.contract.times import TimeWithoutZone, eastern_date, look_like_dates
from nba_ml.data.coded import TEXT_CODES, Coded, Columns, Mask
from nba_ml.data.identities import whole_game_ids


def with_types(
    table: pa.Table, types: Mapping[str, pa.DataType], where: str, *, may_be_null: Collection[str] = ()
) -> Columns:
    """The named columns, cast without loss; what hides in texts is left out.

    Args:
        types: column -> its type; `coded.TEXT_CODES` for texts few of which differ.
        where: the file, for messages.
        may_be_null: columns that may have nulls.

    Raises:
        SourceDataError: a column is missing, null somewhere, or of a type that cannot be cast; or its dates are not
            known from its times.
    """
    given = frozenset(table.column_names)
    missing = [name for name in types if name not in given]
    if missing:
        raise SourceDataError(
            f"{where} lacks the column{'s' if len(missing) > 1 else ''} {', '.join(missing)}. "
            f"Required columns: {', '.join(types)}."
        )
    columns: dict[str, pa.ChunkedArray] = {}
    coded: dict[str, Coded[str]] = {}
    for name, kind in types.items():
        column = table.column(name)
        if pa.types.is_timestamp(column.type) and pa.types.is_date(kind):
            column = _eastern_dates(column, name, where)
        try:
            if name in may_be_null and pa.types.is_floating(column.type):
                column = pc.if_else(pc.is_nan(column), None, column)  # pandas writes integers with gaps as floats
            if name == "game_id":
                column, _ = whole_game_ids(column)
            if column.type != kind:
                # A cast would silently turn '12' into 12, but text for a number means a broken export.
                if _is_text(column.type) != _is_text(kind):
                    raise pa.ArrowInvalid("text instead of numbers, or the reverse")
                column = column.cast(pa.string()).dictionary_encode() if kind == TEXT_CODES else column.cast(kind)
            columns[name] = column
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:  # the second: Arrow has no such cast
            raise SourceDataError(
                f"{where}: the column {name} is {column.type} and cannot be read as {_shown(kind)} ({error}). "
                "Export it again with the types in the sample data's README."
            ) from error
        if columns[name].null_count and name not in may_be_null:
            raise SourceDataError(
                f"{where}: the column {name} is null in {columns[name].null_count:,} of {len(column):,} rows. "
                "Missing values are not allowed; export the file again."
            )
        if _is_text(kind):
            # Without what steers a terminal or hides in a name.
            texts = coded[name] = Coded.of(columns[name])
            if clean(joined := "".join(texts.values)) != joined:
                columns[name] = pa.chunked_array([texts.texts(clean)]).cast(kind)
                del coded[name]
    return Columns(pa.table(columns), coded)


def as_text(column: pa.ChunkedArray | Mask) -> pa.ChunkedArray | Mask:
    """With texts in the place of their codes."""
    if isinstance(column, np.ndarray) or column.type != TEXT_CODES:
        return column
    return column.cast(pa.string())


def _shown(kind: pa.DataType) -> pa.DataType:
    """How text is coded is not for the reader of a message."""
    return pa.string() if kind == TEXT_CODES else kind


def _eastern_dates(times: pa.ChunkedArray, name: str, where: str) -> pa.ChunkedArray:
    """The league's dates; `contract.times` has the rule."""
    distinct = times.unique()
    dates: list[date | None] = []
    unknown: list[int] = []
    try:
        moments = distinct.to_pylist()
        if look_like_dates(moments):
            raise SourceDataError(
                f"{where}: the column {name} has midnight of the zone {times.type.tz} in every row: a date that was "
                "written as a time, which in the East is the evening before. Export it as a date."
            )
        for at, moment in enumerate(moments):
            try:
                dates.append(moment if moment is None else eastern_date(moment))
            except TimeWithoutZone:
                dates.append(None)
                unknown.append(at)
    except (OverflowError, ValueError) as error:
        raise SourceDataError(
            f"{where}: the column {name} has a time outside the years 1 to 9999 ({error}). Export it again as a date."
        ) from error
    place = pc.index_in(times, distinct)
    if unknown:
        with_time = pc.sum(pc.is_in(place, pa.array(unknown, pa.int32()))).as_py()
        raise SourceDataError(
            f"{where}: the column {name} has a time of day and no time zone in {with_time:,} of {len(times):,} "
            "rows, so that its date is not known: a game at 20:00 Eastern is on the next day in UTC. Export it as "
            "a date, or as a timestamp with its zone."
        )
    return pa.chunked_array([pa.array(dates, pa.date32()).take(part) for part in place.chunks], pa.date32())


def _is_text(kind: pa.DataType) -> bool:
    """Text in any of Arrow's encodings: some Parquet writers use the large or the dictionary one."""
    if pa.types.is_dictionary(kind):
        return _is_text(kind.value_type)
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))
