"""nba-ml: the graph from the terminal.

What belongs here: options, progress, words, exit codes. Dagster is imported inside the commands, so
that `--help` answers at once.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from nba_ml.commands.health import add_health
from nba_ml.commands.release import add_commands
from nba_ml.commands.serve import serve
from nba_ml.commands.slate import add_slate
from nba_ml.core.errors import BundleError, NbaMlError, SettingsError
from nba_ml.settings import Settings

if TYPE_CHECKING:
    from nba_ml.backfill import Backfill, MonthResult

FAILED, COULD_NOT_RUN, INTERRUPTED = 1, 2, 130

_LONGEST_MESSAGE = 600
"""Characters shown of an error that is not ours; a database's can be pages of SQL."""

_out = Console()
_err = Console(stderr=True)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--debug", is_flag=True, help="Show a traceback with an error.")
@click.version_option(package_name="nba_ml")
@click.pass_context
def main(context: click.Context, debug: bool) -> None:
    """Train, check and publish the NBA points model, month by month.

    Everything that runs here is a run in the Dagster instance under NBA_ML_HOME (default ./.nba_ml): `nba-ml ui`
    shows it. With no settings the real data that the package ships is used, 2021-10 to 2025-06.

    \b
    Start with:    nba-ml run
    Every month:   nba-ml backfill --from 2021-10 --to 2025-06 --only-missing
    """
    context.obj = debug


def _command(function: Callable[..., int]) -> Callable[..., None]:
    """Errors as one readable paragraph and an exit code; a traceback only with --debug."""

    @wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> None:
        context = click.get_current_context()
        debug: bool = context.find_root().obj
        try:
            code = function(*args, **kwargs)
        except NbaMlError as error:
            if debug:
                raise
            _err.print(f"[red]Error:[/red] {_escaped(str(error))}", soft_wrap=True)
            code = COULD_NOT_RUN
        except KeyboardInterrupt:
            _err.print(
                "Interrupted. What was finished is kept: the same command (a backfill with --only-missing) goes on "
                "from there.",
                soft_wrap=True,
            )
            code = INTERRUPTED
        except (click.ClickException, click.exceptions.Exit):
            raise
        except Exception as error:
            if debug:
                raise
            said = " ".join(str(error).split())[:_LONGEST_MESSAGE]
            _err.print(
                f"[red]Unexpected error:[/red] {_escaped(f'{type(error).__name__}: {said}')}. "
                f"Nothing more was done. `nba-ml --debug {context.info_name}` shows where it comes from.",
                soft_wrap=True,
            )
            code = COULD_NOT_RUN
        sys.exit(code)

    return wrapped


@main.command()
@click.option("--month", metavar="YYYY-MM", help="The month to train and publish. Default: the source's last month.")
@click.option("--override", metavar="ASSET.CHECK", help="Publish although this one check failed. Needs --reason.")
@click.option("--reason", help="Why it may be published all the same; it is written into the manifest.")
@_command
def run(month: str | None, override: str | None, reason: str | None) -> int:
    """Make everything missing up to a month, then its model, and publish it.

    Months whose features were made from the same inputs before are skipped, so running it again is quick. A model
    that fails a blocking check is refused, and the exit code is 1. There is no option that overrides whatever fails.
    """
    _require_form(month)
    if (override is None) is not (reason is None):
        raise click.UsageError("--override and --reason belong together: name the check, and say why.")
    with _open_backfill() as backfill:
        from nba_ml.core.gates import Override

        if override is not None and reason is not None:
            backfill.overrides = (Override(check=override, reason=reason),)
        from nba_ml.assets import CHAIN, FEATURE_ASSETS
        from nba_ml.partitions import require_month

        months = list(backfill.planner.months)
        last = require_month(month or backfill.planner.last_month, months)
        earlier = [m for m in months if m < last]
        jobs = [(earlier, FEATURE_ASSETS), ([last], CHAIN)]
        went = _go(backfill, jobs, only_missing=True)
        if went.failed:
            return FAILED
        _show_model(backfill, last)
        if last in went.refused:
            return FAILED
        _show_artifact(backfill, last)
    return 0


@main.command()
@click.option("--from", "first", metavar="YYYY-MM", help="First month. Default: the source's first.")
@click.option("--to", "last", metavar="YYYY-MM", help="Last month, inclusive. Default: the source's last.")
@click.option("--only-missing", is_flag=True, help="Skip what is materialised from the same inputs and checked.")
@click.option("--assets", metavar="A,B,...", help="Only these assets. Default: the whole chain.")
@_command
def backfill(first: str | None, last: str | None, only_missing: bool, assets: str | None) -> int:
    """Run the chain month by month, in one warm process.

    It stops at the first month that fails. A month whose model the checks refuse is said and passed over: the months
    after it have more data. The exit code is 1 if a month failed, or if the last month's model was refused. Killed or
    interrupted at any moment, the same command with --only-missing goes on where it was, and ends with the same models
    as if nothing had happened.
    """
    _require_form(first, last)
    if first and last and first > last:
        raise click.UsageError(f"--from {first} is after --to {last}. Give the earlier month to --from.")
    with _open_backfill() as runner:
        from nba_ml.partitions import require_month

        months = list(runner.planner.months)
        defaults = ((first, months[0]), (last, runner.planner.last_month))
        start, stop = (require_month(month or default, months) for month, default in defaults)
        chosen = [m for m in months if start <= m <= stop]
        wanted = _chosen_assets(assets)
        went = _go(runner, [(chosen, wanted)], only_missing=only_missing, grade_where_possible=assets is None)
        if "prediction_grades" in wanted and not went.failed and went.ran:
            _out.print(f"Walk-forward report: {runner.summarise()}", highlight=False, soft_wrap=True)
        return FAILED if went.failed or stop in went.refused else 0


@main.command()
@click.option("--month", metavar="YYYY-MM", help="The month to check. Default: the last month that has a model.")
@click.option("--junit", metavar="FILE", type=click.Path(path_type=Path), help="Write the outcome as JUnit XML.")
@click.option("--summary", metavar="FILE", type=click.Path(path_type=Path), help="Append the outcome as Markdown.")
@_command
def check(month: str | None, junit: Path | None, summary: Path | None) -> int:
    """Run the asset checks of a month on what is materialised. Nothing is computed anew.

    \b
    Exit code 0: all passed (warnings are allowed)
              1: a check of level ERROR failed
              2: the checks could not be run
    In GitHub's CI:  nba-ml check --junit checks.xml --summary "$GITHUB_STEP_SUMMARY"
    """
    _require_form(month)
    with _open_backfill() as runner:
        from nba_ml.check_run import Status, check_month
        from nba_ml.partitions import require_month

        months = list(runner.planner.months)
        trained = [m for m in months if runner.planner.stored("xgboost_model", m)]
        report = check_month(runner, require_month(month or (trained or months)[-1], months))
    for status, colour in ((Status.ERROR, "red"), (Status.FAILED, "red"), (Status.WARNED, "yellow")):
        for outcome in report.of(status):
            _out.print(f"[{colour}]{outcome.check.key}[/{colour}] {_escaped(outcome.said)}", soft_wrap=True)
    _out.print(report.headline, soft_wrap=True, highlight=False)
    if junit:
        junit.write_text(report.junit(), encoding="utf-8")
    if summary:
        with summary.open("a", encoding="utf-8") as file:  # a summary of several steps is one file
            file.write(report.markdown())
    return FAILED if report.of(Status.FAILED) else COULD_NOT_RUN if report.of(Status.ERROR) else 0


@main.command()
@click.argument("uri")
@_command
def verify(uri: str) -> int:
    """Verify a published bundle: digests first, then its reference predictions in a fresh process.

    URI is the bundle's manifest, as `nba-ml run` prints it.
    """
    from nba_ml.serving.bundle import verify_bundle

    folder, manifest = _folder_and_name(uri)
    from nba_ml.objects import open_objects

    objects = open_objects(folder)

    def read(name: str) -> bytes | None:
        found = objects.read(name)
        return found.data if found else None

    bundle = verify_bundle(read, manifest)
    _out.print(
        f"{bundle.model_id}: whole. Digests agree, and a fresh process predicts its {bundle.reference_rows} reference "
        "rows to the last bit.",
        highlight=False,
        soft_wrap=True,
    )
    return 0


@main.command()
@_command
def progress() -> int:
    """Show how far the feature backfill is, month by month.

    A month is complete when 95% of the player-games played in it have features, substantial from 80%.
    """
    settings = Settings.from_environment()
    from nba_ml.core.progress import progress_table
    from nba_ml.definitions import month_rows_of, partitions_of
    from nba_ml.partitions import month_keys

    frame = progress_table(month_rows_of(settings).progress(month_keys(partitions_of(settings))))
    _out.print(frame.to_string(index=False), soft_wrap=True, highlight=False)
    return 0


@main.command()
@click.option("--port", default=3000, show_default=True, help="Port on 127.0.0.1.")
@_command
def ui(port: int) -> int:
    """Start Dagster's web UI and its daemon on this home, on loopback only."""
    from nba_ml.home import prepare_home

    settings = Settings.from_environment()
    prepare_home(settings)
    project = Path(__file__).parent.parent
    dg = Path(sys.executable).parent / "dg"
    environment = {**os.environ, "DAGSTER_HOME": str(settings.dagster_home), "NBA_ML_HOME": str(settings.home)}
    _out.print(f"Dagster's web UI: http://127.0.0.1:{port} (Ctrl-C ends it)")
    where = ["--host", "127.0.0.1", "--port", str(port), "--target-path", str(project)]
    # A shell's background job is born deaf to SIGINT, and Dagster then ignores SIGTERM too.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.execve(dg, ["dg", "dev", "--use-active-venv", *where], environment)


def _folder_and_name(uri: str) -> tuple[str, str]:
    """The root and the name of the manifest that a URI or a path gives.

    Raises:
        SettingsError: a URI of another kind.
        BundleError: a path where no file is.
    """
    scheme = urlsplit(uri).scheme
    if scheme == "gs":
        folder, _, name = uri.rpartition("/")
        return folder, name
    if scheme not in ("", "file"):
        raise SettingsError(f"{uri} cannot be verified: give a path, file:// or gs://.")
    path = (Path(unquote(urlsplit(uri).path)) if scheme else Path(uri)).absolute()
    if not path.is_file():
        raise BundleError(
            f"{path} is not there. Give the URI of a bundle's manifest (..._manifest.json), as `nba-ml run` prints it; "
            "a bundle without one was never published whole."
        )
    return str(path.parent), path.name


def _require_form(*months: str | None) -> None:
    """Months of the right form and season, before anything that takes time."""
    from nba_ml.core.season import parse_month

    for month in months:
        if month is not None:
            parse_month(month)


def _open_backfill() -> AbstractContextManager[Backfill]:
    """The home locked, its instance open, the graph loaded."""
    from nba_ml.session import open_session

    return open_session(Settings.from_environment(), tell=_err.print)


def _chosen_assets(assets: str | None) -> tuple[str, ...]:
    from nba_ml.assets import MONTHLY_ASSETS, ON_REQUEST

    every = (*MONTHLY_ASSETS, *ON_REQUEST)
    chosen = tuple(name.strip() for name in assets.split(",")) if assets else MONTHLY_ASSETS
    unknown = [name for name in chosen if name not in every]
    if unknown:
        raise click.UsageError(f"no asset {', '.join(unknown)}. Those with months are: {', '.join(every)}.")
    return tuple(name for name in every if name in chosen)


@dataclass
class _Went:
    """How a command's months went: how many were run, whether one failed, whose model the publisher refused."""

    ran: int = 0
    failed: bool = False
    refused: list[str] = field(default_factory=list)


def _go(
    runner: Backfill,
    jobs: Iterable[tuple[Sequence[str], Sequence[str]]],
    *,
    only_missing: bool,
    grade_where_possible: bool = False,
) -> _Went:
    """Run the jobs (months, assets) with a progress bar; say what failed."""
    jobs = [(months, assets) for months, assets in jobs if months]
    went, skipped = _Went(), 0
    with _progress() as bar:
        task = bar.add_task("", total=sum(len(months) for months, _ in jobs))
        for months, assets in jobs:
            results = runner.run(months, assets, only_missing=only_missing, grade_where_possible=grade_where_possible)
            for month in months:
                bar.update(task, description=month)
                result = next(results)
                bar.advance(task)
                _report(bar.console, result)
                if result.problems:
                    return replace(went, failed=True)
                went.refused += [month] if result.refused else []
                went.ran, skipped = went.ran + bool(result.assets), skipped + (not result.assets)
    unpublished = f" Refused, and so not published: {', '.join(went.refused)}." if went.refused else ""
    _out.print(f"{went.ran} month(s) run, {skipped} already up to date.{unpublished}", soft_wrap=True)
    return went


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
        console.print(f"[yellow]{result.month} refused:[/yellow] {_escaped(result.refused)}", soft_wrap=True)
    for problem in result.problems:
        _err.print(f"[red]{result.month} failed:[/red] {_escaped(problem)}", soft_wrap=True)
    if result.problems:
        _err.print(
            f"See run {result.run_id} in `nba-ml ui`. Once mended, the same command (a backfill with --only-missing) "
            "goes on.",
            soft_wrap=True,
        )
    elif result.assets and not console.is_terminal:
        console.print(f"{result.month}: {', '.join(result.assets)}", soft_wrap=True)


def _progress() -> Progress:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=_out, transient=True, disable=not _out.is_terminal)


def _show_model(runner: Backfill, month: str) -> None:
    """How good the month's model is beside its baselines."""
    from nba_ml.assets.xgboost_model import comparison
    from nba_ml.core.values import TrainedModel

    store = runner.planner.store
    model = store.load("xgboost_model", month)
    if not isinstance(model, TrainedModel):
        raise NbaMlError(
            f"{store.uri('xgboost_model', month)} is not there, although its run succeeded: was it removed?"
        )
    judgement, split = model.report.judgement, model.report.split
    if judgement is None:
        _out.print(f"{month}: every row so far is early season, so there is no model yet.")
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
    _out.print(table)
    _out.print(
        f"{split.rows:,} rows of {len(split.snapshots)} months, {model.report.players:,} players.", highlight=False
    )


def _show_artifact(runner: Backfill, month: str) -> None:
    """What was published, and where."""
    from nba_ml.core.values import Artifact

    artifact = runner.planner.store.load("gcs_artifact", month)
    if not isinstance(artifact, Artifact) or artifact.model_id is None:
        _out.print(f"{month}: nothing was published.")
        return
    _out.print(f"Published {artifact.model_id}", highlight=False, soft_wrap=True)
    for override in artifact.verdict.overrides if artifact.verdict else ():
        _out.print(f"  although {override.check} failed: {_escaped(override.reason)}", highlight=False, soft_wrap=True)
    for name, uri in artifact.uris.items():
        _out.print(f"  {name:9} {uri}", highlight=False, soft_wrap=True)


def _escaped(text: str) -> str:
    from rich.markup import escape

    return escape(text)


add_commands(main, _command)
add_slate(main, _command)
add_health(main, _command)
main.add_command(serve)
