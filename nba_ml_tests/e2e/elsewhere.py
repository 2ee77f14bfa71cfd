"""Another web site, open in the operator's browser, and what its pages try to do to the UI.

What belongs here: the site and its attacks, each as a script that ends when the browser has had the response.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import quote

OTHER_NAME, REBOUND_NAME = "other.example", "rebound.example"
"""Names that the browser finds on loopback: a web site elsewhere, and one whose owner points its name at the UI."""

RESOLVER = f"--host-resolver-rules=MAP {OTHER_NAME} 127.0.0.1, MAP {REBOUND_NAME} 127.0.0.1"

_REFERRER_KEPT = "<meta name=referrer content=unsafe-url>"


class _Page(BaseHTTPRequestHandler):
    """An empty page at every address: the tests run their scripts in it."""

    def do_GET(self) -> None:
        body = f"<!doctype html>{_REFERRER_KEPT}<title>Another site</title><body></body>".encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing on the terminal."""


@contextmanager
def other_site() -> Iterator[int]:
    """The port of loopback that the site is served on."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Page) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


def launching(location: str) -> str:
    """A mutation that launches a run that promotes the latest model."""
    selector = (
        f'{{repositoryLocationName: "{location}", repositoryName: "__repository__", jobName: "__ASSET_JOB", '
        'assetSelection: [{path: ["champion"]}], assetCheckSelection: []}'
    )
    return (
        f"mutation {{ launchRun(executionParams: {{selector: {selector}, runConfigData: {{}}}}) "
        "{ __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }"
    )


def _loaded(tag: str) -> str:
    """A script: resolves when an element of the page has loaded its address, or failed to."""
    return f"""url => new Promise(done => {{
        const element = document.createElement("{tag}");
        element.onload = element.onerror = () => done();
        element.src = url;
        document.body.append(element);
    }})"""


def _form(encoding: str, action: str) -> str:
    """A script: resolves when the response to a form has arrived in a frame of the page."""
    return f"""url => new Promise(done => {{
        document.body.innerHTML = `<iframe name=inner></iframe>
            <form method=post target=inner enctype="{encoding}"><input name=query><input type=submit></form>`;
        const form = document.querySelector("form");
        form.action = {action};
        document.querySelector("iframe").onload = () => done();
        form.submit();
    }})"""


def _fetch(options: str, address: str) -> str:
    """A script: resolves when there is a response, or an error instead of it."""
    return f"url => fetch({address}, {options}).then(() => null, () => null)"


def _beacon(address: str) -> str:
    """A script: sends what a page sends when it is left, and resolves when a later request has been answered."""
    return (
        f"async url => {{ navigator.sendBeacon({address}); await fetch(url, {{mode: 'no-cors'}}).catch(() => null); }}"
    )


def attacks(mutation: str) -> dict[str, str]:
    """Name -> script that takes the UI's address, and had Dagster run the mutation."""
    by_address = f'url + "/graphql?query=" + {json.dumps(quote(mutation))}'
    body = json.dumps(json.dumps({"query": mutation}))
    # Dagster looks for application/json anywhere in the content type; a browser sends this one without asking first.
    as_text = f'body: {body}, headers: {{"Content-Type": "text/plain; application/json"}}'
    return {
        "image": f"url => ({_loaded('img')})({by_address})",
        "script": f"url => ({_loaded('script')})({by_address})",
        "form": _form("application/x-www-form-urlencoded", by_address),
        "form as text": _form("text/plain", by_address),
        "form with files": _form("multipart/form-data", by_address),
        "fetch GET": _fetch('{mode: "no-cors"}', by_address),
        "fetch GET with CORS": _fetch('{mode: "cors"}', by_address),
        "fetch POST": _fetch('{mode: "no-cors", method: "POST"}', by_address),
        "fetch JSON as text": _fetch(f'{{mode: "no-cors", method: "POST", {as_text}}}', 'url + "/graphql"'),
        "beacon": _beacon(by_address),
    }


SUBSCRIBE = """url => new Promise(done => {
    const socket = new WebSocket(url.replace("http", "ws") + "/graphql", "graphql-ws");
    socket.onopen = () => socket.send(JSON.stringify({type: "connection_init"}));
    socket.onmessage = message => done(message.data);
    socket.onerror = () => done("refused");
})"""
"""What the UI said over a WebSocket, 'refused' if it did not accept it."""

FRAME = """url => new Promise(done => {
    const frame = document.createElement("iframe");
    frame.onload = () => done();
    frame.src = url;
    document.body.append(frame);
})"""
"""The UI in a frame of the page."""
