"""Who and which game a row of box scores is about. One id has one history and one lookup, however it is spelled."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from functools import cache

import pyarrow as pa
import pyarrow.compute as pc

from nba_ml.data.coded import Columns, Groups, paired

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


@cache
def player_lookup(name: str) -> str:
    """The platform's key of a player: 'Luka Dončić' -> 'lukadoncic'. A suffix like Jr. stays ('jr')."""
    # Decompose first: an accented letter of the table ('ǿ') is in it only once its accent is off.
    plain = unicodedata.normalize("NFKD", name).lower().translate(_WHOLE_LETTERS)
    return "".join(letter for letter in plain if "a" <= letter <= "z")


def whole_game_ids(column: pa.ChunkedArray) -> tuple[pa.ChunkedArray, int]:
    """nba.com's game ids with their ten digits, and how many of the games had lost the two zeros that they begin with.

    Whole numbers, and texts of 8 or 9 digits, are ids that went through a spreadsheet or pandas. Others stay.

    Raises:
        ArrowInvalid: numbers that are not whole.
    """
    if pa.types.is_primitive(column.type) and not (
        pa.types.is_integer(column.type) or pa.types.is_floating(column.type)
    ):
        return column, 0
    if pa.types.is_floating(column.type):
        column = column.cast(pa.int64())
    texts = column.cast(pa.string())
    known = texts.unique()
    short = pc.fill_null(pc.match_substring_regex(known, r"^[0-9]{8,9}(\.0+)?$"), False)
    if not pc.any(short).as_py():
        return texts, 0
    padded = pc.utf8_lpad(pc.replace_substring_regex(known, r"\.0+$", ""), 10, "0")
    whole = pc.if_else(short, padded, known)
    ids = pa.chunked_array([whole.take(pc.index_in(texts, known).combine_chunks())], pa.string())
    return ids, len(padded.filter(short).unique())


def distinct_pairs(rows: Columns) -> list[tuple[int, str]]:
    """The different (player id, name) of some rows, ordered by the date on which each is first.

    Args:
        rows: `player_id`, `player_name`, `game_date`, in any order of rows.
    """
    player, name = rows.coded("player_id"), rows.coded("player_name")
    pairs = Groups(paired(player.codes, name.codes))
    firsts = pairs.firsts
    dates = pairs.least(rows.coded("game_date").ranks())[firsts].tolist()
    ordered = sorted(zip(dates, player.taken(firsts), name.taken(firsts), strict=True))
    return [(each, named) for _, each, named in ordered]


def first_names(pairs: Iterable[tuple[int, str]]) -> tuple[tuple[int, str], ...]:
    """The first of each player's `distinct_pairs`."""
    names: dict[int, str] = {}
    for player, name in pairs:
        names.setdefault(player, name)
    return tuple(names.items())


def first_lookups(months: Iterable[Iterable[tuple[int, str]]]) -> dict[int, str]:
    """Player id -> its lookup: that of the name under which it first appeared.

    A later spelling changes nothing: it would cut a player's history in two. The second of two ids with one name gets
    its id appended, so that they stay two players.

    Args:
        months: `first_names` of each month, in order.
    """
    lookups: dict[int, str] = {}
    taken: set[str] = set()
    for month in months:
        for player, name in month:
            if player not in lookups:
                plain = player_lookup(name)
                lookups[player] = f"{plain}{player}" if plain in taken else plain
                taken.add(plain)
    return lookups
