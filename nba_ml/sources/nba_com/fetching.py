"""What is asked of nba.com for a range of dates, and what becomes of the answers.

Answers are kept in the folder's `.fetch` until all of them have been imported, so that a run that was stopped continues
where it was.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from nba_ml.contract import season
from nba_ml.contract.errors import SettingsError
from nba_ml.contract.times import eastern_date
from nba_ml.sources.importers.importing import Import, locked
from nba_ml.sources.importers.mapping import shipped_mapping
from nba_ml.sources.importers.report import ImportReport
from nba_ml.sources.nba_com.client import Client, Request
from nba_ml.storage.directory import DirectoryStore

KEPT = timedelta(hours=6)
"""An answer that was not imported counts this long."""

_SLACK = timedelta(days=14)
"""Around the calendar's end of a regular season, which is a rule for seasons to come, all types are asked for. An
answer without rows is no error."""

_FIRST = date(2015, 10, 1)
"""The first season of the calendar."""


@dataclass(frozen=True)
class Fetch:
    """Box scores from `first` to `last`, and the schedule and rosters of the day after `last`, into a folder."""

    folder: Path
    first: date
    last: date

    def __post_init__(self) -> None:
        if not _FIRST <= self.first <= self.last:
            raise SettingsError(f"--from {self.first} must be from {_FIRST} to {self.last} (--until).")
        if self.last > eastern_date(datetime.now(UTC)):
            raise SettingsError(f"--until {self.last} is in the future.")

    def run(self, client: Client, say: Callable[[str], None] = lambda _: None) -> dict[str, ImportReport]:
        """Fetch and import; format -> what its import did.

        Args:
            say: is told of each answer.

        Raises:
            SourceDataError: no whole answer. Nothing was imported, and the answers so far are kept.
            HomeBusyError: another fetch into the folder is running.
        """
        with locked(self.folder, name=".fetch.lock"):
            files: dict[str, list[Path]] = {}
            asked = list(self.requests())
            for number, (format_name, request) in enumerate(asked, 1):
                files.setdefault(format_name, []).append(self._answer(request, client))
                say(f"{number} of {len(asked)}: {request.name}")
            reports = {
                name: Import(name, shipped_mapping(name), self.folder, self._constants(name)).run(answers)
                for name, answers in files.items()
            }
            shutil.rmtree(self.folder / ".fetch", ignore_errors=True)
        return reports

    def requests(self) -> Iterator[tuple[str, Request]]:
        """What is asked, each with the format of its answer."""
        for first, last in _months(self.first, self.last):
            for of in dict.fromkeys((season.season_on(first), season.season_on(last))):
                yield from (("nba-api", each) for each in _game_logs(of, first, last))
        tonight = self.last + timedelta(days=1)
        if not season.in_season(season.month_of(tonight)):
            return
        name = season.season_on(tonight).name
        yield "nba-api-schedule", Request(f"schedule_{name}", "ScheduleLeagueV2", {"season": name})
        yield "nba-api-rosters", Request(f"rosters_{name}_{tonight}", "PlayerIndex", {"season": name})

    def _constants(self, format_name: str) -> dict[str, str]:
        return {"as_of": str(self.last + timedelta(days=1))} if format_name == "nba-api-rosters" else {}

    def _answer(self, request: Request, client: Client) -> Path:
        name = f"{request.name}.json"
        file = self.folder / ".fetch" / name
        if not file.is_file() or time.time() - file.stat().st_mtime > KEPT.total_seconds():
            DirectoryStore(file.parent).write(name, client.get(request).encode())
        return file


def _months(first: date, last: date) -> Iterator[tuple[date, date]]:
    """The range, month by month; months without games are left out."""
    while first <= last:
        following = (first.replace(day=1) + timedelta(days=32)).replace(day=1)
        if season.in_season(season.month_of(first)):
            yield first, min(last, following - timedelta(days=1))
        first = following


def _game_logs(of: season.Season, first: date, last: date) -> Iterator[Request]:
    """The game logs of a season's games from `first` to `last`, by type of game.

    The cup's final has a type of its own, which PlayerGameLogs knows.
    """
    between = {"date_from_nullable": f"{first:%m/%d/%Y}", "date_to_nullable": f"{last:%m/%d/%Y}"}
    stem = f"{of.name}_{first}_{last}"
    types = ["Regular Season"] if first <= of.regular_end + _SLACK else []
    if last >= of.regular_end - _SLACK:
        types += ["PlayIn", "Playoffs"]
    for kind in types:
        named = {"season": of.name, "season_type_all_star": kind, "player_or_team_abbreviation": "P"}
        yield Request(f"{stem}_{kind.replace(' ', '')}", "LeagueGameLog", {**named, **between})
    if first.month == 12:
        named = {"season_nullable": of.name, "season_type_nullable": "IST", "league_id_nullable": "00"}
        yield Request(f"{stem}_CupFinal", "PlayerGameLogs", {**named, **between})
