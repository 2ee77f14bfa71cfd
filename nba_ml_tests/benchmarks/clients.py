"""Clients that keep a server busy: processes with one connection each, kept alive, all bound to one core.

Imports the standard library only: each client is a process of its own, which should take little of the machine.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from http.client import HTTPConnection


@dataclass(frozen=True, slots=True)
class Answers:
    """How many answers came, how many of them were no 200, and the milliseconds that each took, in order of size."""

    count: int
    errors: int
    waits: list[float]

    def percentile(self, share: float) -> float:
        """The milliseconds that this share of the answers took at most."""
        return self.waits[min(len(self.waits) - 1, int(share * len(self.waits)))]


def ask(port: int, path: str, bodies: list[str], seconds: float) -> Answers:
    """Send the bodies in turn over one connection, each after the answer to the one before."""
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    waits: list[float] = []
    errors = 0
    ends = time.perf_counter() + seconds
    while (started := time.perf_counter()) < ends:
        body = bodies[len(waits) % len(bodies)].encode()
        connection.request("POST", path, body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        response.read()
        waits.append(1000 * (time.perf_counter() - started))
        errors += response.status != 200
    connection.close()
    return Answers(len(waits), errors, sorted(waits))


def ask_at_once(connections: int, port: int, path: str, bodies: list[str], seconds: float) -> Answers:
    """`ask` from so many processes on the last core."""
    given = json.dumps({"port": port, "path": path, "bodies": bodies, "seconds": seconds})
    command = [sys.executable, "-m", __name__]
    started = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(connections)
    ]
    for each in started:
        assert each.stdin is not None
        each.stdin.write(given)
        each.stdin.close()
    said = []
    for each in started:
        assert each.stdout is not None
        said.append(json.loads(each.stdout.read()))
        each.wait()
    waits = sorted(wait for each in said for wait in each["waits"])
    return Answers(len(waits), sum(each["errors"] for each in said), waits)


def main() -> None:
    """One client: what to ask from standard input, the answers to standard output."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    given = json.load(sys.stdin)
    found = ask(**given)
    json.dump({"errors": found.errors, "waits": found.waits}, sys.stdout)


if __name__ == "__main__":
    main()
