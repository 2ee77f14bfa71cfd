"""Where a model comes from: found in a checkout, a build or an installation, kept with the bundle."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from nba_ml.contract.errors import BundleError
from nba_ml.data.split import SnapshotRef
from nba_ml.registry.manifest import BundleNames
from nba_ml.registry.provenance import DOCUMENT, CodeProvenance, Provenance, _of_package, describe_code, provenance_in
from nba_ml.registry.publication import publish
from nba_ml.registry.reader import read_manifest, reads_from
from nba_ml.storage.directory import DirectoryStore
from nba_ml_tests.registry.publication_machine import bundle_of, digest
from nba_ml_tests.release_scene import model_of

pytestmark = pytest.mark.unit


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A git checkout of a package and a lock file, in one commit."""
    root = tmp_path / "a checkout"
    (root / "nba_ml").mkdir(parents=True)
    (root / "nba_ml" / "__init__.py").write_text("")
    (root / "requirements.lock").write_text("numpy==2\n")
    for arguments in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "first"]):
        git(root, *arguments)
    return root


def git(root: Path, *arguments: str) -> str:
    names = ["-c", "user.name=a", "-c", "user.email=a@localhost", "-c", "commit.gpgsign=false"]
    environ = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    done = subprocess.run(
        ["git", *names, *arguments], cwd=root, env=environ, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_a_checkout_states_its_commit_and_lock(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards the commit: also under a git hook, whose GIT_DIR is of another repository."""
    monkeypatch.setenv("GIT_DIR", "/nowhere/.git")
    found = _of_package(checkout / "nba_ml", checkout)
    assert found.commit == git(checkout, "rev-parse", "HEAD")
    assert found.changed is False
    assert found.lock_sha256 == digest(b"numpy==2\n")
    (checkout / "nba_ml" / "__init__.py").write_text("changed = True")
    assert _of_package(checkout / "nba_ml", checkout).changed is True
    git(checkout, "config", "core.quotePath", "false")
    (checkout / os.fsdecode(b"\xff")).write_text("a name that is not text")
    git(checkout, "add", ".")
    assert _of_package(checkout / "nba_ml", checkout).changed is True


def test_a_build_states_what_its_file_says(tmp_path: Path) -> None:
    """Guards wheels and images, which have no .git: without the file nothing is claimed."""
    assert _of_package(tmp_path, tmp_path).commit is None
    (tmp_path / "built_from.json").write_text(json.dumps({"commit": "abc", "lock_sha256": "def"}))
    found = _of_package(tmp_path, tmp_path)
    assert (found.commit, found.changed, found.lock_sha256) == ("abc", None, "def")


def test_without_git_nothing_is_claimed(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards a machine without git, and a checkout that git refuses: the model is published all the same."""
    monkeypatch.setenv("PATH", str(checkout))
    assert _of_package(checkout / "nba_ml", checkout).commit is None


def test_the_first_provenance_stays(tmp_path: Path) -> None:
    """Guards the same month trained by another commit: the same id, so its bundle stays and nothing conflicts."""
    store, booster = DirectoryStore(tmp_path), model_of("2021-11").booster
    data = (SnapshotRef(month="2021-11", digest="ab" * 32, rows=100),)

    def from_commit(commit: str) -> dict[str, bytes]:
        code = CodeProvenance(version="1", commit=commit, changed=False)
        return {DOCUMENT: Provenance(code=code, data=data).to_bytes()}

    first, second = (replace(bundle_of(booster), documents=from_commit(each)) for each in ("one", "two"))
    assert publish(store, first).created
    assert not publish(store, second).created
    read = reads_from(store)
    stated = provenance_in(read_manifest(read, BundleNames.of(first.model_id).manifest).read_documents(read))
    assert stated is not None
    assert stated["code"]["commit"] == "one"
    assert stated["data"] == [{"month": "2021-11", "digest": "ab" * 32, "rows": 100}]
    assert "nba_ml 1 at commit one, an unknown lock file, from 1 months" in describe_code(stated)


def test_other_documents_are_no_provenance() -> None:
    """Guards bundles of before there was one."""
    assert provenance_in({}) is None
    assert provenance_in({"xgboost_v1_33features_202111_0123456789ab_model_card_0123456789ab.md": b"#"}) is None


@pytest.mark.parametrize("data", [b"", b"[]", b'{"format_version": 1, "data": []}'])
def test_a_damaged_provenance_is_refused_by_its_name(data: bytes) -> None:
    """Guards `nba-ml verify` and `models show` against an unexpected error about a file that somebody else wrote."""
    name = "xgboost_v1_33features_202111_0123456789ab_provenance_0123456789ab.json"
    with pytest.raises(BundleError, match=f"{name}: expected a provenance of format 1"):
        provenance_in({name: data})
