"""The checks of the release as a whole: its current state, not the value of a month.

They belong to `champion`, have no months, and judge the day on which they run: `daily_health` runs them.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

import dagster as dg

from nba_ml.contract.systems import XGBOOST_V1, System
from nba_ml.contract.thresholds import Thresholds
from nba_ml.defs.health import judge_release, read_release, slates_on_since
from nba_ml.defs.partitions import month_keys
from nba_ml.defs.resources import ArtifactRoot, Store
from nba_ml.monitoring.health import HealthFinding, Level
from nba_ml.slates.health import read_slate_days
from nba_ml.slates.health_rules import slates_made
from nba_ml.slates.rows import SlateRows
from nba_ml.slates.store import SlateStore

ASSET = "champion"


def build(
    months: dg.MonthlyPartitionsDefinition, limits: Thresholds, systems: Sequence[System] = (XGBOOST_V1,)
) -> dg.AssetChecksDefinition:
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
            description=f"Notifies people. {reason} Required: {threshold}.",
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
        release = read_release(context.instance, artifact_root.objects(), month_keys(months), systems)
        selected = {key.name for key in context.selected_asset_check_keys}
        for finding in judge_release(release, now, limits):
            if finding.name in selected:
                yield _result(finding, rules[finding.name][0])
        if "slates_made" in selected:
            days = read_slate_days(
                slates_on_since(context.instance), slate_rows, SlateStore(store.months().objects), now
            )
            yield _result(slates_made(days, now), rules["slates_made"][0])

    return examine


def _result(finding: HealthFinding, threshold: str) -> dg.AssetCheckResult:
    passed = finding.level is Level.FINE
    return dg.AssetCheckResult(
        passed=passed,
        asset_key=ASSET,
        check_name=finding.name,
        severity=dg.AssetCheckSeverity.WARN if finding.level is Level.WARNING else dg.AssetCheckSeverity.ERROR,
        description=finding.said if passed else f"{finding.said} {finding.next_step}",
        metadata={
            "threshold": threshold,
            **({} if passed else {"next_step": finding.next_step}),
            **{f"offender_{i}": str(each) for i, each in enumerate(finding.worst[:5], 1)},
        },
    )
