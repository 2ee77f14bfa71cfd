"""Reports of who is out for an embedded source: a folder's `injury_reports`, or on dates without any a stand-in from
`listed_without_minutes`. `data.reports` decides which of them count.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from nba_ml.contract import season
from nba_ml.contract.digest import json_digest
from nba_ml.contract.errors import SourceDataError
from nba_ml.data.features import inactive_lists
from nba_ml.data.reports import LISTED, StandingReports, standing_reports
from nba_ml.data.table_digest import table_digest
from nba_ml.sources.data_files import FilesRead, read_columns
from nba_ml.sources.sums import PARQUET_FILES
from nba_ml.sources.upcoming import UpcomingTables

LISTED_WITHOUT_MINUTES = "listed_without_minutes"


@dataclass(frozen=True)
class EmbeddedReports:
    """The reports in a data folder. `cut_off` before tip-off they cease to count; `tip_offs` gives those of a month."""

    data: Path
    cut_off: timedelta
    tip_offs: Callable[[str], Mapping[tuple[date, str], datetime]]
    files: FilesRead

    def of_month(self, month: str, summary: pa.Table) -> StandingReports:
        """The month's injury reports as they stood at the cut-off, and a stand-in on dates without any.

        Args:
            summary: box scores, schema `tables.PLAYER_GAME_SUMMARY`, up to the month.

        Raises:
            SourceDataError: a file is unreadable, or a row of the month is invalid.
        """
        first, last = season.month_bounds(month)
        reports = UpcomingTables(self.data).injuries(first, last)
        found = standing_reports(reports, summary, self.tip_offs(month) if reports else {}, self.cut_off)
        listed = self._listed(month)
        with_reports = pc.is_in(listed["game_date"], found.table["game_date"].combine_chunks())
        stand_in = inactive_lists(summary, listed.filter(pc.invert(with_reports)), first, last)
        return replace(found, table=pa.concat_tables([found.table, stand_in]))

    def fingerprint(self, month: str) -> str:
        """Digest of all that `of_month` reads besides the box scores. Raises as it does."""
        reports = UpcomingTables(self.data).injuries(*season.month_bounds(month))
        tip_offs = self.tip_offs(month) if reports else {}
        return json_digest(
            [
                [str(each) for each in reports],
                sorted(f"{day} {team} {began}" for (day, team), began in tip_offs.items()),
                str(self.cut_off),
                table_digest(self._listed(month)),
            ]
        )

    def _listed(self, month: str) -> pa.Table:
        """The month's players listed without minutes, in `reports.LISTED`."""
        first, last = season.month_bounds(month)
        files = sorted((self.data / LISTED_WITHOUT_MINUTES).glob(PARQUET_FILES))
        rows = pa.concat_tables([LISTED.empty_table(), *(self.files.once(file, _read_listed) for file in files)])
        day = rows["game_date"]
        return rows.filter(pc.and_(pc.greater_equal(day, first), pc.less_equal(day, last)))


def _read_listed(file: Path) -> pa.Table:
    rows = read_columns(file, tuple(LISTED.names))
    try:
        return rows.select(LISTED.names).cast(LISTED)
    except (pa.ArrowException, KeyError, ValueError) as error:
        raise SourceDataError(
            f"{file} does not have the columns {', '.join(f'{field.name} ({field.type})' for field in LISTED)} "
            f"({str(error).splitlines()[0]}). Correct the file or remove it."
        ) from error
