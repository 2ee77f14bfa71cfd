"""What a user sees and does in Dagster's web UI, in a real browser.

The tests run in the order they stand in: the backfill adds months that those before it must not see.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from nba_ml.checks.registry import all_checks
from nba_ml.contract.assets import CHAIN, EVALUATION_ASSETS, FEATURE_ASSETS, ON_REQUEST
from nba_ml.registry.reader import verify_bundle
from nba_ml.settings import SAMPLE_DATA
from nba_ml.sources.embedded import source_months
from nba_ml_tests.e2e import pages
from nba_ml_tests.e2e.servers import Dagit

OpenPage = Callable[..., Page]

MONTH = re.compile(r"\d{4}-\d{2}")

BACKFILLED = ["2022-02", "2022-03"]
PASSED = "2022-02"
"""The one of them whose model beats every average on its validation rows."""

BACKFILL_WITHIN = 1200
"""Seconds for two months of the whole chain, started by Dagster's daemon: 45 s on two idle cores, 160 s on busy."""


@pytest.mark.parametrize("groups", [("feature_store", "training"), ("evaluation", "release")])
def test_graph_shows_every_asset_in_its_group(open_page: OpenPage, groups: tuple[str, str]) -> None:
    """An asset fell out of the definitions, or out of its group."""
    assets = {
        "feature_store": {*FEATURE_ASSETS[:2], "backfill_progress"},
        "training": set(CHAIN[2:]),
        "evaluation": {*EVALUATION_ASSETS, *ON_REQUEST, "walk_forward"},
        "release": {"champion", "rollout", "slate_predictions", "slate_grades"},
    }
    page = open_page(pages.graph_of(groups), *pages.GRAPH_WINDOW)
    nodes = pages.fit_graph(page, [asset for group in groups for asset in sorted(assets[group])])
    boxes = {group: pages.group_box(page, group) for group in groups}
    inside = {group: {a for a, node in nodes.items() if pages.lies_in(node, box)} for group, box in boxes.items()}
    assert inside == {group: assets[group] for group in groups}


def test_everything_of_the_chain_leads_to_the_artifact(open_page: OpenPage, tmp_path: Path) -> None:
    """An asset lost its place in the lineage of what is published, or a node no longer shows how far it is."""
    page = open_page(pages.LINEAGE_OF_ARTIFACT, *pages.GRAPH_WINDOW)
    nodes = pages.fit_graph(page, CHAIN)
    for node in nodes.values():
        expect(node).to_contain_text(re.compile(r"\d+% filled"))
    pages.picture_of_graph(page, tmp_path / "graph.png")


def test_partitions_are_the_season_months_and_their_state(open_page: OpenPage) -> None:
    """Months without games became partitions, or a materialised month is not shown as one."""
    page = open_page("/assets/xgboost_model?view=partitions")
    months = source_months(SAMPLE_DATA)
    page.get_by_text(f"{len(months)} Partitions Selected").wait_for()
    page.get_by_placeholder("Filter by name").fill("2022-")
    expect(_months(page)).to_have_text([f"2022-{m:02d}" for m in (12, 11, 10, 6, 5, 4, 3, 2, 1)])
    page.get_by_placeholder("Filter by name").fill("")
    expect(page.get_by_text("Materialized (3)")).to_be_visible()
    page.get_by_text(f"Missing ({len(months) - 3})").click()
    expect(_months(page)).to_have_text(["2021-12", "2021-11", "2021-10"])


def test_validation_mae_is_plotted_over_the_months(open_page: OpenPage, tmp_path: Path) -> None:
    """A metric lost its stable key or its number, and the plot over partitions is gone or empty."""
    page = open_page(pages.PLOTS, *pages.PLOTS_WINDOW)
    drawn_from = pages.show_plots(page)
    expect(pages.plot(page, "validation_mae")).to_be_visible()
    pages.picture_of_plots(page, tmp_path / "validation_mae.png")

    events = drawn_from["assetNodeOrError"]["latestMaterializationByPartition"]
    shown = {event["partition"]: _number(event, "validation_mae") for event in events if event}
    assert list(shown) == ["2021-10", "2021-11", "2021-12"]
    assert shown["2021-10"] is None, "every row of the first October is early season: there is no model"
    assert all(3 < shown[month] < 6 for month in ("2021-11", "2021-12"))


@pytest.mark.parametrize("asset", ["feature_store_snapshot", "xgboost_model"])
def test_checks_tab_shows_threshold_and_value(open_page: OpenPage, asset: str) -> None:
    """A check that says passed or failed, but not what it measured and against what."""
    checks = [check for check in all_checks() if check.asset == asset]
    for check in (*checks[:2], *checks[-2:]):  # a page takes seconds, and all are made the same way
        # By its address: a click on the list, while the page still loads, is forgotten.
        page = open_page(f"/assets/{asset}?view=checks&checkDetail={check.name}")
        expect(page.get_by_text(f"Checks ({len(checks)})")).to_be_visible()
        expect(page.get_by_text(f"{check.reason} Required: {check.threshold}.")).to_be_visible()
        table = page.locator("table", has_text="threshold")
        expect(pages.metadata_value(table, "threshold")).to_have_text(check.threshold)
        expect(pages.metadata_value(table, "value")).not_to_be_empty()
        expect(pages.metadata_value(table, "n")).to_have_text(re.compile(r"^\d+$"))
        expect(pages.metadata_value(table, "metric")).not_to_be_empty()


def test_walk_forward_shows_its_curve_and_leads_to_the_report(
    open_page: OpenPage, dagit: Dagit, tmp_path: Path
) -> None:
    """The curve that the owner looks at first is behind a click, or not there; the report is a path on a server."""
    page = open_page("/assets/walk_forward?view=overview", 1400, 1600)
    expect(page.get_by_text(f"{dagit.home}/store/walk_forward/report.html").first).to_be_visible()
    for title in ("MAE by month", "Result minus prediction", "Results inside the interval"):
        assert _is_shown_whole(page, title)
    expect(page.get_by_text("Show Markdown")).to_have_count(0)
    page.screenshot(path=tmp_path / "walk_forward.png")
    page.get_by_role("link", name="The walk-forward report").first.click()
    expect(page.locator("h1")).to_contain_text("season average")


def test_a_models_page_shows_its_card_and_charts_without_a_click(open_page: OpenPage, tmp_path: Path) -> None:
    """A person has to open ten dialogs to learn whether a model is good, and for whom."""
    page = open_page("/assets/xgboost_model?partition=2021-12", 1400, 2400)
    for title in ("What moves a prediction", "Mean absolute error by tier", "Results inside the interval"):
        assert _is_shown_whole(page, title)
    expect(page.get_by_text("Show Markdown")).to_have_count(0)
    page.screenshot(path=tmp_path / "xgboost_model.png")
    page = open_page("/assets/model_metadata?partition=2021-12", 1400, 1200)
    expect(page.get_by_text("Predicts the points of an NBA player in a game.").first).to_be_visible()
    assert _is_shown_whole(page, "What moves a prediction")
    page.get_by_role("link", name="The model card").first.click()
    expect(page.locator("h1")).to_contain_text("xgboost_v1_33features_202112_")


def _is_shown_whole(page: Page, title: str) -> bool:
    """Whether the picture of this title is there, and within the part of its table that is seen without scrolling."""
    picture = page.get_by_alt_text(title).first
    expect(picture).to_be_visible()
    right = "each => each.getBoundingClientRect().right"
    return bool(
        picture.evaluate("image => image.decode().then(() => image.naturalWidth)") > 300
        and picture.evaluate(right) <= picture.locator("xpath=ancestor::table[1]/..").evaluate(right)
    )


def test_materialising_months_from_the_graph_targets_no_other_month(dagit: Dagit) -> None:
    """Two months are chosen on the lineage page, and the backfill goes on to 30 that nobody asked for."""
    targets = dagit.graphql(
        """query($params: AssetBackfillPreviewParams!) { assetBackfillPreview(params: $params) {
            assetKey { path } partitions { partitionKeys ranges { start end } } } }""",
        params={"partitionNames": BACKFILLED, "assetSelection": [{"path": [asset]} for asset in CHAIN]},
    )["assetBackfillPreview"]
    assert {target["assetKey"]["path"][0] for target in targets} == set(CHAIN)
    assert all(_covered(target["partitions"]) == (BACKFILLED[0], BACKFILLED[-1]) for target in targets)


def test_backfill_launched_from_the_lineage_page_publishes_what_passes(open_page: OpenPage, dagit: Dagit) -> None:
    """A backfill that the command line can do and the UI, with its daemon, queue and run processes, cannot.

    A refused month is a result: its run is green.
    """
    page = open_page(pages.lineage_of(CHAIN))
    dialog = _months_chosen(page)
    with page.expect_response(pages.answers("LaunchPartitionBackfill")) as answer:
        dialog.get_by_role("button", name="Launch backfill").click()
    launched = answer.value.json()["data"]["launchPartitionBackfill"]
    assert launched["__typename"] == "LaunchBackfillSuccess", launched
    page.close()  # it would ask for the state of every asset all the while

    runs = _ended_runs(dagit, launched["backfillId"])
    outcome = {run["month"]: (run["status"], run["assets"]) for run in runs}
    assert outcome == {month: ("SUCCESS", set(CHAIN)) for month in BACKFILLED}, dagit.log.read_text()[-6000:]

    published = dagit.home / "artifacts" / "xgboost_v1"
    (manifest,) = published.glob("*_manifest.json")
    assert manifest.name.startswith(f"xgboost_v1_33features_{PASSED.replace('-', '')}_")
    bundle = verify_bundle(lambda name: (published / name).read_bytes(), manifest.name)
    assert len(bundle.rows) > 0


def test_the_job_page_offers_the_same_months(open_page: OpenPage, dagit: Dagit) -> None:
    """Guards the second way to a backfill, which the docs describe first."""
    _months_chosen(open_page(f"/locations/{dagit.location}/jobs/monthly_chain"))


def _months_chosen(page: Page) -> Locator:
    """The dialog of a page's "Materialize all", with the months of the backfill chosen."""
    page.get_by_role("button", name="Materialize all").click()
    dialog = page.get_by_role("dialog")
    selection = dialog.get_by_placeholder("ex: 2021-10")
    selection.fill(f"[{BACKFILLED[0]}...{BACKFILLED[-1]}]")
    selection.press("Enter")
    expect(dialog.get_by_text(f"{len(BACKFILLED)} partitions", exact=True)).to_be_visible()
    return dialog


def test_refused_month_says_why_in_a_table(open_page: OpenPage, tmp_path: Path) -> None:
    """A model that was not published, and a page that does not tell its owner which number was not good enough."""
    page = open_page(f"/assets/gcs_artifact?view=partitions&partition={BACKFILLED[-1]}", *pages.GRAPH_WINDOW)
    expect(page.get_by_text(re.compile("^Not published: xgboost_v1_33features_202203_")).first).to_be_visible()
    table = page.locator("table", has_text="the gain's 95% interval").last
    expect(table).to_contain_text("beats_")
    page.screenshot(path=tmp_path / "refused.png")
    page.get_by_role("link", name=re.compile(r"^xgboost_model\.beats_")).first.click()
    expect(page).to_have_url(re.compile("/assets/xgboost_model"))
    expect(page.get_by_text("Blocks publication.").first).to_be_visible()


def test_no_month_before_the_first_model_is_red_and_the_newest_is(open_page: OpenPage, dagit: Dagit) -> None:
    """A newest month without a model that looks healthy, or first months that are red for ever."""
    found = dagit.graphql(
        """{ assetCheckExecutions(assetKey: {path: ["gcs_artifact"]}, checkName: "published", limit: 20) {
            status evaluation { severity partition } } }"""
    )["assetCheckExecutions"]
    last: dict[str, tuple[str, str]] = {}
    for each in found:  # newest first
        last.setdefault(each["evaluation"]["partition"], (each["status"], each["evaluation"]["severity"]))
    assert last.pop(BACKFILLED[-1]) == ("FAILED", "ERROR")
    assert {status for status, _ in last.values()} == {"SUCCEEDED"}
    page = open_page("/assets/gcs_artifact?view=checks&checkDetail=published")
    expect(page.get_by_text(re.compile("^failed: Publication: refused by ")).first).to_be_visible()


def test_servers_log_no_error_and_no_warning_of_ours(dagit: Dagit) -> None:
    """A run or a server that fails on the side, or a warning in every user's terminal."""
    lines = dagit.log.read_text().splitlines()
    assert any("RUN_SUCCESS" in line for line in lines), "the log has no run in it, so it proves nothing"
    bad = re.compile(r"Traceback|Stack Trace|- ERROR -|- CRITICAL -|- WARNING -|Warning: |nba_ml.*[Ww]arning")
    assert [line for line in lines if bad.search(line)] == []


def _months(page: Page) -> Locator:
    """The entries of the list of partitions, as far as it is scrolled into view."""
    return page.locator("[title]", has_text=MONTH).locator("span")


def _number(event: dict[str, Any], label: str) -> Any:
    """The metadata entry of a materialisation, None if it has none of that name."""
    return next((entry["floatValue"] for entry in event["metadataEntries"] if entry["label"] == label), None)


def _covered(partitions: dict[str, Any]) -> tuple[str, str]:
    """First and last month of a target."""
    if partitions["ranges"]:
        return partitions["ranges"][0]["start"], partitions["ranges"][-1]["end"]
    return min(partitions["partitionKeys"]), max(partitions["partitionKeys"])


def _ended_runs(dagit: Dagit, backfill_id: str) -> list[dict[str, Any]]:
    """Wait for the runs of a backfill to end: each with month, status and assets.

    The daemon notices that they have, and calls the backfill ended, up to half a minute later.
    """
    query = """query($id: String!) { partitionBackfillOrError(backfillId: $id) { ... on PartitionBackfill {
        status runs(limit: 100) { status tags { key value } assetSelection { path } } } } }"""
    deadline = time.monotonic() + BACKFILL_WITHIN
    while True:
        backfill = dagit.graphql(query, id=backfill_id)["partitionBackfillOrError"]
        ended = [run for run in backfill["runs"] if run["status"] in ("SUCCESS", "FAILURE", "CANCELED")]
        if len(ended) == len(BACKFILLED) or backfill["status"].startswith(("COMPLETED", "FAILED", "CANCELED")):
            break
        assert time.monotonic() < deadline, f"not ended within {BACKFILL_WITHIN} s: {backfill}"
        time.sleep(1)
    return [
        {
            "status": run["status"],
            "month": next(tag["value"] for tag in run["tags"] if tag["key"] == "dagster/partition"),
            "assets": {key["path"][0] for key in run["assetSelection"]},
        }
        for run in backfill["runs"]
    ]
