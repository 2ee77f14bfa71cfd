"""Box scores and lines from Parquet files: finds, reads and fingerprints them. `data.box_scores` validates the rows."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from itertools import chain, islice
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from nba_ml.contract import season
from nba_ml.contract.digest import bytes_digest, json_digest
from nba_ml.contract.errors import MonthError, SourceDataError
from nba_ml.contract.game_types import GameType, game_type_named
from nba_ml.contract.limits import DATA_BYTES
from nba_ml.contract.reading import read_file
from nba_ml.contract.teams import team_code
from nba_ml.contract.times import REPORT_CUT_OFF
from nba_ml.data.box_scores import (
    PLAYER_GAME_COLUMNS,
    PROP_LINE_COLUMNS,
    TEXT_COLUMNS,
    UNPLAYED_COLUMNS,
    OtherMonths,
    PlayerGames,
    normalise_prop_lines,
    summarise_player_games,
    typed_columns,
    typed_games,
)
from nba_ml.data.games import REFUSED_GAMES
from nba_ml.data.identities import distinct_pairs, first_lookups, player_lookup
from nba_ml.data.reports import TeamTipOffs
from nba_ml.data.standing_lines import OPTIONAL_COLUMNS, TipOffs, before_tip_off, standing_lines
from nba_ml.data.table_digest import table_digest
from nba_ml.data.tables import PLAYER_GAME_SUMMARY, PRICED_LINES, PRICES, PROP_LINES
from nba_ml.data.unplayed import split_unplayed, tip_off_values, unplayed_games
from nba_ml.data.upcoming import UpcomingGame
from nba_ml.sources.data_files import FilesRead, read_columns
from nba_ml.sources.embedded_reports import EmbeddedReports
from nba_ml.sources.sums import PARQUET_FILES
from nba_ml.sources.upcoming import UpcomingTables

PLAYER_GAMES, LINES = "player_games", "prop_lines"


def source_months(data: Path) -> list[str]:
    """All season months from the source's first file to its last, including months without a file.

    Raises:
        SourceDataError: there is no folder or no file, or a file's name is not a season month.
    """
    folder = data / PLAYER_GAMES
    if not folder.is_dir():
        raise SourceDataError(
            f"{folder} does not exist. Set NBA_ML_DATA to a folder with {PLAYER_GAMES}/YYYY-MM.parquet and optionally "
            f"{LINES}/*.parquet, or unset it to use the shipped data."
        )
    files = sorted(folder.glob(PARQUET_FILES))
    if not files:
        raise SourceDataError(f"{folder} has no YYYY-MM.parquet file. Add a file of box scores for each month.")
    for file in files:
        try:
            season.parse_month(file.stem)
        except MonthError as error:
            raise SourceDataError(f"{file} must be named after a season month. {error}") from error
    return season.season_months(files[0].stem, files[-1].stem)


@dataclass(frozen=True)
class EmbeddedFeatureSource:
    """Box scores and lines from Parquet files: the shipped ones, or a user's own in the same layout.

    A file that is added or replaced is seen at the next read.
    """

    data: str
    report_cut_off: timedelta = REPORT_CUT_OFF
    """Before tip-off: reports from then on do not count."""
    _files: FilesRead = field(default_factory=FilesRead, compare=False, repr=False)

    @property
    def reports(self) -> EmbeddedReports:
        """The folder's reports of who is out."""
        return EmbeddedReports(Path(self.data), self.report_cut_off, self._team_tip_offs, self._files)

    def fingerprint(self, month: str) -> str:
        """Digest of the month's file, and of what other files say about its games and players, if anything."""
        file = self._file(month)
        own = bytes_digest(self._bytes(file) if file else b"")
        others = self._others(month)
        lookups = self._unlike_their_names(month, others)
        return json_digest([own, others.game_ids, lookups]) if others.game_ids or lookups else own

    def player_game_summary(self, month: str) -> PlayerGames:
        """The month's box scores, validated, in `tables.PLAYER_GAME_SUMMARY`.

        A month without a file is empty if no game was played in it, and if it had playoff games only and the source
        has no playoffs of that season.

        Raises:
            SourceDataError: the file is missing or unreadable, or has invalid rows.
        """
        file = self._file(month)
        if file is None:
            nothing = PLAYER_GAME_SUMMARY.empty_table()
            return PlayerGames(nothing, REFUSED_GAMES.empty_table(), {}, 0, ())
        games = read_columns(file, PLAYER_GAME_COLUMNS, TEXT_COLUMNS)
        may_be_empty = not season.had_regular_season(month)
        return summarise_player_games(games, month, str(file), self._others(month), may_be_empty=may_be_empty)

    def starts_mid_season(self, month: str) -> str | None:
        """What to know about the source's first month, if its season had begun before; None for other months."""
        if month != source_months(Path(self.data))[0]:
            return None
        first = self._facts(self._path(month)).first_date
        if first is None:
            return None
        opening = season.season_on(first).opening
        if first < opening + timedelta(days=season.EARLY_SEASON_DAYS):
            return None
        return (
            f"The first box scores are of {first}, and that season opened on {opening}. Averages of the season and "
            "early-season flags count from the first box score. Add the earlier months for the season's own."
        )

    def prop_lines(self, month: str) -> pa.Table:
        """The month's points lines in `tables.PROP_LINES`; empty if there are none.

        Raises:
            SourceDataError: a file is unreadable, or a line of the month is invalid.
        """
        return self.priced_lines(month).select(PROP_LINES.names)

    def priced_lines(self, month: str, upcoming: TipOffs | None = None) -> pa.Table:
        """The month's points lines in `tables.PRICED_LINES`. Raises as `prop_lines`.

        Args:
            upcoming: tip-offs of players without a box score.
        """
        within = season.month_bounds(month)
        files = {str(file): table for file, (table, _) in self._lines_before_tip_off(month, upcoming or {}).items()}
        standing = standing_lines(files)
        tables = [normalise_prop_lines(standing[file], file, within) for file in files]
        return pa.concat_tables(tables) if tables else PRICED_LINES.empty_table()

    def late_lines(self, month: str) -> int:
        """The month's lines that do not count because they were captured after tip-off. Raises as `prop_lines`."""
        return sum(late for _, late in self._lines_before_tip_off(month, {}).values())

    def _lines_before_tip_off(self, month: str, upcoming: TipOffs) -> dict[Path, tuple[pa.Table, int]]:
        """File -> its lines of the month (all, if its dates are of another type), and the number of those too late."""
        first, last = season.month_bounds(month)
        files = sorted((Path(self.data) / LINES).glob(PARQUET_FILES))
        found: dict[Path, tuple[pa.Table, int]] = {}
        tip_offs: TipOffs | None = None
        for file in files:
            table = self._files.once(file, _read_lines)
            if "game_date" in table.column_names and pa.types.is_date32(table.schema.field("game_date").type):
                day = table.column("game_date")
                # A date that is missing is reported by the validation.
                mine = pc.and_(pc.greater_equal(day, first), pc.less_equal(day, last))
                table = table.filter(pc.fill_null(mine, True))
            if "captured_at" in table.column_names and table.num_rows:
                tip_offs = {**self._tip_offs(month), **upcoming} if tip_offs is None else tip_offs
            kept = before_tip_off(table, tip_offs or {}, str(file))
            found[file] = (kept, table.num_rows - kept.num_rows)
        return found

    def _tip_offs(self, month: str) -> TipOffs:
        """Tip-offs of the players of the month's box scores, as the file has them, or else the schedule."""
        found: dict[tuple[date, int | str], datetime] = {}
        for day, player, name, _, began in self._began(month):
            found |= {(day, player): began, (day, player_lookup(name)): began}
        return found

    def _began(self, month: str) -> Iterator[tuple[date, int, str, str, datetime]]:
        """(Date, player id, name, team, tip-off) of the rows of the month's box scores whose tip-off is known."""
        file = self._path(month)
        if not file.is_file():
            return
        columns = ("game_date", "player_id", "player_name", "team")
        rows = read_columns(file, (*columns, "tip_off"))
        own = tip_off_values(rows, str(file))
        frame = typed_games(rows, columns, str(file))
        scheduled = UpcomingTables(Path(self.data)).tip_offs(*season.month_bounds(month))
        for tip_off, moment, player, name, given in zip(own, *(frame[each] for each in columns), strict=True):
            day, team = moment.date(), team_code(given) or given
            began = tip_off or scheduled.get((day, team))
            if began is not None:
                yield day, int(player), name, team, began

    def _team_tip_offs(self, month: str) -> TeamTipOffs:
        scheduled = UpcomingTables(Path(self.data)).tip_offs(*season.month_bounds(month))
        return {**scheduled, **{(day, team): began for day, _, _, team, began in self._began(month)}}

    def lines_fingerprint(self, month: str) -> str:
        """Digest of the month's lines."""
        return table_digest(self.prop_lines(month).sort_by([(name, "ascending") for name in PROP_LINES.names]))

    def prices_fingerprint(self, month: str) -> Mapping[str, str]:
        """Digest of the month's lines that have prices; nothing if none has."""
        files = (Path(self.data) / LINES).glob(PARQUET_FILES)
        if not any(set(PRICES) & set(self._files.once(file, _read_lines).column_names) for file in files):
            return {}
        lines = self.priced_lines(month)
        priced = lines.filter(pc.or_(*(pc.is_valid(lines.column(name)) for name in PRICES)))
        if not priced.num_rows:
            return {}
        ordered = priced.sort_by([(name, "ascending") for name in PRICED_LINES.names])
        return {"prices": table_digest(ordered)}

    def unplayed(self, day: date) -> tuple[list[UpcomingGame], list[tuple[int, str, str]]]:
        """The games of a date whose rows have no result yet, and their players, (id, name, team) each.

        Raises:
            SourceDataError: the month's file is unreadable, or has an invalid row of such a game.
        """
        file = self._path(season.month_of(day))
        if not file.is_file():
            return [], []
        rows = split_unplayed(read_columns(file, (*PLAYER_GAME_COLUMNS, "tip_off")))[1]
        frame = typed_games(rows, UNPLAYED_COLUMNS, str(file))
        frame["tip_off"] = pd.Series(tip_off_values(rows, str(file)), dtype=object)
        return unplayed_games(frame[frame["game_date"] == pd.Timestamp(day)], day, str(file))

    def lookups(self, month: str) -> Mapping[int, str]:
        """Player id -> lookup, by the files up to a month."""
        return self._others(month).lookups

    def _others(self, month: str) -> OtherMonths:
        everything: _AllMonths = self._files.together(Path(self.data) / PLAYER_GAMES, self._all_months)
        return everything.beside(month)

    def _all_months(self, files: list[Path]) -> _AllMonths:
        return _AllMonths.of([(file.stem, self._facts(file)) for file in files])

    def _unlike_their_names(self, month: str, others: OtherMonths) -> dict[str, str]:
        if self._file(month) is None:
            return {}
        names = self._facts(self._path(month)).names
        unlike = {player for player, name in names if others.lookups[player] != player_lookup(name)}
        return {str(player): others.lookups[player] for player in sorted(unlike)}

    def _facts(self, file: Path) -> _FileFacts:
        try:
            facts: _FileFacts = self._files.once(file, _facts)
        except SourceDataError:
            return _NO_FACTS
        return facts

    def _path(self, month: str) -> Path:
        return Path(self.data) / PLAYER_GAMES / f"{month}.parquet"

    def _file(self, month: str) -> Path | None:
        """The month's file; None for a month that needs none."""
        file = self._path(month)
        if file.is_file():
            return file
        if not season.had_regular_season(month) and not (season.had_games(month) and self._has_playoffs(month)):
            return None
        raise SourceDataError(
            f"{month}: {file} does not exist, so the backfill has 0 rows of that month. Add the file and materialise "
            f"player_game_summary for {month}; later months cannot be computed without it."
        )

    def _has_playoffs(self, month: str) -> bool:
        """Whether the source has playoff games of the month's season."""
        of_season = season.season_of(month)
        files = (Path(self.data) / PLAYER_GAMES).glob(PARQUET_FILES)
        return any(self._facts(file).playoffs for file in files if season.season_of(file.stem) == of_season)

    def _bytes(self, file: Path) -> bytes:
        try:
            return read_file(file, DATA_BYTES, within=Path(self.data))  # a damaged file is reported by its reader
        except OSError as error:
            reason = error.strerror or error
            raise SourceDataError(f"{file} cannot be read ({reason}). Check the file and its permissions.") from error


@dataclass(frozen=True, slots=True)
class _FileFacts:
    """What other months need to know of a file. Nothing, if it cannot be read: its own month reports that."""

    games: frozenset[str] = frozenset()
    names: Sequence[tuple[int, str]] = ()
    first_date: date | None = None
    playoffs: bool = False


_NO_FACTS = _FileFacts()


@dataclass(frozen=True, slots=True)
class _AllMonths:
    """What the files of all months say together.

    `lookups` are in the order of first appearances, `until` how many of them there are up to each of the months, and
    `shared` the months of each game that several have.
    """

    months: Sequence[str]
    lookups: Mapping[int, str]
    until: Sequence[int]
    shared: Mapping[str, list[str]]

    @classmethod
    def of(cls, files: Sequence[tuple[str, _FileFacts]]) -> _AllMonths:
        """Of the months' files, in order."""
        lookups, until = first_lookups(facts.names for _, facts in files)
        return cls([month for month, _ in files], lookups, [0, *until], _shared_games(files))

    def beside(self, month: str) -> OtherMonths:
        """What a month needs to know of the others."""
        # Later months are left out: no later file may rename a player in an earlier month.
        until = self.until[bisect_right(self.months, month)]
        shared = {game: months for game, months in self.shared.items() if month in months}
        return OtherMonths(
            dict(islice(self.lookups.items(), until)),
            {game: [each for each in months if each != month][-1] for game, months in sorted(shared.items())},
        )


def _shared_games(files: Sequence[tuple[str, _FileFacts]]) -> dict[str, list[str]]:
    """The months of each game that several files have."""
    counts = Counter(chain.from_iterable(facts.games for _, facts in files))
    shared = {game for game, count in counts.items() if count > 1}
    return {game: [month for month, facts in files if game in facts.games] for game in shared}


_FACT_COLUMNS = ("season_type", "game_id", "game_date", "player_id", "player_name")


def _facts(file: Path) -> _FileFacts:
    try:
        played, _ = split_unplayed(read_columns(file, (*_FACT_COLUMNS, "wl", "min"), TEXT_COLUMNS))
        rows = typed_columns(played, _FACT_COLUMNS, str(file))
    except SourceDataError:
        return _NO_FACTS
    return _FileFacts(
        games=frozenset(rows.coded("game_id").values),
        names=distinct_pairs(rows),
        first_date=min(rows.coded("game_date").values, default=None),
        playoffs=GameType.PLAYOFFS in map(game_type_named, rows.coded("season_type").values),
    )


def _read_lines(file: Path) -> pa.Table:
    return read_columns(file, (*PROP_LINE_COLUMNS, *OPTIONAL_COLUMNS))
