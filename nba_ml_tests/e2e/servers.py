"""`nba-ml ui` on a home, and a browser to look at it with.

What belongs here: starting and ending processes. What is done on a page stands in `pages`.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from playwright.sync_api import Browser, Page, Playwright

from nba_ml_tests.ports import free_port
from nba_ml_tests.processes import heed_signals

BIN = Path(sys.executable).parent

CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
CHROMIUM_ARGUMENTS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",  # 64 MB in most containers: a page that needs more crashes
    "--disable-quic",
    "--no-first-run",
    # It must ask nothing of any other machine: the pages are Dagster's own, served from loopback.
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

STARTS_WITHIN = 600
"""Seconds for the servers to answer: 8 s on an idle machine of two cores, 180 s at a load of 20."""

STOPS_WITHIN = 60
"""Seconds for the servers to end: 8 s on a busy machine."""

ANSWERS_WITHIN = 60
"""Seconds for one answer of the server."""

PAGE_SHOWS_WITHIN = 60_000
"""Milliseconds for a page to show what is waited for: under 1 s on an idle machine."""

BROWSER_STARTS_WITHIN = 180_000
"""Milliseconds for the browser to start: 1 s on an idle machine."""


@dataclass(frozen=True)
class Dagit:
    """Dagster's web UI, running on a home of its own."""

    url: str
    home: Path
    log: Path
    location: str
    pid: int

    @contextmanager
    def daemon_held(self) -> Iterator[None]:
        """The daemon stands still while the block runs: of what the block does it sees all or nothing."""
        processes = psutil.Process(self.pid).children(recursive=True)
        [daemon] = [process for process in processes if "dagster._daemon" in process.cmdline()]
        try:
            daemon.suspend()
            while not _can_be_written(self.home / "dagster" / "schedules" / "schedules.db"):
                daemon.resume()  # it was caught in a write, and would keep everybody else from writing
                time.sleep(0.1)
                daemon.suspend()
            yield
        finally:
            daemon.resume()

    def graphql(self, query: str, **variables: Any) -> Any:
        """The `data` of an answer. Raises AssertionError with Dagster's own words if it has errors."""
        answer = _post(self.url, query, variables)
        assert "errors" not in answer, answer["errors"]
        return answer["data"]


@contextmanager
def serving(home: Path, log: Path, settings: Mapping[str, str] | None = None) -> Iterator[Dagit]:
    """`nba-ml ui` on the home, its code location loaded; afterwards none of its processes is left.

    `settings`: environment variables beside those of `environment`.
    """
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    process = start(home, log, port, settings)
    try:
        location = loaded_location(url, process, log)
        yield Dagit(url, home, log, location, process.pid)
    finally:
        left = stop(process)
    assert not left, f"still running after the UI was stopped: {left}"


def start(home: Path, log: Path, port: int, settings: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
    """Start `nba-ml ui`, in a session of its own: one signal then reaches all that it starts."""
    with log.open("w") as output:
        return subprocess.Popen(
            [BIN / "nba-ml", "ui", "--port", str(port)],
            env={**environment(home), **(settings or {})},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=heed_signals,
        )


@contextmanager
def browsing(playwright: Playwright, chromium: str, *arguments: str) -> Iterator[Browser]:
    """Headless Chromium with an empty profile. `arguments`: options beside the usual ones.

    `playwright` is started once in a process: a second one finds the first one's event loop running, and refuses.
    """
    browser = playwright.chromium.launch(
        executable_path=chromium, args=[*CHROMIUM_ARGUMENTS, *arguments], timeout=BROWSER_STARTS_WITHIN
    )
    yield browser
    browser.close()


def opened(browser: Browser, url: str, width: int, height: int, scale: float = 1) -> Page:
    """A page in a window of that size, and a context of its own: nothing remembered from another page."""
    context = browser.new_context(viewport={"width": width, "height": height}, device_scale_factor=scale)
    context.set_default_timeout(PAGE_SHOWS_WITHIN)
    page = context.new_page()
    page.goto(url)
    return page


def find_chromium() -> str | None:
    """Path of the machine's Chromium."""
    return next(filter(None, map(shutil.which, CHROMIUM_NAMES)), None)


def environment(home: Path) -> dict[str, str]:
    """This process's environment with a home of its own and no setting of the developer's."""
    ours = re.compile(r"NBA_ML_|DAGSTER_")
    inherited = {name: value for name, value in os.environ.items() if not ours.match(name)}
    return {
        **inherited,
        "NBA_ML_HOME": str(home),
        "NBA_ML_SYSTEMS": "xgboost_v1",
        # Two threads wait for each other where two workers and their servers share the cores.
        "NBA_ML_THREADS": "1",
        "DAGSTER_DISABLE_TELEMETRY": "yes",
        "DAGSTER_DG_UPDATE_CHECK_ENABLED": "0",
    }


def _can_be_written(database: Path) -> bool:
    """Whether nobody holds SQLite's lock of writers."""
    with closing(sqlite3.connect(database, timeout=0.5, isolation_level=None)) as connection:
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return False
        connection.execute("ROLLBACK")
        return True


def _post(url: str, query: str, variables: dict[str, Any]) -> Any:
    request = urllib.request.Request(
        f"{url}/graphql",
        data=json.dumps({"query": query, "variables": variables}).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=ANSWERS_WITHIN) as response:
        return json.load(response)


def loaded_location(url: str, process: subprocess.Popen[bytes], log: Path) -> str:
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


def stop(process: subprocess.Popen[bytes]) -> list[str]:
    """End the servers; kill, and return, those that have not ended a minute later."""
    servers = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
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
