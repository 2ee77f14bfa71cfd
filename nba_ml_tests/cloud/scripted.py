"""A loopback server that says what Google says, where an emulator never would: no permission, over a limit.

The client under test is the real one, and speaks HTTP with it; the words are Google's own.
"""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from nba_ml.resources.bigquery_connection import BigQueryConnection
from nba_ml_tests.cloud.bigquery import PROJECT


class ScriptedService:
    """A BigQuery REST service with one answer. `requests` are the bodies it was sent."""

    def __init__(self) -> None:
        self.requests: list[Any] = []
        self._status, self._body = 404, b"{}"
        service = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                service.requests.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(service._status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(service._body)))
                self.end_headers()
                self.wfile.write(service._body)

            def log_message(self, format: str, *args: Any) -> None:
                """Nothing: the tests look at `requests`."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> ScriptedService:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer_always(self, status: int, message: str, reason: str) -> None:
        """Answer every request with this error, in the form that Google's services give it."""
        error = {"code": status, "message": message, "errors": [{"message": message, "reason": reason}]}
        self._status, self._body = status, json.dumps({"error": error}).encode()

    def connection(self, **changes: object) -> BigQueryConnection:
        """The connection under test, to this server."""
        fields = {
            "project": PROJECT,
            "endpoint": f"http://127.0.0.1:{self._server.server_port}",
            "storage_endpoint": "127.0.0.1:1",
            "deadline_seconds": 5.0,
        }
        return BigQueryConnection(**{**fields, **changes})
