"""The commands of the containers of deploy/compose, run as processes: they find each other, and carry out a run.

What is not tried here is Docker's part: images, networks, volumes and limits.
"""

from __future__ import annotations

import json
import re
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import quote

import pytest
import yaml

from nba_ml_tests.deploy.postgres import new_database
from nba_ml_tests.deploy.test_deploy import COMPOSE, DEPLOY
from nba_ml_tests.e2e.elsewhere import launching
from nba_ml_tests.e2e.servers import BIN, STARTS_WITHIN, Dagit, environment, loaded_location, stop
from nba_ml_tests.ports import free_port
from nba_ml_tests.processes import heed_signals

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory, postgres_url: str) -> Iterator[Dagit]:
    """Code server, web server and daemon, each by its container's command, on Dagster's settings of Compose."""
    folder = tmp_path_factory.mktemp("deployed")
    code, web = free_port(), free_port()
    dagster_home, log = folder / "dagster_home", folder / "servers.log"
    dagster_home.mkdir()
    (dagster_home / "dagster.yaml").write_text((DEPLOY / "compose/dagster.yaml").read_text())
    workspace = yaml.safe_load((DEPLOY / "compose/workspace.yaml").read_text())
    workspace["load_from"][0]["grpc_server"] |= {"host": "127.0.0.1", "port": code}
    (folder / "workspace.yaml").write_text(yaml.safe_dump(workspace))
    environ = environment(folder / "home") | {
        "DAGSTER_HOME": str(dagster_home),
        "DAGSTER_POSTGRES_URL": new_database(postgres_url, "deployed"),
    }
    [serving_code] = re.findall(r"^CMD (\[(?:.|\\\n)*?\])$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)
    services = COMPOSE["services"]
    healthy = local(services["code"]["healthcheck"]["test"][1:], "4000", code)
    with ExitStack() as stack:

        def start(command: list[str]) -> subprocess.Popen[bytes]:
            return stack.enter_context(running(command, environ, folder, log))

        server = start(local(json.loads(serving_code.replace("\\\n", "")), "4000", code))
        until = time.monotonic() + STARTS_WITHIN
        while subprocess.run(healthy, env=environ, cwd=folder, capture_output=True, check=False).returncode:
            assert server.poll() is None, log.read_text()
            assert time.monotonic() < until, log.read_text()
        web_server = start([*local(services["webserver"]["command"], "3000", web), "--port", str(web)])
        start(local(services["daemon"]["command"], "", 0))
        url = f"http://127.0.0.1:{web}"
        yield Dagit(url, folder / "home", log, loaded_location(url, web_server, log), web_server.pid)


def local(command: list[str], published: str, port: int) -> list[str]:
    """The command on loopback, and on another port than the container's."""
    replaced = {"0.0.0.0": "127.0.0.1", published: str(port)}
    return [str(BIN / command[0]), *(replaced.get(word, word) for word in command[1:])]


@contextmanager
def running(command: list[str], environ: dict[str, str], folder: Path, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            env=environ,
            cwd=folder,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=heed_signals,
        )
    try:
        yield process
    finally:
        left = stop(process)
    assert not left, f"still running after SIGTERM: {left}"


def test_a_run_launched_in_the_web_server_is_carried_out(deployed: Dagit) -> None:
    """Guards a deployment whose parts do not find each other: the run waits in the queue for ever."""
    launched = deployed.graphql(launching(deployed.location).replace('"champion"', '"backfill_progress"'))
    assert launched["launchRun"]["__typename"] == "LaunchRunSuccess", launched
    run = launched["launchRun"]["run"]["runId"]
    query = f'{{ runOrError(runId: "{run}") {{ ... on Run {{ status }} }} }}'
    until = time.monotonic() + STARTS_WITHIN
    while (status := deployed.graphql(query)["runOrError"]["status"]) not in ("SUCCESS", "FAILURE"):
        assert time.monotonic() < until, deployed.log.read_text()[-3000:]
        time.sleep(0.5)
    assert status == "SUCCESS", deployed.log.read_text()[-3000:]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        pytest.param({}, 405, id="an image"),
        pytest.param({"Host": "rebound.example"}, 421, id="a name of the page's"),
        pytest.param({"Origin": "http://elsewhere.example", "Accept": "text/html"}, 403, id="another site"),
    ],
)
def test_no_other_site_launches_a_run(deployed: Dagit, headers: dict[str, str], status: int) -> None:
    """Guards the operator's browser: Dagster's own web server runs a mutation that an image's address asks for."""
    request = urllib.request.Request(
        f"{deployed.url}/graphql?query={quote(launching(deployed.location))}", headers=headers
    )
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=60)
    assert refused.value.code == status


def test_the_pages_that_the_metadata_links_to_are_there(deployed: Dagit) -> None:
    """Guards the links to model cards and the report, which Dagster's own web server does not have."""
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"{deployed.url}/nba_ml/walk_forward/report.html", timeout=60)
    assert refused.value.code == 404
    assert "Materialise walk_forward" in refused.value.read().decode()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        pytest.param(["--host", "0.0.0.0"], "--host 0.0.0.0 needs --workspace: there is no login.", id="open"),
        pytest.param(["--workspace", "workspace.yaml"], "has no dagster.yaml. Set DAGSTER_HOME", id="no instance"),
        pytest.param(["--workspace", "workspace.yaml", "--host", ""], "--host is empty.", id="every network"),
    ],
)
def test_what_would_be_open_or_empty_is_refused(tmp_path: Path, options: list[str], said: str) -> None:
    """Guards a UI without a login on every network, and one on an instance that no daemon looks at."""
    (tmp_path / "workspace.yaml").write_text("load_from: []\n")
    ended = subprocess.run(
        [BIN / "nba-ml", "ui", *options],
        cwd=tmp_path,
        env=environment(tmp_path / "home"),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ended.returncode == 2
    assert said in ended.stderr
    assert [file.name for file in tmp_path.iterdir()] == ["workspace.yaml"]


@pytest.mark.parametrize("text", ["", "load_from: [\n", "hello: 1\n"], ids=["empty", "cut short", "another file"])
def test_a_file_that_is_no_workspace_is_named(tmp_path: Path, text: str) -> None:
    """Guards against dagster.yaml being blamed for it, which the message then advised to move away."""
    (tmp_path / "workspace.yaml").write_text(text)
    (tmp_path / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    ended = subprocess.run(
        [BIN / "nba-ml", "ui", "--port", str(free_port()), "--workspace", "workspace.yaml"],
        cwd=tmp_path,
        env=environment(tmp_path / "home") | {"DAGSTER_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ended.returncode == 2
    assert "Error: workspace.yaml is not a workspace file (" in ended.stderr, ended.stderr
