"""The verdict behind a model, gathered from whatever runs the checks ran in.

Dagster binds an execution of a check to the materialisation it looked at, and a materialisation to
its data version, which here is a digest. So a check counts as passed if its latest execution looked at
the latest materialisation, that materialisation has the digest the model stands on, and it passed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import dagster as dg

# No public call returns the latest checks of many partitions at once; these two are what the UI itself asks.
from dagster._core.definitions.data_version import DATA_VERSION_TAG
from dagster._core.events import DagsterEventType
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus

from nba_ml.checks.registry import blocking_checks
from nba_ml.core.gates import CheckVerdict, Verdict
from nba_ml.core.model_record import ModelRecord


def gather_verdict(instance: dg.DagsterInstance, month: str, record: ModelRecord) -> Verdict:
    """The verdict of every blocking check on everything that the model of a month stands on.

    A check that did not run, ran on an older materialisation, or ran on other bytes, has not passed.
    """
    return Verdict(
        model_sha256=record.model_sha256,
        checks=tuple(
            verdict
            for asset, digests in _lineage(month, record).items()
            for verdict in _verdicts(instance, asset, digests)
        ),
    )


def _lineage(month: str, record: ModelRecord) -> Mapping[str, Mapping[str, str]]:
    """Asset -> month -> the digest that the model stands on."""
    return {
        "feature_store_snapshot": {ref.month: ref.digest for ref in record.split.snapshots},
        "train_split": {month: record.split.digest},
        "xgboost_model": {month: record.model_sha256},
        "model_metadata": {month: record.digest},
    }


def _verdicts(instance: dg.DagsterInstance, asset: str, digests: Mapping[str, str]) -> Iterator[CheckVerdict]:
    storage, months = instance.event_log_storage, sorted(digests)
    key = dg.AssetKey(asset)
    versions = storage.get_latest_tags_by_partition(
        key, DagsterEventType.ASSET_MATERIALIZATION, [DATA_VERSION_TAG], asset_partitions=months
    )
    keys = [dg.AssetCheckKey(key, check.name) for check in blocking_checks(asset)]
    passed = {
        (info.check_key.name, info.partition_key)
        for info in storage.get_asset_check_partition_info(keys, partition_keys=months)
        if info.latest_execution_status == AssetCheckExecutionRecordStatus.SUCCEEDED
        and info.latest_target_materialization_storage_id == info.latest_materialization_storage_id
    }
    for check_key in keys:
        for month in months:
            same_bytes = versions.get(month, {}).get(DATA_VERSION_TAG) == digests[month]
            yield CheckVerdict(
                asset=asset,
                check=check_key.name,
                month=month,
                passed=same_bytes and (check_key.name, month) in passed,
                subject=digests[month],
            )
