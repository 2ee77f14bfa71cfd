"""Checks of a booster's quality: each on the real model, and on what it would have been with one number changed."""

from __future__ import annotations

from typing import Any

import pytest

from nba_ml.checks.check import Finding, Severity
from nba_ml.checks.xgboost_model import BEATEN, checks
from nba_ml.contract.thresholds import Thresholds
from nba_ml.data.split import split_by_date
from nba_ml.model.calibration import Coverage, CoverageReport
from nba_ml.model.metrics import Interval, PredictionMetrics
from nba_ml.model.record import TrainingReport
from nba_ml.model.values import TrainedModel
from nba_ml_tests.checks.scenes import scene, told
from nba_ml_tests.conftest import QUICK, Trained

MONTH = "2021-12"
CHECKS = {check.name: check for check in checks(Thresholds())}


def examined(name: str, model: TrainedModel) -> Finding:
    return CHECKS[name].examine(model, scene(MONTH))


def described(name: str, model: TrainedModel) -> tuple[bool, str, str]:
    return told(CHECKS[name], examined(name, model))


def had(trained: Trained, **changed: Any) -> TrainedModel:
    """The real model, had it been judged so."""
    judgement = trained.record.metrics.model_copy(update=changed)
    return TrainedModel(trained.report.model_copy(update={"judgement": judgement}), trained.fitted.booster)


def validated(trained: Trained, **changed: float) -> TrainedModel:
    """The real model, had its validation metrics been so."""
    return had(trained, validation=trained.record.metrics.validation.model_copy(update=changed))


@pytest.mark.parametrize("name", CHECKS)
def test_no_model_yet_passes_and_says_so(name: str) -> None:
    """Guards against an October before the first model that turns the backfill red."""
    report = TrainingReport(split=split_by_date({}), parameters=QUICK, feature_version="v2_33features")
    finding = examined(name, TrainedModel(report, None))
    assert (finding.passed, finding.value, finding.n) == (True, "no model yet", 0)


def test_what_a_check_measures_is_called_the_same_with_a_model_and_without(trained: Trained) -> None:
    """Guards against a curve over months that breaks where the first model comes."""
    nothing = TrainingReport(split=split_by_date({}), parameters=QUICK, feature_version="v2_33features")
    for name in CHECKS:
        assert examined(name, had(trained)).metric == examined(name, TrainedModel(nothing, None)).metric


# --- MAE ------------------------------------------------------------------------------------------------------


def test_a_real_model_passes_with_its_interval(trained: Trained) -> None:
    """Guards against a check that refuses real models, or shows a score without its population and interval."""
    judgement = trained.record.metrics
    low, high = judgement.validation_mae_interval.low, judgement.validation_mae_interval.high
    for name in ("validation_mae", "not_too_good"):
        finding = examined(name, had(trained))
        assert finding.passed
        assert (finding.value, finding.n) == (judgement.validation.mae, judgement.validation.n)
        assert finding.interval == f"95% {low:.3f} to {high:.3f}"


@pytest.mark.parametrize(("mae", "passes"), [(4.999999, True), (5.0, True), (5.000001, False), (6.4, False)])
def test_a_model_above_five_points_fails(trained: Trained, mae: float, passes: bool) -> None:
    """Guards against a limit that moved: above 5.0 a model is worse than every average of past points."""
    passed, message, _ = described("validation_mae", validated(trained, mae=mae))
    assert passed is passes
    verb = "passed" if passes else "failed"
    assert message.startswith(f"{verb}: Validation MAE: {mae:.3f} points (95% ")
    assert "), required: validation MAE at most 5.0 points. 1,852 rows." in message
    advice = "with few months of training data a model overfits. Backfill earlier months, or train a later one."
    assert message.endswith(advice) is not passes


@pytest.mark.parametrize(("mae", "passes"), [(4.5, True), (4.500001, False)])
def test_a_model_that_is_not_good_yet_warns(trained: Trained, mae: float, passes: bool) -> None:
    """Guards against a warning that never comes, and one that blocks."""
    assert examined("validation_mae_good", validated(trained, mae=mae)).passed is passes
    assert (CHECKS["validation_mae_good"].severity, CHECKS["validation_mae_good"].blocking) == (Severity.WARN, False)


@pytest.mark.parametrize(("mae", "passes"), [(4.0, True), (3.999999, False), (3.4, False)])
def test_a_model_that_is_too_good_is_a_leak(trained: Trained, mae: float, passes: bool) -> None:
    """Guards against 3.40 points being celebrated once more."""
    passed, message, _ = described("not_too_good", validated(trained, mae=mae))
    assert passed is passes
    assert ("A feature of 2021-12 contains the results." in message) is not passes


@pytest.mark.parametrize(("distance", "passes"), [(0.0, True), (1.5, True), (1.500001, False)])
def test_a_refit_that_predicts_otherwise_is_not_what_was_measured(
    trained: Trained, distance: float, passes: bool
) -> None:
    """Guards against numbers that vouch for a booster which was never measured."""
    passed, message, _ = described("refit_agrees", had(trained, refit_distance=distance))
    assert passed is passes
    assert ("The booster fitted on all rows predicts differently" in message) is not passes


# --- baselines ------------------------------------------------------------------------------------------------


def against(trained: Trained, baseline: str, gain: float, low: float, high: float) -> TrainedModel:
    """The real model, had it been better than a baseline by so much."""
    measured = trained.record.metrics.baselines
    result = measured[baseline].model_copy(update={"gain": gain, "gain_interval": Interval(low=low, high=high)})
    return had(trained, baselines={**measured, baseline: result})


@pytest.mark.parametrize("baseline", BEATEN)
def test_a_model_must_beat_a_baseline_by_more_than_luck(trained: Trained, baseline: str) -> None:
    """Guards against a model that ships because its mean is a hair better on these games."""
    name = f"beats_{baseline}"
    assert examined(name, against(trained, baseline, 0.1, 0.0001, 0.2)).passed
    for low in (0.0, -0.05):
        passed, message, _ = described(name, against(trained, baseline, 0.1, low, 0.2))
        assert not passed
        assert "The model is better by 0.100 points on the same" in message
        assert f"that can be chance: the interval begins at {low:.3f}" in message


@pytest.mark.parametrize(("baseline", "called"), BEATEN.items())
def test_an_owner_reads_who_is_better_and_by_how_much(trained: Trained, baseline: str, called: str) -> None:
    """Guards against a refusal that only its author understands."""
    passed, message, _ = described(f"beats_{baseline}", against(trained, baseline, -0.006, -0.09, 0.07))
    assert not passed
    n = trained.record.metrics.baselines[baseline].metrics.n
    assert f"{called.capitalize()} is better by 0.006 points on the same {n:,} rows." in message
    assert "backfill earlier months, or train a later one" in message


def test_a_baseline_that_was_not_measured_is_not_beaten(trained: Trained) -> None:
    """Guards against a gate that opens because the season's averages are missing."""
    others = {name: result for name, result in trained.record.metrics.baselines.items() if name != "season_average"}
    passed, message, _ = described("beats_season_average", had(trained, baselines=others))
    assert not passed
    assert "the season average: not measured, required: " in message
    assert "The season average has no value on any validation row of 2021-12" in message


def test_a_gain_that_the_owner_demands_is_held_to(trained: Trained) -> None:
    """Guards against a limit of the user's that is shown and not applied."""
    limits = Thresholds(min_gain=0.05)
    [check] = [each for each in checks(limits) if each.name == "beats_mock"]
    assert not check.examine(against(trained, "mock", 0.1, 0.04, 0.2), scene(MONTH, limits=limits)).passed
    assert check.examine(against(trained, "mock", 0.1, 0.06, 0.2), scene(MONTH, limits=limits)).passed


# --- lean -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("above", "equal", "passes"),
    [(0.55, 0.0, True), (0.550001, 0.0, False), (0.45, 0.0, True), (0.449999, 0.0, False), (0.1, 0.4, True)],
)
def test_a_median_halves_the_results(trained: Trained, above: float, equal: float, passes: bool) -> None:
    """Guards against a retrain whose bets lean to one side; results on the prediction count for either side."""
    model = had(trained, above_prediction=above, equal_to_prediction=equal)
    passed, message, _ = described("results_above_prediction", model)
    assert passed is passes
    if not passes:
        assert f"The predictions are too {'low' if above > 0.55 else 'high'}" in message


@pytest.mark.parametrize(("bias", "passes"), [(-1.2, True), (-1.3, False), (0.6, True), (0.7, False)])
def test_a_bias_warns(trained: Trained, bias: float, passes: bool) -> None:
    """Guards against a sign that was turned: a median lies below the mean, so the limits are not symmetric."""
    passed, message, _ = described("bias", validated(trained, bias=bias))
    assert passed is passes
    if not passes:
        assert f"{abs(bias):.2f} points too {'low' if bias < 0 else 'high'}" in message


def tier(n: int, bias: float) -> PredictionMetrics:
    return PredictionMetrics(n=n, mae=5.0, rmse=6.0, bias=bias, within_3=0.4, within_5=0.6)


def test_a_tier_that_is_priced_wrongly_warns_by_name(trained: Trained) -> None:
    """Guards against stars and bench players that are wrong in opposite ways behind a mean of nothing."""
    model = had(trained, tiers={"0-5": tier(2000, 1.9), "5-10": tier(2000, -0.2), "25+": tier(300, -3.0)})
    passed, message, worst = described("tier_bias", model)
    assert not passed
    assert "Largest bias of a season-average tier: -3.000 points, " in message
    assert "Players of the tiers 25+ and 0-5 are mispriced" in message
    assert worst.index("25+") < worst.index("5-10")


def test_a_tier_of_few_rows_is_not_called_biased(trained: Trained) -> None:
    """Guards against a warning each month for three players whose season has just begun."""
    few = {"no history": tier(9, -4.0), "5-10": tier(2000, -0.2)}
    assert examined("tier_bias", had(trained, tiers=few)).passed
    one = {"no history": tier(1, -4.0).model_copy(update={"rmse": 4.0}), "5-10": tier(2000, -0.2)}
    assert examined("tier_bias", had(trained, tiers=one)).passed
    many = {"no history": tier(900, -4.0), "5-10": tier(2000, -0.2)}
    assert not examined("tier_bias", had(trained, tiers=many)).passed


# --- overfitting, range, coverage -----------------------------------------------------------------------------


def test_a_model_that_learnt_its_rows_by_heart_warns(trained: Trained) -> None:
    """Guards against a gap taken the wrong way round."""
    train = trained.record.metrics.train.mae
    assert examined("train_gap", validated(trained, mae=train + 1.4)).passed
    assert examined("train_gap", validated(trained, mae=train - 3.0)).passed
    passed, message, _ = described("train_gap", validated(trained, mae=train + 1.6))
    assert not passed
    assert "the model overfits" in message


@pytest.mark.parametrize(
    ("lowest", "highest", "passes"),
    [(-0.99, 60.99, True), (-1.1, 30.0, False), (0.0, 61.1, False), (float("nan"), float("nan"), False)],
)
def test_predictions_that_no_player_scores_stop_the_run(
    trained: Trained, lowest: float, highest: float, passes: bool
) -> None:
    """Guards against other units and NaN; a tree that overshoots zero by a little is no fault."""
    model = had(trained, lowest_prediction=lowest, highest_prediction=highest)
    passed, message, _ = described("predictions_in_range", model)
    assert passed is passes
    assert f": {lowest:.2f} to {highest:.2f} points, required: " in message
    assert CHECKS["predictions_in_range"].stops_run


def coverage(n: int, inside: float) -> Coverage:
    return Coverage(n=n, nominal=0.8, inside=inside, below=(1 - inside) / 2, above=(1 - inside) / 2)


@pytest.mark.parametrize(
    ("n", "inside", "passes"),
    [(100_000, 0.821, True), (100_000, 0.825, False), (100_000, 0.775, False), (400, 0.855, True), (400, 0.865, False)],
)
def test_an_interval_that_does_not_hold_what_it_says_warns(
    trained: Trained, n: int, inside: float, passes: bool
) -> None:
    """Guards against confidence scores that promise too much, and a warning for what 400 rows do by chance."""
    report = CoverageReport(overall=coverage(n, inside), tiers={})
    assert examined("interval_coverage", had(trained, coverage=report, distribution=None)).passed is passes


def test_an_interval_that_is_too_narrow_for_stars_warns(trained: Trained) -> None:
    """Guards against a coverage that is right on average and wrong for those who are bet on."""
    tiers = {"0-5": coverage(4000, 0.84), "25+": coverage(700, 0.70), "no history": coverage(5, 0.6)}
    report = CoverageReport(overall=coverage(5000, 0.8), tiers=tiers)
    passed, message, worst = described("tier_coverage", had(trained, coverage=report, distribution=None))
    assert not passed
    assert "The intervals of players of the tiers 25+ are too narrow or too wide" in message
    assert worst.index("25+") < worst.index("no history")
    whole = {"0-5": coverage(4000, 0.84), "no history": coverage(5, 0.6)}
    assert examined(
        "tier_coverage", had(trained, coverage=report.model_copy(update={"tiers": whole}), distribution=None)
    ).passed
