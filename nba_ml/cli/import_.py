"""`nba-ml import`: files of other systems into a folder of box scores and lines."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from nba_ml.cli.wrapper import FAILED, command, escaped, out, say, show_json
from nba_ml.contract.errors import SettingsError

if TYPE_CHECKING:
    from nba_ml.sources.importers.report import ImportReport

_SHOWN = 10
"""Changed rows and names that the table shows; --json has all."""


@click.command("import", short_help="Import the files of another source, month by month.")
@click.argument("arguments", nargs=-1, metavar="FORMAT FILE...")
@click.option(
    "--to",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder to merge into (NBA_ML_DATA); created if needed.",
)
@click.option("--mapping", type=click.Path(path_type=Path), help="A mapping of your own (TOML), instead of FORMAT.")
@click.option("--set", "constants", multiple=True, metavar="COLUMN=VALUE", help="Value of a column that files lack.")
@click.option("--dry-run", is_flag=True, help="Read, match and count, and write nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON, with every change and name.")
@click.option("--show", is_flag=True, help="Print FORMAT's mapping, to copy and change, and import nothing.")
@command
def import_(
    arguments: tuple[str, ...],
    folder: Path | None,
    mapping: Path | None,
    constants: tuple[str, ...],
    dry_run: bool,
    as_json: bool,
    show: bool,
) -> int:
    """Import box scores, points lines, a schedule or rosters from the files of another source, merged month by month.

    FORMAT is nba-api, nba-api-schedule, nba-api-rosters, basketball-reference or the-odds-api. Files are CSV, JSON or
    Parquet, also gzipped. A row that is in the folder already is replaced if it differs; rows that the files lack
    stay. Running the same import again changes nothing. Exit code 1: rows were refused.

    \b
    nba-ml import nba-api season.csv --to my-data
    nba-ml import the-odds-api odds/*.json --to my-data
    NBA_ML_DATA=my-data nba-ml run
    """
    from nba_ml.sources.importers.importing import Import
    from nba_ml.sources.importers.mapping import own_mapping, shipped_formats, shipped_mapping, shipped_text

    formats = ", ".join(shipped_formats())
    if show:
        if len(arguments) != 1:
            raise SettingsError(f"--show needs one FORMAT: {formats}.")
        click.echo(shipped_text(arguments[0]), nl=False)
        return 0
    named = mapping is None or not arguments or not Path(arguments[0]).exists()
    files = [Path(each) for each in (arguments[1:] if named and arguments else arguments)]
    if not arguments or not files or folder is None:
        raise SettingsError(
            "An import needs a format, files and a folder: nba-ml import FORMAT FILE... --to FOLDER. "
            f"Formats: {formats}; or --mapping FILE."
        )
    if mapping is not None:
        name, columns = str(mapping), own_mapping(mapping)
    else:
        name, columns = arguments[0], shipped_mapping(arguments[0])
    report = Import(name, columns, folder, _constants(constants), dry_run).run(files)
    if as_json:
        show_json(report.as_json())
    else:
        show_report(report, dry_run)
    return FAILED if report.refused else 0


def _constants(given: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for each in given:
        name, equals, value = each.partition("=")
        if not equals or not value.strip():
            raise SettingsError(f"--set {each}: write COLUMN=VALUE, for example 'season_type=Playoffs'.")
        found[name.strip()] = value.strip()
    return found


def show_report(report: ImportReport, dry_run: bool = False) -> None:
    """Print the table in which an import ends."""
    from rich.table import Table

    months = Table("file", "new", "changed", "unchanged")
    for month, counts in report.months.items():
        months.add_row(month, f"{counts.new:,}", f"{counts.changed:,}", f"{counts.unchanged:,}")
    if report.months:
        out.print(months)
    sums = Table("rows", "number")
    counted = [
        ("read", report.read),
        ("new", report.new),
        ("changed", report.changed),
        ("unchanged", report.unchanged),
        ("repeated", report.repeated),
        ("over and under of one line", report.paired),
        *((f"set aside: {reason}", rows) for reason, rows in report.set_aside.items()),
        *((f"refused: {reason}", refusal.rows) for reason, refusal in report.refused.items()),
        ("names that matched no player", len(report.names)),
    ]
    for name, rows in counted:
        sums.add_row(escaped(name), f"{rows:,}")
    out.print(sums)
    _show_rows(report)
    for note in report.notes:
        say(note)
    if dry_run:
        say("Nothing was written (--dry-run).")


def _show_rows(report: ImportReport) -> None:
    """The first rows that changed or were refused, and the first names without a player."""
    for change in report.changes[:_SHOWN]:
        different = ", ".join(f"{name} {old} -> {new}" for name, (old, new) in change["columns"].items())
        about = " ".join(value for name, value in change.items() if name != "columns")
        say(f"changed: {about}: {different}")
    for reason, refusal in report.refused.items():
        say(f"refused, {reason}: {'; '.join(refusal.examples)}")
    for name in report.names[:_SHOWN]:
        say(f"{name['reason']}: {name['player_name']} ({name['team']}), {name['rows']} rows from {name['first']}")
    hidden = max(0, len(report.changes) - _SHOWN) + max(0, len(report.names) - _SHOWN)
    if hidden:
        say(f"{hidden:,} more changes and names: --json shows all.")
