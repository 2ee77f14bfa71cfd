"""The manifest of a registered model: what was stated and measured when it was registered.

Imports only what a prediction worker may import.
"""

from __future__ import annotations

from datetime import date
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from nba_ml.contract.digest import sealed_json
from nba_ml.contract.features import FEATURE_VERSIONS, FeatureVersion
from nba_ml.model.calibration import Calibration
from nba_ml.registry.learners.interface import Vectors
from nba_ml.registry.learners.missing import NAN, MissingPolicy
from nba_ml.registry.reader import ReadManifest, refuse

_FROZEN = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class StatedFile(BaseModel):
    """A file as stated in a manifest: size in bytes, sha256 in hex."""

    model_config = _FROZEN

    name: str
    size: int
    sha256: str


class KnownRow(BaseModel):
    """A reference row and the points predicted for it at registration; null is missing, before the policy."""

    model_config = _FROZEN

    player_lookup: str
    game_date: str
    features: tuple[float | None, ...]
    prediction: float


class RegisteredManifest(BaseModel):
    """The object that makes a registered model exist. For the dates see `interface.TrainingExtent`.

    `names` says whether the file has the feature names, or the person who registered it gave them. `target` is what it
    predicts, as stated and confirmed by its numbers; None if an earlier version registered it. `waived` are the
    conditions of the target that a person waived, with the `reason`. `library` is the learner's version then.
    """

    model_config = _FROZEN

    format_version: Literal[1] = 1
    model_id: str
    objects: tuple[StatedFile]
    feature_version: str
    feature_names: tuple[str, ...]
    names: Literal["embedded", "given"] = "embedded"
    missing: MissingPolicy = NAN
    target: Literal["points"] | None = None
    waived: tuple[str, ...] = ()
    reason: str = ""
    newest_month: str
    fitted_until: date
    given_until: date
    calibration: Calibration | None
    reference_rows: tuple[KnownRow, ...]
    library: str

    @model_validator(mode="before")
    @classmethod
    def _of_catboost_only(cls, content: Any) -> Any:
        """Manifests written before other learners could be registered name CatBoost's version `catboost`."""
        if isinstance(content, dict) and "catboost" in content:
            return {"library" if key == "catboost" else key: value for key, value in content.items()}
        return content

    @model_validator(mode="after")
    def _fits_together(self) -> RegisteredManifest:
        if self.fitted_until > self.given_until or self.given_until.strftime("%Y-%m") != self.newest_month:
            raise ValueError(
                f"fitted until {self.fitted_until}, given until {self.given_until}, newest month {self.newest_month}"
            )
        if self.objects[0].name.rpartition(".")[0] != self.model_id:
            raise ValueError(f"{self.objects[0].name} is not the file of {self.model_id}")
        if not self.reference_rows:
            raise ValueError("no reference rows")
        if self.feature_version in FEATURE_VERSIONS and (fault := self.missing.fault(self.version)):
            raise ValueError(f"missing: {fault}")
        return self

    @property
    def version(self) -> FeatureVersion:
        return FEATURE_VERSIONS[self.feature_version]

    @property
    def reference(self) -> Vectors:
        """The vectors (n, features) of the reference rows, filled as the model gets them."""
        rows = np.array([row.features for row in self.reference_rows], dtype=np.float32)
        return self.missing.fill(rows, self.version)

    def to_bytes(self) -> bytes:
        """Canonical JSON with its own digest, like the manifests of bundles."""
        return sealed_json(self.model_dump(mode="json"), "manifest_sha256")

    @classmethod
    def of(cls, read: ReadManifest) -> RegisteredManifest:
        """Parse the content of a manifest; raises BundleError if it is not that of a registered model."""
        try:
            return cls.model_validate(read.content)
        except ValidationError as error:
            refuse(read.name, "the manifest of a registered model", " ".join(str(error).split()))
