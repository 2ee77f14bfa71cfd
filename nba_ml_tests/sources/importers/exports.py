"""Shipped rows written as other sources write them, from each format's documentation."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from nba_ml.settings import SAMPLE_DATA

Row = dict[str, Any]


def _columns(header: str) -> list[str]:
    return header.split(",")


LEAGUE_GAME_LOG = _columns(
    "SEASON_ID,PLAYER_ID,PLAYER_NAME,TEAM_ID,TEAM_ABBREVIATION,TEAM_NAME,GAME_ID,GAME_DATE,MATCHUP,WL,MIN,FGM,FGA,FG_PCT,"
    "FG3M,FG3A,FG3_PCT,FTM,FTA,FT_PCT,OREB,DREB,REB,AST,STL,BLK,TOV,PF,PTS,PLUS_MINUS,FANTASY_PTS,VIDEO_AVAILABLE"
)
PLAYER_GAME_LOGS = _columns(
    "SEASON_YEAR,PLAYER_ID,PLAYER_NAME,NICKNAME,TEAM_ID,TEAM_ABBREVIATION,TEAM_NAME,GAME_ID,GAME_DATE,MATCHUP,WL,MIN,FGM,"
    "FGA,FG_PCT,FG3M,FG3A,FG3_PCT,FTM,FTA,FT_PCT,OREB,DREB,REB,AST,TOV,STL,BLK,BLKA,PF,PFD,PTS,PLUS_MINUS,"
    "NBA_FANTASY_PTS,DD2,TD3,AVAILABLE_FLAG,MIN_SEC"
)
BASKETBALL_REFERENCE = _columns(
    "Rk,Player,Date,Age,Team,,Opp,Result,GS,MP,FG,FGA,FG%,2P,2PA,2P%,3P,3PA,3P%,FT,FTA,FT%,ORB,DRB,TRB,AST,STL,BLK,TOV,"
    "PF,PTS,GmSc,+/-"
)
_CODES = {"BKN": "BRK", "CHA": "CHO", "PHX": "PHO"}
_COUNTS = ("fgm", "fga", "fg3m", "fg3a", "ftm", "fta", "oreb", "dreb", "reb", "ast", "stl", "blk", "tov", "pf", "pts")
_TEAM_NAMES = {"LAL": "Los Angeles Lakers", "MIN": "Minnesota Timberwolves"}


def shipped(*months: str) -> list[Row]:
    """Rows of shipped months."""
    return [row for month in months for row in pq.read_table(SAMPLE_DATA / f"player_games/{month}.parquet").to_pylist()]


def league_game_log(rows: Iterable[Row]) -> list[Row]:
    """As nba.com's LeagueGameLog of players."""
    return [_nba(row) | {"SEASON_ID": f"2{row['season'][:4]}"} for row in rows]


def player_game_logs(rows: Iterable[Row]) -> list[Row]:
    """As nba.com's PlayerGameLogs: a date with a time, parts of minutes (here: a third of one)."""
    return [
        _nba(row)
        | {
            "SEASON_YEAR": row["season"],
            "GAME_DATE": f"{row['game_date']}T00:00:00",
            "MIN": row["min"] + 1 / 3,
            "MIN_SEC": f"{row['min']}:20",
        }
        for row in rows
    ]


def _nba(row: Row) -> Row:
    return {
        "PLAYER_ID": row["player_id"],
        "PLAYER_NAME": row["player_name"],
        "TEAM_ABBREVIATION": row["team"],
        "GAME_ID": row["game_id"],
        "GAME_DATE": str(row["game_date"]),
        "MATCHUP": f"{row['team']} {'vs.' if row['is_home'] else '@'} {row['opponent']}",
        "WL": row["wl"],
        "MIN": row["min"],
        **{name.upper(): row[name] for name in _COUNTS},
        "FG_PCT": 0.5,
        "PLUS_MINUS": row["plus_minus"],
    }


def basketball_reference(rows: Iterable[Row]) -> list[Row]:
    """As the game finder of basketball-reference gives it: other team codes, clocks, no ids."""
    return [
        {
            "Rk": i,
            "Player": row["player_name"],
            "Date": str(row["game_date"]),
            "Team": _CODES.get(row["team"], row["team"]),
            "": "" if row["is_home"] else "N" if row["neutral_site"] else "@",
            "Opp": _CODES.get(row["opponent"], row["opponent"]),
            "Result": f"{row['wl']}, 120-110",
            "MP": f"{row['min']}:20",
            "FG": row["fgm"],
            "FGA": row["fga"],
            "3P": row["fg3m"],
            "3PA": row["fg3a"],
            "FT": row["ftm"],
            "FTA": row["fta"],
            "ORB": row["oreb"],
            "DRB": row["dreb"],
            "TRB": row["reb"],
            **{name.upper(): row[name] for name in ("ast", "stl", "blk", "tov", "pf", "pts")},
            "+/-": row["plus_minus"],
        }
        for i, row in enumerate(rows, 1)
    ]


def as_csv(header: Sequence[str], rows: Iterable[Row]) -> str:
    """A header and a line for each row."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([row.get(name, "") for name in header] for row in rows)
    return out.getvalue()


def as_result_sets(name: str, header: Sequence[str], rows: Iterable[Row]) -> str:
    """nba.com's JSON."""
    sets = [{"name": name, "headers": list(header), "rowSet": [[row.get(each) for each in header] for row in rows]}]
    return json.dumps({"resource": name.lower(), "parameters": {}, "resultSets": sets})


def as_parquet(header: Sequence[str], rows: Iterable[Row]) -> bytes:
    """A data frame of nba_api, written by pandas."""
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist([{name: row.get(name) for name in header} for row in rows]), sink)
    return sink.getvalue()


# --- points lines ---------------------------------------------------------------------------------------------


def event(
    lines: Iterable[tuple[str, str, float]],
    *,
    tip_off: str = "2024-12-14T01:10:00Z",
    home: str = "MIN",
    away: str = "LAL",
    market: str = "player_points",
    updated: str = "2024-12-13T22:00:00Z",
    prices: tuple[float, float] = (1.91, 1.87),
) -> Row:
    """An event's odds of the-odds-api: `lines` are (book, player, points)."""
    books: dict[str, list[Row]] = {}
    for book, player, points in lines:
        for side, price in zip(("Over", "Under"), prices, strict=True):
            books.setdefault(book, []).append({"name": side, "description": player, "price": price, "point": points})
    return {
        "id": "e" * 32,
        "sport_key": "basketball_nba",
        "sport_title": "NBA",
        "commence_time": tip_off,
        "home_team": _TEAM_NAMES.get(home, home),
        "away_team": _TEAM_NAMES.get(away, away),
        "bookmakers": [
            {"key": book, "title": book.title(), "markets": [{"key": market, "last_update": updated, "outcomes": each}]}
            for book, each in books.items()
        ],
    }


def historical(content: Row, at: str) -> Row:
    """The answer of the historical endpoint."""
    return {"timestamp": at, "previous_timestamp": at, "next_timestamp": at, "data": content}


def flattened(content: Row) -> list[Row]:
    """A row for each outcome, as people flatten the JSON."""
    return [
        {
            **{name: content[name] for name in ("sport_key", "commence_time", "home_team", "away_team")},
            "bookmaker": book["key"],
            "market": market["key"],
            "last_update": market["last_update"],
            **outcome,
        }
        for book in content["bookmakers"]
        for market in book["markets"]
        for outcome in market["outcomes"]
    ]


def odds_of(rows: Iterable[Row]) -> list[Row]:
    """Events with shipped lines. What an app listed more than once is seen a minute later each time."""
    seen: dict[Any, int] = {}
    events = []
    for row in rows:
        whose = (row["game_date"], row["player_name"], row["book"])
        again = seen[whose] = seen.get(whose, -1) + 1
        tip_off = datetime(row["game_date"].year, row["game_date"].month, row["game_date"].day, 23, 59, tzinfo=UTC)
        updated = (tip_off - timedelta(hours=6) + timedelta(minutes=again)).strftime("%Y-%m-%dT%H:%M:%SZ")
        line = [(row["book"], row["player_name"], row["line"])]
        events.append(event(line, tip_off=tip_off.isoformat(), updated=updated))
    return events
