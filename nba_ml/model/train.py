"""Train a model from a split and its snapshots. The asset, tests and benchmarks share this function."""

from __future__ import annotations

from collections.abc import Mapping

from nba_ml.contract.features import FeatureVersion
from nba_ml.data.snapshot import Snapshot
from nba_ml.data.split import SplitManifest
from nba_ml.model.engine import Engine
from nba_ml.model.fitting import Hyperparameters, fit, fit_all, gather
from nba_ml.model.record import TrainingReport, report_training
from nba_ml.model.values import TrainedModel


def train(
    split: SplitManifest,
    snapshots: Mapping[str, Snapshot],
    parameters: Hyperparameters,
    version: FeatureVersion,
    threads: int | None = None,
    engine: Engine | None = None,
) -> TrainedModel:
    """Fit on the split's train side, stop on early stopping, measure on validation, and refit on all rows to ship.

    Args:
        split: the rows of each side. Without rows there is no booster.
        snapshots: month -> snapshot, at least for the months of the split.
        parameters: with `refit=False`, the measured booster is shipped.
        version: of the snapshots' features.
        threads: None for all cores. Affects only the speed, not the bytes.
        engine: trains instead of this process, which still measures the result.

    Raises:
        StaleInputError: a snapshot is not the one that the split was made from.
        CalibrationError: a prediction or a result on the early-stopping side is not finite.
        TrainingError: the engine could not train.
    """
    if split.empty:
        report = TrainingReport(split=split, parameters=parameters, feature_version=version.name)
        return TrainedModel(report, None)
    samples = gather({month: snapshot.table for month, snapshot in snapshots.items()}, split, version)
    if engine is not None:
        fitted, shipped = engine.fit(split, parameters)
    else:
        sides = samples.sides(split)
        fitted = fit(sides["train"], sides["early_stopping"], parameters, version, threads)
        rounds = fitted.best_iteration + 1
        shipped = fit_all(samples, rounds, parameters, version, threads) if parameters.refit else fitted.booster
    report = report_training(fitted, shipped, samples, split, parameters, version, threads)
    return TrainedModel(report, shipped, fitted.booster if parameters.refit else None)
