"""Box scores and lines from Parquet files: finds, reads and fingerprints them. `data.box_scores` validates the rows."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from nba_ml.contract import season
from nba_ml.contract.digest import bytes_digest
from nba_ml.contract.errors import MonthError, SourceDataError
from nba_ml.data.box_scores import PLAYER_GAME_COLUMNS, PROP_LINE_COLUMNS, normalise_prop_lines, summarise_player_games
from nba_ml.data.standing_lines import OPTIONAL_COLUMNS, standing_lines
from nba_ml.data.table_digest import table_digest
from nba_ml.data.tables import PROP_LINES

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
    files = sorted(folder.glob("*.parquet"))
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
    """Box scores and lines from Parquet files: the shipped ones, or a user's own in the same layout."""

    data: str

    def fingerprint(self, month: str) -> str:
        """sha256 of the month's file: what changed outside the graph."""
        return bytes_digest(self._bytes(self._player_games_file(month)))

    def player_game_summary(self, month: str) -> pa.Table:
        """The month's box scores, validated, in `tables.PLAYER_GAME_SUMMARY`.

        Raises:
            SourceDataError: the file is missing or unreadable, or has invalid rows.
        """
        file = self._player_games_file(month)
        return summarise_player_games(_read(file, PLAYER_GAME_COLUMNS), month, str(file))

    def prop_lines(self, month: str) -> pa.Table:
        """The month's points lines in `tables.PROP_LINES`; empty if there are none.

        Raises:
            SourceDataError: a file is unreadable, or a line of the month is invalid.
        """
        within = season.month_bounds(month)
        tables = [normalise_prop_lines(table, str(file), within) for file, table in self._line_files.items()]
        return pa.concat_tables(tables) if tables else PROP_LINES.empty_table()

    def lines_fingerprint(self, month: str) -> str:
        """Digest of the month's lines."""
        return table_digest(self.prop_lines(month).sort_by([(name, "ascending") for name in PROP_LINES.names]))

    @cached_property
    def _line_files(self) -> dict[Path, pa.Table]:
        files = sorted((Path(self.data) / LINES).glob("*.parquet"))
        return {file: standing_lines(_read(file, (*PROP_LINE_COLUMNS, *OPTIONAL_COLUMNS)), str(file)) for file in files}

    def _player_games_file(self, month: str) -> Path:
        file = Path(self.data) / PLAYER_GAMES / f"{month}.parquet"
        if not file.is_file():
            raise SourceDataError(
                f"{month}: {file} does not exist, so the backfill has 0 rows of that month. Add the file and "
                f"materialise player_game_summary for {month}; later months cannot be computed without it."
            )
        return file

    def _bytes(self, file: Path) -> bytes:
        try:
            return file.read_bytes()
        except OSError as error:
            raise SourceDataError(f"{file} cannot be read ({error.strerror}). Check its permissions.") from error


def _read(file: Path, columns: tuple[str, ...]) -> pa.Table:
    try:
        present = pq.read_schema(file).names
        return pq.read_table(file, columns=[name for name in columns if name in present], partitioning=None)
    except (pa.ArrowInvalid, OSError) as error:
        raise SourceDataError(
            f"{file} is not a readable Parquet file ({str(error).splitlines()[0]}). It may be cut short; copy it again."
        ) from error
