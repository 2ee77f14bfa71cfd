"""A bench with real months for the tests of releases, and channels that have moved already."""

from __future__ import annotations

from pathlib import Path

import pytest

from nba_ml.registry.promotion import promote
from nba_ml.registry.release_context import ReleaseContext
from nba_ml.storage.directory import DirectoryStore
from nba_ml.storage.objects import ObjectStore
from nba_ml_tests.release_scene import (
    AT,
    bench_of,
    published_model,
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "artifacts"


@pytest.fixture
def objects(root: Path) -> ObjectStore:
    return DirectoryStore(root)


@pytest.fixture
def bench(objects: ObjectStore, tmp_path: Path) -> ReleaseContext:
    """All four months are there; nothing is published."""
    return bench_of(objects, DirectoryStore(tmp_path / "store"))


@pytest.fixture
def three(bench: ReleaseContext) -> tuple[str, str, str]:
    """Three champions, one after the other."""
    ids = tuple(published_model(bench.objects, month) for month in ("2021-11", "2021-12", "2022-01"))
    for identity in ids:
        assert promote(bench, AT, identity).moved
    return ids  # type: ignore[return-value]


@pytest.fixture
def pair(bench: ReleaseContext) -> tuple[str, str]:
    """A champion of November and a published challenger of December; January is new to both."""
    champion, challenger = (published_model(bench.objects, month) for month in ("2021-11", "2021-12"))
    promote(bench, AT, champion)
    return champion, challenger
