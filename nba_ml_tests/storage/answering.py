"""A server that gives one answer to every request, and what a store makes of it."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest

from nba_ml.contract.errors import PublicationError
from nba_ml.storage.cloud import CloudStore
from nba_ml_tests.cloud.gcs import emulator_client


def every_call(store: CloudStore) -> dict[str, Callable[[], object]]:
    return {
        "read": lambda: store.read("a"),
        "create": lambda: store.create("a", b"1"),
        "swap": lambda: store.swap("a", b"1", "1"),
        "write": lambda: store.write("a", b"1"),
        "delete": lambda: store.delete("a"),
        "list": lambda: store.names(""),
    }


def refusals(store: CloudStore, kind: type[Exception]) -> list[str]:
    """The messages of all methods, each a paragraph that names the action and the address."""
    messages = []
    for action, call in every_call(store).items():
        with pytest.raises(kind) as caught:
            call()
        message = str(caught.value)
        assert type(caught.value) is kind, message
        assert message.startswith(f"Could not {action} gs://bucket-")
        assert "\n" not in message
        messages.append(message)
    return messages


def refused(store: CloudStore, action: str, kind: type[Exception] = PublicationError) -> str:
    with pytest.raises(kind) as caught:
        every_call(store)[action]()
    return str(caught.value)


def error(status: int, message: str) -> tuple[int, dict[str, Any]]:
    """An answer as Cloud Storage gives it."""
    return status, {"error": {"code": status, "message": message, "errors": [{"reason": "x"}]}}


@contextmanager
def store_answered(status: int, content: bytes | Mapping[str, Any]) -> Iterator[tuple[CloudStore, list[str]]]:
    """A store whose server gives this answer to everything, and the requests that it got."""
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    got: list[str] = []

    def answer(listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:  # closed: the test is over
                return
            with connection:
                got.append(connection.recv(65536).decode(errors="replace").splitlines()[0])
                head = f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
                connection.sendall(head.encode() + body)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=answer, args=(listener,), daemon=True)
        thread.start()
        client = emulator_client(f"http://127.0.0.1:{listener.getsockname()[1]}")
        yield CloudStore("bucket-x", "models", client, 0.2, 5, first_pause=0.01), got
        listener.shutdown(socket.SHUT_RDWR)
    thread.join()
