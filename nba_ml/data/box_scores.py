"""Box scores: converts the files' rows to the platform's `player_game_summary`, and validates them.

Contains the rules for rows; those for whole games are in `data.games`. A file with an invalid row is rejected
completely, because a wrong box score would affect all later averages. So is a file of lines.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from nba_ml.contract import season
from nba_ml.contract.errors import SourceDataError
from nba_ml.contract.game_types import GameType, game_type_named
from nba_ml.contract.teams import team_code
from nba_ml.data.coded import TEXT_CODES, Coded, Columns, Mask, order_of, paired, repeated
from nba_ml.data.column_types import as_text, with_types
from nba_ml.data.games import games_set_aside, platform_game_id, refuse_games, require_few, team_codes
from nba_ml.data.identities import distinct_pairs, first_lookups, player_lookup, unlike_their_lookups, whole_game_ids
from nba_ml.data.tables import PLAYER_GAME_SUMMARY, PRICED_LINES, PRICES
from nba_ml.data.unplayed import split_unplayed

_COUNTS = {
    "min": "minutes_played",
    "pts": "points",
    "fgm": "fg_makes",
    "fga": "fg_attempts",
    "fg3m": "three_pt_makes",
    "fg3a": "three_pt_attempts",
    "ftm": "ft_makes",
    "fta": "ft_attempts",
    "oreb": "offensive_rebounds",
    "dreb": "defensive_rebounds",
    "ast": "assists",
    "stl": "steals",
    "blk": "blocks",
    "tov": "turnovers",
    "pf": "personal_fouls",
}
_SOURCE_TYPES: Mapping[str, pa.DataType] = {
    "season": TEXT_CODES,
    "season_type": TEXT_CODES,
    "game_id": TEXT_CODES,
    "game_date": pa.date32(),
    "player_id": pa.int64(),
    "player_name": TEXT_CODES,
    "team": TEXT_CODES,
    "opponent": TEXT_CODES,
    "is_home": pa.bool_(),
    "neutral_site": pa.bool_(),
    "wl": TEXT_CODES,
    **dict.fromkeys(_COUNTS, pa.int16()),
    "plus_minus": pa.int16(),
}
_LINE_TYPES: Mapping[str, pa.DataType] = {
    "game_date": pa.date32(),
    "player_id": pa.int64(),
    "player_name": pa.string(),
    "book": pa.string(),
    "line": pa.float64(),
}
PLAYER_GAME_COLUMNS = tuple(_SOURCE_TYPES)
"""Columns that a file under `player_games/` must have."""
TEXT_COLUMNS = tuple(name for name, kind in _SOURCE_TYPES.items() if kind == TEXT_CODES)
"""Those of text. Each has few different values, and is read best as a dictionary of them."""
UNPLAYED_COLUMNS = tuple(name for name in _SOURCE_TYPES if name not in ("season", "wl", *_COUNTS, "plus_minus"))
"""Columns of those that say something of a game without a result."""
PROP_LINE_COLUMNS = tuple(_LINE_TYPES)
"""Columns that a file under `prop_lines/` must have."""

LONGEST_GAME = 48 + 6 * 5
"""Minutes of the longest NBA game ever played (six overtimes, 1951): no player was on the floor longer."""


@dataclass(frozen=True, slots=True)
class OtherMonths:
    """What the other months' files say about a month: the lookup of each id, and ids of games that they have too."""

    lookups: Mapping[int, str]
    game_ids: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class PlayerGames:
    """A month of box scores, and what was left out of it.

    `table` is in `tables.PLAYER_GAME_SUMMARY`, ordered by (game_date, player_lookup); `refused` in
    `games.REFUSED_GAMES`; `set_aside` counts games by type; `zero_minutes` counts rows of under half a minute;
    `respelled` are names that are spelled unlike the player's first; `padded_ids` counts games whose ids had lost
    their leading zeros; `unplayed` counts games without a result yet.
    """

    table: pa.Table
    refused: pa.Table
    set_aside: Mapping[str, int]
    zero_minutes: int
    respelled: tuple[str, ...]
    padded_ids: int = 0
    unplayed: int = 0


def summarise_player_games(
    games: pa.Table, month: str, where: str, others: OtherMonths | None = None, *, may_be_empty: bool = False
) -> PlayerGames:
    """Validate a month of box scores and put it into the platform's form.

    Preseason and All-Star games, and games without a result yet, are set aside. A game that contradicts itself, or the
    other months, is refused as a whole.

    Args:
        games: columns `PLAYER_GAME_COLUMNS`, one row per player who appeared in a game.
        month: the month every row must lie in.
        where: the file, for messages.
        others: what the other months say; None if there are none.
        may_be_empty: no game was played in the month, or none that the source must have.

    Raises:
        SourceDataError: a column is missing or of another type, a null, a duplicate (date, player), a
            date outside the month, counts that no box score can have, or over 1% of the games refused.
    """
    games, unplayed = split_unplayed(games)
    rows = with_types(games, _SOURCE_TYPES, where)
    may_be_empty = may_be_empty or unplayed.num_rows > 0
    if not rows.table.num_rows and not may_be_empty:
        raise SourceDataError(f"{where} has no rows. A month has about 21 rows per game; restore the file.")
    lookups = first_lookups([distinct_pairs(rows)])[0] if others is None else others.lookups
    if aside := games_set_aside(rows):
        rows = rows.filter(~rows.coded("game_id").where(aside.__contains__))
    if not rows.table.num_rows and aside and not may_be_empty:
        raise SourceDataError(
            f"{where} has no games but {', '.join(dict.fromkeys(aside.values()))}. Add the games of {month}."
        )
    rows = _with_team_codes(rows)
    _require(_broken_rules(rows, month), rows.table, where)
    number = len(rows.coded("game_id").values)
    rows, refused = refuse_games(rows, {} if others is None else others.game_ids)
    require_few(refused, number, where)
    return PlayerGames(
        table=_in_platform_form(rows, lookups),
        refused=refused,
        set_aside={str(kind): count for kind, count in sorted(Counter(aside.values()).items())},
        zero_minutes=int((rows.numbers("min") == 0).sum()),
        respelled=tuple(
            sorted(
                f"{name} ({player}) keeps the lookup {lookups[player]}"
                for player, name in unlike_their_lookups(rows, lookups)
            )
        ),
        padded_ids=whole_game_ids(games.column("game_id"))[1],
        unplayed=len(unplayed.column("game_id").unique()) if unplayed.num_rows else 0,
    )


def _with_team_codes(rows: Columns) -> Columns:
    """The rows with nba.com's codes of teams; a name that is no team's stays as it is."""
    for name in ("team", "opponent"):
        given = rows.coded(name)
        if any((team_code(each) or each) != each for each in given.values):
            rows = rows.replaced(name, given.texts(lambda each: team_code(each) or each))
    return rows


def _in_platform_form(rows: Columns, lookups: Mapping[int, str]) -> pa.Table:
    player = rows.coded("player_id")
    keys = Coded(player.codes, [lookups[each] for each in player.values])
    ids = _platform_game_ids(rows)
    rows = rows.ordered(order_of(paired(rows.coded("game_date").ranks(), keys.ranks())))
    given = rows.table
    made = {
        "player_lookup": rows.coded("player_id").texts(lookups.__getitem__),
        "universal_player_id": rows.coded("player_id").texts(str),
        "game_id": rows.coded("game_id").texts(ids.__getitem__),
        "nba_game_id": given["game_id"],
        "playoffs": rows.coded("season_type").where(lambda kind: game_type_named(kind) == GameType.PLAYOFFS),
        "team_abbr": given["team"],
        "opponent_team_abbr": given["opponent"],
        "team_won": rows.coded("wl").where("W".__eq__),
        **{ours: given[theirs] for theirs, ours in _COUNTS.items()},
    }
    columns = {name: made[name] if name in made else given[name] for name in PLAYER_GAME_SUMMARY.names}
    return pa.table({name: as_text(column) for name, column in columns.items()}, schema=PLAYER_GAME_SUMMARY)


def _platform_game_ids(rows: Columns) -> dict[str, str]:
    """Game id -> `platform_game_id`: its two sides say the same, or it would be refused."""
    game = rows.coded("game_id")
    firsts = game.firsts
    day = rows.coded("game_date")
    dates = Coded(day.codes, [*map(str, day.values)])
    texts = (each.taken(firsts) for each in (dates, rows.coded("team"), rows.coded("opponent")))
    flags = (rows.numbers(name)[firsts].tolist() for name in ("is_home", "neutral_site"))
    return {
        each: platform_game_id(on, team, opponent, is_home=is_home, neutral_site=neutral_site)
        for each, on, team, opponent, is_home, neutral_site in zip(game.values, *texts, *flags, strict=True)
    }


def normalise_prop_lines(lines: pa.Table, where: str, within: tuple[date, date] | None = None) -> pa.Table:
    """Validate points lines and convert them to the platform's form.

    Args:
        lines: columns `PROP_LINE_COLUMNS`, and `tables.PRICES` if it has them; `player_id` may be null.
        where: the file, for error messages.
        within: only lines of these dates, both inclusive, are validated and returned; None for all.

    Returns:
        Rows in `tables.PRICED_LINES`, as listed. `data.features` matches them to players and selects one.

    Raises:
        SourceDataError: a column is missing or has another type, or a line is not within 0 to 80 points, or a
            price not above 1 and below 100.
    """
    known = {name: pa.float64() for name in PRICES if name in lines.column_names}
    typed = with_types(lines, {**_LINE_TYPES, **known}, where, may_be_null=("player_id", *known)).table
    if within is not None:
        day = typed.column("game_date")
        typed = typed.filter(pc.and_(pc.greater_equal(day, within[0]), pc.less_equal(day, within[1])))
    if not typed.num_rows:
        return PRICED_LINES.empty_table()
    line, prices = typed["line"].to_numpy(), {name: typed[name].to_numpy() for name in known}  # NaN for null
    faults = {
        f"{name} that is not a decimal price (1.91 for -110)": ~np.isnan(price) & ~((price > 1) & (price < 100))
        for name, price in prices.items()
    }
    _require({"a points line outside 0 to 80": ~((line >= 0) & (line <= 80)), **faults}, typed, where)
    columns = {
        "universal_player_id": typed.column("player_id").cast(pa.string()),
        "player_lookup": Coded.of(typed["player_name"]).texts(player_lookup),
        **{name: typed.column(name) for name in ("game_date", "book", "line")},
    }
    columns |= {name: typed.column(name) if name in known else pa.nulls(len(typed), pa.float64()) for name in PRICES}
    return pa.table({name: columns[name] for name in PRICED_LINES.names}, schema=PRICED_LINES)


def typed_games(games: pa.Table, columns: Collection[str], where: str) -> pd.DataFrame:
    """Some columns of a file of box scores, cast without loss.

    Raises:
        SourceDataError: a column is missing, null somewhere, or of a type that cannot be cast.
    """
    table = typed_columns(games, columns, where).table
    plain = pa.table([as_text(each) for each in table.columns], table.column_names)
    frame: pd.DataFrame = plain.to_pandas(date_as_object=False)
    return frame


def typed_columns(games: pa.Table, columns: Collection[str], where: str) -> Columns:
    """As `typed_games`, in Arrow's columns; those of text in `coded.TEXT_CODES`."""
    return with_types(games, {name: _SOURCE_TYPES[name] for name in columns}, where)


def _broken_rules(rows: Columns, month: str) -> dict[str, Mask]:
    """Rule in words -> mask (rows,) of those that break it. What is true of whole games is in `data.games`."""
    first, last = season.month_bounds(month)
    count = {name: rows.integers(name) for name in _COUNTS}
    threes = count["fg3m"].astype(np.int32)  # a sum of 16 bits could overflow
    made = 2 * (count["fgm"] - threes) + 3 * threes + count["ftm"]
    day, stated = rows.coded("game_date"), rows.coded("season")
    seasons = {name: code for code, name in enumerate(stated.values)}
    of_date = day.each(lambda each: seasons.get(season.season_on(each).name, -1), -1, np.int64)
    known_type = rows.coded("season_type").where(lambda kind: game_type_named(kind) is not None)
    shots = (("fgm", "fga"), ("fg3m", "fg3a"), ("ftm", "fta"))
    return {
        f"a date outside {month}": ~day.where(lambda each: first <= each <= last),
        "another season than the date's": stated.codes != of_date,
        "an unknown season type (known: Regular Season, Playoffs, Play-In, NBA Cup, Pre Season, All Star)": ~known_type,
        "a duplicate (date, player)": repeated(paired(day.codes, rows.coded("player_id").codes)),
        "a player without a name in letters": ~rows.coded("player_name").where(player_lookup),
        "a negative count": np.logical_or.reduce([each < 0 for each in count.values()]),
        f"more than {LONGEST_GAME} minutes": count["min"] > LONGEST_GAME,
        "more shots made than taken": np.logical_or.reduce([count[made] > count[taken] for made, taken in shots]),
        "more threes than field goals": (count["fg3m"] > count["fgm"]) | (count["fg3a"] > count["fga"]),
        "points that do not add up to 2 x twos + 3 x threes + free throws": count["pts"] != made,
        "a team that plays itself": np.equal(*team_codes(rows)),
        "a result other than W or L": ~rows.coded("wl").where(("W", "L").__contains__),
    }


def _require(broken: Mapping[str, Mask], rows: pa.Table, where: str) -> None:
    """Raise SourceDataError with counts by rule and the first five rows if any row breaks a rule."""
    counts = {rule: int(mask.sum()) for rule, mask in broken.items() if mask.any()}
    if not counts:
        return
    any_broken = np.flatnonzero(np.logical_or.reduce(list(broken.values())))
    shown = [
        name for name in ("game_date", "player_name", "team", "min", "pts", "book", "line") if name in rows.column_names
    ]
    worst = "; ".join(
        " ".join(f"{name}={value}" for name, value in row.items())
        for row in rows.select(shown).take(any_broken[:5]).to_pylist()
    )
    raise SourceDataError(
        f"{where}: {len(any_broken):,} of {rows.num_rows:,} rows are invalid: "
        + ", ".join(f"{rule} ({count:,})" for rule, count in counts.items())
        + f". First: {worst}. Correct the rows or restore the file; nothing was written for this month."
    )
