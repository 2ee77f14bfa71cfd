"""A home of three months, Dagster's web UI on it, and a browser to look with: started once, ended for certain."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Playwright, expect, sync_playwright

from nba_ml_tests.e2e.servers import (
    BIN,
    CHROMIUM_NAMES,
    PAGE_SHOWS_WITHIN,
    Dagit,
    browsing,
    environment,
    find_chromium,
    opened,
    serving,
)
from nba_ml_tests.trained_home import TrainedHomes, copy_home

REPORT_MADE_WITHIN = 600
"""Seconds for a command that trains nothing: 5 s on two idle cores."""

# Playwright's own patience is 5 s, too little on a busy machine. A busy machine is no failure.
expect.set_options(timeout=PAGE_SHOWS_WITHIN)


@pytest.fixture(scope="package")
def home(chromium: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:  # noqa: ARG001 (no browser: skip before the work)
    """A home with 2021-10 to 2021-12 materialised by the command line, the first without a model, the rest refused;
    and the snapshot of 2022-01, so that the models of the next months have all that they learn from."""
    homes: TrainedHomes = request.getfixturevalue("trained_homes")  # not before it is known that there is a browser
    home = copy_home(homes.refused, tmp_path_factory.mktemp("home") / "home").root
    for month, assets in (
        ("2021-12", "prediction_grades"),  # the report says where it lies
        ("2022-01", "player_game_summary,ml_feature_store_v2,feature_store_snapshot"),
    ):
        done = subprocess.run(
            [BIN / "nba-ml", "backfill", "--from", month, "--to", month, "--assets", assets],
            env=environment(home),
            capture_output=True,
            text=True,
            timeout=REPORT_MADE_WITHIN,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
    return home


@pytest.fixture(scope="package")
def dagit(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dagit]:
    """The web UI on that home."""
    with serving(home, tmp_path_factory.mktemp("ui") / "servers.log") as dagit:
        yield dagit


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of the machine's Chromium. Without one: skip, or fail where NBA_ML_REQUIRE_BROWSER is 1."""
    found = find_chromium()
    if found is None:
        reason = f"no browser: none of {', '.join(CHROMIUM_NAMES)} is on the PATH"
        print(f"The web UI is not tested: {reason}.")
        if os.environ.get("NBA_ML_REQUIRE_BROWSER") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    return found


@pytest.fixture(scope="package")
def playwright(chromium: str) -> Iterator[Playwright]:  # noqa: ARG001 (no browser: skip before the work)
    """Playwright, for the browsers of all tests here.

    No longer than these tests: it leaves an event loop running, in which Dagster cannot close its own.
    """
    with sync_playwright() as playwright:
        yield playwright


@pytest.fixture(scope="package")
def browser(playwright: Playwright, chromium: str) -> Iterator[Browser]:
    """Headless Chromium, shared by the tests; each page has a context of its own."""
    with browsing(playwright, chromium) as browser:
        yield browser


@pytest.fixture
def open_page(browser: Browser, dagit: Dagit) -> Iterator[Callable[..., Page]]:
    """`open_page(path, width, height)`: a page of the UI in a window of that size."""
    pages = []

    def open_page(path: str, width: int = 1600, height: int = 900) -> Page:
        pages.append(opened(browser, dagit.url + path, width, height))
        return pages[-1]

    yield open_page
    for page in pages:
        page.context.close()
