"""What the commands that run the graph share: validate the months given, then open the home."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

import click

from nba_ml.cli.wrapper import err, out
from nba_ml.contract.season import parse_month
from nba_ml.settings import Settings

if TYPE_CHECKING:
    from nba_ml.contract.systems import System
    from nba_ml.runner.backfill import Backfill


def require_form(*months: str | None) -> None:
    """Reject an invalid month before anything slow starts."""
    for month in months:
        if month is not None:
            parse_month(month)


def require_order(first: str | None, last: str | None) -> None:
    """Reject months that are given the wrong way round."""
    if first and last and first > last:
        raise click.UsageError(f"--from {first} is after --to {last}. Give the earlier month to --from.")


def chosen_systems(backfill: Backfill, system: str | None) -> Iterator[Backfill]:
    """The backfill for the named system, or for each one of the graph in turn, with its name above what it prints."""
    chosen = [system_of(backfill.systems, system)] if system is not None else backfill.systems
    for each in chosen:
        if len(chosen) > 1:
            out.print(f"[bold]{each.id}[/bold]")
        yield backfill.of(each)


def system_of(systems: Sequence[System], system: str) -> System:
    """The one of the graph's systems with this id.

    Raises:
        click.UsageError: there is none.
    """
    known = {each.id: each for each in systems}
    if system not in known:
        raise click.UsageError(f"--system {system} is not one of NBA_ML_SYSTEMS, which are {', '.join(known)}.")
    return known[system]


def open_backfill() -> AbstractContextManager[Backfill]:
    """The home locked, its instance open, the graph loaded."""
    from nba_ml.runner.session import open_session

    return open_session(Settings.from_environment(), tell=err.print)
