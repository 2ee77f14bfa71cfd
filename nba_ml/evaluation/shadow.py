"""Predictions of several systems for one month, graded on the same rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict

from nba_ml.contract.errors import ReleaseError
from nba_ml.contract.features import V2_33FEATURES
from nba_ml.data.snapshot import Snapshot
from nba_ml.data.tables import PREDICTIONS
from nba_ml.evaluation.grades import grade_rows
from nba_ml.evaluation.predictions import MonthPredictions
from nba_ml.model.fitting import KEY_COLUMNS
from nba_ml.model.metrics import Interval, PredictionMetrics, interval_over_days, measure
from nba_ml.registry.systems.interface import Floats, PredictionSystem, columns_of
from nba_ml.registry.systems.published import system_columns


def shadow_predictions(systems: Sequence[PredictionSystem], rows: pa.Table) -> pa.Table:
    """The predictions of each system for rows with the columns that they read, one system after the other.

    In `tables.PREDICTIONS`. Rows that a system cannot predict are omitted. A system without intervals has NaN
    in `points_low`, `points_high`, `over_probability` and `confidence_score`.

    Raises:
        ReleaseError: two systems have the same name and version.
        BundleError: a model's output is infinite.
    """
    names = [(system.system_id, system.version) for system in systems]
    if len(set(names)) != len(names):
        raise ReleaseError(f"A system is listed twice: {', '.join(version for _, version in names)}. Name each once.")
    tables = [_predictions(system, rows, system.predict(columns_of(rows, system.features))) for system in systems]
    return pa.concat_tables(tables) if tables else PREDICTIONS.empty_table()


def _predictions(system: PredictionSystem, rows: pa.Table, raw: Floats) -> pa.Table:
    predicted = ~np.isnan(raw)
    rows, raw = rows.filter(pa.array(predicted)), raw[predicted]
    line: Floats = rows.column("vegas_points_line").to_numpy()
    published = system_columns(raw, line, system.calibration)
    same = {
        "system_id": system.system_id,
        "model_version": system.version,
        "model_type": system.model_type,
        "model_sha256": system.model_sha256,
        "feature_version": system.features.name,
    }
    columns = {
        **{name: pa.array([value] * len(raw), pa.string()) for name, value in same.items()},
        **{name: rows.column(name) for name in KEY_COLUMNS},
        # from_pandas=False keeps NaN a NaN, as in the snapshot.
        **{name: pa.array(values, from_pandas=False) for name, values in published.items()},
    }
    return pa.table({name: columns[name] for name in PREDICTIONS.names}).cast(PREDICTIONS)


class SystemGrade(BaseModel):
    """A system's grade on the rows that all systems predicted.

    `gain` is the first system's MAE minus this one's, with its 95% interval (paired, bootstrap over days). Above 0 this
    system is better. It is 0 for the first system. `with_line` and `without_line` are its metrics on the rows with and
    without a betting line, None if there are none: a model that was trained on imputed lines can be good on the first
    and useless on the second.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    system_id: str
    model_version: str
    metrics: PredictionMetrics
    with_line: PredictionMetrics | None
    without_line: PredictionMetrics | None
    gain: float
    gain_interval: Interval


@dataclass(frozen=True, slots=True)
class ShadowGrades:
    """Graded rows of all systems (`tables.PREDICTION_GRADES`), and each system's grade on the common rows."""

    table: pa.Table
    systems: tuple[SystemGrade, ...]


def grade_systems(predictions: pa.Table, snapshot: Snapshot) -> ShadowGrades:
    """Grade `shadow_predictions` with the results in the snapshot, relative to the first system.

    Use a snapshot that no system was trained on.
    """
    tables: list[pa.Table] = []
    for name in predictions.column("model_version").unique().to_pylist():
        one = predictions.filter(pc.equal(predictions.column("model_version"), name))
        tables.append(grade_rows(MonthPredictions.of(one, None), snapshot, V2_33FEATURES))
    if not tables:
        return ShadowGrades(grade_rows(MonthPredictions.of(predictions, None), snapshot, V2_33FEATURES), ())
    return ShadowGrades(pa.concat_tables(tables), compare_graded(tables))


COMPARED = (
    *("system_id", "model_version", "game_date", "player_lookup"),
    *("predicted_points", "current_points_line", "points", "absolute_error"),
)
"""The columns that `compare_graded` reads."""


def compare_graded(tables: Sequence[pa.Table]) -> tuple[SystemGrade, ...]:
    """Each system's grade on the rows that all of them predicted, relative to the first.

    Args:
        tables: at least the columns COMPARED of `tables.PREDICTION_GRADES`, of one system each; a player once a date.
    """
    rows = _common_rows(tables) if tables else []
    return tuple(_grade(table, at, tables[0], rows[0]) for table, at in zip(tables, rows, strict=True) if len(at))


def _common_rows(tables: Sequence[pa.Table]) -> list[npt.NDArray[np.intp]]:
    """For each table, where the rows are whose key is in all tables, in the order of date and player.

    By numbers instead of a join: that of 36 months of two systems takes 60 MB of memory.
    """
    names = pa.concat_tables(table.select(["player_lookup"]) for table in tables).column(0).unique().sort()
    keys = [
        table.column("game_date").to_numpy().astype("datetime64[D]").astype(np.int64) * len(names)
        + pc.index_in(table.column("player_lookup"), names).to_numpy()
        for table in tables
    ]
    common = reduce(np.intersect1d, keys)
    orders = [np.argsort(key) for key in keys]
    return [order[np.searchsorted(key, common, sorter=order)] for key, order in zip(keys, orders, strict=True)]


def _grade(table: pa.Table, at: npt.NDArray[np.intp], first: pa.Table, first_at: npt.NDArray[np.intp]) -> SystemGrade:
    rows, others = table.select(COMPARED).take(at), first.select(["absolute_error"]).take(first_at)
    predicted = rows.column("predicted_points").to_numpy()
    lined = ~np.isnan(rows.column("current_points_line").to_numpy())
    points, days = rows.column("points").to_numpy(), rows.column("game_date").to_numpy().astype("datetime64[D]")
    gain = others.column("absolute_error").to_numpy() - rows.column("absolute_error").to_numpy()
    return SystemGrade(
        system_id=rows.column("system_id")[0].as_py(),
        model_version=rows.column("model_version")[0].as_py(),
        metrics=measure(predicted, points),
        with_line=measure(predicted[lined], points[lined]) if lined.any() else None,
        without_line=measure(predicted[~lined], points[~lined]) if not lined.all() else None,
        gain=round(float(gain.mean()), 6) + 0.0,
        gain_interval=interval_over_days(gain, days),
    )
