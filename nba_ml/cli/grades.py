"""`nba-ml grades`: the platform's own systems beside ours."""

from __future__ import annotations

import click

from nba_ml.cli.session import require_form, require_order
from nba_ml.cli.wrapper import AS_JSON, FAILED, command, say, show_frame, show_json
from nba_ml.settings import Settings, parse_systems


@click.command(short_help="Grade the platform's own systems beside ours (BigQuery).")
@click.option(
    "--systems", metavar="A,B,...", default="", help="Their system_ids. Default: those of NBA_ML_PLATFORM_SYSTEMS."
)
@click.option("--from", "first", metavar="YYYY-MM", help="First month. Default: that of --to.")
@click.option("--to", "last", metavar="YYYY-MM", help="Last month. Default: the last that has a snapshot.")
@AS_JSON
@command
def grades(systems: str, first: str | None, last: str | None, as_json: bool) -> int:
    """Grade the platform's own systems beside ours, on the same player-games (BigQuery only).

    Reads the active rows of NBA_ML_PREDICTION_TABLE, one query per month. Of each player, game and system the newest
    counts. Placeholders (a line of exactly 20.0) and invalidated rows are left out and counted. Ours are the rows of
    prediction_grades and the served slates. The gain is the system's error minus ours: above 0, ours is better.

    What the systems predicted is kept in the store. The exit code is 1 if no system has a graded row.

    \b
    nba-ml grades --systems moving_average,catboost_v8 --from 2025-11 --to 2026-01
    """
    settings = Settings.from_environment()
    from nba_ml.data.stored import SNAPSHOT
    from nba_ml.defs.resources import open_store, platform_predictions_of
    from nba_ml.slates.platform import grade_platform_months
    from nba_ml.slates.platform_grades import left_out_lines, paired_frame, platform_frame
    from nba_ml.slates.store import SlateStore

    platform, store = platform_predictions_of(settings), open_store(settings.store)
    chosen = parse_systems(systems, "--systems") or platform.systems
    months = _months(store.stored(SNAPSHOT), first, last)
    report = grade_platform_months(store, SlateStore(store.objects), platform, months, chosen).report
    graded = any(grade.metrics for grade in report.grades)
    if as_json:
        show_json(report.model_dump(mode="json"))
        return 0 if graded else FAILED
    span = months[0] if len(months) == 1 else f"{months[0]} to {months[-1]}"
    if report.grades:
        say(f"The platform's systems, {span}: mean absolute error in points, 95% intervals")
        show_frame(platform_frame(report), below=("hit rate",))
    if report.paired:
        say("The system's error minus ours, on the player-games of both")
        show_frame(paired_frame(report), below=("ours", "hit rate", "our hit rate"))
    for line in left_out_lines(report):
        say(line)
    return 0 if graded else FAILED


def _months(stored: list[str], first: str | None, last: str | None) -> list[str]:
    require_form(first, last)
    end = last or (stored[-1] if stored else first)
    if end is None:
        raise click.UsageError("No month has a snapshot yet, so there are no results to grade with. Run `nba-ml run`.")
    start = first or end
    require_order(start, end)
    return [month for month in stored if start <= month <= end] or [end]
