"""`nba-ml features`: computes months of the feature store where the box scores are."""

from __future__ import annotations

from dataclasses import replace

import click

from nba_ml.cli.session import require_order
from nba_ml.cli.wrapper import command, say
from nba_ml.contract.errors import SettingsError
from nba_ml.contract.features import V2_33FEATURES, V3_FEATURES
from nba_ml.contract.season import season_months
from nba_ml.settings import Settings

_VERSIONS = {version.name: version for version in (V2_33FEATURES, V3_FEATURES)}
"""Those that are computed from box scores and lines alone."""


@click.command(short_help="Compute features in BigQuery, from its box scores.")
@click.option("--to-bigquery", is_flag=True, help="Write to NBA_ML_FEATURE_TABLE. There is no other target.")
@click.option("--from", "first", metavar="YYYY-MM", required=True, help="First month.")
@click.option("--to", "last", metavar="YYYY-MM", help="Last month. Default: the first.")
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
    to_bigquery: bool, first: str, last: str | None, version: str, dry_run: bool, max_bytes: int | None
) -> int:
    """Compute months of the feature store in BigQuery (NBA_ML_SOURCE=bigquery).

    Reads NBA_ML_SUMMARY_TABLE, and NBA_ML_LINES_TABLE if it is set, and merges the rows into NBA_ML_FEATURE_TABLE, one
    script per month. No row passes through this machine. What each month would bill is asked first; nothing runs if a
    month is over the limit. A second run changes nothing, and a run that was stopped leaves whole months.

    \b
    nba-ml features --to-bigquery --from 2021-10 --to 2025-06 --dry-run
    """
    if not to_bigquery:
        raise click.UsageError(
            "Add --to-bigquery. Embedded features are computed by nba-ml backfill --assets ml_feature_store_v2."
        )
    settings = Settings.from_environment()
    if settings.bigquery is None:
        raise SettingsError("NBA_ML_SOURCE is 'embedded'. Set it to 'bigquery' to compute features in BigQuery.")
    from nba_ml.defs.resources import feature_backfill_of
    from nba_ml.sources.job_costs import Cost, recorded_jobs

    limit = max_bytes or settings.bigquery.maximum_bytes_billed
    limited = replace(settings.bigquery, maximum_bytes_billed=limit)
    backfill = replace(feature_backfill_of(limited), version=_VERSIONS[version])
    months = season_months(first, last or first)
    require_order(first, last)
    total = 0
    for month in months:
        estimate = backfill.estimate(month)
        total += estimate.total
        say(f"{month}: at least {_megabytes(estimate.total)}, of which stored tables {_megabytes(estimate.stored)}.")
        backfill.require_affordable(month, estimate)
    say(f"{len(months)} month(s) would bill at least {_megabytes(total)}.")
    if dry_run:
        return 0
    billed = Cost()
    for number, month in enumerate(months, 1):
        with recorded_jobs() as jobs:
            done = backfill.write(month)
        cost = Cost.of(jobs)
        billed += cost
        others = f", {done.others:,} rows of other writers kept" if done.others else ""
        say(f"{month} ({number} of {len(months)}): {done.rows:,} rows, {done.changed:,} changed{others}; {cost}.")
    say(f"All months: {billed}.")
    return 0


def _megabytes(number: int) -> str:
    return f"{number / 1_000_000:,.1f} MB"
