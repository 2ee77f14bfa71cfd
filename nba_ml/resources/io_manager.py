"""How Dagster hands values from asset to asset: through the month store.

Why not a stock IO manager: those hand over a bare value for one upstream month and a dict for several,
so that a window of months changes its type on the first month; and with a missing month they either
raise a key or leave it out with a log line. Here a window is a dict, always, and a hole is an error.
"""

from collections.abc import Mapping
from typing import Any

import dagster as dg

from nba_ml.core.errors import MissingMonthsError
from nba_ml.core.values import HasDigest
from nba_ml.resources.month_store import MonthStore

BY_MONTH = "nba_ml/by_month"
"""Input metadata: hand over a dict of month -> value."""

COLUMNS = "nba_ml/columns"
"""Input metadata: read these columns only."""


class MonthStoreIOManager(dg.IOManager):
    """Values in and out of a `MonthStore`, by asset and month."""

    def __init__(self, store: MonthStore) -> None:
        self.store = store

    def handle_output(self, context: dg.OutputContext, obj: object) -> None:
        self.store.save(context.asset_key.to_user_string(), context.asset_partition_key, obj)

    def load_input(self, context: dg.InputContext) -> HasDigest | dict[str, HasDigest]:
        """The value of the month, or all months of the window.

        Raises:
            MissingMonthsError: a month that is needed was never materialised.
        """
        asset = context.asset_key.to_user_string()
        wanted: Mapping[str, Any] = context.definition_metadata or {}
        months = sorted(context.asset_partition_keys)
        found = {month: self.store.load(asset, month, wanted.get(COLUMNS)) for month in months}
        missing = [month for month, value in found.items() if value is None]
        if missing:
            raise MissingMonthsError(
                f"{asset} was never materialised for {_named(missing)}. A model trained around a hole would not know: "
                f"run `nba-ml backfill --from {missing[0]} --to {missing[-1]} --only-missing --assets {asset}`, or "
                "materialise those partitions in the UI, then try again."
            )
        values = {month: value for month, value in found.items() if value is not None}
        return values if wanted.get(BY_MONTH) else values[months[-1]]


def _named(months: list[str]) -> str:
    shown = ", ".join(months[:6])
    return shown if len(months) <= 6 else f"{shown} and {len(months) - 6} more months"
