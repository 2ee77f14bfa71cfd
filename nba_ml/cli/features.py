"""`nba-ml features`: computes months of the feature store where the box scores are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date

import click

from nba_ml.cli.session import require_order
from nba_ml.cli.wrapper import command, day_option, say
from nba_ml.contract.errors import SettingsError
from nba_ml.contract.features import V2_33FEATURES, V3_FEATURES
from nba_ml.contract.season import season_months
from nba_ml.settings import Settings

_VERSIONS = {version.name: version for version in (V2_33FEATURES, V3_FEATURES)}
"""Those that are computed from box scores and lines alone."""


@click.command(short_help="Compute features in BigQuery, from its box scores.")
@click.option("--to-bigquery", is_flag=True, help="Write to NBA_ML_FEATURE_TABLE. There is no other target.")
@click.option("--from", "first", metavar="YYYY-MM", help="First month.")
@click.option("--to", "last", metavar="YYYY-MM", help="Last month. Default: the first.")
@day_option("--date", "day", help="Instead of months: a date whose games are still to be played.")
@click.option(
    "--version",
    "version",
    type=click.Choice(list(_VERSIONS)),
    default=V2_33FEATURES.name,
    show_default=True,
    help="Version of the features.",
)
@click.option("--dry-run", is_flag=True, help="Show what each month would bill, and write nothing.")
@click.option(
    "--max-bytes",
    type=click.IntRange(min=1),
    metavar="BYTES",
    help="Most that one month may bill. Default: NBA_ML_BIGQUERY_MAX_BYTES.",
)
@command
def features(
    to_bigquery: bool,
    first: str | None,
    last: str | None,
    day: date | None,
    version: str,
    dry_run: bool,
    max_bytes: int | None,
) -> int:
    """Compute months of the feature store in BigQuery (NBA_ML_SOURCE=bigquery).

    Reads NBA_ML_SUMMARY_TABLE, and NBA_ML_LINES_TABLE if it is set, and merges the rows into NBA_ML_FEATURE_TABLE, one
    script per month. No row passes through this machine. What each month would bill is asked first; nothing runs if a
    month is over the limit. A second run changes nothing, and a run that was stopped leaves whole months.

    With --date, the features of games to be played, for the players who have a row of v2_33features on that date. The
    month, computed after the games, replaces them.

    \b
    nba-ml features --to-bigquery --from 2021-10 --to 2025-06 --dry-run
    nba-ml features --to-bigquery --version v3_41features --date 2026-01-15
    """
    if not to_bigquery:
        raise click.UsageError(
            "Add --to-bigquery. Embedded features are computed by nba-ml backfill --assets ml_feature_store_v2."
        )
    wanted = _wanted(first, last, day, version)
    settings = Settings.from_environment()
    if settings.bigquery is None:
        raise SettingsError("NBA_ML_SOURCE is 'embedded'. Set it to 'bigquery' to compute features in BigQuery.")
    from nba_ml.defs.resources import feature_backfill_of
    from nba_ml.sources.job_costs import Cost, recorded_jobs

    limit = max_bytes or settings.bigquery.maximum_bytes_billed
    limited = replace(settings.bigquery, maximum_bytes_billed=limit)
    backfill = replace(feature_backfill_of(limited), version=_VERSIONS[version])
    total = 0
    for each in wanted:
        estimate = backfill.estimate(each)
        total += estimate.total
        say(f"{each}: at least {_megabytes(estimate.total)}, of which stored tables {_megabytes(estimate.stored)}.")
        backfill.require_affordable(each, estimate)
    say(f"{len(wanted)} {'date' if day else 'month(s)'} would bill at least {_megabytes(total)}.")
    if dry_run:
        return 0
    billed = Cost()
    for number, each in enumerate(wanted, 1):
        with recorded_jobs() as jobs:
            done = backfill.write(each)
        cost = Cost.of(jobs)
        billed += cost
        others = f", {done.others:,} rows of other writers kept" if done.others else ""
        say(f"{each} ({number} of {len(wanted)}): {done.rows:,} rows, {done.changed:,} changed{others}; {cost}.")
    if not day:
        say(f"All months: {billed}.")
    return 0


def _wanted(first: str | None, last: str | None, day: date | None, version: str) -> Sequence[str | date]:
    """The months, or the date, that the options ask for.

    Raises:
        click.UsageError: they ask for both or for neither, for no month, or for a date's rows of `V2_33FEATURES`.
        MonthError: a month is invalid.
    """
    if (first is None) is (day is None) or (day and last):
        raise click.UsageError("Give either --from, and --to for several months, or --date for games to be played.")
    if day is not None:
        if version == V2_33FEATURES.name:
            raise click.UsageError(
                f"--date needs --version: the rows of {V2_33FEATURES.name} say who plays, and the platform writes them."
            )
        return [day]
    assert first is not None
    months = season_months(first, last or first)
    require_order(first, last)
    return months


def _megabytes(number: int) -> str:
    return f"{number / 1_000_000:,.1f} MB"
