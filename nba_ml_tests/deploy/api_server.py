"""An API server of Kubernetes on loopback that accepts whatever is created, and keeps it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import yaml


@contextmanager
def api_server(kubeconfig: Path) -> Iterator[list[tuple[str, dict[str, Any]]]]:
    """The (path, object) of each creation, while the block lasts; the file is written for its clients."""
    created: list[tuple[str, dict[str, Any]]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            created.append((self.path, json.loads(body)))
            self.send_response(201)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing: the tests' output is read by people."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        here = {"name": "here", "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}
        context = {"name": "here", "context": {"cluster": "here", "user": "nobody"}}
        config = {"apiVersion": "v1", "kind": "Config", "current-context": "here"}
        users = [{"name": "nobody", "user": {}}]
        kubeconfig.write_text(yaml.safe_dump({**config, "clusters": [here], "contexts": [context], "users": users}))
        yield created
        server.shutdown()
