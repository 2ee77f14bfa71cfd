"""A date whose games are still to be played: who plays, as rows of box scores without a result.

The rows go through the same SQL as played games. What only a result can say is NULL in them, so that a feature that
read it would be missing.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc

from nba_ml.contract import season
from nba_ml.contract.errors import SlateError
from nba_ml.contract.game_types import GameType
from nba_ml.contract.teams import TEAM_CODES, team_code
from nba_ml.data.games import platform_game_id
from nba_ml.data.identities import player_lookup
from nba_ml.data.tables import PLAYER_GAME_SUMMARY

LAST_GAMES = 10
"""Without a roster, who played in this many of a team's last games plays."""

LONGEST_GAP = timedelta(days=14)
"""Between the last box score and the date, breaks of the calendar not counted. The All-Star break is 8 days."""

_PLAY_IN = timedelta(days=5)
"""After the last day of the regular season: the play-in, then the playoffs, as in every season since 2020-21."""

_UPCOMING = pa.schema([field.with_nullable(True) for field in PLAYER_GAME_SUMMARY])


@dataclass(frozen=True, slots=True)
class UpcomingGame:
    """A game to be played. Teams are codes of nba.com; `tip_off` is in UTC, None if unknown."""

    day: date
    away: str
    home: str
    game_id: str = ""
    tip_off: datetime | None = None
    neutral_site: bool = False
    game_type: GameType = GameType.REGULAR_SEASON

    @property
    def teams(self) -> tuple[str, str]:
        """Away, then home."""
        return self.away, self.home

    @property
    def platform_id(self) -> str:
        """`platform_game_id` of the game."""
        return platform_game_id(
            self.day.isoformat(), self.home, self.away, is_home=True, neutral_site=self.neutral_site
        )


@dataclass(frozen=True, slots=True)
class UpcomingPlayer:
    """A player who may play for a team. `lookup` is his key in the feature store."""

    player_id: int
    name: str
    lookup: str
    team: str


def parse_games(text: str, day: date) -> tuple[UpcomingGame, ...]:
    """'BOS@NYK,LAL@DEN' (away@home) -> the games of a date.

    Raises:
        SlateError: another form, an unknown team, or a team named twice.
    """
    games = []
    for part in text.split(","):
        sides = part.strip().split("@")
        if len(sides) != 2:
            raise SlateError(f"'{part.strip()}' is not a game. Write AWAY@HOME, for example BOS@NYK,LAL@DEN.")
        codes = [team_code(side) if side.strip() else None for side in sides]
        if unknown := [side.strip() for side, code in zip(sides, codes, strict=True) if code is None]:
            raise SlateError(
                f"'{part.strip()}' names {' and '.join(repr(each) for each in unknown)}, which no team is called. "
                f"Use {', '.join(TEAM_CODES)}."
            )
        away, home = (code or "" for code in codes)
        games.append(UpcomingGame(day, away, home, game_type=game_type_on(day)))
    require_one_game_each(games, day)
    return tuple(games)


def require_one_game_each(games: Iterable[UpcomingGame], day: date) -> None:
    """Raise SlateError if a team has two games on the date, or plays itself."""
    teams = [team for game in games for team in game.teams]
    if twice := sorted({team for team in teams if teams.count(team) > 1}):
        raise SlateError(f"{', '.join(twice)} would play twice on {day}. Name each team once.")


def game_type_on(day: date) -> GameType:
    """What a game of a date is if nobody says: by the season's calendar."""
    regular_end = season.season_on(day).regular_end
    if day <= regular_end:
        return GameType.REGULAR_SEASON
    return GameType.PLAY_IN if day <= regular_end + _PLAY_IN else GameType.PLAYOFFS


def require_recent(last: date, day: date) -> None:
    """Raise SlateError if the last box score is too old to say how players are playing on a date."""
    of_day = season.season_on(day)
    since = last if last >= of_day.opening else of_day.opening - timedelta(days=1)
    if of_day.pause is not None and since < of_day.pause[1] < day:
        since = of_day.pause[1]
    if day - since > LONGEST_GAP:
        raise SlateError(
            f"The last box score is of {last}, {(day - last).days} days before {day}; at most {LONGEST_GAP.days} days "
            "of a season may lie between. Import the box scores up to the day before, then try again."
        )


def recent_players(history: pa.Table, team: str) -> list[UpcomingPlayer]:
    """Those who played for a team in its last ten games, and for no other team since.

    Args:
        history: `tables.PLAYER_GAME_SUMMARY`, before the date.
    """
    own = history.filter(pc.equal(history["team_abbr"], team))
    days = sorted(own["game_date"].unique().to_pylist())[-LAST_GAMES:]
    if not days:
        return []
    rows = history.filter(pc.greater_equal(history["game_date"], days[0])).sort_by("game_date")
    names = ("universal_player_id", "player_name", "player_lookup", "team_abbr")
    latest = {player: rest for player, *rest in zip(*(rows[name].to_pylist() for name in names), strict=True)}
    return [
        UpcomingPlayer(int(player), name, lookup, team)
        for player, (name, lookup, last_team) in latest.items()
        if last_team == team
    ]


def with_lookups(listed: Iterable[tuple[int, str, str]], known: Mapping[int, str]) -> list[UpcomingPlayer]:
    """Players of a roster, (id, name, team) each, with the lookup that the box scores give an id.

    A player without a box score has the lookup that his first one will give him.

    Args:
        known: player id -> lookup.
    """
    taken = set(known.values())
    players = []
    for player, name, team in listed:
        plain = player_lookup(name)
        lookup = known.get(player) or (f"{plain}{player}" if plain in taken else plain)
        players.append(UpcomingPlayer(player, name, lookup, team))
    return players


def upcoming_rows(games: Sequence[UpcomingGame], players: Collection[UpcomingPlayer]) -> pa.Table:
    """Rows of box scores without results, in the columns of `tables.PLAYER_GAME_SUMMARY`.

    Raises:
        SlateError: a team has no players, or a player is in two teams of the date.
    """
    by_team: dict[str, list[UpcomingPlayer]] = {team: [] for game in games for team in game.teams}
    teams: dict[str, str] = {}
    for player in players:
        if player.team not in by_team:
            continue
        if teams.setdefault(player.lookup, player.team) != player.team:
            raise SlateError(
                f"{player.name} ({player.player_id}) is in two teams of the date, {teams[player.lookup]} and "
                f"{player.team}. Correct the roster."
            )
        if player not in by_team[player.team]:
            by_team[player.team].append(player)
    if empty := sorted(team for team, own in by_team.items() if not own):
        raise SlateError(
            f"No player of {', '.join(empty)} is known: no roster lists one who is not out, and no box score has one. "
            "Add a roster, or import box scores of the team's last games."
        )
    rows = [
        _row(game, player, team, opponent)
        for game in games
        for team, opponent in (game.teams, game.teams[::-1])
        for player in by_team[team]
    ]
    return pa.Table.from_pylist(rows, schema=_UPCOMING)


def with_upcoming(history: pa.Table, rows: pa.Table) -> pa.Table:
    """History and the rows of a date in one table, which allows NULL for what is not known yet."""
    return pa.concat_tables([history.cast(_UPCOMING), rows])


def _row(game: UpcomingGame, player: UpcomingPlayer, team: str, opponent: str) -> dict[str, object]:
    return {
        "player_lookup": player.lookup,
        "universal_player_id": str(player.player_id),
        "player_name": player.name,
        "game_date": game.day,
        "game_id": game.platform_id,
        "nba_game_id": game.game_id,
        "season": season.season_on(game.day).name,
        "playoffs": game.game_type == GameType.PLAYOFFS,
        "team_abbr": team,
        "opponent_team_abbr": opponent,
        "is_home": team == game.home and not game.neutral_site,
        "neutral_site": game.neutral_site,
    }


# --- injuries -------------------------------------------------------------------------------------------------

_PLAYS = ("active", "available", "probable", "questionable", "doubtful", "daytoday", "gametimedecision", "gtd")
_ABSENT = ("out", "inactive", "o", "ofs", "ruledout", "suspended", "suspension", "notwithteam", "injuredreserve", "ir")


def is_out(status: str) -> bool | None:
    """Whether a status means that the player does not play: 'Out', 'OUT (knee)', 'Inactive'. None if it is unknown."""
    plain = re.sub("[^a-z]", "", status.lower())
    if plain.startswith(("out", "inactive")) or plain in _ABSENT:
        return True
    return False if plain.startswith(_PLAYS) else None
