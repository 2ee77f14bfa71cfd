"""A real month (January 2022) scored by the model of the months before it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from nba_ml.contract.errors import SplitError, StaleInputError
from nba_ml.contract.features import V2_33FEATURES
from nba_ml.contract.systems import XGBOOST_V1
from nba_ml.data.snapshot import Snapshot
from nba_ml.data.split import split_by_date
from nba_ml.data.table_digest import table_digest
from nba_ml.data.tables import PREDICTIONS
from nba_ml.evaluation.predictions import MonthPredictions, make_predictions
from nba_ml.model.fitting import predict
from nba_ml.model.published import published_columns
from nba_ml.model.record import TrainingReport
from nba_ml.model.values import TrainedModel
from nba_ml_tests.conftest import QUICK, Trained, snapshot_of

MONTH = "2022-01"


def with_columns(snapshot: Snapshot, **columns: np.ndarray) -> Snapshot:
    """The snapshot with other values in some columns."""
    table = snapshot.table
    for name, values in columns.items():
        at = table.schema.get_field_index(name)
        table = table.set_column(at, table.schema.field(at), pa.array(values, from_pandas=False))
    return replace(snapshot, table=table)


def with_lines(snapshot: Snapshot, lines: np.ndarray) -> Snapshot:
    """The snapshot with lines, NaN for none."""
    return with_columns(snapshot, vegas_points_line=lines, has_vegas_line=(~np.isnan(lines)).astype(float))


def model_of(trained: Trained) -> TrainedModel:
    return TrainedModel(trained.report, trained.fitted.booster)


def scored(trained: Trained, snapshot: Snapshot) -> MonthPredictions:
    return make_predictions(snapshot, model_of(trained), MONTH, XGBOOST_V1, threads=1)


def trusting(trained: Trained, trust: float = 1.0) -> Trained:
    """The model, as if rows with lines had shown that it knows all that they do: else hardly a bet is worth it."""
    calibration = trained.report.spread
    assert calibration is not None
    sure = calibration.model_copy(update={"line_trust": trust})
    return replace(trained, report=trained.report.model_copy(update={"distribution": sure}))


def column(made: MonthPredictions, name: str) -> np.ndarray:
    return np.asarray(made.table.column(name).to_pylist())


def test_every_sample_is_scored_as_the_booster_scores_it(trained: Trained) -> None:
    """Guards against predictions in another order than their rows, or of another model than they name."""
    snapshot = snapshot_of(MONTH)
    made = scored(trained, snapshot)
    rows = snapshot.table
    features = np.column_stack([rows.column(name).to_numpy() for name in V2_33FEATURES.names]).astype(np.float32)
    assert made.table.schema == PREDICTIONS
    for key in ("player_lookup", "game_date", "game_id"):
        assert made.table.column(key).equals(rows.column(key))
    raw = np.clip(predict(trained.fitted.booster, features, 1).astype(float), 0, 60)
    assert np.abs(column(made, "predicted_points") - raw).max() <= 0.005 + 1e-9
    assert made.model is not None
    assert set(column(made, "model_version")) == {trained.record.model_id} == {made.model.model_version}
    assert set(column(made, "model_sha256")) == {trained.record.model_sha256}
    assert (made.model.validation, made.model.newest_month) == (trained.record.metrics.validation, "2021-12")
    assert {name: set(column(made, name)) for name in ("system_id", "model_type", "feature_version")} == {
        "system_id": {"xgboost_v1"},
        "model_type": {"xgboost"},
        "feature_version": {"v2_33features"},
    }


def test_without_lines_there_is_no_bet_and_no_number_made_up(trained: Trained) -> None:
    """Guards against an over probability, or a margin, against a line that nobody listed."""
    made = scored(trained, snapshot_of(MONTH))
    assert set(column(made, "recommendation")) == {"NO_LINE"}
    for name in ("current_points_line", "line_margin", "over_probability"):
        assert np.isnan(column(made, name)).all()
        assert made.table.column(name).null_count == 0
    low, points, high = (column(made, n) for n in ("points_low", "predicted_points", "points_high"))
    assert (low <= points).all()
    assert (points <= high).all()
    assert ((column(made, "confidence_score") > 0) & (column(made, "confidence_score") <= 100)).all()


def test_a_bet_is_recommended_at_the_price_of_its_side_where_there_is_one(trained: Trained) -> None:
    """Guards against graded bets that lose money at the price beside them, against the price of the other side or of
    another row, and against a digest that stays while the recommendations change."""
    snapshot = snapshot_of(MONTH)
    made = scored(trusting(trained, 0.1), with_lines(snapshot, np.arange(snapshot.table.num_rows) % 12 + 4.5))
    assert made.at_prices(None) is made
    rows = made.table.to_pylist()
    random = np.random.default_rng(3)
    quotes = (None, 1.2, 1.5, 1.9, 2.6, 4.0)
    quoted = [[quotes[at] for at in random.integers(len(quotes), size=2)] for _ in rows]
    named = ("over_price", "under_price")
    listed = [
        {name: row[name] for name in ("player_lookup", "game_date")} | dict(zip(named, both, strict=True))
        for row, both in zip(rows, quoted, strict=True)
    ][::2]
    random.shuffle(listed)
    priced = made.at_prices(pa.Table.from_pylist(listed))
    expected = []
    for at, (row, (over, under)) in enumerate(zip(rows, quoted, strict=True)):
        margin = round(row["model_points"] - row["current_points_line"], 6)
        price = (over if margin > 0 else under) if at % 2 == 0 else None
        worth_it = row["confidence_score"] / 100 > (110 / 210 if price is None else 1 / price)
        bet = "OVER" if margin > 0 else "UNDER"
        expected.append(bet if worth_it and abs(margin) >= 1.5 else "PASS")
    found = column(priced, "recommendation").tolist()
    assert found == expected
    plain = column(made, "recommendation").tolist()
    assert {(before, after) for before, after in zip(plain, found, strict=True) if before != after} == {
        ("PASS", "OVER"), ("PASS", "UNDER"), ("OVER", "PASS"), ("UNDER", "PASS"),
    }  # fmt: skip
    assert priced.digest != made.digest
    assert priced.table.drop_columns(["recommendation"]).equals(made.table.drop_columns(["recommendation"]))


def test_lines_for_some_rows_bet_there_and_nowhere_else(trained: Trained) -> None:
    """Guards against a line that reaches another row, and against a probability of another row."""
    snapshot = snapshot_of(MONTH)
    lines = np.full(snapshot.table.num_rows, np.nan)
    lines[::50] = np.arange(len(lines[::50])) % 12 + 4.5
    trained = trusting(trained)
    made = scored(trained, with_lines(snapshot, lines))
    there = ~np.isnan(lines)
    told, over = column(made, "recommendation"), column(made, "over_probability")
    assert set(told[there]) == {"OVER", "UNDER", "PASS"}
    assert set(told[~there]) == {"NO_LINE"}
    assert np.array_equal(np.isnan(over), ~there)
    assert np.array_equal(column(made, "current_points_line")[there], lines[there])
    calibration, points = trained.report.spread, column(made, "predicted_points")
    assert calibration is not None
    np.testing.assert_allclose(over, calibration.over_probability(points, lines), atol=5e-5)
    np.testing.assert_allclose(
        column(made, "confidence_score"), calibration.confidence_score(points, lines), atol=5e-3 + 1e-9
    )


def test_the_results_of_the_month_take_no_part(trained: Trained) -> None:
    """Guards against a leak: were the players to score otherwise, the predictions would be the same."""
    snapshot = snapshot_of(MONTH)
    otherwise = with_columns(
        snapshot,
        points=snapshot.table.column("points").to_numpy()[::-1].copy(),
        minutes_played=np.ones(snapshot.table.num_rows),
    )
    assert scored(trained, snapshot).digest == scored(trained, otherwise).digest


def test_other_rows_or_another_model_have_another_digest(trained: Trained) -> None:
    """Guards against a data version that stays while what it names has changed."""
    snapshot = snapshot_of(MONTH)
    half = replace(snapshot, table=snapshot.table.slice(0, 100))
    empty = replace(snapshot, table=snapshot.table.slice(0, 0))
    nobody = make_predictions(empty, None, MONTH, XGBOOST_V1, threads=1)
    assert len({scored(trained, each).digest for each in (snapshot, half, empty)} | {nobody.digest}) == 4


@pytest.mark.parametrize("rows", [0, 1, 20])
def test_small_months_are_scored_as_they_would_be_in_a_large_one(trained: Trained, rows: int) -> None:
    """Guards against a crash on an October without samples, and against a row that depends on its neighbours."""
    snapshot = snapshot_of(MONTH)
    made = scored(trained, replace(snapshot, table=snapshot.table.slice(7, rows)))
    assert table_digest(made.table) == table_digest(scored(trained, snapshot).table.slice(7, rows))
    assert made.model is not None


def test_no_model_gives_no_row_and_no_error() -> None:
    """Guards against a first month, or one after an empty October, that turns the backfill red."""
    untrained = TrainedModel(
        TrainingReport(split=split_by_date({}), parameters=QUICK, feature_version="v2_33features"), None
    )
    for model in (None, untrained):
        made = make_predictions(snapshot_of("2021-11"), model, "2021-11", XGBOOST_V1, threads=1)
        assert (made.table.num_rows, made.table.schema, made.model) == (0, PREDICTIONS, None)


@pytest.mark.parametrize("month", ["2021-11", "2021-12"])
def test_a_month_that_the_model_has_seen_is_refused(trained: Trained, month: str) -> None:
    """Guards against grades of memories: the model of December scoring December."""
    with pytest.raises(SplitError, match=rf"trained on games up to 2021-12-31, but the first game of {month} is on"):
        make_predictions(snapshot_of(month), model_of(trained), month, XGBOOST_V1, threads=1)


@pytest.mark.parametrize("dates", [1, 10])
def test_a_model_that_was_given_part_of_the_month_is_refused(trained: Trained, dates: int) -> None:
    """Guards against grades of memories: the model of a running month, though its last game is the month's first."""
    days = {each: snapshot_of(each).table.column("game_date").to_numpy() for each in ("2021-11", "2021-12", MONTH)}
    last = np.unique(days[MONTH])[dates - 1]
    days[MONTH] = days[MONTH][days[MONTH] <= last]
    split = split_by_date({each: (snapshot_of(each).digest, days[each]) for each in days})
    running = TrainedModel(trained.report.model_copy(update={"split": split}), trained.fitted.booster)
    with pytest.raises(SplitError, match=rf"trained on games up to {last}, but the first game of {MONTH} is on"):
        make_predictions(snapshot_of(MONTH), running, MONTH, XGBOOST_V1, threads=1)


def test_a_model_without_a_calibration_says_what_to_do(trained: Trained) -> None:
    """Guards against intervals of NaN from a model that an earlier version trained."""
    old = TrainedModel(
        trained.report.model_copy(update={"calibration": None, "distribution": None}), trained.fitted.booster
    )
    with pytest.raises(
        StaleInputError, match="Materialise xgboost_model again for every month from 2021-12 to 2022-01"
    ):
        make_predictions(snapshot_of(MONTH), old, MONTH, XGBOOST_V1, threads=1)


def test_everything_is_read_off_the_published_points(trained: Trained) -> None:
    """Guards against a worker that rounds first and comes to another interval or bet than the grades have."""
    calibration = trained.report.spread
    assert calibration is not None
    raw, line = np.array([11.0049, 11.0], np.float32), np.array([9.5, 9.5])
    first, second = zip(*(v.tolist() for v in published_columns(raw, line, calibration).values()), strict=True)
    assert first == second
