"""Train a model from a split and its snapshots. The asset, tests and benchmarks share this function."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pyarrow as pa

from nba_ml.contract.features import FeatureVersion
from nba_ml.contract.limits import PAGED_ROWS
from nba_ml.data.snapshot import Snapshot
from nba_ml.data.split import SplitManifest
from nba_ml.model.fitting import FittedBooster, Hyperparameters, InMemory, Recipe, Rows, gather
from nba_ml.model.record import TrainingReport, report_training
from nba_ml.model.values import TrainedModel


@dataclass(frozen=True, slots=True)
class Memory:
    """What a training by pages may take: more than `rows` go through files in `scratch`. Changes no byte."""

    rows: int = PAGED_ROWS
    scratch: Path | None = None
    """None for a folder of the system's for temporary files."""


class Engine(Protocol):
    """Trains on the rows of a split, wherever it reads them."""

    def fit(self, split: SplitManifest, parameters: Hyperparameters) -> tuple[FittedBooster, bytes]:
        """The booster fitted on the split's train side, and the one to ship: as `fitting.fit` and `fitting.fit_all`."""
        ...


def train(
    split: SplitManifest,
    snapshots: Mapping[str, Snapshot],
    parameters: Hyperparameters,
    version: FeatureVersion,
    threads: int | None = None,
    memory: Memory | None = None,
    engine: Engine | None = None,
    on_fitted: Callable[[], None] = lambda: None,
) -> TrainedModel:
    """Fit on the split's train side, stop on early stopping, measure on validation, and refit on all rows to ship.

    Args:
        split: the rows of each side. Without rows there is no booster.
        snapshots: month -> snapshot, at least for the months of the split. Read one by one, so that a mapping that
            reads them from a store needs memory for one.
        parameters: with `refit=False`, the measured booster is shipped.
        version: of the snapshots' features.
        threads: None for all cores. Affects only the speed, not the bytes.
        memory: for more than PAGED_ROWS rows.
        engine: trains instead of this process, which still measures the result.
        on_fitted: called once the boosters are there, before they are measured.

    Raises:
        StaleInputError: a snapshot is not the one that the split was made from.
        SettingsError: the disk has no room for the pages.
        CalibrationError: a prediction or a result on the early-stopping side is not finite.
        TrainingError: the engine could not train.
    """
    if split.empty:
        report = TrainingReport(split=split, parameters=parameters, feature_version=version.name)
        return TrainedModel(report, None)
    samples, recipe = _read(split, SnapshotTables(snapshots), version, memory or Memory())
    if engine is not None:
        fitted, shipped = engine.fit(split, parameters)
    else:
        sides = samples.sides(split)
        fitted = recipe.fit(sides["train"], sides["early_stopping"], parameters, version, threads)
        rounds = fitted.best_iteration + 1
        shipped = recipe.fit_all(samples, rounds, parameters, version, threads) if parameters.refit else fitted.booster
    on_fitted()
    report = report_training(fitted, shipped, samples, split, parameters, version, threads)
    return TrainedModel(report, shipped, fitted.booster if parameters.refit else None)


def by_pages(split: SplitManifest, version: FeatureVersion) -> bool:
    """Whether there are more rows than are trained at once. With reports, each row is learned twice."""
    return split.rows * (2 if version.reads_reports else 1) > PAGED_ROWS


def _read(
    split: SplitManifest, tables: Mapping[str, pa.Table], version: FeatureVersion, memory: Memory
) -> tuple[Rows, Recipe]:
    if not by_pages(split, version):
        return gather(tables, split, version), InMemory()
    from nba_ml.model.paged import Paged, stored_rows  # noqa: PLC0415 (imports XGBoost)

    return stored_rows(tables, split, version), Paged(memory.scratch, external=split.rows > memory.rows)


@dataclass(frozen=True, slots=True)
class SnapshotTables(Mapping[str, pa.Table]):
    """The tables of snapshots, each got when it is asked for."""

    snapshots: Mapping[str, Snapshot]

    def __getitem__(self, month: str) -> pa.Table:
        return self.snapshots[month].table

    def __iter__(self) -> Iterator[str]:
        return iter(self.snapshots)

    def __len__(self) -> int:
        return len(self.snapshots)
