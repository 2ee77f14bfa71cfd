"""Months and seasons: the calendar against the standard library's."""

from __future__ import annotations

import calendar
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nba_ml.contract.errors import MonthError
from nba_ml.contract.season import month_bounds, month_of, parse_month, season_months, season_of

months = st.builds("{:04d}-{:02d}".format, st.integers(1900, 2100), st.sampled_from([1, 2, 3, 4, 5, 6, 10, 11, 12]))


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
        expected += [month_of(day)] if day.month not in (7, 8, 9) else []
        day = date(day.year + day.month // 12, day.month % 12 + 1, 1)
    assert found == expected


def test_season_months_refuse_a_summer_month_at_either_end() -> None:
    """Guards against a window that silently begins or ends elsewhere than it was told to."""
    with pytest.raises(MonthError, match="2022-07 is in the off-season"):
        season_months("2022-07", "2022-12")
    with pytest.raises(MonthError, match="2022-08 is in the off-season"):
        season_months("2021-10", "2022-08")
