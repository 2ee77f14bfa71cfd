"""A proxy in front of the emulator that does to a client what networks, servers and kernels do.

A proxy on the loopback, and no replaced transport in the client: resets, silences and torn answers are real
ones, seen through the client's own sockets, and they reach clients in other processes too.
"""

from __future__ import annotations

import http.client
import os
import signal
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal
from urllib.parse import urlsplit

Kind = Literal["503", "429", "404", "410", "reset", "silence", "cut", "short", "garbled", "kill"]
When = Literal["before", "after"]

KINDS: tuple[Kind, ...] = ("503", "429", "reset", "silence", "cut")
"""What may come at any call; `garbled` is for calls that deliver bytes, `kill` for clients that say who they are,
`404`, `410` and `short` for the calls of an upload in several requests."""

WHENS: tuple[When, ...] = ("before", "after")

_SILENT_FOR = 30.0
"""Seconds. The client gives up long before that; its closing the connection ends the silence."""


@dataclass(frozen=True)
class Fault:
    """What happens, before the server has heard of the call or after it has acted.

    - 503, 429, 404, 410: an answer with that status, also where the server did act.
    - reset: the connection is reset (TCP RST).
    - silence: no answer at all.
    - cut: a good answer's status and headers, and half of its body or less. Before: one that is made up.
    - short: a good answer with the first half of its body, as if that were all.
    - garbled: the answer with one bit of its body turned over.
    - kill: SIGKILL to the client, and then a reset.
    """

    kind: Kind
    when: When


@dataclass(frozen=True)
class Call:
    """A request to the store: its number, counted from 0 for each client (header `x-client`), and what it asks."""

    number: int
    client: str
    method: str
    path: str


Plan = Callable[[Call], Fault | None]
"""Which calls have which fault."""


def undisturbed(_: Call) -> None:
    """The plan without faults."""


def disturbed(fault: Fault, first: int, times: int | None = 1) -> Plan:
    """The plan with the fault at that many calls of each client from the first, counted from 0; None: at all."""
    last = None if times is None else first + times - 1

    def plan(call: Call) -> Fault | None:
        return fault if first <= call.number and (last is None or call.number <= last) else None

    return plan


class FaultProxy:
    """Passes calls on to the emulator, except those for which `plan` has a fault.

    `watch` is called after every call that reached the server, before the client hears of it; what it finds wrong
    goes into `violations`, because nobody would hear of an exception in the proxy's threads.

    Calls whose path has `in_turn` in it are passed on one after the other, for emulators that look and then act where
    the real service does both at once.
    """

    def __init__(self, upstream: str, in_turn: str | None = None) -> None:
        self.plan: Plan = undisturbed
        self.watch: Callable[[], None] = lambda: None
        self.violations: list[str] = []
        self.calls: list[Call] = []
        """Since the last `disturbing` began."""
        self.arrived = 0
        self.injected = 0
        """The calls, and the faults, since this proxy began."""
        self._upstream = urlsplit(upstream).netloc
        self._lock = threading.Lock()
        self._in_turn, self._turn = in_turn, threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"

    @contextmanager
    def running(self) -> Iterator[FaultProxy]:
        """Serve while the block runs."""
        thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()
            thread.join()

    @contextmanager
    def disturbing(self, plan: Plan, watch: Callable[[], None]) -> Iterator[None]:
        """Disturb the calls of the block, which are numbered anew, and watch them."""
        with self._lock:
            self.calls, self.violations, self.plan, self.watch = [], [], plan, watch
        try:
            yield
        finally:
            with self._lock:
                self.plan, self.watch = undisturbed, lambda: None

    def _arrived(self, client: str, method: str, path: str) -> tuple[Call, Fault | None]:
        with self._lock:
            call = Call(sum(each.client == client for each in self.calls), client, method, path)
            self.calls.append(call)
            self.arrived += 1
            fault = self.plan(call)
            if fault is not None:
                self.injected += 1
        return call, fault

    def _pass_on(
        self, handler: BaseHTTPRequestHandler, body: bytes, *, watched: bool
    ) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection(self._upstream, timeout=_SILENT_FOR)
        turn = self._turn if self._in_turn is not None and self._in_turn in handler.path else nullcontext()
        try:
            headers = {name: value for name, value in handler.headers.items() if name.lower() != "connection"}
            with turn:
                connection.request(handler.command, handler.path, body or None, headers)
                answer = connection.getresponse()
                data = answer.read()
        finally:
            connection.close()
        if watched:
            with self._lock:
                try:
                    self.watch()
                except (AssertionError, LookupError, ValueError, OSError) as error:
                    self.violations.append(f"after {handler.command} {handler.path}: {error!r}")
        # The length is set anew: the emulator sends long answers in chunks.
        unwanted = ("connection", "transfer-encoding", "content-length")
        kept = {name: value for name, value in answer.getheaders() if name.lower() not in unwanted}
        return answer.status, {**kept, "Content-Length": str(len(data))}, data

    def _handler(self) -> type[BaseHTTPRequestHandler]:  # noqa: C901 (one class whose methods share the proxy)
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def handle_any(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                parts = urlsplit(self.path).path.split("/")
                if parts[-2] == "b":
                    # The bucket itself: only the library's own metadata cache asks for it, in a thread in the
                    # background, whenever it likes. No call of ours.
                    self.answer(*proxy._pass_on(self, body, watched=False))
                    return
                call, fault = proxy._arrived(self.headers.get("x-client", ""), self.command, self.path)
                reached = fault is None or fault.when == "after"
                answer = proxy._pass_on(self, body, watched=True) if reached else None
                if fault is not None:
                    self.misbehave(fault, call, answer)
                elif answer is not None:
                    self.answer(*answer)

            do_GET = do_POST = do_PUT = do_DELETE = handle_any  # noqa: N815 - the names that the base class calls

            def answer(self, status: int, headers: dict[str, str], data: bytes) -> None:
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)

            def misbehave(self, fault: Fault, call: Call, answer: tuple[int, dict[str, str], bytes] | None) -> None:
                if fault.kind.isdecimal():
                    self.answer(int(fault.kind), {"Content-Length": "9"}, b"try again")
                elif fault.kind == "cut":
                    whole = b'{"kind": "storage#object", "name": "made up", "generation": "1", "metageneration": "1"}'
                    status, headers, data = answer or (200, {"Content-Length": str(len(whole))}, whole)
                    if data:
                        self.answer(status, headers, data[: len(data) // 2])
                    else:
                        self.wfile.write(b"HTTP/1.1 20")
                    self.close_connection = True
                elif fault.kind == "short" and answer is not None:
                    status, headers, data = answer
                    half = data[: len(data) // 2]
                    self.answer(status, {**headers, "Content-Length": str(len(half))}, half)
                elif fault.kind == "garbled" and answer is not None:
                    status, headers, data = answer
                    middle = len(data) // 2
                    self.answer(status, headers, data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :])
                elif fault.kind == "silence":
                    self.connection.settimeout(_SILENT_FOR)
                    self.connection.recv(1)
                    self.close_connection = True
                elif fault.kind in ("reset", "kill"):
                    if fault.kind == "kill":
                        os.kill(int(call.client), signal.SIGKILL)
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    self.rfile.close()
                    self.connection.close()
                    self.close_connection = True

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

        return Handler
