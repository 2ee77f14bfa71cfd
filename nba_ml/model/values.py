"""What the assets of the training group make of a month, beside tables: each names itself by a digest."""

from __future__ import annotations

from dataclasses import dataclass

from nba_ml.contract.digest import bytes_digest
from nba_ml.model.record import ModelRecord, TrainingReport


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
