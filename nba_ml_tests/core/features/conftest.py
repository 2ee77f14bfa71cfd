"""The embedded box scores and lines, in the schemas of the assets, and their features: made once a session."""

from __future__ import annotations

import unicodedata
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

import nba_ml
from nba_ml.core import tables
from nba_ml.core.features import compute_features
from nba_ml_tests.core.features.reference import Games

SAMPLE_DATA = Path(nba_ml.__file__).parent / "sample_data"
COMPUTED_AT = datetime(2025, 7, 1, 12, tzinfo=UTC)
FIRST, LAST = date(2021, 10, 1), date(2025, 6, 30)

_RENAMED = {
    "team_abbr": "team",
    "opponent_team_abbr": "opponent",
    "nba_game_id": "game_id",
    "minutes_played": "min",
    "points": "pts",
    "fg_makes": "fgm",
    "fg_attempts": "fga",
    "three_pt_makes": "fg3m",
    "three_pt_attempts": "fg3a",
    "ft_makes": "ftm",
    "ft_attempts": "fta",
    "offensive_rebounds": "oreb",
    "defensive_rebounds": "dreb",
    "assists": "ast",
    "steals": "stl",
    "blocks": "blk",
    "turnovers": "tov",
    "personal_fouls": "pf",
}


def lookup(player_name: str) -> str:
    """'Luka Dončić' -> 'lukadoncic'."""
    plain = unicodedata.normalize("NFKD", player_name).lower()
    return "".join(letter for letter in plain if "a" <= letter <= "z")


def game_id(day: date, team: str, opponent: str, is_home: bool, neutral_site: bool) -> str:
    """'20220115_BKN_CHI': away before home, in order of the alphabet on a neutral site."""
    first, second = (opponent, team) if is_home else (team, opponent)
    if neutral_site:
        first, second = sorted((team, opponent))
    return f"{day:%Y%m%d}_{first}_{second}"


@pytest.fixture(scope="session")
def summary() -> pa.Table:
    """All embedded box scores, schema PLAYER_GAME_SUMMARY."""
    games = pq.read_table(SAMPLE_DATA / "player_games").drop_columns(["reb"])
    made = {
        "player_lookup": [lookup(name) for name in games["player_name"].to_pylist()],
        "universal_player_id": games["player_id"].cast(pa.string()),
        "game_id": [
            game_id(*game)
            for game in zip(
                *(games[name].to_pylist() for name in ("game_date", "team", "opponent", "is_home", "neutral_site")),
                strict=True,
            )
        ],
        "playoffs": pc.equal(games["season_type"], "Playoffs"),
        "team_won": pc.equal(games["wl"], "W"),
    }
    schema = tables.PLAYER_GAME_SUMMARY
    columns = [made[name] if name in made else games[_RENAMED.get(name, name)] for name in schema.names]
    return pa.table(columns, schema=schema).sort_by([("game_date", "ascending"), ("player_lookup", "ascending")])


@pytest.fixture(scope="session")
def lines() -> pa.Table:
    """All embedded lines of players that are known, schema PROP_LINES."""
    listed = pq.read_table(SAMPLE_DATA / "prop_lines")
    listed = listed.filter(pc.is_valid(listed["player_id"]))
    lookups = pa.array([lookup(name) for name in listed["player_name"].to_pylist()])
    return pa.table([lookups, listed["game_date"], listed["book"], listed["line"]], schema=tables.PROP_LINES)


@pytest.fixture(scope="session")
def all_features(summary: pa.Table, lines: pa.Table) -> pa.Table:
    """The features of all 36 months, from one call."""
    return compute_features(summary, lines, FIRST, LAST, computed_at=COMPUTED_AT)


def matrix(features: pa.Table) -> npt.NDArray[np.float64]:
    """The vectors of feature store rows, (rows, features)."""
    values = features["features"].combine_chunks().flatten().to_numpy()
    return np.asarray(values, dtype=np.float64).reshape(features.num_rows, -1)


def same_rows(one: pa.Table, other: pa.Table) -> bool:
    """Whether two feature tables hold the same rows to the bit, NaN and the sign of zero included."""
    if not one.drop_columns(["features"]).equals(other.drop_columns(["features"])):
        return False
    return matrix(one).tobytes() == matrix(other).tobytes()


def between(table: pa.Table, first: date, last: date) -> pa.Table:
    """The rows of a range of dates, both ends inclusive."""
    return table.filter(pc.and_(pc.greater_equal(table["game_date"], first), pc.less_equal(table["game_date"], last)))


@pytest.fixture(scope="session")
def games(summary: pa.Table, lines: pa.Table) -> Games:
    """The reference's index over the same games and lines."""
    return Games(summary, lines)
