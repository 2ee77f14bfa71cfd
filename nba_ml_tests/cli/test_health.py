"""`nba-ml health` at the terminal: words, exit codes, JSON, and what the targets are told."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from click.testing import CliRunner, Result

from nba_ml.cli.main import main
from nba_ml.defs.build import build_defs
from nba_ml.monitoring.health import HealthFinding, Level
from nba_ml.registry.channel import CHAMPION
from nba_ml.runner.home import open_instance, prepare_home
from nba_ml.settings import Settings
from nba_ml_tests.mail import Hook, webhook


@pytest.fixture
def hook() -> Iterator[Hook]:
    with webhook() as hook:
        yield hook


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """A new home: nothing was ever trained in it."""
    environ = {"NBA_ML_HOME": str(tmp_path / "home"), "NBA_ML_THREADS": "1"}
    prepare_home(Settings.from_environment(environ))
    return environ


def run(environ: dict[str, str], *arguments: str) -> Result:
    return CliRunner().invoke(main, ["health", *arguments], env=environ, catch_exceptions=False)


def test_what_is_red_is_said_with_what_to_do_and_exit_code_1(environ: dict[str, str]) -> None:
    """Guards a cron that mails what it prints, and acts on the exit code."""
    ended = run(environ)
    said = " ".join(ended.output.split())
    assert ended.exit_code == 1
    assert "red champion_not_too_old: There is no champion, so no model serves. Run `nba-ml champion promote`." in said
    assert "red retraining_ran: 2025-06 ended" in said
    assert "warning daemons: Dagster's daemon has never sent a heartbeat" in said


def test_json_for_a_monitor(environ: dict[str, str]) -> None:
    """Guards the form that somebody's monitoring reads."""
    ended = run(environ, "--json")
    told = json.loads(ended.output)
    assert (ended.exit_code, told["healthy"]) == (1, False)
    assert {each["name"]: each["level"] for each in told["findings"]} == {
        "no_month_left_failed": "fine",
        "champion_not_too_old": "red",
        "retraining_ran": "red",
        "slates_made": "fine",
        "daemons": "warning",
        "switches": "fine",
    }


def test_a_home_that_is_not_there_could_not_be_looked_at(tmp_path: Path) -> None:
    """Guards against a mistyped home that is made, and then looks like any new one."""
    ended = run({"NBA_ML_HOME": str(tmp_path / "mistyped")})
    assert ended.exit_code == 2
    assert not (tmp_path / "mistyped").exists()


@pytest.mark.slow
def test_a_failed_month_of_any_system_is_red(environ: dict[str, str]) -> None:
    """Guards against a health command that looks at the first system alone, while the daily check looks at all."""
    environ |= {"NBA_ML_SYSTEMS": "xgboost_v1,xgboost_v2"}
    settings = Settings.from_environment(environ)
    with open_instance(settings) as instance:
        job = build_defs(settings).resolve_job_def("monthly_chain_xgboost_v2")
        split = [dg.AssetKey(["xgboost_v2", "train_split"])]
        ran = job.execute_in_process(
            instance=instance, partition_key="2021-11", asset_selection=split, raise_on_error=False
        )
        assert not ran.success
    said = " ".join(run(environ).output.split())
    assert "red no_month_left_failed: The last attempt at 2021-11 failed." in said
    assert "xgboost_v2/train_split of 2021-11" in said


@pytest.mark.slow
def test_notify_tells_what_is_red_and_says_who_was_told(environ: dict[str, str], hook: Hook) -> None:
    """Guards against a cron that finds something and tells nobody, and one that cannot tell and stays silent."""
    environ |= {"NBA_ML_NOTIFY_WEBHOOK": hook.url}
    assert "webhook: sent" in run(environ, "--notify").output
    [sent] = hook.posts
    # A target turns notify_failures on, and so a daemon that does not run is red and no warning.
    assert sent["title"] == "nba-ml health: champion_not_too_old, retraining_ran, daemons"
    assert "notify_failures are on but do not tick" in sent["said"]
    hook.answer = 500
    told = json.loads(run(environ, "--notify", "--json").output)
    assert "answered 500" in told["notified"]["webhook"]


@pytest.mark.slow
def test_nobody_is_told_that_all_is_well(environ: dict[str, str], hook: Hook, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards against the hourly message that nothing is red, among which nobody sees the one that is."""
    environ |= {"NBA_ML_NOTIFY_WEBHOOK": hook.url}
    monkeypatch.setattr("nba_ml.cli.health._look", lambda _: (HealthFinding("daemons", Level.FINE, "It is alive."),))
    assert run(environ, "--notify").exit_code == 0
    assert hook.posts == []
    told = json.loads(run(environ, "--notify", "--json").output)
    assert told["notified"] == {}


@pytest.mark.slow
def test_a_target_is_tried_with_a_test_message(environ: dict[str, str], hook: Hook) -> None:
    """Guards whoever sets up a target: it must be tried whatever is found, and a test is no bad news."""
    environ |= {"NBA_ML_NOTIFY_WEBHOOK": hook.url}
    assert "webhook: sent" in run(environ, "--test").output
    with_a_wrong_home = run({**environ, "NBA_ML_HOME": "mistyped"}, "--test")
    assert with_a_wrong_home.exit_code == 2
    assert [sent["title"] for sent in hook.posts] == ["nba-ml health: a test message"] * 2
    hook.answer = 500
    told = json.loads(run(environ, "--test", "--json").output)
    assert "answered 500" in told["notified"]["webhook"]


@pytest.mark.slow
def test_what_cannot_be_looked_at_is_told_too(environ: dict[str, str], hook: Hook) -> None:
    """Guards against a damaged pointer that ends the command before anybody is told, hour after hour."""
    pointer = Path(environ["NBA_ML_HOME"]) / "artifacts" / CHAMPION
    pointer.parent.mkdir(parents=True)
    pointer.write_bytes(b"{")
    ended = run({**environ, "NBA_ML_NOTIFY_WEBHOOK": hook.url}, "--notify")
    assert ended.exit_code == 2
    [sent] = hook.posts
    assert sent["title"] == "nba-ml health: health"
    assert "could not be determined" in sent["said"]
    assert "is not a channel of format 1" in sent["said"]


def test_notify_without_a_target_is_a_mistake(environ: dict[str, str]) -> None:
    """Guards against a test message that went nowhere, and exit code 0; even where nothing could be looked at."""
    for home in (environ["NBA_ML_HOME"], "mistyped"):
        for option in ("--notify", "--test"):
            ended = run({**environ, "NBA_ML_HOME": home}, option)
            assert ended.exit_code == 2
            assert "No target is configured" in ended.output


@pytest.mark.slow
def test_the_command_loads_nothing_before_it_is_used() -> None:
    """Guards `nba-ml --help`: the command line must not load Dagster, nor a mail client, to list its commands."""
    code = "import sys, nba_ml.cli.main, nba_ml.cli.health; print(*sys.modules)"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in told.stdout.split()}
    assert not loaded & {"dagster", "requests", "smtplib", "pandas", "pyarrow"}
