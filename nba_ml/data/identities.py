"""Who and which game a row of box scores is about. One id has one history and one lookup, however it is spelled."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from functools import cache

import numpy as np
import pyarrow as pa

from nba_ml.data.coded import TEXT_CODES, Coded, Columns, Numbers, firsts_of, order_of, paired

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


_SHORT_ID = re.compile(r"[0-9]{8,9}(\.0+)?")


@cache
def player_lookup(name: str) -> str:
    """The platform's key of a player: 'Luka Dončić' -> 'lukadoncic'. A suffix like Jr. stays ('jr')."""
    # Decompose first: an accented letter of the table ('ǿ') is in it only once its accent is off.
    plain = unicodedata.normalize("NFKD", name).lower().translate(_WHOLE_LETTERS)
    return "".join(letter for letter in plain if "a" <= letter <= "z")


def whole_game_ids(column: pa.ChunkedArray) -> tuple[pa.ChunkedArray, int]:
    """nba.com's game ids with their ten digits, and how many of the games had lost the two zeros that they begin with.

    Whole numbers, and texts of 8 or 9 digits, are ids that went through a spreadsheet or pandas. Others
    stay. They are texts, or the codes that were given if none of those is short.

    Raises:
        ArrowInvalid: numbers that are not whole.
    """
    if pa.types.is_primitive(column.type) and not (
        pa.types.is_integer(column.type) or pa.types.is_floating(column.type)
    ):
        return column, 0
    if pa.types.is_floating(column.type):
        column = column.cast(pa.int64())
    texts = column if column.type == TEXT_CODES else column.cast(pa.string())
    ids = Coded.of(texts)
    others = [each for each in ids.values if len(each) != 10 or "." in each]
    whole = {each: each.partition(".")[0].rjust(10, "0") for each in filter(_SHORT_ID.fullmatch, others)}
    if not whole:
        return texts, 0
    return pa.chunked_array([ids.texts(lambda each: whole.get(each, each))]), len(set(whole.values()))


def distinct_pairs(rows: Columns) -> list[tuple[int, str]]:
    """The different (player id, name) of some rows, ordered by the date on which each is first.

    Args:
        rows: `player_id`, `player_name`, `game_date`, in any order of rows.
    """
    player, name, dates = rows.coded("player_id"), rows.coded("player_name"), rows.coded("game_date").ranks()
    pairs, several = _pairs(player, name)
    by_date = order_of(dates)
    firsts = by_date[firsts_of(pairs[by_date])]
    ids = np.array(player.values, np.int64)[player.codes[firsts]]
    firsts = firsts[np.lexsort((name.ranks()[firsts] if several else ids, ids, dates[firsts]))]
    return list(zip(player.taken(firsts), name.taken(firsts), strict=True))


def unlike_their_lookups(rows: Columns, lookups: Mapping[int, str]) -> list[tuple[int, str]]:
    """The different (player id, name) whose name does not give the player's lookup."""
    player, name = rows.coded("player_id"), rows.coded("player_name")
    firsts = firsts_of(_pairs(player, name)[0])
    return [
        (each, named)
        for each, named in zip(player.taken(firsts), name.taken(firsts), strict=True)
        if (plain := player_lookup(named)) != lookups[each] and f"{plain}{each}" != lookups[each]
    ]


def _pairs(player: Coded[int], name: Coded[str]) -> tuple[Numbers, bool]:
    """(rows,): one number for each player and name; and whether a player has several. Most months have none."""
    named = name.codes[player.firsts]
    several = bool((named[player.codes] != name.codes).any())
    return paired(player.codes, name.codes) if several else player.codes, several


def first_lookups(months: Iterable[Iterable[tuple[int, str]]]) -> tuple[dict[int, str], list[int]]:
    """Player id -> its lookup, that of the name under which it first appeared; and how many appeared up to each month.

    A later spelling changes nothing: it would cut a player's history in two. The second of two ids with one name gets
    its id appended, so that they stay two players.

    Args:
        months: `distinct_pairs` of each month, in order.

    Returns:
        The lookups in the order of first appearances.
    """
    lookups: dict[int, str] = {}
    taken: set[str] = set()
    until: list[int] = []
    for month in months:
        for player, name in month:
            if player not in lookups:
                plain = player_lookup(name)
                lookups[player] = f"{plain}{player}" if plain in taken else plain
                taken.add(plain)
        until.append(len(lookups))
    return lookups, until
