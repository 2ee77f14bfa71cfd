"""How a published bundle is named, and the manifest that makes it exist."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from nba_ml.contract.digest import bytes_digest
from nba_ml.contract.errors import BundleError, PublicationError
from nba_ml.contract.model_id import MODEL_ID, SYSTEM_ID
from nba_ml.registry.verdict import Verdict

_MANIFEST_SUFFIX = "_manifest.json"


@dataclass(frozen=True, slots=True)
class BundleNames:
    """Where a bundle's objects lie, as names under the store's root."""

    booster: str
    record: str
    manifest: str

    @classmethod
    def of(cls, model_id: str) -> BundleNames:
        """The names for a model.

        Raises:
            PublicationError: `model_id` is not of the form that `model_id()` gives.
        """
        if not MODEL_ID.fullmatch(model_id):
            raise PublicationError(
                f"{model_id!r} is no model id. One reads {SYSTEM_ID}_33features_<YYYYMM>_<12 hex digits>; "
                "take it from the training record or from the list of what is published."
            )
        stem = f"{SYSTEM_ID}/{model_id}"
        return cls(f"{stem}.json", f"{stem}_metadata.json", f"{stem}{_MANIFEST_SUFFIX}")


class ManifestObject(BaseModel):
    """One object of a bundle: its name in the manifest's own folder, its size in bytes, its sha256 in hex."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    size: int
    sha256: str


class Manifest(BaseModel):
    """What makes a bundle exist. Nothing in it depends on a clock, a host or a run.

    Names are relative to the manifest's folder, so a bundle that is copied elsewhere whole stays good.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format_version: Literal[1]
    model_id: str
    objects: tuple[ManifestObject, ...]
    verdict: Verdict

    def to_bytes(self) -> bytes:
        """Canonical JSON: sorted keys, no NaN, a newline at the end.

        `manifest_sha256` is added: the digest of the canonical JSON of all the rest. The other objects are
        guarded by the manifest; this guards the manifest itself against a flipped bit.
        """
        content = self.model_dump(mode="json")
        return _canonical({**content, "manifest_sha256": bytes_digest(_canonical(content))})

    @classmethod
    def from_bytes(cls, data: bytes, uri: str) -> Manifest:
        """The manifest that `to_bytes` wrote, byte for byte; `uri` goes into the message.

        Raises:
            BundleError: not JSON, another format, or not exactly the bytes that its content has.
        """
        try:
            content = json.loads(data)
            claimed = content.pop("manifest_sha256")
            manifest = cls.model_validate(content)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise BundleError(
                f"{uri} is no manifest of format 1 ({len(data):,} bytes, sha256 {bytes_digest(data)}): {error}. "
                "It is damaged or was not written by nba_ml; do not load the bundle."
            ) from error
        # Over the content as it was written: a manifest stays good when a later version adds a field.
        digest = bytes_digest(_canonical(content))
        if claimed != digest or _canonical({**content, "manifest_sha256": digest}) != data:
            raise BundleError(
                f"{uri} is damaged: it states the digest {claimed} and its content has {digest}, or its form is not "
                "canonical. Do not load the bundle."
            )
        return manifest


def model_id_of_manifest(name: str) -> str | None:
    """The model that an object of this name would be the manifest of; None if it is not named like one."""
    stem = name.removeprefix(f"{SYSTEM_ID}/").removesuffix(_MANIFEST_SUFFIX)
    return stem if name == f"{SYSTEM_ID}/{stem}{_MANIFEST_SUFFIX}" and MODEL_ID.fullmatch(stem) else None


def _canonical(content: dict[str, Any]) -> bytes:
    # Indented, because people open manifests too; no less canonical for that.
    return (json.dumps(content, sort_keys=True, indent=2, allow_nan=False) + "\n").encode()
