"""Challengers on the same split: fitted on train, tuned on early stopping, measured where the model is measured."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec

import numpy as np
import numpy.typing as npt
import pytest

from nba_ml.contract.errors import MissingExtraError, SplitError
from nba_ml.contract.features import V2_33FEATURES
from nba_ml.data.split import SplitManifest
from nba_ml.model import challengers
from nba_ml.model.challengers import (
    CHALLENGERS,
    RIDGE_STRENGTHS,
    ChallengerReport,
    fit_catboost,
    fit_lightgbm,
    fit_ridge,
    measure_challengers,
)
from nba_ml.model.fitting import Samples, predict
from nba_ml.model.metrics import interval_over_days, measure
from nba_ml_tests.conftest import Trained

Floats = npt.NDArray[np.float64]

EXTRAS = {"lightgbm": fit_lightgbm, "catboost": fit_catboost}


def samples(features: npt.NDArray[np.floating], points: npt.NDArray[np.floating], like: Samples) -> Samples:
    """Rows of one's own making, on the days of others."""
    rows = len(points)
    return Samples(features.astype(np.float32), points.astype(np.float32), like.dates[:rows], like.keys.slice(0, rows))


def shuffled(rows: Samples, seed: int) -> Samples:
    """The same rows with each other's results."""
    order = np.random.default_rng(seed).permutation(len(rows))
    return Samples(rows.features, rows.points[order], rows.dates, rows.keys)


def without_extras(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the extra had not been installed."""
    for name in EXTRAS:
        monkeypatch.delitem(sys.modules, name, raising=False)

    def absent(name: str) -> object:
        if name in EXTRAS:
            raise ModuleNotFoundError(f"No module named '{name}'", name=name)
        return import_module(name)

    monkeypatch.setattr(challengers, "import_module", absent)


def test_ridge_solves_the_textbook_equation(trained: Trained) -> None:
    """Guards against a penalty on the intercept, a scale forgotten or a sign: solved again, by brute force."""
    rng = np.random.default_rng(1)
    features = rng.normal(10, [1, 5, 20], (400, 3))
    points = 20 + features @ [0.5, -0.2, 0.1] + rng.normal(0, 3, 400)
    train = samples(features[:300], points[:300], trained.samples)
    stopping = samples(features[300:], points[300:], trained.samples)
    found = fit_ridge(train, stopping, V2_33FEATURES, None)(stopping.features)

    x, y = train.features.astype(np.float64), train.points.astype(np.float64)
    standard, watched = ((rows - x.mean(axis=0)) / x.std(axis=0) for rows in (x, stopping.features))

    def expected(strength: float) -> Floats:
        weights = np.linalg.solve(standard.T @ standard + strength * len(x) * np.eye(3), standard.T @ (y - y.mean()))
        return np.asarray(y.mean() + watched @ weights)

    best = min(RIDGE_STRENGTHS, key=lambda strength: float(np.abs(expected(strength) - stopping.points).mean()))
    assert found == pytest.approx(expected(best), abs=1e-6)


def test_ridge_imputes_the_median_of_train_and_tells_missing_from_known(trained: Trained) -> None:
    """Guards against a hole filled from the rows to predict, and a missing value that means nothing: here it is
    worth 10 points, and a column never known on train, or never varying there, must not disturb."""
    rng = np.random.default_rng(2)
    known = rng.normal(0, 1, 600)
    missing = rng.random(600) < 0.3
    features = np.stack([np.where(missing, np.nan, known), np.full(600, np.nan), np.full(600, 7.0)], axis=1)
    points = 20 + np.where(missing, 10.0, known) + rng.normal(0, 0.1, 600)
    train = samples(features[:400], points[:400], trained.samples)
    stopping = samples(features[400:], points[400:], trained.samples)
    predictor = fit_ridge(train, stopping, V2_33FEATURES, None)
    assert np.abs(predictor(stopping.features) - stopping.points).mean() < 0.2
    changed = stopping.features.copy()
    changed[:, 1], changed[:, 2] = 50.0, 9.0  # known at last, and another value: train said nothing about either
    assert predictor(changed)[0] == pytest.approx(predictor(stopping.features)[0], abs=1e-6)
    alone = predictor(stopping.features[missing[400:]][:1])
    assert alone == pytest.approx(predictor(stopping.features)[missing[400:]][:1])


def test_ridge_never_predicts_below_zero(trained: Trained) -> None:
    """Guards against a straight line that gives the end of the bench fewer than 0 points."""
    features = np.linspace(0, 10, 200)[:, None]
    train = samples(features, np.maximum(3 * features[:, 0] - 12, 0), trained.samples)
    assert fit_ridge(train, train, V2_33FEATURES, None)(np.array([[-5.0]], dtype=np.float32))[0] == 0.0


def test_ridge_strength_is_chosen_on_the_early_stopping_side(trained: Trained) -> None:
    """Guards against a strength chosen on train, which always takes the weakest: noise there asks for the strongest."""
    train, stopping = trained.side("train"), trained.side("early_stopping")
    noise = shuffled(train, seed=3)
    flat = Samples(stopping.features, np.full_like(stopping.points, noise.points.mean()), stopping.dates, stopping.keys)
    gentle = fit_ridge(noise, flat, V2_33FEATURES, None)(stopping.features)
    eager = fit_ridge(noise, noise, V2_33FEATURES, None)(stopping.features)
    assert gentle.std() < eager.std()


def test_the_comparison_is_on_the_validation_rows_and_paired(trained: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards against other rows, an unpaired interval, or a gain with the wrong sign: every figure computed again."""
    without_extras(monkeypatch)
    booster, validation = trained.fitted.booster, trained.side("validation")
    report = measure_challengers(trained.samples, trained.split, booster, V2_33FEATURES, 1)
    theirs = fit_ridge(trained.side("train"), trained.side("early_stopping"), V2_33FEATURES, 1)(validation.features)
    ours = predict(booster, validation.features)
    gain = np.abs(theirs - validation.points) - np.abs(ours.astype(np.float64) - validation.points)
    result = report.results["ridge"]
    assert result.metrics == measure(theirs, validation.points)
    assert result.model_mae == trained.report.judgement.validation.mae  # type: ignore[union-attr]
    assert result.gain == pytest.approx(result.metrics.mae - result.model_mae, abs=1e-5)
    assert result.gain_interval == interval_over_days(gain, validation.dates)
    assert result.gain_interval.low < result.gain < result.gain_interval.high
    assert 3.5 < result.metrics.mae < 5.5


@pytest.mark.slow
def test_no_validation_result_reaches_a_challenger(trained: Trained) -> None:
    """Guards against a challenger that saw what it is measured on: other validation results, the same predictions."""
    side = trained.split.sides()["validation"]
    changed = trained.samples.points.copy()
    changed[trained.samples.dates >= np.datetime64(side.first)] = 60.0
    other = Samples(trained.samples.features, changed, trained.samples.dates, trained.samples.keys)
    one, two = (
        measure_challengers(each, trained.split, trained.fitted.booster, V2_33FEATURES, 1)
        for each in (trained.samples, other)
    )
    mean = trained.side("validation").points.mean()
    for name in one.results:
        predicted = one.results[name].metrics.bias + mean, two.results[name].metrics.bias + 60.0
        assert predicted[0] == pytest.approx(predicted[1], abs=1e-4), name


def test_what_is_not_installed_is_named_and_the_rest_still_compared(
    trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards against a missing extra that stops the comparison, or that silently drops out of it."""
    without_extras(monkeypatch)
    report = measure_challengers(trained.samples, trained.split, trained.fitted.booster, V2_33FEATURES, 1)
    assert set(report.results) == {"ridge"}
    assert report.not_installed == ("lightgbm", "catboost")
    assert ChallengerReport.model_validate_json(report.model_dump_json()) == report


@pytest.mark.parametrize("name", EXTRAS)
def test_a_missing_library_says_which_extra_to_install(
    name: str, trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards against a bare ModuleNotFoundError, which names a library that the user never asked for."""
    without_extras(monkeypatch)
    with pytest.raises(MissingExtraError, match=rf"{name} is not installed.*nba_ml\[challengers\]"):
        CHALLENGERS[name](trained.side("train"), trained.side("early_stopping"), V2_33FEATURES, 1)


def test_a_library_that_is_there_but_broken_is_not_called_missing(
    trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards against 'install the extra' as advice to somebody who has it, without one of its own parts."""

    def broken(_name: str) -> object:
        raise ModuleNotFoundError("No module named 'scipy'", name="scipy")

    monkeypatch.setattr(challengers, "import_module", broken)
    with pytest.raises(ModuleNotFoundError, match="scipy"):
        measure_challengers(trained.samples, trained.split, trained.fitted.booster, V2_33FEATURES, 1)


def test_a_split_without_samples_is_refused(trained: Trained) -> None:
    """Guards against an October, which has no sample, that ends in an unreadable unpacking error."""
    with pytest.raises(SplitError, match="no sample"):
        measure_challengers(trained.samples, SplitManifest(snapshots=()), trained.fitted.booster, V2_33FEATURES, 1)


@pytest.mark.slow
@pytest.mark.parametrize("name", EXTRAS)
def test_an_extra_learns_and_gives_the_same_twice(name: str, trained: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards against a challenger that learns nothing, or whose seed leaves its score to chance."""
    if find_spec(name) is None:
        pytest.skip(f"{name} is an optional extra and not installed here")
    monkeypatch.setattr(challengers, "ROUNDS", 60)  # enough to learn, and little to wait for
    train, stopping, validation = (trained.side(side) for side in trained.split.sides())
    one, two = (CHALLENGERS[name](train, stopping, V2_33FEATURES, 1)(validation.features) for _ in range(2))
    assert np.array_equal(one, two)
    flat = np.abs(np.median(train.points) - validation.points).mean()
    assert np.abs(one - validation.points).mean() < 0.9 * flat
