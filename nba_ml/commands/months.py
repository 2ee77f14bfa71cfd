"""`nba-ml run` and `nba-ml backfill`: months through the graph."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from nba_ml.commands.months_shown import run_months, show_artifact, show_model
from nba_ml.commands.session import open_backfill, require_form
from nba_ml.commands.wrapper import FAILED, command, out

if TYPE_CHECKING:
    from nba_ml.core.gates import Override


@click.command()
@click.option("--month", metavar="YYYY-MM", help="The month to train and publish. Default: the source's last month.")
@click.option("--override", metavar="ASSET.CHECK", help="Publish although this one check failed. Needs --reason.")
@click.option("--reason", help="Why it may be published all the same; it is written into the manifest.")
@command
def run(month: str | None, override: str | None, reason: str | None) -> int:
    """Make everything missing up to a month, then its model, and publish it.

    Months whose features were made from the same inputs before are skipped, so running it again is quick. A model
    that fails a blocking check is refused, and the exit code is 1. There is no option that overrides whatever fails.
    """
    require_form(month)
    if (override is None) is not (reason is None):
        raise click.UsageError("--override and --reason belong together: name the check, and say why.")
    overrides = _overrides(override, reason)
    with open_backfill() as backfill:
        backfill.overrides = overrides
        from nba_ml.assets import CHAIN, FEATURE_ASSETS
        from nba_ml.partitions import require_month

        months = list(backfill.planner.months)
        last = require_month(month or backfill.planner.last_month, months)
        earlier = [m for m in months if m < last]
        jobs = [(earlier, FEATURE_ASSETS), ([last], CHAIN)]
        went = run_months(backfill, jobs, only_missing=True)
        if went.failed:
            return FAILED
        show_model(backfill, last)
        if last in went.refused:
            return FAILED
        show_artifact(backfill, last)
    return 0


def _overrides(check: str | None, reason: str | None) -> tuple[Override, ...]:
    """The override that was asked for, looked at before anything starts: a refused run turns the month red."""
    if check is None or reason is None:
        return ()
    from nba_ml.checks.registry import require_overridable
    from nba_ml.core.gates import Override

    require_overridable(check)
    override = Override(check=check, reason=reason)
    override.require_reason()
    return (override,)


@click.command()
@click.option("--from", "first", metavar="YYYY-MM", help="First month. Default: the source's first.")
@click.option("--to", "last", metavar="YYYY-MM", help="Last month, inclusive. Default: the source's last.")
@click.option("--only-missing", is_flag=True, help="Skip what is materialised from the same inputs and checked.")
@click.option("--assets", metavar="A,B,...", help="Only these assets. Default: the whole chain.")
@command
def backfill(first: str | None, last: str | None, only_missing: bool, assets: str | None) -> int:
    """Run the chain month by month, in one warm process.

    It stops at the first month that fails. A month whose model the checks refuse is said and passed over: the months
    after it have more data. The exit code is 1 if a month failed, or if the last month's model was refused. Killed or
    interrupted at any moment, the same command with --only-missing goes on where it was, and ends with the same models
    as if nothing had happened.
    """
    require_form(first, last)
    if first and last and first > last:
        raise click.UsageError(f"--from {first} is after --to {last}. Give the earlier month to --from.")
    with open_backfill() as runner:
        from nba_ml.partitions import require_month

        months = list(runner.planner.months)
        defaults = ((first, months[0]), (last, runner.planner.last_month))
        start, stop = (require_month(month or default, months) for month, default in defaults)
        chosen = [m for m in months if start <= m <= stop]
        wanted = _chosen_assets(assets)
        went = run_months(runner, [(chosen, wanted)], only_missing=only_missing, grade_where_possible=assets is None)
        if "prediction_grades" in wanted and not went.failed and went.ran:
            out.print(f"Walk-forward report: {runner.summarise()}", highlight=False, soft_wrap=True)
        return FAILED if went.failed or stop in went.refused else 0


def _chosen_assets(assets: str | None) -> tuple[str, ...]:
    from nba_ml.assets import MONTHLY_ASSETS, ON_REQUEST

    every = (*MONTHLY_ASSETS, *ON_REQUEST)
    chosen = tuple(name.strip() for name in assets.split(",")) if assets else MONTHLY_ASSETS
    unknown = [name for name in chosen if name not in every]
    if unknown:
        raise click.UsageError(f"no asset {', '.join(unknown)}. Those with months are: {', '.join(every)}.")
    return tuple(name for name in every if name in chosen)
