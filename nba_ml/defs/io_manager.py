"""How Dagster hands values from asset to asset: through the month store.

Why not a stock IO manager: those read the months of a partition mapping, and hand over a bare value for one upstream
month and a dict for several, so that a window of months changes its type on the first month; and with a missing month
they either raise a key or leave it out with a log line. Here a history is a dict, always, and a hole is an error.
"""

from collections.abc import Mapping
from functools import cached_property
from typing import Any, cast

import dagster as dg

from nba_ml.checks.registry import STORED
from nba_ml.contract.digest import HasDigest
from nba_ml.contract.errors import MissingMonthsError
from nba_ml.defs.internals import forget_outputs
from nba_ml.defs.partitions import COLUMNS, HISTORY, ONE_BY_ONE, History, month_keys, months_read, one_month
from nba_ml.defs.reasons import fails_with_its_reason
from nba_ml.defs.resources import open_store
from nba_ml.defs.waiting import wait_for_history
from nba_ml.storage.months import MonthStore


class MonthStoreIOManager(dg.IOManager):
    """Values in and out of the month store under a root, by asset and month."""

    def __init__(self, root: str) -> None:
        self.root = root

    @cached_property
    def store(self) -> MonthStore:
        """Opened when first used: loading the graph must need no credentials."""
        return open_store(self.root)

    def handle_output(self, context: dg.OutputContext, obj: HasDigest) -> None:
        self.store.save(STORED[context.asset_key.to_user_string()], context.asset_partition_key, obj)
        forget_outputs(context)

    @fails_with_its_reason
    def load_input(self, context: dg.InputContext) -> HasDigest | Mapping[str, HasDigest]:
        """The value of the month, or of all months of its history.

        Raises:
            dg.Failure: a month that is needed was never materialised, or its value cannot be read.
            dg.RetryRequested: a month that is needed is being made by another run.
        """
        wanted: Mapping[str, Any] = context.definition_metadata or {}
        partitions = cast(dg.MonthlyPartitionsDefinition, context.asset_partitions_def)
        history, month, all_months = wanted.get(HISTORY), one_month(context, partitions), month_keys(partitions)
        months = months_read(None if history is None else History(history), month, all_months)
        asset = context.asset_key.to_user_string()
        read = self.store.one_by_one if wanted.get(ONE_BY_ONE) else self.store.require
        values: Mapping[str, HasDigest]
        try:
            values = read(STORED[asset], months, wanted.get(COLUMNS))
        except MissingMonthsError as error:
            wait_for_history(context, asset, error)
            # The run that was making them may have ended after they were found missing and before it was looked for.
            values = read(STORED[asset], months, wanted.get(COLUMNS))
        return values[month] if history is None else values
