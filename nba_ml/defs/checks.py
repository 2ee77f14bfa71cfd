"""From the registry to Dagster: one op per checked asset, one check result per rule.

One op, not one per check: it reads the asset once, and each op costs a run tens of milliseconds.

Dagster's own `blocking` is our `stops_run`: it ends the run at once. A check that only blocks publication lets the
run continue, so that the model gets its record and the publisher refuses it with a reason. Every asset before the
publisher that has checks has one that stops the run: Dagster makes the next asset wait for those alone, and the
publisher must not read the results before the checks have run.
"""

from collections.abc import Iterator
from itertools import groupby
from typing import Any

import dagster as dg
import pandas as pd

from nba_ml.checks.check import Check, CheckContext, Consequence, Finding
from nba_ml.checks.registry import STORED, all_checks
from nba_ml.contract.errors import CheckBrokenError
from nba_ml.contract.thresholds import Thresholds
from nba_ml.data.stored import results_of
from nba_ml.defs.partitions import month_keys
from nba_ml.defs.resources import ArtifactRoot, Store


def build_checks(months: dg.MonthlyPartitionsDefinition, limits: Thresholds) -> list[dg.AssetChecksDefinition]:
    """All asset checks, partitioned by the given months, holding them to the given limits."""
    by_asset = groupby(all_checks(limits), key=lambda check: check.asset)
    return [_checks_of(asset, list(checks), months, limits) for asset, checks in by_asset]


def _checks_of(
    asset: str, checks: list[Check], months: dg.MonthlyPartitionsDefinition, limits: Thresholds
) -> dg.AssetChecksDefinition:
    specs = [spec_of(check, months) for check in checks]

    @dg.multi_asset_check(name=f"{asset}_checks", specs=specs, ins={"value": dg.AssetIn(asset)}, can_subset=True)
    def examine(
        context: dg.AssetCheckExecutionContext,
        value: Any,
        store: dg.ResourceParam[Store],
        artifact_root: dg.ResourceParam[ArtifactRoot],
    ) -> Iterator[dg.AssetCheckResult]:
        selected = {key.name for key in context.selected_asset_check_keys}
        month = context.partition_key
        scene = scene_of(month, limits, store, artifact_root, [each for each in month_keys(months) if each <= month])
        broken: dict[str, Exception] = {}
        for check in checks:
            if check.name in selected:
                try:
                    yield result_of(check, check.examine(value, scene))
                except Exception as error:  # noqa: BLE001 (raised after the other checks have reported)
                    broken[check.key] = error
        if broken:
            # After the other checks have reported. A check without a result has not passed.
            errors = "; ".join(f"{key}: {type(error).__name__}: {error}" for key, error in broken.items())
            raise CheckBrokenError(
                f"{len(broken)} check(s) could not run: {errors}. The check or the stored value is broken; this never "
                "counts as passed."
            ) from next(iter(broken.values()))

    return examine


def spec_of(check: Check, partitions: dg.PartitionsDefinition[str]) -> dg.AssetCheckSpec:
    """A check as Dagster shows it before it has run."""
    return dg.AssetCheckSpec(
        check.name,
        asset=check.asset,
        blocking=check.stops_run,
        partitions_def=partitions,
        # Above this Dagster writes of every check that does not stop a run that it is "non-blocking".
        description=f"{describe(check.consequence)} {check.reason} Required: {check.threshold}.",
        metadata={
            "threshold": check.threshold,
            "reason": check.reason,
            "severity": str(check.severity),
            "a_failure": str(check.consequence),
        },
    )


def describe(consequence: Consequence) -> str:
    """The effect of a failure as the first sentence of a check's description."""
    text = str(consequence)
    return f"{text[0].upper()}{text[1:]}."


def scene_of(
    month: str,
    limits: Thresholds,
    store: dg.ResourceParam[Store],
    artifact_root: dg.ResourceParam[ArtifactRoot],
    months: list[str],
) -> CheckContext:
    """The context of a month's checks, read from a store."""
    values = store.months()
    return CheckContext(
        month=month,
        limits=limits,
        months=months,
        load=lambda asset, at: values.load(STORED[asset], at),
        results=lambda at: results_of(values, at),
        artifacts=artifact_root.objects,
    )


def result_of(check: Check, finding: Finding) -> dg.AssetCheckResult:
    """What Dagster records of a finding."""
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
        description=f"{verb}: {finding.metric} {_number(finding.value)} over {finding.n:,} rows; {check.threshold}."
        + ("" if finding.passed else f" {finding.next_step}"),
        metadata={**{name: value for name, value in shown.items() if value != ""}, **worst},
    )


def _number(value: float | int | str) -> str:
    """A value for people: four significant digits are enough for an MAE."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
