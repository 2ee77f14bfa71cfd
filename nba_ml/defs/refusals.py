"""Refused models in Dagster: the table of a refusal, the months that have one, and those that a later month replaced.

A refusal is a result. `gcs_artifact` of the month is materialised without anything published, and the check
`published` reports it: as an error while the month is the newest, as a warning once a later month is published.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import dagster as dg

from nba_ml.checks.gcs_artifact import PUBLISHED
from nba_ml.checks.registry import all_checks
from nba_ml.contract.systems import XGBOOST_V1, System
from nba_ml.contract.thresholds import Thresholds
from nba_ml.defs.check_results import CheckLog, CheckResult
from nba_ml.defs.checks import measured, result_of, scene_of
from nba_ml.defs.event_log import latest_materialisations
from nba_ml.defs.internals import AssetCheckEvaluationTargetMaterializationData
from nba_ml.defs.resources import ArtifactRoot, Store
from nba_ml.defs.verdict import NOT_RUN
from nba_ml.registry.artifact import ARTIFACT
from nba_ml.registry.refusal import DID_NOT_PASS, Refusal, RefusedCheck
from nba_ml.registry.verdict import CheckVerdict, Verdict

PUBLISHER = "gcs_artifact"

NOT_PUBLISHED = "not_published"
"""Metadata of a refused month's materialisation of `gcs_artifact`: the refusal in one sentence."""

MODEL_ID = "model_id"
"""Metadata of a published month's materialisation."""


def refusal_of(log: CheckLog, month: str, model_id: str, verdict: Verdict, limits: Thresholds) -> Refusal:
    """The checks that keep a month's model from being published, with what they found."""
    failed = verdict.failed
    by_key = {check.key: check for check in all_checks(limits)}
    checks = [by_key[key] for key in dict.fromkeys(each.key for each in failed)]
    results = log.judged(checks, {each.month for each in failed})
    return Refusal(
        month=month,
        model_id=model_id,
        checks=tuple(_refused(e, by_key[e.key].threshold, results.get((e.key, e.month))) for e in failed),
    )


def _refused(failed: CheckVerdict, required: str, result: CheckResult | None) -> RefusedCheck:
    # A result on other bytes than those of the model does not count.
    judged = result is not None and failed.found != NOT_RUN
    found = {name: each.value for name, each in result.evaluation.metadata.items()} if result and judged else {}
    interval = f" ({found['interval']})" if "interval" in found else ""
    return RefusedCheck(
        asset=failed.asset,
        check=failed.check,
        month=failed.month,
        value=measured(found["value"], found.get("unit", "")) + interval if "value" in found else "not run",
        required=required,
        rows=int(str(found["n"])) if "n" in found else None,
        found=failed.found,
    )


def refusal_metadata(refusal: Refusal) -> dict[str, Any]:
    """What the UI shows of a refusal: the sentence, the table, and links to the checks."""
    links = dict.fromkeys(f"[{check.key}]({check.page})" for check in refusal.checks)
    return {
        NOT_PUBLISHED: str(refusal),
        "refused_by": dg.MetadataValue.table([dg.TableRecord(row) for row in refusal.table]),
        "checks": dg.MetadataValue.md(" · ".join(links)),
    }


def refused_months(instance: dg.DagsterInstance, system: System = XGBOOST_V1) -> dict[str, tuple[str, str]]:
    """Month -> its run and why its model was refused, for the months whose latest `gcs_artifact` is a refusal."""
    return {
        month: (record.run_id, str(_metadata(record)[NOT_PUBLISHED].value))
        for month, record in sorted(latest_materialisations(instance, system.asset(PUBLISHER)).items())
        if NOT_PUBLISHED in _metadata(record)
    }


def refused_table(refused: Mapping[str, tuple[str, str]]) -> dict[str, Any]:
    """The refused months with their reasons, as metadata; empty if there is none."""
    # Without the model's id: it does not wrap, and the table would be wider than the page.
    rows = [
        dg.TableRecord({"month": month, DID_NOT_PASS: reason.partition(f"{DID_NOT_PASS} ")[2].rstrip(".")})
        for month, (_, reason) in refused.items()
    ]
    return {"refused_months": dg.MetadataValue.table(rows)} if rows else {}


def _metadata(record: dg.EventLogRecord) -> Mapping[str, dg.MetadataValue[Any]]:
    event = record.asset_materialization
    return event.metadata if event else {}


def report_superseded(
    run: dg.DagsterRun,
    instance: dg.DagsterInstance,
    month: str,
    limits: Thresholds,
    store: Store,
    artifact_root: ArtifactRoot,
    system: System = XGBOOST_V1,
) -> None:
    """Judge the check `published` of earlier refused months again, in the run that published this month's model.

    Dagster keeps the last result of a check, here an error, and nobody would run the checks of old months again.
    """
    publisher = system.asset(PUBLISHER)
    records = latest_materialisations(instance, publisher)
    refused = [each for each in sorted(records) if each < month and NOT_PUBLISHED in _metadata(records[each])]
    if not refused:
        return
    [check] = [each for each in all_checks(limits) if (each.asset, each.name) == (publisher, PUBLISHED)]
    reported = CheckLog(instance).judged([check], refused)
    for each in refused:
        result = reported.get((check.key, each))
        last = result.evaluation if result else None
        artifact = store.months().load(ARTIFACT.of(system), each)
        if last is None or last.passed or last.severity is dg.AssetCheckSeverity.WARN or artifact is None:
            continue
        again = result_of(check, check.examine(artifact, scene_of(publisher, each, limits, store, artifact_root, [])))
        record = records[each]
        evaluation = dg.AssetCheckEvaluation(
            asset_key=dg.AssetKey.from_user_string(publisher),
            check_name=PUBLISHED,
            passed=again.passed,
            metadata=again.metadata,
            target_materialization_data=AssetCheckEvaluationTargetMaterializationData(
                storage_id=record.storage_id, run_id=record.run_id, timestamp=record.timestamp
            ),
            severity=again.severity,
            description=again.description,
            blocking=check.stops_run,
            partition=each,
        )
        # As an event of this run: Dagster keeps one result of a check and month without a run, and refuses a second.
        kind = dg.DagsterEventType.ASSET_CHECK_EVALUATION.value
        instance.report_dagster_event(
            dg.DagsterEvent(kind, job_name=run.job_name, event_specific_data=evaluation), run_id=run.run_id
        )
