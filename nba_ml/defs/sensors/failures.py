"""The sensor that notifies people of failed runs, and of failed checks in runs that succeeded.

Dagster's run-failure sensor moves past a run whose notice could not be delivered, so that notice is lost. Here a run is
tagged once a target has received its notice, and the cursor stays before the first run with a notice outstanding. A
failed delivery makes the tick fail and is tried again at the next tick. A notice is repeated only if the process dies
between delivery and tag.

Runs of the command line are left out: it reports to the person who started it.
"""

import time
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, Literal

import dagster as dg

from nba_ml.checks.gcs_artifact import PUBLISHED
from nba_ml.contract.assets import PID_TAG
from nba_ml.contract.errors import NotifyError
from nba_ml.defs.event_log import first_failure
from nba_ml.defs.internals import PARTITION_NAME_TAG, WILL_RETRY_TAG
from nba_ml.defs.refusals import PUBLISHER
from nba_ml.monitoring.notify import Notice, Target, targets_of
from nba_ml.settings import NotifySettings

TOLD = "nba_ml/told_by_"
"""Tag of a run whose notice a target has received, followed by the target's name."""

GIVEN_UP_AFTER = 24 * 3600
"""Seconds. A target that is out of order for longer is not sent what piled up meanwhile."""

_LOOKS_EVERY = 30
_RUNS_A_LOOK = 50

_DAY = len("2025-01-15")
"""Of a partition's key: the slates have days, all else has months or none."""

_MAKES = {"slate": "slate_predictions", "slate_grading": "slate_grades"}
"""Job -> what it makes, where a run failed outside of its steps."""

_CHECKS = "_checks"
"""How the step of an asset's checks is named: after the asset, with this behind it."""

_FAILED: Literal[dg.DagsterEventType.RUN_FAILURE] = dg.DagsterEventType.RUN_FAILURE
_GREEN: Literal[dg.DagsterEventType.RUN_SUCCESS] = dg.DagsterEventType.RUN_SUCCESS
_OVER = (_FAILED, _GREEN)


def build_notifier(settings: NotifySettings) -> dg.SensorDefinition:
    """The sensor. It is on from the start if a target is configured, since whoever configures one means it; else off,
    and only writes to its own log once somebody turns it on."""
    targets = targets_of(settings)

    @dg.sensor(
        name="notify_failures",
        minimum_interval_seconds=_LOOKS_EVERY,
        default_status=dg.DefaultSensorStatus.RUNNING if targets else dg.DefaultSensorStatus.STOPPED,
        description="Tells of failed runs, and of failed checks of level ERROR in runs that are green: in its log, "
        f"and through {' and '.join(targets) or 'no target (see NBA_ML_NOTIFY_WEBHOOK, NBA_ML_NOTIFY_EMAIL)'}.",
    )
    def notify_failures(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        instance = context.instance
        if context.cursor is None:
            context.update_cursor(str(_newest_event(instance)))
            return dg.SkipReason("From now on: failures before this sensor was turned on are not reported.")
        finished = _finished(instance, int(context.cursor))
        broken: dict[str, str] = {}
        reported = 0
        for storage_id, run_id, age in finished:
            notice = notice_of(instance, run_id, settings.ui_url)
            if notice is not None:
                reported += 1
                _tell(context, notice, targets, broken, too_old=age > GIVEN_UP_AFTER)
            if not broken:
                context.update_cursor(str(storage_id))
        if broken:
            errors = "; ".join(f"{name}: {why}" for name, why in broken.items())
            # A tick that fails keeps its old cursor, so these runs come up again.
            raise NotifyError(
                f"Not all targets got the notice. {errors}. The others are tried again every {_LOOKS_EVERY} seconds "
                "for a day. `nba-ml health --test` sends every target a test message."
            )
        return dg.SkipReason(f"{len(finished)} run(s) ended since the last tick, {reported} to report.")

    return notify_failures


def _tell(
    context: dg.SensorEvaluationContext,
    notice: Notice,
    targets: Mapping[str, Target],
    broken: dict[str, str],
    *,
    too_old: bool,
) -> None:
    """Notify every target that has not received the notice; one that fails is not tried again in this tick."""
    run = context.instance.get_run_by_id(notice.run_id)
    done = set(run.tags) if run else set()
    if f"{TOLD}log" not in done:
        context.log.error(notice.text)
        context.instance.add_run_tags(notice.run_id, {f"{TOLD}log": "yes"})
    for name, deliver in targets.items():
        tag = f"{TOLD}{name}"
        if tag in done or name in broken:
            continue
        if too_old:
            context.log.error(f"{name} could not be notified of run {notice.run_id} for a day. It is not tried again.")
            context.instance.add_run_tags(notice.run_id, {tag: "given up"})
        elif (why := deliver(notice)) is None:
            context.instance.add_run_tags(notice.run_id, {tag: "yes"})
        else:
            broken[name] = why


def _newest_event(instance: dg.DagsterInstance) -> int:
    """The storage id of the newest end of a run; 0 if none has ended."""
    newest = [instance.fetch_run_status_changes(each, limit=1).records for each in _OVER]
    return max((page[0].storage_id for page in newest if page), default=0)


def _finished(instance: dg.DagsterInstance, after: int) -> list[tuple[int, str, float]]:
    """(storage id, run id, seconds ago) of the runs that ended since, oldest first, so many of them as a look takes."""
    now = time.time()
    found: list[tuple[int, str, float]] = []
    for kind in _OVER:
        wanted = dg.RunStatusChangeRecordsFilter(event_type=kind, after_storage_id=after)
        records = instance.fetch_run_status_changes(wanted, limit=_RUNS_A_LOOK, ascending=True).records
        found += [(record.storage_id, record.run_id, now - record.timestamp) for record in records]
    return sorted(found)[:_RUNS_A_LOOK]


def notice_of(instance: dg.DagsterInstance, run_id: str, ui_url: str | None) -> Notice | None:
    """The notice of a finished run; None if it has no failure, is deleted, is queued again, or was made by the command
    line."""
    run = instance.get_run_by_id(run_id)
    if run is None or PID_TAG in run.tags or run.tags.get(WILL_RETRY_TAG) == "true":
        return None
    partition = run.tags.get(PARTITION_NAME_TAG, "")
    of_when = f" of {partition}" if partition else ""
    place = {
        "job": run.job_name,
        "day" if len(partition) == _DAY else "month": partition,
        "run_id": run_id,
        "link": f"{ui_url}/runs/{run_id}" if ui_url else "",
    }
    checks = list(_failed_checks(instance, run_id))
    listed = "\n".join(f"{each.asset_key.to_user_string()}.{each.check_name}: {each.description}" for each in checks)
    if run.status is dg.DagsterRunStatus.FAILURE:
        failure = first_failure(instance, run_id)
        asset = failure.step.removesuffix(_CHECKS) if failure else ""
        # A check that stops a run fails a step of its own, whose error only counts them.
        stopped = failure is not None and failure.step.endswith(_CHECKS) and checks
        error = failure.message if failure else "The run failed outside of its steps."
        return Notice(
            level="error",
            title=f"{asset or run.job_name}{of_when} failed",
            said=listed if stopped else error,
            next_step=f"Open the run in the UI. When the cause is fixed, {_goes_on(run, asset, partition)}.",
            asset=asset,
            **place,
        )
    if not checks:
        return None
    notice = partial(Notice, said=listed, **place)
    if any(each.asset_key.path[-1] == PUBLISHER and each.check_name == PUBLISHED for each in checks):
        return notice(
            level="error",
            title=f"The model{of_when} was refused and is not published",
            next_step="The champion continues to serve. Each check says what to do; then materialise the month again.",
            asset=PUBLISHER,
        )
    assets = ", ".join(dict.fromkeys(check.asset_key.to_user_string() for check in checks))
    return notice(
        level="warning",
        title=f"{len(checks)} check(s) on {assets}{of_when} failed in a run that is green",
        next_step="Each check says what to do; the Checks tab of the asset in the UI has the numbers.",
        asset=assets,
    )


def _goes_on(run: dg.DagsterRun, asset: str, partition: str) -> str:
    """The command that does what the run did not: a backfill makes no slate, and no champion."""
    match asset or _MAKES.get(run.job_name, ""):
        case "slate_predictions":
            option = " --to-bigquery" if _to_bigquery(run.run_config) else ""
            return f"`nba-ml slate predict --date {partition}{option}` makes the slate"
        case "slate_grades":
            return f"`nba-ml slate grade --month {partition}` grades the slates"
        case "champion":
            return "`nba-ml champion promote` decides again"
        case "rollout":
            return "`nba-ml rollout advance` takes the step again"
        case _:
            return "`nba-ml backfill --only-missing` goes on"


def _to_bigquery(config: Any) -> bool:
    """Whether the run's slate was to go there too. A run may be configured in part, or not at all."""
    for key in ("ops", "slate_predictions", "config", "to_bigquery"):
        config = config.get(key) if isinstance(config, Mapping) else None
    return bool(config)


def _failed_checks(instance: dg.DagsterInstance, run_id: str) -> Iterator[dg.AssetCheckEvaluation]:
    for entry in instance.all_logs(run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION):
        if entry.dagster_event is not None:
            found = entry.dagster_event.asset_check_evaluation_data
            if not found.passed and found.severity is dg.AssetCheckSeverity.ERROR:
                yield found
