"""Months run through the graph one by one, in one warm process, running only what is out of date.

What belongs here: Dagster runs, and what a signal does to them. What does not: deciding what is out of date
(`planner`), and output (`cli`).
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import dagster as dg

from nba_ml.checks.check import Check
from nba_ml.checks.gcs_artifact import PUBLISHED
from nba_ml.checks.registry import all_checks
from nba_ml.contract.assets import COMMAND_TAG, EVALUATION_ASSETS, HOME_TAG, PID_TAG
from nba_ml.contract.errors import NbaMlError
from nba_ml.contract.systems import XGBOOST_V1, System, system_of_asset
from nba_ml.defs.event_log import StepFailure, step_failure
from nba_ml.defs.internals import make_new_run_id, sync_databases
from nba_ml.machine import command_line
from nba_ml.registry.artifact import ARTIFACT
from nba_ml.registry.refusal import Refusal
from nba_ml.registry.verdict import Override
from nba_ml.runner.home import fail_orphaned_runs, home_of
from nba_ml.runner.memory import release_memory
from nba_ml.runner.planner import Planner
from nba_ml.runner.signals import signals_noticed

_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
"""Dagster's log goes to its own storage, where the UI shows it; the terminal shows the progress."""


REPORT = "walk_forward"


@dataclass(frozen=True, slots=True)
class MonthResult:
    """What was done for a month.

    `problems` are the errors. `refused` is why the model was not published: a verdict on the model, not an error.
    `warnings` are the other checks that failed, by name; `left_out` are assets that cannot be made, because the month
    before has no model. `checked` are the checks that ran on values that were there already, and `blocked` the failed
    ones that keep a model from being published, by name.
    """

    month: str
    assets: tuple[str, ...]
    run_id: str | None = None
    problems: tuple[str, ...] = ()
    refused: Refusal | None = None
    warnings: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    checked: tuple[str, ...] = ()
    blocked: tuple[str, ...] = ()

    def then(self, later: MonthResult) -> MonthResult:
        """This, and what was done after it."""
        return replace(
            later,
            assets=self.assets + later.assets,
            warnings=self.warnings + later.warnings,
            checked=self.checked + later.checked,
        )


@dataclass
class Backfill:
    """Runs what the planner finds out of date. `overrides` go to the publisher.

    `systems` are those of the graph; the planner has one of them.
    """

    planner: Planner
    overrides: Sequence[Override] = ()
    systems: Sequence[System] = (XGBOOST_V1,)
    _jobs: dict[tuple[str, ...], dg.JobDefinition] = field(default_factory=dict)

    def of(self, system: System) -> Backfill:
        """The same home, for another system's chain."""
        mine = [each for each in self.overrides if system_of_asset(each.check) == system]
        planner = self.planner if system == self.planner.system else replace(self.planner, system=system)
        return replace(self, planner=planner, overrides=mine)

    def run(
        self, months: Sequence[str], assets: Sequence[str], *, only_missing: bool, grade_where_possible: bool = False
    ) -> Iterator[MonthResult]:
        """Run these assets of the system's chain, by their plain names, for each month, in order.

        Yields after each month, and stops after the first that failed.

        A refused model does not stop it: later months have more data, and their own verdict. With
        `grade_where_possible` a month is not graded if the month before has no model; otherwise that is a failure.

        With `only_missing`, checks that are missing run on the values that are there. Where one that had never run
        fails, the months that were published without it are judged again.
        """
        system = self.planner.system
        assets = [system.asset(asset) for asset in assets]
        graded = tuple(map(system.asset, EVALUATION_ASSETS))
        unjudged = self.planner.unjudged(months, assets) if only_missing else {}
        doubted = False
        for month in months:
            left_out = graded if grade_where_possible and not self.planner.can_grade(month) else ()
            here = tuple(asset for asset in self.planner.chain if asset in assets and asset not in left_out)
            needed = self.planner.out_of_date(month, here) if only_missing else here
            done = MonthResult(month, ())
            if only_missing and (first := self.planner.first_of(month, needed)):
                done = self.run_month(month, first)
                needed = () if done.problems else self.planner.out_of_date(month, here)
            kept = (asset for asset in here if asset not in needed and asset not in done.assets)
            again = [check for asset in kept for check in unjudged.get((asset, month), ())]
            if again and not done.problems:
                never_ran = self.planner.never_ran(month, again)
                done = done.then(self._judge(month, again))
                doubted |= not never_ran.isdisjoint(done.blocked)
            refused = None
            if only_missing and not done.problems:
                needed, refused = self._publishing(month, here, needed, doubted=doubted)
            if needed and not done.problems:
                done = done.then(self.run_month(month, needed))
            if done.assets:
                release_memory()
            yield replace(done, refused=done.refused or refused, left_out=left_out)
            if done.problems:
                return

    def _publishing(
        self, month: str, here: tuple[str, ...], needed: tuple[str, ...], *, doubted: bool
    ) -> tuple[tuple[str, ...], Refusal | None]:
        """What is needed, with or without the publisher; and why it would refuse the model again, if it is without."""
        if doubted and self._publisher in here and self._publisher not in needed and self._doubtful(month):
            return tuple(asset for asset in here if asset in needed or asset == self._publisher), None
        refused = self._refused_before(month, needed)
        return tuple(asset for asset in needed if not refused or asset != self._publisher), refused

    def run_month(self, month: str, assets: tuple[str, ...]) -> MonthResult:
        """One Dagster run of the assets and their checks.

        Raises:
            KeyboardInterrupt: SIGINT or SIGTERM came while it ran. The run is not left unfinished.
        """
        if assets not in self._jobs:
            full_job = self.planner.defs.resolve_implicit_global_asset_job_def()
            self._jobs[assets] = full_job.get_subset(
                asset_selection=frozenset(map(dg.AssetKey.from_user_string, assets))
            )
        result = execute(self._jobs[assets], self.planner.instance, month, assets, self._config(assets))
        made = (e.step_materialization_data.materialization for e in result.get_asset_materialization_events())
        self.planner.remember(
            month, assets, {event.asset_key.to_user_string(): event for event in made} if result.success else {}
        )
        refused = self._refused_now(month) if result.success and self._publisher in assets else None
        named = {f"{self._publisher}.{PUBLISHED}", *(check.key for check in refused.checks)} if refused else set()
        return replace(_result(month, result, named), assets=assets, refused=refused)

    def _judge(self, month: str, checks: Sequence[Check]) -> MonthResult:
        """Run checks that are missing on what is materialised. A value whose check stops the run is out of date."""
        result = self.check(month, checks)
        done = replace(_result(month, result), checked=tuple(check.key for check in checks))
        assets = {check.asset for check in checks}
        if result.success:
            self.planner.checked(month, assets)
        else:
            self.planner.remember(month, tuple(assets), {})
        return done

    def summarise(self) -> str:
        """Make the report over all graded months, and return its URI."""
        release_memory()  # the report takes the most at once
        full_job = self.planner.defs.resolve_implicit_global_asset_job_def()
        job = full_job.get_subset(asset_selection=frozenset({dg.AssetKey(REPORT)}))
        result = execute(job, self.planner.instance, None, (REPORT,))
        for failure in step_failures(result):
            raise NbaMlError(f"{REPORT}: {failure.message}")
        [event] = result.asset_materializations_for_node(REPORT)
        return str(event.metadata["report_file"].value)

    def check(self, month: str, checks: Sequence[Check]) -> dg.ExecuteInProcessResult:
        """Run checks on what is materialised, in a Dagster run that materialises nothing."""
        names = tuple(check.key for check in checks)
        if names not in self._jobs:
            self._jobs[names] = checks_job(self.planner.defs, checks)
        result = execute(self._jobs[names], self.planner.instance, month)
        self.planner.remember(month, (), {})
        return result

    @property
    def _publisher(self) -> str:
        return ARTIFACT.of(self.planner.system).name

    def _refused_now(self, month: str) -> Refusal | None:
        """Why the run that has just ended published nothing; None if it published, or there is no model yet."""
        artifact = self.planner.store.load(ARTIFACT.of(self.planner.system), month)
        return artifact.refused if artifact else None

    def _doubtful(self, month: str) -> bool:
        """Whether a check has failed since the month was published, beside those that a person has overridden."""
        refusal, artifact = (
            self.planner.refusal(month),
            self.planner.store.load(ARTIFACT.of(self.planner.system), month),
        )
        accepted = artifact.verdict.overrides if artifact and artifact.verdict else ()
        return refusal is not None and not {c.key for c in refusal.checks} <= {each.check for each in accepted}

    def _refused_before(self, month: str, needed: tuple[str, ...]) -> Refusal | None:
        """Why this same model was not published before, if nothing upstream of it is to be made again."""
        allowed = {self._publisher, *map(self.planner.system.asset, EVALUATION_ASSETS)}
        settled = self._publisher in needed and not self.overrides and set(needed) <= allowed
        return self.planner.refusal(month) if settled else None

    def _config(self, assets: tuple[str, ...]) -> dict[str, Any]:
        if self._publisher not in assets or not self.overrides:
            return {}
        return {
            self._publisher.replace("/", "__"): {
                "config": {"overrides": [override.model_dump() for override in self.overrides]}
            }
        }


def checks_job(defs: dg.Definitions, checks: Sequence[Check]) -> dg.JobDefinition:
    """A job of some checks of monthly assets, which materialises nothing."""
    # First the assets: in a job that also has assets by the day, the checks of a month have no month.
    monthly = defs.resolve_implicit_global_asset_job_def().get_subset(
        asset_selection=frozenset(dg.AssetKey.from_user_string(check.asset) for check in checks)
    )
    keys = frozenset(dg.AssetCheckKey(dg.AssetKey.from_user_string(check.asset), check.name) for check in checks)
    return monthly.get_subset(asset_selection=frozenset(), asset_check_selection=keys)


def execute(
    job: dg.JobDefinition,
    instance: dg.DagsterInstance,
    month: str | None,
    assets: Collection[str] = (),
    ops: Mapping[str, Any] | None = None,
) -> dg.ExecuteInProcessResult:
    """Run a job for a month, or without one, in this process. `assets` are all that it materialises.

    The run names its assets, its month and the command, so that the UI's pages of runs and assets show it as one of
    their own.

    Raises:
        KeyboardInterrupt: SIGINT or SIGTERM came while it ran. The run is not left unfinished.
    """
    run_id = make_new_run_id()
    with signals_noticed() as interrupted:
        try:
            result = job.execute_in_process(
                instance=instance,
                run_id=run_id,
                partition_key=month,
                run_config={**_QUIET, "ops": ops or {}},
                raise_on_error=False,
                asset_selection=[dg.AssetKey.from_user_string(asset) for asset in assets],
                tags={PID_TAG: str(os.getpid()), HOME_TAG: home_of(instance), COMMAND_TAG: command_line()},
            )
        except BaseException as error:
            fail_orphaned_runs(instance)
            if interrupted():
                raise KeyboardInterrupt from error
            raise
        if interrupted():
            raise KeyboardInterrupt
    sync_databases()
    return result


def _result(month: str, result: dg.ExecuteInProcessResult, named: Collection[str] = ()) -> MonthResult:
    """What a run found. `named` are checks that are reported elsewhere."""
    failed = [e for e in result.get_asset_check_evaluations() if not e.passed]
    by_key = {check.key: check for check in all_checks()}
    problems: tuple[str, ...] = ()
    if not result.success:
        stopped = (
            f"{e.check_name} on {e.asset_key.to_user_string()}: {e.description}"
            for e in failed
            if by_key[_key(e)].stops_run
        )
        broken = (f"{failure.step}: {failure.message}" for failure in step_failures(result))
        problems = tuple(stopped) or tuple(broken) or ("the run failed; see it in the UI",)
    return MonthResult(
        month,
        (),
        run_id=result.run_id,
        problems=problems,
        warnings=tuple(_key(e) for e in failed if not by_key[_key(e)].stops_run and _key(e) not in named),
        blocked=tuple(_key(e) for e in failed if by_key[_key(e)].blocking),
    )


def step_failures(result: dg.ExecuteInProcessResult) -> Iterator[StepFailure]:
    """Each failed step with its own error."""
    return (step_failure(event) for event in result.filter_events(lambda e: e.is_step_failure))


def _key(evaluation: dg.AssetCheckEvaluation) -> str:
    return f"{evaluation.asset_key.to_user_string()}.{evaluation.check_name}"
