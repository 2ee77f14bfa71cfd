"""Predictions of a month by a model that has not seen it, in the prediction worker's format.

Turns a booster and feature rows into predictions. `grades` compares them with results.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import BaseModel, ConfigDict

from nba_ml.contract.digest import json_digest
from nba_ml.contract.errors import SplitError, StaleInputError
from nba_ml.contract.model_id import model_id
from nba_ml.contract.systems import System
from nba_ml.data.snapshot import Snapshot
from nba_ml.data.table_digest import table_digest
from nba_ml.data.tables import PREDICTIONS, PRICES
from nba_ml.model.fitting import KEY_COLUMNS, predict
from nba_ml.model.metrics import Interval, PredictionMetrics
from nba_ml.model.published import published_columns
from nba_ml.model.recommendation import recommend_at_prices
from nba_ml.model.values import TrainedModel

MODEL_TYPE = "xgboost"

Floats = npt.NDArray[np.float64]


class PredictingModel(BaseModel):
    """The model that predicts, and its validation: MAE with its 95% interval (bootstrap over days)."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    model_version: str
    model_sha256: str
    newest_month: str
    feature_version: str
    validation: PredictionMetrics
    validation_mae_interval: Interval


@dataclass(frozen=True, slots=True)
class MonthPredictions:
    """A month's predictions in `tables.PREDICTIONS`, in the order of the snapshot.

    `model` is None if there was no model yet. Without a model or samples there are no rows.
    """

    table: pa.Table
    model: PredictingModel | None
    digest: str

    @classmethod
    def of(cls, table: pa.Table, model: PredictingModel | None) -> MonthPredictions:
        """Build the value with the digest of the rows and the model."""
        who = model.model_dump(mode="json") if model else None
        return cls(table, model, json_digest({"rows": table_digest(table), "model": who}))

    def at_prices(self, prices: pa.Table | None) -> MonthPredictions:
        """The same, recommended at the prices of the lines (`line_prices.prices_table`); None for no prices."""
        if prices is None:
            return self
        key = ("player_lookup", "game_date")
        of_rows = {tuple(row[name] for name in key): row for row in prices.to_pylist()}
        rows = zip(*(self.table.column(name).to_pylist() for name in key), strict=True)
        known = [of_rows.get(row, {}) for row in rows]
        both = (pa.array([row.get(name) for row in known], pa.float64()) for name in PRICES)
        return MonthPredictions.of(recommended_at(self.table, *both), self.model)


def prices_to_store(
    points: Floats, line: Floats, prices: tuple[Floats, Floats], separate: npt.NDArray[np.bool_]
) -> tuple[Floats, Floats]:
    """The prices of over and under (n,), of separate ones (`line_prices.Prices`) that of the predicted side alone.

    A bet has that price; taking a bookmaker's margin out of the two would give a probability that nobody stated.
    """
    is_over = points >= line
    return np.where(separate & ~is_over, np.nan, prices[0]), np.where(separate & is_over, np.nan, prices[1])


def recommended_at(table: pa.Table, over_price: pa.Array, under_price: pa.Array) -> pa.Table:
    """Predictions (n rows of `tables.PREDICTIONS`) recommended at the decimal prices (n,) of their lines, null for
    none."""
    numbers = (table.column(name) for name in ("model_points", "current_points_line", "confidence_score"))
    points, line, confidence, over, under = (
        each.cast(pa.float64()).fill_null(np.nan).to_numpy(zero_copy_only=False)
        for each in (*numbers, over_price, under_price)
    )
    advice = recommend_at_prices(points, line, confidence / 100, over, under)
    at = table.schema.get_field_index("recommendation")
    return table.set_column(at, table.schema.field(at), pa.array(advice.tolist(), pa.string()))


def make_predictions(
    snapshot: Snapshot, model: TrainedModel | None, month: str, system: System, threads: int | None
) -> MonthPredictions:
    """Score the samples of a month with the previous month's model.

    Args:
        snapshot: the month; its results are not used.
        model: the previous month's model. None, or a model without a booster, gives no rows.
        month: for messages.
        system: of the model and the snapshot.
        threads: number of threads; the predictions do not depend on it.

    Raises:
        SplitError: the model was trained on games of this month or later.
        StaleInputError: the model has no calibration.
        BundleError: the model's output is not finite.
    """
    if model is None or model.booster is None:
        return MonthPredictions.of(PREDICTIONS.empty_table(), None)
    source, rows = _identity(model, system), snapshot.table
    if not rows.num_rows:
        return MonthPredictions.of(PREDICTIONS.empty_table(), source)
    _require_unseen(model, rows, month)
    calibration = model.report.spread
    if calibration is None:
        raise StaleInputError(
            f"The model {source.model_version} has no calibration, so it cannot give intervals or probabilities for "
            f"{month}: an earlier version of nba_ml trained it. Materialise xgboost_model again for every month from "
            f"{source.newest_month} to {month}, then predictions."
        )
    features = np.column_stack([rows.column(name).to_numpy() for name in system.features.names]).astype(np.float32)
    published = published_columns(
        predict(model.booster, features, threads), rows.column("vegas_points_line").to_numpy(), calibration
    )
    same: Mapping[str, str] = {
        "system_id": system.id,
        "model_version": source.model_version,
        "model_type": MODEL_TYPE,
        "model_sha256": source.model_sha256,
        "feature_version": source.feature_version,
    }
    columns = {
        **{name: pa.array([value]).take(pa.array(np.zeros(rows.num_rows, np.int64))) for name, value in same.items()},
        **{name: rows.column(name) for name in KEY_COLUMNS},
        # from_pandas=False keeps NaN a NaN, as in the snapshot.
        **{name: pa.array(values, from_pandas=False) for name, values in published.items()},
    }
    return MonthPredictions.of(pa.table({name: columns[name] for name in PREDICTIONS.names}).cast(PREDICTIONS), source)


def _identity(model: TrainedModel, system: System) -> PredictingModel:
    report, judgement = model.report, model.report.judgement
    if model.booster is None or report.model_sha256 is None or judgement is None:
        raise StaleInputError(
            "The model's report has no digest or no validation, so it does not belong to a booster. Materialise "
            "xgboost_model again."
        )
    return PredictingModel(
        model_version=model_id(system, report.split.newest_month, model.booster),
        model_sha256=report.model_sha256,
        newest_month=report.split.newest_month,
        feature_version=report.feature_version,
        validation=judgement.validation,
        validation_mae_interval=judgement.validation_mae_interval,
    )


def _require_unseen(model: TrainedModel, rows: pa.Table, month: str) -> None:
    """Raise SplitError if the model was trained on games of the month."""
    newest = model.report.split.sides()["validation"].last
    first = rows.column("game_date")[0].as_py()  # a snapshot is in date order
    if newest >= first:
        raise SplitError(
            f"The model was trained on games up to {newest}, but the first game of {month} is on {first}: it has "
            "already seen the results. Use the model of an earlier month."
        )
