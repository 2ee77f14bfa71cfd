"""What another site in the operator's browser can do to `nba-ml ui`: nothing. And what the UI's own pages still can.

Every attack here launched a run, or read data, before there was a guard.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, Playwright, Response, expect

from nba_ml_tests.e2e import pages
from nba_ml_tests.e2e.elsewhere import (
    FRAME,
    OTHER_NAME,
    REBOUND_NAME,
    RESOLVER,
    SUBSCRIBE,
    attacks,
    launching,
    other_site,
)
from nba_ml_tests.e2e.servers import PAGE_SHOWS_WITHIN, Dagit, browsing, serving

SITES = {"name": OTHER_NAME, "port": "127.0.0.1", "port by name": "localhost"}
"""A site elsewhere, and another server on this machine (the same site to the browser, but another origin)."""

RUN_ENDS_WITHIN = 300_000
"""Milliseconds for a run of one asset, started by the daemon, or for loading the code: 10 s on an idle machine."""

DOWNLOAD = """address => {
    const link = document.createElement("a");
    Object.assign(link, {href: address, download: ""});
    link.click();
}"""
"""What the UI's own download links do."""


@pytest.fixture(scope="module")
def fresh(chromium: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dagit]:  # noqa: ARG001 (no browser: skip)
    """The UI on an empty home."""
    folder = tmp_path_factory.mktemp("fresh")
    with serving(folder / "home", folder / "servers.log") as dagit:
        yield dagit


@pytest.fixture(scope="module")
def misled(playwright: Playwright, chromium: str) -> Iterator[Browser]:
    """A browser that finds the other sites' names on loopback."""
    with browsing(playwright, chromium, RESOLVER) as browser:
        yield browser


@pytest.fixture(scope="module")
def site_port() -> Iterator[int]:
    """Where the other site is served."""
    with other_site() as port:
        yield port


@pytest.fixture(scope="module")
def page(misled: Browser) -> Iterator[Page]:
    """An empty page. One for all of these tests, which begin by going elsewhere: a new context for each took Chromium
    more than twice the time."""
    context = misled.new_context()
    yield context.new_page()
    context.close()


@pytest.mark.parametrize("site", SITES)
@pytest.mark.parametrize("attack", attacks("..."))
def test_no_page_of_another_site_launches_a_run(
    fresh: Dagit, page: Page, site_port: int, site: str, attack: str
) -> None:
    """A champion was promoted by an image on a page that the operator had open."""
    script = attacks(launching(fresh.location))[attack]
    runs, refusals = _runs(fresh), _refusals(fresh)
    page.goto(f"http://{SITES[site]}:{site_port}/")
    page.evaluate(script, fresh.url)
    assert _runs(fresh) == runs
    assert _refusals(fresh) > refusals, "the request did not reach the UI, so this proves nothing"


def test_the_mutation_of_these_attacks_launches_a_run_from_the_uis_own_page(fresh: Dagit, page: Page) -> None:
    """A mutation that Dagster does not run would prove nothing."""
    page.goto(f"{fresh.url}/robots.txt")
    before = _runs(fresh)
    result = page.evaluate(
        """async query => (await fetch("/graphql", {method: "POST", body: JSON.stringify({query}),
            headers: {"Content-Type": "application/json"}})).json()""",
        launching(fresh.location),
    )
    assert result["data"]["launchRun"]["__typename"] == "LaunchRunSuccess", result
    assert len(_runs(fresh) - before) == 1


@pytest.mark.parametrize("site", SITES)
def test_no_page_of_another_site_opens_a_websocket(fresh: Dagit, page: Page, site_port: int, site: str) -> None:
    """Subscriptions, and every query, are answered to a page that the browser would let read no response."""
    page.goto(f"http://{SITES[site]}:{site_port}/")
    assert page.evaluate(SUBSCRIBE, fresh.url) == "refused"
    page.goto(f"{fresh.url}/robots.txt")
    assert json.loads(page.evaluate(SUBSCRIBE, fresh.url))["type"] == "connection_ack"


@pytest.mark.parametrize("site", SITES)
def test_no_page_of_another_site_frames_the_ui(fresh: Dagit, page: Page, site_port: int, site: str) -> None:
    """The UI lies invisible under a button of the other page's, and the operator clicks."""
    page.goto(f"http://{SITES[site]}:{site_port}/")
    page.evaluate(FRAME, f"{fresh.url}/runs")
    [frame] = page.main_frame.child_frames
    assert frame.locator("#root, #__next").count() == 0
    assert frame.title() != "Dagster"


@pytest.mark.parametrize("site", SITES)
def test_no_page_of_another_site_reports_a_materialisation(fresh: Dagit, page: Page, site_port: int, site: str) -> None:
    """An asset that nobody materialised is shown as fresh."""
    page.goto(f"http://{SITES[site]}:{site_port}/")
    page.evaluate(
        'url => fetch(url, {method: "POST", mode: "no-cors"}).catch(String)',
        f"{fresh.url}/report_asset_materialization/planted",
    )
    found = fresh.graphql(
        """{ assetOrError(assetKey: {path: ["planted"]}) { ... on Asset { assetMaterializations { runId } } } }"""
    )
    assert not found["assetOrError"].get("assetMaterializations")


def test_a_name_that_was_rebound_reads_and_launches_nothing(fresh: Dagit, page: Page) -> None:
    """The other site points its own name at 127.0.0.1: to the browser, the UI is then a part of that site."""
    site = fresh.url.replace("127.0.0.1", REBOUND_NAME)
    before = _runs(fresh)
    page.goto(f"{site}/robots.txt")  # whatever comes back: the browser takes it for the other site's own page
    read = page.evaluate(
        """async query => { const response = await fetch("/graphql", {method: "POST", body: JSON.stringify({query}),
            headers: {"Content-Type": "application/json"}}); return [response.status, await response.text()]; }""",
        launching(fresh.location),
    )
    assert read[0] == 421
    assert REBOUND_NAME in read[1]
    assert "NBA_ML_UI_HOSTS" in read[1]
    assert page.evaluate(SUBSCRIBE, site) == "refused"
    assert page.evaluate('async () => (await fetch("/server_info")).status') == 421
    assert _runs(fresh) == before


def test_a_link_on_another_site_opens_the_ui(fresh: Dagit, page: Page, site_port: int) -> None:
    """A link in a notice, opened from a web mail, is refused."""
    page.goto(f"http://{OTHER_NAME}:{site_port}/")
    page.evaluate("url => { document.body.innerHTML = `<a href='${url}/runs'>Runs</a>`; }", fresh.url)
    with page.expect_navigation() as opened:
        page.get_by_role("link").click()
    response = opened.value
    assert isinstance(response, Response)
    assert response.status == 200
    assert response.headers["x-frame-options"] == "SAMEORIGIN"


def test_the_uis_own_pages_launch_follow_and_download_a_run(fresh: Dagit, page: Page) -> None:
    """The guard refuses the UI's own pages, or the subscription that brings a run's events as they happen."""
    page.set_default_timeout(PAGE_SHOWS_WITHIN)
    page.goto(f"{fresh.url}/assets/backfill_progress")
    page.get_by_role("button", name="Materialize").first.click()
    with page.expect_response(
        lambda response: "launchPipelineExecution" in (response.request.post_data or "")
    ) as answer:
        page.get_by_role("button", name="Confirm").click()
    launched = answer.value.json()["data"]["launchPipelineExecution"]
    assert launched["__typename"] == "LaunchRunSuccess", launched
    run = launched["run"]["id"]

    frames: list[str] = []
    page.on("websocket", lambda opened: opened.on("framereceived", lambda frame: frames.append(str(frame))))
    page.goto(f"{fresh.url}/runs/{run}")
    expect(page.get_by_text("RUN_SUCCESS")).to_be_visible(timeout=RUN_ENDS_WITHIN)
    events = [frame for frame in frames if '"pipelineRunLogs"' in frame]
    assert any("RunSuccessEvent" in frame for frame in events), "they came, but not over the WebSocket"

    [log] = (fresh.home / "dagster" / "storage" / run / "compute_logs").glob("*.err")
    for address in (f"/logs/{run}/compute_logs/{log.stem}/err", f"/download_debug/{run}"):
        with page.expect_download() as download:
            page.evaluate(DOWNLOAD, address)
        assert run in download.value.suggested_filename
        assert download.value.path().stat().st_size > 0


def test_the_uis_own_pages_reload_the_code_location(fresh: Dagit, page: Page) -> None:
    """A change in the code can be seen only after starting everything anew."""
    page.set_default_timeout(PAGE_SHOWS_WITHIN)
    page.goto(f"{fresh.url}/locations")
    page.get_by_text("Loaded", exact=True).wait_for()
    with page.expect_response(pages.answers("ReloadWorkspaceMutation"), timeout=RUN_ENDS_WITHIN) as answer:
        page.get_by_role("button", name="Reload all").click()
    [entry] = answer.value.json()["data"]["reloadWorkspace"]["locationEntries"]
    assert (entry["name"], entry["loadStatus"]) == (fresh.location, "LOADED")


def _refusals(dagit: Dagit) -> int:
    return dagit.log.read_text().count("Refused ")


def _runs(dagit: Dagit) -> set[str]:
    found = dagit.graphql("{ runsOrError { ... on Runs { results { runId } } } }")["runsOrError"]["results"]
    return {run["runId"] for run in found}
