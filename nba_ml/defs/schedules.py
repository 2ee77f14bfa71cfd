"""When the jobs run. Every schedule is off until somebody turns it on: one switch each on the UI's Automation page."""

from collections.abc import Sequence
from datetime import date, timedelta
from zoneinfo import ZoneInfo

import dagster as dg

# No public call tells which checks failed on the latest materialisation; this is what the UI itself asks.
from nba_ml.contract.assets import EVALUATION_ASSETS
from nba_ml.contract.season import month_of
from nba_ml.defs.event_log import latest_materialisations
from nba_ml.defs.internals import UnresolvedAssetJobDefinition
from nba_ml.defs.jobs import retrained_assets
from nba_ml.defs.partitions import month_keys
from nba_ml.sources.month_rows import MonthRowsSource

NEW_YORK = "America/New_York"
"""The NBA's day: a game belongs to the date on which it starts there. By nine in the morning the last game of the
west coast is over for seven hours and its box score corrected; and no clock is changed at nine."""

ANSWERED_WITHIN = 40
"""Seconds. After 60 Dagster kills the tick of a sensor or a schedule, and nobody hears what the source said."""


def sentence(words: str) -> str:
    """The words with a capital in front and a full stop behind."""
    return f"{words[0].upper()}{words[1:]}."


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
            asset_selection=[dg.AssetKey(asset) for asset in retrained_assets(observable=observable)],
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
    [progress] = month_rows.progress([month], within=ANSWERED_WITHIN)
    if progress.trainable:
        return None
    return dg.SkipReason(
        f"{month} has {progress.played.rows:,} player-games with a result so far and features for "
        f"{progress.covered:,} of them, too few to train on." + "".join(f" {sentence(n)}" for n in progress.notes())
    )
