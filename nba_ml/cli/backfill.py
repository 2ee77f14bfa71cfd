"""`nba-ml run` and `nba-ml backfill`: months through the graph."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from nba_ml.cli.backfill_output import run_months, show_artifact, show_model
from nba_ml.cli.session import chosen_systems, open_backfill, require_form, require_order, system_of
from nba_ml.cli.wrapper import FAILED, command, say

if TYPE_CHECKING:
    from nba_ml.contract.systems import System
    from nba_ml.registry.verdict import Override
    from nba_ml.runner.backfill import Backfill


@click.command(short_help="Train, check and publish a month's model.")
@click.option("--month", metavar="YYYY-MM", help="The month to train and publish. Default: the source's last month.")
@click.option("--override", metavar="ASSET.CHECK", help="Publish although this one check failed. Needs --reason.")
@click.option("--reason", help="Why the model may still be published. It is written into the manifest.")
@click.option("--system", metavar="ID", help="Whose model. Default: the system of the champion, or the first one.")
@command
def run(month: str | None, override: str | None, reason: str | None, system: str | None) -> int:
    """Make everything missing up to a month, then its model, and publish it.

    Months whose features are up to date are skipped, so running it again is quick. It makes one system's model: the
    others are made with --system, or by `nba-ml backfill`. A model that fails a blocking check is not published, and
    the exit code is 1. There is no option that overrides every failure.
    """
    require_form(month)
    if (override is None) is not (reason is None):
        raise click.UsageError("--override and --reason belong together: name the check and give the reason.")
    overrides = _overrides(override, reason)
    with open_backfill() as opened:
        backfill = opened.of(_system(opened, system, override))
        backfill.overrides = overrides
        from nba_ml.contract.assets import CHAIN, FEATURE_ASSETS
        from nba_ml.defs.partitions import require_month

        months = list(backfill.planner.months)
        last = require_month(month or backfill.planner.last_month, months)
        earlier = [m for m in months if m < last]
        summary = run_months(backfill, [(earlier, FEATURE_ASSETS), ([last], CHAIN)], only_missing=True)
        if summary.failed:
            return FAILED
        show_model(backfill, last)
        if last in summary.refused:
            return FAILED
        show_artifact(backfill, last)
    return 0


def _system(backfill: Backfill, system: str | None, override: str | None) -> System:
    """The named system; else that of the overridden check; else the one whose model serves."""
    from nba_ml.contract.systems import system_of_asset
    from nba_ml.registry.channel import read_channel
    from nba_ml.registry.promotion import serving_system

    checked = system_of_asset(override).id if override else None
    if system is not None and checked and system != checked:
        raise click.UsageError(
            f"{override} is a check of {checked}, not of {system}. Name a check of --system {system}."
        )
    if (named := checked if system is None else system) is not None:
        return system_of(backfill.systems, named)
    serving = serving_system(read_channel(backfill.planner.artifacts), backfill.systems[0])
    return serving if serving in backfill.systems else backfill.systems[0]


def _overrides(check: str | None, reason: str | None) -> tuple[Override, ...]:
    """The requested override, validated before anything starts: a run that fails turns the month red."""
    if check is None or reason is None:
        return ()
    from nba_ml.checks.registry import require_overridable
    from nba_ml.registry.verdict import Override

    require_overridable(check)
    override = Override(check=check, reason=reason)
    override.require_reason()
    return (override,)


@click.command()
@click.option("--from", "first", metavar="YYYY-MM", help="First month. Default: the source's first.")
@click.option("--to", "last", metavar="YYYY-MM", help="Last month, inclusive. Default: the source's last.")
@click.option("--only-missing", is_flag=True, help="Skip assets that are up to date: same inputs, same code, checked.")
@click.option("--assets", metavar="A,B,...", help="Only these assets. Default: the whole chain.")
@click.option("--system", metavar="ID", help="Only this system of NBA_ML_SYSTEMS. Default: every one.")
@command
def backfill(first: str | None, last: str | None, only_missing: bool, assets: str | None, system: str | None) -> int:
    """Run the chain month by month, in one warm process.

    It stops at the first month that fails. A month whose model is refused is reported and skipped: later months have
    more data. The exit code is 1 if a month failed, or if the last month's model was refused. After a kill or Ctrl-C,
    the same command with --only-missing continues where it stopped, and ends with the same models.
    """
    require_form(first, last)
    require_order(first, last)
    with open_backfill() as runner:
        from nba_ml.contract.systems import SHARED_ASSETS
        from nba_ml.defs.partitions import require_month

        months = list(runner.planner.months)
        defaults = ((first, months[0]), (last, runner.planner.last_month))
        start, stop = (require_month(month or default, months) for month, default in defaults)
        chosen = [m for m in months if start <= m <= stop]
        wanted = _chosen_assets(assets)
        code, ran = 0, False
        for count, each in enumerate(chosen_systems(runner, system)):
            # What all systems read is made once.
            own = [name for name in wanted if not count or name not in SHARED_ASSETS]
            summary = run_months(each, [(chosen, own)], only_missing=only_missing, grade_where_possible=assets is None)
            ran = ran or (bool(summary.ran) and not summary.failed)
            code = FAILED if summary.failed or stop in summary.refused else code
        if "prediction_grades" in wanted and ran:
            say(f"Walk-forward report: {runner.summarise()}")
        return code


def _chosen_assets(assets: str | None) -> tuple[str, ...]:
    from nba_ml.contract.assets import MONTHLY_ASSETS, ON_REQUEST

    every = (*MONTHLY_ASSETS, *ON_REQUEST)
    chosen = tuple(name.strip() for name in assets.split(",")) if assets is not None else MONTHLY_ASSETS
    unknown = [name for name in chosen if name not in every]
    if unknown:
        raise click.UsageError(f"Unknown asset {', '.join(unknown)}. The monthly assets are: {', '.join(every)}.")
    return tuple(name for name in every if name in chosen)
