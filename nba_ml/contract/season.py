"""Months and seasons as the NBA plays them: pure calendar arithmetic.

A month is written `YYYY-MM` everywhere: in partition keys, file names and messages.
"""

from __future__ import annotations

import re
from datetime import date, timedelta

from nba_ml.contract.errors import MonthError

OFF_SEASON = (7, 8, 9)
"""July to September: no games, so no partitions."""

EARLY_SEASON_DAYS = 14
"""Days from a season's opening game whose rows are flagged and excluded from training. Rolling averages over two or
three games are noise, and the platform's feature store flags them too."""

_MONTH = re.compile(r"([0-9]{4})-(0[1-9]|1[0-2])")


def parse_month(month: str) -> tuple[int, int]:
    """`'2022-01'` -> `(2022, 1)`.

    Raises:
        MonthError: the format is wrong, or the month is in the off-season.
    """
    match = _MONTH.fullmatch(month)
    if match is None:
        raise MonthError(f"'{month}' is not a valid month. Use YYYY-MM, for example 2025-06.")
    year, number = int(match[1]), int(match[2])
    if number in OFF_SEASON:
        raise MonthError(
            f"{month} is in the off-season: July to September have no games and no partitions. "
            f"The nearest season months are {year}-06 and {year}-10."
        )
    return year, number


def month_of(day: date) -> str:
    """The month of a date, as `YYYY-MM`."""
    return f"{day.year:04d}-{day.month:02d}"


def month_bounds(month: str) -> tuple[date, date]:
    """First and last day of a month, both inclusive."""
    year, number = parse_month(month)
    following = date(year + number // 12, number % 12 + 1, 1)
    return date(year, number, 1), following - timedelta(days=1)


def season_of(month: str) -> str:
    """The season of a month, as `'2021-22'`. A season runs from October to June."""
    year, number = parse_month(month)
    first = year if number >= 10 else year - 1
    return f"{first}-{(first + 1) % 100:02d}"


def season_months(first: str, last: str) -> list[str]:
    """All season months from `first` to `last`, both inclusive, in order."""
    parse_month(last)
    year, number = parse_month(first)
    months: list[str] = []
    while (month := f"{year:04d}-{number:02d}") <= last:
        if number not in OFF_SEASON:
            months.append(month)
        year, number = (year + 1, 1) if number == 12 else (year, number + 1)
    return months
