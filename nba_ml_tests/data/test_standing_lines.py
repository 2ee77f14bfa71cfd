"""Lines that count: main ones, and a book's last."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pytest
import sqlglot

from nba_ml.contract.errors import SourceDataError
from nba_ml.data.standing_lines import TipOffs, before_tip_off, standing_lines
from nba_ml.sources.queries import query
from nba_ml.sources.table_columns import standing_lines as in_bigquery


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
        ({"is_alternate": [None] * 3}, [20.5, 21.5, 22.5]),
        ({"captured_at": seen(1, 3, 2)}, [21.5]),
        ({"captured_at": seen(1, None, 2)}, [21.5, 22.5]),
        ({"captured_at": seen(3, 1, 3)}, [20.5, 22.5]),
        ({"captured_at": seen(1, 2, 3), "is_alternate": [False, False, True]}, [21.5]),
        ({"captured_at": seen(None, None, None)}, [20.5, 21.5, 22.5]),
        ({"captured_at": [None] * 3}, [20.5, 21.5, 22.5]),
        ({"captured_at": seen(1, 2, 3), "book": ["a", "b", "a"]}, [21.5, 22.5]),
        ({"captured_at": seen(1, 2, 3), "player_id": [7, 7, 8]}, [21.5, 22.5]),
        ({"captured_at": seen(1, 2, 3), "player_id": [7.0, float("nan"), None]}, [22.5]),
        ({"captured_at": seen(3, 1, 2), "player_id": [7.0, float("nan"), None]}, [20.5]),
        ({"captured_at": seen(1, 2, 3), "player_id": [7, None, 8]}, [20.5, 21.5, 22.5]),
        ({"captured_at": seen(1, 2, 3), "player_id": [7, None, None], "player_name": ["A", "A", "B"]}, [21.5, 22.5]),
        ({"captured_at": seen(1, 2, 3), "player_id": [7, None, None], "book": ["a", "b", "b"]}, [20.5, 22.5]),
        ({"captured_at": seen(1, 2, 3), "player_id": [7, 8, None], "player_name": [None] * 3}, [20.5, 21.5, 22.5]),
        ({"captured_at": seen(1, 2, 3), "player_id": [7, 7, 7], "player_name": ["Dončić", "Doncic", "L"]}, [22.5]),
        ({"captured_at": seen(1, 2, 3), "player_name": ["Dončić", "Doncic", "Doncic Jr."]}, [21.5, 22.5]),
    ],
)
def test_the_lines_that_count(columns: dict[str, Any], lines: list[float]) -> None:
    """Guards against alternates and old snapshots in the median, also those of another spelling or without the id, and
    against a player without a line because a namesake's was captured later."""
    assert standing_lines({"f": listed(**columns)})["f"]["line"].to_pylist() == lines


def test_a_books_last_line_is_the_last_of_all_files() -> None:
    """Guards against a file for each capture, of which every one stood, so that the line was a median of old ones."""
    files = {
        "morning": listed(captured_at=seen(1, 1, None), book=["a", "b", "a"]),
        "alternates": listed(captured_at=seen(9, 9, 9), is_alternate=[True] * 3),
        "evening": listed(captured_at=seen(2, 3, 3), book=["a", "a", "c"]),
        "untimed": listed(),
    }
    found = {file: lines["line"].to_pylist() for file, lines in standing_lines(files).items()}
    assert found == {
        "morning": [21.5, 22.5],
        "alternates": [],
        "evening": [21.5, 22.5],
        "untimed": [20.5, 21.5, 22.5],
    }


def test_an_id_in_one_file_says_who_a_name_in_another_is() -> None:
    """Guards against a player who counts twice, with an old line, because the book's files identify him differently."""
    other = listed(captured_at=seen(4, 4, 4), player_name=["Á"] * 3)
    files = {"by id": listed(captured_at=seen(1, 2, 3), player_id=[7] * 3), "by name": other}
    found = {file: lines["line"].to_pylist() for file, lines in standing_lines(files).items()}
    assert found == {"by id": [], "by name": [20.5, 21.5, 22.5]}
    another_day = {**files, "by name": other.set_column(0, "game_date", pa.array([date(2024, 12, 14)] * 3))}
    assert standing_lines(another_day)["by id"]["line"].to_pylist() == [22.5]


@pytest.mark.parametrize("unit", ["s", "ms", "ns"])
def test_files_in_other_units_of_time_are_compared_by_the_moment(unit: str) -> None:
    """Guards against the earlier capture that stands because its file counts in nanoseconds."""
    for other, expected in ((1, ([], [22.5])), (4, ([20.5, 21.5, 22.5], []))):
        captured = seen(other, other, other).cast(pa.timestamp(unit, "US/Eastern"))
        files = {"a": listed(captured_at=captured), "b": listed(captured_at=seen(2, 2, 3))}
        found = standing_lines(files)
        assert tuple(found[file]["line"].to_pylist() for file in files) == expected


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
        standing_lines({"f": listed(**columns)})


DAY = date(2024, 12, 13)
TIP_OFF = datetime(2024, 12, 13, 2, tzinfo=UTC)


@pytest.mark.parametrize(
    ("columns", "tip_offs", "lines"),
    [
        ({"captured_at": seen(1, 2, 3)}, {(DAY, "a"): TIP_OFF}, [20.5, 21.5]),
        ({"captured_at": seen(1, 2, 3)}, {(DAY, "b"): TIP_OFF}, [20.5, 21.5, 22.5]),
        ({"captured_at": seen(1, 2, 3)}, {}, [20.5, 21.5, 22.5]),
        ({"captured_at": seen(None, None, 3)}, {(DAY, "a"): TIP_OFF}, [20.5, 21.5]),
        ({"captured_at": seen(3, 3, 3), "player_id": [7, 8, None]}, {(DAY, 7): TIP_OFF}, [21.5, 22.5]),
        ({"captured_at": seen(3, 3, 3), "player_id": [7.0, float("nan"), 8]}, {(DAY, 7): TIP_OFF}, [21.5, 22.5]),
        ({"captured_at": [None] * 3}, {(DAY, "a"): TIP_OFF}, [20.5, 21.5, 22.5]),
        ({}, {(DAY, "a"): TIP_OFF}, [20.5, 21.5, 22.5]),
    ],
)
def test_a_line_of_a_game_that_had_begun_does_not_count(
    columns: dict[str, Any], tip_offs: TipOffs, lines: list[float]
) -> None:
    """Guards against live lines, which know the game, as features. Where a time is unknown, nothing changes."""
    assert before_tip_off(listed(**columns), tip_offs, "f")["line"].to_pylist() == lines


def test_the_line_before_tip_off_stands_and_not_the_live_one() -> None:
    """Guards against a book without a line because its last one was live."""
    before = before_tip_off(listed(captured_at=seen(1, 2, 3)), {(DAY, "a"): TIP_OFF}, "f")
    assert standing_lines({"f": before})["f"]["line"].to_pylist() == [21.5]


_IN_SQL = sqlglot.transpile(
    query("priced_lines", lines=in_bigquery("t", {"captured_at": "TIMESTAMP", "is_alternate": "BOOL"}))
    .replace(query("lookup").rstrip(), "player_lookup")  # DuckDB has no NORMALIZE; these names are canonical
    .replace("@first", "DATE '2024-12-12'")
    .replace("@last", "DATE '2024-12-13'"),
    read="bigquery",
    write="duckdb",
)[0]


def test_the_statement_for_bigquery_has_the_same_rule() -> None:
    """Guards against prices from BigQuery of other captures than those of the same lines in files."""
    random, connection = np.random.default_rng(1), duckdb.connect(config={"threads": 1})
    kept = 0
    for _ in range(80):
        n = int(random.integers(2, 40))
        ids = random.choice([0, 0, 0, 1, 2, 3], n)  # 0 is none; the third may be the first one's namesake
        known = [{1: "a", 2: "b", 3: random.choice(["a", "c"])}.get(each) for each in ids]
        names = [name or random.choice(["a", "b", "c", "d"]) for name in known]
        hours = random.integers(0, 8, n)
        lines = pa.table(
            {
                "game_date": [date(2024, 12, int(day)) for day in random.integers(12, 14, n)],
                "player_id": pa.array([int(i) or None for i in ids], pa.int64()),
                "player_name": pa.array(names, pa.string()),
                "book": pa.array(random.choice(["x", "y"], n).tolist()),
                "line": np.arange(n) + 0.5,
                "over_price": pa.array([None if each < 0.3 else 1.9 for each in random.random(n)], pa.float64()),
                "under_price": pa.nulls(n, pa.float64()),
                "captured_at": seen(*(int(hour) or None for hour in hours)),
                "is_alternate": [None if each < 3 else bool(each == 9) for each in random.integers(10, size=n)],
            }
        )
        standing = standing_lines({"f": lines})["f"]
        expected = standing.filter(standing["over_price"].is_valid())["line"].to_pylist()
        renamed = lines.rename_columns({"player_name": "player_lookup"})
        connection.register("t", renamed.set_column(1, "universal_player_id", lines["player_id"].cast(pa.string())))
        assert sorted(row[4] for row in connection.execute(_IN_SQL).fetchall()) == expected
        kept += len(expected)
    assert kept > 400
