"""Reads Dagster's event log: the error that a run failed with, and the latest materialisations."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import dagster as dg

from nba_ml.defs.internals import stored_events

_WRAPPINGS = ("Dagster", "Failure")
"""How the names of the classes begin in which Dagster carries an error."""

_PAGE = 500
"""Records that are read at a time."""


@dataclass(frozen=True, slots=True)
class StepFailure:
    """A step that failed, the name of its error's class, and its message.

    `step` is the name of its asset, or that with `_checks`.
    """

    step: str
    kind: str
    message: str


def step_failure(event: dg.DagsterEvent) -> StepFailure:
    """The error of a failed step, without Dagster's wrapping.

    Its cause is not shown: our errors already include what the library reported.
    """
    error = event.step_failure_data.error
    while error is not None and error.cause is not None and str(error.cls_name).startswith(_WRAPPINGS):
        error = error.cause
    step = str(event.step_key).replace("__", "/")  # as Dagster names the step of an asset with a prefix
    if error is None:
        return StepFailure(step, "", "it failed without an error")
    _, _, text = error.message.strip().partition(": ")
    return StepFailure(step, str(error.cls_name), text or error.message.strip())


def first_failure(instance: dg.DagsterInstance, run_id: str) -> StepFailure | None:
    """The first failed step of a run; None if none failed, or there is no such run."""
    entries = instance.all_logs(run_id, of_type=dg.DagsterEventType.STEP_FAILURE)
    return next((step_failure(entry.dagster_event) for entry in entries if entry.dagster_event is not None), None)


def latest_materialisations(instance: dg.DagsterInstance, asset: str) -> dict[str, dg.EventLogRecord]:
    """Month -> the record of its latest materialisation, for the months of an asset that ever were materialised.

    As many records are read as there are months, however often each was materialised.
    """
    key = dg.AssetKey.from_user_string(asset)
    pages = (
        instance.fetch_materializations(dg.AssetRecordsFilter(asset_key=key, storage_ids=ids), _PAGE)
        for ids in _latest_ids(instance, key)
    )
    return {str(record.partition_key): record for page in pages for record in page.records}


def latest_events(instance: dg.DagsterInstance, asset: str) -> dict[str, str]:
    """As `latest_materialisations`, the entries of the event log as stored: Dagster takes milliseconds to parse one."""
    pages = _latest_ids(instance, dg.AssetKey.from_user_string(asset))
    return {month: event for ids in pages for month, event in stored_events(instance, ids)}


def _latest_ids(instance: dg.DagsterInstance, asset: dg.AssetKey) -> Iterator[list[int]]:
    """The storage ids of each month's latest materialisation, in pages."""
    latest = instance.event_log_storage.get_latest_storage_id_by_partition(
        asset, dg.DagsterEventType.ASSET_MATERIALIZATION
    )
    ids = sorted(latest.values())
    yield from (ids[at : at + _PAGE] for at in range(0, len(ids), _PAGE))


def all_records(fetch: Callable[..., dg.EventRecordsResult], asset: str) -> Iterator[dg.EventLogRecord]:
    """All records of an asset that the instance's `fetch` method gives, newest first, read in pages."""
    cursor: str | None = None
    while True:
        page = fetch(dg.AssetRecordsFilter(asset_key=dg.AssetKey.from_user_string(asset)), limit=_PAGE, cursor=cursor)
        yield from page.records
        if not page.has_more:
            return
        cursor = page.cursor
