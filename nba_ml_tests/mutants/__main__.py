"""`python -m nba_ml_tests.mutants AREA`: how many of a sample of mutants the area's tests find, as a table."""

from __future__ import annotations

import argparse
import ast
import random
import shutil
import sys
import tempfile
import tomllib
from contextlib import suppress
from pathlib import Path

from tabulate import tabulate

from nba_ml_tests.mutants.areas import AREAS
from nba_ml_tests.mutants.operators import Mutant, mutants_of
from nba_ml_tests.mutants.runner import Judge, Outcome, copy_checkout

ROOT = Path(__file__).parents[2]
EQUIVALENT = Path(__file__).with_name("equivalent.toml")
GOAL = 0.95
"""Share of an area's mutants, those that change nothing left out, that its tests must find."""


def equivalents() -> dict[tuple[str, str, str, str], str]:
    """Mutant.key -> why no test can find it."""
    listed = tomllib.loads(EQUIVALENT.read_text(encoding="utf-8"))["equivalent"]
    return {(each["path"], each["where"], each["old"], each["new"]): each["reason"] for each in listed}


def area_mutants(area: str, root: Path = ROOT) -> list[Mutant]:
    """Every mutant of the area's modules, in the order of their paths."""
    found = [root / module for module in AREAS[area].modules]
    files = sorted(file for each in found for file in (each.rglob("*.py") if each.is_dir() else [each]))
    return [m for file in files for m in mutants_of(str(file.relative_to(root)), file.read_text(encoding="utf-8"))]


def sample(mutants: list[Mutant], size: int, seed: int) -> list[Mutant]:
    """`size` of the mutants, chosen by the seed, in their order; fewer if there are fewer that are valid Python."""
    order = list(range(len(mutants)))
    random.Random(seed).shuffle(order)
    chosen: list[int] = []
    for i in order:
        with suppress(SyntaxError):
            ast.parse(mutants[i].plant((ROOT / mutants[i].path).read_text(encoding="utf-8")))
            chosen.append(i)
        if len(chosen) == size:
            break
    return [mutants[i] for i in sorted(chosen)]


def main() -> int:
    """Run a sample and print its table. The exit code is 1 if the tests find too few."""
    parser = argparse.ArgumentParser(prog="python -m nba_ml_tests.mutants", description=__doc__)
    parser.add_argument("area", choices=AREAS)
    parser.add_argument("--sample", type=int, default=40, help="how many mutants to plant (40)")
    parser.add_argument("--seed", type=int, default=1, help="chooses the sample, and Hypothesis' examples (1)")
    parser.add_argument("--limit", type=int, help="seconds that the tests may compute on a mutant")
    parser.add_argument("--only", default="", help="plant only mutants of functions whose path and name contain this")
    parser.add_argument("--tests", nargs="+", help="files of nba_ml_tests that judge, in place of the area's")
    chosen = parser.parse_args()
    pool = [m for m in area_mutants(chosen.area) if chosen.only in f"{m.path}::{m.where}"]
    known = equivalents()
    mutants = sample(pool, chosen.sample, chosen.seed)
    run = [mutant for mutant in mutants if mutant.key not in known]
    copy = Path(tempfile.mkdtemp(prefix="nba_ml_mutants_"))
    try:
        copy_checkout(ROOT, copy)
        tests = [f"nba_ml_tests/{name}" for name in chosen.tests or AREAS[chosen.area].tests]
        select = ["-k", AREAS[chosen.area].select] if AREAS[chosen.area].select else []
        judge = Judge(copy, [*tests, *select, f"--hypothesis-seed={chosen.seed}"], chosen.limit)
        print(
            f"{chosen.area}: {len(mutants)} of {len(pool)} mutants, seed {chosen.seed}; "
            f"the tests take {judge.prepare():.1f} s",
            flush=True,
        )
        outcomes = []
        for outcome in judge.judge(run):
            outcomes.append(outcome)
            print(f"{outcome.result:9} {outcome.seconds:5.1f} s  {_place(outcome.mutant)}", flush=True)
    finally:
        shutil.rmtree(copy)
    return report(chosen.area, mutants, outcomes, known)


def report(
    area: str, mutants: list[Mutant], outcomes: list[Outcome], known: dict[tuple[str, str, str, str], str]
) -> int:
    """Print the survivors, the equivalent ones and the counts; 1 if the share of the killed is below the goal."""
    survivors = [outcome.mutant for outcome in outcomes if outcome.result == "survived"]
    for mutant in survivors:
        print(f"\nSURVIVED {_place(mutant)}\n  - {mutant.old}\n  + {mutant.new}")
    for mutant in mutants:
        if mutant.key in known:
            print(f"\nequivalent {_place(mutant)}\n  - {mutant.old}\n  + {mutant.new}\n  {known[mutant.key]}")
    killed = len(outcomes) - len(survivors)
    share = killed / len(outcomes) if outcomes else 1.0
    row = (area, len(mutants), killed, len(survivors), len(mutants) - len(outcomes), f"{share:.0%}")
    print(
        "\n"
        + tabulate(
            [row], headers=("area", "mutants", "killed", "survived", "equivalent", "share killed"), tablefmt="github"
        )
    )
    return int(share < GOAL)


def _place(mutant: Mutant) -> str:
    return f"{mutant.path}:{mutant.line} {mutant.where}"


if __name__ == "__main__":
    sys.exit(main())
