"""A home in which the whole chain of three months ran, and calls of its store and of Dagster that are counted."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nba_ml.settings import Settings
from nba_ml.storage import opening
from nba_ml.storage.directory import DirectoryStore
from nba_ml.storage.objects import StoredObject
from nba_ml_tests.cli.command import Home
from nba_ml_tests.cli.conftest import MONTHS, copy_months

THREE = MONTHS[:3]

Calls = Counter[str]
"""What was asked -> how often: `names`, or `read` and the first folder of the name."""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """Read only: a test that changes something takes `copied`."""
    folder = tmp_path_factory.mktemp("trained")
    home = Home(folder / "home", copy_months(folder / "three", *THREE))
    ended = home.run_here("backfill")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return home


@pytest.fixture
def copied(trained: Home, tmp_path: Path) -> Home:
    shutil.copytree(trained.root, tmp_path / "home")
    home = replace(trained, root=tmp_path / "home")
    for record in (home.root / "store/gcs_artifact").iterdir():  # the published addresses name the home
        record.write_bytes(record.read_bytes().replace(trained.root.as_uri().encode(), home.root.as_uri().encode()))
    return home


def settings_of(home: Home) -> Settings:
    return Settings.from_environment(home.environment())


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    """Counts what is asked of every directory store that is opened from here on."""
    counted: Calls = Counter()

    class Counting(DirectoryStore):
        def names(self, prefix: str) -> list[str]:
            counted["names"] += 1
            return super().names(prefix)

        def read(self, name: str) -> StoredObject | None:
            counted[f"read {name.partition('/')[0]}"] += 1
            return super().read(name)

    monkeypatch.setattr(opening, "DirectoryStore", Counting)
    return counted


def count(monkeypatch: pytest.MonkeyPatch, owner: object, name: str) -> list[tuple[Any, ...]]:
    """The arguments of every call of a function or method from here on; it works as before."""
    seen: list[tuple[Any, ...]] = []
    original: Callable[..., Any] = getattr(owner, name)

    def counting(*arguments: Any, **named: Any) -> Any:
        seen.append(arguments)
        return original(*arguments, **named)

    monkeypatch.setattr(owner, name, counting)
    return seen
