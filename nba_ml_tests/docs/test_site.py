"""The site's build fails for a broken link, a broken anchor, and a page that loads something from another server."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from nba_ml_tests.docs.markdown import ROOT

pytestmark = pytest.mark.slow

LINKED = ("Makefile", "pyproject.toml", "requirements.lock", ".ci", ".venv", ".venv-docs")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder that `make docs` builds the pages in. Without the site's environment: skip, or fail in CI."""
    if not (ROOT / ".venv-docs" / ".ready").exists():
        reason = "the site's environment is missing: run `make docs` first"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    for name in LINKED:
        (tmp_path / name).symlink_to(ROOT / name)
    shutil.copytree(ROOT / "docs", tmp_path / "docs", ignore=shutil.ignore_patterns("site"))
    return tmp_path


@pytest.mark.parametrize(
    ("added", "said"),
    [
        ("[gone](gone.md) [gone](tutorial.md#gone)", ("link 'gone.md'", "anchor '#gone'")),
        ('<img src="https://example.com/picture.png">', ("https://example.com/picture.png",)),
    ],
)
def test_the_build_fails(checkout: Path, added: str, said: tuple[str, ...]) -> None:
    """With `--quiet`, MkDocs counts no warnings, and `--strict` builds a site with broken links."""
    with (checkout / "docs" / "pages" / "glossary.md").open("a") as page:
        page.write(f"\n{added}\n")
    done = subprocess.run(["make", "docs"], cwd=checkout, capture_output=True, text=True, check=False)
    assert done.returncode != 0, done.stdout
    for each in said:
        assert each in done.stdout + done.stderr
