"""`nba-ml fetch`: box scores, schedule and rosters from nba.com into a folder."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import click

from nba_ml.cli.wrapper import FAILED, command, day_option, say, show_json
from nba_ml.settings import Settings


@click.command(short_help="Fetch box scores, schedule and rosters from nba.com.")
@day_option("--from", "first", required=True, help="First date of the box scores.")
@day_option("--until", "last", help="Last date of the box scores. Default: yesterday, Eastern time.")
@click.option(
    "--to",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Folder to merge into (NBA_ML_DATA); created if needed.",
)
@click.option(
    "--pause", type=click.FloatRange(0.0, 60.0), default=1.0, show_default=True, help="Seconds between two requests."
)
@click.option("--json", "as_json", is_flag=True, help="Print the reports as JSON, with every change.")
@command
def fetch(first: date, last: date | None, folder: Path, pause: float, as_json: bool) -> int:
    """Fetch box scores from nba.com, and the schedule and rosters of the day after.

    Everything goes through the same import as `nba-ml import`: what is new is added, what differs is replaced and
    reported. Needs the extra nba-api: pip install 'nba_ml[nba-api]'. A run that was stopped continues where it was if
    the same command is run within six hours. Exit code 1: rows were refused.

    \b
    nba-ml fetch --from 2025-10-21 --to my-data
    NBA_ML_DATA=my-data nba-ml slate predict --date 2025-11-28
    """
    from nba_ml.cli.import_ import show_report
    from nba_ml.contract.times import eastern_date
    from nba_ml.sources.nba_com.client import Client
    from nba_ml.sources.nba_com.fetching import Fetch

    yesterday = eastern_date(datetime.now(UTC)) - timedelta(days=1)
    client = Client(Settings.from_environment().nba_api, pause=pause)
    reports = Fetch(folder, first, last or yesterday).run(client, (lambda _: None) if as_json else say)
    if as_json:
        show_json({name: report.as_json() for name, report in reports.items()})
    else:
        for name, report in reports.items():
            say(f"\n{name}")
            show_report(report)
        if not reports:
            say("No games are played on these dates, nor on the day after: nothing was asked.")
    return FAILED if any(report.refused for report in reports.values()) else 0
