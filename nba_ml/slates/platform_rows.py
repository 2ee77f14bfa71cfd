"""Which of the platform's predictions count. What is left out is counted, by system and reason.

The rules are those of the platform's own graders, so that both find the same rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa

from nba_ml.data.tables import REPLAYED
from nba_ml.model.recommendation import NO_LINE, PASS
from nba_ml.slates.slate import AHEAD, UNKNOWN, Made, made

PLACEHOLDER = 20.0
"""The points line that the platform wrote where it had none."""

REAL_LINES = ("ACTUAL_PROP", "ODDS_API", "BETTINGPROS")
"""The sources of a line that a book offered. With any other, the row has no line."""

LEFT_OUT = ("invalidated", "placeholder line", "no points or player", "older row")
"""Why a row is left out. One with several reasons has the first."""

_GAME = ["system_id", "player_lookup", "game_date"]
"""A player has one game a date. By date and not by the game's id, which systems may write differently."""


@dataclass(frozen=True, slots=True)
class CountedRows:
    """The rows that count, one per system, player and game, and system -> reason -> rows left out.

    `rows` has the columns of `tables.PLATFORM_PREDICTIONS` and `made` (`slates.slate.Made`). A line that no book
    offered is NaN there, and its recommendation NO_LINE.
    """

    rows: pd.DataFrame
    left_out: dict[str, Counter[str]]


def counted_rows(found: pa.Table) -> CountedRows:
    """Choose among active rows (`tables.PLATFORM_PREDICTIONS`) of any number of systems and dates.

    Placeholders and invalidated rows are left out first, then all but the newest row of each game: by `created_at`,
    then `prediction_version`.
    """
    frame: pd.DataFrame = found.to_pandas(date_as_object=False)
    frame = frame.sort_values([*_GAME, "created_at", "prediction_version"], na_position="first", ignore_index=True)
    line, points = (frame[name].to_numpy(dtype=float) for name in ("current_points_line", "predicted_points"))
    unusable = ~np.isfinite(points) | frame["player_lookup"].isna()
    conditions = [frame["invalidated"].eq(True), line == PLACEHOLDER, unusable]
    reason = pd.Series(np.select(conditions, LEFT_OUT[:3], ""), index=frame.index)
    older = frame[reason == ""].duplicated(_GAME, keep="last")
    reason[older[older].index] = LEFT_OUT[3]
    left = frame.assign(reason=reason)[reason != ""]
    rows = frame[reason == ""].reset_index(drop=True)
    real = rows["current_points_line"].notna() & rows["line_source"].isin(REAL_LINES)
    rows["current_points_line"] = rows["current_points_line"].where(real)
    rows["recommendation"] = rows["recommendation"].fillna(PASS).where(real, NO_LINE)
    rows["made"] = pd.Series(list(_made(rows)), index=rows.index, dtype=object)
    counted: dict[str, Counter[str]] = {}
    for system, why in zip(left["system_id"], left["reason"], strict=True):
        counted.setdefault(system, Counter())[why] += 1
    return CountedRows(rows, counted)


def _made(rows: pd.DataFrame) -> Iterator[Made]:
    """When each row was made: what the platform says of it, else by the rule for slates without a known tip-off."""
    columns = (rows["made_before_game"], rows["created_at"], rows["game_date"])
    for before, created, day in zip(*columns, strict=True):
        if not pd.isna(before):
            yield AHEAD if before else REPLAYED
        else:
            yield UNKNOWN if pd.isna(created) else made(created.to_pydatetime(), day.date(), None)
