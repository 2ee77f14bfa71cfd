"""The service as a supervisor runs it, asked all the time: started again when it ends, its answers kept."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from typing import Any

from nba_ml_tests.cli.command import NBA_ML, Home
from nba_ml_tests.ports import free_port


@dataclass
class Answers:
    """What was heard since the last `Service.heard`.

    `predictions` are the records of each answer to the rows, in order; `health` the seconds of each answer; `failures`
    what went wrong while the service was up.
    """

    predictions: list[list[dict[str, Any]]] = field(default_factory=list)
    health: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


class Service:
    """`nba-ml serve` on the home's artifact root, following the champion twice a second."""

    def __init__(self, worker: Home, rows: Sequence[Mapping[str, Any]]) -> None:
        self._worker, self._body = worker, json.dumps({"rows": rows}).encode()
        self.row = json.dumps(rows[0]).encode()
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._up = threading.Event()
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._answers = Answers()
        self.starts = 0

    @contextmanager
    def running(self) -> Iterator[Service]:
        """Serve, and ask, while the block runs."""
        threads = [
            threading.Thread(target=self._every, args=each) for each in ((0.1, self._ask_health), (0.3, self._ask))
        ]
        try:
            self.ensure()
            for thread in threads:
                thread.start()
            yield self
        finally:
            self._ended.set()
            for thread in threads:
                if thread.ident is not None:
                    thread.join()
            self.kill()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def ensure(self, seconds: float = 180.0) -> None:
        """Start it if it is not running, and wait until it answers."""
        if self._process is None or self._process.poll() is not None:
            self._up.clear()
            log = (self._worker.root / "service.log").open("ab")
            command = [str(NBA_ML), "serve", "--port", str(self.port), "--refresh-seconds", "0.5"]
            command += ["--remember", str(self._worker.root / "channel.json")]
            self._process = subprocess.Popen(
                command, env=self._worker.environment(), cwd=self._worker.root, stdout=log, stderr=log
            )
            log.close()
            self.starts += 1
        ends = time.monotonic() + seconds
        while not self._up.is_set():
            with suppress(OSError, HTTPException):
                self._get(self.port, "GET", "/health")
                self._up.set()
                return
            assert self._process.poll() is None, f"the service refused to start: {self.log()[-2000:]}"
            assert time.monotonic() < ends, f"the service did not start: {self.log()[-2000:]}"
            time.sleep(0.2)

    def kill(self) -> None:
        """SIGKILL, whatever it does."""
        self._up.clear()
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def died(self) -> bool:
        return self._process is None or self._process.poll() is not None

    def log(self) -> str:
        return (self._worker.root / "service.log").read_text(errors="replace")

    def heard(self) -> Answers:
        """What was heard since the last call."""
        with self._lock:
            answers, self._answers = self._answers, Answers()
        return answers

    def health(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self._get(self.port, "GET", "/health")[1])
        return found

    def _every(self, pause: float, ask: Callable[[], None]) -> None:
        while not self._ended.wait(pause):
            if self._up.is_set():
                ask()

    def _ask_health(self) -> None:
        started = time.monotonic()
        try:
            status, _ = self._get(self.port, "GET", "/health")
            self._note("" if status == 200 else f"/health: {status}")
        except (OSError, HTTPException) as error:
            self._note(f"/health: {error!r}")
        with self._lock:
            if self._up.is_set():
                self._answers.health.append(time.monotonic() - started)

    def _ask(self) -> None:
        try:
            status, body = self._get(self.port, "POST", "/predict", self._body)
        except (OSError, HTTPException) as error:
            self._note(f"/predict: {error!r}")
            return
        # 503 with Retry-After is the service's word for a flood.
        self._note("" if status in (200, 503) else f"/predict: {status} {body[:300]!r}")
        if status == 200:
            with self._lock:
                self._answers.predictions.append(json.loads(body)["predictions"])

    def _note(self, failure: str) -> None:
        # Not of a service that was killed while it was asked.
        if failure and self._up.is_set() and not self.died():
            with self._lock:
                self._answers.failures.append(failure)

    @staticmethod
    def _get(port: int, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        # Predictions are asked for from another address than that of the floods and of /health.
        address = "127.0.0.2" if method == "POST" else "127.0.0.1"
        connection = HTTPConnection("127.0.0.1", port, timeout=20, source_address=(address, 0))
        try:
            connection.request(method, path, body, {"content-type": "application/json"} if body else {})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()
