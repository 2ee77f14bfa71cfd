"""A CatBoost file put beside our models: with what makes it verifiable, and an interval if rows were held out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nba_ml.contract.errors import ReleaseError
from nba_ml.contract.features import V2_33FEATURES
from nba_ml.model.recommendation import publish_points
from nba_ml.model.uncertainty import Calibration, calibrate
from nba_ml.registry.channel import ChannelModel
from nba_ml.registry.release_context import ReleaseContext
from nba_ml.registry.systems.catboost_v8 import find_registered, predict_file, register_catboost
from nba_ml.registry.systems.interface import TrainingExtent, columns_of, matrix_of

REFERENCE_ROWS = 20
"""Rows that a registered model must predict again, as many as our own bundles have."""

CALIBRATION_ROWS = 500
"""Held-out rows that an interval is learnt from, at least: its ends are quantiles of a tenth of them."""


def register(context: ReleaseContext, data: bytes, seen: TrainingExtent) -> ChannelModel:
    """Put a CatBoost file beside ours: from then on it can be scored in shadow and rolled out like a model of ours.

    Registered again, though the store may have more months by then, it is what it was.

    Its reference rows are spread over the newest snapshot in the store. Its interval is learnt from rows that its
    trainer held out: after what it was fitted on, and no later than what it was given, so that games it will be graded
    on teach it nothing. With fewer than 500 such rows in the store it has no interval, and no probability.

    Args:
        data: the `.cbm` file.
        seen: the last dates that its training looked at, by its trainer's word.

    Raises:
        ReleaseError: the store has no snapshot with samples, or training looked at later games than it was given.
        BundleError: it is no CatBoost model of the contract's features.
        MissingExtraError: CatBoost is not installed.
    """
    if seen.fitted > seen.given:
        raise ReleaseError(
            f"The model cannot have been fitted on games up to {seen.fitted} and given games only up to {seen.given}: "
            "what it was given includes what it was fitted on. Give the last date of all its rows, and that of the "
            "rows that fitting or early stopping looked at, which is the same or an earlier one."
        )
    known = find_registered(context.objects, data, seen)
    if known is not None:
        return known.model
    filled = [table for table in context.snapshots("").values() if table.num_rows]
    if not filled:
        raise ReleaseError("The store has no rows to take reference rows from: `nba-ml backfill` makes some.")
    rows = filled[-1]
    chosen = np.unique(np.linspace(0, rows.num_rows - 1, REFERENCE_ROWS).round().astype(int))
    taken = rows.take(pa.array(chosen))
    vectors = matrix_of(columns_of(taken, V2_33FEATURES), V2_33FEATURES)
    players, days = (taken.column(name).to_pylist() for name in ("player_lookup", "game_date"))
    reference = list(zip(players, days, vectors.tolist(), strict=True))
    return register_catboost(context.objects, data, seen, reference, _held_out_calibration(filled, data, seen)).model


def _held_out_calibration(tables: Sequence[pa.Table], data: bytes, seen: TrainingExtent) -> Calibration | None:
    """How far results spread around a CatBoost's predictions on the rows that its trainer held out."""
    rows = pa.concat_tables(tables)
    days = rows.column("game_date")
    rows = rows.filter(pc.and_(pc.greater(days, pa.scalar(seen.fitted)), pc.less_equal(days, pa.scalar(seen.given))))
    if rows.num_rows < CALIBRATION_ROWS:
        return None
    columns = columns_of(rows, V2_33FEATURES)
    predicted = publish_points(np.array(predict_file(data, matrix_of(columns, V2_33FEATURES).tolist())))
    return calibrate(predicted, rows.column("points").to_numpy(), columns["vegas_points_line"])
