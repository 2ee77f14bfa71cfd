"""`nba-ml champion` and `nba-ml rollout` at the terminal, on real published models."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from datetime import date
from pathlib import Path

import dagster as dg
import pytest
from click.testing import CliRunner, Result

from nba_ml.cli.main import main
from nba_ml.registry.channel import CHAMPION, history_name, read_channel
from nba_ml.registry.manifest import BundleNames
from nba_ml.registry.systems.interface import TrainingExtent
from nba_ml.runner.home import open_instance, prepare_home
from nba_ml.settings import Settings
from nba_ml.storage.directory import DirectoryStore
from nba_ml_tests.limits import written
from nba_ml_tests.registry.stoppable import Outage
from nba_ml_tests.release_scene import LIMITS, SLOW_LEARNER, bench_of, published_model, registered_file

WHY = ("--reason", "a reason of a sentence")
WAIVED = ("--waive", "comparison")


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


@pytest.mark.slow
def test_promote_show_roll_back_and_history(terminal: Terminal) -> None:
    """Guards the words and exit codes that a person, and a script, go by."""
    first, second, third = terminal.ids
    assert "There is no champion yet" in terminal.says(1, "champion", "show")
    assert f"{first} becomes the champion" in terminal.says(0, "champion", "promote", first)
    assert f"{third} becomes the champion" in terminal.says(0, "champion", "promote")
    assert f"{third} is already the champion" in terminal.says(0, "champion", "promote")
    shown = terminal.says(0, "champion", "show")
    assert f"champion {third}" in shown
    assert f"before it {first}" in shown
    refused = terminal.says(1, "champion", "promote", second)
    assert "it was trained on games up to 2021-12-31, the champion up to 2022-01-31" in refused
    assert f"{first} serves now (serial 3)" in terminal.says(0, "champion", "rollback", *WHY)
    assert "it was rolled back, or its rollout was stopped" in terminal.says(1, "champion", "promote")
    history = terminal.says(0, "champion", "history")
    assert history.index(f"promote: {first}") < history.index(f"promote: {third}") < history.index("rollback:")
    assert f"rollback: {first} a reason of a sentence" in history


def test_a_rollout_at_the_terminal(terminal: Terminal) -> None:
    """Guards the documented path: start, look, advance to the end, and stop."""
    first, second, _ = terminal.ids
    terminal.says(0, "champion", "promote", first)
    start = ("rollout", "start", second, *WHY, "--share", "10", *WAIVED, "--graded-from", "2022-01-01")
    assert f"challenger {second} at 10%" in terminal.says(0, *start)
    assert "wait: 1,000 rows on 5 dates are needed" in terminal.says(1, "rollout", "advance", "--until", "2022-01-02")
    shown = terminal.says(0, "rollout", "status", "--until", "2022-01-10")
    assert "bias" in shown
    assert "2022-01-01 to 2022-01-10" in shown
    assert "at 50%" in terminal.says(0, "rollout", "advance", "--until", "2022-01-10")
    assert "at 100%" in terminal.says(0, "rollout", "advance", "--until", "2022-01-19")
    assert "at 0%, in shadow" in terminal.says(0, "rollout", "stop", *WHY)
    assert "challenger none" in terminal.says(0, "rollout", "stop", *WHY, "--forget")
    assert "(the mock, no model) at 10%" in terminal.says(0, "rollout", "start", "mock", *WHY, "--share", "10")


def test_a_bad_challenger_is_stopped_with_exit_code_1(terminal: Terminal) -> None:
    """Guards a scheduled `rollout advance`: a challenger that was taken back must not look like a success."""
    terminal.says(0, "champion", "promote", terminal.ids[0])
    bad = published_model(terminal.objects, "2021-12", SLOW_LEARNER)
    terminal.says(0, "rollout", "start", bad, *WHY, "--share", "10", *WAIVED, "--graded-from", "2022-01-01")
    assert "stop: worse than the champion" in terminal.says(1, "rollout", "advance")


def test_a_pointer_that_is_gone_or_old_is_said_and_healed(terminal: Terminal) -> None:
    """Guards against exit code 0 beside a pointer that holds an old state, and 'no champion yet' beside a history."""
    first, _, third = terminal.ids
    assert "There is no champion yet" in terminal.says(0, "champion", "history")
    terminal.says(0, "champion", "promote", first)
    terminal.says(0, "champion", "promote")
    terminal.says(0, "rollout", "start", "mock", *WHY, "--share", "10")
    terminal.says(0, "rollout", "stop", *WHY, "--forget")
    pointer = terminal.objects.root / CHAMPION
    pointer.unlink()
    for command in (("champion", "show"), ("rollout", "status")):
        assert "is missing, but its history goes up to serial 4" in terminal.says(2, *command)
    healed = terminal.says(0, "champion", "promote")
    assert "was first advanced to the newest state: serial 4" in healed
    assert f"{third} is already the champion" in healed
    assert "serial 4" in terminal.says(0, "champion", "show")

    pointer.write_bytes((terminal.objects.root / history_name(3)).read_bytes())  # the mock at 10%
    assert "The history is ahead of this: it ends with serial 4" in terminal.says(1, "champion", "show")
    assert "The history is ahead of this: it ends with serial 4" in terminal.says(0, "rollout", "status")
    stopped = terminal.says(2, "rollout", "stop", *WHY)
    assert "Another command has moved the channel" in stopped
    assert "was first advanced to the newest state: serial 4" in stopped
    pointer.write_bytes((terminal.objects.root / history_name(1)).read_bytes())
    promoted = terminal.says(0, "champion", "promote")
    assert "was first advanced to the newest state: serial 4" in promoted
    assert f"champion {third}" in terminal.says(0, "rollout", "start", "mock", *WHY, "--share", "10")
    assert terminal.says(0, "champion", "history", "--newest", "1").startswith("5 ")


def command_in(said: str) -> list[str]:
    """The command that a failed one says to run, without `nba-ml`."""
    return shlex.split(said.partition("at most once: nba-ml ")[2])


def test_a_move_whose_answer_was_lost_says_what_to_run_and_that_runs_once(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards whoever runs it again: the rollback had landed, and a second one would serve a third model."""
    first, second, third = terminal.ids
    for identity in (first, second, third):
        terminal.says(0, "champion", "promote", identity)
    outage = Outage(terminal.objects, 1)
    monkeypatch.setattr("nba_ml.registry.signed_store.open_objects", lambda _: outage.store)
    said = terminal.says(2, "champion", "rollback", *WHY)
    assert "recorded in the history as serial 4, and the next command that moves the channel applies it" in said
    assert "it is not known whether the pointer holds it" in said
    again = command_in(said)
    assert again == ["champion", "rollback", *WHY, "--from-serial", "3"]
    outage.over()
    for _ in range(2):
        answer = terminal.says(0, *again)
        assert "Already done: serial 4 is the rollback of" in answer
        assert f"{second} serves (serial 4)" in answer
    refused = terminal.says(2, "champion", "rollback", *WHY)
    assert f"{second} has served since the rollback of serial 4" in refused
    assert f"--to {first}" in refused
    assert f"{first} serves now (serial 5)" in terminal.says(0, "champion", "rollback", *WHY, "--to", first)
    answer = terminal.says(0, *again)
    assert "Already done: serial 4" in answer
    assert "has moved since: serial 5" in answer
    assert f"{first} serves (serial 5)" in answer


def test_a_promotion_whose_answer_was_lost_names_the_model_to_run_it_again_with(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards against a second run that promotes whatever is the latest by then."""
    third = terminal.ids[2]
    outage = Outage(terminal.objects, 1)
    monkeypatch.setattr("nba_ml.registry.signed_store.open_objects", lambda _: outage.store)
    again = command_in(terminal.says(2, "champion", "promote"))
    assert again == ["champion", "promote", third, "--from-serial", "0"]
    outage.over()
    assert "Already done: serial 1 is the promote of" in terminal.says(0, *again)
    refused = terminal.says(2, "champion", "promote", terminal.ids[0], "--from-serial", "0")
    assert f"Another command has moved the channel: {third} serves now" in refused
    assert "There is no serial 7 to start from" in terminal.says(2, "champion", "promote", "--from-serial", "7")


@pytest.mark.parametrize("newest", ["0", "-2"])
def test_a_history_of_no_states_cannot_be_asked_for(terminal: Terminal, newest: str) -> None:
    """Guards against all states for none, and all but the oldest two for -2."""
    assert "is not in the range x>=1" in terminal.says(2, "champion", "history", "--newest", newest)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["2024-12-31", "--fitted-until", "2025-01-31"], "--fitted-until 2025-01-31 is later than --given-until"),
        (["2999-01-31"], "--given-until 2999-01-31 is in the future"),
    ],
)
def test_dates_that_no_training_can_have_are_one_paragraph(
    terminal: Terminal, tmp_path: Path, arguments: list[str], said: str
) -> None:
    """Guards against a validation error of ours with a link, and a model that is graded on nothing until 2999."""
    file = tmp_path / "model.cbm"
    file.write_bytes(b"CBM1 and never looked at")
    answer = terminal.says(2, "rollout", "register", str(file), "--target", "points", "--given-until", *arguments)
    assert said in answer
    assert "pydantic" not in answer
    assert "Unexpected" not in answer
    assert terminal.objects.names("catboost_v8/") == []


def test_a_catboost_is_not_rolled_out_without_a_word_about_the_extra(terminal: Terminal) -> None:
    """Guards the workers that would refuse it: whoever starts the rollout hears of the extra before they do.

    Starting looks at digests and loads nothing, so neither CatBoost nor a file that it would load is needed here.
    """
    identity = registered_file(terminal.objects, TrainingExtent(date(2021, 11, 30), date(2021, 11, 30)))
    terminal.says(0, "champion", "promote", terminal.ids[0])
    started = terminal.says(0, "rollout", "start", identity, *WHY)
    assert f"challenger {identity} at 0%, in shadow" in started
    assert "workers without the extra 'nba_ml[catboost]' refuse it" in started
    terminal.says(0, "rollout", "stop", *WHY)
    assert "nba_ml[catboost]" not in terminal.says(0, "rollout", "start", "mock", *WHY, "--share", "10")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["champion", "rollback"], "Give a --reason"),
        (["champion", "rollback", *WHY], "There is no champion yet"),
        (["champion", "promote", "nonsense"], "is not a valid model id"),
        # An empty variable of a script is not the default: that would promote another model, or without a condition.
        (["champion", "promote", ""], "'' is not a valid model id"),
        (["champion", "promote", "--beat", ""], "Nothing is kept of what"),
        (["champion", "promote", "--waive", "verdict", *WHY], "cannot be waived"),
        (["rollout", "start", "mock", "--reason", "x"], "is shorter than 10 characters"),
        (["rollout", "status"], "There is no champion yet"),
        (["rollout", "advance", "--until", "yesterday"], "is not a date"),
        (["rollout", "compare", "mock", "moving_average", "--month", "2025-13"], "'2025-13' is not a valid month"),
        (["rollout", "status", "--until", "2025-W03-1"], "'2025-W03-1' is 2025-01-13: give it as YYYY-MM-DD"),
        (["rollout", "start", "mock", *WHY, "--graded-from", "20250115"], "give it as YYYY-MM-DD"),
    ],
)
def test_what_cannot_be_done_is_one_readable_paragraph(terminal: Terminal, arguments: list[str], said: str) -> None:
    """Guards against a traceback, and against exit code 0 or 1 for what was never tried."""
    answer = terminal.says(2, *arguments)
    assert said in answer
    assert "Traceback" not in answer
    assert read_channel(terminal.objects) is None


@pytest.mark.slow
def test_a_rollback_loads_nothing_that_it_does_not_need() -> None:
    """Guards the second that a rollback may take: a graph takes three to load, tables and models half of one."""
    modules = "nba_ml.cli.main, nba_ml.cli.champion, nba_ml.storage.opening, nba_ml.registry.rollback"
    code = f"import sys, {modules}; print(*sys.modules)"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in told.stdout.split()}
    assert "pydantic" in loaded
    assert not loaded & {"dagster", "google", "pandas", "pyarrow", "xgboost", "duckdb"}


@pytest.mark.slow
def test_moves_are_in_the_uis_history(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards against a champion that changed at the terminal, and a page in the UI that says nothing of it."""
    first, second, _ = terminal.ids
    settings = Settings.from_environment(terminal.environment)
    terminal.says(0, "champion", "promote", first)
    assert not settings.dagster_home.exists(), "a worker's folder without Dagster stays one"
    prepare_home(settings)
    terminal.says(0, "champion", "promote")
    terminal.says(0, "champion", "promote")  # already the champion: nothing moved
    terminal.says(0, "champion", "rollback", *WHY)
    terminal.says(0, "rollout", "start", second, *WHY)
    terminal.says(0, "rollout", "stop", *WHY)
    found: dict[str, list[tuple[str, int]]] = {}
    with open_instance(settings) as instance:
        for asset in ("champion", "rollout"):
            records = instance.fetch_materializations(dg.AssetKey(asset), limit=10, ascending=True).records
            events = [record.asset_materialization for record in records]
            found[asset] = [
                (str(e.metadata["moved_by"].value), int(str(e.metadata["serial"].value))) for e in events if e
            ]
            last = events[-1]
            assert last is not None
            assert last.metadata["reason"].value == WHY[1]
            assert last.metadata["champion"].value == first
    assert found == {
        "champion": [("promote", 2), ("rollback", 3)],
        "rollout": [("rollout_start", 4), ("rollout_stop", 5)],
    }
    # An instance that cannot be opened changes nothing about the move.
    (settings.dagster_home / "dagster.yaml").write_text("storage: nonsense\n")
    assert "The move is done, but Dagster's instance" in terminal.says(0, "champion", "promote", second, *WHY)
    with monkeypatch.context() as patch:  # nor does a machine that is short of processes
        patch.setattr(sys, "executable", "/no/such/python")
        said = terminal.says(0, "champion", "rollback", *WHY)
    assert "The move is done, but Dagster's instance" in said
    assert "no process could be started (No such file or directory)." in said


def test_models_are_listed_shown_and_compared(terminal: Terminal) -> None:
    """Guards the one place that says what is there, and that a damaged model is named and hides no other."""
    first, second, third = terminal.ids
    terminal.says(0, "champion", "promote", first)
    listed = json.loads(terminal.run("models", "list", "--json").output)
    assert [row["model_id"] for row in listed] == sorted(terminal.ids)
    assert [row["serves"] for row in listed] == ["champion", "", ""]
    assert listed[1]["given_until"] == "2021-12-31"
    assert 3 < listed[1]["mae"] < 7
    assert f"{first} " in terminal.says(0, "models", "list")
    shown = terminal.says(0, "models", "show", second)
    assert f"metrics.validation.mae: {listed[1]['mae']}" in shown
    assert json.loads(terminal.run("models", "show", second, "--json").output)["model_id"] == second
    differing = json.loads(terminal.run("models", "diff", second, third, "--json").output)
    assert differing["newest_month"] == {"first": "2021-12", "second": "2022-01"}
    assert "system_id" not in differing
    assert json.loads(terminal.run("models", "diff", second, second, "--json").output) == {}
    assert "2021-12" in terminal.says(0, "models", "diff", second, third)
    (terminal.objects.root / BundleNames.of(third).record).write_bytes(b"{}")
    listed = json.loads(terminal.run("models", "list", "--json").output)
    assert [bool(row["damaged"]) for row in listed] == [False, False, True]
    assert "cannot be trusted" in terminal.says(2, "models", "show", third)
    # What a damaged object holds is shown as it is: it is not markup of the table, which it could break.
    (terminal.objects.root / BundleNames.of(third).manifest).write_bytes(b'{"format_version": "[/red]"}')
    assert "[/red]" in "".join(terminal.says(0, "models", "list").split())


def test_states_as_json(terminal: Terminal) -> None:
    """Guards a script that reads who serves: whole numbers and dates, not lines for people."""
    assert json.loads(terminal.run("champion", "show", "--json").output) is None
    terminal.says(0, "champion", "promote", terminal.ids[0])
    terminal.says(0, "rollout", "start", terminal.ids[1], *WHY, "--graded-from", "2022-01-01")
    state = json.loads(terminal.run("champion", "show", "--json").output)
    assert (state["serial"], state["champion"]["model_id"]) == (2, terminal.ids[0])
    assert [each["kind"] for each in json.loads(terminal.run("champion", "history", "--json").output)] == [
        "promote",
        "rollout_start",
    ]
    status = json.loads(terminal.run("rollout", "status", "--until", "2022-01-10", "--json").output)
    assert status["channel"] == state
    assert status["evidence"]["rows"] > 0
    assert status["step"]["action"] in {"advance", "wait", "stop"}


def test_verify_names_the_file_that_is_meant(terminal: Terminal) -> None:
    """Guards a person who gives the folder or the booster, and gets an error about its content."""
    names = BundleNames.of(terminal.ids[0])
    root = terminal.objects.root
    assert f"is a folder. Give the manifest of one model (..._manifest.json). The newest in it is {root}" in (
        terminal.says(2, "verify", str(root))
    )
    for wrong in (names.booster, names.record):
        said = terminal.says(2, "verify", str(root / wrong))
        assert f"is not a manifest (..._manifest.json). Its bundle's manifest is {root / names.manifest}." in said
