"""Box scores of a file: what follows from other columns, and what a row must be by itself."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator
from datetime import date
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from nba_ml.contract import season
from nba_ml.contract.errors import MonthError
from nba_ml.contract.game_types import PLATFORM_TYPES, GameType, game_type_of_id
from nba_ml.data.box_scores import LONGEST_GAME
from nba_ml.sources.importers.history import History, is_own_id, own_game_id
from nba_ml.sources.importers.mapping import COUNTS, GAME_COLUMNS, Rules
from nba_ml.sources.importers.report import ImportReport
from nba_ml.sources.importers.rows import described, refuse_where

SCHEMA = pa.schema(
    [
        ("season", pa.string()),
        ("season_type", pa.string()),
        ("game_id", pa.string()),
        ("game_date", pa.date32()),
        ("player_id", pa.int64()),
        ("player_name", pa.string()),
        ("team", pa.string()),
        ("opponent", pa.string()),
        ("is_home", pa.bool_()),
        ("neutral_site", pa.bool_()),
        ("wl", pa.string()),
        *((name, pa.int16()) for name in ("min", *COUNTS, "plus_minus")),
    ]
)
"""A file under `player_games/`, as the shipped ones are."""
assert tuple(SCHEMA.names) == GAME_COLUMNS


def game_rows(
    frame: pd.DataFrame, rules: Rules, history: History, report: ImportReport
) -> tuple[pa.Table, frozenset[str]]:
    """Box scores in `SCHEMA`, of players and games with ids, from what `rows.read_rows` read.

    Returns:
        The rows, and the ids of the games that lack a player whose name matched none.
    """
    frame = _appeared(frame, rules, report)
    frame = refuse_where(frame, _missing(frame), report)
    frame = _rebounds(frame)
    frame = refuse_where(frame, _faults(frame), report)
    frame = _dated(frame)
    frame = refuse_where(frame, _date_faults(frame), report)
    frame = _with_games(frame, rules, history, report)
    before = frame["game_id"].value_counts()
    frame = _with_players(frame, history, report)
    lost = before.sub(frame["game_id"].value_counts(), fill_value=0)
    frame = _once(frame, report)
    columns = {name: pa.array(frame[name].tolist(), SCHEMA.field(name).type) for name in SCHEMA.names}
    return pa.table(columns, schema=SCHEMA), frozenset(lost.index[lost > 0])


def _appeared(frame: pd.DataFrame, rules: Rules, report: ImportReport) -> pd.DataFrame:
    """Rows of players who were on the floor, in whole minutes, halves up as nba.com rounds."""
    minutes = pd.to_numeric(frame["min"]).astype(float)
    # File by file: one with parts of minutes says nothing about the zeros of another.
    files = frame["where"].str.rpartition(":")[0]
    exact = (minutes.fillna(0) % 1 != 0).groupby(files).transform("any")
    minutes = minutes.mask((minutes == 0) & (exact | (rules.zero_minutes == "did not play")))
    absent = minutes.isna()
    counted = pd.Series(False, index=frame.index)
    for name in COUNTS:
        if name in frame:
            counted |= pd.to_numeric(frame[name]).fillna(0).astype(float) != 0
    report.refuse("counts without minutes", described(frame[absent & counted]))
    report.put_aside("players who did not play", int((absent & ~counted).sum()))
    kept = frame[~absent].assign(min=[math.floor(value + 0.5) for value in minutes[~absent]])
    return kept.reset_index(drop=True)


def _missing(frame: pd.DataFrame) -> Iterator[tuple[str, Any]]:
    if "wl" in frame:
        yield "no result yet (neither W nor L)", frame["wl"].isna()
    for name in frame.columns:
        if name not in {"season", "season_type", "neutral_site", "reb", "oreb", "dreb", "where"}:
            yield f"no value for {name}", frame[name].isna()


def _rebounds(frame: pd.DataFrame) -> pd.DataFrame:
    """All three of the rebounds' columns, from any two."""
    parts = {name: pd.to_numeric(frame[name]) if name in frame else np.nan for name in ("oreb", "dreb", "reb")}
    found = pd.DataFrame(parts, index=frame.index, dtype=float)
    found["reb"] = found["reb"].fillna(found["oreb"] + found["dreb"])
    found["oreb"] = found["oreb"].fillna(found["reb"] - found["dreb"])
    found["dreb"] = found["dreb"].fillna(found["reb"] - found["oreb"])
    return frame.assign(oreb=found["oreb"], dreb=found["dreb"], reb=found["reb"])


def _faults(frame: pd.DataFrame) -> Iterator[tuple[str, Any]]:
    """What no box score can have, whatever the other rows say."""
    counts = frame[list(COUNTS)].apply(pd.to_numeric).astype(float)
    yield "no value for rebounds", counts[["reb", "oreb", "dreb"]].isna().any(axis=1)
    yield "a negative count", (counts < 0).any(axis=1)
    yield f"more than {LONGEST_GAME} minutes", frame["min"].astype(float) > LONGEST_GAME
    c = counts
    made_over_taken = (c["fgm"] > c["fga"]) | (c["fg3m"] > c["fg3a"]) | (c["ftm"] > c["fta"])
    yield "more shots made than taken", made_over_taken
    yield "more threes than field goals", (c["fg3m"] > c["fgm"]) | (c["fg3a"] > c["fga"])
    total = 2 * (c["fgm"] - c["fg3m"]) + 3 * c["fg3m"] + c["ftm"]
    yield "points that do not add up to 2 x twos + 3 x threes + free throws", c["pts"] != total
    yield "rebounds that are not offensive + defensive", c["reb"] != c["oreb"] + c["dreb"]
    yield "a team that plays itself", frame["team"] == frame["opponent"]


def _dated(frame: pd.DataFrame) -> pd.DataFrame:
    """With `month`, and `of_month`, the season that the month is of; None in the off-season."""
    by_day = {day: season.month_of(day) for day in frame["game_date"].unique()}
    seasons: dict[str, str | None] = {}
    for month in set(by_day.values()):
        try:
            seasons[month] = season.season_of(month)
        except MonthError:
            seasons[month] = None
    months = frame["game_date"].map(by_day)
    of_month = months.map(seasons).astype(object)
    told = frame["season"] if "season" in frame else pd.Series([None] * len(frame), index=frame.index, dtype=object)
    return frame.assign(month=months, of_month=of_month, season=told.where(told.notna(), of_month))


def _date_faults(frame: pd.DataFrame) -> Iterator[tuple[str, Any]]:
    yield "a date in the off-season", frame["of_month"].isna()
    yield "a season other than that of the date", frame["season"] != frame["of_month"]
    yield "a date after today", frame["game_date"] > date.today()


def _with_games(frame: pd.DataFrame, rules: Rules, history: History, report: ImportReport) -> pd.DataFrame:
    """Each game's id, type and whether its site is neutral; games of other types are set aside."""
    frame = _identified(frame, rules, history, report)
    no_type = "no season type: give --set 'season_type=Regular Season' or --set season_type=Playoffs"
    faults = [
        ("a season type that the third digit of the game id contradicts", frame["contradicted"]),
        (no_type, frame["season_type"].isna()),
        ("a game id that the folder has on another date", _elsewhere(frame, history)),
    ]
    frame = refuse_where(frame, faults, report)
    for kind in GameType:
        if kind not in PLATFORM_TYPES:
            report.put_aside(f"games of the type {kind}", int((frame["season_type"] == str(kind)).sum()))
    return frame[frame["season_type"].isin([str(kind) for kind in PLATFORM_TYPES])].reset_index(drop=True)


def _identified(frame: pd.DataFrame, rules: Rules, history: History, report: ImportReport) -> pd.DataFrame:
    pairs = [frozenset(pair) for pair in zip(frame["team"], frame["opponent"], strict=True)]
    games: list[Any] = list(zip(frame["game_date"], pairs, strict=True))
    sides: dict[Any, dict[str, bool]] = defaultdict(dict)
    for game, team, home in zip(games, frame["team"], frame["is_home"], strict=True):
        sides[game][team] = home
    ids, types, stated = (_values(frame, name) for name in ("game_id", "season_type", "neutral_site"))
    own: set[str] = set()
    contradicted: set[Any] = set()
    for i, game in enumerate(games):
        known = history.games.get(game)
        by_id = game_type_of_id(ids[i] or "")
        if by_id and types[i] and by_id != types[i]:
            contradicted.add(game)
        types[i] = types[i] or by_id or (GameType(known.season_type) if known else None)
        if stated[i] is None:
            away = not any(sides[game].values())
            both_away = away and len(sides[game]) == 2 and rules.neutral_site == "both away"
            stated[i] = both_away or bool(known and known.neutral_site and away)
        if ids[i] is None and known:
            ids[i] = known.game_id
        elif ids[i] is None and types[i]:
            homes = [team if home else min(game[1] - {team}) for team, home in sides[game].items()]
            ids[i] = own_game_id(game[0], frame["season"][i], game[1], None if stated[i] else homes[0], types[i])
            own.add(ids[i])
    if own:
        report.notes.append(
            f"{len(own):,} games are not in the folder and the source has no ids of nba.com: they got ids that begin "
            "with 99. An import with nba.com's ids replaces them."
        )
    columns = {
        "game_id": ids,
        "season_type": [kind and str(kind) for kind in types],
        "neutral_site": stated,
        "contradicted": [game in contradicted for game in games],
    }
    found = pd.DataFrame({name: pd.Series(each, index=frame.index, dtype=object) for name, each in columns.items()})
    return pd.concat([frame.drop(columns=list(columns), errors="ignore"), found], axis=1)


def _values(frame: pd.DataFrame, name: str) -> list[Any]:
    return frame[name].tolist() if name in frame else [None] * len(frame)


def _elsewhere(frame: pd.DataFrame, history: History) -> list[bool]:
    """Whether another month's file has the game. Within a month a corrected date replaces the old one."""
    known = [history.dates.get(game) for game in frame["game_id"]]
    return [there is not None and there[1] != month for there, month in zip(known, frame["month"], strict=True)]


def _with_players(frame: pd.DataFrame, history: History, report: ImportReport) -> pd.DataFrame:
    """Each player's id; a name that is not one player's is refused."""
    if "player_id" in frame:
        return frame
    ids: list[int | None] = []
    unmatched: dict[tuple[str, str, str], list[date]] = defaultdict(list)
    for name, day, team in zip(frame["player_name"], frame["game_date"], frame["team"], strict=True):
        found = history.player(name, day, frozenset((team,)))
        ids.append(found if isinstance(found, int) else None)
        if isinstance(found, str):
            unmatched[name, team, found].append(day)
    report.name(unmatched)
    missing = [each is None for each in ids]
    frame = frame.assign(
        player_id=pd.Series(ids, index=frame.index, dtype=object),
        player_name=[
            history.names[i] if i is not None else name for i, name in zip(ids, frame["player_name"], strict=True)
        ],
    )
    return refuse_where(frame, [("a name that matches no player of the folder", missing)], report)


def _once(frame: pd.DataFrame, report: ImportReport) -> pd.DataFrame:
    """Each (game, player) once: equal rows are one, different ones are refused, all of them."""
    whole = {name: frame[name].astype("int64") for name in ("min", *COUNTS, "plus_minus", "player_id")}
    data = frame.assign(**whole)[list(SCHEMA.names)]
    equal = data.duplicated()
    report.repeated += int(equal.sum())
    frame = data.assign(where=frame["where"])[~equal].reset_index(drop=True)
    faults = [
        ("duplicates that differ", frame.duplicated(["game_id", "player_id"], keep=False)),
        ("two games of one player on a date", frame.duplicated(["game_date", "player_id"], keep=False)),
    ]
    return refuse_where(frame, faults, report)


def better_ids(existing: pa.Table, incoming: pa.Table) -> dict[str, str]:
    """Ids that the import made up and the folder has, -> nba.com's ids of the same games."""
    columns = ("game_date", "team", "opponent", "game_id")
    if not any(map(is_own_id, existing.column("game_id").unique().to_pylist())):
        return {}
    now = {
        (day, frozenset((team, opponent))): game
        for day, team, opponent, game in zip(*(incoming.column(c).to_pylist() for c in columns), strict=True)
    }
    found = {}
    for day, team, opponent, game in zip(*(existing.column(c).to_pylist() for c in columns), strict=True):
        newer = now.get((day, frozenset((team, opponent))))
        if is_own_id(game) and newer is not None and newer != game:
            found[game] = newer
    return found
