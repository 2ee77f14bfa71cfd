"""Drift against the model that serves: what it is compared with, when it warns, and that it never stops a run."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from nba_ml.checks.check import CheckContext, Finding, Severity
from nba_ml.checks.predictions import checks
from nba_ml.contract.digest import HasDigest
from nba_ml.contract.features import V2_33FEATURES
from nba_ml.contract.systems import XGBOOST_V1
from nba_ml.contract.thresholds import Thresholds
from nba_ml.data.snapshot import Snapshot
from nba_ml.evaluation.predictions import MonthPredictions, make_predictions
from nba_ml.model.values import TrainedModel
from nba_ml.registry.channel import Channel
from nba_ml.registry.manifest import BundleNames
from nba_ml.registry.moves import move_channel
from nba_ml.registry.systems.loading import find_model
from nba_ml.storage.directory import DirectoryStore
from nba_ml_tests.checks.scenes import check_named, scene
from nba_ml_tests.conftest import QUICK, snapshot_of, split_of
from nba_ml_tests.release_scene import AT, published_model

RULES = {check.name: check for check in checks(Thresholds())}
SNAPSHOT = "feature_store_snapshot"
BEFORE, NOW = "2021-12", "2022-12"
"""A December that the model has learnt from, and the next one. What lies between is not in its store."""


@cache
def scoring_model() -> TrainedModel:
    """The model of December 2021."""
    from nba_ml.model.train import train

    months = ["2021-10", "2021-11", BEFORE]
    return train(split_of(months), {each: snapshot_of(each) for each in months}, QUICK, V2_33FEATURES, threads=1)


@cache
def shifted(by: float) -> Snapshot:
    """The rows of December 2021 as a later December's, with so many points more in three averages."""
    rows = snapshot_of(BEFORE)
    table = rows.table
    for name in ("points_avg_last_5", "points_avg_last_10", "points_avg_season"):
        at = table.column_names.index(name)
        table = table.set_column(at, name, pa.array(table.column(name).to_numpy() + by, from_pandas=False))
    at = table.column_names.index("game_date")
    dates = table.column("game_date").to_numpy() + np.timedelta64(365, "D")
    return replace(rows, table=table.set_column(at, "game_date", pa.array(dates).cast(pa.date32())))


def around(now: Snapshot, artifacts: DirectoryStore, month: str = NOW) -> CheckContext:
    values: dict[tuple[str, str], HasDigest | None] = {
        (SNAPSHOT, month): now,
        ("xgboost_model", BEFORE): scoring_model(),
    }
    months = ["2021-10", "2021-11", BEFORE, month]
    return scene(month, months=months, values=values, artifacts=artifacts)


def made(now: Snapshot) -> MonthPredictions:
    return make_predictions(now, scoring_model(), NOW, XGBOOST_V1, threads=1)


def examine(name: str, by: float, artifacts: DirectoryStore) -> Finding:
    now = shifted(by)
    return RULES[name].examine(made(now), around(now, artifacts))


@pytest.fixture
def artifacts(tmp_path: Path) -> DirectoryStore:
    return DirectoryStore(tmp_path)


def test_they_warn_and_block_nothing() -> None:
    """Guards the publisher's verdict: what depends on the model that serves must not decide what is published."""
    for name, check in RULES.items():
        assert (check.severity, check.blocking, check.stops_run) == (Severity.WARN, False, False)
        assert check_named("predictions", name).threshold == check.threshold


@pytest.mark.parametrize("name", list(RULES))
def test_rows_like_the_training_rows_pass(artifacts: DirectoryStore, name: str) -> None:
    """Guards against a warning each month, which nobody reads."""
    found = examine(name, 0.0, artifacts)
    assert found.passed
    assert found.value == 0.0
    assert found.n == snapshot_of(BEFORE).table.num_rows


def test_a_feature_that_moved_is_named_with_its_psi_and_what_to_do(artifacts: DirectoryStore) -> None:
    """Guards against a units change in the feature store that no range catches."""
    found = examine("feature_drift", 4.0, artifacts)
    assert not found.passed
    worst = [str(each["feature"]) for each in found.worst]
    assert len(worst) == 5
    assert set(worst[:3]) == {"points_avg_last_5", "points_avg_last_10", "points_avg_season"}
    assert "was not trained on rows like these: points_avg_" in found.next_step


def test_predictions_that_moved_warn(artifacts: DirectoryStore) -> None:
    """Guards what is bet on: four points more in the averages are as many in the predictions."""
    found = examine("prediction_drift", 4.0, artifacts)
    assert not found.passed
    assert isinstance(found.value, float)
    assert found.value > 0.15


def champion(artifacts: DirectoryStore, month: str) -> str:
    model_id = published_model(artifacts, month)
    model = find_model(artifacts, model_id)
    move_channel(
        artifacts, lambda _: Channel(serial=1, champion=model, kind="promote", reason="a first one", moved_at=AT)
    )
    return model_id


def test_it_is_the_champion_that_is_compared_with(artifacts: DirectoryStore) -> None:
    """Guards against comparing with the model of last month, which is like this month, while an old one serves."""
    model_id = champion(artifacts, "2021-12")
    for name in RULES:
        assert f"the champion {model_id}" in examine(name, 0.0, artifacts).interval


@pytest.mark.slow
def test_a_champion_that_has_seen_the_month_is_not(artifacts: DirectoryStore) -> None:
    """Guards the backfill of an old month against a reference that holds the month itself."""
    champion(artifacts, "2022-01")
    now = snapshot_of("2022-01")
    seen = replace(around(now, artifacts, "2022-01"), limits=Thresholds(min_rows_for_psi=1))
    predictions = make_predictions(now, scoring_model(), "2022-01", XGBOOST_V1, threads=1)
    found = RULES["feature_drift"].examine(predictions, seen)
    assert found.passed
    assert "was trained on too few rows of this calendar month" in str(found.value)
    assert "the model xgboost_v1_33features_202112" in str(found.value)


def test_a_damaged_champion_warns_and_does_not_stop_the_run(artifacts: DirectoryStore) -> None:
    """Guards against a month that cannot be trained because the model before it is damaged."""
    (artifacts.root / BundleNames.of(champion(artifacts, "2021-12")).booster).write_bytes(b"{}")
    found = examine("feature_drift", 0.0, artifacts)
    assert (found.passed, found.value) == (False, "the champion cannot be loaded")
    assert "champion rollback" in found.next_step


def test_without_a_model_or_rows_there_is_nothing_to_compare(artifacts: DirectoryStore) -> None:
    """Guards against a warning of chance alone: in June a hundred rows of two teams."""
    none = make_predictions(snapshot_of("2021-11"), None, "2021-11", XGBOOST_V1, threads=1)
    for check in RULES.values():
        found = check.examine(none, around(snapshot_of("2021-11"), artifacts, "2021-11"))
        assert (found.passed, found.value) == (True, "too few predictions to compare")
