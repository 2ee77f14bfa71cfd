"""Averages of points recomputed from results alone. The stored features must agree with them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from nba_ml.data.feature_rows import KEY


def averages_before(results: pa.Table, window: int | None, *, whole_season: bool) -> pd.DataFrame:
    """Mean points of each player's games before each of the games.

    Args:
        results: `tables.RESULTS` of one season, any order.
        window: at most so many of the latest games; None takes all.
        whole_season: the results reach back to the season's opening game. If they do not, only averages
            whose window lies within them are known.

    Returns:
        One row per result: `player_lookup`, `game_date`, `average` (points, NaN before the first game) and
        `known`.
    """
    frame: pd.DataFrame = results.select([*KEY, "points"]).to_pandas(date_as_object=False)
    frame = frame.sort_values(KEY, ignore_index=True)
    position = np.arange(len(frame))
    first_game = (frame["player_lookup"] != frame["player_lookup"].shift()).to_numpy(dtype=bool)
    start = np.maximum.accumulate(np.where(first_game, position, 0))
    begin = start if window is None else np.maximum(start, position - window)
    below = np.concatenate([[0.0], np.cumsum(frame["points"].to_numpy(dtype=np.float64))])
    games: npt.NDArray[np.int64] = position - begin
    average = np.where(games > 0, (below[position] - below[begin]) / np.maximum(games, 1), np.nan)
    known = np.full(len(frame), whole_season) if window is None else whole_season | (games == window)
    return frame[KEY].assign(average=average, known=known)
