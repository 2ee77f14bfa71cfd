"""Dagster's web server behind the guard, with its code server and daemon where nobody else runs them.

What belongs here: starting and stopping them. `dagster dev` does the same without a place for a guard.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import dagster as dg
import uvicorn
from dagster._cli.proxy_server_manager import ProxyServerManager
from dagster._utils.interrupts import setup_interrupt_handlers
from dagster._utils.log import configure_loggers
from dagster_shared.check import CheckError
from dagster_shared.ipc import get_ipc_shutdown_pipe, send_ipc_shutdown_message
from dagster_webserver.app import create_app_from_workspace_process_context
from yaml import YAMLError

from nba_ml.contract.errors import SourceDataError, UiError
from nba_ml.contract.proxies import Proxies
from nba_ml.defs.internals import LOCATION_NAME, ModuleTarget, WorkspaceFileTarget, WorkspaceProcessContext
from nba_ml.sources.embedded import source_months
from nba_ml.storage.months import MonthStore
from nba_ml.ui.guard import Guard
from nba_ml.ui.pages import WithPages

_DAEMON_STOPS_WITHIN = 60
"""Seconds for the daemon to stop before it is killed, as in `dagster dev`."""

_REQUESTS_END_WITHIN = 10
"""Seconds for requests in progress when the server stops."""

_LONGEST_REASON = 300
"""Characters shown of Dagster's words about a workspace file, which may be pages."""

_WATCH_SECONDS = 5
"""How often the embedded source's folder is listed."""

_POLL_MILLISECONDS = 2000
"""How often a page polls for updates of its assets, as in `dagster dev`."""


def serve(
    listener: socket.socket, hosts: Collection[str], proxies: Proxies, data: Path | None, store: MonthStore
) -> None:
    """Serve the UI of the instance in `DAGSTER_HOME` until Ctrl-C or SIGTERM, then end what was started here.

    `hosts` and `proxies`: see `Guard`; `data` is the embedded source's folder, whose new months become partitions, or
    None; `store` has what the pages of `ui.pages` show.

    Raises:
        UiError: the daemon stopped by itself.
    """
    with _until_ended(), ExitStack() as stack:
        instance = stack.enter_context(dg.DagsterInstance.get())
        known = [] if data is None else _months(data)  # before the code server reads them: none may come in between
        workspace = stack.enter_context(_code_server(instance))
        daemon = stack.enter_context(_daemon(workspace))
        context = stack.enter_context(_workspace(instance, workspace))
        if data is not None:
            stack.enter_context(_reloading(context, data, known))
        server = _web_server(context, listener, hosts, proxies, store)

        def stop_with_daemon() -> None:
            daemon.wait()
            server.should_exit = True

        threading.Thread(target=stop_with_daemon, daemon=True).start()
        server.run(sockets=[listener])
        raise UiError(
            f"Dagster's daemon stopped by itself with exit code {daemon.wait()}; its last lines are above. The UI was "
            "stopped too: without the daemon, runs launched in it would not start. Start it again with `make ui`."
        )


def serve_workspace(
    listener: socket.socket, hosts: Collection[str], proxies: Proxies, workspace: Path, store: MonthStore
) -> None:
    """The same for code servers and a daemon that run elsewhere: the web server alone.

    `workspace` is a file of Dagster's that says where the code servers are. One that does not answer is shown as
    such, and asked again.

    Raises:
        UiError: the file is not a workspace file.
    """
    with _until_ended(), dg.DagsterInstance.get() as instance:
        try:
            found = _workspace(instance, workspace)
        except (dg.DagsterError, CheckError, YAMLError) as error:
            reason = " ".join(str(error).split())[:_LONGEST_REASON]
            raise UiError(
                f"{workspace} is not a workspace file ({reason}). List the code servers under load_from, as "
                "deploy/compose/workspace.yaml does."
            ) from error
        with found as context:
            _web_server(context, listener, hosts, proxies, store).run(sockets=[listener])


@contextmanager
def _until_ended() -> Iterator[None]:
    """Ctrl-C and SIGTERM end the block, and nothing else."""
    configure_loggers(formatter="colored", log_level="INFO")
    setup_interrupt_handlers()  # SIGTERM as Ctrl-C
    with suppress(KeyboardInterrupt):
        yield


class _Workspace(WorkspaceProcessContext):
    """Dagster's, without the traceback that it prints where a code server was reloaded just before the end."""

    def refresh_code_location(self, name: str) -> None:
        with suppress(KeyError):  # its watcher asks while the workspace is being closed, and the location is gone
            super().refresh_code_location(name)


def _workspace(instance: dg.DagsterInstance, file: Path) -> WorkspaceProcessContext:
    return _Workspace(instance, WorkspaceFileTarget([str(file)]), version=dg.__version__)


def _web_server(
    context: WorkspaceProcessContext,
    listener: socket.socket,
    hosts: Collection[str],
    proxies: Proxies,
    store: MonthStore,
) -> uvicorn.Server:
    """Dagster's application with our pages, behind the guard. Its `run` raises KeyboardInterrupt on a signal."""
    app = create_app_from_workspace_process_context(context, live_data_poll_rate=_POLL_MILLISECONDS)
    config = uvicorn.Config(
        Guard(WithPages(app, store), listener.getsockname()[1], hosts, proxies),
        log_level="warning",
        proxy_headers=False,  # the guard's: by default any local process could forge the scheme and the client
        timeout_graceful_shutdown=_REQUESTS_END_WITHIN,
    )
    return uvicorn.Server(config)


@contextmanager
def _code_server(instance: dg.DagsterInstance) -> Iterator[Path]:
    """The code server that web server and daemon share; a workspace file that says where it is."""
    project = str(Path(__file__).parents[2])
    target = ModuleTarget("nba_ml.definitions", attribute=None, working_directory=project, location_name=LOCATION_NAME)
    with ProxyServerManager(instance, target, "warning") as servers, tempfile.TemporaryDirectory() as folder:
        workspace = Path(folder) / "workspace.yaml"
        workspace.write_text(json.dumps({"load_from": servers.get_code_server_specs()}))  # JSON is YAML
        yield workspace


@contextmanager
def _reloading(context: WorkspaceProcessContext, data: Path, known: list[str]) -> Iterator[None]:
    """Reload the code location whenever the months of the embedded source change: partitions are made as it loads.

    `known` are the months of before it was loaded first. The daemon shares the code server, and refreshes its view of
    it every minute.
    """
    ended = threading.Event()

    def watch() -> None:
        nonlocal known
        while not ended.wait(_WATCH_SECONDS):
            found = _months(data)
            if found != known:
                known = found
                context.reload_code_location(LOCATION_NAME)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()


def _months(data: Path) -> list[str]:
    """The source's months; none while its folder is unusable, which loading the location reports."""
    try:
        return source_months(data)
    except SourceDataError:
        return []


@contextmanager
def _daemon(workspace: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Dagster's daemon. It is asked to stop afterwards, and killed if it does not."""
    options = ["--workspace", str(workspace), "--log-level", "info", "--log-format", "colored"]
    # Not a signal: during the daemon's start that would print a traceback.
    read_end, write_end = get_ipc_shutdown_pipe()
    command = [sys.executable, "-m", "dagster._daemon", "run", *options, "--shutdown-pipe", str(read_end)]
    daemon = subprocess.Popen(command, pass_fds=[read_end])
    try:
        yield daemon
    finally:
        send_ipc_shutdown_message(write_end)
        try:
            with suppress(subprocess.TimeoutExpired):
                daemon.wait(_DAEMON_STOPS_WITHIN)
        finally:
            daemon.kill()
            os.close(read_end)
