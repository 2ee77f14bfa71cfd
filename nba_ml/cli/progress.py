"""`nba-ml progress`: how many of each month's player-games have features, and what its queries cost."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from nba_ml.cli.session import system_of
from nba_ml.cli.wrapper import AS_JSON, command, say, show_frame, show_json
from nba_ml.settings import Settings

if TYPE_CHECKING:
    from nba_ml.data.progress import MonthProgress
    from nba_ml.sources.job_costs import Cost


@click.command()
@AS_JSON
@click.option("--system", metavar="ID", help="A system of NBA_ML_SYSTEMS: its features. Default: the first.")
@command
def progress(as_json: bool, system: str | None) -> int:
    """Show how far the feature backfill is, month by month.

    A month is complete when 95% of the player-games played in it have features, substantial from 80%. Each system has
    the features of its own version.

    With BigQuery, also what it has billed for each month: the queries of its snapshots, its grades, its
    slates and its observations, as the runs in this home's Dagster instance recorded them.
    """
    settings = Settings.from_environment()
    of = system_of(settings.systems, system) if system else settings.systems[0]
    from nba_ml.data.progress import progress_table
    from nba_ml.defs.partitions import month_keys, partitions_of
    from nba_ml.defs.resources import month_rows_of
    from nba_ml.sources.job_costs import Cost, recorded_jobs

    with recorded_jobs() as jobs:
        months = month_rows_of(settings).progress(month_keys(partitions_of(settings)), system=of)
    costs = None if settings.bigquery is None else _costs(settings)
    if as_json:
        show_json(_as_json(months, costs, Cost.of(jobs)))
        return 0
    frame = progress_table(months)
    if costs is not None:
        of_months = [costs.get(month, Cost()) for month in frame["month"]]
        frame["MB billed"] = [f"{cost.megabytes:,.1f}" for cost in of_months]
        frame["slot s"] = [f"{cost.slot_seconds:,.1f}" for cost in of_months]
    show_frame(frame, below=("notes",) if costs is None else ("notes", "MB billed", "slot s"))
    if costs is not None:
        say(f"BigQuery, all months: {sum(costs.values(), Cost())}.")
        if None in costs:
            say(f"  of this, queries over all months at once: {costs[None]}.")
        say(f"This command: {Cost.of(jobs)}.")
    return 0


def _costs(settings: Settings) -> dict[str | None, Cost]:
    """Month -> what its queries cost; empty before the first run."""
    if not settings.dagster_home.exists():
        return {}
    from nba_ml.defs.costs import month_costs
    from nba_ml.runner.home import open_instance

    with open_instance(settings) as instance:
        return month_costs(instance)


def _as_json(months: list[MonthProgress], costs: dict[str | None, Cost] | None, this_command: Cost) -> dict[str, Any]:
    from nba_ml.sources.job_costs import Cost

    rows = [
        {
            "month": each.month,
            "status": str(each.status),
            "coverage": round(each.coverage, 6),
            "covered": each.covered,
            "played": each.played.rows,
            "expected": each.expected,
            "feature_rows": each.features.rows,
            "quality": each.quality,
            "notes": list(each.notes()),
            **({} if costs is None else {"bigquery": asdict(costs.get(each.month, Cost()))}),
        }
        for each in months
    ]
    if costs is None:
        return {"months": rows}
    totals = {"all": sum(costs.values(), Cost()), "all_months_at_once": costs.get(None, Cost())}
    return {
        "months": rows,
        "bigquery": {name: asdict(cost) for name, cost in {**totals, "this_command": this_command}.items()},
    }
