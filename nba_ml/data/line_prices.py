"""The prices of the line that a player's features have: those of the books that list exactly this line."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from datetime import date
from statistics import median
from typing import Any

import pyarrow as pa

from nba_ml.data.features import match_lines
from nba_ml.data.tables import PRICES, PROP_LINES

Prices = tuple[float | None, float | None]
"""Over and under."""

PlayerDay = tuple[str, date]
"""Player id and date."""


def prices_of_lines(matched: pa.Table, priced: pa.Table, chosen: Mapping[PlayerDay, float]) -> dict[PlayerDay, Prices]:
    """The median price of each side over the listed lines that equal the player's line.

    Args:
        matched: lines as `features.match_lines` returns them.
        priced: the same lines in `tables.PRICED_LINES`.
        chosen: the line in the player's features of the date, NaN for none.
    """
    whose = ("player_lookup", "game_date", "book", "line")
    players = dict(zip(_keys(matched, whose), matched.column("universal_player_id").to_pylist(), strict=True))
    found: dict[PlayerDay, tuple[list[float], list[float]]] = defaultdict(lambda: ([], []))
    prices = zip(*(priced.column(name).to_pylist() for name in PRICES), strict=True)
    for key, both in zip(_keys(priced, whose), prices, strict=True):
        player = players.get(key)
        if player is None or chosen.get((player, key[1])) != key[-1]:
            continue
        for side, price in zip(found[player, key[1]], both, strict=True):
            if price is not None:
                side.append(price)
    return {player: (_median(over), _median(under)) for player, (over, under) in found.items()}


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
    rows = {row: found[player] for row, player in of_rows.items() if player in found}
    return pa.table(
        {
            "player_lookup": pa.array([row[0] for row in rows], pa.string()),
            "game_date": pa.array([row[1] for row in rows], pa.date32()),
            **{name: pa.array([both[i] for both in rows.values()], pa.float64()) for i, name in enumerate(PRICES)},
        }
    )


def _keys(table: pa.Table, names: tuple[str, ...]) -> list[tuple[Any, ...]]:
    return list(zip(*(table.column(name).to_pylist() for name in names), strict=True))


def _median(prices: list[float]) -> float | None:
    return median(prices) if prices else None
