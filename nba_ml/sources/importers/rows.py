"""A file's raw values under our columns' names, read as what they mean. What cannot be read is refused by row."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from nba_ml.contract.errors import SourceDataError
from nba_ml.contract.game_types import PLATFORM_TYPES, game_type_of_id
from nba_ml.contract.text import printable
from nba_ml.contract.times import look_like_dates
from nba_ml.sources.importers import values
from nba_ml.sources.importers.mapping import COUNTS, Column, Mapping, label
from nba_ml.sources.importers.reading import RawTable
from nba_ml.sources.importers.report import ImportReport

_READERS: dict[str, Callable[..., Any]] = {
    **dict.fromkeys((*COUNTS, "plus_minus"), values.whole),
    **dict.fromkeys(("team", "opponent", "home_team", "away_team"), values.team),
    **dict.fromkeys(("is_home", "neutral_site", "is_alternate"), values.flag),
    **dict.fromkeys(("price", "over_price", "under_price"), values.number),
    **dict.fromkeys(("tip_off", "captured_at"), values.instant),
    **dict.fromkeys(("first_name", "last_name"), values.name),
    "as_of": values.day,
    "season": values.season,
    "season_type": values.season_type,
    "game_id": values.game_id,
    "game_date": values.day,
    "player_id": values.player_id,
    "player_name": values.name,
    "wl": values.result,
    "min": values.minutes,
    "book": values.book,
    "line": values.line,
    "side": values.side,
}


def read_rows(raw: RawTable, mapping: Mapping, constants: dict[str, str], report: ImportReport) -> pd.DataFrame:
    """The rows of a file that can be read: our columns, of objects, with `where` saying where a row is.

    Args:
        constants: values of columns that the file does not have.

    Raises:
        SourceDataError: the file lacks columns that the format needs.
    """
    file = Path(raw.file).name
    report.files[raw.file] = raw.read
    report.repeated += raw.headers
    report.refuse("a row with fewer or more cells than the header", (f"{file}:{row}" for row in raw.cut))
    if raw.frame.empty and not len(raw.frame.columns):
        return pd.DataFrame()
    frame = _wanted(raw.frame, mapping, report)
    specs = dict(mapping.columns)
    sources: dict[str, pd.Series] = {}
    for name, column in specs.items():
        series = _joined(frame, column)
        if series is not None:
            sources[name] = series
    for name, value in constants.items():
        if name not in sources or sources[name].map(values.text).isna().all():
            sources[name] = pd.Series(value, index=frame.index, dtype=object)
            specs[name] = Column(column=(name,))
    if missing := mapping.missing(set(sources)):
        raise SourceDataError(
            f"{raw.file} lacks {', '.join(missing)}. It has: {', '.join(map(str, raw.frame.columns))[:600]}. "
            "Check the format, give a value with --set COLUMN=VALUE, or write a mapping of your own (--mapping)."
        )
    if "min" in sources:
        sources["min"] = _without(sources["min"], mapping.rules.did_not_play)
    faults = pd.Series([None] * len(frame), index=frame.index, dtype=object)
    at_fault = faults.copy()
    columns: dict[str, pd.Series] = {}
    for name, series in sources.items():
        read, wrong = _read_column(name, series, specs[name])
        columns[name] = read
        at_fault = at_fault.mask(faults.isna() & wrong.notna(), series)
        faults = faults.where(faults.notna(), wrong)
    where = pd.Series([f"{file}:{row}" for row in frame.index], index=frame.index, dtype=object)
    if "game_id" in columns:
        # Before a team that is not of the league is a fault: All-Star and preseason games have such teams.
        kinds = columns["game_id"].map(lambda game: game and game_type_of_id(game))
        aside = faults.notna() & kinds.notna() & ~kinds.isin(PLATFORM_TYPES)
        for kind, number in kinds[aside].value_counts().items():
            report.put_aside(f"games of the type {kind}", int(number))
        columns, where, faults = {name: each[~aside] for name, each in columns.items()}, where[~aside], faults[~aside]
    for reason, rows in where[faults.notna()].groupby(faults[faults.notna()]):
        found = at_fault.loc[rows.index]
        report.refuse(str(reason), (f"{row} '{_shown(value)}'" for row, value in zip(rows, found, strict=True)))
    return pd.DataFrame({**columns, "where": where})[faults.isna()].reset_index(drop=True)


def _shown(value: Any) -> str:
    """A value at fault, in a few characters of one line."""
    return printable(str(value)[:40])


def _wanted(frame: pd.DataFrame, mapping: Mapping, report: ImportReport) -> pd.DataFrame:
    """Without the rows that `only` leaves out."""
    for names, accepted in mapping.only.items():
        series = _joined(frame, Column(column=tuple(names.split("|"))))
        if series is None:
            continue
        kept = series.map(lambda value, accepted=accepted: label(value) in accepted)
        report.put_aside(f"{names.split('|')[-1]} other than {', '.join(accepted)}", int((~kept).sum()))
        frame = frame[kept]
    return frame


def _joined(frame: pd.DataFrame, column: Column) -> pd.Series | None:
    """The first of the columns that the file has; where it is blank, the next."""
    there = [frame[label(name)] for name in column.column if label(name) in frame.columns]
    if not there:
        return None
    series = there[0]
    for other in there[1:]:
        blank = series.isna() | (series == "")
        if not blank.any():
            break
        series = series.where(~blank, other)
    return series


def _without(series: pd.Series, words: Sequence[str]) -> pd.Series:
    """Blanks where one of the words stands."""
    absent = tuple(label(word) for word in words)
    if not absent:
        return series
    return series.map(lambda value: None if isinstance(value, str) and label(value).startswith(absent) else value)


def _read_column(name: str, series: pd.Series, column: Column) -> tuple[pd.Series, pd.Series]:
    """Values and faults, each distinct value read once."""
    try:
        codes, distinct = pd.factorize(series, use_na_sentinel=False)
    except TypeError:  # lists and records, which no column of ours is
        codes, distinct = pd.factorize(series.map(str), use_na_sentinel=False)
    read = np.empty(len(distinct), dtype=object)
    wrong = np.empty(len(distinct), dtype=object)
    for i, value in enumerate(distinct):
        try:
            read[i] = _read_value(name, value, column)
        except values.ValueFault as fault:
            wrong[i] = f"{name}: {fault}"
    if _READERS[name] is values.day and column.pattern is None and column.codes is None:
        good = [values.moment(value, column.formats) for value, fault in zip(distinct, wrong, strict=True) if not fault]
        if look_like_dates(good):
            wrong[:] = f"{name}: midnight of another zone in every row, where a date was expected"
    return pd.Series(read[codes], index=series.index), pd.Series(wrong[codes], index=series.index)


def _read_value(name: str, value: Any, column: Column) -> Any:
    plain = values.text(value)
    if column.pattern is not None and plain is not None:
        match = re.search(column.pattern, plain)
        if match is None:
            raise values.ValueFault("not of the form that the mapping expects")
        value = plain = match[1] if match.re.groups else match[0]
    if column.codes is not None:
        known = {label(code): meaning for code, meaning in column.codes.items()}
        if label(plain or "") not in known:
            if plain is None:
                return None
            raise values.ValueFault("a value that the mapping does not know")
        value = known[label(plain or "")]
    reader = _READERS[name]
    if reader in (values.day, values.instant):
        return reader(value, column.formats)
    return reader(value)


def refuse_where(frame: pd.DataFrame, broken: Iterable[tuple[str, Any]], report: ImportReport) -> pd.DataFrame:
    """Refuse rows by rule, for the first rule that each breaks; the others are returned."""
    left = frame
    for reason, mask in broken:
        hit = pd.Series(mask, index=frame.index).loc[left.index].astype(bool)
        if hit.any():
            report.refuse(reason, described(left[hit]))
            left = left[~hit]
    return left.reset_index(drop=True)


def described(frame: pd.DataFrame) -> Iterable[str]:
    """Where each row is, and whose it is."""
    shown = [name for name in ("game_date", "player_name", "team", "book", "line") if name in frame]
    for row in frame[["where", *shown]].to_dict("records"):
        yield " ".join(str(row[name]) for name in ("where", *shown) if row[name] is not None)
