"""The verdict behind a model, gathered from all the runs in which its checks ran.

Dagster binds a check execution to the materialisation it ran on, and a materialisation to its data version, which
here is a digest. So a check counts as passed if its latest execution ran on the latest materialisation, that
materialisation has the digest that the model was made from, and it passed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import dagster as dg

from nba_ml.checks.check import Check
from nba_ml.checks.registry import blocking_checks
from nba_ml.contract.systems import SYSTEMS
from nba_ml.contract.thresholds import Thresholds
from nba_ml.defs.internals import (
    DATA_VERSION_TAG,
    AssetCheckExecutionRecordStatus,
    DagsterEventType,
    PartitionKeyFilter,
)
from nba_ml.model.record import ModelRecord
from nba_ml.registry.verdict import CheckVerdict, Override, Verdict


def gather_verdict(
    instance: dg.DagsterInstance,
    month: str,
    record: ModelRecord,
    limits: Thresholds,
    overrides: Sequence[Override] = (),
) -> Verdict:
    """The verdict of every blocking check on everything that the model of a month was made from.

    A check that did not run, ran on an older materialisation, on other bytes, or under another threshold, has not
    passed.

    Raises:
        OverrideError: an override that the verdict cannot take.
    """
    verdict = Verdict(
        model_sha256=record.model_sha256,
        checks=tuple(
            verdict
            for asset, digests in _lineage(month, record).items()
            for verdict in _verdicts(instance, asset, digests, limits)
        ),
        thresholds=limits.changed(),
    )
    return verdict.with_overrides(overrides)


def _lineage(month: str, record: ModelRecord) -> Mapping[str, Mapping[str, str]]:
    """Asset -> month -> the digest that the model was made from."""
    asset = SYSTEMS[record.system_id].asset
    return {
        asset("feature_store_snapshot"): {ref.month: ref.digest for ref in record.split.snapshots},
        asset("train_split"): {month: record.split.digest},
        asset("xgboost_model"): {month: record.model_sha256},
        asset("model_metadata"): {month: record.digest},
    }


def _verdicts(
    instance: dg.DagsterInstance, asset: str, digests: Mapping[str, str], limits: Thresholds
) -> Iterator[CheckVerdict]:
    months = sorted(digests)
    versions = instance.event_log_storage.get_latest_tags_by_partition(
        dg.AssetKey.from_user_string(asset),
        DagsterEventType.ASSET_MATERIALIZATION,
        [DATA_VERSION_TAG],
        asset_partitions=months,
    )
    checks = blocking_checks(asset, limits)
    evaluations = latest_evaluations(instance, checks, months)
    for check in checks:
        for month in months:
            same_bytes = versions.get(month, {}).get(DATA_VERSION_TAG) == digests[month]
            evaluation = evaluations.get((check.key, month)) if same_bytes else None
            failed = evaluation is not None and not evaluation.passed
            yield CheckVerdict(
                asset=asset,
                check=check.name,
                month=month,
                passed=evaluation is not None and evaluation.passed,
                subject=digests[month],
                found=_found(evaluation),
                final=evaluation is None or (failed and check.stops_run),
            )


def latest_evaluations(
    instance: dg.DagsterInstance, checks: Sequence[Check], months: Sequence[str]
) -> dict[tuple[str, str], dg.AssetCheckEvaluation]:
    """(check's key, month) -> its result on the latest materialisation, under its current threshold.

    Missing if it never ran, ran on an older materialisation, ran under another threshold, or raised.
    """
    if not checks:
        return {}
    storage = instance.event_log_storage
    keys = {dg.AssetCheckKey(dg.AssetKey.from_user_string(check.asset), check.name): check for check in checks}
    fresh = {
        (info.check_key, info.partition_key)
        for info in storage.get_asset_check_partition_info(list(keys), partition_keys=list(months))
        if info.latest_target_materialization_storage_id == info.latest_materialization_storage_id
        and info.latest_execution_status in _EVALUATED
    }
    found: dict[tuple[str, str], dg.AssetCheckEvaluation] = {}
    for month in sorted({month for _, month in fresh if month is not None}):
        fresh_keys = [key for key in keys if (key, month) in fresh]
        latest = storage.get_latest_asset_check_execution_by_key(
            fresh_keys, partition_filter=PartitionKeyFilter(key=month)
        )
        for key, record in latest.items():
            event = record.event.dagster_event if record.event else None
            # Dagster selects by asset and by name separately, so two keys may return a third.
            if event is None or (key, month) not in fresh:
                continue
            evaluation = event.asset_check_evaluation_data
            stated = evaluation.metadata.get("threshold")
            if stated is not None and stated.value == keys[key].threshold:
                found[keys[key].key, month] = evaluation
    return found


NOT_RUN = "it has not run on the latest materialisation under the current thresholds"

_EVALUATED = (AssetCheckExecutionRecordStatus.SUCCEEDED, AssetCheckExecutionRecordStatus.FAILED)


def _found(evaluation: dg.AssetCheckEvaluation | None) -> str:
    """Why a check did not pass, with the first sentence of its advice; empty if it passed."""
    if evaluation is None:
        return NOT_RUN
    if evaluation.passed:
        return ""
    stated = evaluation.metadata.get("next_step")
    advice = str(stated.value) if stated else ""
    text = (evaluation.description or "it failed").removeprefix("failed: ").removesuffix(advice)
    return f"{text.strip()} {advice.partition('. ')[0]}".strip().rstrip(".")
