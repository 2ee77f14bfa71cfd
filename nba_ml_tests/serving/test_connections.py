"""Connections to the service that never ask, or never stop asking."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from nba_ml.serving.connections import BoundedHead
from nba_ml.serving.service import create_app
from nba_ml_tests.serving.conftest import Published
from nba_ml_tests.serving.http import Client, running

HEALTH = b"GET /health HTTP/1.1\r\nhost: service\r\n\r\n"


@pytest.fixture
def client(published: Published) -> Iterator[Client]:
    with running(create_app(str(published.root), channel="champion")) as client:
        yield client


@contextmanager
def connected(client: Client, sent: bytes = b"") -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", client.port), timeout=60) as connection:
        connection.sendall(sent)
        yield connection


def answer(connection: socket.socket) -> bytes:
    """What comes until the service closes the connection."""
    received = b""
    with suppress(ConnectionResetError):  # it had not read all that was sent
        while data := connection.recv(65536):
            received += data
    return received


@pytest.mark.parametrize(
    "sent",
    [b"", b"GET /health HT", HEALTH[:-2], HEALTH + b"\r\n", HEALTH + b"GET /hea"],
    ids=["nothing", "half a line", "no end of the headers", "a blank line after a request", "half a further request"],
)
def test_a_connection_that_does_not_ask_is_closed(client: Client, monkeypatch: pytest.MonkeyPatch, sent: bytes) -> None:
    """Guards the service from clients that hold every connection: all others are answered 503, for ever."""
    monkeypatch.setattr(BoundedHead, "head_seconds", 0.2)
    with connected(client) as connection:
        if sent.startswith(HEALTH):
            connection.sendall(HEALTH)
            assert connection.recv(65536).startswith(b"HTTP/1.1 200")
        connection.sendall(sent.removeprefix(HEALTH))
        answer(connection)
    assert client.get("/health").status == 200


def test_a_request_under_way_has_the_time_of_its_body(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards slow clients: the time for a head must end with the head, not cut off the body."""
    monkeypatch.setattr(BoundedHead, "head_seconds", 2.0)
    head = b"POST /predict HTTP/1.1\r\nhost: service\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n"
    with connected(client, head + b"{") as connection:
        time.sleep(2.5)
        connection.sendall(b"}")
        assert connection.recv(65536).startswith(b"HTTP/1.1 422")
        connection.sendall(HEALTH)
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("before", [b"", HEALTH], ids=["first", "further"])
def test_headers_without_end_are_refused(client: Client, before: bytes) -> None:
    """Guards the memory: one client's headers grew until the process was killed."""
    with connected(client) as connection:
        if before:
            connection.sendall(before)
            assert connection.recv(65536).startswith(b"HTTP/1.1 200")
        connection.sendall(b"GET /health HTTP/1.1\r\n")
        with suppress(ConnectionError):
            for _ in range(2_000):
                connection.sendall(b"x-header: " + b"x" * 32_000 + b"\r\n")
            pytest.fail("64 MB of headers were taken")
        received = answer(connection)
    assert received == b"" or received.startswith(b"HTTP/1.1 431")


def test_the_refusal_of_a_head_is_in_words(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards the client's author: a closed connection alone would not tell what was wrong."""
    monkeypatch.setattr(BoundedHead, "head_bytes", 1_000)
    with connected(client, b"GET /health HTTP/1.1\r\nx-header: " + b"x" * 1_100) as connection:
        received = answer(connection)
    assert received.startswith(b"HTTP/1.1 431 Request Header Fields Too Large\r\n")
    assert b"content-type: application/problem+json\r\n" in received
    assert b"The headers of a request may have 1,000 bytes." in received
