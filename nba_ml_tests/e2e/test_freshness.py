"""Schedules and sensors in Dagster's web UI, ticking, and a failure that reaches a webhook and a mailbox.

Everything goes through the daemon: nothing is called by the tests but the buttons and the UI's own API.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.scheduler.instigation import ScheduleInstigatorData
from playwright.sync_api import Browser, Page, expect

from nba_ml_tests.e2e.servers import BIN, Dagit, environment, opened, serving
from nba_ml_tests.mail import Hook, Mailbox, mail_server, wait_for, webhook

TICKS_WITHIN = 600
"""Seconds until what was asked for is told: the daemon looks at schedules every minute, at its queue every five
seconds, at runs that ended every half minute, and starts a process for each run."""

TURNED_ON = {"daily_health": 2, "monthly_training": 130}
"""Schedule -> days that hold a tick of it for certain: also two days that have 47 hours, and those from 2 July to
2 November. Of several ticks that were missed the daemon evaluates the last."""

SCHEDULES = ("monthly_training", "weekly_training", "daily_release", "daily_health")


@pytest.fixture(scope="module")
def hook() -> Iterator[Hook]:
    with webhook() as hook:
        yield hook


@pytest.fixture(scope="module")
def box() -> Iterator[Mailbox]:
    with mail_server() as box:
        yield box


@pytest.fixture(scope="module")
def watched(
    chromium: str,  # noqa: ARG001 (no browser: skip before the work)
    hook: Hook,
    box: Mailbox,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Dagit]:
    """The web UI on a home of the first month, with both targets configured."""
    home = tmp_path_factory.mktemp("watched")
    settings = {
        "NBA_ML_NOTIFY_WEBHOOK": hook.url,
        "NBA_ML_NOTIFY_EMAIL": "lead@example.org",
        "NBA_ML_SMTP_HOST": "127.0.0.1",
        "NBA_ML_SMTP_PORT": str(box.port),
        "NBA_ML_SMTP_SECURITY": "none",
    }
    with serving(home, tmp_path_factory.mktemp("ui") / "servers.log", settings) as dagit:
        yield dagit


@pytest.fixture
def open_page(browser: Browser, watched: Dagit) -> Iterator[Callable[[str], Page]]:
    pages = []

    def open_page(path: str) -> Page:
        pages.append(opened(browser, watched.url + path, 1600, 1000))
        return pages[-1]

    yield open_page
    for page in pages:
        page.context.close()


def test_the_automation_page_shows_what_there_is_to_turn_on(open_page: Callable[[str], Page], tmp_path: Path) -> None:
    """A schedule or the sensor is missing, or one is on that nobody turned on."""
    page = open_page("/automation")
    for name in (*SCHEDULES, "notify_failures"):
        expect(page.get_by_text(name, exact=True).first).to_be_visible()
    expect(page.get_by_role("checkbox", checked=True)).to_have_count(1)  # the sensor: its targets are configured
    page.screenshot(path=tmp_path / "automation.png")


@pytest.fixture(scope="module")
def failing_run(browser: Browser, watched: Dagit) -> str:
    """Two schedules turned on, and a run that will fail; its id. All asked for at once: the daemon takes its time.

    The daemon stands still between the press of a switch and the setting back. A schedule that it has seen on keeps
    in the daemon's memory the time from which it catches up, and setting it back has no effect any more.
    """
    with watched.daemon_held():
        for schedule, days in TURNED_ON.items():
            page = opened(browser, f"{watched.url}/locations/{watched.location}/schedules/{schedule}", 1600, 1000)
            _turn_on(page)
            page.context.close()
            _set_back(watched, schedule, days)
    # What ended before the sensor's first look is not told.
    assert wait_for(lambda: _ticks(watched, "notify_failures"), TICKS_WITHIN), watched.log.read_text()[-3000:]
    return _launch(watched, "monthly_model", "2021-11")


def test_a_failing_run_reaches_the_webhook_and_the_mailbox(
    open_page: Callable[[str], Page], watched: Dagit, failing_run: str, hook: Hook, box: Mailbox, tmp_path: Path
) -> None:
    """A failure in the night that nobody hears of: here a split without a snapshot, run by the daemon."""
    mailed = "[nba_ml] train_split of 2021-11 failed"
    told = wait_for(lambda: _posts(hook, "monthly_model") and mailed in box.subjects, TICKS_WITHIN)
    assert told, watched.log.read_text()[-3000:]
    [sent] = _posts(hook, "monthly_model")
    assert (sent["run_id"], sent["asset"], sent["month"]) == (failing_run, "train_split", "2021-11")
    assert "feature_store_snapshot was never materialised for 2021-10" in sent["said"]
    assert box.subjects.count(mailed) == 1
    page = open_page(f"/locations/{watched.location}/sensors/notify_failures")
    expect(page.get_by_role("checkbox").first).to_be_checked()
    page.get_by_role("button", name="View logs").first.wait_for()
    page.screenshot(path=tmp_path / "sensor.png")


@pytest.mark.usefixtures("failing_run")
def test_a_schedule_that_is_turned_on_ticks(
    open_page: Callable[[str], Page], watched: Dagit, hook: Hook, tmp_path: Path
) -> None:
    """A schedule that the daemon cannot evaluate; and a red standing check of a green run that nobody hears of."""
    assert wait_for(lambda: _posts(hook, "standing_checks"), TICKS_WITHIN), watched.log.read_text()[-3000:]
    sent = _posts(hook, "standing_checks")[0]  # at noon in New York there is another
    assert sent["level"] == "warning"
    assert "champion.retraining_ran: 2025-06 ended" in sent["said"]
    page = open_page(f"/locations/{watched.location}/schedules/daily_health")
    expect(page.get_by_role("checkbox").first).to_be_checked()
    expect(page.get_by_text("1 run requested").first).to_be_visible()
    page.screenshot(path=tmp_path / "schedule.png")


@pytest.mark.usefixtures("failing_run")
def test_where_the_source_has_ended_the_monthly_training_skips(
    open_page: Callable[[str], Page], watched: Dagit, tmp_path: Path
) -> None:
    """A red tick each month on data that end in 2025-06; evaluated by the daemon, at the times that it was off."""
    assert wait_for(lambda: _ticks(watched, "monthly_training"), TICKS_WITHIN), watched.log.read_text()[-3000:]
    found = _ticks(watched, "monthly_training")
    assert {tick["status"] for tick in found} == {"SKIPPED"}
    assert "is not in the source, which has 2021-10 to 2025-06" in found[0]["skipReason"]
    page = open_page(f"/locations/{watched.location}/schedules/monthly_training")
    expect(page.get_by_role("button", name="View logs").first).to_be_visible()
    page.screenshot(path=tmp_path / "monthly.png")


@pytest.mark.usefixtures("failing_run")
def test_health_from_outside_says_the_same(watched: Dagit) -> None:
    """A cron's view: the daemon is alive, the switch is on, and the exit code is that of something red."""
    done = subprocess.run(
        [BIN / "nba-ml", "health"], env=environment(watched.home), capture_output=True, text=True, check=False
    )
    assert done.returncode == 1, done.stderr
    assert "Dagster's daemon is running" in done.stdout
    # The targets are those servers' own settings, not this command's: the sensor counts as they left it.
    assert "On: daily_health, monthly_training" in done.stdout


def _turn_on(page: Page) -> None:
    """Press the switch on the page of a schedule."""
    switch = page.get_by_role("checkbox").first
    switch.locator("xpath=..").click()
    expect(switch).to_be_checked()


def _set_back(dagit: Dagit, schedule: str, days: int) -> None:
    """As if the schedule had been turned on so many days ago, and the daemon had been off since: it catches up."""
    since = time.time() - days * 24 * 3600
    with dg.DagsterInstance.from_config(str(dagit.home / "dagster")) as instance:
        [state] = [each for each in instance.all_instigator_state() if each.instigator_name == schedule]
        assert isinstance(state.instigator_data, ScheduleInstigatorData)
        instance.update_instigator_state(
            state.with_data(ScheduleInstigatorData(state.instigator_data.cron_schedule, since))
        )


def _ticks(dagit: Dagit, name: str) -> list[Any]:
    """Ticks that the daemon has finished, newest first."""
    selector = {"repositoryName": "__repository__", "repositoryLocationName": dagit.location, "name": name}
    found = dagit.graphql(
        """query Ticks($s: InstigationSelector!) { instigationStateOrError(instigationSelector: $s) {
        ... on InstigationState { ticks(limit: 5) { status skipReason } } } }""",
        s=selector,
    )["instigationStateOrError"]
    ticks: list[Any] = [tick for tick in found.get("ticks", []) if tick["status"] != "STARTED"]
    return ticks


def _posts(hook: Hook, job: str) -> list[dict[str, Any]]:
    """What the webhook was told of the job's runs, oldest first."""
    return [sent for sent in hook.posts if sent["job"] == job]


def _launch(dagit: Dagit, job: str, month: str) -> str:
    """Ask for a run as the launchpad does; its id."""
    selector = {"repositoryName": "__repository__", "repositoryLocationName": dagit.location, "pipelineName": job}
    tags = [{"key": "dagster/partition", "value": month}]
    done = dagit.graphql(
        """mutation Launch($p: ExecutionParams!) { launchRun(executionParams: $p) { __typename
        ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }""",
        p={"selector": selector, "runConfigData": {}, "executionMetadata": {"tags": tags}},
    )["launchRun"]
    assert done["__typename"] == "LaunchRunSuccess", done
    run_id: str = done["run"]["runId"]
    return run_id
