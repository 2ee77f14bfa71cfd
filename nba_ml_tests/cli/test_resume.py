"""Killed, interrupted, or asked again: the backfill ends with the same as if nothing had happened, and does no more."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dagster import DagsterRunStatus
from dagster._utils.interrupts import capture_interrupts

from nba_ml.contract.assets import COMMAND_TAG, FEATURE_ASSETS, MONTHLY_ASSETS
from nba_ml.runner.signals import signals_noticed
from nba_ml_tests.cli.command import Home
from nba_ml_tests.processes import heed_signals
from nba_ml_tests.trained_home import MONTHS, TrainedHomes, copy_home, copy_months

pytestmark = pytest.mark.slow

ENDED = {DagsterRunStatus.SUCCESS, DagsterRunStatus.FAILURE}

MODEL = ("xgboost_model", "model_metadata", "gcs_artifact")
"""What a lost booster takes with it: not the grades, which speak of the model of the month before."""

SEED = 7
"""Of the moments at which processes are killed."""


def lines(*done: tuple[str, tuple[str, ...]]) -> list[str]:
    """What the backfill prints for the months it ran."""
    return [f"{month}: {', '.join(assets)}" for month, assets in done]


def resumed(home: Home, *options: str) -> list[str]:
    """Run the backfill with --only-missing to a good end; returns its lines."""
    ended = home.run_here("backfill", "--only-missing", *options)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert all(line.endswith("marked as failed.") for line in ended.stderr.splitlines())
    return told(ended.stdout)


def told(out: str) -> list[str]:
    """The lines about what was run: without warnings and the report's address."""
    return [line for line in out.splitlines() if line[7:].startswith(": ") or "already" in line]


def killed(home: Home, when: Callable[[], bool], seconds: float) -> None:
    """Start the backfill and kill it `seconds` after `when` came true."""
    process = home.start("backfill", "--only-missing")
    try:
        while not when():
            assert process.poll() is None, "it ended before the moment came"
            time.sleep(0.005)
        time.sleep(seconds)
        process.kill()
        _, err = process.communicate(timeout=600)
    finally:
        process.kill()
    assert process.returncode == -signal.SIGKILL, err


@pytest.fixture(scope="module")
def whole(trained_homes: TrainedHomes, tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home in which nothing interrupted the backfill, on one thread: three months, then the fourth."""
    assert told(trained_homes.said_published) == [
        *lines(*((m, MONTHLY_ASSETS) for m in MONTHS[:3])),
        "3 month(s) run, 0 already up to date.",
        *lines((MONTHS[3], MONTHLY_ASSETS)),
        "1 month(s) run, 3 already up to date.",
    ]
    return copy_home(trained_homes.published, tmp_path_factory.mktemp("whole") / "home")


def same(one: Home, other: Home) -> None:
    """Both hold the same: versions by asset and month, published files and stored files byte for byte."""
    assert one.versions() == other.versions()
    for folder in (one.files("artifacts"), other.files("artifacts")), (one.stored(), other.stored()):
        assert sorted(folder[0]) == sorted(folder[1])
        assert [name for name in folder[0] if folder[0][name] != folder[1][name]] == []


def test_runs_of_the_command_say_what_they_made(whole: Home) -> None:
    """Guards the UI's list of runs: those of the terminal stood there without assets, as if they had made nothing."""
    with whole.instance() as instance:
        # The fourth month was run in the tests' own process.
        runs = [run for run in instance.get_runs() if run.tags.get("dagster/partition") in MONTHS[:3]]
    assert {run.tags["dagster/partition"] for run in runs} == set(MONTHS[:3])
    for run in runs:
        assert {key.to_user_string() for key in run.asset_selection or ()} == set(MONTHLY_ASSETS)
        assert run.tags[COMMAND_TAG] == "nba-ml backfill"


# -- killed ------------------------------------------------------------------------------------------


def test_killed_twice_it_ends_with_the_same(tmp_path: Path, four_months: Path, whole: Home) -> None:
    """Guards against half a month taken for a whole one, and against a model that depends on threads or kills."""
    chance = random.Random(SEED)
    home = Home(tmp_path / "home", four_months, threads=2)
    for month in ("2021-11", "2021-12"):  # the moment: a while after the month's first file
        seconds = chance.uniform(0.0, 1.0)
        print(f"seed {SEED}: SIGKILL {seconds:.3f} s into {month}")
        killed(home, (home.root / f"store/player_game_summary/{month}.parquet").exists, seconds)
    # Two months were done before the second kill, or three where it came late: a busy machine is no failure.
    assert re.fullmatch("2 month.s. run, 2 already up to date.|1 month.s. run, 3 already .*", resumed(home)[-1])
    assert len(whole.versions()) == len(MONTHLY_ASSETS) * len(MONTHS)
    same(home, whole)
    assert set(home.runs()) == ENDED


def test_killed_before_its_checks_a_month_is_checked_again(tmp_path: Path, four_months: Path) -> None:
    """Guards against a materialisation without a verdict, taken for done: the publisher would refuse its model."""
    home = Home(tmp_path / "home", four_months)
    code = (
        "import os, signal\n"
        "from dataclasses import replace\n"
        "from nba_ml.checks import feature_store_snapshot as checked\n"
        "def die(value, scene): os.kill(os.getpid(), signal.SIGKILL)\n"
        "checks = checked.checks\n"
        "checked.checks = lambda limits: tuple(replace(check, examine=die) for check in checks(limits))\n"
        "from nba_ml.cli.main import main\n"
        "main(['backfill', '--to', '2021-10'])\n"
    )
    died = subprocess.run([sys.executable, "-c", code], env=home.environment(), cwd=tmp_path, capture_output=True)
    assert died.returncode == -signal.SIGKILL
    assert ("feature_store_snapshot", "2021-10") in home.versions()
    assert home.runs() == [DagsterRunStatus.STARTED]
    out = home.run("backfill", "--only-missing", "--to", "2021-10").stdout
    assert "2021-10 checked: feature_store_snapshot.contract, " in out
    assert told(out)[0] == lines(("2021-10", MONTHLY_ASSETS[3:]))[0], "the snapshot is not made again"
    assert set(home.runs()) == ENDED
    assert resumed(home, "--to", "2021-10") == ["0 month(s) run, 1 already up to date."]


# -- interrupted -------------------------------------------------------------------------------------


def interrupted(home: Home, code: str, *arguments: str) -> None:
    """Run the code, which arranges for a Ctrl-C, and then the command; it says that it was interrupted, and no more."""
    ended = subprocess.run(
        [sys.executable, "-c", f"{code}from nba_ml.cli.main import main\nmain({list(arguments)})\n"],
        env=home.environment(),
        cwd=home.root.parent,
        capture_output=True,
        text=True,
        preexec_fn=heed_signals,
    )
    assert ended.returncode == 130, ended.stderr
    assert ended.stderr.startswith("Interrupted. What was finished is kept")
    assert len(ended.stderr.splitlines()) == 1


def test_interrupted_inside_a_run(tmp_path: Path, four_months: Path) -> None:
    """Guards against Ctrl-C reported as a failed month (Dagster makes a failed step of it), and a run left open."""
    home = Home(tmp_path / "home", four_months)
    code = (
        "import os, signal\n"
        "from nba_ml.defs.assets import feature_store_snapshot as asset\n"
        "take = asset.take_snapshot\n"
        "def interrupted(*rows):\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    return take(*rows)\n"
        "asset.take_snapshot = interrupted\n"
    )
    some = ("--assets", ",".join(FEATURE_ASSETS))
    interrupted(home, code, "backfill", "--only-missing", *some)
    assert set(home.runs()) <= ENDED
    made = [home.root / f"store/{asset}/2021-10.parquet" for asset in FEATURE_ASSETS[:2]]
    kept = [file.stat().st_mtime_ns for file in made]
    assert resumed(home, "--to", "2021-10", *some)[-1].startswith("1 month(s) run")
    assert [file.stat().st_mtime_ns for file in made] == kept, "what was finished is not made again"


@pytest.mark.parametrize("module", ["nba_ml.runner.backfill", "dagster", "pandas"])
def test_interrupted_before_the_first_run(tmp_path: Path, four_months: Path, module: str) -> None:
    """Guards against a traceback out of an import, where Ctrl-C comes at once."""
    home = Home(tmp_path / "home", four_months)
    code = (
        "import os, signal, sys\n"
        "class AtImport:\n"
        "    def find_spec(self, name, *_):\n"
        f"        if name == '{module}':\n"
        "            os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, AtImport())\n"
    )
    interrupted(home, code, "backfill")
    assert home.files("store") == {}


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_that_dagster_keeps_is_noticed(how: signal.Signals) -> None:
    """Guards against Ctrl-C between two steps or after the last one, which Dagster forgets."""
    with signals_noticed() as interrupted:
        assert not interrupted()
        with capture_interrupts():
            os.kill(os.getpid(), how)
        assert interrupted()
        assert interrupted(), "it stays known"
    with signals_noticed() as interrupted:
        assert not interrupted(), "but not beyond the run"


# -- asked again -------------------------------------------------------------------------------------


def test_only_what_was_deleted_is_made_again(whole: Home) -> None:
    """Guards against a month reported as up to date of which a file, a booster or a published object is gone."""
    assert resumed(whole) == ["0 month(s) run, 4 already up to date."]
    versions, files, artifacts = whole.versions(), whole.stored(), whole.files("artifacts")
    boosters = whole.root / "store/boosters"
    (whole.root / "store/feature_store_snapshot/2021-10.parquet").unlink()
    (boosters / f"{versions['xgboost_model', '2021-11']}.json").unlink()
    (boosters / f"{versions['xgboost_model', '2021-12']}.json").write_bytes(b"{}")
    (manifest,) = (whole.root / "artifacts").rglob("*_202201_*_manifest.json")
    manifest.unlink()
    assert resumed(whole) == [
        *lines(
            ("2021-10", MONTHLY_ASSETS[2:]),
            ("2021-11", MODEL),
            ("2021-12", MODEL),
            ("2022-01", MODEL[2:]),
        ),
        "4 month(s) run, 0 already up to date.",
    ]
    assert (whole.versions(), whole.stored(), whole.files("artifacts")) == (versions, files, artifacts)


def test_a_changed_file_is_run_again_with_what_depends_on_it(tmp_path: Path) -> None:
    """Guards against yesterday's features over corrected box scores, and against redoing what came before them."""
    data = copy_months(tmp_path / "data", *MONTHS[:3])
    home = Home(tmp_path / "home", data)
    some = (*FEATURE_ASSETS, "train_split")
    assert resumed(home, "--assets", ",".join(some))[-1] == "3 month(s) run, 0 already up to date."
    before = home.versions()
    file = data / "player_games/2021-11.parquet"
    table = pq.read_table(file)
    made, points = table.column("ftm").to_pylist(), table.column("pts").to_pylist()
    row = next(i for i, taken in enumerate(table.column("fta").to_pylist()) if taken > made[i])
    for name, values in (("ftm", made), ("pts", points)):  # one more free throw of those taken went in
        values[row] += 1
        place = table.schema.get_field_index(name)
        table = table.set_column(place, name, pa.array(values, table.schema.field(name).type))
    pq.write_table(table, file)
    assert resumed(home, "--assets", ",".join(some)) == [
        *lines(("2021-11", some), ("2021-12", some[1:])),
        "2 month(s) run, 1 already up to date.",
    ]
    after = home.versions()
    changed = {key for key in after if after[key] != before[key]}
    assert {month for _, month in changed} == {"2021-11", "2021-12"}
    assert ("player_game_summary", "2021-11") in changed
    assert ("feature_store_snapshot", "2021-12") in changed
