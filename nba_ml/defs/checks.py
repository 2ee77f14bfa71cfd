"""From the registry to Dagster: one op per checked asset, one check result per rule.

One op, not one per check: it reads the asset once, and each op costs a run tens of milliseconds.

Dagster's own `blocking` is our `stops_run`: it ends the run at once. A check that only blocks publication lets the
run continue, so that the model gets its record and the publisher refuses it with a reason. Every asset before the
publisher that has checks has one that stops the run: Dagster makes the next asset wait for those alone, and the
publisher must not read the results before the checks have run.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any

import dagster as dg
import pandas as pd

from nba_ml.checks.check import Check, CheckContext, Consequence, Finding, Severity
from nba_ml.checks.registry import STORED, all_checks
from nba_ml.contract.errors import CheckBrokenError
from nba_ml.contract.systems import System, system_of_asset
from nba_ml.contract.thresholds import Thresholds
from nba_ml.data.stored import results_of
from nba_ml.defs.partitions import month_keys, reads
from nba_ml.defs.resources import ArtifactRoot, Store


def build_checks(
    months: dg.MonthlyPartitionsDefinition, limits: Thresholds, systems: Iterable[System]
) -> list[dg.AssetChecksDefinition]:
    """All asset checks of the systems, partitioned by the given months, holding them to the given limits."""
    by_asset = groupby(all_checks(limits, systems), key=lambda check: check.asset)
    return [_checks_of(asset, list(checks), months, limits) for asset, checks in by_asset]


def checks_step(asset: str) -> str:
    """The name of the step in which an asset's checks run."""
    return f"{asset.replace('/', '__')}_checks"


def _checks_of(
    asset: str, checks: list[Check], months: dg.MonthlyPartitionsDefinition, limits: Thresholds
) -> dg.AssetChecksDefinition:
    specs = [spec_of(check, months) for check in checks]

    @dg.multi_asset_check(name=checks_step(asset), specs=specs, ins={"value": reads(asset)}, can_subset=True)
    def examine(
        context: dg.AssetCheckExecutionContext,
        value: Any,
        store: dg.ResourceParam[Store],
        artifact_root: dg.ResourceParam[ArtifactRoot],
    ) -> Iterator[dg.AssetCheckResult]:
        selected = {key.name for key in context.selected_asset_check_keys}
        month = context.partition_key
        scene = scene_of(
            asset, month, limits, store, artifact_root, [each for each in month_keys(months) if each <= month]
        )
        broken: dict[str, Exception] = {}
        stopped: dict[str, Finding] = {}
        for check in checks:
            if check.name in selected:
                try:
                    finding = check.examine(value, scene)
                    yield result_of(check, finding)
                except Exception as error:  # noqa: BLE001 (raised after the other checks have reported)
                    broken[check.key] = error
                else:
                    if check.stops_run and not finding.passed:
                        stopped[check.key] = finding
        if broken:
            # After the other checks have reported. A check without a result has not passed.
            errors = "; ".join(f"{key}: {type(error).__name__}: {error}" for key, error in broken.items())
            raise CheckBrokenError(
                f"{len(broken)} check(s) could not run: {errors}. The check or the stored value is broken; this never "
                "counts as passed."
            ) from next(iter(broken.values()))
        if stopped:
            # Dagster would raise an error of its own, which names the checks and not what they found.
            raise stopped_by([(check, stopped[check.key]) for check in checks if check.key in stopped], month)

    return examine


def stopped_by(findings: Sequence[tuple[Check, Finding]], month: str) -> dg.Failure:
    """The failure of a run that checks have stopped: one sentence, and a table of what they found."""
    names = ", ".join(check.name for check, _ in findings)
    rows = [
        {
            "check": check.name,
            "value": measured(finding.value, finding.unit),
            "required": check.threshold,
            "rows": f"{finding.n:,}",
        }
        for check, finding in findings
    ]
    asset = findings[0][0].asset
    return dg.Failure(
        description=f"Stopped: {asset} of {month} did not pass {names}.",
        metadata={"stopped_by": dg.MetadataValue.table([dg.TableRecord(row) for row in rows])},
        allow_retries=False,
    )


def spec_of(check: Check, partitions: dg.PartitionsDefinition[str]) -> dg.AssetCheckSpec:
    """A check as Dagster shows it before it has run."""
    return dg.AssetCheckSpec(
        check.name,
        asset=dg.AssetKey.from_user_string(check.asset),
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
    asset: str,
    month: str,
    limits: Thresholds,
    store: dg.ResourceParam[Store],
    artifact_root: dg.ResourceParam[ArtifactRoot],
    months: list[str],
) -> CheckContext:
    """The context of a month's checks of an asset, read from a store."""
    values, system = store.months(), system_of_asset(asset)
    return CheckContext(
        month=month,
        limits=limits,
        months=months,
        load=lambda asset, at: values.load(STORED[system.asset(asset)], at),
        results=lambda at: results_of(values, at, system),
        artifacts=artifact_root.objects,
        system=system,
    )


def result_of(check: Check, finding: Finding) -> dg.AssetCheckResult:
    """What Dagster records of a finding.

    A check that passes is recorded as a warning. The UI's graph and list count a check as failed if any month failed,
    in the colour of the latest result's severity: red is then kept for a failure of the newest month.
    """
    severity = Severity.WARN if finding.passed or finding.only_warns else check.severity
    shown = {
        "metric": finding.metric,
        "value": finding.value,
        "unit": finding.unit,
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
    return dg.AssetCheckResult(
        passed=finding.passed,
        asset_key=dg.AssetKey.from_user_string(check.asset),
        check_name=check.name,
        severity=dg.AssetCheckSeverity[severity],
        description=in_words(finding, check.threshold, severity),
        metadata={**{name: value for name, value in shown.items() if value != ""}, **worst},
    )


def in_words(finding: Finding, required: str, severity: Severity) -> str:
    """A finding in one sentence: `failed: Gain over the mock: -0.12 points (95% ...), required: .... 847 rows.`."""
    verb = "passed" if finding.passed else "warned" if severity is Severity.WARN else "failed"
    interval = f" ({finding.interval})" if finding.interval else ""
    rows = f" {finding.n:,} rows." if finding.n else ""
    advice = f" {finding.next_step}" if finding.next_step and not finding.passed else ""
    metric = finding.metric[0].upper() + finding.metric[1:]
    return f"{verb}: {metric}: {measured(finding.value, finding.unit)}{interval}, required: {required}.{rows}{advice}"


def measured(value: object, unit: object = "") -> str:
    """A value for people, with its unit: thousandths of a point, else four significant digits."""
    digits = "," if isinstance(value, int) else ".3f" if unit == "points" else ".4g"
    return f"{format(value, digits) if isinstance(value, int | float) else value} {unit}".strip()
