"""What a finished run died of, in the words of the error that it was, read from its events.

Runs of this process are read by `backfill.step_failures`; here it is runs of anybody, by their id.
"""

from __future__ import annotations

from dataclasses import dataclass

import dagster as dg
from dagster._utils.error import SerializableErrorInfo  # type: ignore[attr-defined]

_WRAPPINGS = ("Dagster", "Failure")
"""How the names of the classes begin in which Dagster carries an error."""


@dataclass(frozen=True, slots=True)
class StepFailure:
    """The first step that failed, the name of its error's class, and its message."""

    step: str
    kind: str
    message: str


def first_failure(instance: dg.DagsterInstance, run_id: str) -> StepFailure | None:
    """The first failed step of a run; None if none failed, or there is no such run."""
    for entry in instance.all_logs(run_id, of_type=dg.DagsterEventType.STEP_FAILURE):
        event = entry.dagster_event
        if event is None:
            continue
        error = _own(event.step_failure_data.error)
        if error is None:
            return StepFailure(str(event.step_key), "", "it failed without an error")
        _, _, text = error.message.strip().partition(": ")
        return StepFailure(str(event.step_key), str(error.cls_name), text or error.message.strip())
    return None


def _own(error: SerializableErrorInfo | None) -> SerializableErrorInfo | None:
    """The error without Dagster's wrapping."""
    while error is not None and error.cause is not None and str(error.cls_name).startswith(_WRAPPINGS):
        error = error.cause
    return error
