"""What holds for stores of both kinds runs over both: the directory's, and Cloud Storage's on its emulator."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from nba_ml.storage.cloud import CloudStore
from nba_ml_tests.cloud.gcs import BucketView, emulator_client, make_bucket
from nba_ml_tests.registry.places import Home, MakeHome, in_directory


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
