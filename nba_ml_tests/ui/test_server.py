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
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from types import SimpleNamespace
from typing import Any

import dagster as dg
import psutil
import pytest

from nba_ml.settings import SAMPLE_DATA
from nba_ml.ui import server
from nba_ml_tests.cli.command import Home
from nba_ml_tests.e2e.servers import STARTS_WITHIN, STOPS_WITHIN, loaded_location, start
from nba_ml_tests.ports import free_port

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Started:
    """The command, what it started, its log and its address."""

    process: subprocess.Popen[bytes]
    servers: list[psutil.Process]
    log: Path
    url: str

    def ends_with_all_that_it_started(self, code: int) -> None:
        assert self.process.wait(STOPS_WITHIN) == code
        _, left = psutil.wait_procs(self.servers, STOPS_WITHIN)
        assert left == []


@contextmanager
def started(folder: Path, settings: Mapping[str, str] | None = None) -> Iterator[Started]:
    """The command, its daemon at work. Afterwards none of its processes is left."""
    port, log = free_port(), folder / "servers.log"
    process = start(folder / "home", log, port, settings)
    servers: list[psutil.Process] = []
    try:
        url = f"http://127.0.0.1:{port}"
        assert loaded_location(url, process, log) == "nba_ml", "as in workspace.yaml"
        servers = psutil.Process(process.pid).children(recursive=True)
        while "Instance is configured with the following daemons" not in log.read_text():
            assert process.poll() is None, log.read_text()
            time.sleep(0.5)
        assert [each for each in servers if "dagster._daemon" in each.cmdline()]
        yield Started(process, servers, log, url)
    finally:
        for each in servers:
            with suppress(psutil.NoSuchProcess):
                each.kill()
        process.kill()
        process.wait()


def test_ctrl_c_ends_it_with_all_that_it_started(tmp_path: Path) -> None:
    """A daemon that is left behind launches runs that nobody sees; a traceback looks like a fault."""
    with started(tmp_path) as ui:
        os.killpg(ui.process.pid, signal.SIGINT)  # Ctrl-C reaches every process of the terminal's group
        ui.ends_with_all_that_it_started(0)
        assert "Traceback" not in ui.log.read_text()


def test_it_ends_when_the_daemon_does(tmp_path: Path) -> None:
    """The UI goes on and takes orders that nothing carries out."""
    with started(tmp_path) as ui:
        [daemon] = [each for each in ui.servers if "dagster._daemon" in each.cmdline()]
        daemon.kill()
        ui.ends_with_all_that_it_started(2)
        assert "Error: Dagster's daemon stopped by itself with exit code -9" in ui.log.read_text()


def test_a_port_in_use_is_said_before_anything_is_started(tmp_path: Path) -> None:
    """A traceback half a minute later, or a second daemon on the same home."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = Home(tmp_path / "home").run("ui", "--port", str(port))
    assert ended.returncode == 2
    assert f"Error: Port {port} of 127.0.0.1 cannot be used: Address already in use." in ended.stderr
    assert "--port" in ended.stderr
    assert ended.stdout == ""


def test_a_new_month_of_box_scores_becomes_a_partition_and_sigterm_ends_it(tmp_path: Path) -> None:
    """A user adds last month's file, and cannot select it until the UI is restarted. A service manager ends it, and a
    daemon is left behind."""
    data = tmp_path / "data" / "player_games"
    data.mkdir(parents=True)
    shutil.copy(SAMPLE_DATA / "player_games" / "2021-10.parquet", data)
    with started(tmp_path, {"NBA_ML_DATA": str(data.parent)}) as ui:
        assert partitions(ui.url) == ["2021-10"]
        shutil.copy(SAMPLE_DATA / "player_games" / "2021-11.parquet", data)
        until = time.monotonic() + STARTS_WITHIN
        while partitions(ui.url) != ["2021-10", "2021-11"]:
            assert time.monotonic() < until, ui.log.read_text()
            time.sleep(0.5)
        ui.process.terminate()
        ui.ends_with_all_that_it_started(0)
        assert "Traceback" not in ui.log.read_text()


def test_a_month_that_comes_while_the_code_is_loaded_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A month's file is added in the seconds of the start, and its partition is missing until the next file comes."""
    monkeypatch.setattr(server, "_WATCH_SECONDS", 0.01)
    (tmp_path / "player_games").mkdir()
    for month in ("2021-10", "2021-11"):
        (tmp_path / "player_games" / f"{month}.parquet").touch()
    reloaded = SimpleQueue[str]()
    context: Any = SimpleNamespace(reload_code_location=reloaded.put)
    with server._reloading(context, tmp_path, ["2021-10"]):
        assert reloaded.get(timeout=60) == "nba_ml"
    assert reloaded.empty()


def partitions(url: str) -> list[str]:
    """The months that the UI offers."""
    query = '{assetNodeOrError(assetKey: {path: "xgboost_model"}) {... on AssetNode {partitionKeys}}}'
    body = json.dumps({"query": query}).encode()
    request = urllib.request.Request(f"{url}/graphql", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return list(json.load(answer)["data"]["assetNodeOrError"]["partitionKeys"])


def test_a_code_server_that_was_reloaded_just_before_the_end_is_no_traceback(tmp_path: Path) -> None:
    """Guards a log that ends in a KeyError: Dagster's watcher asks for the location of a workspace that is closed."""
    code = {"grpc_server": {"host": "127.0.0.1", "port": free_port(), "location_name": "nba_ml"}}
    file = tmp_path / "workspace.yaml"
    file.write_text(json.dumps({"load_from": [code]}))
    with dg.instance_for_test() as instance:
        with pytest.warns(UserWarning, match="nba_ml"), server._workspace(instance, file) as context:
            assert context.create_request_context().code_location_names == ["nba_ml"]
        context.refresh_code_location("nba_ml")
        assert context.create_request_context().code_location_names == []
