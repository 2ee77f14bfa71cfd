"""The chain on a large history: the limit is lowered to three real months, and nothing else is different."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from nba_ml.contract.assets import CHAIN
from nba_ml.contract.features import V2_33FEATURES
from nba_ml.defs.build import build_defs
from nba_ml.model import paged
from nba_ml.model import train as training
from nba_ml.model.record import ModelRecord
from nba_ml.model.stored import METADATA, MODEL
from nba_ml.registry.publication import list_published
from nba_ml.registry.reference import predict_rows
from nba_ml.serving.predictor import Predictor
from nba_ml_tests.defs.test_chain import LAST, MONTHS, Home, failure, opened

pytestmark = pytest.mark.slow

AFTER_THE_SPLIT = ("xgboost_model", "model_metadata", "gcs_artifact")


def holding(home: Home, rows: int) -> Home:
    """The home on a machine that keeps so many rows in memory."""
    settings = replace(home.settings, rows_in_memory=rows)
    return replace(home, settings=settings, defs=build_defs(settings))


def described(home: Home) -> ModelRecord:
    """The record of the last month's model."""
    found = home.months.load(METADATA, LAST)
    assert found is not None
    assert found.record is not None
    return found.record


def test_a_large_history_is_published_and_no_byte_depends_on_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards the whole path of a large history: assets, checks, gate and reader; and one id on every machine."""
    with opened(tmp_path / "home") as home:
        monkeypatch.setattr(training, "PAGED_ROWS", 3000)
        monkeypatch.setattr(paged, "PAGE_ROWS", 1024)
        for month in MONTHS:
            assert holding(home, 1).run(month, CHAIN).success
        in_files, record = home.months.load(MODEL, LAST), described(home)
        assert in_files is not None
        assert in_files.booster is not None
        files = home.files()
        assert list((tmp_path / "home" / "scratch").iterdir()) == []

        assert holding(home, 10**9).run(LAST, AFTER_THE_SPLIT).success
        assert home.months.load(MODEL, LAST) == in_files
        assert home.files() == files

        published = list_published(home.artifacts)[-1]
        assert (record.sampling, record.model_id) == (paged.SAMPLING, published)
        rows = record.reference_rows
        wanted = predict_rows(in_files.booster, [row.features for row in rows], V2_33FEATURES)
        assert wanted == [row.prediction for row in rows]
        predictor = Predictor.load(home.settings.artifact_root, model_id=published)
        given = [
            {
                "player_lookup": row.player_lookup,
                "game_date": row.game_date,
                **dict(zip(V2_33FEATURES.names, row.features, strict=True)),
            }
            for row in rows
        ]
        served = [each.model_points for each in predictor.predict(given)]
        assert served == pytest.approx(wanted, abs=0.005001)


def test_challengers_of_a_large_history_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards the memory: they are trained with all rows at once. Of a small history they are measured."""
    with opened(tmp_path / "home") as home:
        for month in MONTHS:
            assert home.run(month, CHAIN[:5]).success
        assert home.run(LAST, ["challengers"]).success
        monkeypatch.setattr(training, "PAGED_ROWS", 3000)
        found = failure(home.run(LAST, ["challengers"]), "challengers")
    assert "Challengers are trained in memory, on at most 1,000,000 rows; 2021-12 has 9,053." in found
