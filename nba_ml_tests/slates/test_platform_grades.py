"""The platform's systems beside ours: which rows count, and what they are measured at."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nba_ml.data.tables import PLATFORM_PREDICTIONS, RESULTS
from nba_ml.slates.platform_grades import grade_platform, left_out_lines, paired_frame, platform_frame
from nba_ml.slates.platform_rows import LEFT_OUT, counted_rows

DAY = date(2025, 1, 15)
NOON = datetime(2025, 1, 15, 17, tzinfo=UTC)
"""Noon in New York."""

OURS = pa.schema(
    [
        ("player_lookup", pa.string()),
        ("game_date", pa.date32()),
        ("signed_error", pa.float64()),
        ("outcome", pa.string()),
    ]
)


def row(points: float = 18.0, **changes: Any) -> dict[str, Any]:
    return {
        "system_id": "catboost_v8",
        "player_lookup": "a",
        "game_date": DAY,
        "game_id": "g",
        "predicted_points": points,
        "current_points_line": 15.5,
        "line_source": "ACTUAL_PROP",
        "recommendation": "OVER",
        "invalidated": False,
        "made_before_game": None,
        "prediction_version": 1,
        "created_at": NOON - timedelta(hours=1),
        **changes,
    }


def table(*rows: dict[str, Any]) -> pa.Table:
    return pa.Table.from_pylist(list(rows), schema=PLATFORM_PREDICTIONS)


def results(*players: tuple[str, date, float]) -> pa.Table:
    rows = [{"player_lookup": p, "game_date": d, "points": n, "minutes_played": 30.0} for p, d, n in players]
    return pa.Table.from_pylist(rows, schema=RESULTS)


def ours(*rows: tuple[str, date, float, str]) -> pa.Table:
    return pa.Table.from_pylist([dict(zip(OURS.names, each, strict=True)) for each in rows], schema=OURS)


# --- which rows count -----------------------------------------------------------------------------------------

CASES: dict[str, tuple[list[dict[str, Any]], list[float], dict[str, int]]] = {
    "the newest": ([row(1), row(2, created_at=NOON)], [2.0], {"older row": 1}),
    "the newest of a re-run at the same time": ([row(1, prediction_version=3), row(2)], [1.0], {"older row": 1}),
    "one of two ids of a game": ([row(1), row(2, game_id="other", created_at=NOON)], [2.0], {"older row": 1}),
    "an older one, where the newest is invalidated": (
        [row(1), row(2, created_at=NOON, invalidated=True)],
        [1.0],
        {"invalidated": 1},
    ),
    "an older one, where the newest has a placeholder": (
        [row(1), row(2, created_at=NOON, current_points_line=20.0)],
        [1.0],
        {"placeholder line": 1},
    ),
    "a line near the placeholder": ([row(1, current_points_line=20.5)], [1.0], {}),
    "points of exactly 20.0": ([row(20.0)], [20.0], {}),
    "one time unknown": ([row(1), row(2, created_at=None)], [1.0], {"older row": 1}),
    "invalidated unknown": ([row(1, invalidated=None)], [1.0], {}),
    "no points": (
        [row(1, predicted_points=None), row(2, predicted_points=float("nan"))],
        [],
        {"no points or player": 2},
    ),
    "no player": ([row(1, player_lookup=None), row(2, player_lookup=None)], [], {"no points or player": 2}),
    "both faults": ([row(1, invalidated=True, current_points_line=20.0)], [], {"invalidated": 1}),
    "two systems": ([row(1), row(2, system_id="moving_average")], [1.0, 2.0], {}),
    "nothing": ([], [], {}),
}


@pytest.mark.parametrize("case", CASES)
def test_which_row_of_a_game_counts(case: str) -> None:
    """Guards against a system that is judged on rows that nobody saw, or that its own graders leave out."""
    rows, expected, left_out = CASES[case]
    counted = counted_rows(table(*rows))
    assert counted.rows["predicted_points"].tolist() == expected
    assert {system: dict(reasons) for system, reasons in counted.left_out.items()} == (
        {"catboost_v8": left_out} if left_out else {}
    )


@pytest.mark.parametrize(
    ("changes", "line", "recommendation"),
    [
        ({}, 15.5, "OVER"),
        ({"line_source": "BETTINGPROS", "recommendation": None}, 15.5, "PASS"),
        ({"line_source": "ESTIMATED_AVG"}, None, "NO_LINE"),
        ({"line_source": None}, None, "NO_LINE"),
        ({"line_source": "NO_PROP_LINE", "current_points_line": None}, None, "NO_LINE"),
    ],
)
def test_a_bet_needs_a_line_that_a_book_offered(
    changes: dict[str, Any], line: float | None, recommendation: str
) -> None:
    """Guards against hit rates against lines that the platform made up."""
    [found] = counted_rows(table(row(**changes))).rows.to_dict("records")
    assert found["recommendation"] == recommendation
    assert found["current_points_line"] == line or (line is None and np.isnan(found["current_points_line"]))


@pytest.mark.parametrize(
    ("changes", "made"),
    [
        ({}, "ahead"),
        ({"created_at": NOON + timedelta(hours=1)}, "tip-off unknown"),
        ({"created_at": NOON + timedelta(hours=1), "made_before_game": True}, "ahead"),
        ({"created_at": NOON + timedelta(days=300)}, "replayed"),
        ({"made_before_game": False}, "replayed"),
        ({"created_at": None}, "tip-off unknown"),
    ],
)
def test_when_a_prediction_was_made(changes: dict[str, Any], made: str) -> None:
    """Guards against a backfilled season that counts as predictions."""
    assert counted_rows(table(row(**changes))).rows["made"].tolist() == [made]


@given(
    st.lists(
        st.tuples(
            st.sampled_from("ab"),
            st.sampled_from("xy"),
            st.integers(0, 3),
            st.booleans(),
            st.sampled_from([15.5, 20.0]),
        ),
        max_size=12,
    )
)
def test_every_row_counts_or_is_counted(rows: list[tuple[str, str, int, bool, float]]) -> None:
    """Guards against rows that vanish, and against two rows of a game."""
    made = [
        row(system_id=s, player_lookup=p, prediction_version=v, invalidated=i, current_points_line=line)
        for s, p, v, i, line in rows
    ]
    counted = counted_rows(table(*made))
    assert len(counted.rows) + sum(sum(each.values()) for each in counted.left_out.values()) == len(rows)
    assert not counted.rows.duplicated(["system_id", "player_lookup", "game_date"]).any()
    assert {reason for each in counted.left_out.values() for reason in each} <= set(LEFT_OUT)


# --- grades ---------------------------------------------------------------------------------------------------


def test_a_system_is_graded_on_its_own_games_and_on_those_of_both() -> None:
    """Guards against void and waiting players in the error, and against two systems compared on different nights."""
    days = [DAY + timedelta(i) for i in range(6)]
    predicted = [row(18.0 + i, game_date=day, created_at=NOON + timedelta(i, hours=-1)) for i, day in enumerate(days)]
    predicted += [row(9.0, player_lookup="sat out"), row(9.0, game_date=DAY + timedelta(9))]
    played = results(*[("a", day, 20.0) for day in days], ("b", DAY, 5.0))
    mine = ours(*[("a", day, 1.5, "RIGHT") for day in days[:5]], ("b", DAY, 9.0, "WRONG"))
    report = grade_platform(
        ["2025-01"],
        ["catboost_v8", "nobody"],
        table(*predicted),
        played,
        {"prediction_grades": mine, "slate_grades": ours()},
    ).report
    [grade] = report.grades
    assert (grade.made, grade.predicted, grade.void, grade.waiting, grade.days) == ("ahead", 8, 1, 1, 6)
    assert grade.metrics is not None
    assert (grade.metrics.n, grade.metrics.mae, grade.metrics.bias) == (6, 1.5, 0.5)  # -2 to 3
    assert grade.mae_interval is not None
    assert grade.mae_interval.low < 1.5 < grade.mae_interval.high
    assert grade.hit_rate is not None
    assert (grade.hit_rate.hits, grade.hit_rate.n) == (6, 6), "OVER 15.5, and 20 points each time"
    [pair] = report.paired
    assert (pair.ours, pair.rows, pair.mae, pair.our_mae, pair.gain) == ("prediction_grades", 5, 1.2, 1.5, -0.3)
    assert (pair.bias, pair.our_bias) == (0.0, 1.5)
    assert pair.interval is not None
    assert pair.interval.low < -0.3 < pair.interval.high
    assert report.without_rows == ("nobody",)
    assert report.without_ours == ("slate_grades",)
    assert list(left_out_lines(report)) == [
        "No active row that counts: nobody.",
        "Nothing of ours to compare with in slate_grades.",
    ]
    assert platform_frame(report)["MAE"].tolist() == ["1.500"]
    assert paired_frame(report)["gain"].tolist() == ["-0.300"]


def test_replayed_predictions_have_a_grade_of_their_own() -> None:
    """Guards against a system whose old nights were predicted last week."""
    late = row(20.0, player_lookup="b", made_before_game=False)
    report = grade_platform(
        ["2025-01"], ["catboost_v8"], table(row(10.0), late), results(("a", DAY, 20.0), ("b", DAY, 20.0)), {}
    ).report
    assert [(each.made, each.metrics.mae) for each in report.grades if each.metrics] == [
        ("ahead", 10.0),
        ("replayed", 0.0),
    ]
    assert report.grades[0].mae_interval is None, "one day is no interval"


def test_a_push_and_a_pass_are_no_bets() -> None:
    """Guards against hit rates that count what nobody wins or loses."""
    rows = [
        row(player_lookup=p, current_points_line=line) for p, line in (("push", 10.0), ("right", 9.5), ("wrong", 10.5))
    ]
    rows.append(row(player_lookup="pass", recommendation="PASS"))
    played = results(*[(each, DAY, 10.0) for each in ("push", "right", "wrong", "pass")])
    [grade] = grade_platform(["2025-01"], ["catboost_v8"], table(*rows), played, {}).report.grades
    assert grade.hit_rate is not None
    assert (grade.hit_rate.hits, grade.hit_rate.n, grade.pushes) == (1, 2, 1)


def test_before_any_result_there_is_no_grade() -> None:
    """Guards against an error on the first night."""
    grades = grade_platform(["2025-01"], ["catboost_v8"], table(row()), results(), {})
    [grade] = grades.report.grades
    assert (grade.metrics, grade.waiting, grade.hit_rate) == (None, 1, None)
    assert isinstance(grades.rows, pd.DataFrame)
    assert grade_platform(["2025-01"], ["x"], table(), results(), {}).report.grades == ()
