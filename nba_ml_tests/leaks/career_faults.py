"""Faults of the second version's features, and some of the first version's in the second system's chain."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from nba_ml.contract.features import V3_FEATURES
from nba_ml.contract.systems import XGBOOST_V2
from nba_ml_tests.leaks.chain import Steps, Stored, StoredMonth
from nba_ml_tests.leaks.faults import FAULTS, KEY, Fault, vectors_of, with_vectors


def _with_the_game(feature: str, half_life: float, measure: Callable[[pd.DataFrame], pd.Series]) -> Steps:
    """An exponentially weighted average whose newest game is the one to be predicted."""
    share = 1 - 2 ** (-1 / half_life)

    def plant(stored: Stored) -> Stored:
        return {month: leaky(rows) for month, rows in stored.items()}

    def leaky(rows: StoredMonth) -> StoredMonth:
        played = rows.summary.to_pandas(date_as_object=False)
        now = played[KEY].assign(value=measure(played))
        keys = rows.features.select(KEY).to_pandas(date_as_object=False)
        value = keys.merge(now, on=KEY, how="left")["value"].to_numpy(dtype=np.float64)
        vectors, column = vectors_of(rows.features), V3_FEATURES.index(feature)
        mixed = np.round((1 - share) * vectors[:, column] + share * value, 6)
        vectors[:, column] = np.where(np.isnan(mixed), vectors[:, column], mixed)
        return StoredMonth(with_vectors(rows.features, vectors), rows.summary)

    return Steps(rows=plant)


def _plays(played: pd.DataFrame) -> pd.Series:
    return played["fg_attempts"] + 0.44 * played["ft_attempts"] + played["turnovers"]


def _tonights_absences(*names: str) -> Steps:
    """Sums over who misses the game itself: what the team's rows say a game later of who missed the last one."""

    def plant(stored: Stored) -> Stored:
        sums = pd.concat([_team_sums(rows, names) for rows in stored.values()]).groupby(_TEAM_GAME)[[*names]].median()
        later = sums.groupby(level=0).shift(-1).fillna(sums)
        return {month: leaky(rows, later) for month, rows in stored.items()}

    def leaky(rows: StoredMonth, later: pd.DataFrame) -> StoredMonth:
        vectors = vectors_of(rows.features)
        written = _team_sums(rows, names)[_TEAM_GAME].merge(later, on=_TEAM_GAME, how="left")
        for name in names:
            vectors[:, V3_FEATURES.index(name)] = written[name].to_numpy()
        return StoredMonth(with_vectors(rows.features, vectors), rows.summary)

    return Steps(rows=plant)


_TEAM_GAME = ["team_abbr", "game_date"]


def _team_sums(rows: StoredMonth, names: Sequence[str]) -> pd.DataFrame:
    """Each row's team, date and these features, in the order of the rows."""
    keys = rows.features.select(KEY).to_pandas(date_as_object=False)
    teams = rows.summary.select([*KEY, "team_abbr"]).to_pandas(date_as_object=False)
    vectors = vectors_of(rows.features)
    of_row = keys.merge(teams, on=KEY, how="left", validate="one_to_one")
    return of_row.assign(**{name: vectors[:, V3_FEATURES.index(name)] for name in names})


_CHANGES = "xgboost_v2/feature_store_snapshot.change_correlation"

_ABSENCES = "xgboost_v2/feature_store_snapshot.absences_of_last_game"

_AGAIN = ("last-5 average that includes the game", "line taken after tip-off", "validation rows in training")
"""Faults whose checks the second system has too."""

CAREER_FAULTS: tuple[Fault, ...] = (
    Fault(
        "weighted points that include the game",
        _with_the_game("points_ewm_12", 12, lambda played: played["points"]),
        _CHANGES,
        system=XGBOOST_V2,
    ),
    Fault(
        "weighted plays that include the game", _with_the_game("plays_ewm_3", 3, _plays), _CHANGES, system=XGBOOST_V2
    ),
    Fault(
        "weighted minutes that include the game",
        _with_the_game("minutes_ewm_1", 1, lambda played: played["minutes_played"]),
        _CHANGES,
        system=XGBOOST_V2,
    ),
    Fault(
        "share of the minutes that includes the game",
        _with_the_game("minutes_share_ewm_3", 3, lambda played: played["minutes_played"] / 240),
        _CHANGES,
        system=XGBOOST_V2,
    ),
    Fault("tonight's absences", _tonights_absences("absent_points", "absent_plays"), _ABSENCES, system=XGBOOST_V2),
    Fault("plays of tonight's absent players", _tonights_absences("absent_plays"), _ABSENCES, system=XGBOOST_V2),
    *(
        replace(
            fault, name=f"second system: {fault.name}", caught_by=f"xgboost_v2/{fault.caught_by}", system=XGBOOST_V2
        )
        for fault in FAULTS
        if fault.name in _AGAIN
    ),
)
