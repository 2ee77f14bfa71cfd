"""Model ids with and without the engine that trained them: each reader finds system, month and digest in both."""

from __future__ import annotations

import pytest

from nba_ml.contract.digest import bytes_digest
from nba_ml.contract.model_id import model_id, month_of_model, system_of_model
from nba_ml.contract.systems import SYSTEMS, System
from nba_ml.registry import reader
from nba_ml.registry.manifest import BundleNames, model_id_of_manifest

BOOSTER = b"{}"


@pytest.mark.parametrize("engine", [None, "dask1", "dask2", "dask128"])
@pytest.mark.parametrize("system", SYSTEMS.values(), ids=lambda system: system.id)
def test_every_reader_of_ids_knows_both_forms(system: System, engine: str | None) -> None:
    """Guards models of several workers: published, and then not listed, or taken for another month's."""
    identity = model_id(system, "2022-06", BOOSTER, engine)
    assert (f"_{engine}_" in identity) is (engine is not None)
    assert (system_of_model(identity), month_of_model(identity)) == (system, "2022-06")
    assert identity.endswith(f"_{bytes_digest(BOOSTER)[:12]}")
    assert reader.MODEL_ID.fullmatch(identity)
    assert model_id_of_manifest(BundleNames.of(identity).manifest) == identity


@pytest.mark.parametrize("engine", ["dask", "spark2", "dask2_dask2", "DASK2", ""])
def test_no_other_engine_has_an_id(engine: str) -> None:
    """Guards against a name that happens to look like a model of ours, and that nothing here has trained."""
    digest = bytes_digest(BOOSTER)[:12]
    assert month_of_model(f"xgboost_v1_33features_202206_{engine}_{digest}") is None


def test_ids_sort_by_month_whatever_trained_them() -> None:
    """Guards `nba-ml models list`: models are listed by the sorted ids."""
    (system, *_) = SYSTEMS.values()
    months = ("2021-12", "2022-01", "2022-06")
    ids = [model_id(system, month, BOOSTER, engine) for engine in ("dask2", None) for month in months]
    assert [month_of_model(each) for each in sorted(ids)] == [month for month in months for _ in range(2)]
