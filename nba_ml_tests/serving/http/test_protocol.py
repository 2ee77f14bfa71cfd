"""The limits of one connection to the byte and to the moment: uvicorn's parser, on a transport that is made up.

`test_connections` has the same with sockets, where no limit can be met exactly.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from nba_ml.serving.http.connections import BoundedProtocol, Connections
from nba_ml.serving.http.limits import Limits

FEW = replace(
    Limits(), head_bytes=100, headers=4, framing_bytes=60, chunks=3, pipelined=2, head_seconds=5.0, write_seconds=4.0
)
HOST = b"host: h\r\n"
GET = b"GET /x HTTP/1.1\r\n" + HOST
POST = b"POST /x HTTP/1.1\r\n" + HOST


class Transport:
    """What a connection does to its socket."""

    def __init__(self) -> None:
        self.written = b""
        self.options: list[tuple[int, int, int | bytes]] = []
        self.unread = 0
        self.closed = self.aborted = self.paused = False

    def get_extra_info(self, name: str) -> Any:
        return {"peername": ("10.0.0.7", 5_000), "sockname": ("10.0.0.1", 80), "socket": self}.get(name)

    def setsockopt(self, *option: Any) -> None:
        self.options.append(option)

    def getsockname(self) -> tuple[str, int]:
        return ("10.0.0.1", 80)

    def getpeername(self) -> tuple[str, int]:
        return ("10.0.0.7", 5_000)

    family = socket.AF_INET

    def write(self, data: bytes) -> None:
        self.written += data

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.aborted = True

    def is_closing(self) -> bool:
        return self.closed or self.aborted

    def get_write_buffer_size(self) -> int:
        return self.unread

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False


class Scene:
    """A connection within `FEW`; the app notes what it is asked and answers when it is told to."""

    def __init__(self, **changed: Any) -> None:
        self.asked: list[str] = []
        self.free = asyncio.Event()
        self.free.set()
        self.every = Connections(replace(FEW, **changed))
        self.transport = Transport()
        config = uvicorn.Config(self.app, interface="asgi3", ws="none", log_config=None)
        loop = asyncio.get_running_loop()
        self.connection: BoundedProtocol = self.every.protocol(
            config=config, server_state=ServerState(), app_state={}, _loop=loop
        )
        self.connection.connection_made(self.transport)  # type: ignore[arg-type]

    async def app(self, scope: Any, receive: Any, send: Any) -> None:
        self.asked.append(scope["path"])
        while (await receive()).get("more_body"):
            pass
        await self.free.wait()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})

    async def gets(self, *parts: bytes) -> bytes:
        """What was written after the connection has received these parts."""
        for part in parts:
            self.connection.data_received(part)
            for _ in range(40):  # more passes than connections may be accepted in
                await asyncio.sleep(0)
        return self.transport.written


def run(test: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(test())  # type: ignore[arg-type]


def head(size: int, first: bytes = GET) -> bytes:
    """A head whose path and fields have so many bytes."""
    return first + b"a: " + b"x" * (size - len("/x") - len(HOST) - len("a") - 4) + b"\r\n\r\n"


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        ([head(100)], 200),
        ([head(101)], 431),
        ([b"GET /" + b"x" * (99 - len(HOST)) + b" HTTP/1.1\r\n" + HOST + b"\r\n"], 200),
        ([b"GET /" + b"x" * (100 - len(HOST)) + b" HTTP/1.1\r\n" + HOST + b"\r\n"], 431),
        ([GET + b"a:\r\nb:\r\nc:\r\n\r\n"], 200),
        ([GET + b"a:\r\nb:\r\nc:\r\nd:\r\n\r\n"], 431),
        ([GET + b"a: " + b"x" * (100 - len(GET) - 3)], 0),
        ([GET + b"a: " + b"x" * (100 - len(GET) - 3), b"x"], 431),
        ([head(100), head(100), head(100)], 200),
    ],
    ids=["most", "more", "path", "longer path", "fields", "more fields", "unfinished", "further", "each its own"],
)
def test_a_head_has_its_bytes_and_its_fields(sent: list[bytes], status: int) -> None:
    async def test() -> None:
        scene = Scene()
        written = await scene.gets(*sent)
        assert written.startswith(b"HTTP/1.1 %d" % status if status else b"")
        assert bool(written) is bool(status)
        assert scene.transport.closed is (status == 431)
        assert len(scene.asked) == (len(sent) if status == 200 else 0)
        if status == 431:
            assert await scene.gets(GET + b"\r\n") == written, "nothing is read any more"
            assert scene.every.flooded

    run(test)


CHUNKED = POST + b"transfer-encoding: chunked\r\n\r\n"
"""Of which 18 bytes are neither its path nor its field, and count with the sizes of the chunks."""


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        ([CHUNKED, b"1\r\nx\r\n" * 2 + b"0\r\n\r\n"], 200),
        ([CHUNKED, b"1\r\nx\r\n" * 3 + b"0\r\n\r\n"], 413),
        ([CHUNKED, b"1;" + b"x" * 40], 0),
        ([CHUNKED, b"1;" + b"x" * 41], 413),
        ([CHUNKED + b"1;" + b"x" * 30, b"x" * 10], 0),
        ([CHUNKED, b"28\r\n" + b"x" * 40, b"\r\n1;" + b"x" * 34], 0),
        ([CHUNKED, b"28\r\n" + b"x" * 40, b"\r\n1;" + b"x" * 35], 413),
        ([POST + b"content-length: 200\r\n\r\n", b"x" * 100, b"x" * 99], 0),
    ],
    ids=[
        "chunks",
        "a chunk more",
        "sizes",
        "more",
        "with the head",
        "content is none",
        "content and more",
        "no chunks",
    ],
)
def test_a_body_has_its_chunks_and_their_bytes(sent: list[bytes], status: int) -> None:
    async def test() -> None:
        scene = Scene()
        if status == 0:
            scene.free.clear()
        written = await scene.gets(*sent)
        assert written.startswith(b"HTTP/1.1 %d" % status if status else b"")
        assert bool(written) is bool(status)
        assert len(scene.asked) == 1

    run(test)


@pytest.mark.parametrize(
    ("sent", "status", "words"),
    [
        (b"GET /x HTTP/1.1\r\n\r\n", 400, b"The request has no Host header. Send one."),
        (GET + HOST + b"\r\n", 400, b"The request has several Host headers. Send one."),
        (b"GET /x HTTP/1.1\r\nHost:\r\n\r\n", 200, b"ok"),
        (b"GET /x HTTP/1.0\r\n\r\n", 200, b"ok"),
    ],
    ids=["none", "two", "empty", "none in HTTP/1.0"],
)
def test_a_request_has_one_host(sent: bytes, status: int, words: bytes) -> None:
    """Guards RFC 9112, 3.2: a proxy in front may take a request for another site's where this service answers it."""

    async def test() -> None:
        scene = Scene()
        written = await scene.gets(sent)
        assert written.startswith(b"HTTP/1.1 %d" % status)
        assert words in written
        assert scene.asked == (["/x"] if status == 200 else [])

    run(test)


def test_what_was_asked_before_a_refusal_is_answered_and_nothing_else_is_said() -> None:
    """Guards a client that pipelines: the refusal of a later request would be read as the answer to an earlier one."""

    async def test() -> None:
        scene = Scene()
        scene.free.clear()
        assert await scene.gets(GET + b"\r\n", head(101)) == b""
        assert scene.transport.paused
        assert not scene.transport.closed
        scene.free.set()
        written = await scene.gets(GET + b"\r\n")
        assert (written.count(b"HTTP/1.1"), scene.asked) == (1, ["/x"])
        assert written.startswith(b"HTTP/1.1 200")
        assert b"connection: close" in written
        assert scene.transport.closed

    run(test)


def test_requests_wait_up_to_their_number() -> None:
    async def test() -> None:
        scene = Scene()
        scene.free.clear()
        await scene.gets(*[GET + b"\r\n"] * 3)
        assert not scene.transport.paused or not scene.connection._refused
        assert len(scene.connection.pipeline) == 2
        await scene.gets(GET + b"\r\n")
        assert scene.connection._refused
        scene.free.set()
        written = await scene.gets()
        for _ in range(200):
            await asyncio.sleep(0)
        written = scene.transport.written
        assert (written.count(b"HTTP/1.1 200"), written.count(b"HTTP/1.1")) == (3, 3)

    run(test)


def test_an_answer_that_is_not_read_ends_the_connection_at_its_time() -> None:
    async def test() -> None:
        scene = Scene()
        connection, transport = scene.connection, scene.transport
        now = connection.loop.time()
        transport.unread = 1
        connection.keep_time(now)
        connection.keep_time(now + 4.0)
        assert not transport.aborted
        transport.unread = 0
        connection.keep_time(now + 4.5)
        transport.unread = 1
        connection.keep_time(now + 4.6)
        connection.keep_time(now + 8.5)
        assert not transport.aborted, "it was read in between"
        connection.keep_time(now + 8.7)
        assert transport.aborted
        assert transport.options[-1] == (socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        assert scene.every.flooded
        assert connection not in scene.every._open

    run(test)


def test_a_head_has_its_time_and_an_answer_under_way_has_none() -> None:
    async def test() -> None:
        scene = Scene()
        scene.connection.keep_time(scene.connection.since + 5.0)
        assert not scene.transport.closed
        scene.connection.keep_time(scene.connection.since + 5.1)
        assert scene.transport.closed, "a connection on which nothing was asked"

        scene = Scene()
        await scene.gets(GET + b"\r\n")
        scene.connection.keep_time(scene.connection.since + 1_000.0)
        assert not scene.transport.closed, "between two requests uvicorn counts"
        await scene.gets(GET)
        began = scene.connection.since
        scene.connection.keep_time(began + 5.0)
        assert not scene.transport.closed
        scene.connection.keep_time(began + 5.1)
        assert scene.transport.closed

        scene = Scene()
        await scene.gets(POST + b"content-length: 2\r\n\r\n{")
        assert scene.connection.waits
        scene.connection.keep_time(scene.connection.since + 1_000.0)
        assert not scene.transport.closed, "a body has a time of its own"
        assert (await scene.gets(b"}")).startswith(b"HTTP/1.1 200")

        scene = Scene()
        scene.free.clear()
        await scene.gets(GET + b"\r\n", GET)
        assert not scene.connection.waits
        scene.connection.keep_time(scene.connection.since + 1_000.0)
        assert not scene.transport.closed, "it waits for the service"
        scene.free.set()
        await scene.gets()
        for _ in range(40):
            await asyncio.sleep(0)
        assert scene.connection.waits
        assert scene.connection._head_since == scene.connection.since, "its time begins with the answer before it"

    run(test)


def test_who_does_not_read_gets_no_further_answers() -> None:
    async def test() -> None:
        scene = Scene()
        scene.free.clear()
        await scene.gets(GET + b"\r\n", GET + b"\r\n")
        scene.connection.flow.pause_writing()
        assert scene.connection.waits
        scene.connection.on_response_complete()
        assert scene.transport.closed
        assert not scene.connection.pipeline
        scene.connection.flow.resume_writing()

    run(test)


def test_a_connection_that_is_lost_is_counted_no_more_and_its_request_is_told() -> None:
    async def test() -> None:
        scene = Scene()
        assert scene.connection.address == "10.0.0.7"
        assert [option[1:] for option in scene.transport.options] == [
            (socket.SO_SNDBUF, 128 * 2**10),
            (socket.SO_RCVBUF, 128 * 2**10),
        ]
        assert scene.connection in scene.every._open
        scene.free.clear()
        await scene.gets(GET + b"\r\n", GET + b"\r\n")
        cycle = scene.connection._answering
        assert cycle is not None
        scene.connection.connection_lost(None)
        assert scene.connection not in scene.every._open
        assert cycle.disconnected
        assert cycle.message_event.is_set()

    run(test)
