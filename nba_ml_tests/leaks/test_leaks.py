"""Every planted fault is caught, by the check it names, and the clean months pass."""

from __future__ import annotations

import pytest

from nba_ml.checks.registry import all_checks
from nba_ml.contract.systems import XGBOOST_V1, XGBOOST_V2, System
from nba_ml_tests.leaks.chain import CHECKED
from nba_ml_tests.leaks.drills import ALL_FAULTS, TABLE, blocking, caught, clean_outcome, drill, told
from nba_ml_tests.leaks.faults import FAULTS, HARMLESS, REFUSED, Fault

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("system", [XGBOOST_V1, XGBOOST_V2], ids=lambda system: system.id)
def test_the_clean_months_pass_every_blocking_check(system: System) -> None:
    """Guards against drills that prove nothing, because the months fail without any fault."""
    clean = clean_outcome(system)
    assert blocking(clean) == {}
    assert {check.asset for check, _, _ in clean.findings} == set(map(system.asset, CHECKED))


@pytest.mark.parametrize("fault", ALL_FAULTS, ids=lambda fault: fault.name)
def test_the_fault_is_caught(fault: Fault) -> None:
    """Guards against a fault of the past that comes back unseen."""
    done = drill(fault)
    assert caught(done), told(done)


def test_the_worst_leaks_are_also_too_good_to_be_true() -> None:
    """Guards against a last line of defence that is none: 3.4 points were once celebrated."""
    clean = clean_outcome(XGBOOST_V1)
    for name in ("last-5 average that includes the game", "line taken after tip-off"):
        [fault] = [each for each in FAULTS if each.name == name]
        done = drill(fault)
        assert done.outcome is not None
        assert done.outcome.judgement.validation.mae < 4.0 < clean.judgement.validation.mae
        assert "xgboost_model.not_too_good" in blocking(done.outcome)


def test_drills_name_checks_that_exist_and_block() -> None:
    """Guards against a drill that is caught by a warning, or by a check that was renamed."""
    names = {check.key for check in all_checks() if check.blocking}
    assert {fault.caught_by for fault in ALL_FAULTS} <= names | {REFUSED, HARMLESS}
    assert len({fault.name for fault in ALL_FAULTS}) == len(ALL_FAULTS) >= 28


def test_the_table_in_the_docs_is_of_these_drills() -> None:
    """Guards against a table that promises what no drill shows: run `python -m nba_ml_tests.leaks`."""
    rows = [line.split(" | ") for line in TABLE.read_text(encoding="utf-8").splitlines() if line.startswith("| ")][1:]
    assert [row[0].removeprefix("| ") for row in rows] == [fault.name for fault in ALL_FAULTS]
    for row, fault in zip(rows, ALL_FAULTS, strict=True):
        said = {REFUSED: fault.refusal, HARMLESS: "nothing to catch"}.get(fault.caught_by, fault.caught_by)
        assert said in row[2]
