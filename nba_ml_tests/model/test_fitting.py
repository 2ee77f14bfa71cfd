"""Training: the same rows give the same bytes, any other rows are noticed, and every loader predicts the same."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import pyarrow as pa
import pytest
import xgboost as xgb
from pydantic import ValidationError

from nba_ml.contract.errors import StaleInputError
from nba_ml.contract.features import REPORTED, V2_33FEATURES, V4_FEATURES
from nba_ml.model.fitting import (
    FittedBooster,
    Hyperparameters,
    Samples,
    fit,
    fit_all,
    gather,
    importance,
    load,
    predict,
    rows_to_learn,
)
from nba_ml.model.metrics import measure
from nba_ml_tests.conftest import QUICK, Trained


def refit(trained: Trained, threads: int | None, train: Samples | None = None) -> FittedBooster:
    return fit(train or trained.side("train"), trained.side("early_stopping"), QUICK, V2_33FEATURES, threads)


# --- the rows -------------------------------------------------------------------------------------------------


def test_the_matrix_is_the_snapshots_in_order(trained: Trained) -> None:
    """Guards against columns or months that change places on their way into the matrix."""
    whole = pa.concat_tables([trained.tables["2021-11"], trained.tables["2021-12"]])
    assert len(trained.samples) == whole.num_rows == trained.split.rows
    for i, name in enumerate(V2_33FEATURES.names):
        np.testing.assert_array_equal(trained.samples.features[:, i], whole[name].to_numpy().astype(np.float32))
    np.testing.assert_array_equal(trained.samples.points, whole["points"].to_numpy())
    assert trained.samples.keys.equals(whole.select(["player_lookup", "game_date", "game_id"]))


def test_a_missing_feature_stays_missing(trained: Trained) -> None:
    """Guards against NaN becoming 0 in the matrix: no line would be a line of 0 points."""
    missing = np.isnan(trained.samples.features)
    assert missing[:, V2_33FEATURES.index("vegas_points_line")].all()
    assert missing.any(axis=0).sum() >= 5
    assert not missing[:, [i for i, f in enumerate(V2_33FEATURES.features) if not f.nullable]].any()


@pytest.mark.parametrize("last", [0, 1, 10])
def test_between_takes_both_ends_and_copies_nothing(trained: Trained, last: int) -> None:
    """Guards against a night lost at a cut, and against a second copy of the matrix."""
    first_date = trained.split.sides()["train"].first
    last_date = first_date + timedelta(days=last)
    part = trained.samples.between(first_date, last_date)
    within = (trained.samples.dates >= np.datetime64(first_date)) & (trained.samples.dates <= np.datetime64(last_date))
    np.testing.assert_array_equal(part.points, trained.samples.points[within])
    assert part.keys.equals(trained.samples.keys.filter(pa.array(within)))
    assert np.shares_memory(part.features, trained.samples.features)
    assert len(trained.samples.between(date(2020, 1, 1), date(2020, 12, 31))) == 0


def test_a_changed_snapshot_is_refused(trained: Trained) -> None:
    """Guards against a model whose record names rows that it was not trained on: one value differs by one point."""
    table = trained.tables["2021-12"]
    points = pa.array([table["points"][0].as_py() + 1, *table["points"].to_pylist()[1:]])
    changed = table.set_column(table.column_names.index("points"), table.schema.field("points"), points)
    with pytest.raises(StaleInputError, match="The snapshots of 2021-12 are not the ones that the split was made from"):
        gather({**trained.tables, "2021-12": changed}, trained.split, V2_33FEATURES)


def test_permuted_rows_are_refused(trained: Trained) -> None:
    """Guards against training on permuted rows, which gives another booster from the same games."""
    table = trained.tables["2021-11"]
    permuted = table.take(pa.array([1, 0, *range(2, table.num_rows)]))
    with pytest.raises(StaleInputError, match="2021-11"):
        gather({**trained.tables, "2021-11": permuted}, trained.split, V2_33FEATURES)


def test_missing_snapshots_are_all_named(trained: Trained) -> None:
    """Guards against a KeyError where a month of the split is no longer there."""
    with pytest.raises(StaleInputError, match=r"2021-11, 2021-12 .*Materialise train_split again"):
        gather({}, trained.split, V2_33FEATURES)


# --- the booster ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("threads", [1, 2, None])
def test_the_same_rows_give_the_same_bytes_on_any_number_of_threads(trained: Trained, threads: int | None) -> None:
    """Guards against models that differ from machine to machine: their name is the digest of their bytes."""
    assert refit(trained, threads) == trained.fitted


def test_other_rows_or_another_order_give_other_bytes(trained: Trained) -> None:
    """Guards against the test above passing because nothing ever changes the bytes."""
    train = trained.side("train")
    order = np.random.default_rng(0).permutation(len(train))
    permuted = replace(
        train,
        features=train.features[order],
        points=train.points[order],
        dates=train.dates[order],
        keys=train.keys.take(order),
    )
    assert refit(trained, 2, permuted).booster != trained.fitted.booster


def test_the_booster_is_cut_to_its_best_iteration(trained: Trained) -> None:
    """Guards against a loader that predicts with trees grown after the best: here all trees are the best ones."""
    fitted = trained.fitted
    assert fitted.rounds_run == fitted.best_iteration + 1 + QUICK.early_stopping_rounds
    loaded = xgb.Booster(model_file=bytearray(fitted.booster))
    assert loaded.num_boosted_rounds() == fitted.best_iteration + 1
    assert loaded.attr("best_iteration") is None
    validation = trained.side("validation")
    matrix = xgb.DMatrix(validation.features, feature_names=list(V2_33FEATURES.names))
    ours = predict(fitted.booster, validation.features)
    np.testing.assert_array_equal(loaded.predict(matrix), ours)
    np.testing.assert_array_equal(loaded.predict(matrix, iteration_range=(0, fitted.best_iteration + 1)), ours)


def test_the_saved_bytes_have_the_score_that_stopped_the_training(trained: Trained) -> None:
    """Guards against a cut one round early or late: the MAE of the saved bytes is the best one seen."""
    stopping = trained.side("early_stopping")
    measured = measure(predict(trained.fitted.booster, stopping.features), stopping.points).mae
    assert measured == pytest.approx(trained.fitted.early_stopping_mae, abs=1e-5)


@pytest.mark.parametrize("threads", [1, 2])
def test_a_refit_has_the_same_bytes_on_any_number_of_threads(trained: Trained, threads: int) -> None:
    """Guards against a model id that depends on the machine, now that what ships is fitted anew."""
    rounds = trained.fitted.best_iteration + 1
    booster = fit_all(trained.samples, rounds, QUICK, V2_33FEATURES, threads)
    assert booster == fit_all(trained.samples, rounds, QUICK, V2_33FEATURES, 2)
    assert xgb.Booster(model_file=bytearray(booster)).num_boosted_rounds() == rounds


def test_a_refit_has_seen_the_newest_rows(trained: Trained) -> None:
    """Guards against a refit of the train side alone, which would be the same model once more."""
    validation = trained.side("validation")
    booster = fit_all(trained.samples, trained.fitted.best_iteration + 1, QUICK, V2_33FEATURES, 2)
    seen, unseen = (
        measure(predict(each, validation.features), validation.points).mae for each in (booster, trained.fitted.booster)
    )
    assert seen < unseen - 0.1


def test_training_that_never_stops_early_keeps_all_rounds(trained: Trained) -> None:
    """Guards against losing the last tree where the last round is the best."""
    params = QUICK.model_copy(update={"num_boost_round": 3, "learning_rate": 0.05})
    fitted = fit(trained.side("train"), trained.side("early_stopping"), params, V2_33FEATURES, 2)
    assert (fitted.best_iteration, fitted.rounds_run) == (2, 3)
    assert xgb.Booster(model_file=bytearray(fitted.booster)).num_boosted_rounds() == 3


def test_the_booster_knows_its_features_by_name(trained: Trained) -> None:
    """Guards against a worker that cannot tell a vector in another order."""
    assert xgb.Booster(model_file=bytearray(trained.fitted.booster)).feature_names == list(V2_33FEATURES.names)
    assert trained.fitted.booster.startswith(b"{")


def test_a_row_is_predicted_alike_alone_and_among_others(trained: Trained) -> None:
    """Guards against predictions that depend on the batch or on the threads: a worker predicts one row at a time."""
    features = trained.side("validation").features[:50]
    together = predict(trained.fitted.booster, features, threads=2)
    assert together.dtype == np.float32
    assert np.isfinite(together).all()
    np.testing.assert_array_equal(
        together, [predict(trained.fitted.booster, features[i : i + 1], 1)[0] for i in range(50)]
    )


def test_importance_is_each_features_share_of_the_gain(trained: Trained) -> None:
    """Guards against features lost from the list because no tree splits on them, and against other shares."""
    shares = importance(load(trained.fitted.booster), V2_33FEATURES)
    assert set(shares) == set(V2_33FEATURES.names)
    assert sum(shares.values()) == pytest.approx(1.0, abs=1e-4)
    assert list(shares.values()) == sorted(shares.values(), reverse=True)
    assert shares["vegas_points_line"] == shares["injury_risk"] == 0.0
    assert next(iter(shares)).startswith("points_avg")
    tree_gain = xgb.Booster(model_file=bytearray(trained.fitted.booster)).trees_to_dataframe()
    by_hand = tree_gain[tree_gain["Feature"] != "Leaf"].groupby("Feature")["Gain"].sum()
    assert shares["points_avg_season"] == pytest.approx(by_hand["points_avg_season"] / by_hand.sum(), abs=1e-4)


# --- the parameters -------------------------------------------------------------------------------------------


def test_the_default_parameters_are_the_documented_ones() -> None:
    """Guards against a default that changes unnoticed: every published model would change with it."""
    assert Hyperparameters().booster_params(threads=None) == {
        "objective": "reg:absoluteerror",
        "max_depth": 6,
        "min_child_weight": 10.0,
        "learning_rate": 0.03,
        "subsample": 0.7,
        "colsample_bytree": 0.7,
        "colsample_bylevel": 0.7,
        "gamma": 0.1,
        "reg_alpha": 0.5,
        "reg_lambda": 5.0,
        "seed": 42,
        "tree_method": "hist",
        "eval_metric": "mae",
        "nthread": 0,
        "verbosity": 1,
    }
    assert (Hyperparameters().num_boost_round, Hyperparameters().early_stopping_rounds) == (1000, 50)
    assert Hyperparameters().booster_params(threads=3)["nthread"] == 3


@pytest.mark.parametrize(
    "wrong",
    [{"learning_rate": 0}, {"subsample": 1.5}, {"num_boost_round": 0}, {"max_depth": 17}, {"learningrate": 0.1}],
)
def test_parameters_that_cannot_be_are_refused(wrong: dict[str, float]) -> None:
    """Guards against a typo in the launchpad that XGBoost would only warn about."""
    with pytest.raises(ValidationError):
        Hyperparameters(**wrong)


def test_a_version_with_reports_learns_each_row_with_and_without_them() -> None:
    """Guards a model against days without reports: one that has always known who is out is useless there."""
    rows = np.arange(3 * V4_FEATURES.count, dtype=np.float32).reshape(3, -1)
    keys = pa.table({"player_lookup": ["a", "b", "c"], "game_date": [date(2024, 1, 1)] * 3, "game_id": ["g"] * 3})
    samples = Samples(rows, np.array([1, 2, 3], np.float32), keys["game_date"].to_numpy(), keys)
    learned = rows_to_learn(samples, V4_FEATURES)
    assert len(learned) == learned.keys.num_rows == len(learned.dates) == 6
    out = [V4_FEATURES.index(name) for name in REPORTED]
    others = [at for at in range(V4_FEATURES.count) if at not in out]
    np.testing.assert_array_equal(learned.features[:3], rows)
    assert np.isnan(learned.features[3:, out]).all()
    np.testing.assert_array_equal(learned.features[3:, others], rows[:, others])
    assert not np.isnan(samples.features).any(), "the rows that are measured keep their reports"
    assert rows_to_learn(samples, V2_33FEATURES) is samples
