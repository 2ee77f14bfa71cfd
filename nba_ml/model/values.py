"""Values of the training assets that are not tables. Each has a digest."""

from __future__ import annotations

from dataclasses import dataclass

from nba_ml.contract.digest import bytes_digest
from nba_ml.model.record import ModelRecord, TrainingReport


@dataclass(frozen=True, slots=True)
class TrainedModel:
    """A booster with its training report; `booster` is None if there are no samples yet.

    `measured` is the booster that the report's metrics were measured with, if that is another one. It is stored for
    later comparisons and not read back with the asset (`stored.measured_booster`).
    """

    report: TrainingReport
    booster: bytes | None
    measured: bytes | None = None

    @property
    def digest(self) -> str:
        return self.report.digest


@dataclass(frozen=True, slots=True)
class DescribedModel:
    """The `model_metadata` of a month with the booster it describes; both None if there are no samples yet.

    The asset stores only the record. The booster is already stored under its digest.
    """

    record: ModelRecord | None
    booster: bytes | None

    @property
    def digest(self) -> str:
        return self.record.digest if self.record else bytes_digest(b"no model")
