"""The sensor that follows the feature backfill in BigQuery. `backfill_decision` says what to ask for."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import dagster as dg

from nba_ml.checks.registry import all_checks
from nba_ml.contract.assets import TRAINING_ASSETS
from nba_ml.contract.lineage import inputs_digest
from nba_ml.contract.systems import XGBOOST_V1, System
from nba_ml.data.progress import MonthProgress
from nba_ml.defs.assets import feature_store_snapshot
from nba_ml.defs.assets.external import observation_of
from nba_ml.defs.assets.snapshot_history import Before
from nba_ml.defs.event_log import latest_materialisations
from nba_ml.defs.internals import AssetCheckExecutionRecordStatus, UnresolvedAssetJobDefinition
from nba_ml.defs.jobs import MODEL_JOB, SNAPSHOT, SNAPSHOT_JOB
from nba_ml.defs.partitions import month_keys
from nba_ml.defs.refusals import refused_months
from nba_ml.defs.schedules import ANSWERED_WITHIN, sentence
from nba_ml.defs.sensors.backfill_decision import (
    AskedRun,
    BackfillState,
    Followed,
    RunStatus,
    SensorDecision,
    Taken,
    decide,
)
from nba_ml.sources.month_rows import FEATURES, SUMMARY, MonthRowsSource

_AT_MOST = 6
"""Runs asked for at a time. The rest is asked for at the next look, a few minutes later."""

_LOOKS_EVERY = 300
"""Seconds between two looks: one query each, which reads keys only."""

_RUN_KEY = "dagster/run_key"
"""Tag by which Dagster knows the run that a request became."""

_ENDED = {
    dg.DagsterRunStatus.SUCCESS: RunStatus.DONE,
    dg.DagsterRunStatus.FAILURE: RunStatus.FAILED,
    dg.DagsterRunStatus.CANCELED: RunStatus.FAILED,
}


def build_sensors(
    months: dg.MonthlyPartitionsDefinition,
    jobs: Sequence[UnresolvedAssetJobDefinition],
    retrain: str,
    systems: Sequence[System] = (XGBOOST_V1,),
) -> list[dg.SensorDefinition]:
    """A sensor for each system's feature backfill, off until somebody turns it on. `retrain`: 'latest' or 'all'."""
    return [_sensor(months, jobs, retrain, system, alone=len(systems) == 1) for system in systems]


def _sensor(
    months: dg.MonthlyPartitionsDefinition,
    jobs: Sequence[UnresolvedAssetJobDefinition],
    retrain: str,
    system: System,
    *,
    alone: bool,
) -> dg.SensorDefinition:
    name = f"follow_backfill_{system.id}" if system.prefix else "follow_backfill"

    @dg.sensor(
        name=name,
        jobs=[job for job in jobs if job.name in (SNAPSHOT_JOB, MODEL_JOB)],
        minimum_interval_seconds=_LOOKS_EVERY,
        default_status=dg.DefaultSensorStatus.STOPPED,
        description=f"Follows the backfill of {system.features.name}: a month that becomes substantial, or is complete "
        f"and changed, gets a snapshot of {system.id}; when all are settled, the latest month gets a model. Off until "
        "you turn it on.",
    )
    def follow_backfill(
        context: dg.SensorEvaluationContext, month_rows: dg.ResourceParam[MonthRowsSource]
    ) -> dg.SensorResult | dg.SkipReason:
        progress = month_rows.progress(month_keys(months), within=ANSWERED_WITHIN, system=system)
        followed = Followed.model_validate_json(context.cursor) if context.cursor else Followed()
        tables = (SUMMARY, system.asset(FEATURES))
        seen = _seen(context.instance, progress, followed, system)
        decision = decide(seen, followed, at_most=_AT_MOST, every_later_month=retrain == "all")
        if decision.waiting:
            return dg.SkipReason(" ".join(sentence(each) for each in (decision.waiting, *decision.troubles)))
        for trouble in decision.troubles:
            context.log.warning(sentence(trouble))
        # With their versions, or the UI would call each new snapshot out of date.
        for m in progress:
            if m.month in decision.snapshots:
                for observation in filter(None, (observation_of(asset, m) for asset in tables)):
                    context.instance.report_runless_asset_event(observation)
        followed = followed.after(decision, seen.taken)
        return dg.SensorResult(
            run_requests=list(_requests(decision, followed, system, alone=alone)), cursor=followed.model_dump_json()
        )

    return follow_backfill


def _requests(decision: SensorDecision, followed: Followed, system: System, *, alone: bool) -> Iterator[dg.RunRequest]:
    """The runs of one system. The jobs are those of all: beside another system, a run selects this one's assets."""
    snapshots, models = followed.snapshot_keys(), followed.model_keys()
    for job, months, keys, assets in (
        (SNAPSHOT_JOB, decision.snapshots, snapshots, (SNAPSHOT,)),
        (MODEL_JOB, decision.models, models, TRAINING_ASSETS),
    ):
        selected = None if alone else [dg.AssetKey.from_user_string(system.asset(asset)) for asset in assets]
        for month in months:
            yield dg.RunRequest(
                run_key=f"{job}-{keys[month]}",
                job_name=job,
                partition_key=month,
                asset_selection=selected,
            )


def _seen(
    instance: dg.DagsterInstance, progress: Sequence[MonthProgress], followed: Followed, system: System
) -> BackfillState:
    model_runs = _runs(instance, MODEL_JOB, followed.model_keys())
    refused = {run_id for run_id, _ in refused_months(instance, system).values()} if model_runs else set()
    return BackfillState(
        progress=progress,
        wanted={m.month: _inputs_now(m, system) for m in progress},
        taken=_taken(instance, system.asset(SNAPSHOT)),
        snapshot_runs=_runs(instance, SNAPSHOT_JOB, followed.snapshot_keys()),
        # A run whose model was refused is green, and made nothing that could serve.
        model_runs={
            month: replace(run, status=RunStatus.FAILED) if run.run_id in refused else run
            for month, run in model_runs.items()
        },
    )


def _runs(instance: dg.DagsterInstance, job: str, keys: Mapping[str, str]) -> dict[str, AskedRun]:
    """Month -> the run that a request became; of several with one key, as when one is run again, the newest."""
    if not keys:
        return {}
    months = {f"{job}-{key}": month for month, key in keys.items()}
    found: dict[str, AskedRun] = {}
    for run in instance.get_runs(dg.RunsFilter(tags={_RUN_KEY: list(months)})):  # newest first
        asked = AskedRun(run.run_id, _ENDED.get(run.status, RunStatus.OPEN))
        found.setdefault(months[run.tags[_RUN_KEY]], asked)
    return found


def _inputs_now(progress: MonthProgress, system: System) -> str:
    """The inputs digest that a snapshot of the month, taken now, would record."""
    month = progress.month
    versions = {SUMMARY: {month: progress.played.version}, system.asset(FEATURES): {month: progress.features.version}}
    return inputs_digest(feature_store_snapshot.CODE_VERSION, versions, {})


def _taken(instance: dg.DagsterInstance, snapshot: str) -> dict[str, Taken]:
    """Month -> its latest snapshot."""
    latest, stopped = latest_materialisations(instance, snapshot), _stopped(instance, snapshot)
    return {
        month: Taken(
            inputs=(before := Before.of(record.asset_materialization)).inputs,
            number=record.storage_id,
            run_id=record.run_id,
            stopped=month in stopped,
            stands_for=before.stands_for,
        )
        for month, record in latest.items()
        if record.asset_materialization is not None
    }


def _stopped(instance: dg.DagsterInstance, snapshot: str) -> set[str]:
    """Months on whose latest snapshot a check failed that stops a run."""
    asset = dg.AssetKey.from_user_string(snapshot)
    keys = [dg.AssetCheckKey(asset, each.name) for each in all_checks() if each.asset == snapshot and each.stops_run]
    return {
        info.partition_key
        for info in instance.event_log_storage.get_asset_check_partition_info(keys)
        if info.partition_key is not None
        and info.latest_target_materialization_storage_id == info.latest_materialization_storage_id
        and info.latest_execution_status == AssetCheckExecutionRecordStatus.FAILED
    }
