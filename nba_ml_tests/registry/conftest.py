"""Stores of both kinds, a bench with real months for the tests of releases, and channels that have moved already."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from nba_ml.registry.promotion import promote
from nba_ml.registry.release_context import ReleaseContext
from nba_ml.storage.cloud import CloudStore
from nba_ml.storage.directory import DirectoryStore
from nba_ml.storage.objects import ObjectStore
from nba_ml_tests.cloud.gcs import BucketView, emulator_client, make_bucket
from nba_ml_tests.registry.places import Home, MakeHome, in_directory
from nba_ml_tests.release_scene import (
    AT,
    bench_of,
    published_model,
)


@pytest.fixture(params=["directory", "cloud"])
def make_home(request: pytest.FixtureRequest, tmp_path: Path) -> MakeHome:
    """Makes fresh stores of one kind."""
    numbers = itertools.count()
    if request.param == "directory":
        return lambda: in_directory(tmp_path / f"artifacts-{next(numbers)}")
    endpoint = request.getfixturevalue("gcs_endpoint")
    client, bucket = emulator_client(endpoint), make_bucket(endpoint)

    def on_cloud() -> Home:
        prefix = f"artifacts-{next(numbers)}"
        return Home(CloudStore(bucket, prefix, client), BucketView(endpoint, bucket, prefix))

    return on_cloud


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
