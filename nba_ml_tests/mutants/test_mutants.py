"""The tool that plants mutants: what it plants, that it judges rightly, and that it leaves the checkout alone."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from nba_ml_tests.mutants.__main__ import EQUIVALENT, ROOT, area_mutants, equivalents, sample
from nba_ml_tests.mutants.areas import AREAS
from nba_ml_tests.mutants.operators import mutants_of

MODULE = '''"""A module."""
LIMIT: int | None = 3
EXAMPLE_ROW: dict[str, int] = {"fatigue_score": 90}
EXAMPLE_RECORD = judge(90, strict=True)

def judge(n: int | None, *, strict: bool = True) -> bool:
    """Whether n is one or more."""
    if n is None or n < 1 and strict:
        raise ValueError(f"{n - 1} is wrong")
    calls.append(n, key="é", last=-1)
    for each in sorted(calls):
        state.failures = 0
        log.warning("%s", each + 1)
    return n >= LIMIT
'''


def test_each_operator_plants_its_faults_and_leaves_texts_alone() -> None:
    planted = {(mutant.old, mutant.new) for mutant in mutants_of("a.py", MODULE)}
    expected = {
        ("LIMIT: int | None = 3", "LIMIT: int | None = (4)"),
        (
            "def judge(n: int | None, *, strict: bool = True) -> bool:",
            "def judge(n: int | None, *, strict: bool = (False)) -> bool:",
        ),
        ("if n is None or n < 1 and strict:", "if n is not None or n < 1 and strict:"),
        ("if n is None or n < 1 and strict:", "if n is None or n <= 1 and strict:"),
        ("if n is None or n < 1 and strict:", "if ((n is None) and (n < 1 and strict)):"),
        ("if n is None or n < 1 and strict:", "if ((n is None)):"),
        ("if n is None or n < 1 and strict:", "if False:"),
        ('raise ValueError(f"{n - 1} is wrong")', "pass"),
        ('calls.append(n, key="é", last=-1)', "pass"),
        ('calls.append(n, key="é", last=-1)', "calls.append(n, last=-1)"),
        ('calls.append(n, key="é", last=-1)', 'calls.append(n, key="é", last=1)'),
        ("for each in sorted(calls):", "for each in list(calls):"),
        ("state.failures = 0", "pass"),
        ("return n >= LIMIT", "return n > LIMIT"),
        ("return n >= LIMIT", "return None"),
    }
    assert expected <= planted
    assert not any("EXAMPLE" in old for old, _ in planted)
    assert not any("log.warning" in old or '"""' in old or "&" in new or "n + 1" in new for old, new in planted)
    for mutant in mutants_of("a.py", MODULE):
        assert mutant.plant(MODULE) != MODULE
        ast.parse(mutant.plant(MODULE))


def test_a_sample_is_chosen_by_its_seed() -> None:
    pool = area_mutants("calibration")
    assert sample(pool, 12, seed=1) == sample(pool, 12, seed=1) != sample(pool, 12, seed=2)
    assert len(set(sample(pool, 12, seed=1))) == 12


@pytest.mark.parametrize("area", AREAS)
def test_an_area_names_what_exists(area: str) -> None:
    named = (*AREAS[area].modules, *(f"nba_ml_tests/{name}" for name in AREAS[area].tests))
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_equivalent_mutants_still_fit_the_code() -> None:
    """Guards against a list that excuses a mutant of other code than the one that its reason was written for."""
    known = equivalents()
    planted = {mutant.key for area in AREAS for mutant in area_mutants(area)}
    assert [key for key in known if key not in planted] == [], f"remove these from {EQUIVALENT.name}, or correct them"
    assert all(len(reason) > 20 for reason in known.values())


COUNTING = """def count(n: int) -> int:
    total = 0
    while n > 0:
        total += 1
        n -= 1
    return total + 0
"""

JUDGING = """
import sys
from pathlib import Path
from nba_ml_tests.mutants.operators import mutants_of
from nba_ml_tests.mutants.runner import Judge

root = Path(sys.argv[1])
mutants = mutants_of("nba_ml/counting.py", (root / "nba_ml/counting.py").read_text())
judge = Judge(root, ["nba_ml_tests"], limit=4)
judge.prepare()
for outcome in judge.judge(m for m in mutants if m.new in ("while n >= 0:", "pass", "return (total - 0)")):
    print(outcome.result, outcome.mutant.old)
"""


@pytest.mark.slow
def test_a_mutant_is_judged_in_the_copy(tmp_path: Path) -> None:
    """Guards the verdicts: found, not found, without end. The module is restored after each."""
    for name, text in {
        "nba_ml/__init__.py": "",
        "nba_ml/counting.py": COUNTING,
        "nba_ml_tests/test_counting.py": "from nba_ml.counting import count\ndef test(): assert count(2) == 2\n",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    ended = subprocess.run(
        [sys.executable, "-c", JUDGING, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ended.stdout.splitlines() == [
        "killed while n > 0:",
        "killed total += 1",
        "timeout n -= 1",
        "survived return total + 0",
    ], ended.stderr
    assert (tmp_path / "nba_ml/counting.py").read_text() == COUNTING
