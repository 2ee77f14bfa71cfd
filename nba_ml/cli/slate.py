"""`nba-ml slate`: predict a date, and grade a month of predictions.

What belongs here: options, output, exit codes. The operations are in `slates`, imported when a command runs.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from nba_ml.cli.wrapper import AS_JSON, FAILED, command, day_option, say, show_frame, show_json
from nba_ml.contract.errors import SlateError
from nba_ml.settings import Settings

if TYPE_CHECKING:
    from nba_ml.slates.grades import SlateGradeReport
    from nba_ml.slates.operations import Predicted, Sent
    from nba_ml.slates.prediction_rows import TableWrite
    from nba_ml.slates.store import SlateStore
    from nba_ml.storage.objects import ObjectStore

SHOWN = 10
"""How many of the rows set aside are listed; the rest are counted."""


@click.group(short_help="Score a date's players, and grade what was served.")
def slate() -> None:
    """Score a date's players with the champion, and grade what was served."""


@slate.command(short_help="Score a date's players, and keep the slate.")
@day_option("--date", "day", required=True, help="The games' date.")
@click.option(
    "--games",
    metavar="AWAY@HOME,...",
    default="",
    help="The games of a date without results, if NBA_ML_DATA has no schedule of it.",
)
@click.option("--to-bigquery", is_flag=True, help="Also write it to NBA_ML_PREDICTION_TABLE.")
@click.option(
    "--out",
    metavar="FILE.parquet",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Also write it to this file, replacing an existing one.",
)
@AS_JSON
@command
def predict(day: date, games: str, to_bigquery: bool, out: Path | None, as_json: bool) -> int:
    """Score the feature rows of a date with the models that the channel names, and keep the slate.

    Each player is served by one model; during a rollout, the other model is scored in shadow. Rows that break the
    feature contract are set aside with their reason and not predicted. Every version of a slate is kept; the same rows
    under the same channel make no new version. A date that a model was trained on is refused. The exit code is 1 if no
    player was served.

    The rows of a date without results are made from the box scores before it: its games are those of the schedule or
    of --games, its players those of the latest roster or of their team's last ten games, without those who are out.

    \b
    nba-ml slate predict --date 2025-01-15
    nba-ml slate predict --date 2025-06-24 --games OKC@IND
    nba-ml slate predict --date 2025-01-15 --to-bigquery --out slate.parquet
    """
    from nba_ml.defs.resources import prediction_table_of, slate_rows_of
    from nba_ml.slates.operations import SlateContext, predict_slate, send_slate
    from nba_ml.slates.store import slate_parquet

    if not date(1946, 11, 1) <= day < date(2100, 1, 1):
        raise click.UsageError(f"No NBA game is played on {day}: the league began in November 1946.")
    if out is not None and out.suffix not in ("", ".parquet"):
        raise click.UsageError(f"{out} would be Parquet by another name: give {out.with_suffix('.parquet').name}.")
    settings = Settings.from_environment()
    context = SlateContext(_objects(settings), slate_rows_of(settings), _slates(settings), settings.threads)
    done = predict_slate(context, day, datetime.now(UTC), games)
    if not as_json:
        _print_slate(done)
    if out is not None:
        _write(out, slate_parquet(done.kept.slate), done.kept.uri)
    sent = send_slate(prediction_table_of(settings), context.slates, done.kept) if to_bigquery else None
    if as_json:
        show_json(_slate_facts(done, out, sent))
    else:
        _print_destinations(out, sent)
    return 0 if done.kept.slate.report.served else FAILED


@slate.command(short_help="Grade the slates of a month against its results.")
@click.option("--month", metavar="YYYY-MM", required=True, help="The month whose slates are graded.")
@AS_JSON
@command
def grade(month: str, as_json: bool) -> int:
    """Grade the slates of a month against its results: champion and challenger, served and in shadow.

    The stored predictions are graded; nothing is predicted again. If a date has several versions, the newest made
    before the games counts. A prediction made after tip-off is a replay. Where tip-off is unknown, one made before noon
    Eastern was made ahead, and one made later on the date is shown as 'tip-off unknown'. The three are reported
    separately. The exit code is 1 if there is no result yet.
    """
    from nba_ml.contract.season import parse_month
    from nba_ml.slates.operations import grade_month_of_slates
    from nba_ml.storage.months import MonthStore

    parse_month(month)
    settings = Settings.from_environment()
    store = _slates(settings)
    grades = grade_month_of_slates(MonthStore(store.objects), store, month)
    if as_json:
        show_json(grades.report.model_dump(mode="json"))
    else:
        _print_grades(grades.report)
    return FAILED if grades.report.note else 0


@slate.command()
@AS_JSON
@command
def table(as_json: bool) -> int:
    """Compare NBA_ML_PREDICTION_TABLE with the columns of a slate. Writes nothing.

    Shows, for each column, what is filled, rounded or lost, and one ALTER TABLE for what is worth adding. Run it before
    altering a table that is in use.
    """
    from nba_ml.defs.resources import prediction_table_of

    report = prediction_table_of(Settings.from_environment()).report()
    if as_json:
        show_json(asdict(report))
        return 0
    for line in report.lines():
        say(line)
    return 0


def _objects(settings: Settings) -> ObjectStore:
    from nba_ml.registry.signed_store import current_only, open_published

    return current_only(open_published(settings.artifact_root, settings.signing))


def _slates(settings: Settings) -> SlateStore:
    from nba_ml.slates.store import SlateStore
    from nba_ml.storage.opening import open_objects

    return SlateStore(open_objects(settings.store))


def _write(out: Path, data: bytes, uri: str) -> None:
    """Write a file completely or not at all. Anything else, such as a pipe, is written to directly."""
    part = out.with_name(f".{out.name}.{os.getpid()}.part") if out.is_file() or not out.exists() else out
    try:
        part.write_bytes(data)
        part.replace(out)
    except OSError as error:
        raise SlateError(
            f"{out} could not be written: {error.strerror}. The slate is kept at {uri}: run the same command with "
            "another --out."
        ) from error
    finally:
        if part != out:
            with suppress(OSError):
                part.unlink(missing_ok=True)


def _print_slate(done: Predicted) -> None:
    from nba_ml.data.tables import REPLAYED
    from nba_ml.slates.slate import RECOMMENDATIONS, UNKNOWN, served_counts

    slate, report = done.kept.slate, done.kept.slate.report
    say(f"Slate of {report.game_date}" + (f": {'; '.join(done.notes)}." if done.notes else ""))
    for side, model, counts in served_counts(slate):
        counted = ", ".join(f"{counts.get(name, 0):,} {name}" for name in RECOMMENDATIONS)
        say(f"{side:11}{model} serves {sum(counts.values()):,} players: {counted}")
    say(
        f"{report.rows:,} rows: {report.served:,} served, {report.early_season:,} early season, "
        f"{len(report.set_aside):,} set aside; {report.shadow:,} scored in shadow beside them. Channel serial "
        f"{report.channel_serial}."
    )
    for each in report.set_aside[:SHOWN]:
        say(f"  set aside: {each.player_lookup or '(no name)'} {each.game_id}: {each.reason}")
    for reason, count in report.set_aside_by_reason.items() if len(report.set_aside) > SHOWN else ():
        say(f"  set aside in all, {reason}: {count:,}")
    if slate.made == REPLAYED:
        say(f"Replay: made {slate.created_at:%Y-%m-%d %H:%M} UTC, after a game had begun.")
    elif slate.made == UNKNOWN:
        say(f"Tip-off unknown: made {slate.created_at:%Y-%m-%d %H:%M} UTC, after noon Eastern, so perhaps too late.")
    if not done.is_current:
        first = done.current
        why = "stood when the games began" if first.slate.ahead else "is the first of those not made ahead"
        say(f"It does not count: version {first.number}, made {first.slate.created_at:%Y-%m-%d %H:%M} UTC, {why}.")
    say(f"{'Kept      ' if done.kept.new else 'Kept before'} {done.kept.uri}")


def _slate_facts(done: Predicted, out: Path | None, sent: Sent | None) -> dict[str, object]:
    kept = done.kept
    return {
        "slate_id": kept.slate_id,
        "version": kept.number,
        "uri": kept.uri,
        "is_new": kept.new,
        "created_at": kept.slate.created_at,
        "made": kept.slate.made,
        "counting_version": done.current.number,
        "notes": done.notes,
        "report": kept.slate.report.model_dump(mode="json"),
        "predictions": kept.slate.table.to_pylist(),
        "file": out,
        "bigquery": None if sent is None else asdict(sent.written),
    }


def _print_destinations(out: Path | None, sent: Sent | None) -> None:
    if out is not None:
        say(f"Written    {out}")
    if sent is None:
        return
    if sent.current is None:
        say(f"BigQuery   {_came(sent.written)}, {sent.written.retired:,} rows of other versions retired")
    else:
        kept, written = sent.current
        say(f"BigQuery   {_came(written)} of version {kept.number}, which counts and is the active one")
        say(f"BigQuery   {_came(sent.written)}, none of them active")


def _came(written: TableWrite) -> str:
    return f"{written.table}: {written.rows:,} rows {'loaded' if written.loaded else 'there already'}"


def _print_grades(report: SlateGradeReport) -> None:
    from nba_ml.slates.grades import compared_frame, grades_frame

    if report.note:
        say(f"{report.month}: {report.note}.")
        return
    say(f"Slates of {report.month}: mean absolute error in points, 95% intervals")
    show_frame(grades_frame(report), below=("model", "hit rate", "Brier", "minus market"))
    if report.compared:
        say("Champion's error minus challenger's, on the rows of both")
        show_frame(compared_frame(report), below=("champion", "challenger"))
    say(
        f"{report.dates} dates with a slate, {report.replayed_dates} of them replayed"
        + (f", {report.unknown_dates} with tip-off unknown" if report.unknown_dates else "")
        + f"; {len(report.waiting)} have no result yet."
    )
