"""The service behind a proxy: a real one, a process's thread with an address of its own on loopback."""

from __future__ import annotations

import http.client
import json
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from nba_ml.contract.proxies import parse_proxies
from nba_ml.serving.http.access import Access
from nba_ml.serving.http.limits import Limits
from nba_ml.serving.http.service import app_of
from nba_ml.storage.directory import DirectoryStore
from nba_ml_tests.serving.client import JSON, Client, running
from nba_ml_tests.serving.rules import MONTHS, ROW, ours, point, rule_predictor, state_of

pytestmark = pytest.mark.slow

PROXY = "127.0.0.2"
BODY = json.dumps(ROW).encode()


@contextmanager
def proxy(port: int) -> Iterator[int]:
    """As nginx with `$proxy_add_x_forwarded_for`: whoever asks is added to what they say of themselves."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            said = self.headers.get("X-Forwarded-For")
            forwarded = f"{said}, {self.client_address[0]}" if said else self.client_address[0]
            upstream = http.client.HTTPConnection("127.0.0.1", port, source_address=(PROXY, 0))
            upstream.request("POST", self.path, body, {**JSON, "X-Forwarded-For": forwarded})
            answer = upstream.getresponse()
            content = answer.read()
            self.send_response(answer.status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)
            upstream.close()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def test_who_asks_is_believed_of_named_proxies_only(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Was believed of every process of this machine: uvicorn's default. Behind a proxy all clients were one."""
    caplog.set_level(logging.INFO)
    store = DirectoryStore(tmp_path)
    point(store, state_of(7, ours(MONTHS[0])))
    forged = {**JSON, "X-Forwarded-For": "203.0.113.9", "Forwarded": "for=203.0.113.9", "X-Real-IP": "203.0.113.9"}
    for named, through_proxy in (("", PROXY), (PROXY, "127.0.0.1"), ("127.0.0.0/30", "203.0.113.9")):
        caplog.clear()
        access = Access(proxies=parse_proxies(named))
        app = app_of(
            rule_predictor(monkeypatch, store), channel=None, refresh_seconds=60.0, limits=Limits(), access=access
        )
        with running(app) as client, proxy(client.port) as port:
            assert client.post("/predict", BODY, forged).status == 200
            assert Client(port).post("/predict", BODY, forged).status == 200
        clients = [record.fields["client"] for record in caplog.records if record.message == "answered"]  # type: ignore[attr-defined]
        directly = "203.0.113.9" if through_proxy == "203.0.113.9" else "127.0.0.1"
        assert clients == [directly, through_proxy]
