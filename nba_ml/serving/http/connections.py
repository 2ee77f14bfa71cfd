"""Connections of the HTTP service within `Limits`, whatever a client sends, holds back or does not read.

What belongs here: limits that uvicorn lacks. It waits without end for a request and for a client to read the answer,
and it keeps heads, trailers and pipelined requests of any length in memory. Bodies are the subject of `requests`.

Why httptools and not h11, or another server: docs/pages/decisions/httptools.md.
"""

from __future__ import annotations

import asyncio
import ctypes
import socket
import struct
from collections import Counter, deque
from collections.abc import Iterable
from contextlib import suppress
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from nba_ml.serving.http.limits import ACCEPTING_PASSES, SWEEP_SECONDS, TRIM_SECONDS, Limits
from nba_ml.serving.http.problems import MEDIA_TYPE, Problem

HEALTH = "/health"
"""Is answered before everything else."""

MANY = 32
"""Open connections, of which a flood may be made."""


class _Refused(Exception):  # noqa: N818 - never seen outside this module
    """Stops the parser in the middle of what it was given."""


class Connections:
    """All connections of a server: counts them, and closes those that have taken too long or are too many."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.flooded = False
        """Whether many connections were open, or one was refused or dropped, since memory was last given back."""
        self._open: set[BoundedProtocol] = set()
        self._sweeping = False
        self._due: deque[tuple[BoundedProtocol, RequestResponseCycle, Any]] = deque()
        self._starting = False
        self._accepted = False
        self._passes = 0
        self._trimmed = 0.0

    def protocol(self, **given: Any) -> BoundedProtocol:
        """What uvicorn makes of a new connection."""
        return BoundedProtocol(self, **given)

    def opened(self, connection: BoundedProtocol) -> None:
        self._open.add(connection)
        self._accepted = True
        if len(self._open) > self.limits.burst_connections:
            self._trim(1, self._of_largest_client())
        if not self._sweeping:
            self._sweeping = True
            connection.loop.call_later(SWEEP_SECONDS, self._sweep, connection.loop)

    def closed(self, connection: BoundedProtocol) -> None:
        self._open.discard(connection)

    def start(self, connection: BoundedProtocol, cycle: RequestResponseCycle, app: Any) -> None:
        """Let the app answer: `/health` at once, other requests one in each pass of the event loop, in order.

        A thousand requests that arrive together would otherwise all be answered in one pass, before `/health` is read.
        """
        if cycle.scope["path"] == HEALTH:
            connection.start(cycle, app)
            return
        self._due.append((connection, cycle, app))
        if not self._starting:
            self._starting = True
            self._start_next(connection.loop)

    def _start_next(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._accepted and self._passes < ACCEPTING_PASSES:
            # The loop accepts one connection in each pass, and the monitor's may be the next: it goes before.
            self._accepted = False
            self._passes += 1
            loop.call_soon(self._start_next, loop)
            return
        self._passes = 0
        while self._due:
            connection, cycle, app = self._due.popleft()
            if not cycle.disconnected:
                connection.start(cycle, app)
                loop.call_soon(self._start_next, loop)
                return
        self._starting = False

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        """Disconnect whoever is too slow; then the longest waiting of whoever has too many, or too much unread."""
        now = loop.time()
        for connection in list(self._open):
            connection.keep_time(now)
        for client, count in Counter(each.address for each in self._open).items():
            if (excess := count - self.limits.client_connections) > 0:
                self._trim(excess, (each for each in self._open if each.address == client))
        while (excess := len(self._open) - self.limits.connections) > 0:
            if not self._trim(excess, self._of_largest_client()):
                break
        unread = sum(each.unread for each in self._open) - self.limits.unread_bytes
        for connection in sorted((each for each in self._open if each.unread), key=_waiting_since):
            if unread <= 0:
                break
            unread -= connection.unread
            connection.drop()
        self._sweeping = bool(self._open)
        self.flooded = self.flooded or len(self._open) > MANY
        if self.flooded and (not self._open or now - self._trimmed > TRIM_SECONDS):
            self.flooded, self._trimmed = False, now
            _give_memory_back()
        if self._sweeping:
            loop.call_later(SWEEP_SECONDS, self._sweep, loop)

    def _of_largest_client(self) -> list[BoundedProtocol]:
        client, _ = Counter(each.address for each in self._open).most_common(1)[0]
        return [each for each in self._open if each.address == client]

    def _trim(self, excess: int, connections: Iterable[BoundedProtocol]) -> int:
        """Drop so many of these, the longest waiting first; none that the service itself is working for."""
        waiting = sorted((each for each in connections if each.waits), key=_waiting_since)[:excess]
        for connection in waiting:
            connection.drop()
        return len(waiting)


def _give_memory_back() -> None:
    """Return freed memory to the operating system: glibc keeps it otherwise. Takes a few milliseconds."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _waiting_since(connection: BoundedProtocol) -> float:
    return connection.since


class BoundedProtocol(HttpToolsProtocol):
    """Uvicorn's protocol, with an end to what it waits for and to what it keeps."""

    def __init__(self, all_connections: Connections, **given: Any) -> None:
        super().__init__(**given)
        self._all = all_connections
        self._limits = all_connections.limits
        self._refused = False
        self._in_head = True
        self._given = 0  # bytes received last
        self._partial = 0  # bytes received of a head that is not complete
        self._fields = 0  # bytes of the head's fields and the trailers' that are
        self._framing = 0  # bytes of the body's chunks beside their content
        self._chunks = 0  # of the body
        self._head_since: float | None = None
        self._unread_since: float | None = None
        self._answering: RequestResponseCycle | None = None
        self.since = self.loop.time()
        """When it began to wait for what it waits for."""
        self.address = ""

    # What a connection is doing

    @property
    def unread(self) -> int:
        """Bytes that wait for the client to take them."""
        return self.transport.get_write_buffer_size()

    @property
    def waits(self) -> bool:
        """Whether it waits for its client, and not for the service's answer."""
        cycle = self._answering
        return cycle is None or cycle.more_body or cycle.response_complete or self.flow.write_paused

    def keep_time(self, now: float) -> None:
        """Close it if a head or a reader has taken too long. `requests` times bodies, and uvicorn the idle."""
        if not self.unread:
            self._unread_since = None
        elif self._unread_since is None:
            self._unread_since = now
        elif now - self._unread_since > self._limits.write_seconds:
            self.drop()
        if self._head_since is not None and self.waits and now - self._head_since > self._limits.head_seconds:
            self.transport.close()

    def drop(self) -> None:
        """Close it at once, with all that was not read: without `SO_LINGER` the kernel would keep that for minutes."""
        self._all.closed(self)
        self._all.flooded = True
        self._set_option(socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()

    def _set_option(self, option: int, value: int | bytes) -> None:
        with suppress(OSError):  # it is closed already
            self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, option, value)

    # What happens to it

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.address = self.client[0] if self.client else ""
        self._head_since = self.since
        for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            self._set_option(option, self._limits.kernel_bytes)
        self._all.opened(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._all.closed(self)
        if self._answering is not None:  # uvicorn tells only the newest of those that were pipelined
            self._answering.disconnected = True
            self._answering.message_event.set()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        self._given = len(data)
        if self._in_head:
            self._partial += len(data)
            if self._head_since is None:
                self._head_since = self.since = self.loop.time()
        else:
            self._framing += len(data)
        super().data_received(data)
        if self._refused or self.transport.is_closing():
            return
        if self._in_head and self._partial > self._limits.head_bytes:
            self._refuse(self._head_too_long())
        elif not self._in_head and self._framing > self._limits.framing_bytes:
            self._refuse(self._chunks_too_small())

    # The parser's callbacks: an exception ends its work, and uvicorn then calls `send_400_response`

    def on_message_begin(self) -> None:
        if len(self.pipeline) >= self._limits.pipelined:
            self._refuse(
                Problem(
                    HTTPStatus.TOO_MANY_REQUESTS,
                    "Too many requests are waiting. Read the answers first.",
                )
            )
            raise _Refused
        self._in_head = True
        self._fields = 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        self._field(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._field(len(name) + len(value) + 4)
        super().on_header(name, value)

    def _field(self, size: int) -> None:
        self._fields += size
        if self._fields > self._limits.head_bytes or len(self.headers) >= self._limits.headers:
            self._refuse(self._head_too_long())
            raise _Refused

    def on_headers_complete(self) -> None:
        hosts = sum(name == b"host" for name, _ in self.headers)
        # RFC 9112, 3.2. Of two, a proxy in front may have gone by the other.
        if hosts > 1 or (hosts == 0 and self.parser.get_http_version() != "1.0"):
            found = "several Host headers" if hosts else "no Host header"
            self._refuse(Problem(HTTPStatus.BAD_REQUEST, f"The request has {found}. Send one."))
            raise _Refused
        self._in_head = False
        self._partial = 0
        self._framing = self._given - self._fields  # what was received together with the head
        self._chunks = 0
        self._head_since = None
        self.since = self.loop.time()
        super().on_headers_complete()

    def on_chunk_header(self) -> None:
        self._chunks += 1
        if self._chunks > self._limits.chunks:
            self._refuse(self._chunks_too_small())
            raise _Refused

    def on_body(self, body: bytes) -> None:
        self._framing -= len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._in_head = True
        self._partial = 0
        super().on_message_complete()

    # Uvicorn's own steps

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._answering = cycle
        self._all.start(self, cycle, app)

    def start(self, cycle: RequestResponseCycle, app: Any) -> None:
        super()._start_asgi_task(cycle, app)

    def on_response_complete(self) -> None:
        self.since = self.loop.time()
        if self._head_since is not None:
            self._head_since = self.since
        if self.pipeline and self.flow.write_paused:  # whoever does not read gets no further answers to hold
            self.pipeline.clear()
            self.transport.close()
        super().on_response_complete()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - uvicorn's
        if not self._refused:
            self._refuse(Problem(HTTPStatus.BAD_REQUEST, "This is not a valid HTTP/1.1 request."))

    def _head_too_long(self) -> Problem:
        return Problem(
            HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
            f"The headers exceed the limit of {self._limits.head_bytes:,} bytes or {self._limits.headers:,} fields.",
        )

    def _chunks_too_small(self) -> Problem:
        return Problem(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            f"The body exceeds the limit of {self._limits.chunks:,} chunks, or of {self._limits.framing_bytes:,} bytes "
            "of chunk sizes and extensions. Send larger chunks, or Content-Length.",
        )

    def _refuse(self, problem: Problem) -> None:
        """Read no more. Earlier requests are answered first, and then nothing is said: it would be taken for theirs."""
        self._refused = self._all.flooded = True
        started = self._answering
        for cycle in [*(cycle for cycle, _ in self.pipeline), started]:
            if cycle is not None and not cycle.more_body and not cycle.response_complete:
                cycle.keep_alive = False
                self.flow.pause_reading()
                self.flow.read_paused = False  # so that nothing resumes it
                return
        if started is not None and not started.response_complete:  # it is the body of this one that is refused
            started.disconnected = True
            started.message_event.set()
        if started is None or started.response_complete or not started.response_started:
            self.transport.write(_as_bytes(problem))
        self.transport.close()


def _as_bytes(problem: Problem) -> bytes:
    body = bytes(problem.response().body)
    head = (
        f"HTTP/1.1 {problem.status.value} {problem.status.phrase}\r\ncontent-type: {MEDIA_TYPE}\r\n"
        f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
    )
    return head.encode() + body
