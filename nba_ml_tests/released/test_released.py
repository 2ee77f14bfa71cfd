"""What an earlier version of this package wrote is read, verified, promoted, served and continued by the present one.

The homes were written by the code of their time and are never written again: README.md beside this file.
"""

from __future__ import annotations

import shutil
import tarfile
from datetime import date
from importlib.util import find_spec
from pathlib import Path

import pyarrow.compute as pc
import pytest

from nba_ml.checks.registry import STORED
from nba_ml.contract.assets import MONTHLY_ASSETS
from nba_ml.contract.digest import bytes_digest
from nba_ml.contract.features import V2_33FEATURES
from nba_ml.contract.season import season_months
from nba_ml.defs.resources import open_store
from nba_ml.registry.channel import ChannelModel, read_channel, read_history
from nba_ml.registry.systems.loading import load_system
from nba_ml.serving import Predictor
from nba_ml.slates.store import SlateStore
from nba_ml.storage.directory import DirectoryStore
from nba_ml_tests.cli.command import Home

pytestmark = pytest.mark.slow

FOLDER = Path(__file__).parent
MADE_AT = b"file:///srv/nba_ml/home"
"""Where the homes were when they were written. Published addresses name it."""

MONTHS = season_months("2021-10", "2022-01")
SLATES = (date(2022, 1, 10), date(2022, 1, 12))

needs_catboost = pytest.mark.skipif(
    find_spec("catboost") is None, reason="needs CatBoost: pip install 'nba_ml[catboost]'"
)

RELEASES = sorted(path.name.removesuffix(".tar.xz") for path in FOLDER.glob("*.tar.xz"))


@pytest.fixture(scope="module", params=RELEASES)
def unpacked(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home as that version left it, at another place. Read only: a test that changes it takes `home`."""
    folder = tmp_path_factory.mktemp(request.param)
    with tarfile.open(FOLDER / f"{request.param}.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    return moved(folder, MADE_AT)


@pytest.fixture
def home(unpacked: Home, tmp_path: Path) -> Home:
    """A copy of the home, to be changed."""
    shutil.copytree(unpacked.root.parent, tmp_path / "copy")
    return moved(tmp_path / "copy", unpacked.root.as_uri().encode())


def moved(folder: Path, before: bytes) -> Home:
    """The home in a folder; the addresses of what it published are changed from where it was before."""
    home = Home(folder / "home", folder / "data")
    for record in (home.root / "store/gcs_artifact").iterdir():
        record.write_bytes(record.read_bytes().replace(before, home.root.as_uri().encode()))
    return home


def says(home: Home, code: int, *arguments: str) -> str:
    """What the command prints; raises AssertionError if it ends with another exit code."""
    ended = home.run_here(*arguments)
    assert ended.returncode == code, ended.stdout + ended.stderr
    return " ".join(ended.stdout.split())


def manifests(home: Home) -> list[Path]:
    """Of our own models, by month."""
    return sorted((home.root / "artifacts/xgboost_v1").glob("*_manifest.json"))


def model_id(manifest: Path) -> str:
    return manifest.name.removesuffix("_manifest.json")


def test_every_release_is_here() -> None:
    """An archive that was not committed would be tested by nobody."""
    assert RELEASES == ["b329b53"]


# -- read ----------------------------------------------------------------------------------------------------------


def test_every_value_is_read_and_has_the_digest_that_dagster_recorded(unpacked: Home) -> None:
    """A value that is read differently would be another data version: every month after it would be made again."""
    store, recorded = open_store(str(unpacked.root / "store")), unpacked.versions()
    found = {
        (asset, month): store.require(STORED[asset], [month])[month].digest
        for asset in MONTHLY_ASSETS
        if asset != "gcs_artifact"  # its version is of the address where it was published
        for month in MONTHS
    }
    assert found == {key: version for key, version in recorded.items() if key[0] != "gcs_artifact"}
    assert len(recorded) == len(MONTHLY_ASSETS) * len(MONTHS)
    artifacts = store.require(STORED["gcs_artifact"], MONTHS)
    assert [artifacts[month].model_id for month in MONTHS] == [None, *map(model_id, manifests(unpacked))]


def test_the_runs_are_in_the_instance(unpacked: Home) -> None:
    """Dagster's database is opened as it is, with no migration."""
    assert {status.value for status in unpacked.runs()} == {"SUCCESS"}


def test_every_bundle_verifies(unpacked: Home) -> None:
    """By digests, and by predictions of a process of its own."""
    paths = manifests(unpacked)
    assert len(paths) == 3
    for path in paths:
        assert "verified" in says(unpacked, 0, "verify", str(path))


@needs_catboost
def test_a_registered_catboost_is_loaded(unpacked: Home) -> None:
    """With its reference predictions, and with the training extent that it was registered with."""
    [path] = (unpacked.root / "artifacts/catboost_v8").glob("*_manifest.json")
    model = ChannelModel(
        system_id="catboost_v8",
        model_id=path.name.removesuffix("_manifest.json"),
        manifest_sha256=bytes_digest(path.read_bytes()),
    )
    system = load_system(DirectoryStore(unpacked.root / "artifacts"), model, threads=1)
    assert (system.extent.fitted_until, system.extent.given_until) == (date(2021, 12, 15), date(2021, 12, 31))


def test_a_changed_byte_of_an_old_bundle_is_refused(home: Home) -> None:
    """What is accepted from an earlier version is not accepted unread."""
    path = manifests(home)[0]
    booster = path.with_name(path.name.replace("_manifest", ""))
    booster.write_bytes(booster.read_bytes().replace(b"1", b"2", 1))
    ended = home.run_here("verify", str(path))
    assert (ended.returncode, "cannot be trusted" in ended.stderr) == (2, True), ended.stdout + ended.stderr


def test_the_channel_and_its_history_are_read(unpacked: Home) -> None:
    """Every kind of move that this version knew."""
    objects = DirectoryStore(unpacked.root / "artifacts")
    history, now = read_history(objects), read_channel(objects)
    assert [state.kind for state in history] == [
        "promote", "promote", "rollout_start", "rollout_stop", "promote", "rollback",
    ]  # fmt: skip
    assert now == history[-1]
    assert [state.to_bytes() for state in history] == [
        path.read_bytes() for path in sorted((unpacked.root / "artifacts/xgboost_v1/channels/history").iterdir())
    ]
    for command in ("show", "history"):
        assert history[-1].champion.model_id in says(unpacked, 0, "champion", command)


# -- go on with it -------------------------------------------------------------------------------------------------


def test_the_chain_goes_on_without_a_new_model(home: Home) -> None:
    """Checks that this version did not have yet run once, which takes a materialisation; then all is up to date.

    An upgrade must not publish other models: the same rows give the same bytes.
    """
    published, versions = home.files("artifacts"), home.versions()
    assert f"{len(MONTHS)} month(s) run" in says(home, 0, "backfill", "--only-missing")
    assert home.files("artifacts") == published
    again = home.versions()
    # Predictions have the model's own number since, and records the distribution beside the calibration.
    assert {asset for (asset, month) in versions if versions[asset, month] != again[asset, month]} <= {
        "model_metadata",
        "predictions",
        "prediction_grades",
    }
    assert "0 month(s) run, 4 already up to date" in says(home, 0, "backfill", "--only-missing")


def test_the_verdict_of_old_checks_is_understood(home: Home) -> None:
    """The checks of a month that an earlier version made, examined anew; those that it did not have run too."""
    assert "train_split.few_rows warned: " in says(home, 0, "check", "--month", MONTHS[-1])


def test_a_verdict_without_a_new_check_does_not_publish(home: Home) -> None:
    """The checks that are new since are demanded of every month, by name."""
    ended = home.run_here("backfill", "--from", MONTHS[-1], "--to", MONTHS[-1], "--assets", "gcs_artifact")
    assert ended.returncode == 1
    said = " ".join(ended.stdout.split())
    assert "did not pass lines_matched." in said
    assert "lines_matched of 2021-12 │ not run" in said


def test_promote_and_roll_back(home: Home) -> None:
    """The next move follows the last state of the old history."""
    objects = DirectoryStore(home.root / "artifacts")
    last = read_history(objects)[-1]
    newest = model_id(manifests(home)[-1])
    reason = ("--reason", "It was set aside, and is wanted again.")
    waived = (each for name in ("newer", "not_set_aside", "grade", "bias") for each in ("--waive", name))
    assert "becomes the champion" in says(home, 0, "champion", "promote", newest, *waived, *reason)
    assert f"{last.champion.model_id} serves now" in says(home, 0, "champion", "rollback", *reason)
    assert [state.serial for state in read_history(objects)] == list(range(1, last.serial + 3))


def test_the_champion_predicts_what_it_predicted(unpacked: Home) -> None:
    """Bit for bit the points, the interval and the recommendation that were served and kept in the slate."""
    store = open_store(str(unpacked.root / "store"))
    predictor = Predictor.load(str(unpacked.root / "artifacts"), channel="champion")
    snapshot = store.require(STORED["feature_store_snapshot"], ["2022-01"])["2022-01"].table
    for day in SLATES:
        kept = SlateStore(store.objects).newest(day)
        assert kept is not None
        before = {row["player_lookup"]: row for row in kept.slate.table.to_pylist() if row["side"] == "champion"}
        rows = snapshot.filter(pc.field("game_date") == day)
        found = predictor.predict(rows.select(["player_lookup", "game_date", "game_id", *V2_33FEATURES.names]))
        assert len(found) > 100
        for record in found:
            old = before[str(record.player_lookup)]
            for name in ("predicted_points", "points_low", "points_high", "recommendation", "model_sha256"):
                assert getattr(record, name) == old[name]


def test_slates_of_an_earlier_version_are_graded(home: Home) -> None:
    """Both sides of a rollout among them; a new slate of such a date is a version that does not count."""
    graded = says(home, 0, "slate", "grade", "--month", "2022-01")
    assert "2 dates with a slate, 2 of them replayed; 0 have no result yet" in graded
    assert "challenger" in graded
    assert "It does not count: version 1" in says(home, 0, "slate", "predict", "--date", str(SLATES[1]))
