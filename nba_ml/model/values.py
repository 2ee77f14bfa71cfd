"""What the assets of the training group make of a month, beside tables: each names itself by a digest."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Protocol

from pydantic import BaseModel

from nba_ml.contract.digest import bytes_digest
from nba_ml.model.record import ModelRecord, TrainingReport
from nba_ml.registry.verdict import Verdict


class HasDigest(Protocol):
    """What an asset stores for a month. Its digest, in hex, is the data version of the materialisation."""

    @property
    def digest(self) -> str: ...


@dataclass(frozen=True, slots=True)
class TrainedModel:
    """A booster with the report of its training; `booster` is None while there is no sample yet."""

    report: TrainingReport
    booster: bytes | None

    @property
    def digest(self) -> str:
        return self.report.digest


@dataclass(frozen=True, slots=True)
class DescribedModel:
    """The `model_metadata` of a month with the booster it describes; both None while there is no sample yet.

    The record is what the asset stores. The booster is already there, under its digest.
    """

    record: ModelRecord | None
    booster: bytes | None

    @property
    def digest(self) -> str:
        return self.record.digest if self.record else bytes_digest(b"no model")


class Artifact(BaseModel):
    """What `gcs_artifact` published: empty where there is no model to publish yet."""

    model_id: str | None = None
    uris: dict[str, str] = {}
    generations: dict[str, str] = {}
    sha256: dict[str, str] = {}
    verdict: Verdict | None = None

    @property
    def digest(self) -> str:
        return bytes_digest(json.dumps([self.model_id, self.sha256], sort_keys=True).encode())
