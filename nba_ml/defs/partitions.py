"""The months, as Dagster partitions, and how months depend on months.

What belongs here: partition definitions and mappings. The calendar itself is `contract.season`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import dagster as dg

from nba_ml.contract.errors import MonthError
from nba_ml.contract.season import off_season_months, parse_month
from nba_ml.defs.internals import silence_preview_warnings
from nba_ml.settings import Settings
from nba_ml.sources.embedded import source_months

_YEARS_TO_COME = 50
"""From the first month of a source without a last one: Dagster's exclusions are listed."""

_MONTHS_TO_COME = 18
"""Two seasons: how long a code server may run on partitions that grow with the calendar."""


def partitions_of(settings: Settings) -> dg.MonthlyPartitionsDefinition:
    """The months that the configured source can have.

    Raises:
        SourceDataError: the embedded source has none.
    """
    if settings.bigquery is not None:
        return season_months(settings.bigquery.first_month, None)
    available = source_months(settings.data)
    return season_months(available[0], available[-1])


def season_months(first: str, last: str | None) -> dg.MonthlyPartitionsDefinition:
    """Monthly partitions from `first` to `last`, both inclusive, without the off-season.

    With no `last` they go on: to the current month, whichever it is when somebody asks.
    """
    parse_month(first)
    following = None
    if last is not None:
        year, number = parse_month(last)
        following = f"{year + number // 12}-{number % 12 + 1:02d}"
    return dg.MonthlyPartitionsDefinition(
        start_date=first,
        end_date=following,
        # Dagster's own last partition is the last month that is over.
        end_offset=0 if last else 1,
        fmt="%Y-%m",
        exclusions=_off_season(first, last),
    )


def _off_season(first: str, last: str | None) -> list[str | datetime]:
    """Every July to September, or, where some of them had games, each of the others by its date."""
    begins, ends = int(first[:4]), int(last[:4]) if last else int(first[:4]) + _YEARS_TO_COME
    months = off_season_months(begins, ends)
    if len(months) == 3 * (ends - begins + 1):
        return ["0 0 1 7-9 *"]
    return [datetime(int(month[:4]), int(month[5:]), 1) for month in months]


def every_month_so_far(months: dg.MonthlyPartitionsDefinition) -> dg.TimeWindowPartitionMapping:
    """The expanding window: everything from the first month up to and including the month.

    It reaches back as far as there are months, and no further: Dagster walks through every month of the
    window each time that it looks, and a window of a hundred years cost 1.5 s a run.
    """
    with silence_preview_warnings():
        return dg.TimeWindowPartitionMapping(
            start_offset=-len(month_keys(months)) - _MONTHS_TO_COME, allow_nonexistent_upstream_partitions=True
        )


def month_before() -> dg.TimeWindowPartitionMapping:
    """The season month before: June before an October. The first month has none, and reads nothing."""
    with silence_preview_warnings():
        return dg.TimeWindowPartitionMapping(start_offset=-1, end_offset=-1, allow_nonexistent_upstream_partitions=True)


def months_needed(mapping: dg.PartitionMapping, month: str, months: Sequence[str]) -> list[str]:
    """Those of the months (all of them, in order) that a dependency of a month is on."""
    if not isinstance(mapping, dg.TimeWindowPartitionMapping):
        return [month]
    at = months.index(month)
    return list(months[max(0, at + mapping.start_offset) : max(0, at + mapping.end_offset + 1)])


def month_keys(months: dg.MonthlyPartitionsDefinition) -> list[str]:
    """All months of the definition, as of now, in order."""
    return list(months.get_partition_keys())


def require_month(month: str, months: list[str]) -> str:
    """The month, if it is one of the source's.

    Raises:
        MonthError: not a month, in the off-season, or before the first or after the last.
    """
    parse_month(month)
    if month not in months:
        side = "before the first" if month < months[0] else "after the last"
        raise MonthError(
            f"{month} is {side} month of the source, which has {months[0]} to {months[-1]}. "
            "Choose a month in between, or point NBA_ML_DATA to a folder that has it."
        )
    return month
