"""Prices of the line that a player's features have."""

from __future__ import annotations

from datetime import date

import pyarrow as pa
import pytest

from nba_ml.data.line_prices import not_decimal, prices_by_player, prices_of_lines
from nba_ml.data.tables import PRICED_LINES

DAY = date(2024, 12, 13)


def priced(*rows: tuple[str | None, str, float, float | None, float | None]) -> pa.Table:
    """Listed lines: id, book, line, price of over and of under. All are called 'a'."""
    same = {"player_lookup": "a", "game_date": DAY}
    names = ("universal_player_id", "book", "line", "over_price", "under_price")
    return pa.Table.from_pylist([{**same, **dict(zip(names, row, strict=True))} for row in rows], PRICED_LINES)


def test_a_book_counts_once_however_often_it_lists_the_line() -> None:
    """Guards against a capture that was stored twice, whose prices moved the median of the books."""
    lines = priced(
        ("1", "x", 20.5, 1.8, 2.0),
        ("1", "x", 20.5, 1.8, 2.0),
        ("1", "x", 20.5, 1.8, None),
        ("1", "y", 20.5, 1.9, 1.9),
        ("1", "z", 20.5, 2.0, 1.8),
        ("1", "z", 21.5, 5.0, 5.0),
    )
    assert prices_by_player(["1"] * 6, lines, {("1", DAY): 20.5}) == {("1", DAY): (1.9, 1.9, False)}


def test_both_sides_are_those_of_the_same_books() -> None:
    """Guards against a market without a margin: over from a book that offers nothing else, under from the others."""
    lines = priced(("1", "x", 20.5, 1.9, 1.9), ("1", "y", 20.5, 2.6, None), ("1", "z", 20.5, None, 3.0))
    assert prices_by_player(["1"] * 3, lines, {("1", DAY): 20.5}) == {("1", DAY): (1.9, 1.9, False)}
    assert prices_by_player(["1"] * 2, lines.slice(1), {("1", DAY): 20.5}) == {("1", DAY): (2.6, 3.0, True)}
    apart = priced(("1", "x", 20.5, 1.8, None), ("1", "x", 20.5, None, 2.0), ("1", "z", 20.5, None, 3.0))
    found = prices_by_player(["1"] * 3, apart, {("1", DAY): 20.5})
    assert found == {("1", DAY): (1.8, 2.0, False)}, "one book, in two rows"


def test_a_side_that_no_book_prices_has_no_price() -> None:
    """Guards against a price of 0 where there is none."""
    lines = priced(("1", "x", 20.5, 1.8, None), ("1", "y", 20.5, 2.0, None))
    assert prices_by_player(["1", "1"], lines, {("1", DAY): 20.5}) == {("1", DAY): (1.9, None, False)}


def test_namesakes_with_the_same_line_have_their_own_prices() -> None:
    """Guards against the prices of both given to the one who was listed last."""
    lines = priced(("1", "x", 20.5, 1.8, 2.0), ("2", "x", 20.5, 1.7, 2.2), (None, "y", 20.5, 1.5, 3.0))
    matched = pa.table(
        {
            "universal_player_id": ["1", "2", None],
            **{name: lines[name] for name in ("player_lookup", "game_date", "book", "line")},
        }
    )
    chosen = {("1", DAY): 20.5, ("2", DAY): 20.5}
    assert prices_of_lines(matched, lines, chosen) == {("1", DAY): (1.8, 2.0, False), ("2", DAY): (1.7, 2.2, False)}


@pytest.mark.parametrize("price", [-110.0, 0.0, 1.0, 100.0, 120.0, float("inf"), float("nan")])
def test_a_price_that_is_not_decimal_is_found(price: float) -> None:
    """Guards against American odds of +120 graded as a bet that returns a hundred and twentyfold."""
    found = not_decimal(priced(("1", "x", 20.5, 1.9, None), ("1", "y", 20.5, None, price)))
    assert repr(found) == repr(price)
    assert not_decimal(priced(("1", "x", 20.5, 1.001, 99.9), ("1", "y", 20.5, None, None))) is None
