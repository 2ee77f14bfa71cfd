"""The prices of the line that a player's features have: those of the books that list exactly this line."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from statistics import median
from typing import Any, NamedTuple

import pyarrow as pa

from nba_ml.data.features import match_lines
from nba_ml.data.tables import PRICES, PROP_LINES, SEPARATE_PRICES


class Prices(NamedTuple):
    """The prices of a line's two sides.

    `separate`: over is of one book and under of another. No bookmaker's margin links them: they state no probability.
    """

    over: float | None = None
    under: float | None = None
    separate: bool = False


PlayerDay = tuple[str, date]
"""Player id and date."""


def prices_of_lines(matched: pa.Table, priced: pa.Table, chosen: Mapping[PlayerDay, float]) -> dict[PlayerDay, Prices]:
    """The price of each side of the player's line: the median over the books that list exactly this line.

    A book that lists it several times has the median of its own prices, and counts once. Books with a price for one
    side only count if none has both.

    Args:
        matched: lines as `features.match_lines` returns them.
        priced: the same lines in `tables.PRICED_LINES`.
        chosen: the line in the player's features of the date, NaN for none.
    """
    whose = ("player_lookup", "game_date", "book", "line")
    named = dict(zip(_keys(matched, whose), matched.column("universal_player_id").to_pylist(), strict=True))
    ids = priced.column("universal_player_id").to_pylist()  # two namesakes may have the same line
    players = [own or named.get(key) for own, key in zip(ids, _keys(priced, whose), strict=True)]
    return prices_by_player(players, priced, chosen)


def prices_by_player(
    players: Sequence[str | None], priced: pa.Table, chosen: Mapping[PlayerDay, float]
) -> dict[PlayerDay, Prices]:
    """The same for lines whose players are known: one of `players` for each line, None for a line of nobody."""
    found: dict[PlayerDay, dict[str, tuple[list[float], list[float]]]] = defaultdict(lambda: defaultdict(_no_prices))
    lines = _keys(priced, ("game_date", "line", "book", *PRICES))
    for player, (day, line, book, *both) in zip(players, lines, strict=True):
        if player is None or chosen.get((player, day)) != line:
            continue
        for side, price in zip(found[player, day][book], both, strict=True):
            if price is not None:
                side.append(price)
    return {player: _over_books(books.values()) for player, books in found.items()}


def _no_prices() -> tuple[list[float], list[float]]:
    return [], []


def _over_books(books: Iterable[tuple[list[float], list[float]]]) -> Prices:
    """The median of each side."""
    own = [(_median(over), _median(under)) for over, under in books]
    both = [each for each in own if None not in each]
    over, under = ([price for price in side if price is not None] for side in zip(*(both or own), strict=True))
    return Prices(_median(over), _median(under), separate=bool(not both and over and under))


def not_decimal(priced: pa.Table) -> float | None:
    """A price that cannot be in decimal odds, what a bet of 1 returns: above 1 and below 100, since American odds of
    +100 would be a bet that returns a hundredfold. None if there is none.
    """
    prices = (price for name in PRICES for price in priced.column(name).to_pylist() if price is not None)
    return next((price for price in prices if not 1 < price < 100), None)


def prices_of_month(lined: pa.Table, priced: pa.Table, summary: pa.Table, within: tuple[date, date]) -> pa.Table:
    """The prices of a month's lines, by player_lookup and game_date; without those that have none.

    Args:
        lined: rows with player_lookup, game_date and current_points_line.
        priced: the listed lines in `tables.PRICED_LINES`.
        summary: the month's box scores (`tables.PLAYER_GAME_SUMMARY`).
        within: the dates, both inclusive.
    """
    key = ("player_lookup", "game_date")
    ids = dict(zip(_keys(summary, key), summary.column("universal_player_id").to_pylist(), strict=True))
    of_rows = {row: (ids[row], row[1]) for row in _keys(lined, key) if row in ids}
    known = zip(_keys(lined, key), lined.column("current_points_line").to_pylist(), strict=True)
    chosen = {of_rows[row]: line for row, line in known if row in of_rows}
    found = prices_of_lines(match_lines(summary, priced.select(PROP_LINES.names), *within), priced, chosen)
    return prices_table({row: found[player] for row, player in of_rows.items() if player in found})


def prices_table(rows: Mapping[PlayerDay, Prices]) -> pa.Table:
    """Prices by player_lookup and game_date, with `tables.SEPARATE_PRICES`."""
    return pa.table(
        {
            "player_lookup": pa.array([row[0] for row in rows], pa.string()),
            "game_date": pa.array([row[1] for row in rows], pa.date32()),
            **{name: pa.array([both[i] for both in rows.values()], pa.float64()) for i, name in enumerate(PRICES)},
            SEPARATE_PRICES: pa.array([both.separate for both in rows.values()], pa.bool_()),
        }
    )


def _keys(table: pa.Table, names: tuple[str, ...]) -> list[tuple[Any, ...]]:
    return list(zip(*(table.column(name).to_pylist() for name in names), strict=True))


def _median(prices: list[float]) -> float | None:
    return median(prices) if prices else None
