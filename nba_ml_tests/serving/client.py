"""A plain HTTP client, and the service on a free loopback port in a thread of this process."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPConnection
from typing import Any

import uvicorn
from starlette.applications import Starlette

from nba_ml.serving.http.service import config_of
from nba_ml.serving.http.tls import Tls

JSON = {"Content-Type": "application/json"}


@dataclass(frozen=True)
class Answer:
    """A response, read to its end."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """One connection, kept alive, and opened anew after the server has closed it."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._connection = HTTPConnection("127.0.0.1", port, timeout=60)

    def get(self, path: str) -> Answer:
        return self._ask("GET", path, None, {})

    def ask(self, method: str, path: str) -> Answer:
        """Any method, without a body."""
        return self._ask(method, path, None, {})

    def post(self, path: str, content: bytes | Iterable[bytes], headers: dict[str, str] | None = None) -> Answer:
        return self._ask("POST", path, content, JSON if headers is None else headers)

    def predict(self, content: object) -> Answer:
        """POST /predict with this as JSON."""
        return self.post("/predict", json.dumps(content, allow_nan=False).encode())

    def close(self) -> None:
        self._connection.close()

    def _ask(self, method: str, path: str, body: Any, headers: dict[str, str]) -> Answer:
        with suppress(BrokenPipeError, ConnectionResetError):  # answered and closed before all of it was sent
            self._connection.request(method, path, body, headers, encode_chunked=not isinstance(body, bytes | None))
        response = self._connection.getresponse()
        return Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, response.read())


@contextmanager
def running(app: Starlette, tls: Tls | None = None) -> Iterator[Client]:
    """A client of the app, served while the block runs."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = uvicorn.Server(config_of(app, tls))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        while not server.started:
            assert thread.is_alive(), "the service did not start"
            time.sleep(0.005)
        client = Client(listening.getsockname()[1])
        try:
            yield client
        finally:
            client.close()
            server.should_exit = True
            thread.join()
