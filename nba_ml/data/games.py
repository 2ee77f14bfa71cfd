"""A game is a fact: what the rows of both teams must say together, whatever each row says alone."""

from __future__ import annotations

import pandas as pd

LEAST_TEAM_MINUTES = 225
"""Whole minutes are rounded for each player: teams of eleven real seasons have 236 to 244 without overtime."""
MOST_TEAM_MINUTES = 240 + 10
OVERTIME_MINUTES = 25
MOST_OVERTIMES = 6
LEAST_PLAYERS = 6
"""On a side, with minutes: the fewest in 12,669 real games."""

SAME_IN_A_TEAM = ("game_date", "opponent", "is_home", "neutral_site", "wl", "season_type", "season")


def broken_games(frame: pd.DataFrame) -> pd.Series:
    """The reason why a game cannot have been, by `game_id`; games that can are left out.

    Args:
        frame: box scores in the columns of `box_scores.PLAYER_GAME_COLUMNS`, whole games.
    """
    key = ["game_id", "team"]
    told = frame[[*key, *SAME_IN_A_TEAM]].drop_duplicates()
    team = told.drop_duplicates(key).set_index(key).sort_index()
    team["told_twice"] = told.groupby(key).size() > 1
    sums = frame.assign(on_floor=frame["min"] > 0)[[*key, "pts", "min", "on_floor"]].astype({"pts": int, "min": int})
    team[["points", "minutes", "players"]] = sums.groupby(key)[["pts", "min", "on_floor"]].sum()
    team = team.reset_index()
    games = team.groupby("game_id")
    reasons: dict[str, pd.Series] = {
        "a game with two dates": frame[["game_id", "game_date"]].drop_duplicates().groupby("game_id").size() > 1,
        "a game without exactly two teams": games.size() != 2,
        "a whole game at 0 minutes": games["minutes"].sum() == 0,
        "rows of one team that contradict each other": games["told_twice"].any(),
        "a side with fewer than 6 players": games["players"].min() < LEAST_PLAYERS,
        "a team with fewer than 225 minutes": games["minutes"].min() < LEAST_TEAM_MINUTES,
        "a team with more minutes than a game has": games["minutes"].max()
        > MOST_TEAM_MINUTES + OVERTIME_MINUTES * MOST_OVERTIMES,
    }
    two = team[team["game_id"].map(games.size()) == 2]
    first, second = two.iloc[::2].set_index("game_id"), two.iloc[1::2].set_index("game_id")
    neutral = first["neutral_site"] & second["neutral_site"]
    reasons["an opponent that is not the game's other team"] = (first["opponent"] != second["team"]) | (
        second["opponent"] != first["team"]
    )
    sites = (first["neutral_site"] != second["neutral_site"]) | (
        (first["is_home"] == second["is_home"]).where(~neutral, first["is_home"] | second["is_home"])
    )
    reasons["a game without one home and one away team"] = sites
    reasons["a game without one winner and one loser"] = first["wl"] == second["wl"]
    reasons["a winner who scored less"] = (first["wl"] == "W") != (first["points"] > second["points"])
    reasons["teams that played different numbers of overtimes"] = _overtimes(first["minutes"]) != _overtimes(
        second["minutes"]
    )
    found = pd.Series(dtype=object)
    for reason, mask in reasons.items():  # the first reason is the one to name
        broken = mask[mask.astype(bool)].index.difference(found.index)
        found = pd.concat([found, pd.Series(reason, index=broken, dtype=object)])
    return found


def _overtimes(minutes: pd.Series) -> pd.Series:
    return ((minutes - 240) / OVERTIME_MINUTES).round()
