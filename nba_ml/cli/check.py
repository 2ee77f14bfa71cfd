"""`nba-ml check`: the asset checks of a month, for CI."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from nba_ml.cli.session import open_backfill, require_form
from nba_ml.cli.wrapper import AS_JSON, COULD_NOT_RUN, FAILED, command, escaped, out, say, show_json

if TYPE_CHECKING:
    from nba_ml.runner.check_run import CheckReport, Outcome


@click.command()
@click.option("--month", metavar="YYYY-MM", help="The month to check. Default: the last month that has a model.")
@click.option("--junit", metavar="FILE", type=click.Path(path_type=Path), help="Write the outcome as JUnit XML.")
@click.option("--summary", metavar="FILE", type=click.Path(path_type=Path), help="Append the outcome as Markdown.")
@AS_JSON
@command
def check(month: str | None, junit: Path | None, summary: Path | None, as_json: bool) -> int:
    """Run the asset checks of a month on what is materialised. Nothing is computed anew.

    \b
    Exit code 0: all passed (warnings are allowed)
              1: a check of level ERROR failed
              2: the checks could not be run
    In GitHub's CI:  nba-ml check --junit checks.xml --summary "$GITHUB_STEP_SUMMARY"
    """
    require_form(month)
    with open_backfill() as runner:
        from nba_ml.defs.partitions import require_month
        from nba_ml.runner.check_run import CheckStatus, check_month

        months = list(runner.planner.months)
        trained = {m for system in runner.systems for m in runner.planner.stored_months(system.asset("xgboost_model"))}
        latest = month or max(trained, default=months[-1])
        report = check_month(runner, require_month(latest, months))
    if junit:
        junit.write_text(report.junit(), encoding="utf-8")
    if summary:
        with summary.open("a", encoding="utf-8") as file:  # a summary of several steps is one file
            file.write(report.markdown())
    if as_json:
        show_json(
            {"month": report.month, "run_id": report.run_id, "checks": [_fields(each) for each in report.outcomes]}
        )
        return _exit_code(report)
    for status, colour in ((CheckStatus.ERROR, "red"), (CheckStatus.FAILED, "red"), (CheckStatus.WARNED, "yellow")):
        for outcome in report.of(status):
            out.print(f"[{colour}]{outcome.check.key}[/{colour}] {escaped(outcome.text)}", soft_wrap=True)
    say(report.headline)
    return _exit_code(report)


def _fields(outcome: Outcome) -> dict[str, str]:
    return {
        "check": outcome.check.key,
        "status": str(outcome.status),
        "consequence": str(outcome.check.consequence),
        "threshold": outcome.check.threshold,
        "text": outcome.text,
    }


def _exit_code(report: CheckReport) -> int:
    from nba_ml.runner.check_run import CheckStatus

    return FAILED if report.of(CheckStatus.FAILED) else COULD_NOT_RUN if report.of(CheckStatus.ERROR) else 0
