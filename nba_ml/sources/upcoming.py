"""Optional tables of an embedded source's folder: schedule, rosters and injury reports. Reads and validates them.

Files are Parquet, CSV or JSON (a list of records, or one on each line). Only the rows that a date needs are validated.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from nba_ml.contract.errors import SourceDataError
from nba_ml.contract.game_types import PLATFORM_TYPES, game_type_of_id
from nba_ml.contract.reading import RefusedFileError, decode
from nba_ml.contract.times import look_like_dates
from nba_ml.data.reports import InjuryReport
from nba_ml.data.upcoming import UpcomingGame, game_type_on, is_out
from nba_ml.sources.importers import values
from nba_ml.sources.sums import read_data
from nba_ml.storage.parquet import read_parquet

SCHEDULE, ROSTERS, INJURY_REPORTS = "schedule", "rosters", "injury_reports"

Reader = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table: how a value is read, the type that is documented, and whether a row must have it."""

    read: Reader
    kind: str
    required: bool = True


TABLES: Mapping[str, Mapping[str, Column]] = {
    SCHEDULE: {
        "game_id": Column(values.game_id, "string"),
        "game_date": Column(values.day, "date32[day]"),
        "home_team": Column(values.team, "string"),
        "away_team": Column(values.team, "string"),
        "tip_off": Column(values.instant, "timestamp[us, tz=UTC]", required=False),
        "neutral_site": Column(values.flag, "bool", required=False),
        "season_type": Column(values.season_type, "string", required=False),
    },
    ROSTERS: {
        "as_of": Column(values.day, "date32[day]"),
        "team": Column(values.team, "string"),
        "player_id": Column(values.player_id, "int64"),
        "player_name": Column(values.name, "string"),
    },
    INJURY_REPORTS: {
        "player_id": Column(values.player_id, "int64", required=False),
        "game_date": Column(values.day, "date32[day]"),
        "status": Column(values.text, "string"),
        "reported_at": Column(values.instant, "timestamp[us, tz=UTC]"),
        "team": Column(values.team, "string", required=False),
    },
}
"""Table -> its columns."""

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Roster:
    """The players of all teams as of a date, (id, name, team) each."""

    as_of: date
    players: tuple[tuple[int, str, str], ...]


@dataclass(frozen=True)
class UpcomingTables:
    """The three tables under a folder. Each may be missing; a file that is added or replaced is seen at once."""

    data: Path

    def games(self, day: date) -> list[UpcomingGame]:
        """The scheduled games of a date that count, in order of their teams.

        Raises:
            SourceDataError: an unreadable file, or an invalid row of the date.
        """
        games: dict[tuple[str, str], UpcomingGame] = {}
        for row in self._rows(SCHEDULE, "game_date", day):
            kind = row["season_type"] or game_type_of_id(row["game_id"]) or game_type_on(day)
            if kind not in PLATFORM_TYPES:
                continue
            game = UpcomingGame(
                day,
                row["away_team"],
                row["home_team"],
                row["game_id"],
                row["tip_off"],
                bool(row["neutral_site"]),
                kind,
            )
            games[game.away, game.home] = game  # files in order of their names: of two, the later counts
        return [games[key] for key in sorted(games)]

    def tip_offs(self, first: date, last: date) -> dict[tuple[date, str], datetime]:
        """(Date, team) -> tip-off, of the games from `first` to `last` of which it is known. Raises as `games`."""
        found: dict[tuple[date, str], datetime] = {}
        for row in self._rows(SCHEDULE, "game_date", first, last):
            if row["tip_off"] is not None:
                found |= {(row["game_date"], row[side]): row["tip_off"] for side in ("home_team", "away_team")}
        return found

    def scheduled_days(self) -> list[date]:
        """The dates of the schedule, in order. Raises SourceDataError as `games`."""
        return sorted(set(self._keys(SCHEDULE, "game_date")))

    def roster(self, day: date) -> Roster | None:
        """The latest roster on or before a date; None if there is none.

        Raises:
            SourceDataError: an unreadable file, or an invalid row of that roster.
        """
        as_of = max((each for each in self._keys(ROSTERS, "as_of") if each <= day), default=None)
        if as_of is None:
            return None
        rows = self._rows(ROSTERS, "as_of", as_of)
        players = dict.fromkeys((row["player_id"], row["player_name"], row["team"]) for row in rows)
        return Roster(as_of, tuple(players))

    def injuries(self, first: date, last: date | None = None) -> list[InjuryReport]:
        """The reports for the games of a date, or from `first` to `last`, oldest first.

        Raises:
            SourceDataError: an unreadable file, or an invalid row of the dates.
        """
        rows = list(self._rows(INJURY_REPORTS, "game_date", first, last))
        if nobody := [row["game_date"] for row in rows if row["player_id"] is None and row["team"] is None]:
            raise SourceDataError(
                f"{self.data / INJURY_REPORTS}: a report for {nobody[0]} has neither player_id nor team. Give the "
                "player, or the team alone if it has nobody to report, or remove the row."
            )
        reports = [
            InjuryReport(row["player_id"], row["status"], row["reported_at"], row["game_date"], row["team"])
            for row in rows
        ]
        return sorted(reports, key=lambda report: report.reported_at)

    def _keys(self, table: str, column: str) -> Iterator[date]:
        for file, records in self._records(table):
            days = {record.get(column) for record in records}
            for value in days:
                yield _value(TABLES[table][column], column, value, str(file))

    def _rows(self, table: str, column: str, first: date, last: date | None = None) -> Iterator[Row]:
        columns = TABLES[table]
        for file, records in self._records(table):
            known: dict[Any, date] = {}
            for number, record in enumerate(records, 1):
                value = record.get(column)
                where = f"{file}, row {number}"
                if value not in known:
                    known[value] = _value(columns[column], column, value, where)
                if first <= known[value] <= (last or first):
                    yield {name: _value(each, name, record.get(name), where) for name, each in columns.items()}

    def _records(self, table: str) -> Iterator[tuple[Path, list[Row]]]:
        folder = self.data / table
        for file in sorted(folder.glob("*")) if folder.is_dir() else []:
            if file.suffix.lower() not in _READERS or file.name.startswith("."):
                continue
            records = _read(file)
            required = [name for name, column in TABLES[table].items() if column.required]
            missing = [name for name in required if records and name not in records[0]]
            if missing:
                raise SourceDataError(
                    f"{file} lacks the column{'s' if len(missing) > 1 else ''} {', '.join(missing)}. "
                    f"Required columns: {', '.join(required)}."
                )
            _require_single_values(TABLES[table], records, file)
            _require_dates(TABLES[table], records, file)
            yield file, records


def _require_single_values(columns: Mapping[str, Column], records: list[Row], file: Path) -> None:
    """JSON and Parquet may have a list or a record in a column."""
    for number, record in enumerate(records, 1):
        for name, column in columns.items():
            if isinstance(record.get(name), list | dict):
                raise SourceDataError(
                    f"{file}, row {number}: {name} has several values. Correct it; it must be {column.kind}."
                )


def _require_dates(columns: Mapping[str, Column], records: list[Row], file: Path) -> None:
    """As for box scores: a date that was written as midnight of a zone would be the evening before."""
    for name in (name for name, column in columns.items() if column.read is values.day):
        moments: list[date | datetime | None] = []
        for value in {record.get(name) for record in records}:
            with suppress(values.ValueFault):  # is reported with its row
                moments.append(values.moment(value))
        if look_like_dates(moments):
            raise SourceDataError(
                f"{file}: the column {name} has midnight of a zone in every row: a date that was written as a time, "
                "which in the East is the evening before. Export it as a date."
            )


def _value(column: Column, name: str, value: Any, where: str) -> Any:
    try:
        found = column.read(value)
    except values.ValueFault as fault:
        raise SourceDataError(f"{where}: {name} is '{value}': {fault}. Correct it; it must be {column.kind}.") from None
    if found is None and column.required:
        raise SourceDataError(f"{where}: {name} is empty. Every row must have it; correct the row or remove it.")
    return found


def _read(file: Path) -> list[Row]:
    try:
        return _READERS[file.suffix.lower()](file)
    except RefusedFileError as error:
        raise SourceDataError(f"{file} cannot be read: {error}.") from error
    except (pa.ArrowException, OSError, ValueError, RecursionError, csv.Error) as error:
        raise SourceDataError(
            f"{file} cannot be read ({str(error).splitlines()[0]}). It may be cut short; copy it again."
        ) from error


def _parquet(file: Path) -> list[Row]:
    rows: list[Row] = read_parquet(read_data(file)).to_pylist()
    return rows


def _csv(file: Path) -> list[Row]:
    content = decode(read_data(file))
    rows = list(csv.DictReader(io.StringIO(content, newline=""), strict=True))
    return [{(name or "").strip(): value for name, value in row.items()} for row in rows if any(row.values())]


def _json(file: Path) -> list[Row]:
    content = decode(read_data(file))
    rows = json.loads(content) if content.lstrip()[:1] == "[" else [json.loads(e) for e in content.splitlines() if e]
    if not all(isinstance(row, dict) for row in rows):
        raise ValueError("not a list of records")
    return list(rows)


_READERS: Mapping[str, Callable[[Path], list[Row]]] = {".parquet": _parquet, ".csv": _csv, ".json": _json}


def has_schedule(data: Path) -> bool:
    """Whether a folder has the table of scheduled games."""
    return (data / SCHEDULE).is_dir()


def players_out(reports: list[InjuryReport], until: Mapping[int | None, datetime]) -> tuple[set[int], list[str]]:
    """Who is out by his last report before his game's cut-off, and statuses that nobody knows.

    Args:
        reports: oldest first.
        until: player id -> reports from this moment on do not count.
    """
    last = {
        each.player_id: each for each in reports if each.player_id in until and each.reported_at < until[each.player_id]
    }
    unknown = sorted({each.status for each in last.values() if is_out(each.status) is None})
    return {player for player, each in last.items() if player is not None and is_out(each.status)}, unknown
