"""`nba-ml ui`: Dagster's web UI and daemon on a home."""

from __future__ import annotations

import os
import signal

import click

from nba_ml.cli.wrapper import command, out
from nba_ml.settings import Settings


@click.command(short_help="Start Dagster's web UI and its daemon.")
@click.option("--port", type=click.IntRange(1, 65_535), default=3000, show_default=True, help="Port on 127.0.0.1.")
@command
def ui(port: int) -> int:
    """Start Dagster's web UI and its daemon on this home, on loopback only.

    Whoever can open it can launch runs and promote models: there is no login. A guard refuses what other web sites send
    through your browser. `dagster dev` and `dagster-webserver` have no such guard: prefer this command.

    To reach it under another name or port (a tunnel, a proxy with a login), set NBA_ML_UI_HOSTS to what the browser
    shows: ui.example.com,localhost:8080.
    """
    from nba_ml.runner.home import prepare_home
    from nba_ml.runner.instance_errors import config_errors_named, database_errors_named
    from nba_ml.ui.listener import loopback_listener

    settings = Settings.from_environment()
    prepare_home(settings)
    # A shell starts a background job with SIGINT ignored, and everything started here would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ |= {"DAGSTER_HOME": str(settings.dagster_home), "NBA_ML_HOME": str(settings.home)}
    with loopback_listener(port) as listener:
        out.print(f"Dagster's web UI: http://127.0.0.1:{port} (Ctrl-C ends it)")
        try:
            from nba_ml.defs.resources import open_store
            from nba_ml.ui.server import serve

            store = open_store(settings.store)
            with database_errors_named(settings.dagster_home), config_errors_named(settings.dagster_home):
                data = None if settings.bigquery else settings.data
                serve(listener, settings.ui_hosts, settings.trusted_proxies, data, store)
        except KeyboardInterrupt:  # how it is ended, at any moment
            return 0
    return 0
