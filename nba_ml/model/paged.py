"""Training on more rows than memory should hold: XGBoost reads them from the store, quantised page by page.

The rows of a page are sampled alike in every page, by their place in it. XGBoost's own sampling would be as good, but
with several pages in files it loses its place (3.2): when it sets a leaf to the median of its rows, it looks up
whether row i was sampled at i minus the page's first row. The trees are the same, the leaves are not. If each page
repeats the sample of the first one, both look-ups agree, and pages in files and in memory give the same bytes.
"""

from __future__ import annotations

import traceback
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import xgboost as xgb

from nba_ml.contract.features import FeatureVersion
from nba_ml.data.split import SplitManifest
from nba_ml.model.fitting import (
    KEY_COLUMNS,
    FittedBooster,
    Hyperparameters,
    Matrix,
    Rows,
    Samples,
    fill,
    fit_all_matrix,
    fit_matrix,
    rows_to_learn,
    unchanged,
)
from nba_ml.storage.scratch import require_free, scratch_folder

SAMPLING = "by_page"
"""Name of this recipe, in a model's record."""

PAGE_ROWS = 2**18
"""Rows of a page; the last one has fewer. A change of it changes the bytes of models. Half as many take 1.5 times the
processor time; twice as many 60 MB more."""

VALUE_BYTES = 12
"""Of disk for a feature of a row: XGBoost's index of bins, once by rows and once by columns. Measured: 10.5."""

_PAGES_AHEAD = 3
"""Pages that must fit onto the disk before the next is made: other processes may fill it meanwhile."""

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class StoredRows:
    """The rows `start` to `stop` of a split, read from its snapshots month by month whenever they are asked for.

    In memory are only the points (n,) and dates (n,) of all its rows, 12 bytes each. `players` is their number in the
    whole split, and `firsts` (months + 1,) the first row of each month.
    """

    tables: Mapping[str, pa.Table]
    split: SplitManifest
    version: FeatureVersion
    all_points: npt.NDArray[np.float32]
    dates: npt.NDArray[np.datetime64]
    firsts: npt.NDArray[np.int64]
    players: int
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start

    @property
    def points(self) -> npt.NDArray[np.float32]:
        """The results (n,), as a view."""
        return self.all_points[self.start : self.stop]

    def sides(self, split: SplitManifest) -> dict[str, StoredRows]:
        """The rows of each side of the split: train, early_stopping and validation."""
        return {
            name: replace(
                self,
                start=int(np.searchsorted(self.dates, np.datetime64(side.first), side="left")),
                stop=int(np.searchsorted(self.dates, np.datetime64(side.last), side="right")),
            )
            for name, side in split.sides().items()
        }

    def parts(self) -> Iterator[Samples]:
        """The rows of each month."""
        for ref, first in zip(self.split.snapshots, self.firsts, strict=False):
            begin, end = max(self.start - first, 0), min(self.stop - first, ref.rows)
            if begin < end:
                yield self._samples(self.tables[ref.month].slice(begin, end - begin))

    def in_memory(self) -> Samples:
        """All the rows at once."""
        features, keys, at = np.empty((len(self), self.version.count), dtype=np.float32), [], 0
        for part in self.parts():
            features[at : at + len(part)] = part.features
            keys.append(part.keys)
            at += len(part)
        return Samples(features, self.points, self.dates[self.start : self.stop], pa.concat_tables(keys))

    def _samples(self, table: pa.Table) -> Samples:
        features = np.empty((table.num_rows, self.version.count), dtype=np.float32)
        fill(features, table, self.version)
        keys = table.select(KEY_COLUMNS)
        points = table.column("points").to_numpy().astype(np.float32)
        return Samples(features, points, keys.column("game_date").to_numpy(), keys)


def stored_rows(tables: Mapping[str, pa.Table], split: SplitManifest, version: FeatureVersion) -> StoredRows:
    """The rows of a split, after each snapshot was compared with the one that the split was made from.

    Args:
        tables: month -> snapshot rows (`tables.snapshot_schema`), at least the months of the split. Each is asked for
            several times, and must be the same each time.

    Raises:
        StaleInputError: a snapshot is not the one that the split was made from.
    """
    points = np.empty(split.rows, dtype=np.float32)
    dates = np.empty(split.rows, dtype="datetime64[D]")
    players: set[str] = set()
    firsts = np.cumsum([0, *(ref.rows for ref in split.snapshots)])
    for table, first in zip(unchanged(tables, split), firsts, strict=False):
        rows = slice(first, first + table.num_rows)
        points[rows] = table.column("points").to_numpy()
        dates[rows] = table.column("game_date").to_numpy()
        players.update(table.column("player_lookup").unique().to_pylist())
    return StoredRows(tables, split, version, points, dates, firsts, len(players), 0, split.rows)


@dataclass(frozen=True, slots=True)
class Paged:
    """A recipe that samples by page. `external`: the pages are files in a folder under `scratch`, which is removed.

    In memory or in files, the same rows give the same bytes; in files they need a few pages of memory and some 50
    bytes a row, in memory 0.5 kB a row.
    """

    scratch: Path | None = None
    external: bool = True

    def fit(
        self, train: Rows, early_stopping: Rows, params: Hyperparameters, version: FeatureVersion, threads: int | None
    ) -> FittedBooster:
        def fitted(pages: _Matrices) -> FittedBooster:
            matrix = pages.matrix(train, "train", learned=True)
            watched = pages.matrix(early_stopping, "early_stopping", ref=matrix)
            found = fit_matrix(matrix, watched, _unsampled(params), threads, _samplers(matrix, params))
            return replace(found, sampling=SAMPLING)

        return self._with_pages(fitted, len(train) + len(early_stopping), version, threads)

    def fit_all(
        self, rows: Rows, rounds: int, params: Hyperparameters, version: FeatureVersion, threads: int | None
    ) -> bytes:
        def fitted(pages: _Matrices) -> bytes:
            matrix = pages.matrix(rows, "all", learned=True)
            return fit_all_matrix(matrix, rounds, _unsampled(params), threads, _samplers(matrix, params))

        return self._with_pages(fitted, len(rows), version, threads)

    def _with_pages(
        self, work: Callable[[_Matrices], Result], rows: int, version: FeatureVersion, threads: int | None
    ) -> Result:
        needed = rows * version.count * VALUE_BYTES * (2 if version.reads_reports else 1)
        purpose = f"Training on {rows:,} rows"
        with scratch_folder(self.scratch, needed, purpose) if self.external else nullcontext() as folder:
            try:
                return work(_Matrices(folder, version, threads))
            except BaseException as error:
                # XGBoost removes a matrix's file with the matrix, which the frames of the error would keep longer than
                # the folder: it would warn of a missing file.
                traceback.clear_frames(error.__traceback__)
                raise


@dataclass(frozen=True, slots=True)
class _Matrices:
    """Makes matrices of pages: in files of the folder, or without one in memory."""

    folder: Path | None
    version: FeatureVersion
    threads: int | None

    def matrix(self, rows: Rows, name: str, *, learned: bool = False, ref: xgb.DMatrix | None = None) -> xgb.DMatrix:
        """The rows, or what is learned from them, quantised; `ref` gives the bins, if they are another matrix's."""
        pages = _Pages(rows, self.version, None if self.folder is None else self.folder / name, learned=learned)
        kind = xgb.QuantileDMatrix if self.folder is None else xgb.ExtMemQuantileDMatrix
        return kind(pages, ref=ref, nthread=self.threads)


class _Pages(xgb.DataIter):
    """Feeds pages of rows to XGBoost, which asks for all of them twice: for the bins, then to fill them."""

    def __init__(self, rows: Rows, version: FeatureVersion, prefix: Path | None, *, learned: bool) -> None:
        self._rows, self._version, self._learned, self._prefix = rows, version, learned, prefix
        self._left: Iterator[tuple[Matrix, npt.NDArray[np.float32]]] = iter(())
        super().__init__(cache_prefix=None if prefix is None else str(prefix), release_data=True)
        self.reset()

    def reset(self) -> None:
        parts = self._rows.parts()
        learned = (rows_to_learn(part, self._version) for part in parts) if self._learned else parts
        self._left = pages(learned, self._version)

    def next(self, input_data: Callable[..., Any]) -> bool:
        page = next(self._left, None)
        if page is None:
            return False
        if self._prefix is not None:
            # XGBoost ends the process when it cannot write a page; it is writing the one before this.
            needed = _PAGES_AHEAD * PAGE_ROWS * self._version.count * VALUE_BYTES
            require_free(self._prefix.parent, needed, "A training in files")
        input_data(data=page[0], label=page[1], feature_names=list(self._version.names))
        return True


def pages(parts: Iterator[Samples], version: FeatureVersion) -> Iterator[tuple[Matrix, npt.NDArray[np.float32]]]:
    """Features (PAGE_ROWS, features) and points (PAGE_ROWS,) of the parts' rows in order; fewer in the last.

    The arrays of one page are used again for the next.
    """
    features, points = np.empty((PAGE_ROWS, version.count), dtype=np.float32), np.empty(PAGE_ROWS, dtype=np.float32)
    filled = 0
    for part in parts:
        at = 0
        while at < len(part):
            take = min(len(part) - at, PAGE_ROWS - filled)
            features[filled : filled + take] = part.features[at : at + take]
            points[filled : filled + take] = part.points[at : at + take]
            at, filled = at + take, filled + take
            if filled == PAGE_ROWS:
                yield features, points
                filled = 0
    if filled:
        yield features[:filled], points[:filled]


def _unsampled(params: Hyperparameters) -> Hyperparameters:
    return params.model_copy(update={"subsample": 1.0})


def _samplers(matrix: xgb.DMatrix, params: Hyperparameters) -> list[xgb.callback.TrainingCallback]:
    return [_PageSampler(matrix, params.subsample, params.seed)] if params.subsample < 1 else []


class _PageSampler(xgb.callback.TrainingCallback):
    """Before each round, gives the rows of the sample the weight 1 and the others 0."""

    def __init__(self, matrix: xgb.DMatrix, share: float, seed: int) -> None:
        # Weakly: after an error this callback would keep the matrix longer than its file.
        self._matrix, self._share, self._seed = weakref.ref(matrix), share, seed

    def before_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:  # noqa: ARG002 (XGBoost's names)
        matrix, page = self._matrix(), page_sample(self._seed, epoch, self._share)
        if matrix is not None:
            matrix.set_weight(np.resize(page.astype(np.float32), matrix.num_row()))
        return False


def page_sample(seed: int, round_: int, share: float) -> npt.NDArray[np.bool_]:
    """Which rows of a page (PAGE_ROWS,) are in the sample of a round.

    A hash of seed, round and place: Philox (Salmon and others, Parallel random numbers: as easy as 1, 2, 3, SC 2011),
    whose raw numbers are the same in every release of NumPy.
    """
    return np.asarray(np.random.Philox(key=[seed, round_]).random_raw(PAGE_ROWS) < np.uint64(share * 2**64))
