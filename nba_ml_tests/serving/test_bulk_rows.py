"""Rows validated all at once are taken, or refused, exactly as one by one."""

from __future__ import annotations

import math
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from nba_ml.contract.errors import FeatureRowsError
from nba_ml.contract.features import FEATURE_VERSIONS, V2_33FEATURES
from nba_ml.serving.rows import FEWEST_AT_ONCE, FeatureRows, _contract, _of_mappings, _one_by_one
from nba_ml_tests.serving.test_row_edges import GOOD

OTHERS = sorted({name for version in FEATURE_VERSIONS.values() for name in version.names} - set(V2_33FEATURES.names))
NAMES = st.sampled_from([*GOOD, *OTHERS[:2], "player_lookup", "game_date", "game_id", "an unknown name"])
VALUES = st.one_of(
    st.sampled_from(
        [
            None,
            math.nan,
            math.inf,
            -0.0,
            0,
            1,
            True,
            0.5,
            2**60,
            10**400,
            np.float64(1),
            np.int64(1),
            Decimal(1),
            "1",
            (),
        ]
    ),
    st.sampled_from(["lebronjames", "", "x" * 200, "x" * 201, "dončić", "\ud800", date(2025, 1, 15)]),
    st.sampled_from(["2025-01-15", "2025-02-30", "20250115", "2025-W03-3", "\uff12025-01-15", datetime(2025, 1, 15)]),
    st.floats(-50, 150),
)


def read(reader: Any, rows: list[Any], line_as_flagged: bool) -> tuple[object, ...]:
    """What was read, or what was refused, so that it can be compared."""
    try:
        found: FeatureRows = reader(rows, _contract(V2_33FEATURES.name), line_as_flagged)
    except FeatureRowsError as error:
        return str(error), error.faults
    bits = found.features.view(np.uint64)
    missing = np.isnan(found.features)
    return missing.tolist(), bits[~missing].tolist(), [*found.player_lookup], [*found.game_date], [*found.game_id]


def slate(changes: list[tuple[int, str, Any]]) -> list[Any]:
    rows: list[Any] = [dict(GOOD) for _ in range(FEWEST_AT_ONCE)]
    for at, name, value in changes:
        rows[at][name] = value
    return rows


@given(
    st.lists(st.tuples(st.integers(0, FEWEST_AT_ONCE - 1), NAMES, VALUES), max_size=3),
    st.sampled_from([None, "a feature is missing", "not an object", "of another class"]),
    st.booleans(),
)
@example([(0, "player_lookup", "\ud800")], None, False)
@example([(0, "has_vegas_line", 1), (1, "vegas_points_line", None)], None, True)
@example([(0, "has_vegas_line", None)], None, True)
def test_all_at_once_as_one_by_one(changes: list[tuple[int, str, Any]], broken: str | None, flagged: bool) -> None:
    """Guards against a slate that is taken although one of its rows would be refused, or with other numbers."""
    rows = slate(changes)
    match broken:
        case "a feature is missing":
            del rows[-1][V2_33FEATURES.names[0]]
        case "not an object":
            rows[-1] = "a row"
        case "of another class":
            rows[-1] = type("Row", (dict,), {})(rows[-1])
    assert read(_of_mappings, rows, flagged) == read(_one_by_one, rows, flagged)


def test_each_feature_at_and_beyond_its_limits() -> None:
    for feature in V2_33FEATURES.features:
        ends = (
            feature.low,
            feature.high,
            np.nextafter(feature.low, -np.inf).item(),
            np.nextafter(feature.high, np.inf).item(),
        )
        for value in (*ends, 0.5, None, math.nan, True, "1"):
            rows = slate([(3, feature.name, value)])
            assert read(_of_mappings, rows, False) == read(_one_by_one, rows, False), (feature.name, value)


def test_a_slate_as_clients_send_it_is_read_all_at_once() -> None:
    """Guards the speed: a rule that no real slate passes would cost nothing but time, and nobody would notice."""
    keys = [("player_lookup", "dončić"), ("game_date", "2025-01-15"), ("game_id", None), (OTHERS[0], "left out")]
    rows = slate([(at, name, value) for at in range(FEWEST_AT_ONCE) for name, value in keys])
    found = _contract(V2_33FEATURES.name).bulk.read(rows, line_as_flagged=False)
    assert found is not None
    assert found.game_date == [date(2025, 1, 15)] * FEWEST_AT_ONCE
