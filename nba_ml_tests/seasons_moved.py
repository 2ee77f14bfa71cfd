"""Seasons that are not shipped, from real rows of others moved to their dates: 2019-20 and 2020-21, and autumn 2025.

A moved game keeps its day of the month, teams, players and rows. Its id gets the year of the season that it is moved
to, so that these seasons can stand before the shipped ones.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from nba_ml.contract.season import month_bounds, season_on
from nba_ml_tests.conftest import games_of

SOURCES = {
    "2019-10": ("2021-10", 22, 31),
    "2019-11": ("2021-11", 1, 30),
    "2019-12": ("2021-12", 1, 31),
    "2020-01": ("2022-01", 1, 31),
    "2020-02": ("2022-02", 1, 29),
    "2020-03": ("2022-03", 1, 11),  # stopped on the 11th
    "2020-07": ("2022-03", 30, 31),  # resumed on the 30th
    "2020-08": ("2022-04", 1, 31),  # the last regular games, play-in, playoffs
    "2020-09": ("2022-05", 1, 30),
    "2020-10": ("2022-06", 1, 11),  # the Finals
    "2020-12": ("2022-12", 22, 31),
    "2021-01": ("2023-01", 1, 31),
    "2021-02": ("2023-02", 1, 28),
    "2021-03": ("2023-03", 1, 31),
    "2021-04": ("2022-11", 1, 30),
    "2021-05": ("2023-04", 1, 31),
    "2021-06": ("2023-05", 1, 30),
    "2021-07": ("2023-06", 1, 20),
}
"""Month -> the shipped month whose games it has, and their first and last day."""

AUTUMN_2025 = {"2025-10": ("2021-10", 21, 31), "2025-11": ("2021-11", 1, 30)}
"""Likewise, from the opening on."""


def moved(month: str) -> pa.Table:
    """The box scores of a month of `SOURCES` or `AUTUMN_2025`, as a file has them."""
    source, first, last = (SOURCES | AUTUMN_2025)[month]
    frame = games_of(source).to_pandas()
    day = frame["game_date"].map(lambda each: each.day)
    frame = frame[day.between(first, last)]
    start, _ = month_bounds(month)
    days = frame["game_date"].map(lambda each: start.replace(day=each.day))
    seasons = days.map(lambda each: season_on(each).name)
    ids = [f"{game[:3]}{name[2:4]}{game[5:]}" for game, name in zip(frame["game_id"], seasons, strict=True)]
    moved = frame.assign(game_date=days, season=seasons, game_id=ids)
    return pa.Table.from_pandas(moved, games_of(source).schema, preserve_index=False)


def write_months(data: Path, *months: str) -> None:
    """Files of box scores under a folder."""
    (data / "player_games").mkdir(parents=True, exist_ok=True)
    for month in months:
        pq.write_table(moved(month), data / "player_games" / f"{month}.parquet")


def regular_only(data: Path, *months: str) -> None:
    """Shipped months under a folder, without playoffs and play-in: no file for a month that has nothing else."""
    (data / "player_games").mkdir(parents=True, exist_ok=True)
    for month in months:
        frame: pd.DataFrame = games_of(month).to_pandas()
        frame = frame[frame["season_type"] == "Regular Season"]
        if len(frame):
            table = pa.Table.from_pandas(frame, games_of(month).schema, preserve_index=False)
            pq.write_table(table, data / "player_games" / f"{month}.parquet")
