"""`nba-ml keys`, and a home from its first unsigned models to signed ones that are promoted, verified and served."""

from __future__ import annotations

import stat
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from nba_ml.contract.signing import Signing
from nba_ml.registry.channel import CHAMPION
from nba_ml.registry.signed_store import SignedStore, open_published
from nba_ml_tests.cli.command import Home
from nba_ml_tests.trained_home import TrainedHomes, copy_home


def made_key(home: Home, role: str) -> tuple[Path, str]:
    """A new key's file, and its public key as printed for the setting."""
    file = home.root.parent / f"{role}.pem"
    done = home.run_here("keys", "new", role, str(file))
    assert done.returncode == 0, done.stderr
    return file, done.stdout.splitlines()[-1]


def says(home: Home, code: int, *arguments: str) -> str:
    done = home.run_here(*arguments)
    assert done.returncode == code, done.stdout + done.stderr
    return " ".join((done.stdout + done.stderr).split())


@pytest.fixture
def home(trained_homes: TrainedHomes, tmp_path: Path) -> Home:
    return copy_home(trained_homes.published, tmp_path / "a home")


def test_a_home_with_models_starts_to_require_signatures(home: Home) -> None:
    """Guards the whole way: keys, settings, what exists, a promotion, a slate that an expired channel must not score,
    and the models of a new root, which the graph signs."""
    (manifest, *_) = sorted((home.root / "artifacts/xgboost_v1").glob("*_202201_*_manifest.json"))
    model_id = manifest.name.removesuffix("_manifest.json")
    assert "Signatures are not checked: NBA_ML_TRUSTED_KEYS is not set" in says(home, 0, "verify", str(manifest))
    assert "NBA_ML_TRUSTED_KEYS is not set" in says(home, 2, "keys", "show")
    made = {role: made_key(home, role) for role in ("publisher", "promoter")}
    assert {stat.S_IMODE(file.stat().st_mode) for file, _ in made.values()} == {0o600}
    assert "never overwritten" in says(home, 2, "keys", "new", "publisher", str(made["publisher"][0]))

    trusted = {"NBA_ML_TRUSTED_KEYS": ",".join(public for _, public in made.values())}
    worker = replace(home, settings=trusted)
    owner = replace(
        home, settings={**trusted, **{f"NBA_ML_{role.upper()}_KEY": str(file) for role, (file, _) in made.items()}}
    )
    assert "is not signed by a trusted publisher" in says(owner, 2, "champion", "promote")
    assert "is not signed by a trusted publisher" in says(worker, 2, "verify", str(manifest))
    assert "0 of 3 manifests" in says(owner, 1, "keys", "show")
    assert "Only a publisher can sign these" in says(worker, 2, "keys", "sign", "--all", "--yes")
    assert "Nothing was signed" in says(owner, 1, "keys", "sign", model_id)
    assert "0 of 3 manifests" in says(owner, 1, "keys", "show"), "signed without an answer"
    assert "Signed 3." in says(owner, 0, "keys", "sign", "--all", "--yes")
    assert "Signed 0." in says(owner, 0, "keys", "sign", "--all", "--channel", "--yes")
    assert f"{model_id} becomes the champion" in says(owner, 0, "champion", "promote")
    shown = says(owner, 0, "keys", "show")
    assert "5 of 5 manifests and states of the channel are signed" in shown
    assert shown.count("(this machine signs with it)") == 2
    assert "It is signed by a trusted publisher" in says(worker, 0, "verify", str(manifest))
    start = ("rollout", "start", "mock", "--reason", "a reason of a sentence", "--share", "10")
    assert "no promoter's key" in says(worker, 2, *start)

    signing = Signing.from_environment(owner.environment())
    store = open_published(str(home.root / "artifacts"), signing)
    assert isinstance(store, SignedStore)
    pointer = store.read(CHAMPION)
    assert pointer is not None
    store.sign(CHAMPION, pointer.data, datetime.now(UTC) - timedelta(days=31))
    assert "at most 30 days are accepted" in says(worker, 2, "slate", "predict", "--date", "2022-01-31")
    assert "expired" in says(worker, 1, "keys", "show")
    assert "red channel_signature: The channel's signature expires on" in says(worker, 1, "health")
    assert "Renewed: serial 1" in says(owner, 0, "keys", "renew")
    assert "has already seen the results" in says(worker, 2, "slate", "predict", "--date", "2022-01-31")

    elsewhere = {"NBA_ML_ARTIFACT_ROOT": str(home.root.parent / "elsewhere")}
    moved = replace(owner, settings={**owner.settings, **elsewhere})
    says(moved, 0, "backfill", "--only-missing")
    assert "3 of 3 manifests" in says(moved, 0, "keys", "show")
