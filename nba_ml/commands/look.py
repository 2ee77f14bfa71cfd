"""`nba-ml progress` and `nba-ml ui`: what is there, as a table or in Dagster's web UI."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import click

from nba_ml.commands.wrapper import command, out
from nba_ml.settings import Settings


@click.command()
@command
def progress() -> int:
    """Show how far the feature backfill is, month by month.

    A month is complete when 95% of the player-games played in it have features, substantial from 80%.
    """
    settings = Settings.from_environment()
    from nba_ml.core.progress import progress_table
    from nba_ml.definitions import month_rows_of, partitions_of
    from nba_ml.partitions import month_keys

    frame = progress_table(month_rows_of(settings).progress(month_keys(partitions_of(settings))))
    out.print(frame.to_string(index=False), soft_wrap=True, highlight=False)
    return 0


@click.command()
@click.option("--port", default=3000, show_default=True, help="Port on 127.0.0.1.")
@command
def ui(port: int) -> int:
    """Start Dagster's web UI and its daemon on this home, on loopback only."""
    from nba_ml.home import prepare_home

    settings = Settings.from_environment()
    prepare_home(settings)
    project = Path(__file__).parents[2]
    dg = Path(sys.executable).parent / "dg"
    environment = {**os.environ, "DAGSTER_HOME": str(settings.dagster_home), "NBA_ML_HOME": str(settings.home)}
    out.print(f"Dagster's web UI: http://127.0.0.1:{port} (Ctrl-C ends it)")
    where = ["--host", "127.0.0.1", "--port", str(port), "--target-path", str(project)]
    # A shell's background job is born deaf to SIGINT, and Dagster then ignores SIGTERM too.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.execve(dg, ["dg", "dev", "--use-active-venv", *where], environment)
