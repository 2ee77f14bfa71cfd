"""The same graph in Dagster's web UI where the feature store is BigQuery: its picture, and the sensor."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from nba_ml.sources.month_rows import FEATURES, SUMMARY
from nba_ml_tests.cloud.bigquery import BigQueryEmulator, make_platform
from nba_ml_tests.conftest import features_of, summary_of
from nba_ml_tests.e2e import pages
from nba_ml_tests.e2e.servers import Dagit, opened, serving
from nba_ml_tests.mail import wait_for

COMPLETE = ("2021-10", "2021-11")
PARTIAL = "2021-12"

ENDED = ("SUCCESS", "FAILURE", "CANCELED")

RUNS_WITHIN = 600
"""Seconds for the daemon to look, and for two runs one after the other: 40 s on two idle cores."""


@pytest.fixture(scope="module")
def platform_ui(
    chromium: str,  # noqa: ARG001 (no browser: skip before the work)
    bigquery_emulator: BigQueryEmulator,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Dagit]:
    """The web UI on a new home, over tables in which two months are complete and a third is half there."""
    platform = make_platform(bigquery_emulator)
    for month in COMPLETE:
        platform.load(features_of(month), summary_of(month))
    platform.load(features_of(PARTIAL).slice(0, features_of(PARTIAL).num_rows // 2), summary_of(PARTIAL))
    with serving(
        tmp_path_factory.mktemp("platform"), tmp_path_factory.mktemp("ui") / "servers.log", platform.environment
    ) as dagit:
        yield dagit


@pytest.fixture
def open_page(browser: Browser, platform_ui: Dagit) -> Iterator[Callable[[str], Page]]:
    """`open_page(path)`: a page of the UI."""
    opened_pages = []

    def open_page(path: str) -> Page:
        opened_pages.append(opened(browser, platform_ui.url + path, 1600, 1400))
        return opened_pages[-1]

    yield open_page
    for page in opened_pages:
        page.context.close()


def test_the_tables_are_observed_and_nothing_else(open_page: Callable[[str], Page]) -> None:
    """A table of the platform's that Dagster offers to make."""
    for table in (SUMMARY, FEATURES):
        page = open_page(f"/assets/{table}")
        expect(page.get_by_role("button", name="Observe")).to_be_visible()
        expect(page.get_by_role("button", name="Materialize")).to_have_count(0)


def test_the_progress_of_the_backfill_is_a_picture(
    open_page: Callable[[str], Page], platform_ui: Dagit, tmp_path: Path
) -> None:
    """The calendar of the backfill is a line of characters, or calls a month that is half there complete."""
    address = "/assets/backfill_progress?view=overview"
    page = open_page(address)
    with page.expect_response(pages.answers("LaunchPipelineExecution")):
        page.get_by_role("button", name="Materialize").click()
    page.close()  # it does not follow the run, and asks for the state of every asset all the while
    assert wait_for(lambda: _ended(platform_ui, "__ASSET_JOB", {""}), RUNS_WITHIN), platform_ui.log.read_text()[-3000:]
    assert _runs(platform_ui, "__ASSET_JOB") == [("", "SUCCESS")]
    page = open_page(address)
    values = page.locator("table", has_text="months_complete").first
    expect(pages.metadata_value(values, "months_complete")).to_have_text("2")
    expect(pages.metadata_value(values, "months_partial")).to_have_text("1")
    pages.metadata_value(values, "calendar").get_by_text("Show Markdown").click()
    picture = page.get_by_role("img", name="coverage by month")
    expect(picture).to_be_visible()
    width = picture.evaluate("image => image.complete ? image.naturalWidth : 0")
    assert width > 300, "the picture is none that the browser can show"
    page.screenshot(path=tmp_path / "progress.png")


def test_the_sensor_turns_complete_months_into_snapshots(
    open_page: Callable[[str], Page], platform_ui: Dagit, tmp_path: Path
) -> None:
    """A sensor that the daemon cannot evaluate, that asks for a month that is half there, or whose runs fail."""
    job = "monthly_snapshot"
    page = open_page(f"/locations/{platform_ui.location}/sensors/follow_backfill")
    switch = page.get_by_role("checkbox").first
    switch.locator("xpath=..").click()
    expect(switch).to_be_checked()
    page.close()
    assert wait_for(lambda: _ended(platform_ui, job, {*COMPLETE}), RUNS_WITHIN), platform_ui.log.read_text()[-3000:]
    assert sorted(_runs(platform_ui, job)) == [(month, "SUCCESS") for month in COMPLETE]
    page = open_page("/assets/feature_store_snapshot?view=partitions")
    expect(page.get_by_text("Materialized (2)")).to_be_visible()
    page.screenshot(path=tmp_path / "snapshots.png")


def _ended(dagit: Dagit, job: str, months: set[str]) -> bool:
    """Whether runs of the job were made for these months, and all of its runs have ended."""
    runs = _runs(dagit, job)
    return {month for month, _ in runs} >= months and all(state in ENDED for _, state in runs)


def _runs(dagit: Dagit, job: str) -> list[tuple[str, str]]:
    """Month, or '' if it has none, and state of the job's runs."""
    found: dict[str, Any] = dagit.graphql(
        """query Runs($job: String!) { runsOrError(filter: {pipelineName: $job}) {
        ... on Runs { results { status tags { key value } } } } }""",
        job=job,
    )["runsOrError"]
    tags = [({tag["key"]: tag["value"] for tag in run["tags"]}, run["status"]) for run in found["results"]]
    return [(each.get("dagster/partition", ""), status) for each, status in tags]
