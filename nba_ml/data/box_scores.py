"""Box scores: converts the files' rows to the platform's `player_game_summary`, and validates them.

Contains the rules for valid box scores and the platform's keys of players and games. A file with an invalid row is
rejected completely, because a wrong box score would affect all later averages.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Mapping
from datetime import date

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from nba_ml.contract import season
from nba_ml.contract.errors import SourceDataError
from nba_ml.data.tables import PLAYER_GAME_SUMMARY, PROP_LINES

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
    "season": pa.string(),
    "season_type": pa.string(),
    "game_id": pa.string(),
    "game_date": pa.date32(),
    "player_id": pa.int64(),
    "player_name": pa.string(),
    "team": pa.string(),
    "opponent": pa.string(),
    "is_home": pa.bool_(),
    "neutral_site": pa.bool_(),
    "wl": pa.string(),
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
PROP_LINE_COLUMNS = tuple(_LINE_TYPES)
"""Columns that a file under `prop_lines/` must have."""

_LONGEST_GAME = 48 + 6 * 5
"""Minutes of the longest NBA game ever played (six overtimes, 1951): no player was on the floor longer."""

# Letters that Unicode does not decompose into a base letter and an accent.
_WHOLE_LETTERS = str.maketrans(
    {
        "ł": "l",
        "ø": "o",
        "đ": "d",
        "ð": "d",
        "þ": "th",
        "ß": "ss",
        "æ": "ae",
        "œ": "oe",
        "\N{LATIN SMALL LETTER DOTLESS I}": "i",
    }
)


def player_lookup(name: str) -> str:
    """The platform's key of a player: 'Luka Dončić' -> 'lukadoncic'. A suffix like Jr. stays ('jr')."""
    # Decompose first: an accented letter such as 'ǿ' matches the table only without its accent.
    plain = unicodedata.normalize("NFKD", name).lower().translate(_WHOLE_LETTERS)
    return "".join(letter for letter in plain if "a" <= letter <= "z")


def platform_game_id(game_date: str, team: str, opponent: str, *, is_home: bool, neutral_site: bool) -> str:
    """The platform's key of a game, away before home: '20220115_BKN_CHI'.

    On a neutral site, where box scores have no home team, the teams are in alphabetical order.
    """
    away, home = sorted((team, opponent)) if neutral_site else (opponent, team) if is_home else (team, opponent)
    return f"{game_date.replace('-', '')}_{away}_{home}"


def summarise_player_games(games: pa.Table, month: str, where: str) -> pa.Table:
    """Validate a month of box scores and convert it to the platform's form.

    Args:
        games: columns `PLAYER_GAME_COLUMNS`, one row per player who appeared in a game.
        month: the month of all rows.
        where: the file, for error messages.

    Returns:
        Rows in `tables.PLAYER_GAME_SUMMARY`, ordered by (game_date, player_lookup).

    Raises:
        SourceDataError: a column is missing or has another type, or a row breaks a rule of `_broken_rules`.
    """
    frame = _typed(games, _SOURCE_TYPES, where).to_pandas(date_as_object=False)
    if frame.empty:
        raise SourceDataError(f"{where} has no rows. A month has about 21 rows per game; restore the file.")
    frame["player_lookup"] = frame["player_name"].map(player_lookup)
    _require(_broken_rules(frame, month), frame, where)
    day = frame["game_date"].dt.strftime("%Y-%m-%d")
    frame["platform_game_id"] = [
        platform_game_id(d, t, o, is_home=h, neutral_site=n)
        for d, t, o, h, n in zip(
            day, frame["team"], frame["opponent"], frame["is_home"], frame["neutral_site"], strict=True
        )
    ]
    frame = frame.sort_values(["game_date", "player_lookup"], kind="stable", ignore_index=True)
    columns = {
        **{
            name: frame[name]
            for name in ("player_lookup", "player_name", "game_date", "season", "is_home", "neutral_site")
        },
        **{ours: frame[theirs] for theirs, ours in _COUNTS.items()},
        "plus_minus": frame["plus_minus"],
        "universal_player_id": frame["player_id"].astype(str),
        "game_id": frame["platform_game_id"],
        "nba_game_id": frame["game_id"],
        "playoffs": frame["season_type"] == "Playoffs",
        "team_abbr": frame["team"],
        "opponent_team_abbr": frame["opponent"],
        "team_won": frame["wl"] == "W",
    }
    return pa.table(
        {field.name: pa.Array.from_pandas(columns[field.name], type=field.type) for field in PLAYER_GAME_SUMMARY},
        schema=PLAYER_GAME_SUMMARY,
    )


def normalise_prop_lines(lines: pa.Table, where: str, within: tuple[date, date] | None = None) -> pa.Table:
    """Validate points lines and convert them to the platform's form.

    Args:
        lines: columns `PROP_LINE_COLUMNS`; `player_id` may be null.
        where: the file, for error messages.
        within: only lines of these dates, both inclusive, are validated and returned; None for all.

    Returns:
        Rows in `tables.PROP_LINES`, as listed. `data.features` matches them to players and selects one.

    Raises:
        SourceDataError: a column is missing or has another type, or a line is not within 0 to 80 points.
    """
    typed = _typed(lines, _LINE_TYPES, where, may_be_null=("player_id",))
    if within is not None:
        day = typed.column("game_date")
        typed = typed.filter(pc.and_(pc.greater_equal(day, within[0]), pc.less_equal(day, within[1])))
    # Without the ids, which pandas would convert to floats: exact only up to 2^53.
    frame = typed.drop_columns(["player_id"]).to_pandas(date_as_object=False)
    outside = ~frame["line"].between(0, 80)
    _require({"a points line outside 0 to 80": outside}, frame, where)
    columns = {
        "universal_player_id": typed.column("player_id").cast(pa.string()),
        "player_lookup": pa.array(frame["player_name"].map(player_lookup), pa.string()),
        **{name: typed.column(name) for name in ("game_date", "book", "line")},
    }
    return pa.table({name: columns[name] for name in PROP_LINES.names}, schema=PROP_LINES)


def _typed(
    table: pa.Table, types: Mapping[str, pa.DataType], where: str, *, may_be_null: Collection[str] = ()
) -> pa.Table:
    """The named columns, cast without loss."""
    missing = [name for name in types if name not in table.column_names]
    if missing:
        raise SourceDataError(
            f"{where} lacks the column{'s' if len(missing) > 1 else ''} {', '.join(missing)}. "
            f"Required columns: {', '.join(types)}."
        )
    columns: dict[str, pa.ChunkedArray] = {}
    for name, kind in types.items():
        column = table.column(name)
        try:
            if name in may_be_null and pa.types.is_floating(column.type):
                column = pc.if_else(pc.is_nan(column), None, column)  # pandas writes integers with gaps as floats
            # A cast would silently turn '12' into 12, but text for a number means a broken export.
            if _is_text(column.type) != _is_text(kind):
                raise pa.ArrowInvalid("text instead of numbers, or the reverse")
            columns[name] = column.cast(kind)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise SourceDataError(
                f"{where}: the column {name} is {column.type} and cannot be read as {kind} ({error}). "
                "Export it again with the types in the sample data's README."
            ) from error
        if columns[name].null_count and name not in may_be_null:
            raise SourceDataError(
                f"{where}: the column {name} is null in {columns[name].null_count:,} of {len(column):,} rows. "
                "Missing values are not allowed; export the file again."
            )
    return pa.table(columns)


def _is_text(kind: pa.DataType) -> bool:
    """Text in any of Arrow's encodings: some Parquet writers use the large or the dictionary one."""
    if pa.types.is_dictionary(kind):
        return _is_text(kind.value_type)
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _broken_rules(frame: pd.DataFrame, month: str) -> dict[str, pd.Series]:
    """Broken rule -> mask of the rows that break it."""
    first, last = season.month_bounds(month)
    counts = frame[list(_COUNTS)]
    made = 2 * (frame["fgm"] - frame["fg3m"]) + 3 * frame["fg3m"] + frame["ftm"]
    game = frame.groupby("game_id")
    teams, sides = game["team"].transform("nunique"), game["is_home"].transform("nunique")
    other_team = (
        game["team"]
        .transform("min")
        .where(frame["team"] != game["team"].transform("min"), game["team"].transform("max"))
    )
    team_rows = frame.groupby(["game_id", "team"])
    game_facts = ["game_date", "opponent", "is_home", "neutral_site", "wl"]
    return {
        f"a date outside {month}": ~frame["game_date"].between(pd.Timestamp(first), pd.Timestamp(last)),
        f"a season other than {season.season_of(month)}": frame["season"] != season.season_of(month),
        "a season type other than Regular Season or Playoffs": ~frame["season_type"].isin(
            ["Regular Season", "Playoffs"]
        ),
        "a duplicate (date, player)": frame.duplicated(["game_date", "player_id"], keep=False),
        "two players with the same name on a date": frame.duplicated(["game_date", "player_lookup"], keep=False)
        & ~frame.duplicated(["game_date", "player_id"], keep=False),
        "a player name without letters": frame["player_lookup"] == "",
        "a negative count": (counts < 0).any(axis=1),
        f"more than {_LONGEST_GAME} minutes": frame["min"] > _LONGEST_GAME,
        "more shots made than taken": (frame["fgm"] > frame["fga"])
        | (frame["fg3m"] > frame["fg3a"])
        | (frame["ftm"] > frame["fta"]),
        "more threes than field goals": (frame["fg3m"] > frame["fgm"]) | (frame["fg3a"] > frame["fga"]),
        "points that do not add up to 2 x twos + 3 x threes + free throws": frame["pts"] != made,
        "a team that is not three capital letters": ~frame["team"].str.fullmatch("[A-Z]{3}")
        | ~frame["opponent"].str.fullmatch("[A-Z]{3}"),
        "a team that plays itself": frame["team"] == frame["opponent"],
        "a game without exactly two teams": teams != 2,
        "an opponent that is not the game's other team": (teams == 2) & (frame["opponent"] != other_team),
        "a team whose rows of one game disagree": team_rows[game_facts].transform("nunique").gt(1).any(axis=1),
        "a team with two games on a date": frame.groupby(["game_date", "team"])["game_id"].transform("nunique") > 1,
        "a game without one home and one away team": (sides == 1) ^ frame["neutral_site"],
        "a result other than W or L": ~frame["wl"].isin(["W", "L"]),
        "a game without one winner and one loser": (teams == 2) & (game["wl"].transform("nunique") != 2),
    }


def _require(broken: Mapping[str, pd.Series], frame: pd.DataFrame, where: str) -> None:
    """Raise SourceDataError with counts by rule and the first five rows if any row breaks a rule."""
    counts = {rule: int(mask.sum()) for rule, mask in broken.items() if mask.any()}
    if not counts:
        return
    any_broken = np.logical_or.reduce([mask.to_numpy() for mask in broken.values()])
    shown = [name for name in ("game_date", "player_name", "team", "min", "pts", "book", "line") if name in frame]
    worst = "; ".join(
        " ".join(f"{name}={_plain(value)}" for name, value in row.items())
        for row in frame.loc[any_broken, shown].head(5).to_dict("records")
    )
    raise SourceDataError(
        f"{where}: {int(any_broken.sum()):,} of {len(frame):,} rows are invalid: "
        + ", ".join(f"{rule} ({count:,})" for rule, count in counts.items())
        + f". First: {worst}. Correct the rows or restore the file; nothing was written for this month."
    )


def _plain(value: object) -> str:
    return f"{value:%Y-%m-%d}" if isinstance(value, pd.Timestamp) else str(value)
