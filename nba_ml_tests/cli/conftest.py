"""Data folders for short runs, and a home in which two months are done."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from nba_ml.settings import SAMPLE_DATA
from nba_ml_tests.cli.command import Home

MONTHS = ("2021-10", "2021-11", "2021-12", "2022-01")


def copy_months(folder: Path, *months: str) -> Path:
    """A data folder with the named months of the shipped box scores, and no lines: those begin years later."""
    (folder / "player_games").mkdir(parents=True)
    for month in months:
        shutil.copy(SAMPLE_DATA / "player_games" / f"{month}.parquet", folder / "player_games")
    return folder


@pytest.fixture(scope="session")
def four_months(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first four months of the shipped data."""
    return copy_months(tmp_path_factory.mktemp("data") / "four", *MONTHS)


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home, with a space in its path, where `run` has published the model of the second of two months.

    Tests read it, or fail on a third month; none changes what is in it.
    """
    folder = tmp_path_factory.mktemp("built")
    home = Home(folder / "a home", copy_months(folder / "two", *MONTHS[:2]))
    ended = home.run("run")
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr == "", "a normal run says nothing on standard error: no warning of a library"
    (folder / "said").write_text(ended.stdout)
    return home
