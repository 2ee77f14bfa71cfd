"""Leak check: the features of absences must say who missed the team's last game, not who misses this one.

Who plays is known from a month's results, and the team from its rows, so the check needs no other source than a
snapshot: it also holds for rows that were not computed here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from nba_ml.checks.check import CheckContext, Finding
from nba_ml.data.feature_rows import KEY
from nba_ml.data.snapshot import Snapshot
from nba_ml.model.metrics import Z_95

WEIGHTS = {"absent_points": "points_ewm_12", "absent_plays": "plays_ewm_3"}
"""Feature -> the feature that it sums over the absent players."""

LAST_GAMES = 10
"""A player of the rotation played in one of the team's last ten games."""

LEAST_MINUTES = 12
"""And this many minutes are expected of him."""

MAX_OF_THIS_GAME = 0.2
"""Real months have -0.41 to 0.06, at least 0.01 of it. With the absences of the game itself it is 0.4 to 0.97."""

LEAST_GAMES = 60
"""Games of a team with an earlier one in the month. Fewer say nothing."""

GAME_ID = r"^\d{8}_(?P<away>[A-Z]+)_(?P<home>[A-Z]+)$"

Floats = npt.NDArray[np.float64]
Days = npt.NDArray[np.datetime64]
Mask = npt.NDArray[np.bool_]


def absences_of_last_game(snapshot: Snapshot, context: CheckContext) -> Finding:
    """Rule: the sums over absent players follow who missed the team's last game.

    Both sums, over who missed the last game and over who misses this one, are recomputed from who played. The feature
    is regressed on the two: the second must have no part in it.
    """
    games = list(_games(snapshot))
    found = [{"feature": name, **share} for name in WEIGHTS if (share := _share_of_tonight(games, name)) is not None]
    found.sort(key=lambda each: -each["of this game"])
    above = [each for each in found if each["at least"] > MAX_OF_THIS_GAME]
    return Finding(
        passed=not above,
        metric="part of the absences of the game itself in a feature of absences",
        value=found[0]["of this game"] if found else "too few games",
        n=found[0]["n"] if found else 0,
        interval=f"95% from {found[0]['at least']:.3f}" if found else "",
        worst=above,
        next_step="A feature that follows who misses this game contains a result: nobody knows that before the game. "
        f"Count the team's last game instead in {', '.join(each['feature'] for each in above)}, fix the query, and "
        f"compute {context.month} again.",
    )


@dataclass(frozen=True, slots=True)
class _Games:
    """A team's games of the month, by feature: values (g, 3).

    The feature as the rows have it, and its recomputed sums over those of the rotation who missed the last game, and
    over those who miss this one.
    """

    values: dict[str, Floats]


def _games(snapshot: Snapshot) -> Iterator[_Games]:
    rows = _rows_with_teams(snapshot)
    played = _played(snapshot)
    for _, of_team in rows.groupby("team", sort=True):
        days, day = np.unique(of_team["game_date"].to_numpy(), return_inverse=True)
        players, player = np.unique(of_team["player_lookup"].to_numpy(dtype=str), return_inverse=True)
        row = np.full((len(days), len(players)), -1)  # his row of that game; -1 for none
        row[day, player] = np.arange(len(of_team))
        number = np.arange(len(days))[:, None]
        latest = np.maximum.accumulate(np.where(row >= 0, number, -1), axis=0)
        before = np.vstack([np.full(len(players), -1), latest[:-1]])  # his latest game for the team before each
        at = row[before, np.arange(len(players))]
        usual = (before >= 0) & (number - before <= LAST_GAMES)
        usual &= of_team["gone"].to_numpy()[at] > days[:, None]
        usual &= of_team["minutes"].to_numpy()[at] >= LEAST_MINUTES
        missed_last, misses = usual & (before < number - 1), usual & ~played(days, players)
        stated = of_team.groupby("game_date")[[*WEIGHTS]].median()  # without those who are back, whose own is left out
        values = {}
        for name, weight in WEIGHTS.items():
            each = np.nan_to_num(of_team[weight].to_numpy()[at])
            sums = [(each * absent).sum(axis=1) for absent in (missed_last, misses)]
            values[name] = np.stack([stated[name].to_numpy(), *sums], axis=1)[1:]  # no last game before the first
        yield _Games(values)


def _played(snapshot: Snapshot) -> Callable[[Days, npt.NDArray[np.str_]], Mask]:
    """Who has a result on which date: (days (g,), players (p,)) -> (g, p)."""
    results = snapshot.results
    days, day = np.unique(results.column("game_date").to_numpy().astype("datetime64[s]"), return_inverse=True)
    names, name = np.unique(results.column("player_lookup").to_numpy().astype(str), return_inverse=True)
    found = np.zeros((len(days), len(names)), dtype=bool)
    found[day, name] = True
    return lambda some, players: found[np.searchsorted(days, some)[:, None], np.searchsorted(names, players)]


def _rows_with_teams(snapshot: Snapshot) -> pd.DataFrame:
    """The rows, by player and date, with their teams; without those of games on neutral sites, where nobody is at home.

    `gone` is the date from which the player plays for another team, and `minutes` what is expected of him.
    """
    columns = [*KEY, "game_id", "home_away", "minutes_avg_last_10", "minutes_ewm_1", *WEIGHTS, *WEIGHTS.values()]
    rows: pd.DataFrame = snapshot.table.select(columns).to_pandas(date_as_object=False)
    rows = rows.sort_values(KEY, ignore_index=True)
    rows["game_date"] = rows["game_date"].astype("datetime64[s]")
    rows = rows[rows.groupby("game_id")["home_away"].transform("max") == 1].copy()
    teams = rows["game_id"].astype("string").str.extract(GAME_ID)
    rows["team"] = teams["away"].where(rows["home_away"] != 1, teams["home"])
    rows = rows[rows["team"].notna()].copy()
    following = rows.groupby("player_lookup")[["team", "game_date"]].shift(-1)
    moves = following["team"].notna() & (following["team"] != rows["team"])
    rows["gone"] = following["game_date"].where(moves, pd.Timestamp.max.floor("s"))
    rows["minutes"] = rows["minutes_avg_last_10"].fillna(rows["minutes_ewm_1"])
    return rows


def _share_of_tonight(games: list[_Games], name: str) -> dict[str, Any] | None:
    """The coefficient of tonight's sum beside that of the last game, and the low end of its 95% interval.

    Within each team: who has been out since before the month is in the feature, and in neither sum. None for too few
    games.
    """
    known = [rows[~np.isnan(rows).any(axis=1)] for rows in (each.values[name] for each in games)]
    centred = [rows - rows.mean(axis=0) for rows in known if len(rows)]
    values = np.concatenate([np.empty((0, 3)), *centred])
    n, stated, design = len(values), values[:, 0], values[:, 1:]
    if n < LEAST_GAMES or np.linalg.matrix_rank(design) < 2:
        return None
    inverse = np.linalg.inv(design.T @ design)
    parts = inverse @ design.T @ stated
    residual = stated - design @ parts
    half = Z_95 * float(np.sqrt(residual @ residual / (n - 2) * inverse[1, 1]))
    last, tonight = map(float, parts)
    return {
        "of this game": round(tonight, 4),
        "of the last game": round(last, 4),
        "at least": round(tonight - half, 4),
        "n": n,
    }
