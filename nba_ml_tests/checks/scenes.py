"""A scene for a check in a test: real months around it, unless the test says otherwise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pyarrow as pa

from nba_ml.checks.check import Check, CheckContext, Finding
from nba_ml.checks.registry import all_checks
from nba_ml.contract.digest import HasDigest
from nba_ml.contract.season import season_months
from nba_ml.contract.thresholds import Thresholds
from nba_ml.defs.checks import result_of
from nba_ml.storage.objects import ObjectStore
from nba_ml_tests.conftest import FIRST_MONTH, snapshot_of


def scene(
    month: str,
    *,
    months: Sequence[str] | None = None,
    values: Mapping[tuple[str, str], HasDigest | None] | None = None,
    results: Mapping[str, pa.Table | None] | None = None,
    limits: Thresholds | None = None,
    artifacts: ObjectStore | None = None,
) -> CheckContext:
    """The scene of a month.

    Args:
        months: the partitions up to the month; all from the first of the embedded data on if None.
        values: by (asset, month), what stands in place of the real snapshots; None was never made.
        results: by month, what stands in place of the real results; None was never made.
        limits: the shipped ones if None.
        artifacts: what is published, where a test publishes.
    """
    given, played = values or {}, results or {}

    def load(asset: str, at: str) -> HasDigest | None:
        if (asset, at) in given:
            return given[asset, at]
        return snapshot_of(at) if asset == "feature_store_snapshot" else None

    def opened() -> ObjectStore:
        assert artifacts is not None, "this test has no published objects"
        return artifacts

    return CheckContext(
        month=month,
        limits=limits or Thresholds(),
        months=months if months is not None else season_months(FIRST_MONTH, month),
        load=load,
        results=lambda at: played[at] if at in played else snapshot_of(at).results,
        artifacts=opened,
    )


def check_named(asset: str, name: str) -> Check:
    """A check of the registry."""
    [found] = [check for check in all_checks() if (check.asset, check.name) == (asset, name)]
    return found


def told(check: Check, finding: Finding) -> tuple[bool, str, str]:
    """What people get to see of a finding: whether it passed, the message, and the offenders."""
    result = result_of(check, finding)
    worst = str(result.metadata["worst"].value) if "worst" in result.metadata else ""
    return bool(result.passed), str(result.description), worst
