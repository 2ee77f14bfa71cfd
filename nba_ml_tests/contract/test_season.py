"""Months and seasons: the calendar against the standard library's."""

from __future__ import annotations

import calendar
from datetime import date, timedelta

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nba_ml.contract.errors import MonthError
from nba_ml.contract.season import (
    had_games,
    had_regular_season,
    month_bounds,
    month_of,
    parse_month,
    season_months,
    season_of,
    season_on,
)
from nba_ml.settings import SAMPLE_DATA

months = st.builds("{:04d}-{:02d}".format, st.integers(1900, 2100), st.sampled_from([1, 2, 3, 4, 5, 6, 10, 11, 12]))


PLAYED_SUMMERS = ("2020-07", "2020-08", "2020-09", "2021-07")
"""The season of 2019-20 was stopped in March 2020; that of 2020-21 began in December."""


@pytest.mark.parametrize(
    "text", ["2022-1", "2022-13", "2022-00", "202201", "2022/01", "2022-01-01", " 2022-01", "2022-01\n", "", "٢٠٢٢-01"]
)
def test_what_is_no_month_is_refused_with_an_example(text: str) -> None:
    """Guards against a partition key of another form that would name files nobody finds again."""
    with pytest.raises(MonthError, match=r"is not a valid month\. Use YYYY-MM, for example 2025-06"):
        parse_month(text)


@pytest.mark.parametrize("month", ["2022-07", "2022-08", "2022-09"])
def test_the_off_season_is_no_month(month: str) -> None:
    """Guards against partitions that can never hold a game; the message names the months around."""
    with pytest.raises(MonthError, match=f"{month} is in the off-season.* 2022-06 and 2022-10"):
        parse_month(month)


@pytest.fixture(scope="module")
def all_games() -> pd.DataFrame:
    columns = ["game_date", "season", "season_type"]
    return pd.concat([pd.read_parquet(file, columns=columns) for file in (SAMPLE_DATA / "player_games").iterdir()])


@given(months)
def test_bounds_are_the_calendars(month: str) -> None:
    """Guards against a last day lost at the end of a month, in February or at new year."""
    first, last = month_bounds(month)
    year, number = parse_month(month)
    assert (first.year, first.month, first.day) == (year, number, 1)
    assert last.day == calendar.monthrange(year, number)[1]
    assert month_of(first) == month_of(last) == month
    assert month_of(last + timedelta(days=1)) != month


@pytest.mark.parametrize(
    ("month", "season"),
    [
        ("2021-10", "2021-22"),
        ("2021-12", "2021-22"),
        ("2022-01", "2021-22"),
        ("2022-06", "2021-22"),
        ("1999-10", "1999-00"),
        ("2020-06", "2019-20"),
        ("2020-10", "2019-20"),
        ("2020-11", "2020-21"),
        ("2021-07", "2020-21"),
    ],
)
def test_a_season_runs_from_october_to_june(month: str, season: str) -> None:
    """Guards against a season that ends at new year: its averages would start again in January."""
    assert season_of(month) == season


@given(months, months)
def test_season_months_are_those_between_without_summer(first: str, last: str) -> None:
    """Guards against a month lost or doubled where a year turns, and against July to September."""
    found = season_months(first, last)
    day, expected = date.fromisoformat(f"{first}-01"), []
    while month_of(day) <= last:
        expected += [month_of(day)] if day.month not in (7, 8, 9) or month_of(day) in PLAYED_SUMMERS else []
        day = date(day.year + day.month // 12, day.month % 12 + 1, 1)
    assert found == expected


def test_season_months_refuse_a_summer_month_at_either_end() -> None:
    """Guards against a window that silently begins or ends elsewhere than it was told to."""
    with pytest.raises(MonthError, match="2022-07 is in the off-season"):
        season_months("2022-07", "2022-12")
    with pytest.raises(MonthError, match="2022-08 is in the off-season"):
        season_months("2021-10", "2022-08")


@pytest.mark.parametrize(
    ("day", "season"),
    [
        (date(2020, 10, 11), "2019-20"),
        (date(2020, 10, 12), "2020-21"),
        (date(2020, 12, 22), "2020-21"),
        (date(2021, 7, 20), "2020-21"),
        (date(2021, 10, 19), "2021-22"),
        (date(2019, 10, 22), "2019-20"),
        (date(1999, 12, 31), "1999-00"),
        (date(2030, 6, 1), "2029-30"),
    ],
)
def test_the_season_of_a_date(day: date, season: str) -> None:
    """Guards against Finals in October that open a season."""
    assert season_on(day).name == season


@pytest.mark.parametrize(
    ("month", "games", "regular"),
    [
        ("2020-03", True, True),
        ("2020-04", False, False),
        ("2020-06", False, False),
        ("2020-07", True, True),
        ("2020-08", True, True),
        ("2020-09", True, False),
        ("2020-10", True, False),
        ("2020-11", False, False),
        ("2020-12", True, True),
        ("2021-05", True, True),
        ("2021-06", True, False),
        ("2022-04", True, True),
        ("2022-05", True, False),
        ("2022-06", True, False),
        ("2031-05", True, False),
        ("2031-04", True, True),
        ("2031-10", True, True),
    ],
)
def test_what_was_played_in_a_month(month: str, games: bool, regular: bool) -> None:
    """Guards against a hole in a season that passes for a break, and against a break that passes for a hole."""
    assert (had_games(month), had_regular_season(month)) == (games, regular)


def test_every_shipped_game_is_of_the_season_that_the_calendar_gives(all_games: pd.DataFrame) -> None:
    """Guards against a calendar that real games contradict."""
    days = all_games[["game_date", "season", "season_type"]].drop_duplicates().itertuples(index=False)
    for day, season, kind in days:
        found = season_on(day)
        assert (found.name, found.has_games(day, day)) == (season, True)
        assert found.has_games(day, day, regular=True) or kind == "Playoffs"
