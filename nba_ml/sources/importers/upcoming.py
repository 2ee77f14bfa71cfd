"""What is to be played and by whom: rows of a schedule and of rosters, from what `rows.read_rows` read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import time
from typing import Any

import pandas as pd
import pyarrow as pa

from nba_ml.contract import season
from nba_ml.contract.game_types import PLATFORM_TYPES, game_type_of_id
from nba_ml.contract.times import EASTERN, eastern_date
from nba_ml.sources.importers.report import ImportReport
from nba_ml.sources.importers.rows import refuse_where

SCHEDULE_SCHEMA = pa.schema(
    [
        ("game_id", pa.string()),
        ("game_date", pa.date32()),
        ("home_team", pa.string()),
        ("away_team", pa.string()),
        ("tip_off", pa.timestamp("us", tz="UTC")),
        ("neutral_site", pa.bool_()),
        ("season_type", pa.string()),
    ]
)
"""A file under `schedule/`, one for each season."""

ROSTER_SCHEMA = pa.schema(
    [("as_of", pa.date32()), ("team", pa.string()), ("player_id", pa.int64()), ("player_name", pa.string())]
)
"""A file under `rosters/`, one for each `as_of`."""

Row = dict[str, Any]


@dataclass(frozen=True)
class Kind:
    """A table that is not by month."""

    schema: pa.Schema
    key: Callable[[Row], Any]
    order: tuple[str, ...]
    complete: bool
    """An import has all rows of a file: what it does not have is no longer true."""
    tables: Callable[[pd.DataFrame, ImportReport], dict[str, pa.Table]]
    """What `rows.read_rows` read -> file's stem -> its rows."""


def _seasons(frame: pd.DataFrame, report: ImportReport) -> dict[str, pa.Table]:
    frame = _with(frame, SCHEDULE_SCHEMA)
    unknown = frame["home_team"].isna() | frame["away_team"].isna()
    report.put_aside("games whose teams are not known yet", int(unknown.sum()))
    frame = frame[~unknown].reset_index(drop=True)
    by_id = frame["game_id"].map(game_type_of_id, na_action="ignore")
    types = frame["season_type"].where(frame["season_type"].notna(), by_id)
    for kind, games in types[types.notna() & ~types.isin(PLATFORM_TYPES)].value_counts().items():
        report.put_aside(f"games of the type {kind}", int(games))
    # Not by Series.map, which makes NaT of a missing time.
    tip_off = pd.Series([_known_time(at) for at in frame["tip_off"]], index=frame.index, dtype=object)
    frame = frame.assign(season_type=types.map(str, na_action="ignore"), tip_off=tip_off)
    frame = frame[types.isna() | types.isin(PLATFORM_TYPES)].reset_index(drop=True)
    another_day = [
        at is not None and eastern_date(at) != day for at, day in zip(frame["tip_off"], frame["game_date"], strict=True)
    ]
    faults = [
        ("no value for game_id", frame["game_id"].isna()),
        ("no value for game_date", frame["game_date"].isna()),
        ("a team that plays itself", frame["home_team"] == frame["away_team"]),
        ("a tip-off on another date than game_date", another_day),
    ]
    frame = refuse_where(frame, faults, report)
    frame = _once(frame, ["game_id"], SCHEDULE_SCHEMA, report)
    names = frame["game_date"].map(lambda day: season.season_on(day).name)
    return {str(name): _table(rows, SCHEDULE_SCHEMA) for name, rows in frame.groupby(names)}


def _known_time(tip_off: Any) -> Any:
    """A tip-off, or None for midnight Eastern: so the league writes a time that is not known yet."""
    if tip_off is None or tip_off.astimezone(EASTERN).time() == time():
        return None
    return tip_off


def _rosters(frame: pd.DataFrame, report: ImportReport) -> dict[str, pa.Table]:
    if "first_name" in frame and "last_name" in frame and "player_name" not in frame:
        parts = zip(frame["first_name"], frame["last_name"], strict=True)
        full = [" ".join(filter(None, both)) or None for both in parts]
        frame = frame.assign(player_name=pd.Series(full, index=frame.index, dtype=object))
    frame = _with(frame, ROSTER_SCHEMA)
    report.put_aside("players without a team", int(frame["team"].isna().sum()))
    frame = frame[frame["team"].notna()].reset_index(drop=True)
    faults = [(f"no value for {name}", frame[name].isna()) for name in ("as_of", "player_id", "player_name")]
    frame = _once(refuse_where(frame, faults, report), ["as_of", "player_id"], ROSTER_SCHEMA, report)
    return {str(day): _table(rows, ROSTER_SCHEMA) for day, rows in frame.groupby("as_of")}


def _with(frame: pd.DataFrame, schema: pa.Schema) -> pd.DataFrame:
    """All of the schema's columns, empty where the source has none."""
    missing = [name for name in schema.names if name not in frame]
    return frame.assign(**{name: pd.Series([None] * len(frame), dtype=object) for name in missing})


def _once(frame: pd.DataFrame, key: list[str], schema: pa.Schema, report: ImportReport) -> pd.DataFrame:
    """Each key once: equal rows are one, different ones are refused, all of them."""
    again = frame.duplicated(schema.names)
    report.repeated += int(again.sum())
    frame = frame[~again].reset_index(drop=True)
    return refuse_where(frame, [("duplicates that differ", frame.duplicated(key, keep=False))], report)


def _table(frame: pd.DataFrame, schema: pa.Schema) -> pa.Table:
    return pa.table({name: pa.array(frame[name].tolist(), schema.field(name).type) for name in schema.names}, schema)


TABLES = {
    "schedule": Kind(SCHEDULE_SCHEMA, lambda row: row["game_id"], ("game_date", "game_id"), False, _seasons),
    "rosters": Kind(ROSTER_SCHEMA, lambda row: row["player_id"], ("team", "player_id"), True, _rosters),
}
"""Kind of a mapping -> its table."""
