"""Two systems in one home: each with its own chain, and both in one channel, one slate and one service."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nba_ml.contract.assets import TRAINING_ASSETS
from nba_ml.contract.errors import FeatureRowsError
from nba_ml.contract.features import V2_33FEATURES, V3_FEATURES
from nba_ml.contract.model_id import system_of_model
from nba_ml.contract.systems import XGBOOST_V1, XGBOOST_V2, System
from nba_ml.data.stored import SNAPSHOT
from nba_ml.registry.release_context import joined
from nba_ml.serving.predictor import Predictor
from nba_ml.storage.directory import DirectoryStore
from nba_ml.storage.months import MonthStore
from nba_ml_tests.cli.command import Home
from nba_ml_tests.trained_home import TrainedHomes, copy_home

LAST, NEXT, DAY = "2021-12", "2022-01", "2022-01-12"
WHY = ("--reason", "a reason of a sentence")


@pytest.fixture
def home(trained_homes: TrainedHomes, tmp_path: Path) -> Home:
    """The trained home of the first system, which now names the second one too."""
    both = {"NBA_ML_SYSTEMS": f"{XGBOOST_V1.id},{XGBOOST_V2.id}"}
    return replace(copy_home(trained_homes.published, tmp_path / "home"), settings=both)


def said(home: Home, code: int, *arguments: str) -> str:
    ended = home.run_here(*arguments)
    assert ended.returncode == code, ended.stdout + ended.stderr
    return ended.stdout


def test_a_second_system_from_its_features_to_the_service(home: Home) -> None:
    """Guards the second chain, the first one's ids beside it, and every place where the two meet."""
    before = home.versions()
    alone = json.loads(said(home, 0, "check", "--month", LAST, "--json"))["checks"]
    assert not [each for each in alone if "/" in each["check"]], "of a system that was never run"
    said(home, 0, "backfill", "--system", XGBOOST_V2.id, "--to", LAST, "--only-missing")
    features = "ml_feature_store_v2,feature_store_snapshot"
    said(home, 0, "backfill", "--system", XGBOOST_V2.id, "--from", NEXT, "--to", NEXT, "--assets", features)
    assert home.versions() == before, "the first system's chain is as it was"
    stored = home.root / "store" / XGBOOST_V2.id
    assert all((stored / asset / f"{LAST}.json").exists() for asset in TRAINING_ASSETS)
    report, second = (home.root / "store/walk_forward" / each for each in ("report.html", "xgboost_v2/report.html"))
    assert 'href="xgboost_v2/report.html"' in report.read_text()
    assert 'href="../report.html"' in second.read_text()
    assert f"{XGBOOST_V2.id}_41features_" in second.read_text()
    assert "0 month(s) run" in said(home, 0, "backfill", "--system", XGBOOST_V2.id, "--to", LAST, "--only-missing")

    listed = json.loads(said(home, 0, "models", "list", "--json"))
    ours, theirs = (
        next(each["model_id"] for each in listed if _begins_with(each["model_id"], system))
        for system in (XGBOOST_V1, XGBOOST_V2)
    )
    assert system_of_model(theirs) == XGBOOST_V2
    assert theirs in said(home, 0, "verify", f"{home.root / 'artifacts'}/{XGBOOST_V2.id}/{theirs}_manifest.json")
    checked = json.loads(said(home, 0, "check", "--month", LAST, "--json"))["checks"]
    passed = {each["check"] for each in checked if each["status"] == "passed"}
    assert {"model_metadata.loads_in_fresh_process", "xgboost_v2/gcs_artifact.loads_from_its_uri"} <= passed

    # The first system's models are proposed by themselves; another one's by a person, or by a rollout.
    assert f"Published {ours}" in said(home, 0, "run", "--month", LAST)
    said(home, 0, "champion", "promote", ours, *WHY)
    compared = json.loads(said(home, 0, "rollout", "compare", ours, theirs, "--month", NEXT, "--json"))
    assert [each["system_id"] for each in compared["systems"]] == [XGBOOST_V1.id, XGBOOST_V2.id]
    assert len({each["metrics"]["n"] for each in compared["systems"]}) == 1, "on the same player-games"
    said(home, 0, "rollout", "start", theirs, "--share", "10", "--waive", "comparison", *WHY)
    said(home, 0, "slate", "predict", "--date", DAY)
    graded = said(home, 0, "slate", "grade", "--month", NEXT)
    assert ours in graded
    assert theirs in graded
    _serves_each_row_by_its_model(home, ours, theirs)

    said(home, 0, "rollout", "stop", "--forget", *WHY)
    said(home, 0, "champion", "promote", theirs, *WHY)
    assert theirs in said(home, 0, "champion", "show")
    assert f"Published {theirs}" in said(home, 0, "run", "--month", LAST), "the model of the system that serves"
    said(home, 0, "slate", "predict", "--date", DAY)
    # Drift is measured against the model that serves, unless it reads what the first system's rows lack.
    again = json.loads(home.run_here("check", "--month", NEXT, "--json").stdout)["checks"]
    status = {each["check"]: each["status"] for each in again}
    assert status["predictions.prediction_drift"] in ("passed", "warned")


def _begins_with(model_id: str, system: System) -> bool:
    return model_id.startswith(f"{system.id}_{system.features.count}features_{LAST.replace('-', '')}_")


def _serves_each_row_by_its_model(home: Home, ours: str, theirs: str) -> None:
    """The service takes a row by the version of the model that serves it, and the rows of both versions as one."""
    months = MonthStore(DirectoryStore(home.root / "store"))
    small, large = (months.require(SNAPSHOT.of(system), [NEXT])[NEXT].table for system in (XGBOOST_V1, XGBOOST_V2))
    keys = ["player_lookup", "game_date"]
    rows = joined(small, large).select([*keys, *V3_FEATURES.names]).to_pylist()
    predictor = Predictor.load(str(home.root / "artifacts"), channel="champion", try_apart=False)
    served = predictor.predict(rows)
    by_model = {each.model_version for each in served}
    assert by_model == {ours, theirs}
    assert {each.feature_version for each in served if each.model_version == theirs} == {V3_FEATURES.name}

    of_champion = [row for row, each in zip(rows, served, strict=True) if each.model_version == ours]
    narrow = [{name: row[name] for name in (*keys, *V2_33FEATURES.names)} for row in of_champion]
    assert predictor.predict(narrow) == [each for each in served if each.model_version == ours]
    at = next(index for index, each in enumerate(served) if each.model_version == theirs)
    lacking = {name: rows[at][name] for name in (*keys, *V2_33FEATURES.names)}
    with pytest.raises(FeatureRowsError, match="row 1, points_ewm_12: is missing") as caught:
        predictor.predict([narrow[0], lacking])
    assert {fault.row for fault in caught.value.faults} == {1}
    explanation: Mapping[str, Any] = predictor.explain(rows[at])[0].explanation
    assert len(explanation["contributions"]) == V3_FEATURES.count
