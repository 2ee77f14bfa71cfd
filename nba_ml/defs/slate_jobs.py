"""The jobs that score a day's slate and grade a month of them, and their schedules, off until turned on."""

from datetime import date, timedelta

import dagster as dg

from nba_ml.contract.season import month_of
from nba_ml.defs.assets.slate_predictions import days_of
from nba_ml.defs.internals import UnresolvedAssetJobDefinition
from nba_ml.defs.resources import Store
from nba_ml.defs.schedules import NEW_YORK
from nba_ml.slates.health_rules import SLATE_HOUR
from nba_ml.slates.rows import SlateRows
from nba_ml.slates.store import SlateStore

AT = f"0 {SLATE_HOUR} * * *"
"""Five in the afternoon in New York."""


def build_slate_job() -> UnresolvedAssetJobDefinition:
    """The job of one date's slate."""
    return dg.define_asset_job(
        "slate",
        selection=dg.AssetSelection.assets("slate_predictions"),
        description="The slate of a date, scored by the models that serve.",
    )


def build_grading_job() -> UnresolvedAssetJobDefinition:
    """The job of one month's slates."""
    return dg.define_asset_job(
        "slate_grading",
        selection=dg.AssetSelection.assets("slate_grades"),
        description="The slates of a month, as they were kept, against its results.",
    )


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
        month = month_of(context.scheduled_execution_time.date().replace(day=1) - timedelta(days=1))
        if not SlateStore(store.months().objects).days(month):
            return dg.SkipReason(f"No slate of {month} was kept, so there is nothing to grade.")
        return dg.RunRequest(run_key=f"slate_grading-{month}", partition_key=month)

    return monthly_grading


def build_slate_schedule(
    months: dg.MonthlyPartitionsDefinition, job: UnresolvedAssetJobDefinition, *, to_bigquery: bool
) -> dg.ScheduleDefinition:
    """Ask for today's slate every afternoon of New York, where the source has rows of today.

    Args:
        months: those of the source.
        to_bigquery: also write the slate into the table of predictions.
    """
    days = days_of(months)

    @dg.schedule(
        job=job,
        name="daily_slate",
        cron_schedule=AT,
        execution_timezone=NEW_YORK,
        default_status=dg.DefaultScheduleStatus.STOPPED,
        description="Today's slate, at five in the afternoon in New York. Off until you turn it on.",
    )
    def daily_slate(
        context: dg.ScheduleEvaluationContext, slate_rows: dg.ResourceParam[SlateRows]
    ) -> dg.RunRequest | dg.SkipReason:
        today = context.scheduled_execution_time.date()
        reason = _nothing_to_score(today, days, slate_rows)
        if reason:
            return dg.SkipReason(reason)
        config = {"ops": {"slate_predictions": {"config": {"to_bigquery": to_bigquery}}}}
        return dg.RunRequest(run_key=f"slate-{today}", partition_key=today.isoformat(), run_config=config)

    return daily_slate


def _nothing_to_score(today: date, days: dg.DailyPartitionsDefinition, rows: SlateRows) -> str:
    """Why today has no slate; '' if it has one."""
    if not days.has_partition_key(today.isoformat()):
        return f"{today} is no day of the source, whose last one is {days.get_last_partition_key()}."
    near = rows.days_near(today)
    if today in near:
        return ""
    latest = f"; the latest before it are of {max(near)}" if near else ""
    return f"The feature store has no rows of {today}{latest}: no game today, or its features are not made yet."
