"""The registry as a whole, and what a check's result looks like in Dagster."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import dagster as dg
import pytest

from nba_ml.checks.check import Check, Consequence, Finding, Severity
from nba_ml.checks.registry import all_checks, blocking_checks
from nba_ml.contract.assets import MONTHLY_ASSETS
from nba_ml.contract.systems import SYSTEMS
from nba_ml.contract.thresholds import Thresholds
from nba_ml.defs.checks import result_of

CHECK = Check(
    asset="xgboost_model",
    name="validation_mae",
    consequence=Consequence.BLOCKS,
    threshold="validation MAE at most 5.0 points",
    reason="Every average does better.",
    examine=lambda value, _: Finding(passed=True, metric=str(value), value=0, n=0),
)


def test_each_check_has_one_name_and_an_asset_of_the_chain() -> None:
    """Guards against two checks of one name, of which Dagster would keep the last, and against one of no asset."""
    names = Counter((check.asset, check.name) for check in all_checks())
    assert max(names.values()) == 1
    for system in SYSTEMS.values():
        assert {check.asset for check in all_checks(systems=[system])} <= set(map(system.asset, MONTHLY_ASSETS))


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
    # Dagster makes the next asset wait for these alone: without one the publisher could look too early.
    assert any(check.stops_run for check in blocking_checks(asset))


@pytest.mark.parametrize(
    ("consequence", "stops_run", "blocking", "severity"),
    [
        (Consequence.STOPS_RUN, True, True, Severity.ERROR),
        (Consequence.BLOCKS, False, True, Severity.ERROR),
        (Consequence.FAILS_CI, False, False, Severity.ERROR),
        (Consequence.WARNS, False, False, Severity.WARN),
    ],
)
def test_what_a_failure_does_decides_what_it_blocks(
    consequence: Consequence, stops_run: bool, blocking: bool, severity: Severity
) -> None:
    """Guards against a value that no run may go on with, and that a later run publishes."""
    check = replace(CHECK, consequence=consequence)
    assert (check.stops_run, check.blocking, check.severity) == (stops_run, blocking, severity)


def test_models_that_are_not_good_enough_are_refused_at_the_publisher_and_not_before() -> None:
    """Guards against a backfill that stops at its first months, whose models are never good enough."""
    stopping = {check.name for check in blocking_checks("xgboost_model") if check.stops_run}
    assert stopping == {"predictions_in_range"}


def test_limits_reach_the_checks_and_change_none_of_their_names() -> None:
    """Guards against a limit of the user's that is shown and not applied, and a check that a limit switches off."""
    other = Thresholds(max_validation_mae=4.2, min_rows=7, max_psi=3.0)
    assert [check.key for check in all_checks(other)] == [check.key for check in all_checks()]
    thresholds = {check.key: check.threshold for check in all_checks(other)}
    assert thresholds["xgboost_model.validation_mae"] == "validation MAE at most 4.2 points"
    assert thresholds["train_split.min_rows"] == "at least 7 rows, or none yet"
    assert "above 3.0" in thresholds["feature_store_snapshot.drift"]


def test_a_passing_result_says_what_was_measured_and_gives_no_advice() -> None:
    """Guards against a green check that tells people to do something."""
    finding = Finding(
        passed=True, metric="validation MAE", value=4.5, n=1852, next_step="Look.", interval="4.3 to 4.7", unit="points"
    )
    result = result_of(CHECK, finding)
    assert result.passed
    assert result.description == (
        "passed: Validation MAE: 4.500 points (4.3 to 4.7), required: validation MAE at most 5.0 points. 1,852 rows."
    )
    assert result.severity is dg.AssetCheckSeverity.WARN, "or an old month's failure would be red in the graph"
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
    result = result_of(CHECK, finding)
    assert not result.passed
    assert result.severity is dg.AssetCheckSeverity.ERROR
    assert (
        result.description == "failed: Validation MAE: 5.5, required: validation MAE at most 5.0 points. 1,852 rows. "
        "Backfill earlier months."
    )
    shown = {name: value.value for name, value in result.metadata.items()}
    assert (shown["metric"], shown["value"], shown["n"]) == ("validation MAE", 5.5, 1852)
    assert (shown["threshold"], shown["next_step"]) == (CHECK.threshold, "Backfill earlier months.")
    assert "offender 4" in str(shown["worst"])
    assert "offender 5" not in str(shown["worst"])


@pytest.mark.parametrize("warns", [replace(CHECK, consequence=Consequence.WARNS), CHECK], ids=["check", "finding"])
def test_a_warning_begins_with_its_word(warns: Check) -> None:
    """Guards against a warning that reads like a failure, by the check or by one finding of a severe check."""
    finding = Finding(passed=False, metric="rows", value=3, n=0, only_warns=warns is CHECK)
    result = result_of(warns, finding)
    assert result.severity is dg.AssetCheckSeverity.WARN
    assert result.description == f"warned: Rows: 3, required: {CHECK.threshold}."
