"""Jobs, their schedules, and the sensor that follows the feature backfill.

Every schedule is off until somebody turns it on: one switch each on the UI's Automation page. What belongs here: when
a job is asked for. What does not: telling people of a failure (`failures`), what an asset does.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, timedelta
from zoneinfo import ZoneInfo

import dagster as dg

# Dagster names it in its own signatures and exports it to type checkers only.
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

# No public call tells which checks failed on the latest materialisation; this is what the UI itself asks.
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus

from nba_ml.checks.registry import all_checks
from nba_ml.contract.assets import CHAIN, EVALUATION_ASSETS, TRAINING_ASSETS
from nba_ml.contract.lineage import inputs_digest
from nba_ml.contract.season import month_of
from nba_ml.data.progress import MonthProgress
from nba_ml.defs.assets import feature_store_snapshot
from nba_ml.defs.assets.external import observation_of
from nba_ml.defs.assets.recording import INPUTS
from nba_ml.defs.event_log import latest_materialisations
from nba_ml.defs.partitions import month_keys
from nba_ml.defs.sensors.follow import AskedRun, Decision, Followed, RunStatus, Seen, Taken, decide
from nba_ml.sources.month_rows import FEATURES, SUMMARY, MonthRowsSource

SNAPSHOT = "feature_store_snapshot"
SNAPSHOT_JOB, MODEL_JOB = "monthly_snapshot", "monthly_model"

STANDING_CHECKS = ("no_month_left_failed", "champion_not_too_old", "retraining_ran", "slates_made")
"""The checks of `champion` that speak of now, and so are run every day."""

NEW_YORK = "America/New_York"
"""The NBA's day: a game belongs to the date on which it starts there. By nine in the morning the last game of the
west coast is over for seven hours and its box score corrected; and no clock is changed at nine."""

_AT_MOST = 6
"""Runs asked for at a time. The rest is asked for at the next look, a few minutes later."""

_LOOKS_EVERY = 300
"""Seconds between two looks: one query each, which reads keys only."""

_ANSWERED_WITHIN = 40
"""Seconds. After 60 Dagster kills the tick of a sensor or a schedule, and nobody hears what the source said."""

_RUN_KEY = "dagster/run_key"
"""Tag by which Dagster knows the run that a request became."""

_ENDED = {
    dg.DagsterRunStatus.SUCCESS: RunStatus.DONE,
    dg.DagsterRunStatus.FAILURE: RunStatus.FAILED,
    dg.DagsterRunStatus.CANCELED: RunStatus.FAILED,
}


def build_jobs(*, observable: bool) -> list[UnresolvedAssetJobDefinition]:
    """The jobs of the UI's job pages. `observable`: the feature store is external."""
    jobs = [
        dg.define_asset_job(
            "monthly_chain",
            selection=dg.AssetSelection.assets(*(CHAIN[2:] if observable else CHAIN)),
            description="A month's rows to its published model, with every check.",
        ),
        dg.define_asset_job(
            SNAPSHOT_JOB,
            selection=dg.AssetSelection.assets(SNAPSHOT),
            description="The snapshot of a month, with its checks.",
        ),
        dg.define_asset_job(
            MODEL_JOB,
            selection=dg.AssetSelection.assets(*TRAINING_ASSETS),
            description="The model of a month, from the snapshots that are there, with its checks, to publication.",
        ),
        # One run holds both: the month's assets get its partition, the champion, which has none, comes after them.
        # If the publisher refuses the month's model, the step fails and the champion's is not reached.
        dg.define_asset_job(
            "monthly_retraining",
            selection=dg.AssetSelection.assets(*_retrained(observable=observable), *EVALUATION_ASSETS),
            description="A month's rows to its published model and its grades; then the champion is decided. A refused "
            "model leaves the champion as it is.",
        ),
        dg.define_asset_job(
            "release",
            selection=dg.AssetSelection.assets("champion", "rollout"),
            description="Propose the latest published model as champion, and take the next step of a rollout if its "
            "grades allow it.",
        ),
        dg.define_asset_job(
            "standing_checks",
            selection=dg.AssetSelection.checks(
                *(dg.AssetCheckKey(dg.AssetKey("champion"), name) for name in STANDING_CHECKS)
            ),
            description="Is the release alive: no month left failed, the champion not too old, retraining really ran, "
            "the slates made. Makes nothing.",
        ),
    ]
    if observable:
        jobs.append(
            dg.define_asset_job(
                "observe_feature_store",
                selection=dg.AssetSelection.assets(SUMMARY, FEATURES),
                description="Look at the platform's tables: a data version and the coverage of every month.",
            )
        )
    return jobs


def _retrained(*, observable: bool) -> tuple[str, ...]:
    """What retraining makes of a month, whether or not there is a model of the month before to grade."""
    return (*(CHAIN[2:] if observable else CHAIN), "champion")


def build_schedules(
    months: dg.MonthlyPartitionsDefinition, jobs: Sequence[UnresolvedAssetJobDefinition], *, observable: bool
) -> list[dg.ScheduleDefinition]:
    """All schedules, each off until somebody turns it on. `observable`: the feature store is external, and grows."""
    by_name = {job.name: job for job in jobs}
    retraining = by_name["monthly_retraining"]
    off = dg.DefaultScheduleStatus.STOPPED

    def retrain(context: dg.ScheduleEvaluationContext, month: str, run_key: str) -> dg.RunRequest:
        """The whole job or, as a backfill does, all but the grades where the month before has no model to grade.

        So it is after a first `nba-ml run`, which trains one model; the month after has one to grade.
        """
        before = [each for each in month_keys(months) if each < month][-1:]
        if set(before) <= latest_materialisations(context.instance, "xgboost_model").keys():
            return dg.RunRequest(run_key, partition_key=month)
        return dg.RunRequest(
            run_key,
            partition_key=month,
            asset_selection=[dg.AssetKey(asset) for asset in _retrained(observable=observable)],
            tags={"nba_ml/left_out": f"{', '.join(EVALUATION_ASSETS)}: {before[0]} has no model to predict with"},
        )

    @dg.schedule(
        # The month that ended the day before yesterday: the first is left to corrections of the last box scores.
        # July trains June; what would be asked for from August to October are months without games.
        cron_schedule="0 9 2 11,12,1-7 *",
        job=retraining,
        execution_timezone=NEW_YORK,
        default_status=off,
        description="On the 2nd, 9:00 in New York: trains, checks, publishes and grades the month that ended, and "
        "decides on the champion. None from August to October. Off until you turn it on.",
    )
    def monthly_training(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        month = month_of(_day(context).replace(day=1) - timedelta(days=1))
        return _not_in_source(months, month) or retrain(context, month, f"monthly_training-{month}")

    @dg.schedule(
        cron_schedule="0 9 * 10-12,1-6 1",
        job=retraining,
        execution_timezone=NEW_YORK,
        default_status=off,
        # Not asked of its context in the embedded case, where a schedule would open the store for nothing.
        required_resource_keys={"month_rows"} if observable else set(),
        description="Mondays, 9:00 in New York: the same for the month that is running, once it has enough games. None "
        "in the off-season. Off until you turn it on.",
    )
    def weekly_training(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        day = _day(context)
        month = month_of(day)
        skipped = _not_in_source(months, month)
        if skipped is None and observable:
            skipped = _not_yet_substantial(context.resources.month_rows, month)
        return skipped or retrain(context, month, f"weekly_training-{day.isoformat()}")

    return [
        monthly_training,
        weekly_training,
        dg.ScheduleDefinition(
            name="daily_release",
            cron_schedule="0 11 * * *",  # after a Monday's or a month's training, which takes minutes
            job=by_name["release"],
            execution_timezone=NEW_YORK,
            default_status=off,
            description="Every day, 11:00 in New York: the latest published model is proposed as champion, and a "
            "rollout takes its next step if its grades allow it. Off until you turn it on.",
        ),
        dg.ScheduleDefinition(
            name="daily_health",
            cron_schedule="0 12 * * *",
            job=by_name["standing_checks"],
            execution_timezone=NEW_YORK,
            default_status=off,
            description="Every day, 12:00 in New York: the standing checks. They die with the daemon that runs them; "
            "`nba-ml health` from a cron of your own does not. Off until you turn it on.",
        ),
    ]


def _day(context: dg.ScheduleEvaluationContext) -> date:
    """The tick's date where the games are."""
    return context.scheduled_execution_time.astimezone(ZoneInfo(NEW_YORK)).date()


def _not_in_source(months: dg.MonthlyPartitionsDefinition, month: str) -> dg.SkipReason | None:
    available = month_keys(months)
    if month in available:
        return None
    return dg.SkipReason(
        f"{month} is no month of the source, which has {available[0]} to {available[-1]}: there is nothing to train on."
    )


def _not_yet_substantial(month_rows: MonthRowsSource, month: str) -> dg.SkipReason | None:
    [progress] = month_rows.progress([month], within=_ANSWERED_WITHIN)
    if progress.trainable:
        return None
    return dg.SkipReason(
        f"{month} has {progress.played.rows:,} player-games with a result so far and features for "
        f"{progress.covered:,} of them, too few to train on."
    )


def build_sensors(
    months: dg.MonthlyPartitionsDefinition, jobs: Sequence[UnresolvedAssetJobDefinition], retrain: str
) -> list[dg.SensorDefinition]:
    """The sensor of the feature backfill, off until somebody turns it on. `retrain`: 'latest' or 'all'."""

    @dg.sensor(
        jobs=[job for job in jobs if job.name in (SNAPSHOT_JOB, MODEL_JOB)],
        minimum_interval_seconds=_LOOKS_EVERY,
        default_status=dg.DefaultSensorStatus.STOPPED,
        description="Follows the feature backfill: a month that becomes substantial, or is complete and changed, gets "
        "a snapshot; when all are settled, the latest month gets a model. Off until you turn it on.",
    )
    def follow_backfill(
        context: dg.SensorEvaluationContext, month_rows: MonthRowsSource
    ) -> dg.SensorResult | dg.SkipReason:
        progress = month_rows.progress(month_keys(months), within=_ANSWERED_WITHIN)
        followed = Followed.model_validate_json(context.cursor) if context.cursor else Followed()
        seen = _seen(context.instance, progress, followed)
        decision = decide(seen, followed, at_most=_AT_MOST, every_later_month=retrain == "all")
        if decision.waiting:
            return dg.SkipReason(" ".join(_sentence(each) for each in (decision.waiting, *decision.troubles)))
        for trouble in decision.troubles:
            context.log.warning(_sentence(trouble))
        # With their versions, or the UI would call each new snapshot out of date.
        for m in progress:
            if m.month in decision.snapshots:
                for observation in filter(None, (observation_of(asset, m) for asset in (SUMMARY, FEATURES))):
                    context.instance.report_runless_asset_event(observation)
        followed = followed.after(decision, seen.taken)
        return dg.SensorResult(run_requests=list(_requests(decision, followed)), cursor=followed.model_dump_json())

    return [follow_backfill]


def _sentence(words: str) -> str:
    return f"{words[0].upper()}{words[1:]}."


def _requests(decision: Decision, followed: Followed) -> Iterator[dg.RunRequest]:
    snapshots, models = followed.snapshot_keys(), followed.model_keys()
    for job, months, keys in (
        (SNAPSHOT_JOB, decision.snapshots, snapshots),
        (MODEL_JOB, decision.models, models),
    ):
        for month in months:
            yield dg.RunRequest(run_key=f"{job}-{keys[month]}", job_name=job, partition_key=month)


def _seen(instance: dg.DagsterInstance, progress: Sequence[MonthProgress], followed: Followed) -> Seen:
    return Seen(
        progress=progress,
        wanted={m.month: _inputs_now(m) for m in progress},
        taken=_taken(instance),
        snapshot_runs=_runs(instance, SNAPSHOT_JOB, followed.snapshot_keys()),
        model_runs=_runs(instance, MODEL_JOB, followed.model_keys()),
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


def _inputs_now(progress: MonthProgress) -> str:
    """The inputs digest that a snapshot of the month, taken now, would record."""
    month = progress.month
    versions = {SUMMARY: {month: progress.played.version}, FEATURES: {month: progress.features.version}}
    return inputs_digest(feature_store_snapshot.CODE_VERSION, versions, {})


def _taken(instance: dg.DagsterInstance) -> dict[str, Taken]:
    """Month -> its latest snapshot."""
    latest, stopped = latest_materialisations(instance, SNAPSHOT), _stopped(instance)
    return {
        month: Taken(
            inputs=str(record.asset_materialization.metadata[INPUTS].value),
            number=record.storage_id,
            run_id=record.run_id,
            stopped=month in stopped,
        )
        for month, record in latest.items()
        if record.asset_materialization is not None
    }


def _stopped(instance: dg.DagsterInstance) -> set[str]:
    """Months on whose latest snapshot a check failed that stops a run."""
    asset = dg.AssetKey(SNAPSHOT)
    keys = [dg.AssetCheckKey(asset, each.name) for each in all_checks() if each.asset == SNAPSHOT and each.stops_run]
    return {
        info.partition_key
        for info in instance.event_log_storage.get_asset_check_partition_info(keys)
        if info.partition_key is not None
        and info.latest_target_materialization_storage_id == info.latest_materialization_storage_id
        and info.latest_execution_status == AssetCheckExecutionRecordStatus.FAILED
    }
