"""Who and what a folder's box scores know: players by name, team and date, games by date and teams."""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left, bisect_right
from collections import defaultdict
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import pyarrow as pa

from nba_ml.contract.errors import SourceDataError
from nba_ml.contract.game_types import GameType
from nba_ml.contract.teams import TEAM_CODES
from nba_ml.data.identities import player_lookup, whole_game_ids
from nba_ml.sources.sums import PARQUET_FILES, read_data
from nba_ml.storage.parquet import read_parquet

_REACH = timedelta(days=3 * 365 + 1)
"""A name is looked up in the box scores of three years around its date."""
_SUFFIX = re.compile(r"[\s,]+(?:jr|sr|ii|iii|iv|v)\.?$", re.I)
_COLUMNS = (
    *("game_date", "game_id", "player_id", "player_name", "team", "opponent"),
    *("is_home", "neutral_site", "season_type"),
)


@dataclass(frozen=True, slots=True)
class KnownGame:
    """A game of the folder."""

    game_id: str
    month: str
    season_type: str
    neutral_site: bool


class History:
    """The box scores of a folder, by what they are looked up by."""

    def __init__(self, tables: dict[str, pa.Table]) -> None:
        self.games: dict[tuple[date, frozenset[str]], KnownGame] = {}
        self.dates: dict[str, tuple[date, str]] = {}
        """Game id -> its date and the month whose file has it."""
        self.names: dict[int, str] = {}
        """Player -> how his latest row spells him."""
        played: dict[int, dict[date, str]] = defaultdict(dict)
        spellings: set[tuple[int, str]] = set()
        for month, table in sorted(tables.items()):
            for day, game, player, name, team, opponent, _, neutral, kind in zip(
                *(table.column(column).to_pylist() for column in _COLUMNS), strict=True
            ):
                played[player][day] = team
                spellings.add((player, name))
                self.names[player] = name
                if game not in self.dates:
                    self.dates[game] = (day, month)
                    self.games[day, frozenset((team, opponent))] = KnownGame(game, month, kind, neutral)
        self._played = {player: (sorted(days), days) for player, days in played.items()}
        self._by_lookup: dict[str, set[int]] = defaultdict(set)
        self._by_stem: dict[str, set[int]] = defaultdict(set)
        for player, name in spellings:
            self._by_lookup[player_lookup(name)].add(player)
            self._by_stem[_stem(name)].add(player)

    @classmethod
    def of(cls, folder: Path) -> History:
        """The box scores under a folder's `player_games`.

        Raises:
            SourceDataError: an unreadable file, or one without the columns of box scores.
        """
        tables = {}
        for file in sorted((folder / "player_games").glob(PARQUET_FILES)):
            try:
                tables[file.stem] = with_whole_ids(read_parquet(read_data(file), _COLUMNS))
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as error:
                raise SourceDataError(
                    f"{file} cannot be read ({str(error).splitlines()[0]}). Restore or remove it; nothing was imported."
                ) from error
        return cls(tables)

    def player(self, name: str, day: date, teams: frozenset[str]) -> int | str:
        """The id of the one player who has the name, on one of the teams at that date; otherwise why there is none."""
        exact = self._near(self._by_lookup.get(player_lookup(name), ()), day)
        candidates = exact or self._near(self._by_stem.get(_stem(name), ()), day)
        if not candidates:
            return "no player of that name"
        on_the_day = {player: self._played[player][1].get(day) for player in candidates}
        if not teams:
            return next(iter(candidates)) if len(exact) == 1 else "more than one player of that name"
        here = [player for player, team in on_the_day.items() if team in teams]
        if not here:
            free = [player for player, team in on_the_day.items() if team is None]
            here = [player for player in free if self._team_before(player, day) in teams]
            if not here and len(exact) == 1:
                if not free:
                    return "on another team that day"
                here = free  # traded, or a first game
        if len(here) == 1:
            return here[0]
        return "more than one player of that name" if len(candidates) > 1 else "no player of that name on the team"

    def _near(self, players: set[int] | tuple[()], day: date) -> set[int]:
        found = set()
        for player in players:
            days = self._played[player][0]
            if bisect_left(days, day - _REACH) < bisect_right(days, day + _REACH):
                found.add(player)
        return found

    def _team_before(self, player: int, day: date) -> str | None:
        days, teams = self._played[player]
        at = bisect_left(days, day)
        return teams[days[at - 1]] if at else None


def with_whole_ids(table: pa.Table) -> pa.Table:
    """A folder's rows with game ids of ten digits: what a number lost must not make a game another one."""
    ids, _ = whole_game_ids(table.column("game_id"))
    return table.set_column(table.column_names.index("game_id"), "game_id", ids.cast(pa.string()))


def own_game_id(day: date, season: str, teams: frozenset[str], home: str | None, kind: GameType) -> str:
    """An id for a game whose source has none and which the folder does not know: ten digits, '99' instead of nba.com's
    '00', the third digit as nba.com's. The same game always gets the same one."""
    first = int(season[:4])
    digit = list(GameType).index(kind) + 1
    team = TEAM_CODES.index(home or min(teams))
    return f"99{digit}{first % 100:02d}{(day - date(first, 9, 1)).days:03d}{team:02d}"


def is_own_id(game_id: str) -> bool:
    """Whether `own_game_id` made an id."""
    return game_id.startswith("99")


def _stem(name: str) -> str:
    plain = unicodedata.normalize("NFKC", name).strip()
    return player_lookup(_SUFFIX.sub("", plain))
