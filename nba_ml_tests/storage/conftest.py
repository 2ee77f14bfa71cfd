"""Fixtures of the stores' tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from nba_ml.storage.cloud import CloudStore
from nba_ml_tests.storage.answering import store_answered


@pytest.fixture
def answering(request: pytest.FixtureRequest) -> Iterator[tuple[CloudStore, list[str]]]:
    """A store whose server gives one answer to everything (status, JSON), and the requests that it got."""
    with store_answered(*request.param) as answered:
        yield answered
