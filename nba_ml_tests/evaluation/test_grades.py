"""Grades by hand on a few rows, and on a real month (January 2022)."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from datetime import date, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nba_ml.contract.features import V2_33FEATURES
from nba_ml.contract.quantiles import QUANTILE_COLUMNS
from nba_ml.data.snapshot import Snapshot
from nba_ml.data.tables import PREDICTION_GRADES
from nba_ml.evaluation import stored
from nba_ml.evaluation.grades import GradedMonth, Slice, break_down, grade_month, proportion
from nba_ml.model.baselines import predict_baselines
from nba_ml.model.comparison import compare
from nba_ml.model.fitting import predict
from nba_ml.model.metrics import interval_over_days
from nba_ml.model.tiers import tier_of
from nba_ml.storage.directory import DirectoryStore
from nba_ml.storage.months import MonthStore
from nba_ml_tests.conftest import Trained, snapshot_of
from nba_ml_tests.evaluation.test_predictions import MONTH, scored, trusting, with_columns, with_lines

DAY = date(2022, 1, 10)


def graded_rows(**columns: list[Any]) -> pa.Table:
    """Graded rows of which only some columns matter; the others have plain values."""
    n = len(next(iter(columns.values())))
    plain: dict[str, Any] = {
        "system_id": "xgboost_v1",
        "model_version": "m",
        "model_type": "xgboost",
        "model_sha256": "0" * 64,
        "feature_version": "v2_33features",
        "game_date": DAY,
        "game_id": "20220110_BKN_CHI",
        "predicted_points": 10.0,
        "model_points": 10.0,
        "points_low": 2.0,
        "points_high": 18.0,
        "points_low_90": 0.0,
        "points_high_90": 21.0,
        **{name: float(2 + i) for i, name in enumerate(QUANTILE_COLUMNS)},
        "push_probability": np.nan,
        "over_probability": np.nan,
        "confidence_score": 60.0,
        "current_points_line": np.nan,
        "line_margin": np.nan,
        "recommendation": "NO_LINE",
        "points": 12.0,
        "signed_error": -2.0,
        "absolute_error": 2.0,
        "within_3": True,
        "within_5": True,
        "outcome": "NO_LINE",
        "season_average": 9.0,
        "last_10_average": 8.0,
        "last_5_average": 7.0,
        "mock": 6.0,
        "is_home": True,
        "back_to_back": False,
        "rest_advantage": 0.0,
        "month_of_season": 4,
        "over_price": np.nan,
        "under_price": np.nan,
        "crps": 1.5,
        "pit_low": 0.5,
        "pit_high": 0.6,
    }
    values = {**{name: [value] * n for name, value in plain.items()}, **columns}
    values["player_lookup"] = [f"player{i}" for i in range(n)]
    return pa.table(
        {f.name: pa.array(values[f.name], type=f.type, from_pandas=False) for f in PREDICTION_GRADES},
        schema=PREDICTION_GRADES,
    )


def whole(table: pa.Table) -> Slice:
    measured = break_down(table)
    assert measured is not None
    return measured.overall


def grade(trained: Trained, snapshot: Snapshot) -> GradedMonth:
    return grade_month(scored(trained, snapshot), snapshot, MONTH, V2_33FEATURES)


@cache
def some_lines() -> Snapshot:
    """The month with a line for every third row: the season average, to the next half point."""
    snapshot = snapshot_of(MONTH)
    average = np.nan_to_num(snapshot.table.column("points_avg_season").to_numpy(), nan=8.0)
    lines = np.floor(average) + np.where(np.arange(len(average)) % 2 == 0, 0.5, 0.0)
    lines[np.arange(len(lines)) % 3 != 0] = np.nan
    return with_lines(snapshot, lines)


# --- the grade of a row --------------------------------------------------------------------------------------


def test_every_row_is_graded_as_by_hand(trained: Trained) -> None:
    """Guards against a sign, a bound or a rule of betting that went astray: each row is graded again by hand."""
    snapshot = some_lines()
    graded = grade(trusting(trained), snapshot)
    results = {(r["player_lookup"], r["game_date"]): r for r in snapshot.table.to_pylist()}
    seen = set()
    for row in graded.table.to_pylist():
        result = results[row["player_lookup"], row["game_date"]]
        points, line = result["points"], row["current_points_line"]
        error = round(row["predicted_points"] - points, 2)
        assert (row["points"], row["signed_error"], row["absolute_error"]) == (points, error, abs(error))
        assert (row["within_3"], row["within_5"]) == (abs(error) <= 3, abs(error) <= 5)
        assert (row["is_home"], row["back_to_back"]) == (result["home_away"] == 1, result["back_to_back"] == 1)
        assert row["rest_advantage"] == result["rest_advantage"]
        if row["recommendation"] in ("NO_LINE", "PASS"):
            expected = row["recommendation"]
        elif points == line:
            expected = "PUSH"
        else:
            expected = "RIGHT" if (points > line) == (row["recommendation"] == "OVER") else "WRONG"
        assert row["outcome"] == expected
        seen.add((row["recommendation"], expected))
    market = graded.report.market
    assert market is not None
    assert market.lines is not None
    with_a_line = int(np.isfinite(graded.table["current_points_line"].to_numpy()).sum())
    assert (market.whole_lines, market.lines.model.n + market.pushes) == (0, with_a_line)
    assert seen == {
        ("NO_LINE", "NO_LINE"), ("PASS", "PASS"),
        *((side, outcome) for side in ("OVER", "UNDER") for outcome in ("RIGHT", "WRONG", "PUSH")),
    }  # fmt: skip


def test_baselines_are_those_of_the_same_rows(trained: Trained) -> None:
    """Guards against a baseline joined to another row, or computed from something else than the features."""
    snapshot = snapshot_of(MONTH)
    vectors = np.column_stack([snapshot.table.column(name).to_numpy() for name in V2_33FEATURES.names])
    table = grade(trained, snapshot).table
    for name, values in predict_baselines(vectors, V2_33FEATURES).items():
        np.testing.assert_array_equal(table.column(name).to_numpy(), values)
        assert table.column(name).null_count == 0


@pytest.mark.parametrize(("month", "number"), [("2021-10", 1), ("2021-12", 3), ("2022-01", 4), ("2022-06", 9)])
def test_months_of_a_season_count_from_october(trained: Trained, month: str, number: int) -> None:
    """Guards against a June that is shown as the sixth month of a season."""
    snapshot = snapshot_of(MONTH)
    made = scored(trained, snapshot)
    days = pa.array([date.fromisoformat(f"{month}-15")] * made.table.num_rows)
    moved = replace(
        made, table=made.table.set_column(made.table.schema.get_field_index("game_date"), "game_date", days)
    )
    players = {name: i for i, name in enumerate(made.table.column("player_lookup").to_pylist())}
    once = sorted(players.values())
    there = replace(snapshot, table=with_columns(snapshot, game_date=days).table.take(once))
    graded = grade_month(replace(moved, table=moved.table.take(once)), there, month, V2_33FEATURES)
    assert set(graded.table.column("month_of_season").to_pylist()) == {number}


# --- who is graded -------------------------------------------------------------------------------------------


def test_a_player_who_did_not_play_is_void(trained: Trained) -> None:
    """Guards against a grade of 0 points for a player who sat out: he takes part in no number."""
    snapshot = snapshot_of(MONTH)
    made = scored(trained, snapshot)
    absent = replace(snapshot, table=snapshot.table.slice(0, snapshot.table.num_rows - 7))
    graded = grade_month(made, absent, MONTH, V2_33FEATURES)
    assert (graded.report.graded, graded.report.void, graded.report.late) == (snapshot.table.num_rows - 7, 7, 0)
    assert graded.report.breakdown == break_down(grade(trained, absent).table)


def test_results_without_a_prediction_are_counted(trained: Trained) -> None:
    """Guards against results that came late and silently are in no number."""
    snapshot = snapshot_of(MONTH)
    made = scored(trained, replace(snapshot, table=snapshot.table.slice(5)))
    report = grade_month(made, snapshot, MONTH, V2_33FEATURES).report
    assert (report.graded, report.void, report.late) == (snapshot.table.num_rows - 5, 0, 5)


def test_a_month_that_is_not_played_yet_says_so(trained: Trained) -> None:
    """Guards against a division by zero, or a MAE of 0, where nobody has played."""
    snapshot = snapshot_of(MONTH)
    counts = replace(snapshot.counts, samples=0, without_result=412, early_season=0)
    future = replace(snapshot, table=snapshot.table.slice(0, 0), counts=counts)
    graded = grade(trained, future)
    assert (graded.table.num_rows, graded.report.graded, graded.report.breakdown) == (0, 0, None)
    assert graded.table.schema == PREDICTION_GRADES
    assert graded.report.note == "no results yet; 412 feature rows without a result"


def test_other_months_without_a_number_say_why(trained: Trained) -> None:
    """Guards against one note for all: an October, a month before the first model, and a month cancelled."""
    october, november, january = (snapshot_of(m) for m in ("2021-10", "2021-11", MONTH))
    nobody = replace(scored(trained, january), table=PREDICTION_GRADES.empty_table(), model=None)
    empty = replace(nobody, table=scored(trained, october).table)
    early = grade_month(empty, october, "2021-10", V2_33FEATURES).report
    assert early.note == "only early-season rows (2,071), which are not predicted; 0 feature rows without a result"
    first = grade_month(empty, november, "2021-11", V2_33FEATURES).report
    assert first.note.startswith("4,662 results but no predictions: there was no earlier model; 15 feature")
    cancelled = grade_month(
        scored(trained, january), replace(january, table=january.table.slice(0, 0)), MONTH, V2_33FEATURES
    )
    assert cancelled.report.note.startswith("none of the 4,901 predicted players has a result")
    assert grade(trained, january).report.note == ""


# --- numbers -------------------------------------------------------------------------------------------------


def test_the_numbers_of_a_real_month_are_those_of_its_rows(trained: Trained) -> None:
    """Guards against metrics of other rows than the stored ones, or without their population."""
    graded = grade(trusting(trained), some_lines())
    rows = graded.table.to_pandas()
    measured = graded.report.breakdown
    assert measured is not None
    overall = measured.overall
    assert overall.metrics.n == len(rows)
    assert overall.metrics.mae == pytest.approx(rows["absolute_error"].mean(), abs=1e-6)
    assert overall.metrics.bias == pytest.approx(rows["signed_error"].mean(), abs=1e-6)
    assert overall.metrics.rmse == pytest.approx((rows["signed_error"] ** 2).mean() ** 0.5, abs=1e-6)
    assert (overall.metrics.within_3, overall.metrics.within_5) == pytest.approx(
        (rows["within_3"].mean(), rows["within_5"].mean()), abs=1e-6
    )
    days = rows["game_date"].to_numpy().astype("datetime64[D]")
    assert overall.mae_interval == interval_over_days(rows["absolute_error"].to_numpy(), days)
    inside = (rows["points"] >= rows["points_low"]) & (rows["points"] <= rows["points_high"])
    assert overall.coverage.inside == pytest.approx(inside.mean(), abs=1e-6)
    line, lined = overall.against_line, rows[rows["current_points_line"].notna()]
    assert line is not None
    assert line.hit_rate is not None
    outcomes = lined["outcome"].value_counts()
    assert (line.n, line.hit_rate.hits, line.hit_rate.n - line.hit_rate.hits, line.pushes, line.passed) == (
        len(lined), outcomes["RIGHT"], outcomes["WRONG"], outcomes["PUSH"], outcomes["PASS"],
    )  # fmt: skip
    assert line.over + line.under + line.passed == line.n
    assert line.bias == pytest.approx((lined["predicted_points"] - lined["current_points_line"]).mean(), abs=1e-6)
    assert line.line.metrics.mae == pytest.approx(
        (lined["current_points_line"] - lined["points"]).abs().mean(), abs=1e-6
    )
    assert line.line.model_mae == pytest.approx(lined["absolute_error"].mean(), abs=1e-6)


def test_groups_hold_every_row_once_and_their_own_rows_only(trained: Trained) -> None:
    """Guards against a tier that loses the players without history, and against a group of other rows."""
    graded = grade(trained, some_lines())
    rows = graded.table.to_pandas()
    measured = graded.report.breakdown
    assert measured is not None
    for dimension, slices in measured.by.items():
        assert sum(each.metrics.n for each in slices.values()) == len(rows), dimension
    tiers = tier_of(rows["season_average"].to_numpy())
    found = {name: each.metrics.mae for name, each in measured.by["tier"].items()}
    assert found == pytest.approx({name: rows["absolute_error"][tiers == name].mean() for name in found}, abs=1e-6)
    assert set(found) == set(tiers)
    for dimension, group, mask in (
        ("venue", "home", rows["is_home"]),
        ("venue", "away", ~rows["is_home"]),
        ("rest", "back-to-back", rows["back_to_back"]),
        ("rest", "rested", ~rows["back_to_back"]),
    ):
        assert measured.by[dimension][group].metrics.mae == pytest.approx(rows["absolute_error"][mask].mean(), abs=1e-6)
    assert measured.by["month of season"] == {"January": measured.overall}


def test_a_comparison_is_the_one_that_judges_the_model(trained: Trained) -> None:
    """Guards against two definitions of a gain: on the validation rows it is what the training report says."""
    side = trained.side("validation")
    predicted = predict(trained.fitted.booster, side.features, 1)
    for name, values in predict_baselines(side.features, V2_33FEATURES).items():
        assert compare(values, predicted, side.points, side.dates) == trained.record.metrics.baselines[name]


def test_a_baseline_is_compared_where_it_has_a_value_and_nowhere_else() -> None:
    """Guards against a NaN that spreads, and against the model's MAE over rows that the baseline does not have."""
    table = graded_rows(season_average=[np.nan, 15.0], predicted_points=[0.0, 13.0], last_5_average=[np.nan, np.nan])
    overall = whole(table)
    season = overall.baselines["season_average"]
    assert (season.metrics.n, season.metrics.mae, season.model_mae, season.gain) == (1, 3.0, 1.0, 2.0)
    assert "last_5_average" not in overall.baselines
    assert overall.metrics.mae == 6.5


# --- bad input -----------------------------------------------------------------------------------------------


def test_no_lines_at_all(trained: Trained) -> None:
    """Guards against a hit rate of nothing: no line gives no number, and no error."""
    measured = grade(trained, snapshot_of(MONTH)).report.breakdown
    assert measured is not None
    assert measured.overall.against_line is None
    assert all(each.against_line is None for slices in measured.by.values() for each in slices.values())


def test_lines_for_one_day_only(trained: Trained) -> None:
    """Guards against lines that count rows of other days, and against an interval that needs two days."""
    snapshot = snapshot_of(MONTH)
    days = snapshot.table.column("game_date").to_numpy()
    lines = np.where(days == days[0], 9.5, np.nan)
    measured = grade(trained, with_lines(snapshot, lines)).report.breakdown
    assert measured is not None
    line = measured.overall.against_line
    assert line is not None
    assert line.n == (days == days[0]).sum()
    assert line.line.gain_interval.low == line.line.gain_interval.high == pytest.approx(line.line.gain, abs=1e-6)


def test_lines_without_a_bet_have_no_hit_rate() -> None:
    """Guards against 0 / 0, and against pushes and passes counted as wrong."""
    lines = graded_rows(
        current_points_line=[10.0, 12.0, 12.0],
        line_margin=[0.0, -2.0, -2.0],
        recommendation=["PASS", "UNDER", "UNDER"],
        outcome=["PASS", "PUSH", "PUSH"],
    )
    line = whole(lines).against_line
    assert line is not None
    assert (line.n, line.passed, line.under, line.pushes, line.hit_rate) == (3, 1, 2, 2, None)
    assert line.bias == pytest.approx(-4 / 3, abs=1e-6)


def test_with_a_line_the_models_own_number_is_graded_beside_the_published_one() -> None:
    """Guards the comparison that shows whether the line inside the prediction helps, and a bias shrunk by the trust."""
    rows = graded_rows(
        predicted_points=[11.0, 11.0, 11.0],
        model_points=[8.0, 8.0, 8.0],
        current_points_line=[12.0, 12.0, 12.0],
        line_margin=[-1.0, -1.0, -1.0],
        recommendation=["PASS"] * 3,
        outcome=["PASS"] * 3,
    )
    line = whole(rows).against_line
    assert line is not None
    assert line.own is not None
    assert (line.line.metrics.mae, line.own.metrics.mae, line.own.gain) == (0.0, 4.0, 3.0)
    assert line.bias == -4.0


def test_months_of_before_the_models_own_number_are_read(trained: Trained, tmp_path: Path) -> None:
    """Guards a home whose stored months lack the column: it is graded and shown as before."""
    store = MonthStore(DirectoryStore(tmp_path))
    made, graded = scored(trained, some_lines()), grade(trained, some_lines())
    store.save(stored.PREDICTIONS, MONTH, replace(made, table=made.table.drop_columns("model_points")))
    store.save(stored.GRADES, MONTH, replace(graded, table=graded.table.drop_columns("model_points")))
    predictions, grades = store.load(stored.PREDICTIONS, MONTH), store.load(stored.GRADES, MONTH)
    assert predictions is not None
    assert grades is not None
    for read, value in ((predictions, made), (grades, graded)):
        assert read.digest == value.digest
        assert read.table.schema == value.table.schema
        assert read.table.column("model_points").equals(read.table.column("predicted_points"))


@pytest.mark.parametrize("rows", [1, 20])
def test_a_month_with_few_rows_is_measured(trained: Trained, rows: int) -> None:
    """Guards against a crash, or an interval that is not one, where a month has a night or two."""
    snapshot = some_lines()
    measured = grade(trained, replace(snapshot, table=snapshot.table.slice(0, rows))).report.breakdown
    assert measured is not None
    assert measured.overall.metrics.n == rows
    for slices in measured.by.values():
        for each in slices.values():
            assert each.mae_interval.low - 1e-6 <= each.metrics.mae <= each.mae_interval.high + 1e-6
            assert 0 <= each.coverage.inside <= 1


def test_equal_predictions_are_measured_like_any() -> None:
    """Guards against a model of one constant that breaks a quantile or a division instead of looking bad."""
    points = np.arange(40.0) % 20
    days = [DAY + timedelta(days=int(i) // 10) for i in range(40)]
    measured = break_down(graded_rows(points=points.tolist(), game_date=days, predicted_points=[9.5] * 40))
    assert measured is not None
    assert measured.overall.metrics.mae == 5.0
    assert measured.overall.days == 4


def test_a_tier_without_rows_is_not_there() -> None:
    """Guards against a tier of NaN, and against tiers out of order."""
    measured = break_down(graded_rows(season_average=[26.0, 3.0, np.nan, 3.0]))
    assert measured is not None
    assert [(name, each.metrics.n) for name, each in measured.by["tier"].items()] == [
        ("0-5", 2), ("25+", 1), ("no history", 1),
    ]  # fmt: skip
    assert break_down(graded_rows(points=[1.0]).slice(0, 0)) is None


def test_groups_are_measured_without_copies_of_their_rows() -> None:
    """Guards the memory of the report over all months: a copy of each group, with all its columns, took most of it."""
    n = 20_000
    points, average = np.arange(n) % 30.0, np.arange(n) % 28.0
    days = [DAY + timedelta(days=i // 500) for i in range(n)]
    table = graded_rows(points=points.tolist(), season_average=average.tolist(), game_date=days)
    break_down(table)  # what is kept for later calls
    tracemalloc.start()
    try:
        break_down(table)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak / n < 200


def test_coverage_counts_the_ends_as_inside() -> None:
    """Guards against an interval that excludes the very result at its end, and against below and above exchanged."""
    coverage = whole(graded_rows(points=[2.0, 18.0, 1.0, 19.0, 20.0])).coverage
    assert (coverage.n, coverage.inside, coverage.below, coverage.above, coverage.nominal) == (5, 0.4, 0.2, 0.4, 0.8)


# --- Wilson's interval ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hits", "n", "low", "high"),
    # R. G. Newcombe, Statistics in Medicine 17 (1998), 857-872, table I, method 3 (Wilson's score method).
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_intervals_are_the_published_ones(hits: int, n: int, low: float, high: float) -> None:
    """Guards against a formula mistyped: four intervals as the literature tabulates them."""
    found = proportion(hits, n)
    assert found is not None
    assert (round(found.low, 4), round(found.high, 4)) == (low, high)


@given(st.integers(1, 3000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_a_proportion_lies_in_its_interval_and_the_interval_within_0_and_1(pair: tuple[int, int]) -> None:
    """Guards against a hit rate beyond 100%, and against one side that is not the mirror of the other."""
    hits, n = pair
    found, mirror = proportion(hits, n), proportion(n - hits, n)
    assert found is not None
    assert mirror is not None
    assert 0 <= found.low <= found.share <= found.high <= 1
    assert (found.low, found.high) == pytest.approx((1 - mirror.high, 1 - mirror.low), abs=2e-6)


def test_a_proportion_of_nothing_is_none() -> None:
    """Guards against 0 of 0 shown as 0%."""
    assert proportion(0, 0) is None


def test_the_digest_names_rows_and_report(trained: Trained) -> None:
    """Guards against a data version that stays while a result was corrected, or that changes from run to run."""
    snapshot = snapshot_of(MONTH)
    corrected = snapshot.table.column("points").to_numpy().copy()
    corrected[0] += 1
    first, again = (grade(trained, snapshot) for _ in range(2))
    assert first.digest == again.digest
    assert grade(trained, with_columns(snapshot, points=corrected)).digest != first.digest
    more = replace(snapshot, counts=replace(snapshot.counts, without_result=99))
    assert grade(trained, more).digest != first.digest


def test_prices_of_different_books_settle_bets_and_are_no_market(trained: Trained) -> None:
    """Guards against a probability that no bookmaker stated: over of one book and under of another, less a margin."""
    snapshot = some_lines()
    made = scored(trained, snapshot)
    n = made.table.num_rows
    whose = made.table.select(["player_lookup", "game_date"])
    prices = whose.append_column("over_price", pa.array([1.4] * n)).append_column("under_price", pa.array([3.5] * n))
    separate = np.arange(n) % 2 == 0
    priced = prices.append_column("separate_prices", pa.array([each or None for each in separate.tolist()], pa.bool_()))
    at_prices = made.at_prices(priced)
    graded = grade_month(at_prices, snapshot, MONTH, V2_33FEATURES, priced)
    rows = graded.table.to_pandas()
    lined = rows["current_points_line"].notna()
    both = rows["over_price"].notna() & rows["under_price"].notna()
    own = np.where(rows["model_points"] >= rows["current_points_line"], rows["over_price"], rows["under_price"])
    assert (lined & ~both).sum() > 10
    assert set(own[lined & ~both]) == {1.4, 3.5}
    whole = grade_month(at_prices, snapshot, MONTH, V2_33FEATURES, prices).report.market
    assert whole is not None
    assert graded.report.market is not None
    assert whole.prices is not None
    assert graded.report.market.prices is not None
    assert graded.report.market.prices.model.n < whole.prices.model.n
    assert graded.report.market.bets == whole.bets is not None
