"""What the commands that run the graph share: validate the months given, then open the home."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from nba_ml.cli.wrapper import err
from nba_ml.settings import Settings

if TYPE_CHECKING:
    from nba_ml.runner.backfill import Backfill


def require_form(*months: str | None) -> None:
    """Reject an invalid month before anything slow starts."""
    from nba_ml.contract.season import parse_month

    for month in months:
        if month is not None:
            parse_month(month)


def open_backfill() -> AbstractContextManager[Backfill]:
    """The home locked, its instance open, the graph loaded."""
    from nba_ml.runner.session import open_session

    return open_session(Settings.from_environment(), tell=err.print)
