"""Formats of numbers, months and gains on the page."""

from __future__ import annotations

import calendar

from nba_ml.contract.season import parse_month
from nba_ml.evaluation.grades import Slice
from nba_ml.model.comparison import BaselineResult


def has_season(each: Slice) -> bool:
    """Whether the slice has a season average to compare with."""
    return "season_average" in each.baselines


def tone(result: BaselineResult) -> str:
    """CSS class of a gain: good, bad or unclear, by its interval."""
    return "good" if result.gain_interval.low > 0 else "bad" if result.gain_interval.high < 0 else "unclear"


def signed(value: float, digits: int = 3) -> str:
    """A number with its sign. Uses the minus character, and no sign for zero."""
    text = f"{value:+.{digits}f}"
    return text.replace("-", "\u2212") if float(text) else f"{0:.{digits}f}"


def number(value: float | None) -> str:
    """Points with three decimals; a dash if not measured."""
    return "-" if value is None else f"{value:.3f}"


def population(each: Slice) -> str:
    """The sample size of a slice."""
    return f"{each.metrics.n:,} predictions on {each.days:,} days"


def count(n: int, what: str) -> str:
    """`1 month`, `1,640 months`."""
    return f"{n:,} {what}" if n == 1 else f"{n:,} {what}s"


def month_name(month: str) -> str:
    """`Nov 2021` of `2021-11`."""
    year, number = parse_month(month)
    return f"{calendar.month_abbr[number]} {year}"
