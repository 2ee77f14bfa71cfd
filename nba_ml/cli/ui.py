"""`nba-ml ui`: Dagster's web UI and daemon on a home, or the web UI alone where the others run elsewhere."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import click

from nba_ml.cli.wrapper import command, out
from nba_ml.contract.errors import UiError
from nba_ml.settings import Settings

_LOOPBACK = "127.0.0.1"


@click.command(short_help="Start Dagster's web UI and its daemon.")
@click.option("--port", type=click.IntRange(1, 65_535), default=3000, show_default=True, help="Port to listen on.")
@click.option(
    "--workspace",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A workspace file: the web UI alone, for code servers and a daemon that run elsewhere.",
)
@click.option(
    "--host",
    default=_LOOPBACK,
    show_default=True,
    help="Address to listen on, with --workspace: 0.0.0.0 in a container.",
)
@command
def ui(port: int, workspace: Path | None, host: str) -> int:
    """Start Dagster's web UI and its daemon on this home, on loopback only.

    Whoever can open it can launch runs and promote models: there is no login. A guard refuses what other web sites send
    through your browser. `dagster dev` and `dagster-webserver` have no such guard: prefer this command.

    To reach it under another name or port (a tunnel, a proxy with a login), set NBA_ML_UI_HOSTS to what the browser
    shows: ui.example.com,localhost:8080.

    With --workspace it is `dagster-webserver` with that guard, on the instance in DAGSTER_HOME.
    """
    from nba_ml.runner.home import prepare_home
    from nba_ml.runner.instance_errors import config_errors_named, database_errors_named
    from nba_ml.ui.listener import listening_on

    settings = Settings.from_environment()
    if not host:  # the operating system would take it for every address
        raise UiError("--host is empty. 127.0.0.1 serves this machine only, 0.0.0.0 every network.")
    if workspace is None:
        if host != _LOOPBACK:
            raise UiError(
                f"--host {host} needs --workspace: there is no login. To reach the UI from another machine, use a "
                "tunnel (ssh -L) or a proxy with a login, and set NBA_ML_UI_HOSTS."
            )
        prepare_home(settings)
    elif not (settings.dagster_home / "dagster.yaml").is_file():  # never made here: nobody else would look into it
        raise UiError(
            f"{settings.dagster_home} has no dagster.yaml. Set DAGSTER_HOME to the folder with that of the daemon."
        )
    # A shell starts a background job with SIGINT ignored, and everything started here would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ |= {"DAGSTER_HOME": str(settings.dagster_home), "NBA_ML_HOME": str(settings.home)}
    with listening_on(host, port) as listener:
        # Of an address for all networks: what the guard lets through as it is.
        shown = _LOOPBACK if host in ("0.0.0.0", "::") else host
        out.print(f"Dagster's web UI: http://{shown}:{port} (Ctrl-C ends it)")
        try:
            from nba_ml.defs.resources import open_store
            from nba_ml.ui.server import serve, serve_workspace

            store = open_store(settings.store)
            with database_errors_named(settings.dagster_home), config_errors_named(settings.dagster_home):
                reached = settings.ui_hosts, settings.trusted_proxies
                if workspace is not None:
                    serve_workspace(listener, *reached, workspace, store)
                else:
                    serve(listener, *reached, None if settings.bigquery else settings.data, store)
        except KeyboardInterrupt:  # how it is ended, at any moment
            return 0
    return 0
