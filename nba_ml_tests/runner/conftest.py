"""A home in which the whole chain of four months ran, and calls of its store and of Dagster that are counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nba_ml.settings import Settings
from nba_ml.storage import opening
from nba_ml.storage.directory import DirectoryStore
from nba_ml.storage.objects import StoredObject
from nba_ml_tests.cli.command import Home
from nba_ml_tests.trained_home import MONTHS, TrainedHomes, copy_home

THREE = MONTHS[:3]

Calls = Counter[str]
"""What was asked -> how often: `names`, or `read` and the first folder of the name."""


@pytest.fixture(scope="module")
def trained(trained_homes: TrainedHomes, tmp_path_factory: pytest.TempPathFactory) -> Home:
    """Read only: a test that changes something takes `copied`."""
    return copy_home(trained_homes.published, tmp_path_factory.mktemp("trained") / "home")


@pytest.fixture
def copied(trained: Home, tmp_path: Path) -> Home:
    return copy_home(trained, tmp_path / "home")


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
