"""Points lines of a file: overs and unders of one line put together, players found in the folder's box scores."""

from __future__ import annotations

from collections import defaultdict
from datetime import date, datetime
from typing import Any

import pandas as pd
import pyarrow as pa

from nba_ml.contract import season
from nba_ml.contract.errors import MonthError
from nba_ml.contract.times import eastern_date
from nba_ml.data.identities import player_lookup
from nba_ml.sources.importers.history import History
from nba_ml.sources.importers.report import ImportReport
from nba_ml.sources.importers.rows import refuse_where

SCHEMA = pa.schema(
    [
        ("game_date", pa.date32()),
        ("player_id", pa.int64()),
        ("player_name", pa.string()),
        ("book", pa.string()),
        ("line", pa.float64()),
        ("captured_at", pa.timestamp("us", "UTC")),
        ("over_price", pa.float64()),
        ("under_price", pa.float64()),
        ("is_alternate", pa.bool_()),
    ]
)
"""A file under `prop_lines/`, as an import writes it. Prices are decimal: what a bet of 1 returns."""

_PRICES = ("over_price", "under_price")


def line_rows(frame: pd.DataFrame, history: History, report: ImportReport) -> pa.Table:
    """Lines in `SCHEMA` from what `rows.read_rows` read. `player_id` is null where no player was found."""
    frame = _decimal(_complete(frame), report)
    faults = [(f"no value for {name}", frame[name].isna()) for name in ("player_name", "book", "line", "game_date")]
    frame = refuse_where(frame, [*faults, ("a date in the off-season", _off_season(frame))], report)
    late = (frame["captured_at"] > frame["tip_off"]).fillna(False).astype(bool)
    report.put_aside("lines seen after tip-off", int(late.sum()))
    frame = _paired(frame[~late].reset_index(drop=True), report)
    frame = _with_players(frame, history, report)
    columns = {name: pa.array(frame[name].tolist(), SCHEMA.field(name).type) for name in SCHEMA.names}
    return pa.table(columns, schema=SCHEMA)


def _complete(frame: pd.DataFrame) -> pd.DataFrame:
    """Every column that a line may have."""
    blank = pd.Series([None] * len(frame), index=frame.index, dtype=object)
    optional = ("tip_off", "captured_at", "player_id", "side", "price", *_PRICES, "home_team", "away_team", "team")
    frame = frame.assign(**{name: blank for name in optional if name not in frame})
    if "game_date" not in frame:
        frame["game_date"] = [eastern_date(each) if isinstance(each, datetime) else None for each in frame["tip_off"]]
    frame["is_alternate"] = [bool(each) for each in frame.get("is_alternate", blank)]
    for name in ("tip_off", "captured_at"):
        frame[name] = pd.to_datetime(frame[name], utc=True)
    for name in ("price", *_PRICES, "line"):
        frame[name] = pd.to_numeric(frame[name]).astype(float)
    return frame.reset_index(drop=True)


def _off_season(frame: pd.DataFrame) -> list[bool]:
    def has_games(day: date) -> bool:
        try:
            season.parse_month(season.month_of(day))
        except MonthError:
            return False
        return True

    months = {day: has_games(day) for day in frame["game_date"].dropna().unique()}
    return [day is not None and not months[day] for day in frame["game_date"]]


def _decimal(frame: pd.DataFrame, report: ImportReport) -> pd.DataFrame:
    """Prices as decimal odds. A file is American if it has a price below 0, decimal if it has one below 100."""
    file = frame["where"].str.rpartition(":")[0]
    prices = frame[["price", *_PRICES]]
    negative = (prices < 0).any(axis=1).groupby(file).transform("any")
    decimal = ((prices >= 1) & (prices < 100)).any(axis=1).groupby(file).transform("any")
    american = negative | ~decimal  # prices of 100 and more alone are American
    nothing = (prices.abs() < 1) | (prices.lt(100) & prices.gt(-100)).where(american, False)
    wrong = nothing.any(axis=1) | (negative & decimal)
    won = (prices / 100).where(prices > 0, -100 / prices)
    converted = prices.where(~american, (1 + won).round(6))
    # What `box_scores.normalise_prop_lines` would refuse with the whole month. It does not read alternates.
    beyond = ((converted <= 1).any(axis=1) | (converted >= 100).any(axis=1)) & ~frame["is_alternate"] & ~wrong
    frame = frame.assign(**{name: converted[name] for name in ("price", *_PRICES)})
    faults = [
        ("a price that is neither decimal nor American odds, or both in one file", wrong),
        ("a price that is not above 1 and below 100 as decimal odds", beyond),
    ]
    return refuse_where(frame, faults, report)


def _paired(frame: pd.DataFrame, report: ImportReport) -> pd.DataFrame:
    """One row for a line: a price of each side where the file has them; equal rows once, contradictions refused."""
    for name, side in zip(_PRICES, ("over", "under"), strict=True):
        frame[name] = frame[name].where(frame["side"] != side, frame["price"])
    frame = frame.assign(lookup=frame["player_name"].map(player_lookup))
    whose = [
        "game_date",
        "lookup",
        "player_id",
        "book",
        "captured_at",
        "is_alternate",
        "home_team",
        "away_team",
        "team",
    ]
    exact = frame.duplicated([*whose, "line", "side", *_PRICES], keep="first")
    report.repeated += int(exact.sum())
    frame = frame[~exact].reset_index(drop=True)
    one = [*whose, "line"]
    groups = frame.groupby(one, dropna=False, sort=False)
    differ = (groups["over_price"].transform("nunique") > 1) | (groups["under_price"].transform("nunique") > 1)
    timed = frame["captured_at"].notna() & ~frame["is_alternate"]
    several = frame.groupby(whose, dropna=False)["line"].transform("nunique") > 1
    faults = [("duplicates that differ", differ), ("two main lines of one book at one time", several & timed)]
    frame = refuse_where(frame, faults, report)
    groups = frame.groupby(one, dropna=False, sort=False)
    for name in _PRICES:
        frame[name] = groups[name].transform("max") if len(frame) else frame[name]
    again = frame.duplicated(one, keep="first")
    report.paired += int(again.sum())
    return frame[~again].reset_index(drop=True)


def _with_players(frame: pd.DataFrame, history: History, report: ImportReport) -> pd.DataFrame:
    """Ids by name, date and the teams of the game. A line whose player is not found stays, without an id."""
    ids: list[int | None] = []
    unmatched: dict[tuple[str, str, str], list[date]] = defaultdict(list)
    columns = ("player_id", "player_name", "game_date", "home_team", "away_team", "team")
    for given, name, day, *teams in zip(*(frame[column] for column in columns), strict=True):
        if given is not None:
            ids.append(given)
            continue
        known = frozenset(team for team in teams if team is not None)
        found = history.player(name, day, known)
        ids.append(found if isinstance(found, int) else None)
        if isinstance(found, str):
            unmatched[name, "-".join(sorted(known)), found].append(day)
    report.name(unmatched)
    clean = {name: [None if pd.isna(value) else value for value in frame[name]] for name in _PRICES}
    seen = [None if pd.isna(each) else each.to_pydatetime() for each in frame["captured_at"]]
    return frame.assign(
        player_id=pd.Series(ids, index=frame.index, dtype=object),
        captured_at=pd.Series(seen, index=frame.index, dtype=object),
        **{name: pd.Series(clean[name], index=frame.index, dtype=object) for name in _PRICES},
    )


def with_ids(ours: list[dict[str, Any]], others: list[dict[str, Any]]) -> None:
    """Give lines without an id the one that lines of the same name and date have among `others`, if it is one."""
    known: dict[tuple[date, str], set[int]] = defaultdict(set)
    for row in others:
        if row["player_id"] is not None:
            known[row["game_date"], player_lookup(row["player_name"])].add(row["player_id"])
    for row in ours:
        ids = known.get((row["game_date"], player_lookup(row["player_name"])), set())
        if row["player_id"] is None and len(ids) == 1:
            row["player_id"] = next(iter(ids))


def line_key(row: dict[str, Any]) -> tuple[Any, ...]:
    """What makes a row the same line: the player, the date, the book and the time. A line without a time, and an
    alternate, of which a book has many, is also its number."""
    whose = row["player_id"] if row["player_id"] is not None else player_lookup(row["player_name"])
    several = row["is_alternate"] or row["captured_at"] is None
    return (
        *(row["game_date"], whose, row["book"], row["captured_at"], bool(row["is_alternate"])),
        row["line"] if several else None,
    )
