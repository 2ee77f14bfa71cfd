"""The months, as Dagster partitions, and which earlier months a month reads.

What belongs here: partition definitions and months of inputs. The calendar itself is `contract.season`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum

import dagster as dg

from nba_ml.contract.errors import MonthError
from nba_ml.contract.season import off_season_months, parse_month
from nba_ml.settings import Settings
from nba_ml.sources.embedded import source_months

_YEARS_TO_COME = 50
"""From the first month of a source without a last one: Dagster's exclusions are listed."""

COLUMNS = "nba_ml/columns"
"""Input metadata: read these columns only."""

ONE_BY_ONE = "nba_ml/one_by_one"
"""Input metadata: of a history, read each month when it is asked for (`storage.months.MonthByMonth`)."""


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


class History(StrEnum):
    """Which months of an upstream asset a month reads, where that is not the month itself."""

    SO_FAR = "so_far"
    """The expanding window: every month from the first up to and including it."""

    BEFORE = "before"
    """The season month before: June before an October. The first month has none, and reads nothing."""


HISTORY = "nba_ml/history"
"""Input metadata: a `History`. The input is then a dict of month -> value.

In the graph each asset depends on the same month only, and reads the others from the store. With partition mappings
instead, Dagster follows them forward: a backfill of three months on the lineage page targeted every later month.
"""


def reads(asset: str, history: History | None = None, *columns: str, one_by_one: bool = False) -> dg.AssetIn:
    """An input that reads the same month of an asset or those of its history, of a table these columns only.

    With `one_by_one`, the months of a history are not held in memory together.
    """
    metadata = {
        **({HISTORY: history.value} if history else {}),
        **({COLUMNS: list(columns)} if columns else {}),
        **({ONE_BY_ONE: True} if one_by_one else {}),
    }
    return dg.AssetIn(key=dg.AssetKey.from_user_string(asset), metadata=metadata)


def history_of(asset: dg.AssetsDefinition, parent: dg.AssetKey) -> History | None:
    """Which months of the parent the asset reads; None for its own month."""
    for name, key in asset.keys_by_input_name.items():
        if key == parent:
            given = asset.op.ins[name].metadata.get(HISTORY)
            return None if given is None else History(given)
    return None


def months_read(history: History | None, month: str, months: Sequence[str]) -> list[str]:
    """Those of the months (all of them, in order) that are read for a month."""
    at = months.index(month)
    match history:
        case History.SO_FAR:
            return list(months[: at + 1])
        case History.BEFORE:
            return list(months[max(0, at - 1) : at])
        case None:
            return [month]


def one_month(context: dg.AssetExecutionContext | dg.InputContext, months: dg.PartitionsDefinition) -> str:
    """The month of a run, as an asset that has no input, or an input, sees it.

    Raises:
        MonthError: it was launched without a partition, from a launchpad or by a job's name, for a range of them, or
            for a month that is none of `months`.
    """
    launched = context.partition_key if context.has_partition_key else None
    if launched is not None and not months.has_partition_key(launched):
        # Dagster takes it from whoever launches by GraphQL, and stores the value as that of the next month.
        require_month(launched, [*months.get_partition_keys()])
    if isinstance(context, dg.InputContext):
        keys = context.asset_partition_keys if context.has_asset_partitions else []
    else:
        keys = [] if launched is None else [launched]
    if len(keys) != 1:
        raise MonthError(
            "The run has no month, or several at once. Choose the partition when you launch it; a backfill makes one "
            "run for each of several months."
        )
    return keys[0]


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
