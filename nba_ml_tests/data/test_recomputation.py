"""Averages computed a second time, against a loop that anybody can check."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nba_ml.data.recomputation import averages_before
from nba_ml.data.tables import RESULTS

GAMES = st.lists(
    st.tuples(st.sampled_from("abc"), st.integers(0, 60), st.integers(0, 50)),
    max_size=60,
    unique_by=lambda game: game[:2],
)


def results_of(games: list[tuple[str, int, int]]) -> pa.Table:
    """(player, day, points) as results."""
    rows = [
        {"player_lookup": player, "game_date": date(2021, 10, 19) + timedelta(days=day), "points": points}
        for player, day, points in games
    ]
    return pa.Table.from_pylist([{**row, "minutes_played": 20.0} for row in rows], RESULTS)


@given(GAMES, st.sampled_from([None, 1, 5]), st.booleans())
def test_averages_are_of_the_games_strictly_before(
    games: list[tuple[str, int, int]], window: int | None, whole: bool
) -> None:
    """Guards against a window that includes its own game, reaches into another player's, or claims to know too much."""
    found = averages_before(results_of(games), window, whole_season=whole)
    assert len(found) == len(games)
    for row in found.to_dict("records"):
        day = (row["game_date"].date() - date(2021, 10, 19)).days
        before = [points for player, at, points in sorted(games) if player == row["player_lookup"] and at < day]
        counted = before if window is None else before[-window:]
        expected = np.mean(counted) if counted else np.nan
        assert row["average"] == pytest.approx(expected, nan_ok=True)
        assert row["known"] == (whole or (window is not None and len(before) >= window))
