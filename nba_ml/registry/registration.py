"""Register a CatBoost file next to our models, with reference rows and, if rows were held out, an interval."""

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
"""Reference rows of a registered model: as many as our own bundles have."""

CALIBRATION_ROWS = 500
"""Minimum held-out rows for an interval: each end is determined by a tenth of them."""


def register(context: ReleaseContext, data: bytes, extent: TrainingExtent) -> ChannelModel:
    """Register a CatBoost file, so that it can be scored in shadow and rolled out like our own models.

    Registering it again changes nothing, even if the store has more months by then.

    Its reference rows are spread over the newest snapshot in the store. Its interval is calibrated on the rows that its
    trainer held out: after `extent.fitted_until`, up to `extent.given_until`, so that no game that it will be graded
    on is used. With fewer than 500 such rows in the store, it has no interval and no probability.

    Args:
        data: the `.cbm` file.
        extent: the dates of its training data, as stated by its trainer.

    Raises:
        ReleaseError: the store has no snapshot with samples, or `fitted_until` is later than `given_until`.
        BundleError: it is not a CatBoost model of the contract's features.
        MissingExtraError: CatBoost is not installed.
    """
    if extent.fitted_until > extent.given_until:
        raise ReleaseError(
            f"--fitted-until {extent.fitted_until} is later than --given-until {extent.given_until}. --given-until is "
            "the last date of all rows, including those used for fitting and early stopping, so --fitted-until must be "
            "the same or an earlier date."
        )
    known = find_registered(context.objects, data, extent)
    if known is not None:
        return known.model
    filled = [table for table in context.snapshots("").values() if table.num_rows]
    if not filled:
        raise ReleaseError("The store has no rows to use as reference rows. Run `nba-ml backfill` first.")
    rows = filled[-1]
    chosen = np.unique(np.linspace(0, rows.num_rows - 1, REFERENCE_ROWS).round().astype(int))
    taken = rows.take(pa.array(chosen))
    vectors = matrix_of(columns_of(taken, V2_33FEATURES), V2_33FEATURES)
    players, days = (taken.column(name).to_pylist() for name in ("player_lookup", "game_date"))
    reference = list(zip(players, days, vectors.tolist(), strict=True))
    calibration = _held_out_calibration(filled, data, extent)
    return register_catboost(context.objects, data, extent, reference, calibration).model


def _held_out_calibration(tables: Sequence[pa.Table], data: bytes, extent: TrainingExtent) -> Calibration | None:
    """Calibrate an interval on the rows that the model's trainer held out; None if there are too few."""
    rows = pa.concat_tables(tables)
    days = rows.column("game_date")
    first, last = pa.scalar(extent.fitted_until), pa.scalar(extent.given_until)
    rows = rows.filter(pc.and_(pc.greater(days, first), pc.less_equal(days, last)))
    if rows.num_rows < CALIBRATION_ROWS:
        return None
    columns = columns_of(rows, V2_33FEATURES)
    predicted = publish_points(np.array(predict_file(data, matrix_of(columns, V2_33FEATURES).tolist())))
    return calibrate(predicted, rows.column("points").to_numpy(), columns["vegas_points_line"])
