"""The standing checks of the release: not of a month's value but of what is there now.

They belong to `champion`, have no months, and speak of the day on which they run: `daily_health` runs them.
"""

from collections.abc import Iterator
from datetime import UTC, datetime

import dagster as dg

from nba_ml.contract.thresholds import Thresholds
from nba_ml.defs.health import judge_release, limits_of, look_at_release, slates_on_since
from nba_ml.defs.partitions import month_keys
from nba_ml.defs.resources import ArtifactRoot, Store
from nba_ml.monitoring.health import HealthFinding, Level
from nba_ml.slates.health import look_at_slates
from nba_ml.slates.health_rules import slates_made
from nba_ml.slates.rows import SlateRows
from nba_ml.slates.store import SlateStore

ASSET = "champion"


def build(months: dg.MonthlyPartitionsDefinition, limits: Thresholds) -> dg.AssetChecksDefinition:
    """The checks, over the given months of the source."""
    rules = {
        "no_month_left_failed": (
            "the last attempt at every month made it; a refused model counts only if no later one is published",
            "Quiet is the point, and quiet is also the danger: a month that failed once and was forgotten is a hole "
            "in every model after it.",
        ),
        "champion_not_too_old": (
            f"the champion was given games of at most {limits.max_champion_age_days} playing days ago",
            "A model that nobody replaces goes on serving, and gets worse without an error.",
        ),
        "retraining_ran": (
            f"the newest month that is over was trained within {limits.max_retraining_delay_days} days after its end",
            "Retraining once died unnoticed when a schedule was deleted: nothing failed, so nothing was red.",
        ),
        "slates_made": (
            "every date of the last week that has feature rows has a slate by six in the evening, if daily_slate is on",
            "A schedule's tick that raises, or skips since the features were late, fails no run: nobody hears of it.",
        ),
    }
    specs = [
        dg.AssetCheckSpec(
            name,
            asset=ASSET,
            description=f"{threshold}. {reason}",
            metadata={"threshold": threshold, "reason": reason, "severity": "ERROR", "a_failure": "tells people"},
        )
        for name, (threshold, reason) in rules.items()
    ]

    @dg.multi_asset_check(name=f"{ASSET}_checks", specs=specs, can_subset=True)
    def examine(
        context: dg.AssetCheckExecutionContext,
        artifact_root: dg.ResourceParam[ArtifactRoot],
        store: dg.ResourceParam[Store],
        slate_rows: dg.ResourceParam[SlateRows],
    ) -> Iterator[dg.AssetCheckResult]:
        now = datetime.now(UTC)
        release = look_at_release(context.instance, artifact_root.objects(), month_keys(months))
        selected = {key.name for key in context.selected_asset_check_keys}
        for said in judge_release(release, now, limits_of(limits)):
            if said.name in selected:
                yield _result(said, rules[said.name][0])
        if "slates_made" in selected:
            days = look_at_slates(
                slates_on_since(context.instance), slate_rows, SlateStore(store.months().objects), now
            )
            yield _result(slates_made(days, now), rules["slates_made"][0])

    return examine


def _result(said: HealthFinding, threshold: str) -> dg.AssetCheckResult:
    passed = said.level is Level.FINE
    return dg.AssetCheckResult(
        passed=passed,
        asset_key=ASSET,
        check_name=said.name,
        severity=dg.AssetCheckSeverity.WARN if said.level is Level.WARNING else dg.AssetCheckSeverity.ERROR,
        description=said.said if passed else f"{said.said} {said.next_step}",
        metadata={
            "threshold": threshold,
            **({} if passed else {"next_step": said.next_step}),
            **{f"offender_{i}": str(each) for i, each in enumerate(said.worst[:5], 1)},
        },
    )
