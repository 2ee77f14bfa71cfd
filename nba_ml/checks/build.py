"""From the registry to Dagster: one op per checked asset, one check result per rule.

One op, not one per check: it reads the asset once, and each op costs a run tens of milliseconds.
"""

from collections.abc import Iterator
from itertools import groupby
from typing import Any

import dagster as dg
import pandas as pd

from nba_ml.checks.check import Check, Finding
from nba_ml.checks.registry import all_checks


def build_checks(months: dg.PartitionsDefinition) -> list[dg.AssetChecksDefinition]:
    """All asset checks, partitioned by the given months."""
    by_asset = groupby(all_checks(), key=lambda check: check.asset)
    return [_checks_of(asset, list(checks), months) for asset, checks in by_asset]


def _checks_of(asset: str, checks: list[Check], months: dg.PartitionsDefinition) -> dg.AssetChecksDefinition:
    specs = [
        dg.AssetCheckSpec(
            check.name,
            asset=asset,
            blocking=check.blocking,
            partitions_def=months,
            description=f"{check.threshold}. {check.reason}",
            metadata={"threshold": check.threshold, "reason": check.reason, "severity": str(check.severity)},
        )
        for check in checks
    ]

    @dg.multi_asset_check(name=f"{asset}_checks", specs=specs, ins={"value": dg.AssetIn(asset)}, can_subset=True)
    def examine(context: dg.AssetCheckExecutionContext, value: Any) -> Iterator[dg.AssetCheckResult]:
        selected = {key.name for key in context.selected_asset_check_keys}
        for check in checks:
            if check.name in selected:
                yield _result(check, check.examine(value, context.partition_key))

    return examine


def _result(check: Check, finding: Finding) -> dg.AssetCheckResult:
    shown = {
        "metric": finding.metric,
        "value": finding.value,
        "threshold": check.threshold,
        "n": finding.n,
        "interval": finding.interval,
        "next_step": "" if finding.passed else finding.next_step,
    }
    worst = (
        {"worst": dg.MetadataValue.md(pd.DataFrame(finding.worst[:5]).to_markdown(index=False))}
        if finding.worst
        else {}
    )
    verb = "passed" if finding.passed else "failed"
    return dg.AssetCheckResult(
        passed=finding.passed,
        asset_key=check.asset,
        check_name=check.name,
        severity=dg.AssetCheckSeverity[check.severity],
        description=f"{verb}: {finding.metric} {finding.value} over {finding.n:,} rows; {check.threshold}."
        + ("" if finding.passed else f" {finding.next_step}"),
        metadata={**{name: value for name, value in shown.items() if value != ""}, **worst},
    )
