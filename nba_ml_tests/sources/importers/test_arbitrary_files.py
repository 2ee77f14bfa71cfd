"""Whatever a file contains, an import reads it or says why not: no other exception leaves it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nba_ml.contract.errors import NbaMlError, SourceDataError
from nba_ml.sources.importers import values
from nba_ml.sources.importers.importing import Import
from nba_ml.sources.importers.mapping import shipped_mapping
from nba_ml_tests.profiles import examples
from nba_ml_tests.sources.importers.exports import LEAGUE_GAME_LOG, as_csv, event, league_game_log, shipped

SCALARS = st.one_of(
    *(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=12), st.binary(max_size=4)),
    *(
        st.datetimes(),
        st.dates(),
        st.lists(st.integers(), max_size=2),
        st.sampled_from(["9" * 400, "1" * 5000, "-0", "1e999"]),
    ),
    st.text("0123456789:.,+-TZPMSWL/ ", max_size=12),
)
READERS: list[Callable[[Any], object]] = [
    *(
        values.whole,
        values.number,
        values.player_id,
        values.game_id,
        values.minutes,
        values.day,
        values.instant,
        values.name,
    ),
    *(
        values.team,
        values.flag,
        values.result,
        values.season,
        values.season_type,
        values.line,
        values.side,
        values.book,
    ),
]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "data",
                    "columns",
                    "resultSets",
                    "headers",
                    "rowSet",
                    "name",
                    "bookmakers",
                    "markets",
                    "outcomes",
                    "key",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(SCALARS)
def test_a_value_is_read_or_refused(value: Any) -> None:
    """Guards against a traceback for one cell of a season."""
    for read in READERS:
        with suppress(values.ValueFault):
            read(value)


@pytest.mark.parametrize("name", ["nba-api", "basketball-reference", "the-odds-api"])
@settings(max_examples=examples(40), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    content=st.one_of(
        st.binary(max_size=60), st.text(max_size=60).map(str.encode), JSON.map(lambda c: json.dumps(c).encode())
    )
)
def test_a_file_is_read_or_refused(tmp_path: Path, name: str, content: bytes) -> None:
    """Guards against an exception of a parser's own, which does not name the file."""
    file = tmp_path / "file"
    file.write_bytes(content)
    with suppress(NbaMlError):
        Import(name, shipped_mapping(name), tmp_path / "data", {}, dry_run=True).run([file])


@pytest.mark.parametrize("content", ["[" * 100_000, '[{"PLAYER_ID": ' + "9" * 5_000 + "}]"], ids=["deep", "long"])
def test_json_that_python_does_not_parse_is_refused(tmp_path: Path, content: str) -> None:
    """Was an unexpected error: of these two, neither is the JSON module's own."""
    file = tmp_path / "file.json"
    file.write_text(content)
    with pytest.raises(SourceDataError, match=f"{re.escape(str(file))} is not valid JSON"):
        Import("nba-api", shipped_mapping("nba-api"), tmp_path / "data", {}, dry_run=True).run([file])


@settings(max_examples=examples(40), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(
            st.integers(0, 20),
            st.sampled_from(LEAGUE_GAME_LOG),
            # A file with a zero byte is refused as a whole: it is not text.
            SCALARS.filter(lambda v: not isinstance(v, bytes | datetime) and "\0" not in str(v)),
        ),
        max_size=6,
    )
)
def test_cells_of_box_scores(tmp_path: Path, cells: list[tuple[int, str, Any]]) -> None:
    """Guards against one wrong cell that fails the import, or is imported: what is new is as it was."""
    rows = league_game_log(shipped("2025-06")[:21])
    for at, column, value in cells:
        rows[at] = rows[at] | {column: value}
    file = tmp_path / "file.csv"
    file.write_text(as_csv(LEAGUE_GAME_LOG, rows), encoding="utf-8", newline="")
    report = Import("nba-api", shipped_mapping("nba-api"), tmp_path / "data", {}, dry_run=True).run([file])
    assert report.read == report.new + report.repeated + report.set_aside_rows + report.refused_rows


@settings(max_examples=examples(40), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(["name", "description", "price", "point"]),
    SCALARS.filter(lambda v: v is None or isinstance(v, str | int | float | list)),
)
def test_cells_of_lines(tmp_path: Path, column: str, value: Any) -> None:
    """Guards against the same in odds."""
    content = event([("a", "LeBron James", 24.5), ("b", "Anthony Davis", 25.5)])
    content["bookmakers"][0]["markets"][0]["outcomes"][0][column] = value
    file = tmp_path / "file.json"
    file.write_text(json.dumps(content))
    report = Import("the-odds-api", shipped_mapping("the-odds-api"), tmp_path / "data", {}, dry_run=True).run([file])
    assert (
        report.read == 4 == report.new + report.paired + report.repeated + report.set_aside_rows + report.refused_rows
    )
