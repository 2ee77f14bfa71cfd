"""The names of a published bundle's objects, and its manifest."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict

from nba_ml.contract.digest import bytes_digest, canonical_json, sealed_json
from nba_ml.contract.errors import BundleError, PublicationError
from nba_ml.contract.model_id import MODEL_ID, system_of_model
from nba_ml.registry.verdict import Verdict

_MANIFEST_SUFFIX = "_manifest.json"


@dataclass(frozen=True, slots=True)
class BundleNames:
    """The names of a bundle's objects, relative to the store's root."""

    booster: str
    record: str
    manifest: str
    stem: str

    @classmethod
    def of(cls, model_id: str) -> BundleNames:
        """The names for a model.

        Raises:
            PublicationError: `model_id` is not a valid model id.
        """
        system = system_of_model(model_id)
        if system is None:
            raise PublicationError(
                f"{model_id!r} is not a valid model id. The form is xgboost_v1_33features_<YYYYMM>_<12 hex digits>. "
                "Take the id from `nba-ml champion history` or from the metadata of the asset model_metadata."
            )
        stem = f"{system.id}/{model_id}"
        return cls(f"{stem}.json", f"{stem}_metadata.json", f"{stem}{_MANIFEST_SUFFIX}", stem)

    @property
    def folder(self) -> str:
        """The folder of all of them, with a slash at its end."""
        return self.stem[: self.stem.index("/") + 1]

    def document(self, name: str, data: bytes) -> str:
        """The name of a document, `model_card.md`, with these bytes.

        It has a part of their digest: a publisher that died before its manifest may have left another text.
        """
        base, ending = name.rsplit(".", 1)
        return f"{self.stem}_{base}_{bytes_digest(data)[:12]}.{ending}"


class ManifestObject(BaseModel):
    """One object of a bundle: its name in the manifest's folder, size in bytes, and sha256 in hex."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    size: int
    sha256: str


class Manifest(BaseModel):
    """The object that makes a bundle exist. Its content does not depend on a clock, a host or a run.

    Names are relative to the manifest's folder, so a bundle that is copied elsewhere stays valid. No reader needs
    `documents` (the model card, the provenance) to load the model. Fields of later versions are ignored.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    format_version: Literal[1]
    model_id: str
    objects: tuple[ManifestObject, ...]
    verdict: Verdict
    documents: tuple[ManifestObject, ...] = ()

    def to_bytes(self) -> bytes:
        """Canonical JSON. The manifest protects the other objects; `manifest_sha256` in it protects the manifest."""
        # Without documents, the manifest is the same as before there were any.
        content = self.model_dump(mode="json", exclude=None if self.documents else {"documents"})
        return sealed_json(content, "manifest_sha256")

    @classmethod
    def from_bytes(cls, data: bytes, uri: str) -> Manifest:
        """Parse a manifest that `to_bytes` wrote. `uri` is used in error messages.

        Raises:
            BundleError: the bytes are not JSON, are in another format, or differ from the content's canonical form.
        """
        try:
            content = json.loads(data)
            claimed = content.pop("manifest_sha256")
            manifest = cls.model_validate(content)
            # Of the content as it was written, so that a manifest stays valid when a later version adds a field.
            digest = bytes_digest(canonical_json(content))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise BundleError(
                f"{uri} is not a manifest of format 1 ({len(data):,} bytes, sha256 {bytes_digest(data)}): {error}. "
                "It is damaged or was not written by nba_ml; do not load the bundle."
            ) from error
        if canonical_json({**content, "manifest_sha256": digest}) != data:
            raise BundleError(
                f"{uri} is damaged: its stated digest is {claimed}, the digest of its content is {digest}, or its form "
                "is not canonical. Do not load the bundle."
            )
        return manifest


def model_id_of_manifest(name: str) -> str | None:
    """The model id in a manifest's object name; None if the name is not that of a manifest."""
    model_id = name.rpartition("/")[2].removesuffix(_MANIFEST_SUFFIX)
    return model_id if MODEL_ID.fullmatch(model_id) and name == BundleNames.of(model_id).manifest else None
