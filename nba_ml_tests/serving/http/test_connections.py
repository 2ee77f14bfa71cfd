"""Connections to the service that never ask, never stop asking, or never read."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from nba_ml.serving.http.limits import Limits
from nba_ml.serving.http.service import app_of
from nba_ml.serving.predictor import Predictor
from nba_ml.storage.directory import DirectoryStore
from nba_ml_tests.serving.client import Client, running
from nba_ml_tests.serving.rules import ours, rule_predictor

pytestmark = pytest.mark.slow

HEALTH = b"GET /health HTTP/1.1\r\nhost: service\r\n\r\n"
POST = b"POST /predict HTTP/1.1\r\nhost: service\r\ncontent-type: application/json\r\n"
CHUNKED = POST + b"transfer-encoding: chunked\r\n\r\n"
MB = 2**20

Served = Callable[..., Client]


@pytest.fixture
def predictor(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Predictor:
    """Of a rule: what a connection may do does not depend on the model."""
    return rule_predictor(monkeypatch, DirectoryStore(tmp_path), model_id=ours().model_id)


@pytest.fixture
def served(predictor: Predictor) -> Iterator[Served]:
    """The service with some of its limits changed."""
    with ExitStack() as stack:

        def start(**changed: Any) -> Client:
            app = app_of(predictor, channel=None, refresh_seconds=60.0, limits=replace(Limits(), **changed))
            return stack.enter_context(running(app))

        yield start


@pytest.fixture
def client(served: Served) -> Client:
    return served()


@contextmanager
def connected(client: Client, sent: bytes = b"", receive_buffer: int | None = None) -> Iterator[socket.socket]:
    with socket.socket() as connection:
        connection.settimeout(60)
        if receive_buffer is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        connection.connect(("127.0.0.1", client.port))
        connection.sendall(sent)
        yield connection


def answer(connection: socket.socket) -> bytes:
    """What comes until the service closes the connection."""
    received = b""
    with suppress(ConnectionResetError):  # it had not read all that was sent
        while data := connection.recv(65536):
            received += data
    return received


def ask_health(connection: socket.socket) -> None:
    """Ask once and read all of the answer."""
    connection.sendall(HEALTH)
    received = b""
    while not received.endswith(b"}"):
        data = connection.recv(65536)
        assert data, "closed"
        received += data
    assert received.startswith(b"HTTP/1.1 200")


def sent_before_closed(connection: socket.socket, data: bytes, most: int = 64 * MB) -> int:
    """How many bytes of endless data are taken until the service closes the connection."""
    sent = 0
    with suppress(ConnectionError):
        while sent < most:
            connection.sendall(data)
            sent += len(data)
        pytest.fail(f"{most:,} bytes were taken")
    return sent


def is_closed(connection: socket.socket) -> bool:
    """Whether the service has closed it; what it sent before is thrown away."""
    connection.settimeout(0)
    try:
        while connection.recv(65536):
            pass
    except BlockingIOError:
        return False
    except ConnectionResetError:
        pass
    return True


def until(holds: Callable[[], bool]) -> bool:
    """Wait for something that must come; a minute is never reached."""
    ends = time.monotonic() + 60
    while not holds():
        if time.monotonic() > ends:
            return False
        time.sleep(0.05)
    return True


@pytest.mark.parametrize(
    "sent",
    [b"", b"GET /health HT", HEALTH[:-2], HEALTH + b"\r\n", HEALTH + b"GET /hea"],
    ids=["nothing", "half a line", "no end of the headers", "a blank line after a request", "half a further request"],
)
def test_a_connection_that_does_not_ask_is_closed(served: Served, sent: bytes) -> None:
    """Guards the service from clients that hold every connection: all others are answered 503, for ever."""
    # Where an answer comes first, a busy machine needs time to ask for it.
    client = served(head_seconds=2.0 if sent.startswith(HEALTH) else 0.2, idle_seconds=3600)
    with connected(client) as connection:
        if sent.startswith(HEALTH):
            ask_health(connection)
        connection.sendall(sent.removeprefix(HEALTH))
        answer(connection)
    assert client.get("/health").status == 200


@pytest.mark.parametrize("before", [False, True], ids=["first", "further"])
@pytest.mark.parametrize(
    ("start", "endless", "status"),
    [
        (HEALTH[:-2], b"x-header: " + b"x" * 32_000 + b"\r\n", 431),
        (HEALTH[:-2], b"a:\r\n" * 8_000, 431),
        (HEALTH[:-2] + b"x: ", b"x" * 32_000, 431),
        (b"GET /", b"x" * 32_000, 431),
        (CHUNKED + b"0\r\n", b"a:\r\n" * 8_000, 431),
        (CHUNKED + b"0\r\nx: ", b"x" * 32_000, 413),
        (CHUNKED + b"1;", b"x" * 32_000, 413),
        (CHUNKED, (b"1;" + b"x" * 1_000 + b"\r\n \r\n") * 32, 413),
        (CHUNKED, b"1\r\n \r\n" * 5_000, 413),
        (HEALTH[:-2] + b"connection: upgrade\r\nupgrade: h2c\r\n\r\n", b"x" * 32_000, 200),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"x" * 32_000, 400),
        (bytes.fromhex("16030102000100010001fc0303"), bytes(32_000), 400),
    ],
    ids=[
        "headers",
        "short headers",
        "one header",
        "a path",
        "trailers",
        "one trailer",
        "one chunk extension",
        "chunk extensions",
        "chunks of a byte",
        "after an upgrade",
        "HTTP/2",
        "TLS",
    ],
)
def test_nothing_without_end_is_taken(client: Client, before: bool, start: bytes, endless: bytes, status: int) -> None:
    """Guards the memory: trailers of 53 MB from one client became 2 GB, and the process was killed."""
    with connected(client) as connection:
        if before:
            ask_health(connection)
        connection.sendall(start)
        sent_before_closed(connection, endless)
        received = answer(connection)
    assert received == b"" or received.startswith(b"HTTP/1.1 %d" % status)
    assert client.get("/health").status == 200


@pytest.mark.parametrize(
    ("changed", "sent", "status", "words"),
    [
        ({"head_bytes": 1_000}, HEALTH[:-2] + b"x-header: " + b"x" * 1_100, 431, "limit of 1,000 bytes"),
        ({"head_bytes": 1_000}, HEALTH[:-2] + b"x: " + b"x" * 1_100 + b"\r\n\r\n", 431, "limit of 1,000 bytes"),
        ({"headers": 10}, HEALTH[:-2] + b"a:\r\n" * 11, 431, "or 10 fields."),
        ({"headers": 10}, CHUNKED + b"2\r\n{}\r\n0\r\n" + b"a:\r\n" * 11, 431, "or 10 fields."),
        ({"framing_bytes": 1_000}, CHUNKED + b"1;" + b"x" * 2_000, 413, "or of 1,000 bytes of chunk sizes"),
        ({"chunks": 10}, CHUNKED + b"1\r\n \r\n" * 11, 413, "limit of 10 chunks"),
        ({}, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, "not a valid HTTP/1.1 request"),
        ({}, HEALTH[:-2] + b"Host: another\r\n\r\n", 400, "several Host headers. Send one."),
    ],
    ids=["half a head", "a whole head", "headers", "trailers", "extensions", "chunks", "HTTP/2", "two hosts"],
)
def test_a_refusal_is_in_words(served: Served, changed: dict[str, Any], sent: bytes, status: int, words: str) -> None:
    """Guards the client's author: a closed connection alone would not tell what was wrong."""
    with connected(served(**changed), sent) as connection:
        received = answer(connection)
    assert received.startswith(b"HTTP/1.1 %d " % status)
    assert b"content-type: application/problem+json\r\n" in received
    assert words.encode() in received


def test_requests_in_a_row_are_answered_as_far_as_they_may_wait(served: Served) -> None:
    """Guards the memory: each request that waits takes some kilobytes, and 256 KB hold 10,000 of them."""
    with connected(served(pipelined=3), HEALTH * 10_000) as connection:
        received = answer(connection)
    assert received.count(b"HTTP/1.1 200") == 4
    assert received.count(b"HTTP/1.1") == 4
    assert received.count(b"connection: close") == 1


def test_a_few_requests_in_a_row_are_answered_in_order(client: Client) -> None:
    """Guards clients that pipeline: limits must not change what they may do."""
    asked = [b"/health", b"/metrics", b"/health", b"/nowhere"]
    with connected(client, b"".join(HEALTH.replace(b"/health", path) for path in asked)) as connection:
        received = b""
        while received.count(b"HTTP/1.1 ") < 4:
            received += connection.recv(65536)
    assert [part[:3] for part in received.split(b"HTTP/1.1 ")[1:]] == [b"200", b"200", b"200", b"404"]


def test_who_does_not_read_is_disconnected(served: Served) -> None:
    """Guards the service from readers that never read: 999 of them held every connection, for ever."""
    client = served(write_seconds=0.3, pipelined=10_000, idle_seconds=3600)
    metrics = HEALTH.replace(b"/health", b"/metrics")  # whose answers together are more than the kernel keeps
    with connected(client, metrics * 4_000, receive_buffer=4096) as connection:
        poll = select.poll()
        poll.register(connection, 0)
        assert poll.poll(60_000), "still connected after a minute"


def test_health_answers_while_one_client_holds_all_it_may(served: Served) -> None:
    """Guards the monitor, who may have the same address as the flood: it never finds all connections taken."""
    client = served(client_connections=20, burst_connections=60)
    held = [b"", HEALTH[:20], POST + b"content-length: 9\r\n\r\n", HEALTH]
    with ExitStack() as stack:
        connections = [stack.enter_context(connected(client, held[index % 4])) for index in range(200)]
        fresh = Client(client.port)
        assert fresh.get("/health").status == 200
        fresh.close()
        assert until(lambda: sum(map(is_closed, connections)) >= 180)


def test_another_client_keeps_its_connection(served: Served) -> None:
    """Guards everybody else: the client with the most connections loses them, not the one that waits longest."""
    client = served(connections=20, client_connections=1_000, idle_seconds=3600)
    with socket.create_connection(("127.0.0.1", client.port), 60, source_address=("127.0.0.2", 0)) as other:
        ask_health(other)
        with ExitStack() as stack:
            flood = [stack.enter_context(connected(client)) for _ in range(100)]
            assert until(lambda: sum(map(is_closed, flood)) >= 80)
            ask_health(other)


def test_large_bodies_share_their_memory(served: Served) -> None:
    """Guards the memory: 300 clients that keep the last byte of 4 MB back made the service hold 1.2 GB."""
    client = served(large_bodies_bytes=8 * MB, body_seconds=3600.0)
    before = psutil.Process().memory_info().rss
    body = b" " * (4 * MB - 1)
    with ExitStack() as stack:
        head = POST + b"content-length: %d\r\n\r\n" % (4 * MB)
        held = [stack.enter_context(connected(client, head)) for _ in range(30)]
        for connection in held:
            with suppress(ConnectionError):
                connection.sendall(body)
        assert psutil.Process().memory_info().rss - before < 60 * MB
        assert client.get("/health").status == 200
        assert until(lambda: sum(map(is_closed, held)) >= 28)

    def taken() -> bool:
        with suppress(ConnectionError), connected(client, head + body + b" ") as connection:
            return connection.recv(65536).startswith(b"HTTP/1.1 400")
        return False

    assert until(taken), "what the others held is not free again"
