"""What the full loop works with: a terminal that shows what it runs, the service as a process, a tireless client.

What belongs here: doing and measuring. What does not: the story, and what must be seen in it (`full_loop`).
"""

from __future__ import annotations

import http.client
import json
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

NBA_ML = Path(sys.executable).with_name("nba-ml")
"""The console script of this environment."""

PATIENCE = 120.0
"""Seconds to wait for something that takes one: the limit is for a machine that is very busy."""

Row = Mapping[str, Any]


class NotSeenError(Exception):
    """The loop did not show what it must; the message is a sentence."""


def must(seen: bool, sentence: str) -> None:
    """Go on only if it was seen.

    Raises:
        NotSeenError: it was not.
    """
    if not seen:
        raise NotSeenError(sentence)


def say(text: str) -> None:
    """Show a line at once, whoever reads."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


@dataclass
class Terminal:
    """Runs commands with the settings, shows them and what they say, and how long each took."""

    environment: Mapping[str, str]
    folder: Path
    seconds: dict[str, float] = field(default_factory=dict)

    def run(self, *arguments: str, code: int = 0, because: str) -> str:
        """Run `nba-ml` to its end; what it said.

        Raises:
            NotSeenError: its exit code is another.
        """
        say(f"\n# {because}\n$ nba-ml {' '.join(arguments)}")
        started = time.monotonic()
        process = subprocess.Popen(
            [NBA_ML, *arguments],
            env=self.environment,
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        said: list[str] = []
        try:
            assert process.stdout is not None
            for line in process.stdout:
                said.append(line.rstrip())
                say(f"  {said[-1]}")
            found = process.wait()
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
        took = time.monotonic() - started
        self.seconds[" ".join(arguments[:2])] = took
        say(f"  [{took:.1f} s, exit code {found}]")
        must(found == code, f"`nba-ml {' '.join(arguments)}` ended with {found}, and {code} was expected.")
        return "\n".join(said)


@dataclass
class Service:
    """`nba-ml serve` on a free loopback port, in a process of its own."""

    process: subprocess.Popen[str]
    port: int

    def ask(self, method: str, path: str, content: object = None) -> tuple[int, Any]:
        """One request on a connection of its own: status and JSON."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            body = None if content is None else json.dumps(content, allow_nan=False).encode()
            connection.request(method, path, body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()

    def predict(self, rows: Sequence[Row]) -> list[dict[str, Any]]:
        """The records of a slate."""
        status, answer = self.ask("POST", "/predict", {"rows": list(rows)})
        must(status == 200, f"the service answered a slate of {len(rows)} rows with {status}: {answer}")
        predictions: list[dict[str, Any]] = answer["predictions"]
        return predictions

    def follows(self, serial: int) -> dict[str, Any]:
        """Wait until it serves the channel's state of that serial; its health then, and how long it took.

        Raises:
            NotSeenError: it does not, or its health is not ok.
        """
        started = time.monotonic()
        while time.monotonic() - started < PATIENCE:
            _, health = self.ask("GET", "/health")
            if health["channel"]["serial"] == serial:
                must(health["status"] == "ok", f"the service follows serial {serial} and is {health['status']}")
                beside = f", {health['channel']['challenger']} at {health['channel']['share']}%"
                say(
                    f"  the service serves serial {serial} after {time.monotonic() - started:.1f} s: "
                    f"{health['model']['model_id']}{beside if health['channel']['challenger'] else ''}"
                )
                found: dict[str, Any] = health
                return found
            time.sleep(0.05)
        raise NotSeenError(f"the service did not follow serial {serial} within {PATIENCE:g} s: {health}")


@contextmanager
def serving(terminal: Terminal, *options: str) -> Iterator[Service]:
    """The service while the block runs; ended by SIGTERM to its own pid, after the requests under way.

    Raises:
        NotSeenError: it does not start, or does not end as it should.
    """
    say(f"\n# The service, on a free port of 127.0.0.1.\n$ nba-ml serve {' '.join(options)} &")
    log = terminal.folder / "service.log"
    with log.open("w") as errors:
        process = subprocess.Popen(
            [NBA_ML, "serve", *options],
            env=terminal.environment,
            cwd=terminal.folder,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    lines: list[dict[str, Any]] = []
    assert process.stdout is not None
    try:
        port = 0
        while not lines or lines[-1]["event"] != "serving":
            text = process.stdout.readline()
            must(bool(text), f"the service did not start: {log.read_text()[-2000:]}")
            lines.append(json.loads(text))
            port = lines[-1].get("port", port)
        say(f"  pid {process.pid}, port {port}, {lines[-1]['model_id']}")
        reader = threading.Thread(target=lambda: lines.extend(json.loads(line) for line in process.stdout or ()))
        reader.start()
        try:
            yield Service(process, port)
        finally:
            process.terminate()
            code = process.wait(timeout=PATIENCE)
            reader.join()
            answered = Counter(str(line["status"]) for line in lines if line["event"] == "answered")
            swaps = sum(line["event"] == "refreshed" for line in lines)
            say(f"\n# The service ended with {code}. By its log: answers by status {dict(answered)}, {swaps} swaps.")
            for line in [each for each in lines if each["level"] != "info"][:3]:
                say(f"  {json.dumps(line)}")
        must(code in (0, -signal.SIGTERM), f"the service ended with {code}: {log.read_text()[-2000:]}")
        must(set(answered) == {"200"}, f"the service answered other than 200: {dict(answered)}")
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


@dataclass
class Crowd:
    """A client that asks for the same slate all the while, over one connection, and remembers what it got.

    `wrong` are answers other than 200, connections that broke, and slates whose records are not of two systems at
    most. `served` counts the slates in which a model's digest was seen ("" is a rule), in the order of appearance.
    """

    service: Service
    rows: Sequence[Row]
    requests: int = 0
    slowest: float = 0.0
    wrong: list[str] = field(default_factory=list)
    served: Counter[str] = field(default_factory=Counter)

    def __enter__(self) -> Crowd:
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._ask)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def follows(self, serial: int) -> dict[str, Any]:
        """Wait until the service serves the channel's state of that serial, and has served it to this client.

        Raises:
            NotSeenError: it does not, or the client has stopped asking.
        """
        health = self.service.follows(serial)
        # The request under way may be of before. When the next but one begins, the next is answered.
        before, started = self.requests, time.monotonic()
        while self.requests < before + 2:
            must(time.monotonic() - started < PATIENCE, f"the client got no answer within {PATIENCE:g} s")
            time.sleep(0.01)
        return health

    def _ask(self) -> None:
        body = json.dumps({"rows": list(self.rows)}, allow_nan=False).encode()
        connection = http.client.HTTPConnection("127.0.0.1", self.service.port, timeout=PATIENCE)
        while not self._done.wait(0.1):  # the commands need the cores, and a model takes longer than this to load
            started = time.monotonic()
            self.requests += 1
            try:
                connection.request("POST", "/predict", body, {"Content-Type": "application/json"})
                answer = connection.getresponse()
                content = answer.read()
            except OSError as error:
                self.wrong.append(f"request {self.requests}: {error!r}")
                connection.close()
                continue
            self.slowest = max(self.slowest, time.monotonic() - started)
            if answer.status != 200:
                self.wrong.append(f"request {self.requests}: {answer.status} {content[:200]!r}")
                continue
            digests = {record["model_sha256"] for record in json.loads(content)["predictions"]}
            self.served.update(digests)
            if not 1 <= len(digests) <= 2:
                self.wrong.append(f"request {self.requests}: served by {len(digests)} models")
        connection.close()
