"""Make the documentation's pictures anew, from a home whose months are all materialised.

    nba-ml backfill --only-missing
    python -m nba_ml_tests.e2e.pictures .nba_ml [FOLDER]

FOLDER is docs/pages/images unless another is given.
"""

from __future__ import annotations

import argparse
import base64
import re
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from nba_ml.contract.assets import CHAIN
from nba_ml.evaluation.report.addresses import PICTURES, picture_address
from nba_ml_tests.e2e import pages
from nba_ml_tests.e2e.servers import CHROMIUM_NAMES, browsing, find_chromium, opened, serving

IMAGES = Path(__file__).parents[2] / "docs" / "pages" / "images"

REPORT = "store/walk_forward/report.html"
REPORT_WINDOW = (1200, 1500)
"""Width and height, in pixels, down to the end of the curve."""

SCALE = 2
"""Pixels of a picture per pixel of the page: text stays sharp on a dense screen."""


def take(home: Path, folder: Path, chromium: str) -> list[Path]:
    """`graph.png`, `validation_mae.png`, `walk_forward.png` and `mae_by_month.png` of the home, in the folder.

    And the charts of the newest month's model, as SVG.
    """
    names = ("graph", "validation_mae", "walk_forward", "mae_by_month")
    graph, plots, walk, curve = (folder / f"{name}.png" for name in names)
    report = home / REPORT
    with (
        tempfile.TemporaryDirectory() as scratch,
        serving(home, Path(scratch) / "servers.log") as dagit,
        sync_playwright() as playwright,
        browsing(playwright, chromium) as browser,
    ):
        page = opened(browser, dagit.url + pages.LINEAGE_OF_ARTIFACT, *pages.GRAPH_WINDOW, scale=SCALE)
        pages.fit_graph(page, CHAIN)
        pages.picture_of_graph(page, graph)
        page = opened(browser, dagit.url + pages.PLOTS, *pages.PLOTS_WINDOW, scale=SCALE)
        pages.show_plots(page)
        pages.picture_of_plots(page, plots)
        month = max((home / "store/xgboost_model").glob("*.json")).stem
        charts = [folder / f"{name}.svg" for name in PICTURES]
        for chart in charts:
            chart.write_bytes(page.request.get(dagit.url + picture_address(month, chart.stem)).body())
        page = opened(browser, report.as_uri(), *REPORT_WINDOW, scale=1)
        page.screenshot(path=walk)
    # The curve that the report shows on a phone: its letters are legible in a column of text.
    curve.write_bytes(base64.b64decode(re.findall(r'srcset="data:image/png;base64,([^"]+)"', report.read_text())[0]))
    return [graph, plots, walk, curve, *charts]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("home", type=Path, help="the home (NBA_ML_HOME) to picture")
    parser.add_argument("folder", type=Path, nargs="?", default=IMAGES, help="where the pictures go")
    chosen = parser.parse_args()
    if not chosen.home.is_dir():
        sys.exit(f"{chosen.home} is no folder: give the home of a finished `nba-ml backfill`.")
    chromium = find_chromium()
    if chromium is None:
        sys.exit(f"No browser: none of {', '.join(CHROMIUM_NAMES)} is on the PATH.")
    chosen.folder.mkdir(parents=True, exist_ok=True)
    for picture in take(chosen.home.resolve(), chosen.folder, chromium):
        print(f"{picture}: {picture.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
