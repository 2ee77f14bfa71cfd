"""Several systems in one home: each with its own chain, and all in one channel, one slate and one service."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from nba_ml.contract.assets import TRAINING_ASSETS
from nba_ml.contract.errors import FeatureRowsError
from nba_ml.contract.features import REPORTED, V2_33FEATURES, V3_FEATURES, V4_FEATURES
from nba_ml.contract.model_id import system_of_model
from nba_ml.contract.systems import XGBOOST_V1, XGBOOST_V2, XGBOOST_V3, System
from nba_ml.data.stored import SNAPSHOT
from nba_ml.registry.release_context import joined
from nba_ml.serving.http.limits import Limits
from nba_ml.serving.http.service import app_of
from nba_ml.serving.predictor import Predictor
from nba_ml.settings import SAMPLE_DATA
from nba_ml.storage.directory import DirectoryStore
from nba_ml.storage.months import MonthStore
from nba_ml_tests.cli.command import Home
from nba_ml_tests.limits import LENIENT
from nba_ml_tests.serving.client import running
from nba_ml_tests.trained_home import MONTHS, TrainedHomes, copy_home, copy_months

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


def data_with_reports(folder: Path) -> tuple[Path, str]:
    """The four months with their inactive lists, and the reports of a date: one in time, one too late.

    Returns the folder and the name of the player who is out by the one in time.
    """
    data = copy_months(folder / "data", *MONTHS)
    shutil.copytree(SAMPLE_DATA / "listed_without_minutes", data / "listed_without_minutes")
    played = pq.read_table(data / "player_games" / f"{NEXT}.parquet")
    frame = played.to_pandas().assign(game_date=lambda each: each["game_date"].astype("datetime64[s]"))
    teams = sorted(frame[frame["game_date"] == DAY]["team"].unique())[:2]
    stars = []
    for team in teams:
        before = frame[(frame["team"] == team) & (frame["game_date"] < DAY)]
        last = before[before["game_date"] == before["game_date"].max()]
        stars.append(last.sort_values("pts").iloc[-1])
    (data / "injury_reports").mkdir()
    lines = [
        f"{star['player_id']},{DAY},Out,{DAY}T{hour}:00:00-05:00,{star['team']}"
        for star, hour in zip(stars, (11, 13), strict=True)  # the tip-off is unknown, so noon is the cut-off
    ]
    text = "\n".join(["player_id,game_date,status,reported_at,team", *lines])
    (data / "injury_reports" / f"{DAY}.csv").write_text(text + "\n")
    return data, str(stars[0]["team"])


def test_a_system_with_reports_from_its_features_to_a_rollout_and_the_service(
    trained_homes: TrainedHomes, tmp_path: Path
) -> None:
    """Guards the third chain: reports in time in features, slate and service, and a rollout up to the champion."""
    data, team = data_with_reports(tmp_path)
    both = {"NBA_ML_SYSTEMS": f"{XGBOOST_V1.id},{XGBOOST_V3.id}"}
    limits = LENIENT.model_copy(update={"rollout_margin": 1.0, "bias": (-5.0, 5.0), "min_rows_per_step": 200})
    home = replace(copy_home(trained_homes.published, tmp_path / "home"), data=data, settings=both, limits=limits)
    said(home, 0, "backfill", "--system", XGBOOST_V3.id, "--to", LAST, "--only-missing")
    features = "ml_feature_store_v2,feature_store_snapshot"
    said(home, 0, "backfill", "--system", XGBOOST_V3.id, "--from", NEXT, "--to", NEXT, "--assets", features)
    for month in (LAST, NEXT):
        checked = json.loads(home.run_here("check", "--month", month, "--json").stdout)["checks"]
        status = {each["check"]: each["status"] for each in checked}
        for name in ("reports_before_cut_off", "absences_of_last_game", "change_correlation"):
            assert status[f"xgboost_v3/feature_store_snapshot.{name}"] == "passed", month

    months = MonthStore(DirectoryStore(home.root / "store"))
    rows = months.require(SNAPSHOT.of(XGBOOST_V3), [NEXT])[NEXT].table.to_pandas(date_as_object=False)
    of_day = rows[rows["game_date"] == DAY]
    at_home, away = of_day["game_id"].str[-3:], of_day["game_id"].str[9:12]
    theirs = of_day[np.where(of_day["home_away"] == 1, at_home, away) == team]
    lost = theirs.sort_values("out_points")["out_points"].to_numpy()
    assert lost[1] == lost[-1] > 8, "what the best scorer of the last game would have added"
    assert lost[0] in (0, lost[1]), "to the others: he played after all"
    assert of_day["out_points"].notna().sum() == len(theirs), "the other report came after the cut-off"
    assert rows[rows["game_date"] < DAY]["out_points"].notna().mean() > 0.9, "the inactive lists stand in"

    listed = json.loads(said(home, 0, "models", "list", "--json"))
    ours, third = (
        next(each["model_id"] for each in listed if _begins_with(each["model_id"], system))
        for system in (XGBOOST_V1, XGBOOST_V3)
    )
    said(home, 0, "champion", "promote", ours, *WHY)
    compared = json.loads(said(home, 0, "rollout", "compare", ours, third, "--month", NEXT, "--json"))
    assert [each["system_id"] for each in compared["systems"]] == [XGBOOST_V1.id, XGBOOST_V3.id]
    said(home, 0, "rollout", "start", third, "--graded-from", f"{NEXT}-01", *WHY)
    said(home, 0, "rollout", "advance", "--until", f"{NEXT}-08")
    said(home, 0, "slate", "predict", "--date", DAY)
    graded = said(home, 0, "slate", "grade", "--month", NEXT)
    assert ours in graded
    assert third in graded
    for last in (16, 24, 31):
        said(home, 0, "rollout", "advance", "--until", f"{NEXT}-{last}")
    assert third in said(home, 0, "champion", "show")
    _serves_rows_with_reports(home, third, of_day.drop(columns=["game_date"]))


def _serves_rows_with_reports(home: Home, model: str, rows: pd.DataFrame) -> None:
    """The service takes rows of the third version, reports or none, and says what a row of the first one lacks."""
    predictor = Predictor.load(str(home.root / "artifacts"), channel="champion", try_apart=False)
    known = rows[["player_lookup", *V4_FEATURES.names]].to_dict("records")
    whole = [{name: None if value != value else value for name, value in row.items()} for row in known]
    with running(app_of(predictor, channel=None, refresh_seconds=60.0, limits=Limits())) as client:
        answered = client.predict({"rows": whole})
        assert answered.status == 200, answered.body
        assert {each["model_version"] for each in answered.json["predictions"]} == {model}
        assert {each["feature_version"] for each in answered.json["predictions"]} == {V4_FEATURES.name}
        without = [{**row, **dict.fromkeys(REPORTED)} for row in whole]
        unreported = client.predict({"rows": without})
        assert unreported.status == 200
        assert unreported.json["predictions"] != answered.json["predictions"], "who is out changes the prediction"
        first = [{name: row[name] for name in ("player_lookup", *V2_33FEATURES.names)} for row in whole[:1]]
        refused = client.predict({"rows": first})
        assert refused.status == 422
        lacking = {fault["field"] for fault in refused.json["errors"]}
        assert lacking == set(V4_FEATURES.names) - set(V2_33FEATURES.names)
