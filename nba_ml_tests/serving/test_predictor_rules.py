"""Which model a predictor loads, keeps and lets predict: on rules in place of models, so in no time.

`test_predictor` has the same with trained models.
"""

from __future__ import annotations

import math
import os
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nba_ml.contract.errors import BundleError, ChannelError, FeatureRowsError, MissingExtraError, SettingsError
from nba_ml.contract.features import V2_33FEATURES
from nba_ml.registry.channel import FOLDER, ChannelModel
from nba_ml.registry.rollout_rules import bucket_of
from nba_ml.serving import Predictor, external, sources
from nba_ml.serving.prediction import ModelIdentity, make_records
from nba_ml.serving.predictor import READ_SECONDS, _lacking
from nba_ml.serving.rows import read_rows
from nba_ml.serving.sources import ModelSelection
from nba_ml.storage.directory import DirectoryStore
from nba_ml_tests.serving.rules import MOCK, MONTHS, ROW, Loads, install, ours, point, state_of

FIRST, SECOND = (ours(month) for month in MONTHS)
CATBOOST = ours(MONTHS[1], "catboost_v8")
NO_GAMES = {**ROW, "points_avg_last_5": None, "points_avg_last_10": None, "points_avg_season": None}


@pytest.fixture
def store(tmp_path: Path) -> DirectoryStore:
    made = DirectoryStore(tmp_path)
    point(made, state_of(1, FIRST))
    return made


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> Loads:
    return install(monkeypatch)


def test_a_model_is_loaded_once_and_as_its_channel_names_it(store: DirectoryStore, loads: Loads) -> None:
    predictor = Predictor.load(store, channel="champion", threads=3, try_apart=False)
    how = {"threads": 3, "try_apart": False}
    [named] = loads.asked
    assert named == (FIRST.manifest, {"manifest_sha256": FIRST.manifest_sha256, **how})
    assert predictor.refresh("champion") is False
    assert len(loads.asked) == 1
    point(store, state_of(2, SECOND))
    assert predictor.refresh("champion") is True
    assert (predictor.model.model_id, predictor.challenger) == (SECOND.model_id, None)
    assert predictor.channel_state == state_of(2, SECOND)
    point(store, state_of(3, SECOND, CATBOOST, 10))
    assert predictor.refresh("champion") is True
    assert loads.asked[1:] == [(SECOND.manifest, loads.asked[1][1]), (CATBOOST.model_id, how)]
    point(store, state_of(4, CATBOOST, SECOND, 50))
    assert predictor.refresh("champion") is True
    assert len(loads.asked) == 3, "both are loaded: they have only changed places"
    assert (predictor.model.model_id, predictor.serving.challenger) == (CATBOOST.model_id, predictor.challenger)
    assert predictor.challenger is not None
    Predictor.load(store, channel="champion")
    assert loads.asked[-1][1] == {"manifest_sha256": SECOND.manifest_sha256, "threads": 1, "try_apart": True}


def test_only_a_challenger_with_a_share_is_loaded(store: DirectoryStore, loads: Loads) -> None:
    predictor = Predictor.load(store, channel="champion")
    for serial, share, swapped in ((2, 0, False), (3, 10, True), (4, 50, False), (5, 0, True)):
        point(store, state_of(serial, FIRST, SECOND, share))  # type: ignore[arg-type]
        assert predictor.refresh("champion") is swapped
        assert (predictor.challenger is None) is (share == 0)
    assert [name for name, _ in loads.asked] == [FIRST.manifest, SECOND.manifest]


@pytest.mark.parametrize("share", [10, 50, 100])
def test_each_row_goes_to_the_model_of_its_bucket(store: DirectoryStore, loads: Loads, share: Any) -> None:
    point(store, state_of(2, FIRST, SECOND, share))
    predictor = Predictor.load(store, channel="champion")
    rows = [{**ROW, "player_lookup": f"p{number}"} for number in range(200)]
    found = predictor.predict(rows)
    assert isinstance(found, list)
    day = found[0].game_date
    assert day is not None
    buckets = [bucket_of(str(row["player_lookup"]), day) for row in rows]
    assert share in buckets or share == 100, "one at the edge"
    assert [each.model_version == SECOND.model_id for each in found] == [bucket < share for bucket in buckets]
    assert [each.player_lookup for each in found] == [row["player_lookup"] for row in rows]
    assert len({each.predicted_points for each in found}) == min(2, 3 - share // 50)
    for lacking in ("player_lookup", "game_date"):
        without = {name: value for name, value in ROW.items() if name != lacking}
        assert predictor.predict(without).model_version == FIRST.model_id
        assert predictor.predict({**ROW, lacking: None}).model_version == FIRST.model_id
    assert predictor.predict([]) == []
    assert loads.asked


def test_a_rule_without_data_predicts_nothing_and_says_the_line(store: DirectoryStore, loads: Loads) -> None:
    """Guards a rule's share of a slate: no other system's number in place of one that it cannot compute."""
    point(store, state_of(2, FIRST, MOCK, 50))
    predictor = Predictor.load(store, channel="champion")
    system = predictor.challenger
    assert system is not None
    no_line = {**NO_GAMES, **dict.fromkeys(("vegas_points_line", "vegas_opening_line", "vegas_line_move"))}
    rows = read_rows([NO_GAMES, ROW, {**no_line, "has_vegas_line": 0}])
    nothing, known, neither = system.predict(rows)
    assert known.predicted_points is not None
    assert known.recommendation == "PASS"
    for found, line, said in ((nothing, 27.5, "PASS"), (neither, None, "NO_LINE")):
        assert found.to_json() == {
            "system_id": "mock",
            "model_version": "mock",
            "model_type": "mock",
            "model_sha256": "",
            "feature_version": "v2_33features",
            "player_lookup": "lukadoncic",
            "game_date": "2025-01-15",
            "game_id": "20250115_DAL_NOP",
            **dict.fromkeys(("predicted_points", "model_points", "points_low", "points_high")),
            **dict.fromkeys(("points_low_90", "points_high_90", "points_quantiles")),
            **dict.fromkeys(("over_probability", "push_probability", "confidence_score")),
            "current_points_line": line,
            "line_margin": None,
            "recommendation": said,
        }
    assert system.newest_month == ""
    assert (datetime.now(UTC) - system.loaded_at).total_seconds() < 60
    assert system.predict(rows.take([])) == []
    assert loads.asked


def test_a_record_without_a_date_has_none(store: DirectoryStore, loads: Loads) -> None:
    predictor = Predictor.load(store, model_id=FIRST.model_id)
    assert predictor.predict({**ROW, "game_date": None}).to_json()["game_date"] is None
    assert (predictor.challenger, predictor.channel_state) == (None, None)
    assert predictor.refresh("champion") is False or loads.asked[-1][1]["manifest_sha256"] == FIRST.manifest_sha256


@pytest.mark.parametrize("output", [math.inf, -math.inf, math.nan])
def test_an_output_that_is_not_finite_is_no_prediction(output: float) -> None:
    who = ModelIdentity("xgboost_v1", FIRST.model_id, "xgboost", "a" * 64, "v2_33features")
    with pytest.raises(BundleError):
        make_records(np.array([20.0, output]), np.array([math.nan, 20.5]), read_rows([ROW, ROW]), who, None)


def test_an_infinite_line_is_refused_and_a_missing_one_is_null() -> None:
    who = ModelIdentity("xgboost_v1", FIRST.model_id, "xgboost", "a" * 64, "v2_33features")
    rows = read_rows([ROW])
    [record] = make_records(np.array([20.0]), np.array([math.nan]), rows, who, None)
    assert (record.predicted_points, record.current_points_line, record.line_margin) == (20.0, None, None)
    with pytest.raises(BundleError, match="current_points_line is infinite"):
        make_records(np.array([20.0]), np.array([math.inf]), rows, who, None)


def test_any_line_has_its_chances() -> None:
    """Guards alternate lines: over, push and under are those of the published quantiles, and add up to 1."""
    who = ModelIdentity("xgboost_v1", FIRST.model_id, "xgboost", "a" * 64, "v2_33features")
    [record] = make_records(np.array([20.0]), np.array([math.nan]), read_rows([ROW]), who, None)
    with pytest.raises(BundleError, match="has no interval, so there are no probabilities for lines"):
        record.at_lines([20.5])
    known = replace(record, points_quantiles=[float(points) for points in range(11, 30)])  # 5% at 11, 50% at 20
    below, half, whole, above = known.at_lines([0, 19.5, 20, 99.5])
    assert (half["line"], half["over"], half["push"], half["under"]) == (19.5, 0.525, 0.0, 0.475)
    assert (whole["over"], whole["push"], whole["under"]) == (0.475, 0.05, 0.475)
    assert below["under"] == 0.0
    assert below["over"] > 0.99
    assert above["over"] == 0.0005, "no line is certain"
    for each in (below, half, whole, above):
        assert each["over"] + each["push"] + each["under"] == pytest.approx(1, abs=1e-9)
    assert known.at_lines([]) == []
    missing: Any
    for missing in (None, math.nan, math.inf):
        with pytest.raises(FeatureRowsError, match=f"Line 1 is {missing}, not a number of points"):
            known.at_lines([20.5, missing])


def test_a_channel_goes_forward_only(store: DirectoryStore, loads: Loads) -> None:
    point(store, state_of(5, FIRST))
    predictor = Predictor.load(store, channel="champion")
    assert predictor.refresh("champion") is False, "the same serial is no step back"
    point(store, state_of(4, SECOND))
    with pytest.raises(ChannelError, match="went back from serial 5 to 4"):
        predictor.refresh("champion")
    assert predictor.model.model_id == FIRST.model_id
    point(store, state_of(1, SECOND), f"{FOLDER}/canary.json")
    assert predictor.refresh("canary") is True, "another channel has its own serials"
    fixed = Predictor.load(store, model_id=FIRST.model_id)
    assert fixed.refresh("champion") is True, "no channel named what served before"
    assert loads.asked


def test_a_refresh_waits_ten_seconds_for_a_store_and_a_first_load_for_minutes(
    store: DirectoryStore, loads: Loads, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[float] = []

    def within(given: DirectoryStore, seconds: float) -> DirectoryStore:
        asked.append(seconds)
        return given

    monkeypatch.setattr("nba_ml.serving.predictor.within", within)
    predictor = Predictor.load(store, channel="champion")
    assert asked == []
    predictor.refresh("champion")
    assert asked == [READ_SECONDS] == [10.0]
    assert loads.asked

    class Remote(DirectoryStore):
        def within(self, seconds: float) -> DirectoryStore:
            asked.append(seconds)
            return store

    assert sources.within(Remote(store.root), 3.0) is store
    assert sources.within(store, 3.0) is store
    assert asked[1:] == [3.0]


def test_a_predictor_is_its_processes_own(store: DirectoryStore, loads: Loads, monkeypatch: pytest.MonkeyPatch) -> None:
    predictor = Predictor.load(store, channel="champion")
    monkeypatch.setattr(os, "getpid", lambda: 1)
    for use in (
        lambda: predictor.predict(ROW),
        lambda: predictor.refresh("champion"),
        lambda: predictor.watch("champion", 60.0),
    ):
        with pytest.raises(SettingsError, match="Process 1 uses a predictor that process"):
            use()
    assert loads.asked


def test_a_watch_follows_the_channel_from_the_load_on(store: DirectoryStore, loads: Loads) -> None:
    predictor = Predictor.load(store, channel="champion")
    told: list[object] = []
    with predictor.watch("champion", 3_600.0, tell=told.append) as watch:
        assert (watch.status.channel, watch.status.seconds) == ("champion", 3_600.0)
        assert watch.status.checked_at == predictor.model.loaded_at
        point(store, state_of(2, SECOND))
        watch._check()
        assert predictor.model.model_id == SECOND.model_id
        assert told == [watch.status]
    assert loads.asked


LACKING = MissingExtraError("CatBoost is not installed.")


@pytest.mark.parametrize(
    ("state", "said", "unsaid"),
    [
        (state_of(2, CATBOOST), "is the champion of the channel champion", "rollout stop"),
        (state_of(2, FIRST, CATBOOST, 10), "is the challenger of the channel champion", "champion rollback"),
    ],
    ids=["champion", "challenger"],
)
def test_a_library_that_is_missing_is_told_with_the_way_out(
    store: DirectoryStore, monkeypatch: pytest.MonkeyPatch, state: Any, said: str, unsaid: str
) -> None:
    loads = install(monkeypatch)

    def fail(*_: object, **__: object) -> None:
        raise LACKING

    monkeypatch.setattr("nba_ml.serving.predictor.load_other", fail)
    point(store, state)
    with pytest.raises(MissingExtraError) as refused:
        Predictor.load(store, channel="champion")
    text = str(refused.value)
    assert text.startswith("CatBoost is not installed. In the serving image: docker build --build-arg EXTRA=catboost.")
    assert said in text
    assert unsaid not in text
    assert len(loads.asked) == (state.challenger is not None)


@pytest.mark.parametrize(
    ("system", "image"),
    [("catboost_v8", "EXTRA=catboost"), ("lightgbm_registered", "install it in an image built on that one")],
)
def test_without_a_channel_only_the_installation_is_told(system: str, image: str) -> None:
    model: ChannelModel = ours(MONTHS[1], system)
    text = _lacking(LACKING, model, ModelSelection(model))
    assert image in text
    assert text.startswith(str(LACKING))
    assert "channel" not in text


class FromAFile:
    """A registered model, without its file."""

    system_id, model_type, newest_month, calibration = "catboost_v8", "catboost", "2025-04", None
    version, model_sha256, features = CATBOOST.model_id, "d" * 64, V2_33FEATURES

    def predict(self, columns: Any) -> Any:
        return columns["points_avg_last_5"] + 1


def test_a_registered_model_is_loaded_as_it_was_asked_for(
    store: DirectoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def load(*given: Any, **how: Any) -> FromAFile:
        asked.append((*given, how))
        return FromAFile()

    monkeypatch.setattr(external, "find_external_system", lambda *given: given)
    monkeypatch.setattr(external, "load_registered", load)
    found = external.load_other(store, CATBOOST, threads=4, try_apart=False)
    external.load_other(store, CATBOOST)
    assert asked == [((store, CATBOOST), 4, {"apart": False}), ((store, CATBOOST), 1, {"apart": True})]
    assert found.identity == ModelIdentity("catboost_v8", CATBOOST.model_id, "catboost", "d" * 64, "v2_33features")
    assert found.newest_month == "2025-04"
    [record] = found.predict(read_rows([ROW]))
    assert (record.predicted_points, record.points_low, record.recommendation) == (29.4, None, "PASS")


def test_a_rule_is_not_explained(store: DirectoryStore, loads: Loads) -> None:
    point(store, state_of(2, FIRST, MOCK, 50))
    predictor = Predictor.load(store, channel="champion")
    rows = [{**ROW, "player_lookup": f"p{number}"} for number in range(8)]
    explained = predictor.explain(rows)
    assert [each.model_version for each in explained] == [each.model_version for each in predictor.predict(rows)]
    assert all("is a rule, a formula of averages" in str(each.explanation) for each in explained)
    assert loads.asked
