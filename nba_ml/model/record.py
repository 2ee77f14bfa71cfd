"""The records of a booster: what it was trained on, its metrics, and how they were measured.

`TrainingReport` belongs to the asset `xgboost_model`; `ModelRecord` is published with the booster. Neither contains a
time, a run or a host: the same rows give the same record, byte for byte.
"""

from __future__ import annotations

import json
import math
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version as installed_version

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from nba_ml.contract.digest import bytes_digest
from nba_ml.contract.errors import BundleError
from nba_ml.contract.features import FeatureVersion
from nba_ml.contract.model_id import model_id
from nba_ml.contract.systems import System
from nba_ml.data.split import SplitManifest
from nba_ml.model import baselines
from nba_ml.model.calibration import (
    Calibration,
    CoverageReport,
    PointsDistribution,
    calibrate,
    fit_distribution,
    measure_coverage,
)
from nba_ml.model.comparison import BaselineResult, compare
from nba_ml.model.diagnosis import ModelDiagnosis, diagnose_model
from nba_ml.model.distribution import DistributionReport, measure_distribution
from nba_ml.model.engine import TrainingEngine
from nba_ml.model.fitting import FittedBooster, Hyperparameters, Rows, Samples, importance, load, predict, predict_rows
from nba_ml.model.metrics import Array, Interval, PredictionMetrics, interval_over_days, measure
from nba_ml.model.recommendation import publish_points
from nba_ml.model.tiers import TIER_NAMES, tier_of

REFERENCE_ROWS = 20
"""Number of rows whose predictions a loader must reproduce: enough to reach many leaves, few enough to read."""

LIBRARIES = ("xgboost", "numpy", "pyarrow", "duckdb", "pandas", "dagster", "nba_ml")

Predictions = npt.NDArray[np.float32]
"""A booster's raw output (n,), in points."""

_FROZEN = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


_SAMPLING = "how rows were sampled for each tree, if not by XGBoost itself"


class ReferenceRow(BaseModel):
    """A validation row and the booster's prediction for it at training; null is missing."""

    model_config = _FROZEN

    player_lookup: str
    game_date: str
    features: tuple[float | None, ...]
    prediction: float


class Judgement(BaseModel):
    """A booster's metrics on the three sides of the split. The validation rows are used only here.

    They are those of the raw output of the booster fitted on the train side; only `coverage` uses published points.
    `refit_distance` is how far the predictions of the shipped booster, fitted on all rows, differ from it.
    """

    model_config = _FROZEN

    train: PredictionMetrics
    early_stopping: PredictionMetrics
    validation: PredictionMetrics
    validation_mae_interval: Interval = Field(description="95%, bootstrap over days")
    baselines: dict[str, BaselineResult]
    tiers: dict[str, PredictionMetrics] = Field(description="validation by tier of season average, lowest first")
    above_prediction: float = Field(description="share of validation results above the prediction")
    equal_to_prediction: float = Field(description="share of validation results equal to the prediction")
    lowest_prediction: float = Field(description="on validation, in points")
    highest_prediction: float = Field(description="on validation, in points")
    refit_distance: float = Field(description="mean distance of the shipped booster's predictions, on validation")
    coverage: CoverageReport = Field(description="of the 80% interval by `calibration`, on validation")
    distribution: DistributionReport | None = Field(None, description="of the published distribution, on validation")

    @property
    def published_coverage(self) -> CoverageReport:
        """Of the 80% interval that is published."""
        if self.distribution is None:
            return self.coverage
        tiers = {name: each.coverage_80 for name, each in self.distribution.tiers.items()}
        return CoverageReport(overall=self.distribution.overall.coverage_80, tiers=tiers)


class TrainingReport(BaseModel):
    """The result of a training. `model_sha256`, `judgement` and the rest are None or empty if there are no samples."""

    model_config = _FROZEN

    split: SplitManifest
    parameters: Hyperparameters
    sampling: str | None = Field(None, description=_SAMPLING)
    feature_version: str
    model_sha256: str | None = Field(None, description="of the booster that is shipped")
    measured_sha256: str | None = Field(None, description="of the booster that is judged, fitted on the train side")
    best_iteration: int | None = None
    rounds_run: int | None = None
    judgement: Judgement | None = None
    calibration: Calibration | None = Field(None, description="spread of results, learnt on the early-stopping side")
    distribution: PointsDistribution | None = Field(None, description="the spread that is published, of the same rows")
    importance: dict[str, float] = Field(default_factory=dict, description="share of total gain")
    players: int = 0
    reference_rows: tuple[ReferenceRow, ...] = ()
    diagnosis: ModelDiagnosis | None = Field(None, description="of the validation rows; None before there was one")
    engine: TrainingEngine | None = Field(None, description="what trained the boosters; None for one process")

    @property
    def digest(self) -> str:
        """The booster's sha256, or the split's digest if there is no booster."""
        return self.model_sha256 or self.split.digest

    @property
    def spread(self) -> Calibration | None:
        """What intervals and probabilities come from."""
        return self.distribution or self.calibration


class ModelRecord(BaseModel):
    """The metadata of a published model. `months` are those with samples, `newest_month` the last of them.

    The metrics are those of a booster that was not trained on the validation rows.
    """

    model_config = _FROZEN

    system_id: str
    model_type: str
    model_id: str
    model_sha256: str
    measured_sha256: str = Field(
        description="of the booster that `metrics` speak of, fitted on the train side alone; where it is not "
        "model_sha256, the published booster was fitted anew on all rows, for as many rounds"
    )
    feature_version: str
    feature_names: tuple[str, ...]
    newest_month: str
    months: tuple[str, ...]
    first_date: str
    last_date: str
    rows: int
    players: int
    split: SplitManifest
    parameters: Hyperparameters
    sampling: str | None = Field(None, description=_SAMPLING)
    best_iteration: int
    rounds_run: int
    metrics: Judgement
    calibration: Calibration = Field(description="what versions before `distribution` publish; never changed since")
    distribution: PointsDistribution | None = Field(None, description="what intervals and probabilities come from")
    importance: dict[str, float]
    reference_rows: tuple[ReferenceRow, ...]
    libraries: dict[str, str]
    engine: TrainingEngine | None = Field(None, description="what trained the boosters; None for one process")

    def to_bytes(self) -> bytes:
        """Canonical JSON: sorted keys, no NaN, a newline at the end."""
        content = self.model_dump(mode="json")
        for fields in (content, content["metrics"]):
            for name in ("distribution", "engine", "sampling"):  # a record of before there was one keeps its bytes
                if fields.get(name, ...) is None:
                    del fields[name]
        text = json.dumps(content, sort_keys=True, indent=1, allow_nan=False, ensure_ascii=False)
        return text.encode() + b"\n"

    @property
    def digest(self) -> str:
        return bytes_digest(self.to_bytes())

    @property
    def spread(self) -> Calibration:
        """What intervals and probabilities come from."""
        return self.distribution or self.calibration


def judge(
    predicted: Mapping[str, Predictions],
    shipped: Predictions,
    sides: Mapping[str, Rows],
    calibration: Calibration,
    distribution: PointsDistribution,
    version: FeatureVersion,
) -> Judgement:
    """Measure a booster on the sides of its split, and the baselines on validation.

    Args:
        predicted: side -> raw output (n,) of the booster fitted on the train side.
        shipped: raw output (n,) of the booster fitted on all rows, for validation. Used only to measure how far the
            two differ: it was fitted on these rows.
        sides: train, early_stopping and validation.
        calibration, distribution: of the early-stopping side, so that validation rows are new to them.
    """
    validation, ours = sides["validation"].in_memory(), predicted["validation"]
    season_average = validation.features[:, version.index("points_avg_season")]
    tiers = tier_of(season_average)
    return Judgement(
        **{name: measure(predicted[name], side.points) for name, side in sides.items()},
        validation_mae_interval=interval_over_days(
            np.abs(ours.astype(np.float64) - validation.points), validation.dates
        ),
        baselines=_baselines(validation, ours, version),
        tiers={
            name: measure(ours[tiers == name], validation.points[tiers == name]) for name in TIER_NAMES if name in tiers
        },
        above_prediction=round(float((validation.points > ours).mean()), 6),
        equal_to_prediction=round(float((validation.points == ours).mean()), 6),
        lowest_prediction=float(min(ours.min(), shipped.min())),
        highest_prediction=float(max(ours.max(), shipped.max())),
        refit_distance=round(float(np.abs(shipped.astype(np.float64) - ours).mean()), 6),
        coverage=measure_coverage(calibration, publish_points(ours), validation.points, season_average),
        distribution=measure_distribution(distribution, publish_points(ours), validation.points, season_average),
    )


def _baselines(validation: Samples, predicted: Array, version: FeatureVersion) -> dict[str, BaselineResult]:
    """The results of the baselines that have values on these rows."""
    values = baselines.predict_baselines(validation.features, version)
    compared = {name: compare(v, predicted, validation.points, validation.dates) for name, v in values.items()}
    return {name: result for name, result in compared.items() if result is not None}


def report_training(
    fitted: FittedBooster,
    shipped: bytes,
    samples: Rows,
    split: SplitManifest,
    parameters: Hyperparameters,
    version: FeatureVersion,
    threads: int | None,
) -> TrainingReport:
    """Measure a fitted booster and the shipped one. Each is parsed once from its saved bytes."""
    sides = dict(samples.sides(split))
    # Of the others only the points are needed, and the train side may be more than memory holds.
    sides["validation"] = validation = sides["validation"].in_memory()
    measured = load(fitted.booster, threads)
    ships = measured if shipped == fitted.booster else load(shipped, threads)
    predicted = {name: predict_rows(measured, side) for name, side in sides.items()}
    theirs = predicted["validation"] if ships is measured else predict(ships, validation.features)
    held_out, line = sides["early_stopping"], version.index("vegas_points_line")
    lines = np.concatenate([part.features[:, line] for part in held_out.parts()])
    calibrating = publish_points(predicted["early_stopping"]), held_out.points, lines
    calibration, distribution = calibrate(*calibrating), fit_distribution(*calibrating)
    return TrainingReport(
        split=split,
        parameters=parameters,
        sampling=fitted.sampling,
        feature_version=version.name,
        model_sha256=bytes_digest(shipped),
        measured_sha256=bytes_digest(fitted.booster),
        best_iteration=fitted.best_iteration,
        rounds_run=fitted.rounds_run,
        judgement=judge(predicted, theirs, sides, calibration, distribution, version),
        calibration=calibration,
        distribution=distribution,
        importance=importance(ships, version),
        players=samples.players,
        reference_rows=_reference_rows(validation, theirs),
        diagnosis=diagnose_model(ships, validation, predicted["validation"], distribution, version),
        engine=fitted.engine,
    )


def make_record(report: TrainingReport, booster: bytes, system: System) -> ModelRecord:
    """The record to publish with a booster.

    Raises:
        BundleError: the report belongs to another booster, or to none.
    """
    judgement, calibration, sides = report.judgement, report.calibration, report.split.sides()
    if (
        judgement is None
        or calibration is None
        or report.measured_sha256 is None
        or report.best_iteration is None
        or report.rounds_run is None
    ):
        raise BundleError("The training report has no model, so there is no record. Materialise xgboost_model.")
    if report.model_sha256 != bytes_digest(booster):
        raise BundleError(
            f"The training report is for the booster {report.model_sha256}, but the store has {bytes_digest(booster)}. "
            "Materialise xgboost_model again."
        )
    engine = report.engine.segment if report.engine else None
    return ModelRecord(
        system_id=system.id,
        model_type="xgboost",
        model_id=model_id(system, report.split.newest_month, booster, engine),
        model_sha256=bytes_digest(booster),
        measured_sha256=report.measured_sha256,
        feature_version=system.features.name,
        feature_names=system.features.names,
        newest_month=report.split.newest_month,
        months=tuple(ref.month for ref in report.split.snapshots),
        first_date=sides["train"].first.isoformat(),
        last_date=sides["validation"].last.isoformat(),
        rows=report.split.rows,
        players=report.players,
        split=report.split,
        parameters=report.parameters,
        sampling=report.sampling,
        best_iteration=report.best_iteration,
        rounds_run=report.rounds_run,
        metrics=judgement,
        calibration=calibration,
        distribution=report.distribution,
        importance=report.importance,
        reference_rows=report.reference_rows,
        engine=report.engine,
        libraries={"python": platform.python_version(), **{name: installed_version(name) for name in LIBRARIES}},
    )


def _reference_rows(validation: Samples, predicted: Predictions) -> tuple[ReferenceRow, ...]:
    """Evenly spaced validation rows, covering months, players and missing values, with their predictions (n,)."""
    chosen = np.unique(np.linspace(0, len(validation) - 1, REFERENCE_ROWS).round().astype(int))
    features = validation.features[chosen]
    keys = validation.keys.take(chosen).to_pylist()
    return tuple(
        ReferenceRow(
            player_lookup=key["player_lookup"],
            game_date=key["game_date"].isoformat(),
            features=_numbers(row),
            prediction=float(prediction),
        )
        for key, row, prediction in zip(keys, features, predicted[chosen], strict=True)
    )


def _numbers(row: Sequence[np.float32]) -> tuple[float | None, ...]:
    return tuple(None if math.isnan(value) else float(value) for value in row)
