"""A data folder for short runs, and a home in which its months are done."""

from __future__ import annotations

from pathlib import Path

import pytest

from nba_ml_tests.cli.command import Home
from nba_ml_tests.trained_home import MONTHS, TrainedHomes, copy_home, copy_months


@pytest.fixture(scope="session")
def four_months(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first four months of the shipped data."""
    return copy_months(tmp_path_factory.mktemp("data") / "four", *MONTHS)


@pytest.fixture(scope="session")
def built(trained_homes: TrainedHomes, tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home, with a space in its path, whose four months are done.

    Tests read it, or fail on a month; none changes what is in it.
    """
    return copy_home(trained_homes.published, tmp_path_factory.mktemp("built") / "a home")
