"""A home of three months, Dagster's web UI on it, and a browser to look with.

What belongs here: starting and ending processes. What the pages must show stands in the tests.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from playwright.sync_api import Browser, Page, sync_playwright

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent

CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
CHROMIUM_ARGUMENTS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    # It must ask nothing of any other machine: the pages are Dagster's own, served from loopback.
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

STARTS_WITHIN = 180
"""Seconds for the servers to answer: 8 s on an idle machine of two cores, 25 s on a busy one."""

STOPS_WITHIN = 60
"""Seconds for the servers to end: 8 s on a busy machine."""

PAGE_SHOWS_WITHIN = 60_000
"""Milliseconds for a page to show what is waited for."""


@dataclass(frozen=True)
class Dagit:
    """Dagster's web UI, running on a home of its own."""

    url: str
    home: Path
    log: Path
    location: str

    def graphql(self, query: str, **variables: Any) -> Any:
        """The `data` of an answer. Raises AssertionError with Dagster's own words if it has errors."""
        answer = _post(self.url, query, variables)
        assert "errors" not in answer, answer["errors"]
        return answer["data"]


@pytest.fixture(scope="session")
def home(chromium: str, tmp_path_factory: pytest.TempPathFactory) -> Path:  # noqa: ARG001 (no browser: skip before the work)
    """A home with 2021-10 to 2021-12 materialised by the command line, the first of them without a model."""
    home = tmp_path_factory.mktemp("home")
    done = subprocess.run(
        [BIN / "nba-ml", "backfill", "--to", "2021-12"],
        env=_environment(home),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return home


@pytest.fixture(scope="session")
def dagit(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dagit]:
    """`nba-ml ui` on the home, its code location loaded; afterwards none of its processes is left."""
    log = tmp_path_factory.mktemp("ui") / "servers.log"
    port = _free_port()
    url = f"http://127.0.0.1:{port}"
    with log.open("w") as output:
        # A session of its own: one signal then reaches the web server, the daemon and the code server.
        process = subprocess.Popen(
            [BIN / "nba-ml", "ui", "--port", str(port)],
            env=_environment(home),
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        location = _loaded_location(url, process, log)
        _post(url, "mutation { setNuxSeen }", {})  # no "join the community" over the first page
        yield Dagit(url, home, log, location)
    finally:
        left = _stop(process)
    assert not left, f"still running after the UI was stopped: {left}"


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of the machine's Chromium. Without one: skip, or fail where NBA_ML_REQUIRE_BROWSER is 1."""
    found = next(filter(None, map(shutil.which, CHROMIUM_NAMES)), None)
    if found is None:
        reason = f"no browser: none of {', '.join(CHROMIUM_NAMES)} is on the PATH"
        print(f"The web UI is not tested: {reason}.")
        if os.environ.get("NBA_ML_REQUIRE_BROWSER") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    return found


@pytest.fixture(scope="session")
def browser(chromium: str) -> Iterator[Browser]:
    """Headless Chromium with an empty profile."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=list(CHROMIUM_ARGUMENTS))
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser: Browser, dagit: Dagit) -> Iterator[Callable[..., Page]]:
    """`open_page(path, width, height, scale)`: a page of the UI in a window of that size."""
    contexts = []

    def opened(path: str, width: int = 1600, height: int = 900, scale: float = 1) -> Page:
        context = browser.new_context(viewport={"width": width, "height": height}, device_scale_factor=scale)
        contexts.append(context)
        context.set_default_timeout(PAGE_SHOWS_WITHIN)
        page = context.new_page()
        page.goto(dagit.url + path)
        return page

    yield opened
    for context in contexts:
        context.close()


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Where screenshots go: nowhere that lasts, unless NBA_ML_PICTURES names a folder (the README's)."""
    kept = os.environ.get("NBA_ML_PICTURES")
    return Path(kept) if kept else tmp_path


def _environment(home: Path) -> dict[str, str]:
    """This process's environment with a home of its own and no setting of the developer's."""
    ours = re.compile(r"NBA_ML_|DAGSTER_")
    inherited = {name: value for name, value in os.environ.items() if not ours.match(name)}
    return {
        **inherited,
        "NBA_ML_HOME": str(home),
        "DAGSTER_DISABLE_TELEMETRY": "yes",
        "DAGSTER_DG_UPDATE_CHECK_ENABLED": "0",
    }


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _post(url: str, query: str, variables: dict[str, Any]) -> Any:
    request = urllib.request.Request(
        f"{url}/graphql",
        data=json.dumps({"query": query, "variables": variables}).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as response:
        return json.load(response)


def _loaded_location(url: str, process: subprocess.Popen[bytes], log: Path) -> str:
    """Wait until the one code location is loaded; its name."""
    query = """{ workspaceOrError { ... on Workspace { locationEntries {
        name loadStatus locationOrLoadError { __typename ... on PythonError { message } } } } } }"""
    deadline = time.monotonic() + STARTS_WITHIN
    while time.monotonic() < deadline:
        assert process.poll() is None, f"nba-ml ui ended with {process.returncode}:\n{log.read_text()}"
        try:
            entries = _post(url, query, {})["data"]["workspaceOrError"]["locationEntries"]
        except OSError:  # nobody listens yet
            time.sleep(0.5)
            continue
        if entries and entries[0]["loadStatus"] == "LOADED":
            content = entries[0]["locationOrLoadError"]
            assert content["__typename"] == "RepositoryLocation", content
            name: str = entries[0]["name"]
            return name
        time.sleep(0.5)
    raise AssertionError(f"nba-ml ui did not answer within {STARTS_WITHIN} s:\n{log.read_text()}")


def _stop(process: subprocess.Popen[bytes]) -> list[str]:
    """End the servers; kill, and return, those that have not ended a minute later."""
    servers = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    # Not SIGINT: a test run in a shell's background ignores it, and so do the processes that it starts.
    os.killpg(process.pid, signal.SIGTERM)
    deadline = time.monotonic() + STOPS_WITHIN
    while (left := [server for server in servers if _at_work(server)]) and time.monotonic() < deadline:
        process.poll()
        time.sleep(0.2)
    for server in left:
        server.kill()
    process.wait(timeout=STOPS_WITHIN)
    return [str(server) for server in left]


def _at_work(server: psutil.Process) -> bool:
    """Whether it still runs. A process that has ended and whose parent has not asked yet does not."""
    try:
        return bool(server.is_running() and server.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
