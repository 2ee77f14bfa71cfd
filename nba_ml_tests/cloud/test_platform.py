"""The whole graph on the platform's own clouds, from the command line: BigQuery in, Cloud Storage out."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from nba_ml.checks.registry import STORED
from nba_ml.contract.season import season_months
from nba_ml.defs.resources import open_store
from nba_ml.registry.publication import list_published
from nba_ml.storage.cloud import CloudStore
from nba_ml_tests.cli.command import Home
from nba_ml_tests.cloud.bigquery import BigQueryEmulator, Platform, make_platform
from nba_ml_tests.cloud.gcs import BucketView, emulator_client, make_bucket
from nba_ml_tests.conftest import features_of, snapshot_of, summary_of

MONTHS = season_months("2021-10", "2022-04")
UNDER_WAY = "2022-05"
"""A month of which the backfill has done half."""


class Clouds:
    """A platform's tables and bucket, and a home that works on them."""

    def __init__(self, platform: Platform, endpoint: str, bucket: str, folder: Path) -> None:
        self.platform = platform
        self.store = CloudStore(bucket, "models", emulator_client(endpoint))
        self.bucket = BucketView(endpoint, bucket)
        self.root = f"gs://{bucket}"
        settings = {
            **platform.environment,
            "STORAGE_EMULATOR_HOST": endpoint,
            "NBA_ML_STORE": f"{self.root}/store",
            "NBA_ML_ARTIFACT_ROOT": f"{self.root}/models",
            "NBA_ML_DATA": "/nowhere",  # nothing of the embedded source may be needed
        }
        self.home = Home(folder / "home", limits=None, settings=settings)


@pytest.fixture(scope="module")
def clouds(bigquery_emulator: BigQueryEmulator, gcs_endpoint: str, tmp_path_factory: pytest.TempPathFactory) -> Clouds:
    platform = make_platform(bigquery_emulator)
    for month in MONTHS:
        platform.load(features_of(month), summary_of(month))
    half = features_of(UNDER_WAY)
    platform.load(half.slice(0, half.num_rows // 2), summary_of(UNDER_WAY))
    return Clouds(platform, gcs_endpoint, make_bucket(gcs_endpoint), tmp_path_factory.mktemp("clouds"))


@pytest.fixture(scope="module")
def backfilled(clouds: Clouds) -> Clouds:
    """The snapshots of seven months, early rows of 2021-10 among them, and the chain for the last of them."""
    snapshots = clouds.home.run_here("backfill", "--to", MONTHS[-1], "--assets", "feature_store_snapshot")
    assert snapshots.returncode == 0, snapshots.stdout + snapshots.stderr
    last = clouds.home.run_here("backfill", "--from", MONTHS[-1], "--to", MONTHS[-1], "--only-missing")
    assert last.returncode == 0, last.stdout + last.stderr
    return clouds


def test_the_snapshots_are_those_of_the_embedded_source(backfilled: Clouds, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards against a model that depends on where its rows were kept on the way."""
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", backfilled.home.settings["STORAGE_EMULATOR_HOST"])
    values = open_store(f"{backfilled.root}/store").require(STORED["feature_store_snapshot"], MONTHS)
    assert {month: value.digest for month, value in values.items()} == {m: snapshot_of(m).digest for m in MONTHS}


def test_one_model_is_published_and_verifies_from_its_uri(backfilled: Clouds, tmp_path: Path) -> None:
    """Guards against a bundle that only the process that published it can read."""
    (model_id,) = list_published(backfilled.store)
    assert model_id == "xgboost_v1_33features_202204_129f75f13a78", "as commit b329b53 published it"
    elsewhere = Home(
        tmp_path / "elsewhere",
        settings={"STORAGE_EMULATOR_HOST": backfilled.home.settings["STORAGE_EMULATOR_HOST"]},
    )
    manifest = f"{backfilled.root}/models/xgboost_v1/{model_id}_manifest.json"
    verified = elsewhere.run("verify", manifest)
    assert verified.returncode == 0, verified.stderr
    assert f"{model_id}: verified." in verified.stdout
    missing = elsewhere.run("verify", manifest.replace("_202204_", "_202202_"))
    assert missing.returncode == 2
    assert "Traceback" not in missing.stderr


def test_again_changes_nothing(backfilled: Clouds) -> None:
    """Guards against a backfill that reads every month anew, and against a second generation of any object."""
    before = backfilled.bucket.stamps()
    again = backfilled.home.run_here("backfill", "--from", MONTHS[-1], "--to", MONTHS[-1], "--only-missing")
    assert (again.returncode, again.stdout.splitlines()[-1]) == (0, "0 month(s) run, 1 already up to date.")
    assert backfilled.bucket.stamps() == before


def test_the_progress_is_shown(backfilled: Clouds) -> None:
    """Guards against a month that is half there and looks done."""
    shown = backfilled.home.run_here("progress")
    assert shown.returncode == 0, shown.stderr
    statuses = {line.split()[0]: line.split()[1] for line in shown.stdout.splitlines()[1:]}
    assert [statuses[month] for month in (*MONTHS, UNDER_WAY, "2022-06")] == ["complete"] * 7 + ["partial", "missing"]
    assert "BigQuery, all months: 0.0 MB billed, 0.0 slot seconds." in shown.stdout, "the emulator bills nothing"


def test_a_month_under_way_is_refused_and_a_month_not_reached_too(backfilled: Clouds) -> None:
    """Guards against training on half a month, and against a failure that leaves something behind."""
    before = backfilled.bucket.stamps()
    partial = backfilled.home.run_here("backfill", "--from", UNDER_WAY, "--to", UNDER_WAY)
    assert partial.returncode == 1
    assert "coverage on feature_store_snapshot" in partial.stderr
    not_reached = backfilled.home.run_here("backfill", "--from", "2022-06", "--to", "2022-06")
    assert not_reached.returncode == 1
    assert "2022-06: the backfill has not reached this month" in not_reached.stderr
    added = Counter(name.split("/")[0] for name in backfilled.bucket.stamps().keys() - before.keys())
    # Nothing was rejected, and that part is there already: it is the same for every such month.
    assert added == {"store": 2}, "the snapshot of the month under way, with its results, and no model"


def test_a_bucket_that_is_not_there(backfilled: Clouds) -> None:
    """Guards against the platform's old script, which uploaded to a bucket that did not exist and said nothing."""
    settings = {**backfilled.home.settings, "NBA_ML_ARTIFACT_ROOT": "gs://no-such-bucket/models"}
    home = Home(backfilled.home.root, limits=None, settings=settings)
    failed = home.run_here("backfill", "--from", MONTHS[-1], "--to", MONTHS[-1], "--assets", "gcs_artifact")
    assert failed.returncode != 0
    assert "no-such-bucket" in failed.stderr
    assert "Traceback" not in failed.stderr


def test_the_record_names_what_it_was_made_from(backfilled: Clouds) -> None:
    """Guards against a model whose rows nobody can find again."""
    (model_id,) = list_published(backfilled.store)
    record = json.loads(backfilled.bucket.read(f"models/xgboost_v1/{model_id}_metadata.json"))
    digests = {ref["month"]: ref["digest"] for ref in record["split"]["snapshots"]}
    assert digests.items() <= {m: snapshot_of(m).digest for m in MONTHS}.items()
    assert set(digests) >= set(MONTHS[1:])


@pytest.fixture
def small(bigquery_emulator: BigQueryEmulator, tmp_path: Path) -> tuple[Platform, Home]:
    """Two months of which all is there, and features of one night of the next."""
    platform = make_platform(bigquery_emulator)
    for month in MONTHS[:2]:
        platform.load(features_of(month), summary_of(month))
    platform.load(features_of(MONTHS[2]).slice(0, 100))
    return platform, Home(tmp_path / "home", settings={**platform.environment, "NBA_ML_DATA": "/nowhere"})


def test_the_last_month_has_results_and_is_not_trained_twice(small: tuple[Platform, Home]) -> None:
    """Guards against a model of tonight's features and no result, against a correction of doubled results that nobody
    sees, and against training anew on the same rows because they were written again."""
    platform, home = small
    first = home.run_here("run")
    assert first.returncode == 0, first.stdout + first.stderr
    assert "202111" in first.stdout
    assert "202112" not in first.stdout
    trained = _stamp(home, "xgboost_model")

    platform.sql(
        "UPDATE {features} SET updated_at = TIMESTAMP_ADD(updated_at, INTERVAL 1 DAY) WHERE game_date > '2021-01-01'"
    )
    platform.load(summary=summary_of(MONTHS[1]))
    taken = _stamp(home, "feature_store_snapshot")
    again = home.run_here("run")
    assert again.returncode == 0, again.stdout + again.stderr
    assert _stamp(home, "feature_store_snapshot") != taken
    assert _stamp(home, "xgboost_model") == trained

    platform.sql("UPDATE {summary} SET points = points + 1 WHERE game_date = '2021-11-30'")
    corrected = home.run_here("run")
    assert corrected.returncode == 0, corrected.stdout + corrected.stderr
    assert _stamp(home, "xgboost_model") != trained

    refused = home.run_here("backfill", "--from", MONTHS[2], "--to", MONTHS[2])
    assert refused.returncode == 1
    assert "2021-12 has no results yet: 100 feature rows and no box score" in refused.stderr
    shown = home.run_here("progress").stdout
    assert "duplicate results" in shown
    assert "results missing: 2021-12-01" in shown


def _stamp(home: Home, asset: str) -> int:
    """When the asset's value of the second month was last written."""
    [file] = (home.root / "store" / asset).glob(f"{MONTHS[1]}.*")
    return file.stat().st_mtime_ns
