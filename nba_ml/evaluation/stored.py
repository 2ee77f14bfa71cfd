"""Storage formats of a month's predictions and grades."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import TypeAdapter

from nba_ml.data.tables import PREDICTION_GRADES, with_later_columns
from nba_ml.data.tables import PREDICTIONS as PREDICTION_ROWS
from nba_ml.evaluation.grades import GradedMonth, GradeReport
from nba_ml.evaluation.predictions import MonthPredictions, PredictingModel
from nba_ml.storage.months import Parts, StoredAsset, parquet_bytes, parquet_table

_MODEL: TypeAdapter[PredictingModel | None] = TypeAdapter(PredictingModel | None)


def _predictions_to_bytes(value: MonthPredictions, _: Parts) -> bytes:
    model = "null" if value.model is None else value.model.model_dump_json()
    return parquet_bytes(value.table, {"model": model, "digest": value.digest})


def _predictions_from_bytes(data: bytes, _: Parts, columns: Sequence[str] | None) -> MonthPredictions:
    table, facts = parquet_table(data, columns)
    table = with_later_columns(table, PREDICTION_ROWS) if columns is None else table
    return MonthPredictions(table, _MODEL.validate_json(facts["model"]), facts["digest"])


def _grades_to_bytes(value: GradedMonth, _: Parts) -> bytes:
    return parquet_bytes(value.table, {"report": value.report.model_dump_json(), "digest": value.digest})


def _grades_from_bytes(data: bytes, _: Parts, columns: Sequence[str] | None) -> GradedMonth:
    table, facts = parquet_table(data, columns)
    table = with_later_columns(table, PREDICTION_GRADES) if columns is None else table
    return GradedMonth(table, GradeReport.model_validate_json(facts["report"]), facts["digest"])


PREDICTIONS = StoredAsset("predictions", MonthPredictions, _predictions_to_bytes, _predictions_from_bytes, tabular=True)
GRADES = StoredAsset("prediction_grades", GradedMonth, _grades_to_bytes, _grades_from_bytes, tabular=True)
