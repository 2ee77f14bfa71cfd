"""The value of `gcs_artifact`: what was published and with which verdict, or why nothing was."""

from __future__ import annotations

import json

from pydantic import BaseModel

from nba_ml.contract.digest import bytes_digest
from nba_ml.registry.refusal import Refusal
from nba_ml.registry.verdict import Verdict
from nba_ml.storage.months import stored_record


class Artifact(BaseModel):
    """What `gcs_artifact` published. `refused` says why a model was not published; empty if there is no model yet."""

    model_id: str | None = None
    uris: dict[str, str] = {}
    generations: dict[str, str] = {}
    sha256: dict[str, str] = {}
    verdict: Verdict | None = None
    refused: Refusal | None = None

    @property
    def digest(self) -> str:
        refused = [self.refused.model_dump(mode="json")] if self.refused else []
        return bytes_digest(json.dumps([self.model_id, self.sha256, *refused], sort_keys=True).encode())


ARTIFACT = stored_record("gcs_artifact", Artifact)
