"""Lines that count: main ones, and a book's last."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from typing import Any

import pyarrow as pa
import pytest

from nba_ml.contract.errors import SourceDataError
from nba_ml.data.standing_lines import standing_lines


def listed(**columns: Any) -> pa.Table:
    """Three lines of one player at one book."""
    same = {
        "game_date": [date(2024, 12, 13)] * 3,
        "player_name": ["A"] * 3,
        "book": ["a"] * 3,
        "line": [20.5, 21.5, 22.5],
    }
    return pa.table({**same, **columns})


def seen(*hours: int | None) -> pa.Array:
    times = [None if hour is None else datetime(2024, 12, 13, hour, tzinfo=UTC) for hour in hours]
    return pa.array(times, pa.timestamp("us", "UTC"))


@pytest.mark.parametrize(
    ("columns", "lines"),
    [
        ({}, [20.5, 21.5, 22.5]),
        ({"is_alternate": [True, False, None]}, [21.5, 22.5]),
        ({"captured_at": seen(1, 3, 2)}, [21.5]),
        ({"captured_at": seen(1, None, 2)}, [21.5, 22.5]),
        ({"captured_at": seen(3, 1, 3)}, [20.5, 22.5]),
        ({"captured_at": seen(1, 2, 3), "is_alternate": [False, False, True]}, [21.5]),
        ({"captured_at": seen(None, None, None)}, [20.5, 21.5, 22.5]),
        ({"captured_at": [None] * 3}, [20.5, 21.5, 22.5]),
        ({"captured_at": seen(1, 2, 3), "book": ["a", "b", "a"]}, [21.5, 22.5]),
    ],
)
def test_the_lines_that_count(columns: dict[str, Any], lines: list[float]) -> None:
    """Guards against alternates and old snapshots in the median."""
    assert standing_lines(listed(**columns), "f")["line"].to_pylist() == lines


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"is_alternate": ["yes"] * 3}, "f: the column is_alternate is string, not true or false"),
        ({"captured_at": ["2024-12-13"] * 3}, "f: the column captured_at is string, not a timestamp with a zone"),
        (
            {"captured_at": [datetime(2024, 12, 13)] * 3},
            "f: the column captured_at is timestamp[us], not a timestamp with",
        ),
    ],
)
def test_another_type_is_refused_by_name(columns: dict[str, Any], message: str) -> None:
    """Guards against text that is true, and a time of no place."""
    with pytest.raises(SourceDataError, match=re.escape(message)):
        standing_lines(listed(**columns), "f")
