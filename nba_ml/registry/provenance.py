"""Where a model comes from: the commit of the code, the lock file, the data. A document of its bundle.

The same booster trained by another commit has the same model id. The manifest names the document, so it is signed and
verified with the bundle; documents are not compared when a model is published again, so the first publication's stays.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

import nba_ml
from nba_ml.contract.digest import bytes_digest
from nba_ml.data.split import SnapshotRef
from nba_ml.registry.reader import refuse

DOCUMENT = "provenance.json"
"""The document's name in a bundle, as `BundleNames.document` takes it."""

BUILT_FROM = "built_from.json"
"""A file in the installed package that a build may write: {"commit": ..., "lock_sha256": ...}."""

_NAME = re.compile(r".+_provenance_[0-9a-f]{12}\.json")
_GIT_SECONDS = 60


class CodeProvenance(BaseModel):
    """The code that ran. None means unknown, for example the commit of a wheel that was built without BUILT_FROM.

    `changed` is whether tracked files differed from the commit. `lock_sha256` is the digest of requirements.lock.
    """

    model_config = ConfigDict(frozen=True)

    version: str
    commit: str | None = None
    changed: bool | None = None
    lock_sha256: str | None = None


class Provenance(BaseModel):
    """`data` are the snapshots that the model was trained and measured on."""

    model_config = ConfigDict(frozen=True)

    format_version: Literal[1] = 1
    code: CodeProvenance
    data: tuple[SnapshotRef, ...]

    def to_bytes(self) -> bytes:
        return (json.dumps(self.model_dump(mode="json"), sort_keys=True, indent=1) + "\n").encode()


@cache
def code_provenance() -> CodeProvenance:
    """That of this process. Asked once: a process keeps the code that it has loaded."""
    package = Path(nba_ml.__file__).parent
    return _of_package(package, package.parent)


def _of_package(package: Path, checkout: Path) -> CodeProvenance:
    """From the checkout around the package, from the file of its build, or from what pip recorded, in this order."""
    try:
        installed = distribution("nba_ml")
        version, direct = installed.version, installed.read_text("direct_url.json")
    except PackageNotFoundError:  # run from a copy of the sources, as the service's image does
        version, direct = "unknown", None
    if (checkout / ".git").exists() and (commit := _git(checkout, "rev-parse", "HEAD")):
        changed = _git(checkout, "status", "--porcelain", "--untracked-files=no")
        lock = checkout / "requirements.lock"
        return CodeProvenance(
            version=version,
            commit=commit,
            changed=None if changed is None else changed != "",
            lock_sha256=bytes_digest(lock.read_bytes()) if lock.is_file() else None,
        )
    built_from = package / BUILT_FROM
    if built_from.is_file():
        stated = json.loads(built_from.read_bytes())
        return CodeProvenance(version=version, commit=stated.get("commit"), lock_sha256=stated.get("lock_sha256"))
    vcs = json.loads(direct or "{}").get("vcs_info", {})  # PEP 610: `pip install git+https://...`
    return CodeProvenance(version=version, commit=vcs.get("commit_id"))


def _git(checkout: Path, *arguments: str) -> str | None:
    """What git prints; None if it is not installed or refuses, for example a checkout of another owner."""
    # The paths are named, or GIT_DIR in the environment of a hook would lead to another repository.
    command = ["git", "--no-optional-locks", f"--git-dir={checkout / '.git'}", f"--work-tree={checkout}", *arguments]
    try:
        done = subprocess.run(command, cwd=checkout, capture_output=True, check=True, timeout=_GIT_SECONDS)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.decode(errors="replace").strip()  # names of files need not be text


def provenance_in(documents: Mapping[str, bytes]) -> dict[str, Any] | None:
    """What the provenance among a bundle's documents (`ReadManifest.read_documents`) states; None if it has none.

    Raises:
        BundleError: it is not a provenance.
    """
    for name, data in documents.items():
        if _NAME.fullmatch(name):
            try:
                stated: dict[str, Any] = json.loads(data)
                Provenance.model_validate(stated)
            except (ValueError, RecursionError) as error:
                refuse(name, "a provenance of format 1", " ".join(str(error).split()))
            return stated
    return None


def describe_code(provenance: Mapping[str, Any]) -> str:
    """A sentence on the code that trained a model, for people."""
    code = CodeProvenance.model_validate(provenance["code"])
    commit = f"commit {code.commit}" if code.commit else "an unknown commit"
    changed = " with local changes" if code.changed else ""
    lock = f"requirements.lock {code.lock_sha256[:12]}" if code.lock_sha256 else "an unknown lock file"
    return f"Published by nba_ml {code.version} at {commit}{changed}, {lock}, from {len(provenance['data'])} months."
