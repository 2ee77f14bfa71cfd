"""`nba-ml champion` and `nba-ml rollout` at the terminal, on real published models."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from nba_ml.cli import main
from nba_ml.core.channel import read_channel
from nba_ml.resources.directory_store import DirectoryStore
from nba_ml_tests.limits import written
from nba_ml_tests.release_scene import LIMITS, SLOW_LEARNER, bench_of, published_model

WHY = ("--reason", "a reason of a sentence")


class Terminal:
    """The commands on a home with four months and the models of three."""

    def __init__(self, home: Path) -> None:
        self.objects = DirectoryStore(home / "artifacts")
        bench_of(self.objects, DirectoryStore(home / "store"))
        self.ids = [published_model(self.objects, month) for month in ("2021-11", "2021-12", "2022-01")]
        self.environment = {"NBA_ML_HOME": str(home), "NBA_ML_THREADS": "1", "NBA_ML_THRESHOLDS": str(written(LIMITS))}

    def run(self, *arguments: str) -> Result:
        return CliRunner().invoke(main, arguments, env=self.environment, catch_exceptions=False)

    def says(self, code: int, *arguments: str) -> str:
        ended = self.run(*arguments)
        assert ended.exit_code == code, ended.output
        return " ".join(ended.output.split())


@pytest.fixture
def terminal(tmp_path: Path) -> Terminal:
    return Terminal(tmp_path)


def test_promote_show_roll_back_and_history(terminal: Terminal) -> None:
    """Guards the words and exit codes that a person, and a script, go by."""
    first, second, third = terminal.ids
    assert "There is no champion yet" in terminal.says(1, "champion", "show")
    assert f"{first} becomes the champion" in terminal.says(0, "champion", "promote", first)
    assert f"{third} becomes the champion" in terminal.says(0, "champion", "promote")
    assert f"{third} is the champion already" in terminal.says(0, "champion", "promote")
    shown = terminal.says(0, "champion", "show")
    assert f"champion {third}" in shown
    assert f"before it {first}" in shown
    refused = terminal.says(1, "champion", "promote", second)
    assert "its newest month is 2021-12, the champion's 2022-01" in refused
    assert f"{first} serves now (serial 3)" in terminal.says(0, "champion", "rollback", *WHY)
    assert "it was rolled back from before" in terminal.says(1, "champion", "promote")
    history = terminal.says(0, "champion", "history")
    assert history.index(f"promote: {first}") < history.index(f"promote: {third}") < history.index("rollback:")
    assert f"rollback: {first} a reason of a sentence" in history


def test_a_rollout_at_the_terminal(terminal: Terminal) -> None:
    """Guards the documented path: start, look, advance to the end, and stop."""
    first, second, _ = terminal.ids
    terminal.says(0, "champion", "promote", first)
    start = ("rollout", "start", second, *WHY, "--graded-from", "2022-01-01")
    assert f"challenger {second} at 10%" in terminal.says(0, *start)
    assert "wait: 1,000 rows on 5 dates are needed" in terminal.says(1, "rollout", "advance", "--until", "2022-01-02")
    shown = terminal.says(0, "rollout", "status", "--until", "2022-01-10")
    assert "bias" in shown
    assert "2022-01-01 to 2022-01-10" in shown
    assert "at 50%" in terminal.says(0, "rollout", "advance", "--until", "2022-01-10")
    assert "at 100%" in terminal.says(0, "rollout", "advance", "--until", "2022-01-19")
    assert "at 0%, in shadow" in terminal.says(0, "rollout", "stop", *WHY)
    assert "challenger none" in terminal.says(0, "rollout", "stop", *WHY, "--forget")
    assert "(the mock, no model) at 10%" in terminal.says(0, "rollout", "start", "mock", *WHY)


def test_a_bad_challenger_is_stopped_with_exit_code_1(terminal: Terminal) -> None:
    """Guards a scheduled `rollout advance`: a challenger that was taken back must not look like a success."""
    terminal.says(0, "champion", "promote", terminal.ids[0])
    bad = published_model(terminal.objects, "2021-12", SLOW_LEARNER)
    terminal.says(0, "rollout", "start", bad, *WHY, "--graded-from", "2022-01-01")
    assert "stop: worse than the champion" in terminal.says(1, "rollout", "advance")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["champion", "rollback"], "Give a --reason"),
        (["champion", "rollback", *WHY], "There is no champion yet"),
        (["champion", "promote", "nonsense"], "is no model id"),
        (["champion", "promote", "--waive", "verdict", *WHY], "cannot be waived"),
        (["rollout", "start", "mock", "--reason", "x"], "is no reason"),
        (["rollout", "status"], "There is no champion yet"),
        (["rollout", "advance", "--until", "yesterday"], "is no date"),
    ],
)
def test_what_cannot_be_done_is_one_readable_paragraph(terminal: Terminal, arguments: list[str], said: str) -> None:
    """Guards against a traceback, and against exit code 0 or 1 for what was never tried."""
    answer = terminal.says(2, *arguments)
    assert said in answer
    assert "Traceback" not in answer
    assert read_channel(terminal.objects) is None


def test_a_rollback_loads_nothing_that_it_does_not_need() -> None:
    """Guards the second that a rollback may take: a graph takes three to load, tables and models half of one."""
    code = (
        "import sys, nba_ml.cli, nba_ml.commands.release, nba_ml.objects, nba_ml.release.rollback; print(*sys.modules)"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in told.stdout.split()}
    assert "pydantic" in loaded
    assert not loaded & {"dagster", "google", "pandas", "pyarrow", "xgboost", "duckdb"}
