"""What floods do to the HTTP service: how long /health takes meanwhile, and what happens to the memory.

    python -m nba_ml_tests.benchmarks.floods [--source ROOT_OR_MANIFEST] [--seconds S] [--only NAME ...]

Starts the service as `nba-ml serve` does, in its own process on a free loopback port, and floods it from another
process: one client address, bounded in connections, bytes and seconds. Meanwhile a monitor at the same address asks
/health on a new connection every 50 ms, and a client at another address (127.0.0.2) asks for predictions. Prints a
Markdown table; the exit code is 1 where /health failed or took longer than a second, or memory grew by over 100 MB.

Without a source it takes the newest model that this machine has published. To measure another version of the service,
run this file by its path with that version's checkout as the current directory.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from itertools import count, repeat

import psutil

HEALTH_SECONDS = 1.0
GROWTH_MB = 100

MB = 2**20
BODY = 4 * MB
"""The most bytes that the service takes as a body, by its default."""

JSON_HEAD = b"POST /predict HTTP/1.1\r\nhost: service\r\ncontent-type: application/json\r\n"
CHUNKED = JSON_HEAD + b"transfer-encoding: chunked\r\n\r\n"
GET = b"GET /metrics HTTP/1.1\r\nhost: service\r\n\r\n"

Attack = Callable[["Line"], Awaitable[None]]


@dataclass
class Line:
    """One connection of a flood: sends what it is told until it is closed or time is up. Never more than `most`."""

    number: int
    port: int
    ends: float
    most: int = 64 * MB
    sent: int = 0
    sock: socket.socket = field(default_factory=socket.socket)

    async def open(self, receive_buffer: int | None = None) -> None:
        self.sock.setblocking(False)
        if receive_buffer is not None:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        await asyncio.get_running_loop().sock_connect(self.sock, ("127.0.0.1", self.port))

    async def send(self, data: bytes) -> None:
        if time.monotonic() > self.ends or self.sent > self.most:
            raise TimeoutError
        await asyncio.wait_for(
            asyncio.get_running_loop().sock_sendall(self.sock, data), max(0.01, self.ends - time.monotonic())
        )
        self.sent += len(data)

    async def endless(self, data: bytes) -> None:
        for _ in repeat(None):
            await self.send(data)

    async def drip(self, data: bytes) -> None:
        for index in count():
            await self.send(data[index % len(data)].to_bytes())
            await asyncio.sleep(0.5)

    async def hold(self) -> None:
        """Stay connected, and read nothing."""
        await asyncio.sleep(max(0.0, self.ends - time.monotonic()))

    async def read(self) -> bytes:
        """What comes next, b'' at the end."""
        return await asyncio.wait_for(
            asyncio.get_running_loop().sock_recv(self.sock, 2**18), max(0.01, self.ends - time.monotonic())
        )


def posted(body: bytes, *headers: bytes) -> bytes:
    return b"".join(
        [JSON_HEAD, *(h + b"\r\n" for h in headers), b"content-length: %d\r\n\r\n" % len(body), body],
    )


def slate(row: bytes, rows: int = 1_000) -> bytes:
    return b'{"rows": [' + b",".join([row] * rows) + b"]}"


def opened(send: bytes = b"", then: bytes = b"", *, drip: bytes = b"") -> Attack:
    """Send this, then that without end or drop by drop, then stay; never read."""

    async def attack(line: Line) -> None:
        await line.open(4096)
        if send:
            await line.send(send)
        if then:
            await line.endless(then)
        if drip:
            await line.drip(drip)
        await line.hold()

    return attack


def asked(request: bytes) -> Attack:
    """Ask again and again, on new connections where the last was closed, and read the answers."""

    async def attack(line: Line) -> None:
        while time.monotonic() < line.ends:
            line.sock.close()
            line.sock = socket.socket()
            with suppress(OSError):
                await line.open()
                while True:
                    await line.send(request)
                    while len(data := await line.read()) == 2**18:
                        pass
                    if not data:
                        break
            await asyncio.sleep(0.01)

    return attack


async def churn(line: Line) -> None:
    while time.monotonic() < line.ends:
        with suppress(OSError):
            await line.open()
            if line.number % 2:
                await line.send(GET)
        line.sock.close()
        line.sock = socket.socket()
        await asyncio.sleep(0.002)


def half_closed(send: bytes) -> Attack:
    async def attack(line: Line) -> None:
        await line.open(4096)
        await line.send(send)
        line.sock.shutdown(socket.SHUT_WR)
        await line.hold()

    return attack


def attacks(row: bytes) -> dict[str, tuple[int, Attack]]:
    """Name of each flood: how many connections, and what each does. `row` is a good row as JSON."""
    good = posted(slate(row))
    length = b"content-length: %d\r\n" % BODY
    hello = bytes.fromhex("16030102000100010001fc0303") + bytes(512)
    return {
        "no flood": (0, opened()),  # how long /health takes on this machine as it is
        "one huge header": (4, opened(GET[:-2] + b"x-header: ", b"x" * 65_536)),
        "endless headers": (4, opened(GET[:-2], b"a:\r\n" * 16_384)),
        "heads just under the limit": (900, opened(GET[:-2] + b"a:\r\n" * 3_900)),
        "endless trailers": (4, opened(CHUNKED + b"0\r\n", b"a:\r\n" * 16_384)),
        "one endless chunk extension": (4, opened(CHUNKED + b"1;", b"x" * 65_536)),
        "a chunk extension per byte": (4, opened(CHUNKED, (b"1;" + b"x" * 1_000 + b"\r\n \r\n") * 64)),
        "chunks of one byte": (16, opened(CHUNKED, b"1\r\n \r\n" * 10_000)),
        "slow heads": (900, opened(drip=GET[:-2] + b"x: y\r\n" * 100)),
        "slow bodies": (900, opened(JSON_HEAD + length + b"\r\n" + b" " * 30_000, drip=b" ")),
        "large bodies, never finished": (300, opened(JSON_HEAD + length + b"\r\n" + b" " * (BODY - 1))),
        "large bodies, read": (100, asked(posted(b" " * BODY))),
        "pipelined, never read": (999, opened(then=GET * 1_000)),
        "large answers, never read": (300, opened(good * 2)),
        "small slates, answers never read": (300, opened(then=posted(slate(row, 30)) * 4)),
        "good slates, read": (50, asked(good)),
        "idle connections": (1_500, opened()),
        "half closed after a request": (500, half_closed(GET * 50)),
        "half closed in a request": (500, half_closed(JSON_HEAD + length + b"\r\n")),
        "opened and closed": (16, churn),
        "Expect: 100-continue, no body": (900, opened(JSON_HEAD + length + b"expect: 100-continue\r\n\r\n")),
        "upgrades": (300, opened(GET[:-2] + b"connection: upgrade\r\nupgrade: h2c\r\n\r\n", b"x" * 65_536)),
        "HTTP/2": (300, opened(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", bytes(9 * 1_000))),
        "TLS": (300, opened(hello, hello)),
        "deep JSON": (16, asked(posted(b"[" * (BODY - 200)))),
        "wide JSON, lists": (16, asked(posted(b'{"rows": [' + b"[]," * (BODY // 3 - 100) + b"0]}"))),
        "wide JSON, names": (
            16,
            asked(posted(b'{"rows": [{' + b",".join(b'"%06d":1.5' % n for n in range(BODY // 14)) + b"}]}")),
        ),
        "slates of empty rows": (50, asked(posted(slate(b"{}")))),
    }


async def _flood(port: int, name: str, seconds: float, row: bytes) -> None:
    connections, attack = attacks(row)[name]
    ends = time.monotonic() + seconds

    async def one(number: int) -> None:
        line = Line(number, port, ends)
        with suppress(OSError, TimeoutError):
            await attack(line)
        line.sock.close()

    await asyncio.gather(*(one(number) for number in range(connections)))
    if not connections:
        await asyncio.sleep(seconds)


@dataclass
class Seen:
    """What a monitor found: seconds of each answer, and what went wrong."""

    waits: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def ask(self, port: int, address: str, method: str, path: str, body: bytes | None) -> None:
        started = time.monotonic()
        connection = HTTPConnection("127.0.0.1", port, timeout=5, source_address=(address, 0))
        try:
            connection.request(method, path, body, {"content-type": "application/json"})
            status = connection.getresponse().status
            if status != 200:
                self.failures.append(str(status))
        except (OSError, HTTPException) as error:
            self.failures.append(type(error).__name__)
        finally:
            connection.close()
        self.waits.append(time.monotonic() - started)


@contextmanager
def watched(port: int, pid: int, row: bytes) -> Iterator[tuple[Seen, Seen, list[float]]]:
    """Monitor and other client ask while the block runs; and the resident MB of the service, sampled."""
    health, other, resident, done = Seen(), Seen(), [megabytes(pid)], threading.Event()

    def every(pause: float, call: Callable[[], None]) -> threading.Thread:
        def loop() -> None:
            while not done.wait(pause):
                call()

        thread = threading.Thread(target=loop)
        thread.start()
        return thread

    threads = [
        every(0.05, lambda: health.ask(port, "127.0.0.1", "GET", "/health", None)),
        every(0.1, lambda: other.ask(port, "127.0.0.2", "POST", "/predict", row)),
        every(0.02, lambda: resident.append(megabytes(pid))),
    ]
    try:
        yield health, other, resident
    finally:
        done.set()
        for thread in threads:
            thread.join()


def megabytes(pid: int) -> float:
    """Resident, of the process and its children."""
    process = psutil.Process(pid)
    found = 0.0
    for each in [process, *process.children(recursive=True)]:
        with suppress(psutil.NoSuchProcess):
            found += each.memory_info().rss / MB
    return found


@contextmanager
def service(command: list[str]) -> Iterator[tuple[int, int]]:
    """The service in a process of its own; gives its port and process id."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [part.format(port=port) for part in command]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(3_000):
            seen = Seen()
            seen.ask(port, "127.0.0.1", "GET", "/health", None)
            if not seen.failures:
                break
            time.sleep(0.1)
        else:
            raise SystemExit("The service did not start.")
        yield port, process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()


def measure(command: list[str], name: str, seconds: float, row: bytes) -> tuple[str, bool]:
    """A row of the table, and whether it holds."""
    with service(command) as (port, pid):
        for _ in range(20):
            Seen().ask(port, "127.0.0.1", "POST", "/predict", row)
        before = megabytes(pid)
        try:
            with watched(port, pid, row) as (health, other, resident):
                flooder = subprocess.Popen(
                    [sys.executable, __file__, "--flood", name, "--port", str(port), "--seconds", str(seconds)],
                    stdin=subprocess.PIPE,
                )
                flooder.communicate(row)
                time.sleep(1)
            time.sleep(2)
            after = megabytes(pid)
        except psutil.NoSuchProcess:
            return f"| {name} | the process ended | | | | | | **no** |", False
    worst, peak = max(health.waits), max(resident)
    held = not health.failures and worst < HEALTH_SECONDS and max(peak, after) - before < GROWTH_MB
    kinds = "".join(f", {kind}" for kind in sorted(set(health.failures)))
    return (
        f"| {name} | {1000 * worst:,.0f} ms | {len(health.failures)} of {len(health.waits)}{kinds} | "
        f"{len(other.waits) - len(other.failures)} of {len(other.waits)} | {before:.0f} | {peak:.0f} | {after:.0f} | "
        f"{'yes' if held else '**no**'} |",
        held,
    )


def good_row() -> bytes:
    """A real row as JSON."""
    from nba_ml_tests.benchmarks.serving import real_rows

    row = real_rows()[700]
    return json.dumps({**row, "game_date": str(row["game_date"])}).encode()


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--source")
    parser.add_argument("--seconds", type=float, default=8.0, help="of each flood")
    parser.add_argument("--only", nargs="*", default=[], help="floods with this in their name")
    parser.add_argument("--server", help="another command to measure, with {port} in it")
    parser.add_argument("--flood", help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, 8192), most))
    if options.flood:
        asyncio.run(_flood(options.port, options.flood, options.seconds, sys.stdin.buffer.read()))
        return 0
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, 1024), most))  # what a service usually starts with
    if options.server:
        command = options.server.split()
    else:
        source = options.source
        if source is None:
            from nba_ml_tests.benchmarks.serving import newest_published

            source = newest_published()
        if source is None:
            print("\nNothing is published on this machine yet, so floods are not measured: make run, then again.")
            return 0
        run = "from nba_ml.cli.serve import serve; serve()"
        command = [sys.executable, "-c", run, "--port", "{port}", "--source", source]
    row = good_row()
    print("\n| flood | /health, longest | /health failed | another client served | MB before | peak | after | holds |")
    print("|---|---|---|---|---|---|---|---|", flush=True)
    good = True
    for name in attacks(row):
        if options.only and not any(part in name for part in options.only):
            continue
        line, held = measure(command, name, options.seconds, row)
        print(line, flush=True)
        good &= held
    return 0 if good else 1


if __name__ == "__main__":
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    sys.exit(main())
