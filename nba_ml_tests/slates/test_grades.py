"""Slates graded: what is counted together, what is kept apart, and what is said of it."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime, timedelta
from functools import cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from nba_ml.contract.features import V2_33FEATURES
from nba_ml.contract.times import eastern_noon
from nba_ml.data.line_prices import Prices
from nba_ml.data.snapshot import Snapshot
from nba_ml.data.tables import SLATE_GRADES
from nba_ml.registry.channel import Share
from nba_ml.slates.grades import SlateGrade, compared_frame, grade_slates, grades_frame
from nba_ml.slates.rows import with_tip_offs
from nba_ml.slates.slate import Slate
from nba_ml_tests.conftest import snapshot_of
from nba_ml_tests.slate_scene import AFTERWARDS, slate, slate_rows_of, systems

MONTH = "2022-01"
DAYS = tuple(date(2022, 1, day) for day in range(12, 18))


@cache
def slates(rule: str | None = None, share: Share = 0, at: datetime | None = None) -> tuple[Slate, ...]:
    """Six days, each made an hour before noon, or all at one time."""
    who = systems(rule, share)
    return tuple(slate(who=who, day=day, at=at or eastern_noon(day) - timedelta(hours=1)) for day in DAYS)


@cache
def snapshot() -> Snapshot:
    return snapshot_of(MONTH)


def kinds(grades: tuple[SlateGrade, ...]) -> dict[tuple[str, str, str], SlateGrade]:
    return {(grade.side, grade.role, grade.made): grade for grade in grades}


def by_hand(made: tuple[Slate, ...], side: str, *roles: str) -> dict[tuple[str, date], float]:
    """Absolute errors of one kind by player and date, worked out row by row."""
    points = {
        (row["player_lookup"], row["game_date"]): row["points"]
        for row in snapshot().table.select(["player_lookup", "game_date", "points"]).to_pylist()
    }
    rows = [row for each in made for row in each.table.to_pylist() if row["side"] == side and row["role"] in roles]
    keyed = {(row["player_lookup"], row["game_date"]): row["predicted_points"] for row in rows}
    return {key: abs(predicted - points[key]) for key, predicted in keyed.items() if key in points}


def test_each_side_served_and_in_shadow_has_its_own_numbers() -> None:
    """Guards against a champion that is credited with what the challenger served."""
    made = slates("mock", 50)
    graded = grade_slates(made, snapshot(), MONTH)
    found = kinds(graded.report.grades)
    assert set(found) == {(s, r, "ahead") for s in ("champion", "challenger") for r in ("served", "shadow")}
    for (side, role, _), grade in found.items():
        errors = list(by_hand(made, side, role).values())
        assert grade.metrics is not None
        assert grade.metrics.n == len(errors) > 300
        assert grade.metrics.mae == pytest.approx(np.mean(errors), abs=1e-6)
        assert grade.mae_interval is not None
        assert grade.mae_interval.low < grade.metrics.mae < grade.mae_interval.high
        assert grade.system_id == ("mock" if side == "challenger" else "xgboost_v1")
    (served,) = graded.report.served
    both = [found[side, "served", "ahead"].metrics for side in ("champion", "challenger")]
    assert served.metrics is not None
    assert served.metrics.n == sum(each.n for each in both if each)
    assert graded.table.schema == SLATE_GRADES
    assert graded.table.num_rows == sum(grade.metrics.n for grade in found.values() if grade.metrics)


def test_the_two_are_compared_on_the_rows_of_both() -> None:
    """Guards against a comparison of one model's easy games with the other's hard ones."""
    made = slates("mock", 10)
    (pair,) = grade_slates(made, snapshot(), MONTH).report.compared
    champion, challenger = (by_hand(made, side, "served", "shadow") for side in ("champion", "challenger"))
    both = champion.keys() & challenger.keys()
    assert pair.rows == len(both) < len(champion)  # the mock says nothing of a player's first game
    assert pair.gain == pytest.approx(np.mean([champion[key] - challenger[key] for key in both]), abs=1e-5)
    assert pair.gain == pytest.approx(pair.champion_mae - pair.challenger_mae, abs=1e-5)
    assert pair.interval is not None
    assert pair.interval.low < pair.gain < pair.interval.high
    assert not grade_slates(slates(), snapshot(), MONTH).report.compared


def test_what_was_replayed_shares_no_number_with_what_was_made_ahead() -> None:
    """Guards against a demonstration on past games that is sold as a record."""
    made = (*slates()[:3], *slates(at=AFTERWARDS)[3:])
    report = grade_slates(made, snapshot(), MONTH).report
    found = kinds(report.grades)
    assert set(found) == {("champion", "served", "ahead"), ("champion", "served", "replayed")}
    assert (report.dates, report.replayed_dates) == (6, 3)
    assert {grade.made for grade in report.served} == {"ahead", "replayed"}
    assert [grade.days for grade in report.served] == [3, 3]


def test_what_may_have_been_made_too_late_is_apart() -> None:
    """Guards against predictions of the afternoon, made at an unknown time of the games, among those made ahead."""
    afternoon = [slate(day=day, at=eastern_noon(day) + timedelta(hours=5)) for day in DAYS[3:]]
    report = grade_slates((*slates()[:3], *afternoon), snapshot(), MONTH).report
    assert (report.replayed_dates, report.unknown_dates) == (0, 3)
    assert {grade.made: grade.days for grade in report.served} == {"ahead": 3, "tip-off unknown": 3}


def test_a_slate_of_which_a_game_had_begun_is_graded_in_two_parts() -> None:
    """Guards against a late game that is not graded because an early one had begun."""
    rows = slate_rows_of(DAYS[3])
    first, *others = sorted(rows["game_id"].unique().to_pylist())
    noon = eastern_noon(DAYS[3])
    tip_offs = {first: noon + timedelta(hours=1), **dict.fromkeys(others, noon + timedelta(hours=8))}
    one = slate(with_tip_offs(rows.drop_columns("tip_off"), tip_offs), day=DAYS[3], at=noon + timedelta(hours=5))
    report = grade_slates([one], snapshot(), MONTH).report
    predicted = {grade.made: grade.predicted for grade in report.served}
    begun = pc.sum(pc.equal(rows["game_id"], first)).as_py()
    assert predicted == {"ahead": rows.num_rows - begun, "replayed": begun}


def test_a_player_who_did_not_play_is_void_and_one_whose_row_is_gone_is_said() -> None:
    """Guards against a denominator that nobody can follow: predicted is graded, void or unmatched."""
    whole, frozen = grade_slates(slates(), snapshot(), MONTH).report.served[0], snapshot()
    player = slates()[0].table.column("player_lookup")[3].as_py()

    def but(table: pa.Table) -> pa.Table:
        mine = pc.and_(pc.equal(table.column("player_lookup"), player), pc.equal(table.column("game_date"), DAYS[0]))
        assert pc.sum(mine).as_py() == 1
        return table.filter(pc.invert(mine))

    void = replace(frozen, table=but(frozen.table), results=but(frozen.results))
    gone = replace(frozen, table=but(frozen.table))
    assert whole.metrics is not None
    for changed, expected in ((void, (whole.void + 1, 0)), (gone, (whole.void, 1))):
        grade = grade_slates(slates(), changed, MONTH).report.served[0]
        assert grade.metrics is not None
        assert (grade.void, grade.unmatched) == expected
        assert grade.predicted == grade.metrics.n + grade.void + grade.unmatched
        assert grade.metrics.n == whole.metrics.n - 1


def test_a_date_without_results_waits() -> None:
    """Guards against tonight's players counted as men who did not play."""
    frozen = snapshot()
    until = replace(
        frozen,
        **{
            name: table.filter(pc.less(table.column("game_date"), pa.scalar(DAYS[4], pa.date32())))
            for name, table in (("table", frozen.table), ("results", frozen.results))
        },
    )
    report = grade_slates(slates(), until, MONTH).report
    assert report.waiting == DAYS[4:]
    assert report.served[0].days == 4
    assert report.served[0].void == 0
    assert report.served[0].mae_interval is None
    nothing = replace(frozen, table=frozen.table.slice(0, 0), results=frozen.results.slice(0, 0))
    report = grade_slates(slates(), nothing, MONTH).report
    assert report.note == "none of the 6 dates with a slate has results yet"
    assert grade_slates((), frozen, MONTH).report.note == "there are no slates of 2022-01"


def test_two_versions_of_a_date_are_refused() -> None:
    """Guards against games that count twice."""
    with pytest.raises(ValueError, match="two slates have the same date"):
        grade_slates((slates()[0], slates(at=AFTERWARDS)[0]), snapshot(), MONTH)


def test_the_order_of_the_slates_changes_nothing() -> None:
    """Guards against a report that is new at every look."""
    forward, backward = (grade_slates(made, snapshot(), MONTH) for made in (slates(), slates()[::-1]))
    assert forward.digest == backward.digest


def test_the_tables_say_what_a_reader_needs() -> None:
    """Guards against a number without its population, and against an interval made of a single day."""
    frame = grades_frame(grade_slates(slates("mock", 10), snapshot(), MONTH).report)
    assert list(frame["side"]) == ["all", "challenger", "challenger", "champion", "champion"]
    assert {"n", "MAE", "95%", "hit rate", "void", "days", "made"} <= set(frame.columns)
    one_day = grade_slates(slates("mock", 10)[:1], snapshot(), MONTH).report
    assert set(grades_frame(one_day)["95%"]) == {"needs 5 days"}
    assert list(compared_frame(one_day)["95%"]) == ["needs 5 days"]


def test_a_slate_is_graded_at_the_prices_that_it_was_made_with() -> None:
    """Guards against a record at the usual odds, against one side's prices beside the other's predictions, and against
    a market out of the prices of different books, of which each prediction keeps that of its own side."""
    rows = slate_rows_of(DAYS[0])
    features = rows["features"].to_pylist()
    at = V2_33FEATURES.names.index("vegas_points_line"), V2_33FEATURES.names.index("has_vegas_line")
    for vector in features:
        vector[at[0]], vector[at[1]] = round(np.nan_to_num(vector[2])) + 0.5, 1.0
    lined = rows.set_column(rows.column_names.index("features"), "features", pa.array(features, rows["features"].type))
    players = rows["universal_player_id"].to_pylist()
    prices = {
        player: Prices(1.5 + i / 100, 2.5 - i / 100, separate=i % 4 == 1) for i, player in enumerate(players) if i % 2
    }
    morning = eastern_noon(DAYS[0]) - timedelta(hours=1)
    one = slate(with_tip_offs(lined, {}, prices), who=systems("mock", 50), day=DAYS[0], at=morning)
    graded = grade_slates([one], snapshot(), MONTH)
    stored = {(row["player_lookup"], row["side"]): row["over_price"] for row in one.table.to_pylist()}
    separate = {
        row["player_lookup"] for row in lined.to_pylist() if prices.get(row["universal_player_id"], Prices())[2]
    }
    of_separate = [row for row in one.table.to_pylist() if row["player_lookup"] in separate]
    kept = [(row["over_price"] is not None, row["under_price"] is not None) for row in of_separate]
    predicted_over = [row["model_points"] >= row["current_points_line"] for row in of_separate]
    assert kept == [(over, not over) for over in predicted_over]
    assert {*predicted_over} == {True, False}
    for row in graded.table.to_pylist():
        expected = stored[row["player_lookup"], row["side"]]
        assert row["over_price"] == expected or (expected is None and np.isnan(row["over_price"]))
    (served,) = graded.report.served
    assert served.market is not None
    assert served.market.prices is not None
    assert 20 < served.market.prices.model.n < (served.metrics.n if served.metrics else 0)
    champion = kinds(graded.report.grades)["champion", "served", "ahead"]
    assert champion.market is not None
    assert champion.market.lines is not None
    shown = grades_frame(graded.report).set_index(["side", "role"])
    assert shown.loc[("champion", "served"), "Brier"] == f"{champion.market.lines.model.brier:.4f}"
    # The mock states no probability, so there is nothing to score.
    assert shown.loc[("challenger", "served"), "Brier"] == "-"
