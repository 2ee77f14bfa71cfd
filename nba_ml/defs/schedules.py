"""When the jobs run. Every schedule is off until it is turned on, on the UI's Automation page."""

from collections.abc import Sequence
from datetime import date, timedelta
from functools import partial

import dagster as dg

from nba_ml.contract.assets import EVALUATION_ASSETS
from nba_ml.contract.season import month_of
from nba_ml.contract.systems import XGBOOST_V1, System
from nba_ml.contract.times import eastern_date
from nba_ml.data.progress import MonthProgress
from nba_ml.defs.event_log import latest_materialisations
from nba_ml.defs.internals import UnresolvedAssetJobDefinition
from nba_ml.defs.jobs import SNAPSHOT, retrained_assets
from nba_ml.defs.partitions import month_keys
from nba_ml.defs.resources import Store
from nba_ml.slates.health_rules import SLATE_HOUR
from nba_ml.slates.rows import SlateRows
from nba_ml.slates.store import SlateStore
from nba_ml.sources.month_rows import MonthRowsSource

NEW_YORK = "America/New_York"
"""The NBA's day: a game belongs to the date on which it starts there. By nine in the morning the last game of the
west coast has been over for seven hours and its box score is corrected. Clocks never change at nine."""

ANSWERED_WITHIN = 40
"""Seconds. After 60 Dagster kills the tick of a sensor or a schedule, and the source's own error is lost."""


def sentence(words: str) -> str:
    """The words with a capital letter and a full stop."""
    return f"{words[0].upper()}{words[1:]}."


def build_schedules(
    months: dg.MonthlyPartitionsDefinition,
    jobs: Sequence[UnresolvedAssetJobDefinition],
    systems: Sequence[System] = (XGBOOST_V1,),
    *,
    observable: bool,
) -> list[dg.ScheduleDefinition]:
    """The schedules of training, release and health. `observable`: the feature store is external, and grows."""
    by_name = {job.name: job for job in jobs}
    retraining = by_name["monthly_retraining"]
    off = dg.DefaultScheduleStatus.STOPPED

    retrain = partial(_retrain, months=months, systems=systems, observable=observable)

    @dg.schedule(
        # The month that ended the day before yesterday: the first is left to corrections of the last box scores.
        # July trains June; what would be asked for from August to October are months without games.
        cron_schedule="0 9 2 11,12,1-7 *",
        job=retraining,
        execution_timezone=NEW_YORK,
        default_status=off,
        required_resource_keys={"month_rows"} if observable and len(systems) > 1 else set(),
        description="On the 2nd, 9:00 in New York: trains, checks, publishes and grades the month that ended, and "
        "decides on the champion. None from August to October. Off until you turn it on.",
    )
    def monthly_training(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        month = month_of(eastern_date(context.scheduled_execution_time).replace(day=1) - timedelta(days=1))
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
        day = eastern_date(context.scheduled_execution_time)
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


def _retrain(
    context: dg.ScheduleEvaluationContext,
    month: str,
    run_key: str,
    *,
    months: dg.MonthlyPartitionsDefinition,
    systems: Sequence[System],
    observable: bool,
) -> dg.RunRequest:
    """The whole job without what cannot be made yet: grades where the month before has no model to predict with,
    as in a backfill, and the systems after the first that lack the snapshot of an earlier month or, where others
    compute them, the month's features.

    So it is after a first `nba-ml run`, which trains one model of one system.
    """
    before = [each for each in month_keys(months) if each < month]
    lacking: dict[System, str] = {}
    for system in systems[1:]:
        if not _has(context, system, SNAPSHOT, before):
            lacking[system] = f"not every month before has its {SNAPSHOT}"
        elif observable and not _progress(context.resources.month_rows, month, system).trainable:
            lacking[system] = f"{month} lacks its {system.features.name}"
    ready = [system for system in systems if system not in lacking]
    graded = [system for system in ready if _has(context, system, "xgboost_model", before[-1:])]
    left_out = [f"{system.id}: {why}" for system, why in lacking.items()]
    left_out += [
        f"{', '.join(map(system.asset, EVALUATION_ASSETS))}: {before[-1]} has no model to predict with"
        for system in ready
        if system not in graded
    ]
    if not left_out:
        return dg.RunRequest(run_key, partition_key=month)
    return dg.RunRequest(
        run_key,
        partition_key=month,
        asset_selection=[
            dg.AssetKey.from_user_string(asset)
            for asset in retrained_assets(observable=observable, systems=ready, graded=graded)
        ],
        tags={"nba_ml/left_out": "; ".join(left_out)},
    )


def _has(context: dg.ScheduleEvaluationContext, system: System, asset: str, months: Sequence[str]) -> bool:
    return set(months) <= latest_materialisations(context.instance, system.asset(asset)).keys()


def build_grading_schedule(job: UnresolvedAssetJobDefinition) -> dg.ScheduleDefinition:
    """Ask for the grades of the month that ended, if slates of it were kept."""

    @dg.schedule(
        job=job,
        name="monthly_grading",
        cron_schedule="0 13 2 11,12,1-7 *",  # four hours after monthly_training, which takes the month's snapshot
        execution_timezone=NEW_YORK,
        default_status=dg.DefaultScheduleStatus.STOPPED,
        description="On the 2nd, 13:00 in New York: grades the slates of the month that ended. Off until you turn it "
        "on.",
    )
    def monthly_grading(
        context: dg.ScheduleEvaluationContext, store: dg.ResourceParam[Store]
    ) -> dg.RunRequest | dg.SkipReason:
        month = month_of(eastern_date(context.scheduled_execution_time).replace(day=1) - timedelta(days=1))
        if not SlateStore(store.months().objects).days(month):
            return dg.SkipReason(f"No slate of {month} was kept, so there is nothing to grade.")
        return dg.RunRequest(run_key=f"slate_grading-{month}", partition_key=month)

    return monthly_grading


def build_slate_schedule(
    days: dg.DailyPartitionsDefinition, job: UnresolvedAssetJobDefinition, *, to_bigquery: bool
) -> dg.ScheduleDefinition:
    """Ask for today's slate every afternoon of New York, where the source has rows of today or scheduled games.

    Args:
        days: those of `slate_predictions`.
        to_bigquery: also write the slate into the table of predictions.
    """

    @dg.schedule(
        job=job,
        name="daily_slate",
        cron_schedule=f"0 {SLATE_HOUR} * * *",
        execution_timezone=NEW_YORK,
        default_status=dg.DefaultScheduleStatus.STOPPED,
        description="Today's slate, at five in the afternoon in New York. Off until you turn it on.",
    )
    def daily_slate(
        context: dg.ScheduleEvaluationContext, slate_rows: dg.ResourceParam[SlateRows]
    ) -> dg.RunRequest | dg.SkipReason:
        today = eastern_date(context.scheduled_execution_time)
        reason = _nothing_to_score(today, days, slate_rows)
        if reason:
            return dg.SkipReason(reason)
        config = {"ops": {"slate_predictions": {"config": {"to_bigquery": to_bigquery}}}}
        return dg.RunRequest(run_key=f"slate-{today}", partition_key=today.isoformat(), run_config=config)

    return daily_slate


def _nothing_to_score(today: date, days: dg.DailyPartitionsDefinition, rows: SlateRows) -> str:
    """Why today has no slate; '' if it has one."""
    if not days.has_partition_key(today.isoformat()):
        return f"{today} is not in the source, whose last date is {days.get_last_partition_key()}."
    near = rows.days_near(today)
    if today in near:
        return ""
    latest = f"; the latest before it are of {max(near)}" if near else ""
    return f"The feature store has no rows of {today}{latest}: no game today, or its features are not made yet."


def _not_in_source(months: dg.MonthlyPartitionsDefinition, month: str) -> dg.SkipReason | None:
    available = month_keys(months)
    if month in available:
        return None
    return dg.SkipReason(
        f"{month} is not in the source, which has {available[0]} to {available[-1]}: there is nothing to train on."
    )


def _progress(month_rows: MonthRowsSource, month: str, system: System = XGBOOST_V1) -> MonthProgress:
    [progress] = month_rows.progress([month], within=ANSWERED_WITHIN, system=system)
    return progress


def _not_yet_substantial(month_rows: MonthRowsSource, month: str) -> dg.SkipReason | None:
    progress = _progress(month_rows, month)
    if progress.trainable:
        return None
    return dg.SkipReason(
        f"{month} has {progress.played.rows:,} player-games with a result so far and features for "
        f"{progress.covered:,} of them, too few to train on." + "".join(f" {sentence(n)}" for n in progress.notes())
    )
