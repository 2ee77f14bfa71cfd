"""What a month does whose history is still being made by other runs: it waits for them, or goes behind them.

Months of a backfill may run at the same time. Each run makes its own month's inputs before it reads those of earlier
months, so a run that has begun never waits for a later one: waiting for it cannot deadlock. A run that is still queued
may be waiting for this run's place, so there this run ends, and Dagster queues it again behind the other if the
instance has `run_retries` enabled.
"""

from __future__ import annotations

from collections.abc import Sequence

import dagster as dg

from nba_ml.contract.errors import MissingMonthsError
from nba_ml.defs.internals import MAX_RETRIES_TAG, PARTITION_NAME_TAG, RETRY_ON_ASSET_OR_OP_FAILURE_TAG

WAIT_SECONDS = 10
"""Between two looks at the store."""

MOST_WAITS = 60
"""Ten minutes: a pod may first need a node."""

_MOST_RUNS = 3
"""Times that a run is queued again."""

_UNFINISHED = [dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED]


def wait_for_history(context: dg.InputContext, asset: str, error: MissingMonthsError) -> None:
    """Wait for earlier months of an asset that other runs are about to make; return if no run is.

    Raises:
        dg.RetryRequested: every missing month has a run that has begun. The step is tried again.
        dg.Failure: every missing month has a run, and some are queued. This run is queued again behind them.
    """
    months = [month for month in error.months if month < context.asset_partition_key]
    if not months or len(months) < len(error.months):
        return
    runs = _runs(context.instance, asset, months)
    begun = {_month(run): run.run_id for run in runs if run.status is not dg.DagsterRunStatus.QUEUED}
    if begun.keys() >= set(months):
        waits = ", ".join(f"{month} (run {run_id[:8]})" for month, run_id in sorted(begun.items()))
        context.log.info(f"Waiting for {asset} of {waits}.")
        raise dg.RetryRequested(max_retries=MOST_WAITS, seconds_to_wait=WAIT_SECONDS) from error
    queued = {_month(run) for run in runs} - begun.keys()
    if {*begun, *queued} >= set(months) and context.instance.run_retries_enabled:
        tags = {MAX_RETRIES_TAG: str(_MOST_RUNS), RETRY_ON_ASSET_OR_OP_FAILURE_TAG: "true"}
        context.instance.add_run_tags(context.step_context.run_id, tags)
        raise dg.Failure(
            f"{asset} of {', '.join(sorted(queued))} is still to be made by runs in the queue. This run ends, and "
            f"Dagster queues it again behind them, at most {_MOST_RUNS} times."
        ) from error


def _runs(instance: dg.DagsterInstance, asset: str, months: Sequence[str]) -> list[dg.DagsterRun]:
    """The runs, queued or begun, that make the asset for one of the months. One query: between two a run may begin."""
    key = dg.AssetKey.from_user_string(asset)
    runs = instance.get_runs(dg.RunsFilter(statuses=_UNFINISHED, tags={PARTITION_NAME_TAG: list(months)}))
    # A job's run that selects no assets makes all of the job's.
    return [run for run in runs if run.asset_selection is None or key in run.asset_selection]


def _month(run: dg.DagsterRun) -> str:
    return run.tags[PARTITION_NAME_TAG]
