"""The latest result of each check and month, for many checks and months at once.

Dagster's own calls ask check by check and month by month, and parse every event: seconds over 36 months. Here it is one
query of the executions, and one of the latest materialisations for each asset. An event is parsed only when it is
read.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import dagster as dg

from nba_ml.checks.check import Check
from nba_ml.defs.internals import (
    DATA_VERSION_TAG,
    AssetCheckExecutionRecordStatus,
    latest_check_executions,
)

_PASSED = str(AssetCheckExecutionRecordStatus.SUCCEEDED.value)
_EVALUATED = (_PASSED, str(AssetCheckExecutionRecordStatus.FAILED.value))


@dataclass(frozen=True, slots=True)
class CheckResult:
    """A check's result on a month's latest materialisation. `event` is the entry of the event log, as stored."""

    passed: bool
    event: str

    @property
    def evaluation(self) -> dg.AssetCheckEvaluation:
        """The result as the check reported it."""
        stored = dg.deserialize_value(self.event, dg.EventLogEntry).get_dagster_event()
        return stored.asset_check_evaluation_data

    @property
    def threshold(self) -> str | None:
        """The threshold that the check was held to; None if it states none."""
        try:  # 20 times faster than the whole event, which Dagster keeps in this form
            found = json.loads(self.event)["dagster_event"]["event_specific_data"]["metadata"]
            return str(found["threshold"]["text"])
        except (KeyError, TypeError, ValueError):
            stated = self.evaluation.metadata.get("threshold")
            return None if stated is None else str(stated.value)


@dataclass
class CheckLog:
    """Latest results and versions in an event log. What was read is kept, until `forget`."""

    instance: dg.DagsterInstance
    _results: dict[tuple[str, str], CheckResult] = field(default_factory=dict)
    _versions: dict[str, Mapping[str, Mapping[str, str]]] = field(default_factory=dict)
    _read: set[tuple[str, str]] = field(default_factory=set)

    def results(self, checks: Sequence[Check], months: Collection[str]) -> dict[tuple[str, str], CheckResult]:
        """(check's key, month) -> its result, under whatever threshold.

        Missing if it never ran, ran on an older materialisation, or raised.
        """
        unread = {month for month in months for check in checks if (check.key, month) not in self._read}
        if unread:
            self._results |= _results(self.instance, checks, sorted(unread))
            self._read |= {(check.key, month) for check in checks for month in unread}
        keys = ((check.key, month) for check in checks for month in months)
        return {key: self._results[key] for key in keys if key in self._results}

    def judged(self, checks: Sequence[Check], months: Collection[str]) -> dict[tuple[str, str], CheckResult]:
        """As `results`, those under the checks' current thresholds."""
        current = {check.key: check.threshold for check in checks}
        found = self.results(checks, months)
        return {(key, month): result for (key, month), result in found.items() if result.threshold == current[key]}

    def version(self, asset: str, month: str) -> str | None:
        """The digest of the month's latest materialisation; None if there is none, or it has none."""
        if asset not in self._versions:
            self._versions[asset] = self.instance.event_log_storage.get_latest_tags_by_partition(
                dg.AssetKey.from_user_string(asset), dg.DagsterEventType.ASSET_MATERIALIZATION, [DATA_VERSION_TAG]
            )
        return self._versions[asset].get(month, {}).get(DATA_VERSION_TAG)

    def forget(self, month: str) -> None:
        """Read the month anew when it is next asked for: a run has changed it."""
        self._versions.clear()
        self._read = {(key, each) for key, each in self._read if each != month}
        self._results = {(key, each): result for (key, each), result in self._results.items() if each != month}


def _results(
    instance: dg.DagsterInstance, checks: Sequence[Check], months: Sequence[str]
) -> dict[tuple[str, str], CheckResult]:
    keys = {dg.AssetCheckKey(dg.AssetKey.from_user_string(check.asset), check.name): check.key for check in checks}
    assets = {key.asset_key for key in keys}
    latest = {asset: _latest_materialisations(instance, asset, months) for asset in assets}
    without_month = _without_month(instance, list(assets))
    found: dict[tuple[str, str], CheckResult] = {}
    for execution in latest_check_executions(instance, list(keys), months):
        asset, month = execution.key.asset_key, execution.month
        newest = max(latest[asset].get(month, -1), without_month.get(asset, -1))
        if execution.materialisation == newest and execution.status in _EVALUATED and execution.event is not None:
            found[keys[execution.key], month] = CheckResult(execution.status == _PASSED, execution.event)
    return found


def _latest_materialisations(
    instance: dg.DagsterInstance, asset: dg.AssetKey, months: Sequence[str]
) -> Mapping[str, int]:
    """Month -> storage id."""
    kind = dg.DagsterEventType.ASSET_MATERIALIZATION
    return instance.event_log_storage.get_latest_storage_id_by_partition(asset, kind, set(months))


def _without_month(instance: dg.DagsterInstance, assets: Sequence[dg.AssetKey]) -> dict[dg.AssetKey, int]:
    """Asset -> storage id of its latest materialisation, if that has no month: it then counts for every month."""
    found = {}
    for record in instance.get_asset_records(assets):
        latest = record.asset_entry.last_materialization_record
        if latest is not None and latest.partition_key is None:
            found[record.asset_entry.asset_key] = latest.storage_id
    return found
