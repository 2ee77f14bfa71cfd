"""Training on the workers of a Dask cluster: who fits what, and what is said when one of them fails.

XGBoost's own collective connects the workers. Not `xgboost.dask.train`: that ranks workers by their addresses, takes
the rows where Dask has put them, and holds them as floats, so three runs gave three models. Rows stay in the store;
what passes through Dask are addresses, digests and the booster.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from nba_ml.contract.errors import MissingExtraError, NbaMlError, TrainingError
from nba_ml.contract.systems import System
from nba_ml.data.split import SnapshotRef, SplitManifest
from nba_ml.model.engine import TrainingEngine
from nba_ml.model.fitting import FittedBooster, Hyperparameters

# Imported when a cluster is asked: it takes half a second, and is an extra.
if TYPE_CHECKING:
    from distributed import Client, Future

    from nba_ml.model.dask_worker import Share

EXTRA = "nba_ml[dask]"

SAME_VERSIONS = ("python", "nba_ml", "xgboost", "pydantic", "distributed")
"""Must be the same here and on each worker: they decide the booster, or how a message is read."""

_CONNECT_SECONDS = 15
_LOOK_SECONDS = 1.0
_LOSS_LOOKS = 20
"""After a worker's error, four in a second: until the scheduler knows that another worker, its cause, is gone."""

PAUSED_SECONDS = 60
"""A worker whose memory is nearly full starts nothing. It may free some of it."""

_AGAIN = "Nothing was stored; then materialise xgboost_model again."

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class DaskEngine:
    """Trains on the workers of the scheduler at `address`, each of which reads the system's snapshots from `store`."""

    address: str
    store: str
    system: System

    def fit(self, split: SplitManifest, parameters: Hyperparameters) -> tuple[FittedBooster, bytes]:
        """As `fitting.fit` and `fitting.fit_all`, on all workers that the scheduler has, if there is a month for each.

        Another training on the same cluster is waited for.

        Raises:
            MissingExtraError: Dask is not installed.
            TrainingError: the cluster cannot be reached, has no worker or other versions, or a worker was lost.
            StaleInputError: a snapshot is not the one that the split was made from.
        """
        with _connected(self.address) as client:
            from distributed import Lock  # noqa: PLC0415 (as in `_connected`)

            lock = Lock("nba_ml-training")
            lock.acquire()
            try:
                return self._fit(_Team(client, self.address, _workers(client, self.address)), split, parameters)
            finally:
                if client.status == "running":  # otherwise it is gone with its scheduler
                    lock.release()

    def _fit(self, team: _Team, split: SplitManifest, parameters: Hyperparameters) -> tuple[FittedBooster, bytes]:
        from nba_ml.model.dask_worker import Share, months_of  # noqa: PLC0415 (as in `_connected`)

        assert split.train is not None  # nothing is trained of an empty split
        assert split.early_stopping is not None
        train = months_of(split, split.train)
        workers = min(len(team.workers), len(train), split.early_stopping.rows)

        def shares(refs: Sequence[SnapshotRef], rounds: int | None) -> list[Share]:
            parts = enumerate(share_out(refs, workers))
            return [Share(self.store, self.system.id, split, part, rank, workers, rounds) for rank, part in parts]

        fitted = team.train(shares(train, None), parameters)
        fitted = replace(fitted, engine=TrainingEngine(name="dask", workers=workers))
        if not parameters.refit:
            return fitted, fitted.booster
        return fitted, team.train(shares(split.snapshots, fitted.best_iteration + 1), parameters).booster


def share_out(refs: Sequence[SnapshotRef], workers: int) -> list[tuple[str, ...]]:
    """Whole months for each worker, with about as many rows: the largest month first, to whoever has fewest rows."""
    parts: list[list[SnapshotRef]] = [[] for _ in range(workers)]
    for ref in sorted(refs, key=lambda ref: (-ref.rows, ref.month)):
        min(parts, key=lambda part: sum(each.rows for each in part)).append(ref)
    return [tuple(sorted(ref.month for ref in part)) for part in parts]


@dataclass(frozen=True, slots=True)
class _Team:
    """The workers of a training. `workers` are their addresses."""

    client: Client
    address: str
    workers: tuple[str, ...]

    def train(self, shares: Sequence[Share], parameters: Hyperparameters) -> FittedBooster:
        """Fit with one worker for each share."""
        from nba_ml.model.dask_worker import fit_share, require_rows, start_tracker  # noqa: PLC0415 (as in `_connected`)

        processes = self.run(require_rows, [(share,) for share in shares])
        (communicator,) = self.run(start_tracker, [(len(shares),)])
        tasks = [(share, parameters, communicator, of) for share, of in zip(shares, processes, strict=True)]
        fitted, *_ = self.run(fit_share, tasks)
        assert fitted is not None
        return fitted

    def run(self, function: Callable[..., T], tasks: Sequence[tuple[Any, ...]]) -> list[T]:
        """Call a function once on each of the first workers; returns their results in order."""
        futures = [
            # Not on another worker: that would wait for itself.
            self.client.submit(function, *given, workers=[worker], allow_other_workers=False, pure=False)
            for worker, given in zip(self.workers, tasks, strict=False)
        ]
        try:
            self._await(futures)
            return list(self.client.gather(futures))
        except BaseException:
            self.client.cancel(futures)
            raise

    def _await(self, futures: Sequence[Future[Any]]) -> None:
        """Return when all are done, raise when one fails, or when a worker is lost: Dask would wait for another."""
        from distributed import wait  # noqa: PLC0415 (as in `_connected`)

        worker_of = {future.key: worker for future, worker in zip(futures, self.workers, strict=False)}
        pending = list(futures)
        paused_for = 0.0
        while pending:
            try:
                done, pending = wait(pending, timeout=_LOOK_SECONDS, return_when="FIRST_COMPLETED")
            except TimeoutError:
                done = set()
            for future in done:
                if future.status == "error":
                    self._fail(worker_of[future.key], future.exception())
                if future.status != "finished":
                    raise CancelledError
            self._require(worker_of.values())
            paused = self._paused({worker_of[future.key] for future in pending})
            paused_for = paused_for + _LOOK_SECONDS if paused else 0.0
            if paused_for > PAUSED_SECONDS:
                raise TrainingError(
                    f"{', '.join(paused)} took no work for {PAUSED_SECONDS} seconds: Dask pauses a worker from 80% of "
                    "its --memory-limit on. Start it again, with a higher one if it has too many rows for it, or unset "
                    f"NBA_ML_DASK to train in one process. {_AGAIN}"
                )

    def _paused(self, workers: Iterable[str]) -> list[str]:
        """Those of the workers that are paused, and not in the middle of their work."""
        known: Any = self.client.scheduler_info()["workers"]
        return sorted(
            worker
            for worker in workers
            if (of := known.get(worker, {})).get("status") == "paused"
            and not of["metrics"].get("task_counts", {}).get("executing")
        )

    def _fail(self, worker: str, error: BaseException) -> NoReturn:
        if isinstance(error, NbaMlError):
            raise error
        for _ in range(_LOSS_LOOKS):  # the others' connections break first
            self._require(self.workers)
            time.sleep(_LOOK_SECONDS / 4)
        text = " ".join(str(error).split())[:500]
        raise TrainingError(f"The worker {worker} failed ({type(error).__name__}: {text}). {_AGAIN}") from error

    def _require(self, workers: Iterable[str]) -> None:
        present = self.client.nthreads()
        if lost := [worker for worker in workers if worker not in present]:
            raise TrainingError(
                f"The training stopped: of {len(self.workers)} workers, {self.address} has lost {', '.join(lost)}. A "
                "worker that needs more than its --memory-limit is ended too, and its log says so. Start it again, or "
                f"unset NBA_ML_DASK to train in one process. {_AGAIN}"
            )


@contextmanager
def _connected(address: str) -> Iterator[Client]:
    try:
        from distributed import Client, Security  # noqa: PLC0415
    except ImportError as error:
        raise MissingExtraError(
            f"NBA_ML_DASK is {address}, and Dask is not installed ({error}). Install it: pip install '{EXTRA}'."
        ) from error
    logging.getLogger("distributed.client").setLevel(logging.CRITICAL)  # our errors say what it would, once
    try:
        # Otherwise Dask fails with a TypeError, and waits half a minute to say so.
        if address.startswith("tls://") and Security().get_connection_args("client")["ssl_context"] is None:
            raise TrainingError(
                f"NBA_ML_DASK is {address}, and Dask's settings name no certificate. Set "
                "DASK_DISTRIBUTED__COMM__TLS__CA_FILE, DASK_DISTRIBUTED__COMM__TLS__CLIENT__CERT and "
                "DASK_DISTRIBUTED__COMM__TLS__CLIENT__KEY."
            )
        client = Client(address, timeout=_CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError) as error:
        raise TrainingError(
            f"NBA_ML_DASK is {address}, and no scheduler answers there: {' '.join(str(error).split())[:300]}. Start "
            "`dask scheduler`, or unset NBA_ML_DASK to train in one process. Nothing was stored."
        ) from error
    try:
        with client.as_current():
            yield client
    except (OSError, CancelledError) as error:
        raise TrainingError(
            f"The connection to the scheduler {address} broke during the training. Start it and its workers again, or "
            f"unset NBA_ML_DASK to train in one process. {_AGAIN}"
        ) from error
    finally:
        client.close()


def _workers(client: Client, address: str) -> tuple[str, ...]:
    """The addresses of the scheduler's workers.

    Raises:
        TrainingError: there are none, or one has other versions than this process.
    """
    found: Any = client.get_versions(packages=[name for name in SAME_VERSIONS if name != "python"])
    if not found["workers"]:
        raise TrainingError(f"The scheduler {address} has no workers. Start some: `dask worker {address}`.")
    ours = _stated(found["client"])
    other = [
        f"{worker} has {', '.join(differing)}"
        for worker, stated in sorted(found["workers"].items())
        if (
            differing := [
                f"{name} {theirs or 'missing'} (here {ours[name]})"
                for name, theirs in _stated(stated).items()
                if theirs != ours[name]
            ]
        )
    ]
    if other:
        raise TrainingError(
            f"The workers of {address} need the versions of this process. {'; '.join(other)}. Install them from the "
            f"same lock, with '{EXTRA}', and start the workers again. Nothing was stored."
        )
    return tuple(sorted(found["workers"]))


def _stated(versions: dict[str, Any]) -> dict[str, str | None]:
    packages = {name: versions["packages"].get(name) for name in SAME_VERSIONS}
    packages["python"] = ".".join(str(packages["python"]).split(".")[:2])  # a patch release changes nothing here
    return packages
