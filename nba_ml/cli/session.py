"""What the commands that run the graph share: validate the months given, then open the home."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

import click

from nba_ml.cli.wrapper import err, out
from nba_ml.settings import Settings

if TYPE_CHECKING:
    from nba_ml.runner.backfill import Backfill


def require_form(*months: str | None) -> None:
    """Reject an invalid month before anything slow starts."""
    from nba_ml.contract.season import parse_month

    for month in months:
        if month is not None:
            parse_month(month)


SYSTEM = click.option("--system", metavar="ID", help="Only this system of NBA_ML_SYSTEMS. Default: every one.")


def chosen_systems(backfill: Backfill, system: str | None) -> Iterator[Backfill]:
    """The backfill for the named system, or for each one of the graph in turn, with its name above what it prints."""
    known = {each.id: each for each in backfill.systems}
    if system is not None and system not in known:
        raise click.UsageError(f"--system {system} is not in NBA_ML_SYSTEMS, which names {', '.join(known)}.")
    for each in [known[system]] if system else known.values():
        if len(known) > 1:
            out.print(f"[bold]{each.id}[/bold]")
        yield backfill.of(each)


def open_backfill() -> AbstractContextManager[Backfill]:
    """The home locked, its instance open, the graph loaded."""
    from nba_ml.runner.session import open_session

    return open_session(Settings.from_environment(), tell=err.print)
