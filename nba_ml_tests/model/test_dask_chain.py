"""The chain with two workers that train: published, loaded, made again, with another number of workers, and broken off.

The command, its assets and checks are the real ones; the workers are processes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from nba_ml.contract.features import V2_33FEATURES
from nba_ml.serving import Predictor
from nba_ml_tests.cli.command import Home
from nba_ml_tests.model.dask_cluster import Cluster, running_cluster
from nba_ml_tests.trained_home import TrainedHomes, copy_home

pytestmark = pytest.mark.slow

LAST = "2022-01"
ID = "xgboost_v1_33features_202201"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with running_cluster(tmp_path_factory.mktemp("cluster"), workers=2) as running:
        yield running


@pytest.fixture(scope="module")
def home(cluster: Cluster, trained_homes: TrainedHomes, tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home whose last month is trained again, by the two workers."""
    copied = copy_home(trained_homes.published, tmp_path_factory.mktemp("homes") / "home")
    made = replace(copied, settings={"NBA_ML_DASK": cluster.address})
    done = made.run("backfill", "--from", LAST)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    return made


def published(home: Home) -> list[str]:
    """The ids of the published models of the last month."""
    manifests = home.root.glob(f"artifacts/xgboost_v1/{ID}*_manifest.json")
    return sorted(each.name.removesuffix("_manifest.json") for each in manifests)


def test_what_the_workers_trained_is_published_and_loads(home: Home) -> None:
    """Guards the way from the workers to a prediction: checks, record, bundle, reader and worker know such a model."""
    alone, ours = published(home)  # the month was trained by one process before
    assert re.fullmatch(rf"{ID}_[0-9a-f]{{12}}", alone)
    assert re.fullmatch(rf"{ID}_dask2_[0-9a-f]{{12}}", ours)
    record = json.loads((home.root / f"artifacts/xgboost_v1/{ours}_metadata.json").read_bytes())
    assert record["engine"] == {"name": "dask", "workers": 2, "byte_reproducible": False}
    predictor = Predictor.load(str(home.root / "artifacts"), model_id=ours)
    rows = record["reference_rows"]
    found = predictor.predict([dict(zip(V2_33FEATURES.names, row["features"], strict=True)) for row in rows])
    assert [each.model_points for each in found] == pytest.approx([row["prediction"] for row in rows], abs=0.005)
    assert {each.model_version for each in found} == {ours}
    assert "2 workers of a Dask cluster" in said(home, "models", "show", ours) + card(home, ours)
    assert ours in said(home, "models", "list")
    manifest = home.root / f"artifacts/xgboost_v1/{ours}_manifest.json"
    assert "verified" in said(home, "verify", str(manifest))


def test_a_model_is_made_again_without_a_conflict(home: Home, tmp_path: Path) -> None:
    """Guards reruns: as many workers publish nothing new, others publish another model beside it, and none of this is a
    reason to train again."""
    ours = copy_home(home, tmp_path / "home")
    before, made, runs = published(ours), ours.versions(), len(ours.runs())
    said(ours, "backfill", "--only-missing")
    assert (published(ours), len(ours.runs())) == (before, runs)
    said(ours, "backfill", "--from", LAST)
    assert (published(ours), ours.versions()) == (before, made)

    with running_cluster(tmp_path, workers=1) as smaller:
        alone = replace(ours, settings={"NBA_ML_DASK": smaller.address})
        said(alone, "backfill", "--from", LAST)
    (other,) = set(published(ours)) - set(before)
    assert other.startswith(f"{ID}_dask1_")
    assert f"{other} becomes the champion" in said(ours, "champion", "promote"), "of two, that of the asset"

    here = replace(ours, settings={})
    runs = len(here.runs())
    said(here, "backfill", "--only-missing")
    assert len(here.runs()) == runs, "who trains is not an input"
    said(here, "backfill", "--from", LAST)
    assert published(here) == sorted({*before, other}), "the first training's bytes again"


def test_a_worker_that_is_lost_leaves_everything_as_it_was(home: Home, cluster: Cluster, tmp_path: Path) -> None:
    """Guards against half a model: the month's asset fails with the reason, and the next run makes it."""
    ours = copy_home(home, tmp_path / "home")
    before, made = (ours.files("artifacts"), ours.files("store")), ours.versions()
    number = cluster.alive()[-1]
    with cluster.killed_in_training(cluster.workers[number], number):
        done = ours.run("backfill", "--from", LAST)
    assert done.returncode == 1, done.stdout
    assert f"{LAST} failed: xgboost_model: The training stopped: of 2 workers," in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    after = ours.files("artifacts"), ours.files("store")
    assert after[0] == before[0]
    changed = {name for name in before[1].keys() | after[1].keys() if before[1].get(name) != after[1].get(name)}
    assert {name.partition("/")[0] for name in changed} <= {"ml_feature_store_v2"}, "which has the time it was computed"
    cluster.add(1)
    said(ours, "backfill", "--from", LAST)
    assert ours.versions() == made
    assert ours.files("artifacts") == before[0]


def said(home: Home, *arguments: str) -> str:
    done = home.run_here(*arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def card(home: Home, model: str) -> str:
    """The model card beside a published model."""
    (file,) = (home.root / "artifacts/xgboost_v1").glob(f"{model}_model_card_*.md")
    return file.read_text()
