"""Months and seasons as the NBA played them: a calendar of the known seasons, and a rule for the others.

A month is written `YYYY-MM` everywhere: in partition keys, file names and messages.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache

from nba_ml.contract.errors import MonthError

EARLY_SEASON_DAYS = 14
"""Days from a season's opening game whose rows are flagged and excluded from training. Rolling averages over two or
three games are noise, and the platform's feature store flags them too."""

_CUP_SINCE = 2023
"""The first season with a cup, whose last rounds leave days of early December free."""

_OFF_SEASON = (7, 8, 9)
"""July to September: no games in most years, so no partitions."""

_MONTH = re.compile(r"((?:19|20|21)[0-9]{2})-(0[1-9]|1[0-2])")


def _name(first: int) -> str:
    return f"{first}-{(first + 1) % 100:02d}"


@dataclass(frozen=True, slots=True)
class Season:
    """A season's dates, all inclusive: opening game, last regular-season game, last game, and a break in between.

    `all_star` is the Sunday of the All-Star game, None for the third one of February. `cup_breaks` are the dates
    without games in the last rounds of the cup, None if they are unknown. `known`: the schedule has been published.
    """

    opening: date
    regular_end: date
    last: date
    pause: tuple[date, date] | None = None
    all_star: date | None = None
    cup_breaks: tuple[date, ...] | None = None
    known: bool = True

    @property
    def name(self) -> str:
        """`'2019-20'`."""
        return _name(self.opening.year)

    def has_games(self, first: date, last: date, *, regular: bool = False) -> bool:
        """Whether any date from `first` to `last` had games, or regular-season games if `regular`."""
        begins, ends = max(first, self.opening), min(last, self.regular_end if regular else self.last)
        if self.pause is None:
            return begins <= ends
        return begins <= min(ends, self.pause[0] - timedelta(1)) or max(begins, self.pause[1] + timedelta(1)) <= ends

    def may_break_on(self, day: date) -> bool:
        """Whether the calendar may leave a date of the regular season free.

        That is Thanksgiving, Christmas Eve, election day, the All-Star break, the last rounds of the cup, the Monday of
        the college final, and the day before the season's last.
        """
        all_star = self.all_star or _third_sunday(date(self.opening.year + 1, 2, 1))
        if all_star - timedelta(2) <= day <= all_star + timedelta(4) or day == self.regular_end - timedelta(1):
            return True
        match day.month, day.weekday():
            case (11, 1) | (4, 0):
                return 2 <= day.day <= 8
            case 11, 3:
                return 22 <= day.day <= 28
            case 12, _:
                return day.day == 24 or day in (self.cup_breaks or ())
        return False

    def certainly_has_games(self, day: date) -> bool:
        """Whether a date of the regular season is known to have games."""
        cup = self.opening.year >= _CUP_SINCE and self.cup_breaks is None and day.month == 12 and day.day <= 20
        return self.has_games(day, day, regular=True) and not cup and not self.may_break_on(day)


def _third_sunday(first: date) -> date:
    return first + timedelta(20 - first.weekday())


_KNOWN = {
    season.name: season
    for season in (
        Season(date(2015, 10, 27), date(2016, 4, 13), date(2016, 6, 19), all_star=date(2016, 2, 14)),
        Season(date(2016, 10, 25), date(2017, 4, 12), date(2017, 6, 12)),
        Season(date(2017, 10, 17), date(2018, 4, 11), date(2018, 6, 8)),
        Season(date(2018, 10, 16), date(2019, 4, 10), date(2019, 6, 13)),
        # Stopped for the pandemic, and finished in one place.
        Season(date(2019, 10, 22), date(2020, 8, 14), date(2020, 10, 11), (date(2020, 3, 12), date(2020, 7, 29))),
        Season(date(2020, 12, 22), date(2021, 5, 16), date(2021, 7, 20), all_star=date(2021, 3, 7)),
        Season(date(2021, 10, 19), date(2022, 4, 10), date(2022, 6, 16)),
        Season(date(2022, 10, 18), date(2023, 4, 9), date(2023, 6, 12)),
        Season(
            date(2023, 10, 24),
            date(2024, 4, 14),
            date(2024, 6, 17),
            cup_breaks=(date(2023, 12, 3), date(2023, 12, 9), date(2023, 12, 10)),
        ),
        Season(
            date(2024, 10, 22),
            date(2025, 4, 13),
            date(2025, 6, 22),
            cup_breaks=(date(2024, 12, 17), date(2024, 12, 18)),
        ),
        Season(date(2025, 10, 21), date(2026, 4, 12), date(2026, 6, 30)),
    )
}
"""Schedules as published by the league. The end of 2025-26 is the rule's."""


def season_on(day: date) -> Season:
    """The season that a date belongs to: the known season played then, otherwise October 20 to June 30.

    A date between two seasons belongs to the next one.
    """
    first = day.year if day.month >= _OFF_SEASON[0] else day.year - 1
    before, following = _season(first - 1), _season(first)
    return before if day <= before.last else following


def parse_month(month: str) -> tuple[int, int]:
    """`'2022-01'` -> `(2022, 1)`.

    Raises:
        MonthError: the format is wrong, or the month is in the off-season.
    """
    match = _MONTH.fullmatch(month)
    if match is None:
        raise MonthError(f"'{month}' is not a valid month. Use YYYY-MM, for example 2025-06.")
    year, number = int(match[1]), int(match[2])
    if not in_season(month):
        raise MonthError(
            f"{month} is in the off-season: it had no games and has no partition. "
            f"The nearest season months are {_nearest(year, number, -1)} and {_nearest(year, number, 1)}."
        )
    return year, number


def in_season(month: str) -> bool:
    """Whether a valid month is a partition: October to June, and any other month in which games were played."""
    return int(month[5:]) not in _OFF_SEASON or had_games(month)


def had_games(month: str) -> bool:
    """Whether the calendar has games in a month."""
    first, last = _bounds(month)
    return any(season.has_games(first, last) for season in {season_on(first), season_on(last)})


def had_regular_season(month: str) -> bool:
    """Whether the calendar has regular-season games in a month: rows of it are missing if there are none."""
    first, last = _bounds(month)
    return any(season.has_games(first, last, regular=True) for season in {season_on(first), season_on(last)})


def off_season_months(first: int, last: int) -> list[str]:
    """The months that are not partitions, in the years from `first` to `last`."""
    months = [f"{year:04d}-{number:02d}" for year in range(first, last + 1) for number in _OFF_SEASON]
    return [month for month in months if not in_season(month)]


def month_of(day: date) -> str:
    """The month of a date, as `YYYY-MM`."""
    return f"{day.year:04d}-{day.month:02d}"


def month_bounds(month: str) -> tuple[date, date]:
    """First and last day of a month, both inclusive.

    Raises:
        MonthError: the format is wrong, or the month is in the off-season.
    """
    parse_month(month)
    return _bounds(month)


def season_of(month: str) -> str:
    """The season of a month's games, as `'2021-22'`: October 2020 is of 2019-20, whose Finals were played in it."""
    parse_month(month)
    first, last = _bounds(month)
    starts = season_on(first)
    return starts.name if starts.has_games(first, last) else season_on(last).name


def season_months(first: str, last: str) -> list[str]:
    """All season months from `first` to `last`, both inclusive, in order."""
    parse_month(last)
    year, number = parse_month(first)
    months: list[str] = []
    while (month := f"{year:04d}-{number:02d}") <= last:
        if in_season(month):
            months.append(month)
        year, number = _next(year, number, 1)
    return months


@cache
def _season(first: int) -> Season:
    """The season that begins in a year."""
    rule = Season(date(first, 10, 20), date(first + 1, 4, 20), date(first + 1, 6, 30), known=False)
    return _KNOWN.get(_name(first), rule)


def _bounds(month: str) -> tuple[date, date]:
    year, number = int(month[:4]), int(month[5:])
    following = date(year + number // 12, number % 12 + 1, 1)
    return date(year, number, 1), following - timedelta(days=1)


def _nearest(year: int, number: int, step: int) -> str:
    while not in_season(f"{year:04d}-{number:02d}"):
        year, number = _next(year, number, step)
    return f"{year:04d}-{number:02d}"


def _next(year: int, number: int, step: int) -> tuple[int, int]:
    months = year * 12 + number - 1 + step
    return months // 12, months % 12 + 1
