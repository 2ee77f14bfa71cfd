"""A connection of the HTTP service: the head of a request, within limits.

What belongs here: what uvicorn leaves open. It waits for ever for a request that never comes, and keeps a head of any
length in memory; the body and everything after it are `requests`.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from nba_ml.serving.http.problems import MEDIA_TYPE, Problem

HEAD_SECONDS = 10.0
"""From the opening of a connection, or the first byte of a further request, until its head is there."""

HEAD_BYTES = 64 * 2**10
"""Of a request line and its headers, where the usual are a few hundred. What uvicorn's other parser, h11, allows."""


class BoundedHead(HttpToolsProtocol):
    """Uvicorn's protocol, with an end to waiting for a head and to its length.

    Whoever holds connections without asking would otherwise use them up, and everybody else, the monitor that asks
    `/health` among them, would be answered 503 until somebody restarts the service.
    """

    head_seconds = HEAD_SECONDS
    head_bytes = HEAD_BYTES

    _waiting: asyncio.TimerHandle | None = None
    _received = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if not (self.cycle is None or self.cycle.response_complete) or self.transport.is_closing():
            return  # a request under way: its body has limits of its own
        self._wait()
        self._received += len(data)
        if self._received > self.head_bytes:
            self._refuse()

    def on_headers_complete(self) -> None:
        self._stop_waiting()
        super().on_headers_complete()

    def _wait(self) -> None:
        if self._waiting is None:
            self._waiting = self.loop.call_later(self.head_seconds, self.transport.close)

    def _stop_waiting(self) -> None:
        self._received = 0
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None

    def _refuse(self) -> None:
        status = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
        body = Problem(status, f"The headers of a request may have {self.head_bytes:,} bytes.").response().body
        head = (
            f"HTTP/1.1 {status.value} {status.phrase}\r\ncontent-type: {MEDIA_TYPE}\r\n"
            f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + bytes(body))
        self.transport.close()
