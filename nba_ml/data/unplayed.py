"""Games of a file of box scores that have no result yet: their rows say who plays, and are not box scores."""

from __future__ import annotations

from datetime import date, datetime
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nba_ml.contract.errors import SourceDataError
from nba_ml.contract.game_types import PLATFORM_TYPES, game_type_named, game_type_of_id
from nba_ml.contract.teams import team_code
from nba_ml.data.upcoming import UpcomingGame, game_type_on

if TYPE_CHECKING:
    import pandas as pd


def split_unplayed(games: pa.Table) -> tuple[pa.Table, pa.Table]:
    """The rows of played games, and of those of which no row has a winner or minutes, on the last date or later.

    Before a result of a later date, missing winners are a fault of the file: its validation reports them.

    Args:
        games: columns of `box_scores.PLAYER_GAME_COLUMNS`, as a file has them.
    """
    nothing = games.slice(0, 0)
    try:
        if all(each and each.strip() for each in _distinct(games.column("wl")).cast(pa.string()).to_pylist()):
            return games, nothing
        result = games.column("wl").cast(pa.string())
        won = pc.utf8_trim_whitespace(pc.fill_null(result, ""))
        minutes = pc.fill_null(games.column("min").cast(pa.float64()), 0.0)
        texts = games.column("game_id").cast(pa.string()).combine_chunks()
        ids = texts.dictionary_encode(null_encoding="encode").indices.to_numpy()
    except (KeyError, pa.ArrowInvalid, pa.ArrowNotImplementedError):  # box_scores refuses such a column by name
        return games, nothing
    played = (won.to_numpy(zero_copy_only=False) != "") | (np.nan_to_num(minutes.to_numpy()) != 0)
    if played.all() or "game_date" not in games.column_names:
        return games, nothing
    day, has_result = games.column("game_date"), pa.array(np.isin(ids, ids[played]))
    last = pc.max(day.filter(has_result))
    kept = pc.or_(has_result, pc.less(day, last)) if last.is_valid else has_result
    return games.filter(kept), games.filter(pc.invert(kept))


def _distinct(column: pa.ChunkedArray) -> pa.Array:
    """The different values of a column, null among them. A dictionary may have some more."""
    if column.num_chunks == 1 and pa.types.is_dictionary(column.type) and not column.null_count:
        return column.chunk(0).dictionary
    return column.unique()


def tip_off_values(rows: pa.Table, where: str) -> list[datetime | None]:
    """The optional column `tip_off` of box scores, None where it is missing.

    Raises:
        SourceDataError: it is not a time with a zone.
    """
    if "tip_off" not in rows.column_names or rows.column("tip_off").null_count == rows.num_rows:
        return [None] * rows.num_rows
    kind = rows.schema.field("tip_off").type
    if not (pa.types.is_timestamp(kind) and kind.tz):
        raise SourceDataError(
            f"{where}: tip_off is {kind}, not a timestamp with a zone (UTC). Export it again or leave it out."
        )
    values: list[datetime | None] = rows.column("tip_off").cast(pa.timestamp("us", tz="UTC")).to_pylist()
    return values


def unplayed_games(rows: pd.DataFrame, day: date, where: str) -> tuple[list[UpcomingGame], list[tuple[int, str, str]]]:
    """A date's games without a result that count, and their players, (id, name, team) each.

    Args:
        rows: `box_scores.UNPLAYED_COLUMNS` of the date, and `tip_off`.
        where: the file, for messages.

    Raises:
        SourceDataError: an unknown team, or a game that is not between a home and an away team, each other's opponents.
    """
    games: list[UpcomingGame] = []
    players: list[tuple[int, str, str]] = []
    for game_id, own in rows.groupby("game_id", sort=True):
        kind = game_type_named(own["season_type"].iloc[0]) or game_type_of_id(str(game_id)) or game_type_on(day)
        if kind not in PLATFORM_TYPES:
            continue
        columns = (own["team"].map(team_code), own["opponent"].map(team_code), own["is_home"].tolist())
        teams = list(zip(*columns, strict=True))
        neutral = bool(own["neutral_site"].iloc[0])
        sides = sorted(set(teams), key=lambda side: (side[2], str(side[0])))
        (away, other, _), (home, opponent, _) = (sides * 2)[:2]
        at_home = [side[2] for side in sides]
        if away is None or home is None or (away, home) != (opponent, other) or at_home != [False, not neutral]:
            raise SourceDataError(
                f"{where}: game {game_id} of {day} has no result yet, and its rows do not name a home and an away team "
                "that are each other's opponents. Correct these rows or remove them."
            )
        tip_off = next((each for each in own["tip_off"] if each is not None), None)
        games.append(UpcomingGame(day, away, home, str(game_id), tip_off, neutral, kind))
        codes = [team for team, _, _ in teams if team is not None]
        players += zip(own["player_id"].tolist(), own["player_name"], codes, strict=True)
    return games, players
