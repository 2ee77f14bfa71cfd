"""`nba-ml ui` from its start to its end: no process is left behind, and what went wrong is said.

What it serves: `test_guard.py` and `e2e`.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from nba_ml.settings import SAMPLE_DATA
from nba_ml_tests.cli.command import Home
from nba_ml_tests.e2e.servers import STARTS_WITHIN, STOPS_WITHIN, loaded_location, start
from nba_ml_tests.ports import free_port

pytestmark = pytest.mark.slow


@contextmanager
def started(folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], list[psutil.Process], Path]]:
    """The command, its daemon at work; what it started; its log. Afterwards none of these processes is left."""
    port, log = free_port(), folder / "servers.log"
    process = start(folder / "home", log, port)
    servers: list[psutil.Process] = []
    try:
        loaded_location(f"http://127.0.0.1:{port}", process, log)
        servers = psutil.Process(process.pid).children(recursive=True)
        while "Instance is configured with the following daemons" not in log.read_text():
            assert process.poll() is None, log.read_text()
            time.sleep(0.5)
        yield process, servers, log
    finally:
        for each in servers:
            with suppress(psutil.NoSuchProcess):
                each.kill()
        process.kill()
        process.wait()


@pytest.mark.parametrize(
    "end",
    [
        lambda pid: os.kill(pid, signal.SIGTERM),  # a service manager
        lambda pid: os.killpg(pid, signal.SIGINT),  # Ctrl-C reaches every process of the terminal's group
    ],
    ids=["SIGTERM", "Ctrl-C"],
)
def test_it_ends_with_all_that_it_started(tmp_path: Path, end: Callable[[int], None]) -> None:
    """A daemon that is left behind launches runs that nobody sees; a traceback looks like a fault."""
    with started(tmp_path) as (process, servers, log):
        assert [each for each in servers if "dagster._daemon" in each.cmdline()]
        end(process.pid)
        assert process.wait(STOPS_WITHIN) == 0
        _, left = psutil.wait_procs(servers, STOPS_WITHIN)
        assert left == []
        assert "Traceback" not in log.read_text()


def test_it_ends_when_the_daemon_does(tmp_path: Path) -> None:
    """The UI goes on and takes orders that nothing carries out."""
    with started(tmp_path) as (process, servers, log):
        [daemon] = [each for each in servers if "dagster._daemon" in each.cmdline()]
        daemon.kill()
        assert process.wait(STOPS_WITHIN) == 2
        _, left = psutil.wait_procs(servers, STOPS_WITHIN)
        assert left == []
        assert "Error: Dagster's daemon stopped by itself with exit code -9" in log.read_text()


def test_a_port_in_use_is_said_before_anything_is_started(tmp_path: Path) -> None:
    """A traceback half a minute later, or a second daemon on the same home."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = Home(tmp_path / "home").run("ui", "--port", str(port))
    assert ended.returncode == 2
    assert f"Error: Port {port} of 127.0.0.1 cannot be used: Address already in use." in ended.stderr
    assert "--port" in ended.stderr
    assert ended.stdout == ""


def test_a_new_month_of_box_scores_becomes_a_partition(tmp_path: Path) -> None:
    """A user adds last month's file, and cannot select it until the UI is restarted."""
    data = tmp_path / "data" / "player_games"
    data.mkdir(parents=True)
    shutil.copy(SAMPLE_DATA / "player_games" / "2021-10.parquet", data)
    port, log = free_port(), tmp_path / "servers.log"
    process = start(tmp_path / "home", log, port, {"NBA_ML_DATA": str(data.parent)})
    try:
        url = f"http://127.0.0.1:{port}"
        assert loaded_location(url, process, log) == "nba_ml", "as in workspace.yaml"
        assert partitions(url) == ["2021-10"]
        shutil.copy(SAMPLE_DATA / "player_games" / "2021-11.parquet", data)
        until = time.monotonic() + STARTS_WITHIN
        while partitions(url) != ["2021-10", "2021-11"]:
            assert time.monotonic() < until, log.read_text()
            time.sleep(0.5)
    finally:
        process.terminate()
        process.wait(STOPS_WITHIN)


def partitions(url: str) -> list[str]:
    """The months that the UI offers."""
    query = '{assetNodeOrError(assetKey: {path: "xgboost_model"}) {... on AssetNode {partitionKeys}}}'
    body = json.dumps({"query": query}).encode()
    request = urllib.request.Request(f"{url}/graphql", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return list(json.load(answer)["data"]["assetNodeOrError"]["partitionKeys"])
