"""Homes of the command line whose months are trained once in a run of the tests, whichever worker needs them first.

Tests work on copies: no two processes may have the same home open.
"""

from __future__ import annotations

import fcntl
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import dagster as dg

from nba_ml.settings import SAMPLE_DATA
from nba_ml_tests.cli.command import Home

MONTHS = ("2021-10", "2021-11", "2021-12", "2022-01")
REFUSED_MONTHS = MONTHS[:3]
"""The months of the home under the shipped limits. The first has no model; the averages beat those of the others."""


def copy_months(folder: Path, *months: str) -> Path:
    """A data folder with the named months of the shipped box scores, and no lines: those begin years later."""
    (folder / "player_games").mkdir(parents=True)
    for month in months:
        shutil.copy(SAMPLE_DATA / "player_games" / f"{month}.parquet", folder / "player_games")
    return folder


def copy_home(home: Home, root: Path) -> Home:
    """The home at another place: the addresses of what it published are changed with it."""
    shutil.copytree(home.root, root)
    before, after = home.root.as_uri().encode(), root.as_uri().encode()
    for record in (root / "store/gcs_artifact").glob("*.json"):
        record.write_bytes(record.read_bytes().replace(before, after))
    return replace(home, root=root)


@dataclass(frozen=True)
class TrainedHomes:
    """`published`: all four months, under limits that let them publish. `refused`: three, under the shipped limits.

    Read only. `said_published` and `said_refused` are what the commands printed.
    """

    folder: Path

    @property
    def published(self) -> Home:
        # With a space, which a published address must quote.
        return Home(self.folder / "a home", self.folder / "four")

    @property
    def refused(self) -> Home:
        return Home(self.folder / "refused", self.folder / "three", limits=None)

    @property
    def said_published(self) -> str:
        return (self.folder / "published.txt").read_text()

    @property
    def said_refused(self) -> str:
        return (self.folder / "refused.txt").read_text()

    def make(self) -> None:
        """Train and publish the months; then judge the first three by the shipped limits, without training again."""
        home = replace(self.published, data=copy_months(self.folder / "three", *REFUSED_MONTHS))
        # A process of its own: what a library prints when it is first loaded would stand on its standard error.
        first = home.run("backfill")
        assert (first.returncode, first.stderr) == (0, ""), first.stdout + first.stderr
        refused = replace(copy_home(home, self.refused.root), limits=None)

        copy_months(self.folder / "four", *MONTHS)
        second = self.published.run_here("backfill", "--only-missing")
        assert (second.returncode, second.stderr) == (0, ""), second.stdout + second.stderr
        (self.folder / "published.txt").write_text(first.stdout + second.stdout)

        _unpublish(refused)
        judged = refused.run_here("backfill", "--only-missing")
        assert judged.returncode == 1, judged.stdout + judged.stderr
        (self.folder / "refused.txt").write_text(judged.stdout)


def _unpublish(home: Home) -> None:
    """As if its publisher had never run."""
    with home.instance() as instance:
        instance.wipe_assets([dg.AssetKey("gcs_artifact")])
    shutil.rmtree(home.root / "store/gcs_artifact")
    shutil.rmtree(home.root / "artifacts")


def made_once(run_folder: Path) -> TrainedHomes:
    """The homes in the folder that all workers of a run share. The first to ask makes them, and the others wait."""
    homes = TrainedHomes(run_folder / "trained")
    with (run_folder / "trained.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (homes.folder / "refused.txt").exists():  # written last
            shutil.rmtree(homes.folder, ignore_errors=True)
            homes.folder.mkdir()
            homes.make()
    return homes
