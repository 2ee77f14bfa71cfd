"""What is done on the pages of Dagster's web UI, by the tests and for the README's pictures.

What belongs here: where a page is, how it is brought to show something, and waiting until it does.
What it must show stands in the tests.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from urllib.parse import quote

from playwright.sync_api import FloatRect, Locator, Page, Response, expect

from nba_ml_tests.e2e.servers import PAGE_SHOWS_WITHIN

GROUPS = ("feature_store", "training")
"""The groups of the chain."""


def _expanded(groups: Iterable[str]) -> str:
    """Groups open, as the UI's own address bar has it after "Expand all groups"."""
    return "?expanded=" + ",".join(f"global@global:{group}" for group in groups)


def graph_of(groups: Iterable[str]) -> str:
    """The part of the graph in these groups: all of it is too wide for the details of its nodes."""
    names = list(groups)
    return "/asset-groups~" + quote(" or ".join(f'group:"{name}"' for name in names)) + _expanded(names)


def lineage_of(assets: Iterable[str]) -> str:
    """The part of the graph with these assets and no other, so that "Materialize all" means them."""
    return "/asset-groups~" + quote(" or ".join(f'key:"{asset}"' for asset in assets))


LINEAGE_OF_ARTIFACT = "/asset-groups~" + quote('+key:"gcs_artifact"') + _expanded(GROUPS)
"""What is published, and everything that leads to it."""

GRAPH_WINDOW = (2000, 1700)
"""Pixels. This wide, the nodes are drawn with their details; it is fitted by its width only, so it needs the height."""

PLOTS = "/assets/xgboost_model?view=overview"

PLOTS_WINDOW = (1600, 1900)
"""Pixels. This high, every plot is in the window."""

PLOTS_IN_PICTURE = ("season_mae", "train_mae", "validation_bias", "validation_mae")
"""How good the model is; they stand side by side, since the page orders plots by name."""

_MARGIN = 16
"""Pixels around what is cut out of a page."""


def fit_graph(page: Page, assets: Iterable[str]) -> dict[str, Locator]:
    """Bring the whole graph into the window: the node of each asset.

    Raises:
        AssertionError: an asset is not drawn, or not wholly in the window, within PAGE_SHOWS_WITHIN.
    """
    page.get_by_text("Hide navigation").click()
    page.get_by_role("img", name="panel_show_right").click()  # hides the list of assets
    canvas = page.locator("[data-svg-viewport]")
    canvas.wait_for()
    nodes = {asset: _node(page, asset) for asset in assets}
    deadline = time.monotonic() + PAGE_SHOWS_WITHIN / 1000
    while True:
        _settled(page, lambda: _view(canvas))  # the panels have glided away, and the first layout is drawn
        # A double click on the background fits the graph into the window. Not with the mouse, which may hit a group.
        canvas.dispatch_event("dblclick")
        _settled(page, lambda: _view(canvas))
        outside = [asset for asset, node in nodes.items() if not _shows(canvas, node)]
        if not outside:
            return nodes
        assert time.monotonic() < deadline, f"not in the window, although the graph was fitted into it: {outside}"


def group_box(page: Page, group: str) -> Locator:
    """The box drawn around the assets of a group."""
    return page.locator("foreignObject.group", has=page.get_by_text(group, exact=True))


def lies_in(node: Locator, box: Locator) -> bool:
    """Whether the middle of the node is inside the box."""
    inner, outer = _place(node), _place(box)
    x, y = inner["x"] + inner["width"] / 2, inner["y"] + inner["height"] / 2
    return outer["x"] < x < outer["x"] + outer["width"] and outer["y"] < y < outer["y"] + outer["height"]


def show_plots(page: Page) -> Any:
    """Turn an asset's metadata into plots: Dagster's answer with the numbers that they are drawn from."""
    with page.expect_response(answers("AssetPartitionEventsQuery")) as answer:
        page.get_by_role("button", name="Plots").click()
    return answer.value.json()["data"]


def plot(page: Page, name: str) -> Locator:
    """The plot of a metadata entry, with its title, once its line is drawn to the end.

    Raises:
        AssertionError: it has no line within PAGE_SHOWS_WITHIN.
    """
    block = page.get_by_text(name, exact=True).locator("xpath=ancestor::div[.//canvas][1]")
    # The line grows from left to right.
    _settled(page, lambda: _line_pixels(block.locator("canvas")), until=lambda pixels: pixels > 50)
    return block


def picture_of_graph(page: Page, path: Path) -> None:
    """The graph that `fit_graph` has fitted, without the rest of the page."""
    expect(page.get_by_text(re.compile("^Loading"))).to_have_count(0)
    _screenshot(page, [group_box(page, group) for group in GROUPS], path)


def picture_of_plots(page: Page, path: Path) -> None:
    """Four of the plots that `show_plots` shows, without the rest of the page."""
    _screenshot(page, [plot(page, name) for name in PLOTS_IN_PICTURE], path)


def metadata_value(table: Locator, label: str) -> Locator:
    """The cell beside the label, in a table of metadata."""
    named = table.page.locator("td:first-child", has_text=re.compile(rf"^{re.escape(label)}$"))
    return table.locator("tr", has=named).locator("td").last


def answers(operation: str) -> Callable[[Response], bool]:
    """Whether a response is Dagster's answer to the operation of that name."""

    def matches(response: Response) -> bool:
        sent = response.request.post_data
        return "/graphql" in response.url and sent is not None and json.loads(sent)["operationName"] == operation

    return matches


def _node(page: Page, asset: str) -> Locator:
    return page.locator("foreignObject:not(.group)").filter(has=page.get_by_text(asset, exact=True))


def _view(canvas: Locator) -> Any:
    """Where the canvas is, and where and how large the graph is drawn on it."""
    return canvas.bounding_box(), canvas.locator("svg").first.bounding_box()


def _shows(canvas: Locator, node: Locator) -> bool:
    """Whether a node is drawn and wholly on the canvas. (Off the canvas, nodes are not even drawn.)"""
    inner, outer = node.bounding_box() if node.count() == 1 else None, _place(canvas)
    return (
        inner is not None
        and outer["x"] <= inner["x"]
        and outer["y"] <= inner["y"]
        and inner["x"] + inner["width"] <= outer["x"] + outer["width"]
        and inner["y"] + inner["height"] <= outer["y"] + outer["height"]
    )


def _place(drawn: Locator) -> FloatRect:
    box = drawn.bounding_box()
    assert box is not None, f"{drawn} is not drawn"
    return box


def _settled(page: Page, look: Callable[[], Any], until: Callable[[Any], bool] = bool) -> None:
    """Wait until what is drawn has come to rest: four looks in a row, over a second, find the same."""
    seen: list[Any] = []
    deadline = time.monotonic() + PAGE_SHOWS_WITHIN / 1000
    while len(seen) < 4 or any(each != seen[-1] for each in seen[-4:]) or not until(seen[-1]):
        assert time.monotonic() < deadline, f"not at rest, or not what is waited for: {seen[-4:]}"
        page.wait_for_timeout(300)
        seen.append(look())


def _line_pixels(canvas: Locator) -> int:
    """How many pixels of a chart have the line's colour: its axes and labels are grey, the line is indigo."""
    count: int = canvas.evaluate(
        """(canvas) => {
            const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
            let n = 0;
            for (let i = 0; i < data.length; i += 4) if (data[i + 2] - data[i] > 80 && data[i + 3] > 200) n++;
            return n;
        }"""
    )
    return count


def _screenshot(page: Page, parts: Iterable[Locator], path: Path) -> None:
    """The smallest cut of the page that holds the parts, and a margin."""
    boxes = [_place(part) for part in parts]
    left, top = min(box["x"] for box in boxes) - _MARGIN, min(box["y"] for box in boxes) - _MARGIN
    right = max(box["x"] + box["width"] for box in boxes) + _MARGIN
    bottom = max(box["y"] + box["height"] for box in boxes) + _MARGIN
    page.screenshot(path=path, clip={"x": left, "y": top, "width": right - left, "height": bottom - top})
