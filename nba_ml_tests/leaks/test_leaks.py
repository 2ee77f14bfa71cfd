"""Every planted fault is caught, by the check it names, and the clean months pass."""

from __future__ import annotations

import pytest

from nba_ml.checks.registry import all_checks
from nba_ml_tests.leaks.chain import Outcome
from nba_ml_tests.leaks.drills import TABLE, blocking, caught, clean_outcome, drill, told
from nba_ml_tests.leaks.faults import FAULTS, HARMLESS, REFUSED, Fault


@pytest.fixture(scope="module")
def clean() -> Outcome:
    return clean_outcome()


def test_the_clean_months_pass_every_blocking_check(clean: Outcome) -> None:
    """Guards against drills that prove nothing, because the months fail without any fault."""
    assert blocking(clean) == {}
    assert {check.asset for check, _, _ in clean.findings} == {
        "feature_store_snapshot",
        "train_split",
        "xgboost_model",
        "model_metadata",
    }


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_the_fault_is_caught(fault: Fault, clean: Outcome) -> None:
    """Guards against a fault of the past that comes back unseen."""
    done = drill(fault)
    assert caught(done, clean), told(done, clean)


def test_the_worst_leaks_are_also_too_good_to_be_true(clean: Outcome) -> None:
    """Guards against a last line of defence that is none: 3.4 points were once celebrated."""
    for name in ("last-5 average that includes the game", "line taken after tip-off"):
        [fault] = [each for each in FAULTS if each.name == name]
        done = drill(fault)
        assert done.outcome is not None
        assert done.outcome.judgement.validation.mae < 4.0 < clean.judgement.validation.mae
        assert "xgboost_model.not_too_good" in blocking(done.outcome)


def test_drills_name_checks_that_exist_and_block() -> None:
    """Guards against a drill that is caught by a warning, or by a check that was renamed."""
    names = {check.key for check in all_checks() if check.blocking}
    assert {fault.caught_by for fault in FAULTS} <= names | {REFUSED, HARMLESS}
    assert len({fault.name for fault in FAULTS}) == len(FAULTS) >= 12


def test_the_table_in_the_docs_is_of_these_drills() -> None:
    """Guards against a table that promises what no drill shows: run `python -m nba_ml_tests.leaks`."""
    rows = [line.split(" | ") for line in TABLE.read_text(encoding="utf-8").splitlines() if line.startswith("| ")][1:]
    assert [row[0].removeprefix("| ") for row in rows] == [fault.name for fault in FAULTS]
    for row, fault in zip(rows, FAULTS, strict=True):
        said = {REFUSED: fault.refusal, HARMLESS: "nothing to catch"}.get(fault.caught_by, fault.caught_by)
        assert said in row[2]
