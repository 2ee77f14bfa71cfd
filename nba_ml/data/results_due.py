"""Which games must have results by now, and which of those have none.

A game has results if any of its players has one. A player who did not play has feature rows but no result. Dates that
no table has are missing too, if the calendar always has games on them or the league has never had a break that long.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import date, datetime, timedelta
from itertools import groupby
from typing import TYPE_CHECKING

from nba_ml.contract.season import month_bounds, season_on
from nba_ml.contract.times import EASTERN

if TYPE_CHECKING:
    import pandas as pd

    from nba_ml.data.feature_rows import Mask

RESULTS_DUE_AT = 12
"""Hour in New York on the day after a game by which its results must be available. The last game ends before 2, and its
box score is corrected by 9."""

LONGEST_BREAK = 7
"""Days: no break between two games of a season is longer. The All-Star break and the one before the Finals take six."""

_SHOWN = 5


def last_date_due(now: datetime) -> date:
    """The latest game date whose results are due. `now` is aware of its time zone."""
    local = now.astimezone(EASTERN)
    return local.date() - timedelta(days=1 if local.hour >= RESULTS_DUE_AT else 2)


def dates_without_results(rows: pd.DataFrame, has_result: Mask) -> dict[date, int]:
    """Date -> number of players with feature rows in games without any result, in order.

    Args:
        rows: n feature rows: player_lookup, game_date (datetime64), game_id. Rows without a player are ignored; rows
            without a game_id count as one game per date.
        has_result: (n,) whether the row's player has a result on its date.
    """
    import pandas as pd  # noqa: PLC0415 (`progress` imports this, and --help answers without pandas)

    named = rows.assign(has_result=has_result, game_id=rows["game_id"].fillna(""))
    named = named[named["player_lookup"].fillna("") != ""]
    games = named.groupby(["game_date", "game_id"]).agg(
        players=("player_lookup", "nunique"), has_result=("has_result", "any")
    )
    players = games[~games["has_result"]].groupby("game_date")["players"].sum()
    return {pd.Timestamp(day).date(): int(n) for day, n in zip(players.index, players, strict=True)}


def split_by_due(without_results: Mapping[date, int], due: date) -> tuple[dict[date, int], dict[date, int]]:
    """(missing, awaited): the dates whose results are due, and those whose results are not due yet."""
    missing = {day: n for day, n in without_results.items() if day <= due}
    return missing, {day: n for day, n in without_results.items() if day > due}


def absent_dates(month: str, known: Collection[date], player_games: int, due: date) -> dict[date, int]:
    """Date -> number of player-games that the calendar implies, for dates of a month that no table has.

    A date counts if the calendar always has games on it, or if it is in a run of more than `LONGEST_BREAK` dates
    without a game: within the regular season but for its breaks, or between two dates that have games. In a season
    whose schedule is not known, a single date does not count: it may be a break that is new. A month without any date
    has none: whether it is missing is not decided here.

    Args:
        known: the dates of the month that have a row in either table.
        player_games: how many player-games those dates have.
        due: the last date that must have rows.
    """
    if not known:
        return {}
    first, last = month_bounds(month)
    days = [first + timedelta(days=n) for n in range((min(last, due) - first).days + 1)]
    absent: dict[date, int] = {}
    for is_absent, run in groupby(days, lambda day: day not in known and _may_have_games(day, known)):
        dates = list(run)
        if is_absent and len(dates) <= LONGEST_BREAK:
            dates = [day for day in dates if _certainly_had_games(day, known)]
            dates = dates if len(dates) > 1 or season_on(days[0]).known else []
        if is_absent:
            absent |= dict.fromkeys(dates, round(player_games / len(known)))
    return absent


def _may_have_games(day: date, known: Collection[date]) -> bool:
    season = season_on(day)
    if season.has_games(day, day, regular=True):
        return not season.may_break_on(day)
    return season.has_games(day, day) and min(known) < day < max(known)


def _certainly_had_games(day: date, known: Collection[date]) -> bool:
    season = season_on(day)
    within = season.known or min(known) < day < max(known)  # the first and the last date of such a season are a rule's
    return within and season.certainly_has_games(day)


def named_dates(days: Mapping[date, int]) -> str:
    """`2022-01-15, 2022-01-16 and 3 more dates`, in order."""
    every = sorted(days)
    more = len(every) - _SHOWN
    return ", ".join(map(str, every[:_SHOWN])) + (f" and {more} more date{'s' * (more > 1)}" if more > 0 else "")
