"""The months of a command while they run, and their results: a progress bar, a table, URIs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Column, Table

from nba_ml.cli.wrapper import err, escaped, out, say
from nba_ml.contract.errors import NbaMlError

if TYPE_CHECKING:
    from nba_ml.registry.refusal import Refusal
    from nba_ml.runner.backfill import Backfill, MonthResult


@dataclass
class BackfillSummary:
    """The months of a command: how many were run, whether one failed, and those whose model was refused."""

    ran: int = 0
    failed: bool = False
    refused: list[str] = field(default_factory=list)


def run_months(
    runner: Backfill,
    jobs: Iterable[tuple[Sequence[str], Sequence[str]]],
    *,
    only_missing: bool,
    grade_where_possible: bool = False,
) -> BackfillSummary:
    """Run the jobs (months, assets) with a progress bar; report what failed."""
    jobs = [(months, assets) for months, assets in jobs if months]
    summary, skipped = BackfillSummary(), 0
    with _progress_bar() as bar:
        task = bar.add_task("", total=sum(len(months) for months, _ in jobs))
        for months, assets in jobs:
            results = runner.run(months, assets, only_missing=only_missing, grade_where_possible=grade_where_possible)
            for month in months:
                bar.update(task, description=month)
                result = next(results)
                bar.advance(task)
                _report(bar.console, result)
                if result.problems:
                    return replace(summary, failed=True)
                summary.refused += [month] if result.refused else []
                summary.ran, skipped = summary.ran + bool(result.assets), skipped + (not result.assets)
    unpublished = f" Refused and not published: {', '.join(summary.refused)}." if summary.refused else ""
    out.print(f"{summary.ran} month(s) run, {skipped} already up to date.{unpublished}", soft_wrap=True)
    return summary


def _report(console: Console, result: MonthResult) -> None:
    if result.warnings:
        console.print(f"[yellow]{result.month} warnings:[/yellow] {', '.join(result.warnings)}", soft_wrap=True)
    if result.left_out:
        console.print(
            f"{result.month} without {', '.join(result.left_out)}: the month before has no model to predict with.",
            soft_wrap=True,
            highlight=False,
        )
    if result.refused:
        _show_refusal(console, result.month, result.refused)
    for problem in result.problems:
        err.print(f"[red]{result.month} failed:[/red] {escaped(problem)}", soft_wrap=True)
    if result.problems:
        err.print(
            f"See run {result.run_id} in `nba-ml ui`. After a fix, run the same command again (a backfill with "
            "--only-missing): it continues from there.",
            soft_wrap=True,
        )
    elif result.checked and not console.is_terminal:
        console.print(f"{result.month} checked: {', '.join(result.checked)}", soft_wrap=True)
    if result.assets and not result.problems and not console.is_terminal:
        console.print(f"{result.month}: {', '.join(result.assets)}", soft_wrap=True)


def _show_refusal(console: Console, month: str, refusal: Refusal) -> None:
    """Which checks a model did not pass, as a table, and where each says what to do."""
    console.print(f"[yellow]{month} refused.[/yellow] {escaped(str(refusal))}", soft_wrap=True, highlight=False)
    table = Table(Column("check", no_wrap=True), "value", "required", Column("rows", justify="right"))
    for row in refusal.table:
        table.add_row(*map(escaped, row.values()))
    console.print(table)
    pages = dict.fromkeys(f"{check.check}: {check.page}" for check in refusal.checks)
    console.print("What to do, in `nba-ml ui`:", highlight=False)
    for page in pages:
        console.print(f"  {escaped(page)}", soft_wrap=True, highlight=False)


def _progress_bar() -> Progress:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=out, transient=True, disable=not out.is_terminal)


def show_model(runner: Backfill, month: str) -> None:
    """The error of the month's model beside its baselines."""
    from nba_ml.model.stored import MODEL
    from nba_ml.model.summary import comparison

    store = runner.planner.store
    kept = MODEL.of(runner.planner.system)
    model = store.load(kept, month)
    if model is None:
        raise NbaMlError(f"{store.uri(kept, month)} does not exist, although its run succeeded: was it deleted?")
    judgement, split = model.report.judgement, model.report.split
    if judgement is None:
        out.print(f"{month}: no model yet, because all rows so far are early season.")
        return
    frame = comparison(judgement)
    validation = split.sides()["validation"]
    table = Table(
        *frame.columns,
        title=f"Validation, {validation.first} to {validation.last}: mean absolute error in points",
        title_justify="left",
    )
    for row in frame.itertuples(index=False):
        table.add_row(
            *(
                f"{value:,}" if isinstance(value, int) else f"{value:.3f}" if isinstance(value, float) else str(value)
                for value in row
            )
        )
    out.print(table)
    say(f"{split.rows:,} rows of {len(split.snapshots)} months, {model.report.players:,} players.")


def show_artifact(runner: Backfill, month: str) -> None:
    """What was published, and where."""
    from nba_ml.registry.artifact import ARTIFACT

    artifact = runner.planner.store.load(ARTIFACT.of(runner.planner.system), month)
    if artifact is None or artifact.model_id is None:
        out.print(f"{month}: nothing was published.")
        return
    say(f"Published {artifact.model_id}")
    for override in artifact.verdict.overrides if artifact.verdict else ():
        say(f"  override: {override.check} failed, reason: {override.reason}")
    for name, uri in artifact.uris.items():
        say(f"  {name:9} {uri}")
