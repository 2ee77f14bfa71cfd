"""`nba-ml progress`: how many of each month's player-games have features."""

from __future__ import annotations

import click

from nba_ml.cli.wrapper import command, out
from nba_ml.settings import Settings


@click.command()
@command
def progress() -> int:
    """Show how far the feature backfill is, month by month.

    A month is complete when 95% of the player-games played in it have features, substantial from 80%.
    """
    settings = Settings.from_environment()
    from nba_ml.data.progress import progress_table
    from nba_ml.defs.partitions import month_keys, partitions_of
    from nba_ml.defs.resources import month_rows_of

    frame = progress_table(month_rows_of(settings).progress(month_keys(partitions_of(settings))))
    out.print(frame.to_string(index=False), soft_wrap=True, highlight=False)
    return 0
