"""Runs the drills and tells what became of each fault."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from nba_ml.contract.errors import SnapshotRejectedError
from nba_ml.contract.systems import XGBOOST_V1, XGBOOST_V2, System
from nba_ml_tests.leaks.career_faults import CAREER_FAULTS
from nba_ml_tests.leaks.chain import MONTHS, RECIPE, Outcome, Steps, run
from nba_ml_tests.leaks.faults import FAULTS, HARMLESS, REFUSED, Fault

ALL_FAULTS = (*FAULTS, *CAREER_FAULTS)

TABLE = Path(__file__).parent / "drills.md"


@dataclass(frozen=True, slots=True)
class Drill:
    """A fault with what became of it: what the chain made of the rows, or why the snapshot refused them."""

    fault: Fault
    outcome: Outcome | None
    refusal: str = ""


@cache
def drill(fault: Fault) -> Drill:
    """Run the chain with the fault planted."""
    try:
        return Drill(fault, run(fault.steps, fault.system))
    except SnapshotRejectedError as error:
        return Drill(fault, None, str(error))


def blocking(outcome: Outcome) -> dict[str, list[str]]:
    """The checks that failed and stand between a model and its publication, with their months."""
    stops = {check.key for check, _, _ in outcome.findings if check.blocking}
    return {key: months for key, months in outcome.failed.items() if key in stops}


def caught(done: Drill) -> bool:
    """Whether the fault was caught by whom it names, and by nobody on the clean months."""
    clean = clean_outcome(done.fault.system)
    if done.fault.caught_by == REFUSED:
        return done.fault.refusal in done.refusal and done.outcome is None
    if done.outcome is None:
        return False
    if done.fault.caught_by == HARMLESS:
        return done.outcome.digests == clean.digests and done.outcome.judgement == clean.judgement
    return done.fault.caught_by in blocking(done.outcome) and done.fault.caught_by not in clean.failed


def told(done: Drill) -> tuple[str, str, str]:
    """The fault, what it did to the validation MAE, and who caught it."""
    name, clean = done.fault.name, clean_outcome(done.fault.system)
    if done.outcome is None:
        return name, "no model", f"the snapshot refuses: {done.fault.refusal}"
    mae, before = done.outcome.judgement.validation.mae, clean.judgement.validation.mae
    change = f"{before:.3f} → {mae:.3f} ({mae - before:+.3f})"
    if done.fault.caught_by == HARMLESS:
        return name, change, "nothing to catch: the frozen rows are the clean ones"
    others = [f"`{key}`" for key in blocking(done.outcome) if key != done.fault.caught_by]
    return name, change, f"`{done.fault.caught_by}`" + (f"; also {', '.join(others)}" if others else "")


def table() -> Iterator[str]:
    """The document, a line at a time; drills are run as it goes."""
    validation, second = (clean_outcome(system).judgement.validation for system in (XGBOOST_V1, XGBOOST_V2))
    yield "# Leak drills"
    yield ""
    yield (
        f"Faults planted into the real months {MONTHS[0]} to {MONTHS[-1]}, each run through the whole chain up to a "
        f"model at {MONTHS[-1]} ({RECIPE.num_boost_round} rounds at most, learning rate {RECIPE.learning_rate}). "
        f"Without a fault its MAE is {validation.mae:.3f} on {validation.n:,} validation rows, that of the second "
        f"system's model {second.mae:.3f} on {second.n:,}, and every blocking check passes. "
        "`python -m nba_ml_tests.leaks` writes this file; the drills run in the test suite."
    )
    yield ""
    yield "| fault | what it did to the validation MAE | caught by |"
    yield "|---|---|---|"
    for fault in ALL_FAULTS:
        done = drill(fault)
        assert caught(done), fault.name
        yield "| " + " | ".join(told(done)) + " |"


@cache
def clean_outcome(system: System) -> Outcome:
    """What a system's chain makes of the months as they are."""
    return run(Steps(), system)
