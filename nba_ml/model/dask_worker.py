"""What a worker of a Dask cluster does in a training. It gets addresses and digests, and reads the rows itself.

A worker holds one month of rows at a time, beside its share of the quantised matrix. Its share and its rank are
given and not left to Dask, so that as many workers fit the same booster again.
"""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import xgboost as xgb
from distributed import get_worker
from distributed.comm.addressing import get_address_host
from xgboost.collective import CommunicatorContext
from xgboost.tracker import RabitTracker

from nba_ml.contract.errors import TrainingError
from nba_ml.contract.season import month_of
from nba_ml.contract.systems import SYSTEMS, System
from nba_ml.data.split import Side, SnapshotRef, SplitManifest
from nba_ml.data.stored import SNAPSHOT
from nba_ml.data.tables import snapshot_schema
from nba_ml.model.fitting import (
    FittedBooster,
    Hyperparameters,
    Matrix,
    Samples,
    fit_all_matrix,
    fit_matrix,
    gather,
    rows_to_learn,
)
from nba_ml.storage.months import MonthStore
from nba_ml.storage.opening import open_objects

PEER_SECONDS = 600
"""Longest wait for another worker. It may still be reading its rows."""

Communicator = dict[str, int | str]
"""What a worker needs to find the others."""


def months_of(split: SplitManifest, side: Side) -> list[SnapshotRef]:
    """The snapshots with rows of a side, in order."""
    return [ref for ref in split.snapshots if month_of(side.first) <= ref.month <= month_of(side.last)]


@dataclass(frozen=True, slots=True)
class Share:
    """A worker's part of a training: the months whose rows it fits on, and the store that has them.

    `rounds` is None for a training on the train side that stops early, else the number of trees to fit on all rows.
    """

    store: str
    system_id: str
    split: SplitManifest
    months: tuple[str, ...]
    rank: int
    workers: int
    rounds: int | None = None

    @property
    def system(self) -> System:
        return SYSTEMS[self.system_id]

    def samples(self, month: str, side: Side | None) -> Samples:
        """The rows of a month that are on a side of the split; None for all.

        Raises:
            TrainingError: this worker cannot read the month.
            StaleInputError: the month's snapshot is damaged, or not the one that the split was made from.
        """
        version, asset = self.system.features, SNAPSHOT.of(self.system)
        store = MonthStore(open_objects(self.store))
        try:
            found = store.load(asset, month, snapshot_schema(version).names)
        except OSError as error:
            raise TrainingError(f"{_here()} cannot read {store.uri(asset, month)}: {error}. {_SHARED}") from error
        if found is None:
            raise TrainingError(f"{_here()} does not find {store.uri(asset, month)}. {_SHARED}")
        of_month = SplitManifest(snapshots=tuple(ref for ref in self.split.snapshots if ref.month == month))
        samples = gather({month: found.table}, of_month, version)
        return samples if side is None else samples.between(side.first, side.last)

    def learned(self, month: str) -> Samples:
        """The rows of a month to fit on."""
        side = self.split.train if self.rounds is None else None
        return rows_to_learn(self.samples(month, side), self.system.features)

    def early_stopping(self) -> tuple[Matrix, npt.NDArray[np.float32]]:
        """Of the early-stopping rows every n-th, for n workers: features (rows, features) and points (rows,)."""
        side = self.split.early_stopping
        parts = [self.samples(ref.month, side) for ref in months_of(self.split, side)] if side else []
        mine = slice(self.rank, None, self.workers)
        features = np.concatenate([part.features for part in parts])
        return features[mine], np.concatenate([part.points for part in parts])[mine]


_SHARED = (
    "Set NBA_ML_STORE to an address that each worker can read: gs://bucket/prefix, or a folder that all machines mount "
    "at the same path. Then materialise xgboost_model again."
)


def _here() -> str:
    return f"The worker {get_worker().address}"


def require_rows(share: Share) -> int:
    """Read and verify the share before the workers depend on each other; returns the id of this process.

    Raises:
        TrainingError, StaleInputError: as `Share.samples`.
    """
    for month in share.months:
        share.samples(month, None)
    return os.getpid()


def start_tracker(workers: int) -> Communicator:
    """Start in this worker what introduces the workers to each other."""
    # Sorted by the ids that `fit_share` gives; by host, ranks would follow addresses and ports.
    host = get_address_host(get_worker().address)
    tracker = RabitTracker(n_workers=workers, host_ip=host, sortby="task", timeout=PEER_SECONDS)
    tracker.start()
    found: Communicator = tracker.worker_args()
    threading.Thread(target=_serve, args=(tracker,), daemon=True).start()
    return found


def _serve(tracker: RabitTracker) -> None:
    with suppress(xgb.core.XGBoostError):  # a worker was lost: the others report it
        tracker.wait_for()


def fit_share(
    share: Share, parameters: Hyperparameters, communicator: Communicator, process: int
) -> FittedBooster | None:
    """Fit together with the other workers. All get the same booster, and the first of them returns it.

    Args:
        communicator: from `start_tracker`.
        process: the one that verified the share. Dask gives a lost worker's work to the process that replaces it at
            the same address, which the others do not know.

    Raises:
        TrainingError: this is another process.
        XGBoostError: the connection to another worker broke.
    """
    if os.getpid() != process:
        raise TrainingError(f"{_here()} was restarted during the training. Materialise xgboost_model again.")
    threads, names = get_worker().state.nthreads, list(share.system.features.names)
    with CommunicatorContext(**communicator, dmlc_task_id=f"{share.rank:06d}", dmlc_timeout=PEER_SECONDS):
        matrix = xgb.QuantileDMatrix(_Months(share.months, share.learned, names), nthread=threads)
        if share.rounds is None:
            features, points = share.early_stopping()
            watched = xgb.QuantileDMatrix(features, label=points, feature_names=names, ref=matrix, nthread=threads)
            fitted = fit_matrix(matrix, watched, parameters, threads)
        else:
            booster = fit_all_matrix(matrix, share.rounds, parameters, threads)
            fitted = FittedBooster(booster, share.rounds - 1, share.rounds, math.nan)
    return fitted if share.rank == 0 else None


class _Months(xgb.DataIter):
    """The rows of some months, one month at a time. XGBoost goes through them more than once."""

    def __init__(self, months: Sequence[str], read: Callable[[str], Samples], names: Sequence[str]) -> None:
        self._months, self._read, self._names, self._at = months, read, names, 0
        super().__init__()

    def next(self, input_data: Callable[..., None]) -> bool:
        if self._at == len(self._months):
            return False
        samples = self._read(self._months[self._at])
        input_data(data=samples.features, label=samples.points, feature_names=self._names)
        self._at += 1
        return True

    def reset(self) -> None:
        self._at = 0
