"""The prices of the line that a player's features have: those of the books that list exactly this line."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from statistics import median

import pyarrow as pa

from nba_ml.data.tables import PRICES

Prices = tuple[float | None, float | None]
"""Over and under."""


def prices_of_lines(matched: pa.Table, priced: pa.Table, chosen: Mapping[str, float]) -> dict[str, Prices]:
    """Player id -> the median price of each side over the listed lines that equal the player's line.

    Args:
        matched: the date's lines as `features.match_lines` returns them.
        priced: the same lines in `tables.PRICED_LINES`.
        chosen: player id -> the line in the player's features, NaN for none.
    """
    whose = ("player_lookup", "game_date", "book", "line")
    players = dict(zip(_keys(matched, whose), matched.column("universal_player_id").to_pylist(), strict=True))
    found: dict[str, tuple[list[float], list[float]]] = defaultdict(lambda: ([], []))
    prices = zip(*(priced.column(name).to_pylist() for name in PRICES), strict=True)
    for key, both in zip(_keys(priced, whose), prices, strict=True):
        player = players.get(key)
        if player is None or chosen.get(player) != key[-1]:
            continue
        for side, price in zip(found[player], both, strict=True):
            if price is not None:
                side.append(price)
    return {player: (_median(over), _median(under)) for player, (over, under) in found.items()}


def _keys(table: pa.Table, names: tuple[str, ...]) -> list[tuple[object, ...]]:
    return list(zip(*(table.column(name).to_pylist() for name in names), strict=True))


def _median(prices: list[float]) -> float | None:
    return median(prices) if prices else None
