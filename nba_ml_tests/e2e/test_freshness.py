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

TICKS_WITHIN = 300
"""Seconds until the daemon has looked: it does every half minute, and starts a process for it on a busy machine."""

_LONGEST_GAP = 130
"""Days: more than from the tick of 2 July to that of 2 November."""

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
        "NBA_ML_THREADS": "1",
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nba_ml_tests.e2e.servers.environment", lambda folder: {**environment(folder), **settings})
        with serving(home, tmp_path_factory.mktemp("ui") / "servers.log") as dagit:
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


def test_a_failing_run_reaches_the_webhook_and_the_mailbox(
    open_page: Callable[[str], Page], watched: Dagit, hook: Hook, box: Mailbox, tmp_path: Path
) -> None:
    """A failure in the night that nobody hears of: here a split without a snapshot, run by the daemon."""
    assert wait_for(lambda: _ticks(watched, "notify_failures"), TICKS_WITHIN), watched.log.read_text()[-3000:]
    run_id = _launch(watched, "monthly_model", "2021-11")
    assert wait_for(lambda: hook.posts and box.messages, TICKS_WITHIN), watched.log.read_text()[-3000:]
    [sent] = hook.posts
    assert (sent["run_id"], sent["asset"], sent["month"]) == (run_id, "train_split", "2021-11")
    assert "feature_store_snapshot was never materialised for 2021-10" in sent["said"]
    assert box.subjects == ["[nba_ml] train_split of 2021-11 failed"]
    page = open_page(f"/locations/{watched.location}/sensors/notify_failures")
    expect(page.get_by_role("checkbox").first).to_be_checked()
    page.get_by_role("button", name="View logs").first.wait_for()
    page.screenshot(path=tmp_path / "sensor.png")


def test_a_schedule_that_is_turned_on_ticks(
    open_page: Callable[[str], Page], watched: Dagit, hook: Hook, tmp_path: Path
) -> None:
    """A schedule that the daemon cannot evaluate; and a red standing check of a green run that nobody hears of."""
    page = open_page(f"/locations/{watched.location}/schedules/daily_health")
    _turn_on(page)
    _set_back(watched, "daily_health", days=1)
    assert wait_for(lambda: len(hook.posts) == 2, TICKS_WITHIN), watched.log.read_text()[-3000:]
    assert hook.posts[1]["level"] == "warning"
    assert hook.posts[1]["job"] == "standing_checks"
    assert "champion.retraining_ran: 2025-06 ended" in hook.posts[1]["said"]
    expect(page.get_by_text("1 run requested").first).to_be_visible()
    page.screenshot(path=tmp_path / "schedule.png")


def test_where_the_source_has_ended_the_monthly_training_skips(
    open_page: Callable[[str], Page], watched: Dagit, tmp_path: Path
) -> None:
    """A red tick each month on data that end in 2025-06; evaluated by the daemon, at the times that it was off."""
    page = open_page(f"/locations/{watched.location}/schedules/monthly_training")
    _turn_on(page)
    _set_back(watched, "monthly_training", days=_LONGEST_GAP)
    found: list[Any] = []
    assert wait_for(lambda: found.extend(_ticks(watched, "monthly_training")) or found, TICKS_WITHIN)
    assert {tick["status"] for tick in found} == {"SKIPPED"}
    assert "is no month of the source, which has 2021-10 to 2025-06" in found[0]["skipReason"]
    page.reload()
    expect(page.get_by_role("button", name="View logs").first).to_be_visible()
    page.screenshot(path=tmp_path / "monthly.png")


def test_health_from_outside_says_the_same(watched: Dagit) -> None:
    """A cron's view: the daemon is alive, the switch is on, and the exit code is that of something red."""
    done = subprocess.run(
        [BIN / "nba-ml", "health"], env=environment(watched.home), capture_output=True, text=True, check=False
    )
    assert done.returncode == 1, done.stderr
    assert "Dagster's daemon is alive" in done.stdout
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


def _launch(dagit: Dagit, job: str, month: str | None) -> str:
    """Ask for a run as the launchpad does, and wait for its end."""
    tags = [{"key": "dagster/partition", "value": month}] if month else []
    selector = {"repositoryName": "__repository__", "repositoryLocationName": dagit.location, "pipelineName": job}
    done = dagit.graphql(
        """mutation Launch($p: ExecutionParams!) { launchRun(executionParams: $p) { __typename
        ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }""",
        p={"selector": selector, "runConfigData": {}, "executionMetadata": {"tags": tags}},
    )["launchRun"]
    assert done["__typename"] == "LaunchRunSuccess", done
    run_id: str = done["run"]["runId"]
    deadline = time.monotonic() + TICKS_WITHIN
    status = ""
    while status not in ("SUCCESS", "FAILURE"):
        assert time.monotonic() < deadline, f"{job} is still {status}"
        time.sleep(1)
        status = dagit.graphql("query Run($r: ID!) { runOrError(runId: $r) { ... on Run { status } } }", r=run_id)[
            "runOrError"
        ]["status"]
    return run_id
