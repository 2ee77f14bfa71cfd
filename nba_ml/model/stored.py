"""Storage formats of a month's training: the report, the record, and the booster that both name."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import TypeAdapter

from nba_ml.contract.errors import StaleInputError
from nba_ml.contract.systems import SYSTEMS
from nba_ml.model.challengers import ChallengerReport
from nba_ml.model.record import ModelRecord, TrainingReport
from nba_ml.model.values import DescribedModel, TrainedModel
from nba_ml.storage.months import MonthStore, Parts, StoredAsset, record_bytes, stored_record

_RECORD: TypeAdapter[ModelRecord | None] = TypeAdapter(ModelRecord | None)


def _trained_to_bytes(value: TrainedModel, parts: Parts) -> bytes:
    if value.booster is not None:
        parts.put("boosters", "json", value.booster)
    if value.measured is not None:
        parts.put("boosters", "json", value.measured)
    return record_bytes(value.report)


def _trained_from_bytes(data: bytes, parts: Parts, _: Sequence[str] | None) -> TrainedModel:
    report = TrainingReport.model_validate_json(data)
    return TrainedModel(report, _booster(report.model_sha256, parts))


def _described_to_bytes(value: DescribedModel, _: Parts) -> bytes:
    return value.record.to_bytes() if value.record else b"null\n"


def _described_from_bytes(data: bytes, parts: Parts, _: Sequence[str] | None) -> DescribedModel:
    record = _RECORD.validate_json(data)
    return DescribedModel(record, _booster(record.model_sha256 if record else None, parts))


def _booster(sha256: str | None, parts: Parts) -> bytes | None:
    return None if sha256 is None else parts.get("boosters", "json", sha256, made_by=MODEL.name)


def measured_booster(months: MonthStore, record: ModelRecord) -> bytes | None:
    """The booster that a record's metrics were measured with.

    None if the store does not have it intact: another store trained the model, or a version that did not keep it.
    """
    try:
        return _booster(
            record.measured_sha256, Parts(months.objects, MODEL.of(SYSTEMS[record.system_id]).name, record.newest_month)
        )
    except StaleInputError:
        return None


MODEL = StoredAsset("xgboost_model", TrainedModel, _trained_to_bytes, _trained_from_bytes)
METADATA = StoredAsset("model_metadata", DescribedModel, _described_to_bytes, _described_from_bytes)
CHALLENGERS = stored_record("challengers", ChallengerReport)
