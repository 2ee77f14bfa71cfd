"""Month by month through the graph, in one warm process, doing only what is needed.

What belongs here: Dagster runs, and what a signal does to them. What does not: deciding what is out of date
(`planner`), and talking to a person (`cli`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import dagster as dg

from nba_ml.checks.registry import all_checks
from nba_ml.home import PID_TAG, fail_orphaned_runs
from nba_ml.planner import Planner
from nba_ml.signals import signals_noticed

_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
"""Dagster's log goes to its own storage, where the UI shows it; the terminal belongs to the progress."""


@dataclass(frozen=True, slots=True)
class MonthResult:
    """What was done for a month. `problems` in words, empty if it succeeded; `warnings` are failed WARN checks."""

    month: str
    assets: tuple[str, ...]
    run_id: str | None = None
    problems: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass
class Backfill:
    """Runs what the planner finds out of date."""

    planner: Planner
    _jobs: dict[tuple[str, ...], dg.JobDefinition] = field(default_factory=dict)

    def run(self, months: Sequence[str], assets: Sequence[str], *, only_missing: bool) -> Iterator[MonthResult]:
        """Run the assets of each month, in order, yielding after each; stops after the first month that failed."""
        for month in months:
            here = tuple(asset for asset in self.planner.chain if asset in assets)
            needed = self.planner.out_of_date(month, here) if only_missing else here
            result = self.run_month(month, needed) if needed else MonthResult(month, ())
            yield result
            if result.problems:
                return

    def run_month(self, month: str, assets: tuple[str, ...]) -> MonthResult:
        """One Dagster run of the assets and their checks.

        Raises:
            KeyboardInterrupt: SIGINT or SIGTERM came while it ran. The run is not left unfinished.
        """
        if assets not in self._jobs:
            whole = self.planner.defs.resolve_implicit_global_asset_job_def()
            self._jobs[assets] = whole.get_subset(asset_selection=frozenset(dg.AssetKey(a) for a in assets))
        with signals_noticed() as interrupted:
            try:
                result = self._jobs[assets].execute_in_process(
                    instance=self.planner.instance,
                    partition_key=month,
                    run_config=_QUIET,
                    raise_on_error=False,
                    tags={PID_TAG: str(os.getpid())},
                )
            except BaseException as error:
                fail_orphaned_runs(self.planner.instance)
                if interrupted():
                    raise KeyboardInterrupt from error
                raise
            if interrupted():
                raise KeyboardInterrupt
        events = result.get_asset_materialization_events() if result.success else []
        made = (event.step_materialization_data.materialization for event in events)
        self.planner.remember(month, assets, {event.asset_key.to_user_string(): event for event in made})
        failed = [e for e in result.get_asset_check_evaluations() if not e.passed]
        blocking = {(c.asset, c.name) for c in all_checks() if c.blocking}
        said = {
            must: tuple(
                f"{e.check_name} on {e.asset_key.to_user_string()}: {e.description}"
                for e in failed
                if ((e.asset_key.to_user_string(), e.check_name) in blocking) is must
            )
            for must in (True, False)
        }
        problems = (
            () if result.success else (said[True] or tuple(_errors(result)) or ("the run failed; see it in the UI",))
        )
        return MonthResult(month, assets, run_id=result.run_id, problems=problems, warnings=said[False])


def _errors(result: dg.ExecuteInProcessResult) -> Iterator[str]:
    """The message of each failed step's own error, without Dagster's wrapping.

    Its cause is not shown: our errors say in words what the library that they come from said.
    """
    for event in result.filter_events(lambda e: e.is_step_failure):
        error = event.step_failure_data.error
        while error is not None and error.cause is not None and str(error.cls_name).startswith("Dagster"):
            error = error.cause
        if error is not None:
            _, _, text = error.message.strip().partition(": ")
            yield f"{event.step_key}: {text or error.message.strip()}"
