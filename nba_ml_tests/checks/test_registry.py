"""The registry as a whole, and what a check's result looks like in Dagster."""

from __future__ import annotations

from collections import Counter

import dagster as dg
import pytest

from nba_ml.assets import CHAIN
from nba_ml.checks.build import _result
from nba_ml.checks.check import Check, Finding, Severity
from nba_ml.checks.registry import all_checks, blocking_checks

CHECK = Check(
    asset="xgboost_model",
    name="validation_mae",
    severity=Severity.ERROR,
    blocking=True,
    threshold="validation MAE at most 5.0 points",
    reason="Every average does better.",
    examine=lambda value, month: Finding(passed=True, metric=str(value), value=month, n=0),
)


def test_each_check_has_one_name_and_an_asset_of_the_chain() -> None:
    """Guards against two checks of one name, of which Dagster would keep the last, and against one of no asset."""
    names = Counter((check.asset, check.name) for check in all_checks())
    assert max(names.values()) == 1
    assert {check.asset for check in all_checks()} <= set(CHAIN)


def test_checks_of_an_asset_stand_together() -> None:
    """Guards against an asset whose checks are built in two groups, the second hiding the first."""
    assets = [check.asset for check in all_checks()]
    assert assets == sorted(assets, key=assets.index)


def test_every_check_says_its_threshold_and_its_reason() -> None:
    """Guards against a red check that does not say what it wants, or why."""
    for check in all_checks():
        assert check.threshold, check.name
        assert check.reason.endswith("."), check.name


def test_what_blocks_is_an_error() -> None:
    """Guards against a publication that is stopped by what the UI shows as a warning."""
    assert all(check.severity is Severity.ERROR for check in all_checks() if check.blocking)
    assert [check.asset for check in blocking_checks("xgboost_model")].count("xgboost_model") >= 1
    assert blocking_checks("player_game_summary") == ()


@pytest.mark.parametrize("asset", ["feature_store_snapshot", "train_split", "xgboost_model", "model_metadata"])
def test_each_asset_that_a_model_stands_on_has_a_blocking_check(asset: str) -> None:
    """Guards against a gate that stays open because the last blocking check of an asset was removed."""
    assert blocking_checks(asset)


def test_a_passing_result_says_what_was_measured_and_gives_no_advice() -> None:
    """Guards against a green check that tells people to do something."""
    finding = Finding(passed=True, metric="validation MAE", value=4.5, n=1852, next_step="Look.", interval="4.3 to 4.7")
    result = _result(CHECK, finding)
    assert result.passed
    assert result.description == "passed: validation MAE 4.5 over 1,852 rows; validation MAE at most 5.0 points."
    assert "next_step" not in result.metadata
    assert result.metadata["interval"].value == "4.3 to 4.7"


def test_a_failing_result_says_value_threshold_population_and_what_to_do() -> None:
    """Guards against a red check that has to be looked up in the code; at most five offenders are shown."""
    finding = Finding(
        passed=False,
        metric="validation MAE",
        value=5.5,
        n=1852,
        next_step="Backfill earlier months.",
        worst=[{"row": f"offender {i}"} for i in range(7)],
    )
    result = _result(CHECK, finding)
    assert not result.passed
    assert result.severity is dg.AssetCheckSeverity.ERROR
    assert (
        result.description == "failed: validation MAE 5.5 over 1,852 rows; validation MAE at most 5.0 points. "
        "Backfill earlier months."
    )
    shown = {name: value.value for name, value in result.metadata.items()}
    assert (shown["metric"], shown["value"], shown["n"]) == ("validation MAE", 5.5, 1852)
    assert (shown["threshold"], shown["next_step"]) == (CHECK.threshold, "Backfill earlier months.")
    assert "offender 4" in str(shown["worst"])
    assert "offender 5" not in str(shown["worst"])
