"""What is true of every real game, and what becomes of a game of which it is not. The platform's key of a game.

A game is a fact about two teams: if its rows contradict each other, none of them is used. Such games are kept apart
from the month with their reasons. If they are more than 1% of a month's games, the source is broken, not the games.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd
import pyarrow as pa

from nba_ml.contract.errors import SourceDataError
from nba_ml.contract.game_types import PLATFORM_TYPES, GameType, game_type_named, game_type_of_id
from nba_ml.contract.teams import TEAM_CODES
from nba_ml.data.table_digest import DigestedTable

MAX_REFUSED_SHARE = 0.01
"""Of a month's games."""

REFUSED_GAMES = pa.schema(
    [
        pa.field("nba_game_id", pa.string(), nullable=False),
        pa.field("game_date", pa.date32(), nullable=False),
        pa.field("teams", pa.string(), nullable=False),
        pa.field("rows", pa.int64(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
    ]
)
"""One row per refused game, ordered by id."""


@dataclass(frozen=True, slots=True)
class SummaryMonth(DigestedTable):
    """A month of box scores, with the games that were refused, and the fingerprint of the files; '' if unknown."""

    refused: pa.Table
    source: str = ""


_COUNTED_ALIKE = (GameType.REGULAR_SEASON, GameType.PLAY_IN, GameType.CUP_FINAL)
"""Used in the same way. The cup's group stage, and the play-in of some sources, have ids of the regular season."""

_GAME_MINUTES, _OVERTIME_MINUTES, _MOST_OVERTIMES = 240, 25, 6
_LEAST_MINUTES = 225
_LEAST_PLAYERS = 6


def platform_game_id(game_date: str, team: str, opponent: str, *, is_home: bool, neutral_site: bool) -> str:
    """The platform's key of a game, away before home: '20220115_BKN_CHI'.

    On a neutral site, where box scores have no home team, the teams are in alphabetical order.
    """
    away, home = sorted((team, opponent)) if neutral_site else (opponent, team) if is_home else (team, opponent)
    return f"{game_date.replace('-', '')}_{away}_{home}"


def games_set_aside(frame: pd.DataFrame) -> pd.Series:
    """Game id -> type, of the games that are neither trained on nor graded. One whose id contradicts it is not among
    them: it is refused."""
    by_id = frame["game_id"].map(game_type_of_id)
    aside = ~frame["type"].isin(PLATFORM_TYPES) & frame["type"].notna() & (by_id.isna() | (by_id == frame["type"]))
    return frame[aside].groupby("game_id")["type"].first()


def broken_games(frame: pd.DataFrame, other_months: Mapping[str, str] | None = None) -> pd.Series:
    """The reason why a game is refused, by `game_id`; games that can be are left out.

    Args:
        frame: box scores in the columns of `box_scores.PLAYER_GAME_COLUMNS`, with team codes of nba.com.
        other_months: id of a game that another month's file has too -> that month.
    """
    typed = frame.assign(type=frame["season_type"].map(game_type_named))
    found: dict[str, str] = {}
    for reason, broken in _faults(typed, other_months or {}).items():
        for game in typed.loc[broken, "game_id"].unique():
            found.setdefault(game, reason)
    return pd.Series(found, dtype=object).sort_index()


def refuse_games(frame: pd.DataFrame, other_months: Mapping[str, str]) -> tuple[pd.DataFrame, pa.Table]:
    """The rows of the games that can be, and the games that cannot, as `REFUSED_GAMES`. Arguments as `broken_games`."""
    reasons = broken_games(frame, other_months)
    refused = frame["game_id"].isin(reasons.index)
    if reasons.empty:
        return frame, REFUSED_GAMES.empty_table()
    rows = frame[refused].groupby("game_id", sort=True)
    games = pd.DataFrame(
        {
            "nba_game_id": reasons.index,
            "game_date": [each["game_date"].min().date() for _, each in rows],
            "teams": [" ".join(sorted(each["team"].unique())) for _, each in rows],
            "rows": [len(each) for _, each in rows],
            "reason": reasons.to_numpy(),
        }
    )
    return frame[~refused], pa.Table.from_pandas(games, schema=REFUSED_GAMES, preserve_index=False)


def require_few(refused: pa.Table, games: int, where: str) -> None:
    """Raise if more than 1% of a month's games are refused.

    Raises:
        SourceDataError: with the counts by reason and the first five games.
    """
    if refused.num_rows <= MAX_REFUSED_SHARE * games:
        return
    found = refused.to_pandas()
    counts = ", ".join(f"{reason} ({count:,})" for reason, count in found["reason"].value_counts().items())
    first = "; ".join(
        f"{game.nba_game_id} {game.teams} of {game.game_date}" for game in found.head(5).itertuples(index=False)
    )
    raise SourceDataError(
        f"{where}: {len(found):,} of {games:,} games are refused, and at most {MAX_REFUSED_SHARE:.0%} may be: "
        f"{counts}. First: {first}. Correct these games or import them again; nothing of this month was written."
    )


def _faults(frame: pd.DataFrame, other_months: Mapping[str, str]) -> dict[str, pd.Series]:
    """Reason -> mask (rows,). A game is refused with the first reason that holds for any of its rows."""
    rows = _with_codes(frame)
    game, sides = rows.groupby("game_id"), rows.groupby(["game_id", "team"])
    minutes, points = sides["min"].transform("sum"), sides["pts"].transform("sum")
    fewer = minutes.groupby(rows["game_id"]).transform("min")
    overtimes = ((fewer - _GAME_MINUTES) / _OVERTIME_MINUTES).round().clip(0, _MOST_OVERTIMES)
    # Whole minutes: each player's are off by up to one half.
    rounding = sides["min"].transform("size") / 2
    best = points.groupby(rows["game_id"]).transform("max")
    by_id = frame["game_id"].map(game_type_of_id)
    teams = game["team"].transform("nunique")
    both = game["team"].transform("min") + game["team"].transform("max")
    facts = ["opponent", "is_home", "neutral_site", "wl", "type"]
    on_floor = (rows["min"] > 0).groupby([rows["game_id"], rows["team"]]).transform("sum")
    return {
        "an unknown team code": _unknown(frame["team"]) | _unknown(frame["opponent"]),
        "an id with two dates": game["game_date"].transform("nunique") > 1,
        "an id that another month has too": frame["game_id"].isin(list(other_months)),
        "an id of another type of game than its season_type": _contradicts(frame["type"], by_id),
        "rows of one team only": teams == 1,
        "rows of more than two teams": teams > 2,
        "an opponent that is not the other team": rows["opponent"] != both - rows["team"],
        "rows of a team that contradict each other": sides[facts].transform("nunique").gt(1).any(axis=1),
        "a team with another game on the date": rows.groupby(["game_date", "team"])["game_id"].transform("nunique") > 1,
        "two home teams or none": (game["is_home"].transform("nunique") == 1) != frame["neutral_site"],
        "two winners or none": game["wl"].transform("nunique") != 2,
        "no minutes played": game["min"].transform("sum") == 0,
        f"fewer than {_LEAST_PLAYERS} players with minutes on a side": on_floor < _LEAST_PLAYERS,
        f"a team with fewer than {_LEAST_MINUTES} minutes": minutes < _LEAST_MINUTES,
        "a team with more minutes than the game had": minutes
        > _GAME_MINUTES + _OVERTIME_MINUTES * overtimes + rounding,
        "a winner who scored less": (frame["wl"] == "W") != (points == best),
    }


def _with_codes(frame: pd.DataFrame) -> pd.DataFrame:
    """The texts as numbers, which group many times faster; a team has one number on either side."""
    teams, _ = pd.factorize(pd.concat([frame["team"], frame["opponent"]], ignore_index=True))
    texts = {name: pd.factorize(frame[name])[0] for name in ("game_id", "wl", "type")}
    return frame.assign(**texts, team=teams[: len(frame)], opponent=teams[len(frame) :])


def _unknown(codes: pd.Series) -> pd.Series:
    return ~codes.isin(TEAM_CODES)


def _contradicts(stated: pd.Series, by_id: pd.Series) -> pd.Series:
    both_count = stated.isin(_COUNTED_ALIKE) & by_id.isin(_COUNTED_ALIKE)
    return by_id.notna() & (stated != by_id) & ~both_count
