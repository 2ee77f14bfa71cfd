"""An import from beginning to end: all files are read first, then one month after another is merged and written."""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from nba_ml.contract import season
from nba_ml.contract.errors import HomeBusyError, SettingsError, SourceDataError
from nba_ml.data.box_scores import summarise_player_games
from nba_ml.data.coded import Columns
from nba_ml.data.games import MAX_REFUSED_SHARE, broken_games
from nba_ml.sources.embedded import LINES, PLAYER_GAMES
from nba_ml.sources.importers import player_games, prop_lines, upcoming
from nba_ml.sources.importers.history import History
from nba_ml.sources.importers.mapping import COLUMNS, Mapping
from nba_ml.sources.importers.merging import Merged, Row, merge, parquet_bytes, read_month
from nba_ml.sources.importers.reading import read_file
from nba_ml.sources.importers.report import ImportReport, MonthCounts
from nba_ml.sources.importers.rows import read_rows
from nba_ml.sources.sums import write_data

_LOCK = ".import.lock"
_LACKS_A_PLAYER = "a game that lacks a player whose name matched none"
_TOO_MANY_REFUSED = f"a month of which over {MAX_REFUSED_SHARE:.0%} of the games are refused"


@dataclass(frozen=True)
class Import:
    """What is imported where."""

    format: str
    mapping: Mapping
    folder: Path
    constants: dict[str, str]
    dry_run: bool = False

    def __post_init__(self) -> None:
        known = COLUMNS[self.mapping.kind]
        if unknown := sorted(set(self.constants) - set(known)):
            raise SettingsError(f"--set {unknown[0]}: no such column. Use one of {', '.join(known)}.")

    def run(self, files: Sequence[Path]) -> ImportReport:
        """Import the files.

        Raises:
            SourceDataError: a file that cannot be read, before anything was written; a month's file in the folder
                that cannot be read or written, with the months before it written.
            HomeBusyError: another import into the folder is running.
        """
        report = ImportReport(self.format, str(self.folder))
        raws = [read_file(file, self.mapping) for file in dict.fromkeys(files)]
        parts = [read_rows(raw, self.mapping, self.constants, report) for raw in raws]
        parts = [part for part in parts if len(part)]
        if not parts:
            return report
        frame = pd.concat([part.astype(object) for part in parts], ignore_index=True)
        frame = frame.astype(object).where(frame.notna(), None)
        with locked(self.folder, create=not self.dry_run):
            if self.mapping.kind in upcoming.TABLES:
                self._files(upcoming.TABLES[self.mapping.kind], frame, report)
                return report
            history = History.of(self.folder)
            if self.mapping.kind == "player_games":
                rows, nameless = player_games.game_rows(frame, self.mapping.rules, history, report)
                self._months(PLAYER_GAMES, rows, report, nameless)
            else:
                self._months(LINES, prop_lines.line_rows(frame, history, report), report)
        return report

    def _files(self, kind: upcoming.Kind, frame: pd.DataFrame, report: ImportReport) -> None:
        """Tables that are not by month: a schedule's seasons, and rosters."""
        for stem, rows in kind.tables(frame, report).items():
            name = f"{self.mapping.kind}/{stem}.parquet"
            existing = read_month(self.folder / name, kind.schema, {})
            merged = merge(existing, [kind.key(row) for row in existing.to_pylist()], rows, kind.key)
            gone = existing.num_rows + merged.new - rows.num_rows if kind.complete else 0
            report.months[stem] = MonthCounts(merged.new, len(merged.changes), merged.unchanged)
            report.changes += merged.changes
            if gone:
                report.notes.append(f"{name}: {gone:,} rows that the import does not have are gone.")
            if (merged.new or merged.changes or gone) and not self.dry_run:
                table = rows if kind.complete else merged.table
                write_data(self.folder, name, parquet_bytes(table, kind.order))

    def _months(self, kind: str, rows: pa.Table, report: ImportReport, nameless: frozenset[str] = frozenset()) -> None:
        day = rows.column("game_date")
        for month in sorted({season.month_of(each) for each in day.unique().to_pylist()}):
            first, last = season.month_bounds(month)
            of_month = rows.filter(pc.and_(pc.greater_equal(day, first), pc.less_equal(day, last)))
            name = f"{kind}/{month}.parquet"
            existing = read_month(self.folder / name, _SCHEMAS[kind], _FILL[kind])
            if kind == PLAYER_GAMES:
                merged = _merge_games(existing, of_month, month, self.folder / name, report, nameless)
            else:
                merged = _merge_lines(existing, of_month)
            report.months[month] = MonthCounts(merged.new, len(merged.changes), merged.unchanged)
            report.changes += merged.changes
            if (merged.new or merged.changes) and not self.dry_run:
                write_data(self.folder, name, parquet_bytes(merged.table, _ORDER[kind]))


def _merge_games(
    existing: pa.Table, rows: pa.Table, month: str, file: Path, report: ImportReport, nameless: frozenset[str]
) -> Merged:
    """Box scores with those of the folder; games that cannot have been, as they would then be, stay as they were.

    If those are over 1% of the month's games, the files are wrong, not the games, and the month stays as it was. Games
    that lack a player whose name matched none do not count for that.
    """
    better = player_games.better_ids(existing, rows)
    known = zip(existing.column("game_id").to_pylist(), existing.column("player_id").to_pylist(), strict=True)
    keys = [(better.get(game, game), player) for game, player in known]
    if better:
        rows = pa.concat_tables([rows, _renamed(existing, better, rows)])
    merged = merge(existing, keys, rows, _game_key)
    games = merged.table.column("game_id")
    reasons = broken_games(Columns(merged.table.filter(pc.is_in(games, rows.column("game_id").unique()))))
    if reasons:
        broken = pc.is_in(rows.column("game_id"), pa.array(list(reasons), pa.string()))
        for row in rows.filter(broken).to_pylist():
            reason = _LACKS_A_PLAYER if row["game_id"] in nameless else reasons[row["game_id"]]
            report.refuse(reason, [f"{row['game_id']} {_described(row)}"])
        rows = rows.filter(pc.invert(broken))
        if len(set(reasons) - nameless) > MAX_REFUSED_SHARE * len(games.unique()):
            report.refuse(_TOO_MANY_REFUSED, map(_described, rows.to_pylist()))
            return Merged(existing, 0, 0, [])
        merged = merge(existing, keys, rows, _game_key)
    if not (merged.new or merged.changes):
        return merged
    wrong = _why_refused(merged.table, month, file)
    if wrong is None:
        return merged
    if existing.num_rows and _why_refused(existing, month, file) is not None:
        report.notes.append(f"{wrong} So it was before the import.")
        return merged
    report.refuse(f"a month that would not be accepted: {wrong}", map(_described, rows.to_pylist()))
    return Merged(existing, 0, 0, [])


def _renamed(existing: pa.Table, better: dict[str, str], rows: pa.Table) -> pa.Table:
    """The folder's rows of games that had an id of our own and have nba.com's now, where the import lacks them."""
    imported = {_game_key(row) for row in rows.select(["game_id", "player_id"]).to_pylist()}
    renamed = [
        {**row, "game_id": better[row["game_id"]]}
        for row in existing.select(player_games.SCHEMA.names).to_pylist()
        if row["game_id"] in better
    ]
    left = [row for row in renamed if _game_key(row) not in imported]
    return pa.Table.from_pylist(left, schema=player_games.SCHEMA)


def _merge_lines(existing: pa.Table, rows: pa.Table) -> Merged:
    """Lines with those of the folder. A line whose player had no id is the same line when he has one."""
    old, new = existing.to_pylist(), rows.to_pylist()
    prop_lines.with_ids(new, old)
    prop_lines.with_ids(old, new)
    keys = [prop_lines.line_key(row) for row in old]
    return merge(existing, keys, pa.Table.from_pylist(new, schema=prop_lines.SCHEMA), prop_lines.line_key)


def _described(row: Row) -> str:
    return f"{row['game_date']} {row['player_name']} {row['team']}"


def _why_refused(table: pa.Table, month: str, file: Path) -> str | None:
    try:
        summarise_player_games(table, month, str(file))
    except SourceDataError as error:
        return str(error)
    return None


def _game_key(row: Row) -> Any:
    return row["game_id"], row["player_id"]


@contextmanager
def locked(folder: Path, *, create: bool = True, name: str = _LOCK) -> Iterator[None]:
    """The folder, for one import at a time. The lock goes with the process.

    Raises:
        HomeBusyError: another process has it.
        SettingsError: the folder cannot be written.
    """
    try:
        if create:
            folder.mkdir(parents=True, exist_ok=True)
        elif not folder.is_dir():
            yield
            return
        with (folder / name).open("ab") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise HomeBusyError(
                    f"Another import into {folder} is running. Wait until it has ended, then run this one again."
                ) from None
            yield
    except OSError as error:
        raise SettingsError(f"{folder} cannot be written ({error}). Check --to.") from error


_SCHEMAS = {PLAYER_GAMES: player_games.SCHEMA, LINES: prop_lines.SCHEMA}


def _nulls(name: str) -> Callable[[pa.Table], Any]:
    return lambda table: pa.nulls(table.num_rows, prop_lines.SCHEMA.field(name).type)


_FILL: dict[str, dict[str, Callable[[pa.Table], Any]]] = {
    PLAYER_GAMES: {"reb": lambda table: pc.add(table.column("oreb"), table.column("dreb"))},
    LINES: {
        **{name: _nulls(name) for name in ("captured_at", "over_price", "under_price")},
        "is_alternate": lambda table: pa.repeat(False, table.num_rows),
    },
}
"""Columns that a file may lack, and what they are then."""
_ORDER = {
    PLAYER_GAMES: ("game_date", "game_id", "team", "player_id"),
    LINES: ("game_date", "player_id", "player_name", "book", "captured_at", "is_alternate", "line"),
}
