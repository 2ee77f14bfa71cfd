"""What a bundle must state before its booster is parsed, and in which order it is tried: a booster of two trees."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
import xgboost as xgb

from nba_ml.contract.errors import BundleError
from nba_ml.contract.features import V2_33FEATURES, FeatureVersion
from nba_ml.registry.reader import ReadBundle
from nba_ml.registry.reference import load_booster, predict_loaded
from nba_ml.serving import model
from nba_ml.serving.model import LoadedModel, load_model
from nba_ml.serving.rows import read_rows
from nba_ml_tests.serving.rules import ROW

NAME = "xgboost_v1/x_000000000000_manifest.json"
CALIBRATION: dict[str, Any] = {
    "rows": 1_000,
    "scale": [1.0, 1.0],
    "levels": [0.1, 0.5, 0.9],
    "knots": [5.0, 20.0],
    "shapes": [[-1.0, 0.0, 1.5], [-1.2, 0.1, 1.4]],
    "line_trust": 0.2,
    "line_rows": 500,
}
RECORD: dict[str, Any] = {
    "system_id": "xgboost_v1",
    "model_type": "xgboost",
    "newest_month": "2025-05",
    "libraries": {"xgboost": xgb.__version__},
    "calibration": CALIBRATION,
    "parameters": {"objective": "reg:squarederror"},
}
MAJOR, MINOR, PATCH = (int(part) for part in xgb.__version__.split(".")[:3])


@pytest.fixture(scope="module")
def bundle() -> ReadBundle:
    """A bundle as the reader gives it."""
    rows = np.random.default_rng(1).uniform(0, 30, (60, 33)).astype(np.float32)
    data = xgb.DMatrix(rows, rows[:, 0] + rows[:, 1], feature_names=list(V2_33FEATURES.names))
    booster = bytes(xgb.train({"max_depth": 3, "nthread": 1}, data, num_boost_round=8).save_raw("json"))
    known: list[list[float | None]] = [[float(value) for value in row] for row in rows[:3]]
    predictions = [
        float(value) for value in predict_loaded(load_booster(booster, V2_33FEATURES, 1), known, V2_33FEATURES)
    ]
    return ReadBundle(NAME, "a" * 64, "x_000000000000", "b" * 64, V2_33FEATURES, booster, RECORD, known, predictions)


class Tried:
    """What `load_model` asked the reader and the process apart for."""

    def __init__(self, bundle: ReadBundle, monkeypatch: pytest.MonkeyPatch) -> None:
        self.bundle, self.asked, self.apart = bundle, list[Any](), list[Any]()
        self.points = bundle.predictions
        monkeypatch.setattr(model, "read_bundle", self.read)
        monkeypatch.setattr(model, "predict_in_fresh_process", self.predict)

    def read(self, *given: Any) -> ReadBundle:
        self.asked.append(given)
        return self.bundle

    def predict(self, booster: bytes, rows: Any, version: FeatureVersion) -> list[float]:
        assert version == self.bundle.features
        self.apart.append((booster, rows))
        return self.points


@pytest.fixture
def tried(bundle: ReadBundle, monkeypatch: pytest.MonkeyPatch) -> Tried:
    return Tried(bundle, monkeypatch)


def read(_: str) -> None: ...


def test_a_model_that_is_as_stated_is_loaded(tried: Tried, bundle: ReadBundle) -> None:
    before = datetime.now(UTC)
    found = load_model(read, NAME, manifest_sha256="c" * 64)
    assert tried.asked == [(read, NAME, "c" * 64)]
    assert tried.apart == [(bundle.booster, bundle.rows)]
    assert (found.model_id, found.model_sha256, found.newest_month) == (bundle.model_id, bundle.model_sha256, "2025-05")
    who = found.identity
    assert (who.system_id, who.model_type, who.feature_version) == ("xgboost_v1", "xgboost", "v2_33features")
    assert before <= found.loaded_at <= datetime.now(UTC)
    assert found.record == RECORD
    assert found.calibration.model_dump(mode="json") == CALIBRATION
    load_model(read, NAME, try_apart=False)
    assert tried.asked[1] == (read, NAME, None)
    assert len(tried.apart) == 1


@pytest.mark.parametrize(("threads", "nthread"), [(1, "1"), (2, "2"), (None, "0")], ids=str)
def test_the_booster_has_the_threads_that_it_was_given(tried: Tried, threads: int | None, nthread: str) -> None:
    found = load_model(read, NAME, threads=threads, try_apart=False)
    assert json.loads(found.booster.save_config())["learner"]["generic_param"]["nthread"] == nthread
    assert tried.apart == []


def test_a_model_predicts_its_rows_and_no_rows(tried: Tried, bundle: ReadBundle) -> None:
    found = load_model(read, NAME, try_apart=False)
    assert isinstance(found, LoadedModel)
    one, other = found.predict(read_rows([ROW, {**ROW, "points_avg_last_5": 2.0, "points_avg_last_10": None}]))
    values = [[None if value is None else float(value) for value in (ROW[name] for name in V2_33FEATURES.names)]]
    assert one.model_points == round(float(predict_loaded(found.booster, values, V2_33FEATURES)[0]), 2)
    assert one.model_points != other.model_points
    assert (one.model_sha256, one.current_points_line) == (bundle.model_sha256, 27.5)
    assert one.points_low is not None
    assert one.over_probability is not None
    assert found.predict(read_rows([])) == []
    assert tried.asked


def test_points_that_differ_are_refused_wherever_they_were_predicted(tried: Tried, bundle: ReadBundle) -> None:
    tried.points = [*bundle.predictions[:2], np.nextafter(bundle.predictions[2], 0)]
    with pytest.raises(BundleError, match="points for reference row 2"):
        load_model(read, NAME)
    tried.points = bundle.predictions
    tried.bundle = replace(bundle, predictions=[bundle.predictions[0] + 1, *bundle.predictions[1:]])
    with pytest.raises(BundleError, match="points for reference row 0"):
        load_model(read, NAME, try_apart=False)


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("system_id", "", "a record that states its system_id"),
        ("system_id", 3, "a record that states its system_id"),
        ("model_type", None, "a record that states its model_type"),
        ("newest_month", "", "a record that states its newest_month"),
        ("newest_month", ["2025-05"], "a record that states its newest_month"),
        ("libraries", None, "states the XGBoost that wrote"),
        ("libraries", {"xgboost": 3}, "states the XGBoost that wrote"),
        ("libraries", {"xgboost": "three"}, "states the XGBoost that wrote"),
        ("libraries", {"xgboost": f"{MAJOR}.{MINOR}.{PATCH + 1}"}, "or newer in this process"),
        ("libraries", {"xgboost": f"{MAJOR}.{MINOR + 1}.0"}, "or newer in this process"),
        ("libraries", {"xgboost": f"{MAJOR + 1}.0.0rc1"}, "or newer in this process"),
        ("calibration", None, "a record with the calibration"),
        ("calibration", {**CALIBRATION, "knots": [20.0, 5.0]}, "a calibration that fits together"),
        ("calibration", {**CALIBRATION, "knots": [5.0, 5.0]}, "a calibration that fits together"),
        ("calibration", {**CALIBRATION, "levels": [0.9, 0.5, 0.1]}, "a calibration that fits together"),
        ("calibration", {**CALIBRATION, "levels": [0.2, 0.5, 0.9]}, "a calibration that fits together"),
        ("calibration", {**CALIBRATION, "levels": [0.1, 0.5, 0.8]}, "a calibration that fits together"),
        ("calibration", {**CALIBRATION, "shapes": [[-1.0, 0.0, 1.5]]}, "a calibration that fits together"),
        ("calibration", {**CALIBRATION, "shapes": [[-1.0, 1.5], [-1.0, 1.5]]}, "a calibration that fits together"),
        ("calibration", {**CALIBRATION, "shapes": [[-1.0, 0.0, 1.5], [1.5]]}, "a calibration that fits together"),
        ("calibration", {**CALIBRATION, "scale": [1e308, 1e308]}, "a calibration that gives points_"),
    ],
    ids=lambda value: None if isinstance(value, str) and " " in value else json.dumps(value)[:60],
)
def test_what_a_record_must_state_is_required(tried: Tried, field: str, value: object, said: str) -> None:
    """Guards against a fault that would show with the first request only."""
    tried.bundle = replace(tried.bundle, record={**RECORD, field: value})
    with np.errstate(over="ignore", invalid="ignore"), pytest.raises(BundleError, match=said):
        load_model(read, NAME)
    assert tried.apart == [], "before a library parses the booster"


@pytest.mark.parametrize(
    "wrote",
    [f"{MAJOR}.{MINOR}.{PATCH}", f"{MAJOR - 1}.{MINOR + 9}.{PATCH + 9}", f"{MAJOR}.{max(MINOR - 1, 0)}.0-dev"],
    ids=["same", "older", "development"],
)
def test_what_an_older_xgboost_wrote_is_read(tried: Tried, wrote: str) -> None:
    tried.bundle = replace(tried.bundle, record={**RECORD, "libraries": {"xgboost": wrote}})
    assert load_model(read, NAME, try_apart=False).record["libraries"]["xgboost"] == wrote


def test_a_calibration_of_the_intervals_ends_is_enough(tried: Tried) -> None:
    ends = {**CALIBRATION, "levels": [0.1, 0.9], "shapes": [[-1.0, 1.5], [-1.2, 1.4]]}
    tried.bundle = replace(tried.bundle, record={**RECORD, "calibration": ends})
    assert load_model(read, NAME, try_apart=False).calibration.levels == (0.1, 0.9)


def test_an_explanation_is_of_the_booster(tried: Tried) -> None:
    found = load_model(read, NAME, try_apart=False)
    rows = read_rows([ROW, {**ROW, "points_avg_last_5": 2.0}])
    one, other = found.explain(rows)
    assert [one.predicted_points, other.predicted_points] == [each.predicted_points for each in found.predict(rows)]
    for each in (one, other):
        parts: Any = each.explanation
        assert list(parts["contributions"]) == list(V2_33FEATURES.names)
        assert parts["base"] + sum(parts["contributions"].values()) == pytest.approx(parts["model_output"], abs=1e-4)
        assert parts["model_output"] == pytest.approx(each.model_points, abs=0.0051)
    assert one.explanation != other.explanation
    assert found.explain(read_rows([])) == []
    assert tried.asked
