"""What is true of every real game, and what becomes of a game of which it is not. The platform's key of a game.

A game is a fact about two teams: if its rows contradict each other, none of them is used. Such games are kept apart
from the month with their reasons. If they are more than 1% of a month's games, the source is broken, not the games.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from nba_ml.contract.errors import SourceDataError
from nba_ml.contract.game_types import PLATFORM_TYPES, GameType, game_type_named, game_type_of_id
from nba_ml.contract.teams import TEAM_CODES
from nba_ml.data.coded import Coded, Columns, Groups, Mask, Numbers, firsts_of, paired
from nba_ml.data.table_digest import DigestedTable

MAX_REFUSED_SHARE = 0.01
"""Of a month's games."""

REFUSED_GAMES = pa.schema(
    [
        pa.field("nba_game_id", pa.string(), nullable=False),
        pa.field("game_date", pa.date32(), nullable=False),
        pa.field("teams", pa.string(), nullable=False),
        pa.field("rows", pa.int64(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
    ]
)
"""One row per refused game, ordered by id."""

_NONE_REFUSED = REFUSED_GAMES.empty_table()


@dataclass(frozen=True, slots=True)
class SummaryMonth(DigestedTable):
    """A month of box scores, with the games that were refused, and the fingerprint of the files; '' if unknown."""

    refused: pa.Table
    source: str = ""


_COUNTED_ALIKE = (GameType.REGULAR_SEASON, GameType.PLAY_IN, GameType.CUP_FINAL)
"""Used in the same way. The cup's group stage, and the play-in of some sources, have ids of the regular season."""

_TYPES, _NO_TYPE = tuple(GameType), -1
_PLACES: Mapping[GameType | None, int] = {kind: place for place, kind in enumerate(_TYPES)}
"""A type of game as a number, where it is compared row by row: its place here."""

_PLATFORM, _ALIKE = (
    np.array([kind in kinds for kind in (*_TYPES, None)]) for kinds in (PLATFORM_TYPES, _COUNTED_ALIKE)
)
"""Whether each of `_TYPES` is one of them; the last, that of `_NO_TYPE`, is not."""

_GAME_MINUTES, _OVERTIME_MINUTES, _MOST_OVERTIMES = 240, 25, 6
_LEAST_MINUTES = 225
_LEAST_PLAYERS = 6


def platform_game_id(game_date: str, team: str, opponent: str, *, is_home: bool, neutral_site: bool) -> str:
    """The platform's key of a game, away before home: '20220115_BKN_CHI'.

    On a neutral site, where box scores have no home team, the teams are in alphabetical order.
    """
    away, home = sorted((team, opponent)) if neutral_site else (opponent, team) if is_home else (team, opponent)
    return f"{game_date.replace('-', '')}_{away}_{home}"


def games_set_aside(rows: Columns) -> dict[str, GameType]:
    """Game id -> type, of the games that are neither trained on nor graded. One whose id contradicts it is not among
    them: it is refused."""
    stated = _types(rows.coded("season_type"), game_type_named)
    exhibitions = (stated != _NO_TYPE) & ~_PLATFORM[stated]
    if not exhibitions.any():
        return {}
    game = rows.coded("game_id")
    by_id = _types(game, game_type_of_id)
    aside = exhibitions & ((by_id == _NO_TYPE) | (by_id == stated))
    firsts = {game.values[game.codes[at]]: _TYPES[stated[at]] for at in np.flatnonzero(aside)[::-1]}
    return dict(sorted(firsts.items()))


def broken_games(rows: Columns, other_months: Mapping[str, str] | None = None) -> dict[str, str]:
    """Id -> the reason why a game is refused, ordered by id; games that can be are left out.

    Args:
        rows: box scores in the columns of `box_scores.PLAYER_GAME_COLUMNS`, with team codes of nba.com.
        other_months: id of a game that another month's file has too -> that month.
    """
    found: dict[str, str] = {}
    ids, faults = _faults(rows, other_months or {})
    for reason, broken in faults.items():
        for place in np.flatnonzero(broken):
            found.setdefault(ids[place], reason)
    return dict(sorted(found.items()))


def refuse_games(rows: Columns, other_months: Mapping[str, str]) -> tuple[Columns, pa.Table]:
    """The rows of the games that can be, and the games that cannot, as `REFUSED_GAMES`. Arguments as `broken_games`."""
    reasons = broken_games(rows, other_months)
    if not reasons:
        return rows, _NONE_REFUSED
    refused = rows.coded("game_id").where(reasons.__contains__)
    described: dict[str, list[tuple[date, str]]] = {}
    columns = (rows.table.filter(refused)[name].to_pylist() for name in ("game_id", "game_date", "team"))
    for game, day, team in zip(*columns, strict=True):
        described.setdefault(game, []).append((day, team))
    games = [
        {
            "nba_game_id": game,
            "game_date": min(day for day, _ in described[game]),
            "teams": " ".join(sorted({team for _, team in described[game]})),
            "rows": len(described[game]),
            "reason": reason,
        }
        for game, reason in reasons.items()
    ]
    return rows.filter(~refused), pa.Table.from_pylist(games, schema=REFUSED_GAMES)


def require_few(refused: pa.Table, games: int, where: str) -> None:
    """Raise if more than 1% of a month's games are refused.

    Raises:
        SourceDataError: with the counts by reason and the first five games.
    """
    if refused.num_rows <= MAX_REFUSED_SHARE * games:
        return
    found = refused.to_pylist()
    reasons = Counter(game["reason"] for game in found).most_common()
    counts = ", ".join(f"{reason} ({count:,})" for reason, count in reasons)
    first = "; ".join(f"{game['nba_game_id']} {game['teams']} of {game['game_date']}" for game in found[:5])
    raise SourceDataError(
        f"{where}: {len(found):,} of {games:,} games are refused, and at most {MAX_REFUSED_SHARE:.0%} may be: "
        f"{counts}. First: {first}. Correct these games or import them again; nothing of this month was written."
    )


def _faults(rows: Columns, other_months: Mapping[str, str]) -> tuple[list[str], dict[str, Mask]]:
    """Ids of games, and reason -> mask (games,). A game is refused with the first reason that holds for it."""
    team, opponent = team_codes(rows)
    game, day, won = (rows.coded(name) for name in ("game_id", "game_date", "wl"))
    stated, by_id = _types(rows.coded("season_type"), game_type_named), _types(game, game_type_of_id)
    minutes, scored, home, neutral = (rows.numbers(name) for name in ("min", "pts", "is_home", "neutral_site"))

    # A game is a group of sides, and a side one of rows. From "contradict each other" on, a side's rows are as its
    # first: a game of which they are not has a reason by then.
    sides = Groups(paired(game.codes, team))
    first, of_side, points = sides.firsts, sides.sum(minutes), sides.sum(scored)
    own = team[first]
    games = Groups(game.codes[first])
    ids = game.taken(first[games.firsts])
    overtimes = np.round((games.least(of_side) - _GAME_MINUTES) / _OVERTIME_MINUTES).clip(0, _MOST_OVERTIMES)
    most_minutes = (_GAME_MINUTES + _OVERTIME_MINUTES * overtimes)[games.index]
    # Whole minutes: each player's are off by up to one half.
    rounding = sides.size / 2
    other = (games.least(own) + games.most(own))[games.index] - own
    two_sides = games.differ(home[first])[games.index]
    won_more = points == games.most(points)[games.index]
    return ids, {
        "an unknown team code": games.any(sides.any(_unknown(rows.coded("team")) | _unknown(rows.coded("opponent")))),
        "an id with two dates": games.any(sides.differ(day.codes)) | games.differ(day.codes[first]),
        "an id that another month has too": np.array([each in other_months for each in ids], np.bool_),
        "an id of another type of game than its season_type": games.any(sides.any(_contradicts(stated, by_id))),
        "rows of one team only": games.size == 1,
        "rows of more than two teams": games.size > 2,
        "an opponent that is not the other team": games.any(sides.differ(opponent) | (opponent[first] != other)),
        "rows of a team that contradict each other": games.any(
            sides.differ(opponent, home, neutral, won.codes, stated)
        ),
        "a team with another game on the date": games.any(_two_on_a_date(sides, day.codes, team)),
        "two home teams or none": games.any(two_sides == neutral[first].astype(bool)),
        "two winners or none": games.distinct(won.codes[first]) != 2,
        "no minutes played": games.sum(of_side) == 0,
        f"fewer than {_LEAST_PLAYERS} players with minutes on a side": games.any(
            sides.sum(minutes > 0) < _LEAST_PLAYERS
        ),
        f"a team with fewer than {_LEAST_MINUTES} minutes": games.any(of_side < _LEAST_MINUTES),
        "a team with more minutes than the game had": games.any(of_side > most_minutes + rounding),
        "a winner who scored less": games.any(won.where("W".__eq__)[first] != won_more),
    }


def _two_on_a_date(sides: Groups, day: Numbers, team: Numbers) -> Numbers:
    """Places of the sides whose team has another game on one of their dates. Arguments (rows,)."""
    of_dates = firsts_of(paired(sides.index, day))
    played = Groups(paired(day, team)[of_dates])
    return sides.index[of_dates[played.size[played.index] > 1]]


def team_codes(rows: Columns) -> tuple[Numbers, Numbers]:
    """Teams and opponents (rows,) as numbers; a team has one number on either side."""
    team, opponent = rows.coded("team"), rows.coded("opponent")
    numbers = {code: number for number, code in enumerate(dict.fromkeys([*team.values, *opponent.values]))}
    return team.each(numbers.__getitem__, -1, np.int64), opponent.each(numbers.__getitem__, -1, np.int64)


def _unknown(teams: Coded[str]) -> Mask:
    return ~teams.where(TEAM_CODES.__contains__)


def _types(column: Coded[str], type_of: Callable[[str], GameType | None]) -> npt.NDArray[np.int8]:
    """(rows,): places in `_TYPES`."""
    return column.each(lambda text: _PLACES.get(type_of(text), _NO_TYPE), _NO_TYPE, "i1")


def _contradicts(stated: npt.NDArray[np.int8], by_id: npt.NDArray[np.int8]) -> Mask:
    both_count = _ALIKE[stated] & _ALIKE[by_id]
    contradicts: Mask = (by_id != _NO_TYPE) & (stated != by_id) & ~both_count
    return contradicts
