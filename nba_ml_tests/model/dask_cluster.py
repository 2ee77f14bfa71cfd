"""A Dask cluster on this machine: the scheduler's and each worker's own command, in processes of their own.

On loopback only, without dashboards.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from distributed import Client

from nba_ml_tests.ports import free_port
from nba_ml_tests.processes import heed_signals

DASK = Path(sys.executable).with_name("dask")

_START_SECONDS = 120


@dataclass
class Cluster:
    """A scheduler with its workers; `folder` has their logs."""

    address: str
    folder: Path
    scheduler: subprocess.Popen[bytes]
    stack: ExitStack
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def add(self, workers: int, python: str = sys.executable, environ: Mapping[str, str] | None = None) -> None:
        """Start workers of one thread each, and wait until the scheduler knows them."""
        for _ in range(workers):
            command = [python, "-m", "dask", "worker", self.address, "--host=127.0.0.1", "--nthreads=1", "--no-nanny"]
            number = len(self.workers)
            started = _started(
                [*command, "--no-dashboard", "--memory-limit=0", f"--local-directory={self.folder}"],
                self.folder / f"worker-{number}.log",
                environ,
            )
            self.workers.append(self.stack.enter_context(started))
        with Client(self.address, timeout=_START_SECONDS, set_as_default=False) as client:
            if running := len(self.alive()):
                client.wait_for_workers(running, timeout=_START_SECONDS)

    def alive(self) -> list[int]:
        """The numbers of the workers that run."""
        return [number for number, each in enumerate(self.workers) if each.poll() is None]

    def address_of(self, number: int) -> str:
        """A worker's address."""
        found = re.search(r"Listening to: +(tcp://\S+)", self.log(number))
        assert found is not None, self.log(number)
        return found[1]

    def log(self, number: int) -> str:
        """What a worker has printed."""
        return (self.folder / f"worker-{number}.log").read_text()

    @contextmanager
    def killed_in_training(self, process: subprocess.Popen[bytes], number: int) -> Iterator[None]:
        """While the block runs, kill a worker or the scheduler as soon as a worker has begun its next fit."""
        before = self.log(number).count("got rank")

        def kill() -> None:
            wait_until(lambda: self.log(number).count("got rank") > before)
            process.kill()

        with ThreadPoolExecutor(1) as pool:
            killed = pool.submit(kill)
            yield
            killed.result()


@contextmanager
def running_cluster(folder: Path, workers: int) -> Iterator[Cluster]:
    """A cluster that runs while the block does."""
    address = f"tcp://127.0.0.1:{free_port()}"
    with ExitStack() as stack:
        command = [str(DASK), "scheduler", "--host=127.0.0.1", f"--port={address.rpartition(':')[2]}", "--no-dashboard"]
        scheduler = stack.enter_context(_started(command, folder / "scheduler.log"))
        cluster = Cluster(address, folder, scheduler, stack)
        cluster.add(workers)
        yield cluster


@contextmanager
def _started(
    command: list[str], log: Path, environ: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    env = {k: v for k, v in os.environ.items() if not k.startswith(("NBA_ML_", "DASK_"))} | dict(environ or {})
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=env, stdout=output, stderr=output, preexec_fn=heed_signals)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def wait_until(holds: Callable[[], bool], seconds: float = 60) -> None:
    """Wait for a condition."""
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until, "it never came true"
        time.sleep(0.02)
