"""The facts behind the standing checks, read from Dagster's instance and from the channel.

What belongs here: reading the facts. `monitoring.health` judges them. Nothing is written, so it may run while other
processes work on the home.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime

import dagster as dg

from nba_ml.contract.assets import MONTHLY_ASSETS
from nba_ml.contract.errors import BundleError, NotVerifiedError
from nba_ml.contract.systems import System
from nba_ml.contract.thresholds import Thresholds
from nba_ml.defs.event_log import first_failure, latest_materialisations
from nba_ml.defs.internals import REPOSITORY, InstigatorStatus, ScheduleInstigatorData
from nba_ml.defs.refusals import PUBLISHER, refused_months
from nba_ml.monitoring.health import (
    FailedMonth,
    HealthFinding,
    Release,
    SchedulerState,
    ServingModel,
    champion_not_too_old,
    no_month_left_failed,
    retraining_ran,
    scheduler_runs,
    switched_on,
)
from nba_ml.registry.channel import ChannelModel, read_channel
from nba_ml.registry.systems.registered import require_registered
from nba_ml.registry.systems.xgboost_v1 import read_published
from nba_ml.storage.objects import ObjectStore

MODEL = "xgboost_model"


def judge_release(release: Release, now: datetime, limits: Thresholds) -> tuple[HealthFinding, ...]:
    """The findings of the standing checks of `champion`."""
    return (
        no_month_left_failed(release),
        champion_not_too_old(release, now, limits),
        retraining_ran(release, now, limits),
    )


def judge_scheduler(scheduler: SchedulerState, now: datetime) -> tuple[HealthFinding, ...]:
    """What only a process outside Dagster can find: a dead daemon runs no check."""
    return scheduler_runs(scheduler, now), switched_on(scheduler)


def read_release(
    instance: dg.DagsterInstance, objects: ObjectStore, months: Sequence[str], systems: Sequence[System]
) -> Release:
    """The current state of the release. `objects`: where models are published.

    Raises:
        ChannelError: the champion's pointer is damaged.
    """
    refused = {system: refused_months(instance, system) for system in systems}
    failed = _failed(instance, months, dict.fromkeys(s.asset(name) for s in systems for name in MONTHLY_ASSETS))
    first = systems[0]
    return Release(
        months=months,
        failed=[*failed, *(each for system in systems for each in _refused(refused[system], months, system))],
        trained=_made(instance, first.asset(MODEL)),
        published=sorted(_made(instance, first.asset(PUBLISHER)).keys() - refused[first].keys()),
        champion=_champion(objects),
    )


def read_scheduler(instance: dg.DagsterInstance, defs: dg.Definitions, *, grows: bool) -> SchedulerState:
    """The daemons that the instance needs, and the schedules and sensors of the code location."""
    heard = instance.get_daemon_heartbeats()
    return SchedulerState(
        heartbeats={
            daemon: datetime.fromtimestamp(heard[daemon].timestamp, UTC) if daemon in heard else None
            for daemon in instance.get_required_daemon_types()
        },
        switches=_switches(instance, defs),
        grows=grows,
    )


def _switches(instance: dg.DagsterInstance, defs: dg.Definitions) -> dict[str, bool]:
    """As set by a person under this code location; the others as declared in code."""
    touched = {
        state.instigator_name: state.is_running
        for state in instance.all_instigator_state(repository_selector_id=REPOSITORY.selector_id)
        if state.status is not InstigatorStatus.DECLARED_IN_CODE
    }
    declared: dict[str, bool] = {}
    for sensor in defs.sensors or ():
        declared[sensor.name] = sensor.default_status is dg.DefaultSensorStatus.RUNNING
    for schedule in defs.schedules or ():
        if isinstance(schedule, dg.ScheduleDefinition):
            declared[schedule.name] = schedule.default_status is dg.DefaultScheduleStatus.RUNNING
    return {name: touched.get(name, on) for name, on in sorted(declared.items())}


def _made(instance: dg.DagsterInstance, asset: str) -> dict[str, datetime]:
    """Month -> when it was last materialised."""
    latest = latest_materialisations(instance, asset)
    return {month: datetime.fromtimestamp(record.timestamp, UTC) for month, record in latest.items()}


def _failed(instance: dg.DagsterInstance, months: Sequence[str], assets: Collection[str]) -> Iterator[FailedMonth]:
    """Months whose last attempt at an asset made nothing, and whose run is over."""
    storage = instance.event_log_storage
    over = (dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)
    for asset in assets:
        # What the UI paints red: asked for, and not materialised since.
        attempts = storage.get_latest_asset_partition_materialization_attempts_without_materializations(
            dg.AssetKey.from_user_string(asset)
        )
        for month, (run_id, _) in sorted(attempts.items()):
            run = instance.get_run_by_id(run_id)
            if month not in months or (run is not None and run.status not in over):
                continue
            failure = first_failure(instance, run_id)
            if failure is not None and failure.step not in (asset, f"{asset}_checks") and failure.step in assets:
                continue  # it waited for the asset that failed, which is reported itself
            reason = failure.message if failure else "its run was deleted, or ended without a failed step"
            yield FailedMonth(month, asset, run_id, reason, failure is not None and failure.kind == _REFUSED)


_REFUSED = NotVerifiedError.__name__
"""The error by which a refused model failed its run in homes of earlier versions."""


def _refused(refused: Mapping[str, tuple[str, str]], months: Sequence[str], system: System) -> Iterator[FailedMonth]:
    for month, (run_id, said) in refused.items():
        if month in months:
            yield FailedMonth(month, system.asset(PUBLISHER), run_id, said, refused=True)


def _champion(objects: ObjectStore) -> ServingModel | None:
    state = read_channel(objects)
    if state is None:
        return None
    model = state.champion
    try:
        return ServingModel(model.model_id, _given_until(objects, model), state.moved_at)
    except BundleError as error:
        return ServingModel(model.model_id, None, state.moved_at, str(error))


def _given_until(objects: ObjectStore, model: ChannelModel) -> date:
    """The last date of all rows that a model was given: a model of the current month was given only part of it."""
    if model.is_external:
        return require_registered(objects, model.model_id, model.manifest_sha256).manifest.given_until
    return date.fromisoformat(read_published(objects, model.model_id, model.manifest_sha256).record["last_date"])


def slates_on_since(instance: dg.DagsterInstance) -> datetime | None:
    """Since when the schedule `daily_slate` is on; None if it is off, which is the default."""
    for state in instance.all_instigator_state(repository_selector_id=REPOSITORY.selector_id):
        if state.instigator_name == "daily_slate" and state.is_running:
            data = state.instigator_data
            since = data.start_timestamp if isinstance(data, ScheduleInstigatorData) else None
            return datetime.fromtimestamp(since or 0.0, UTC)
    return None
