"""The import rules of `.importlinter` hold, and break where someone plants a forbidden import.

Without the second, a rule that no longer matches the tree (a package that was renamed) would pass for ever.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

CHECKOUT = Path(__file__).resolve().parents[1]

PLANTED = {
    "contract": ("import numpy", "nba_ml.contract is not allowed to import numpy"),
    "registry": ("import dagster", "nba_ml.registry is not allowed to import dagster"),
    "data": ("from nba_ml.defs import build", "nba_ml.data is not allowed to import nba_ml.defs"),
}
"""Package -> the line that is planted in a module of it, and what the linter must say."""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of the package's modules and of the rules."""
    for module in (CHECKOUT / "nba_ml").rglob("*.py"):
        copy = tmp_path / module.relative_to(CHECKOUT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(module, copy)
    shutil.copy(CHECKOUT / ".importlinter", tmp_path)
    return tmp_path


def lint(tree: Path) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name("lint-imports")
    return subprocess.run([program, "--no-cache"], cwd=tree, capture_output=True, text=True, check=False)


def test_the_rules_hold_and_each_planted_import_breaks_one(tree: Path) -> None:
    """Guards against an import against the layers, and against rules that no longer see one."""
    clean = lint(tree)
    assert clean.returncode == 0, clean.stdout + clean.stderr
    for package, (line, _) in PLANTED.items():
        (tree / "nba_ml" / package / "planted.py").write_text(f"{line}\n")
    broken = lint(tree)
    assert broken.returncode == 1, broken.stderr
    said = " ".join(broken.stdout.split())
    assert [text for _, text in PLANTED.values() if text not in said] == [], broken.stdout
    assert all(f"nba_ml.{package}.planted ->" in said for package in PLANTED), broken.stdout
