"""The record beside a booster: complete, repeatable to the byte, and only ever of its own booster."""

from __future__ import annotations

import ast
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jsonschema import Draft202012Validator
from pydantic import ValidationError

import nba_ml
from nba_ml.contract.digest import bytes_digest
from nba_ml.contract.errors import BundleError
from nba_ml.contract.features import V2_33FEATURES
from nba_ml.contract.systems import XGBOOST_V1
from nba_ml.data.split import split_by_date
from nba_ml.model.baselines import predict_baselines
from nba_ml.model.calibration import calibrate, fit_distribution
from nba_ml.model.fitting import fit_all, gather, predict
from nba_ml.model.metrics import interval_over_days
from nba_ml.model.recommendation import publish_points
from nba_ml.model.record import ModelRecord, TrainingReport, judge, make_record, report_training
from nba_ml.model.tiers import TIER_NAMES
from nba_ml.registry.reference import predict_rows
from nba_ml_tests.conftest import QUICK, Trained, snapshot_of
from nba_ml_tests.generated import SCHEMA


def test_record_and_report_go_through_json_and_back(trained: Trained) -> None:
    """Guards against a field that loses digits, or its type, between the store and its reader."""
    data = trained.record.to_bytes()
    assert ModelRecord.model_validate_json(data) == trained.record
    assert ModelRecord.model_validate_json(data).to_bytes() == data
    assert trained.record.digest == bytes_digest(data)
    assert TrainingReport.model_validate_json(trained.report.model_dump_json()) == trained.report


def test_the_record_is_canonical_json_without_nan(trained: Trained) -> None:
    """Guards against bytes that depend on the order of fields, and against NaN, which is no JSON."""
    text = trained.record.to_bytes().decode()

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    content = json.loads(text, parse_constant=refuse)
    assert text == json.dumps(content, sort_keys=True, indent=1, ensure_ascii=False) + "\n"


def test_the_schema_names_every_field_and_lets_no_other_in(trained: Trained) -> None:
    """Guards against a schema that documents less than the record holds, or accepts what nobody defined."""
    schema = ModelRecord.model_json_schema(mode="serialization")
    content = json.loads(trained.record.to_bytes())
    assert not {"engine", "sampling"} & content.keys(), "one process: the bytes of before there was another way"
    later = {"distribution", "engine", "sampling"}  # records of before there was one lack it
    content |= {"engine": None, "sampling": None}
    assert set(schema["required"]) == set(schema["properties"]) - later == set(content) - later
    assert schema["additionalProperties"] is False
    for name in content.keys() - later:
        with pytest.raises(ValidationError, match=name):
            ModelRecord.model_validate({key: value for key, value in content.items() if key != name})
    with pytest.raises(ValidationError, match="created_at"):
        ModelRecord.model_validate({**content, "created_at": "2025-07-01"})


def test_a_real_record_keeps_the_shipped_schema(trained: Trained) -> None:
    """Guards readers in other languages: the file they are given is held against a record by a library of its own."""
    validator = Draft202012Validator(json.loads(SCHEMA.read_text(encoding="utf-8")))
    content = json.loads(trained.record.to_bytes())
    assert not list(validator.iter_errors(content))
    assert list(validator.iter_errors({**content, "newest_month": 202112}))


def test_the_record_says_what_it_is_of(trained: Trained) -> None:
    """Guards against a record that names another model, other months or other features than it was made from."""
    record, sides = trained.record, trained.split.sides()
    sha256 = bytes_digest(trained.fitted.booster)
    assert record.model_sha256 == sha256
    assert record.model_id == f"xgboost_v1_33features_202112_{sha256[:12]}"
    assert (record.newest_month, record.months) == ("2021-12", ("2021-11", "2021-12"))
    assert (record.feature_version, record.feature_names) == ("v2_33features", V2_33FEATURES.names)
    assert (record.first_date, record.last_date) == (str(sides["train"].first), str(sides["validation"].last))
    assert record.rows == len(trained.samples)
    assert record.players == len(set(trained.samples.keys["player_lookup"].to_pylist()))
    assert record.parameters == QUICK
    assert record.best_iteration == trained.fitted.best_iteration
    assert {"python", "xgboost", "numpy", "nba_ml"} <= record.libraries.keys()


def test_the_same_rows_give_the_same_record(trained: Trained) -> None:
    """Guards against a clock, a random choice or a set's order in the record: republishing would be a conflict."""
    report = report_training(
        trained.fitted, trained.fitted.booster, trained.samples, trained.split, QUICK, V2_33FEATURES, threads=1
    )
    again = make_record(report, trained.fitted.booster, XGBOOST_V1)
    assert again.to_bytes() == trained.record.to_bytes()


def test_the_record_of_an_october_is_junes_byte_for_byte(trained: Trained) -> None:
    """Guards against a month without samples publishing the same model a second time under another record."""
    empty = snapshot_of("2021-10")
    tables = {**trained.tables, "2022-10": empty.table}
    months = {month: (ref.digest, tables[month]["game_date"].to_numpy()) for month, ref in _refs(trained).items()}
    split = split_by_date({**months, "2022-10": (empty.digest, empty.table["game_date"].to_numpy())})
    samples = gather(tables, split, V2_33FEATURES)
    report = report_training(trained.fitted, trained.fitted.booster, samples, split, QUICK, V2_33FEATURES, threads=2)
    assert make_record(report, trained.fitted.booster, XGBOOST_V1).to_bytes() == trained.record.to_bytes()


def _refs(trained: Trained) -> dict[str, Any]:
    return {ref.month: ref for ref in trained.split.snapshots}


def test_what_computes_reads_no_clock() -> None:
    """Guards against "now" creeping into what must be the same tomorrow: time comes in as an argument."""
    clocks = {"now", "utcnow", "today", "time", "time_ns", "monotonic", "perf_counter", "localtime", "gmtime"}
    found = [
        f"{file.name}:{node.lineno}"
        for room in ("contract", "data", "model", "evaluation", "checks")
        for file in (Path(nba_ml.__file__).parent / room).rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute | ast.Name)
        and (node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id) in clocks
    ]
    assert found == []


# --- the judgement --------------------------------------------------------------------------------------------


def test_the_judgement_is_of_the_saved_bytes_on_each_side(trained: Trained) -> None:
    """Guards against a score of the wrong side: validation is reported, and was not trained or stopped on."""
    judgement = trained.record.metrics
    for name in ("train", "early_stopping", "validation"):
        side = trained.side(name)
        errors = predict(trained.fitted.booster, side.features).astype(np.float64) - side.points
        metrics = getattr(judgement, name)
        assert metrics.n == len(side)
        assert metrics.mae == pytest.approx(np.abs(errors).mean(), abs=1e-6)
        assert metrics.bias == pytest.approx(errors.mean(), abs=1e-6)
    validation = trained.side("validation")
    errors = np.abs(predict(trained.fitted.booster, validation.features).astype(np.float64) - validation.points)
    assert judgement.validation_mae_interval == interval_over_days(errors, validation.dates)


def test_a_real_model_lies_where_honest_models_lie(trained: Trained) -> None:
    """Guards against leaks and against models that learnt nothing: two months give 4.5 to 5.0 points."""
    judgement = trained.record.metrics
    assert 4.4 < judgement.validation.mae < 5.0
    assert judgement.train.mae < judgement.validation.mae
    assert judgement.baselines["mock"].metrics.mae > judgement.validation.mae


def test_baselines_are_measured_on_the_models_own_rows(trained: Trained) -> None:
    """Guards against a gain between two populations: each baseline is compared where it has a value."""
    validation = trained.side("validation")
    ours = predict(trained.fitted.booster, validation.features).astype(np.float64)
    theirs = predict_baselines(validation.features, V2_33FEATURES)
    assert list(trained.record.metrics.baselines) == list(theirs)
    for name, values in theirs.items():
        there = ~np.isnan(values)
        result = trained.record.metrics.baselines[name]
        assert 0 < result.metrics.n == there.sum() < len(validation)
        model_mae = np.abs(ours - validation.points)[there].mean()
        baseline_mae = np.abs(values - validation.points)[there].mean()
        assert result.model_mae == pytest.approx(model_mae, abs=1e-6)
        assert result.metrics.mae == pytest.approx(baseline_mae, abs=1e-6)
        assert result.gain == pytest.approx(baseline_mae - model_mae, abs=1e-6)
        assert result.gain_interval.low < result.gain < result.gain_interval.high


def test_a_baseline_without_a_value_is_left_out(trained: Trained) -> None:
    """Guards against a MAE of NaN in the record where no validation row has the feature."""
    sides = {name: trained.side(name) for name in ("train", "early_stopping", "validation")}
    validation = sides["validation"]
    features = validation.features.copy()
    features[:, V2_33FEATURES.index("points_avg_season")] = np.nan
    blind = type(validation)(features, validation.points, validation.dates, validation.keys)
    record = trained.record
    assert record.distribution is not None
    predicted = {name: predict(trained.fitted.booster, side.features) for name, side in sides.items()}
    judgement = judge(
        predicted,
        predicted["validation"],
        {**sides, "validation": blind},
        record.calibration,
        record.distribution,
        V2_33FEATURES,
    )
    assert set(judgement.baselines) == {"last_10_average", "last_5_average"}


def test_tiers_are_the_validation_rows_broken_down(trained: Trained) -> None:
    """Guards against a tier taken from the result, which is not known, in place of the season's average."""
    validation = trained.side("validation")
    ours = predict(trained.fitted.booster, validation.features).astype(np.float64)
    season = validation.features[:, V2_33FEATURES.index("points_avg_season")]
    tiers = trained.record.metrics.tiers
    assert sum(tier.n for tier in tiers.values()) == len(validation)
    assert list(tiers) == [name for name in TIER_NAMES if name in tiers]
    middle = (season >= 10) & (season < 15)
    assert tiers["10-15"].n == middle.sum() > 100
    assert tiers["10-15"].bias == pytest.approx((ours - validation.points)[middle].mean(), abs=1e-6)
    assert tiers["no history"].n == np.isnan(season).sum() > 0


def test_the_lean_and_the_range_are_those_of_the_boosters_own_output(trained: Trained) -> None:
    """Guards against a comparison the wrong way round, and a range taken after the worker's clamp."""
    validation, judgement = trained.side("validation"), trained.record.metrics
    ours = predict(trained.fitted.booster, validation.features)
    assert judgement.above_prediction == pytest.approx((validation.points > ours).mean(), abs=1e-6)
    assert judgement.equal_to_prediction == pytest.approx((validation.points == ours).mean(), abs=1e-6)
    assert (judgement.lowest_prediction, judgement.highest_prediction) == (float(ours.min()), float(ours.max()))


def test_the_interval_is_learnt_on_early_stopping_and_measured_on_validation(trained: Trained) -> None:
    """Guards against a coverage measured on the rows that it was calibrated on: that is always 80%."""
    held_out, validation = trained.side("early_stopping"), trained.side("validation")
    points = publish_points(predict(trained.fitted.booster, held_out.features))
    fitted = calibrate(points, held_out.points), fit_distribution(points, held_out.points)
    assert (trained.record.calibration, trained.record.distribution) == fitted
    measured = trained.record.metrics
    assert measured.distribution is not None
    given = publish_points(predict(trained.fitted.booster, validation.features))
    for spread, coverage in zip(
        fitted, (measured.coverage.overall, measured.distribution.overall.coverage_80), strict=True
    ):
        low, high = spread.interval(given)
        inside = ((validation.points >= low) & (validation.points <= high)).mean()
        assert (coverage.n, coverage.inside) == (len(validation), pytest.approx(inside, abs=1e-6))


# --- reference rows -------------------------------------------------------------------------------------------


def test_reference_rows_are_validation_rows_with_their_predictions(trained: Trained) -> None:
    """Guards against reference rows that no loader can reproduce: after JSON they predict the same to the last bit."""
    rows = ModelRecord.model_validate_json(trained.record.to_bytes()).reference_rows
    assert len(rows) == 20
    assert predict_rows(trained.fitted.booster, [row.features for row in rows], V2_33FEATURES) == [
        row.prediction for row in rows
    ]
    validation = trained.side("validation")
    keys = [(k["player_lookup"], str(k["game_date"])) for k in validation.keys.to_pylist()]
    positions = [keys.index((row.player_lookup, row.game_date)) for row in rows]
    assert positions == sorted(set(positions))
    assert (positions[0], positions[-1]) == (0, len(validation) - 1)
    for row, position in zip(rows, positions, strict=True):
        values = [math.nan if value is None else value for value in row.features]
        np.testing.assert_array_equal(np.array(values, np.float32), validation.features[position])


# --- what is refused ------------------------------------------------------------------------------------------


def test_a_report_of_another_booster_is_refused(trained: Trained) -> None:
    """Guards against a record whose metrics were measured on another booster."""
    with pytest.raises(BundleError, match=r"The training report is for the booster \w{64}, but the store has \w{64}"):
        make_record(trained.report, trained.fitted.booster + b" ", XGBOOST_V1)


def test_a_report_without_a_model_has_no_record(trained: Trained) -> None:
    """Guards against a record of a month that has no model yet."""
    nothing = TrainingReport(split=split_by_date({}), parameters=QUICK, feature_version=V2_33FEATURES.name)
    assert nothing.digest == nothing.split.digest
    with pytest.raises(BundleError, match="has no model"):
        make_record(nothing, trained.fitted.booster, XGBOOST_V1)
    assert trained.report.digest == trained.record.model_sha256


# --- shipped and measured -------------------------------------------------------------------------------------


def test_the_numbers_of_a_refit_are_those_of_the_booster_that_has_not_seen_validation(trained: Trained) -> None:
    """Guards against the best score ever: a booster measured on the rows that it was fitted on."""
    rounds = trained.fitted.best_iteration + 1
    shipped = fit_all(trained.samples, rounds, QUICK, V2_33FEATURES, 2)
    report = report_training(trained.fitted, shipped, trained.samples, trained.split, QUICK, V2_33FEATURES, 2)
    assert report.judgement is not None
    ours, measured = report.judgement, trained.record.metrics
    assert ours.model_copy(update={"lowest_prediction": 0, "highest_prediction": 0, "refit_distance": 0}) == (
        measured.model_copy(update={"lowest_prediction": 0, "highest_prediction": 0, "refit_distance": 0})
    )
    record = make_record(report, shipped, XGBOOST_V1)
    assert (record.model_sha256, record.measured_sha256) == (bytes_digest(shipped), trained.record.model_sha256)
    assert record.calibration == trained.record.calibration
    validation = trained.side("validation")
    theirs, split = (predict(b, validation.features).astype(np.float64) for b in (shipped, trained.fitted.booster))
    assert ours.refit_distance == pytest.approx(np.abs(theirs - split).mean(), abs=1e-6)
    assert ours.lowest_prediction == min(theirs.min(), split.min())
    assert ours.highest_prediction == max(theirs.max(), split.max())
    predicted = predict_rows(shipped, [row.features for row in record.reference_rows], V2_33FEATURES)
    assert predicted == [row.prediction for row in record.reference_rows]


def test_where_nothing_was_refitted_both_are_the_same_booster(trained: Trained) -> None:
    """Guards against a record that claims a second booster."""
    assert trained.record.measured_sha256 == trained.record.model_sha256
    assert trained.record.metrics.refit_distance == 0
