"""The guard in front of the web UI: what it refuses, with which reason, and what it passes on.

In Chromium, from other sites: `e2e/test_other_sites.py`.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import quote

import dagster as dg
import pytest
import uvicorn
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster_webserver.app import create_app_from_workspace_process_context
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.provisional import domains

from nba_ml.contract.proxies import parse_proxies
from nba_ml.ui.guard import Guard

pytestmark = pytest.mark.slow

PORT = 3000
HERE = f"127.0.0.1:{PORT}"

Header = tuple[str, str]


def asked(
    headers: Sequence[Header],
    *,
    method: str = "GET",
    path: str = "/runs",
    kind: str = "http",
    hosts: Sequence[str] = (),
    client: str = "127.0.0.1",
    proxies: str = "",
) -> tuple[int, str]:
    """Status and text of the guard's own answer; 200 and '' where the request went through."""
    sent: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:  # noqa: ARG001 (an ASGI application)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def receive() -> Any:
        raise AssertionError("the guard reads no body")

    async def send(message: Any) -> None:
        sent.append(message)

    raw = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers]
    scope: dict[str, Any] = {"type": kind, "path": path, "query_string": b"", "headers": raw, "client": (client, 5)}
    if kind == "http":
        scope["method"] = method
    else:
        scope["extensions"] = {"websocket.http.response": {}}
    asyncio.run(Guard(app, PORT, hosts, parse_proxies(proxies))(scope, receive, send))
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent).decode()


@pytest.mark.parametrize("host", [HERE, "localhost:3000", "LOCALHOST:3000", "127.8.9.1:3000", "[::1]:3000"])
def test_loopback_is_served_under_its_names(host: str) -> None:
    """The UI refuses its own user."""
    assert asked([("Host", host)])[0] == 200
    own = [("Host", host), ("Origin", f"http://{host}"), ("Sec-Fetch-Site", "same-origin")]
    assert asked(own, method="POST", path="/graphql")[0] == 200
    assert asked(own, kind="websocket", path="/graphql")[0] == 200


@pytest.mark.parametrize(
    "host",
    [
        "localhost",  # port 80
        "localhost:3001",
        "localhost:",
        "localhost.:3000",
        "localhost.other.example:3000",
        "other.example@localhost:3000",
        "localhost:3000@other.example",
        "127.0.0.1.other.example:3000",
        "127.1:3000",
        "0127.0.0.1:3000",
        "2130706433:3000",
        "0.0.0.0:3000",
        "192.168.1.2:3000",
        "[::]:3000",
        "[::ffff:192.168.1.2]:3000",
        "::1:3000",
        "localhost:3000, other.example",
        "localhost:03000000",
        "localhost\N{LATIN SMALL LETTER SHARP S}:3000",
        "",
    ],
)
def test_another_host_is_refused_with_the_way_out(host: str) -> None:
    """A page whose name was pointed at 127.0.0.1 is, to the browser, the UI itself."""
    for kind in ("http", "websocket"):
        status, text = asked([("Host", host)], kind=kind)
        assert status == 421
        assert "http://127.0.0.1:3000" in text
        assert "NBA_ML_UI_HOSTS" in text


@given(domains(), st.none() | st.integers(0, 65_535))
@example("localhost.example.com", PORT)
def test_no_domain_is_loopback(name: str, port: int | None) -> None:
    """Whatever name somebody registers."""
    assert asked([("Host", name if port is None else f"{name}:{port}")])[0] == 421


@given(st.ip_addresses(), st.sampled_from([PORT, 80, 3001]))
def test_an_address_is_served_only_if_it_is_loopback_with_the_port(address: Any, port: int) -> None:
    """An address is read other than the browser reads it."""
    host = f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}"
    assert (asked([("Host", host)])[0] == 200) is (address.is_loopback and port == PORT)


@pytest.mark.parametrize("headers", [[], [("Host", HERE), ("Host", "other.example")], [("Host", HERE), ("Host", HERE)]])
def test_one_host_header_is_demanded(headers: Sequence[Header]) -> None:
    """A proxy looks at one of two, and the guard at the other."""
    status, text = asked(headers)
    assert (status, text) == (400, f"The request has {len(headers)} Host headers instead of one.\n")


def test_further_hosts_are_served_exactly_as_set() -> None:
    """A tunnel or a proxy locks its owner out, or opens more than it should."""
    hosts = ("ui.example.com", "localhost:8080")
    for host in hosts:
        assert asked([("Host", host)], hosts=hosts)[0] == 200
        assert asked([("Host", host), ("Origin", f"https://{host}")], hosts=hosts, kind="websocket")[0] == 200
        assert asked([("Host", host), ("Origin", "http://localhost:3000")], hosts=hosts)[0] == 403
    for host in ("ui.example.com:8080", "example.com", "x.ui.example.com", "localhost:8081"):
        assert asked([("Host", host)], hosts=hosts)[0] == 421


def test_forwarded_headers_are_not_believed() -> None:
    """A page cannot set Host, but a rebound one can set these."""
    forged = [("X-Forwarded-Host", HERE), ("Forwarded", f"host={HERE}"), ("X-Forwarded-For", "127.0.0.1")]
    assert asked([("Host", "other.example"), *forged])[0] == 421
    # A rebound page comes from the address of a proxy on this machine: its Host still gives it away.
    trusted: dict[str, Any] = {"hosts": ("ui.example.com",), "proxies": "127.0.0.1"}
    assert asked([("Host", "other.example"), *forged], **trusted)[0] == 421
    assert asked([("Host", "other.example"), ("X-Forwarded-Host", "ui.example.com")], **trusted)[0] == 421


def test_the_name_that_a_named_proxy_forwards_is_the_browsers() -> None:
    """A proxy that does not pass Host on (nginx) made the UI refuse its own pages; only a named one is believed."""
    sent = [("Host", HERE), ("X-Forwarded-Host", "UI.example.com"), ("Origin", "https://ui.example.com")]
    named: dict[str, Any] = {"hosts": ("ui.example.com",), "proxies": "10.0.0.0/24,::1"}
    for kind, method in (("http", "POST"), ("websocket", "")):
        for client, status in (("10.0.0.9", 200), ("::1", 200), ("127.0.0.1", 403), ("10.0.1.9", 403)):
            assert asked(sent, client=client, kind=kind, method=method, **named)[0] == status
        for other in ("https://other.example", "http://localhost:3000", f"http://{HERE}"):
            elsewhere = [*sent[:2], ("Origin", other)]
            assert asked(elsewhere, client="10.0.0.9", kind=kind, method=method, **named)[0] == 403
    for forwarded in (["other.example"], ["ui.example.com", "ui.example.com"], ["ui.example.com, other.example"], [""]):
        names = [("Host", HERE), *(("X-Forwarded-Host", each) for each in forwarded)]
        status, text = asked(names, client="10.0.0.9", **named)
        assert status == 421
        assert "NBA_ML_UI_HOSTS" in text


@given(
    st.sampled_from(["http", "https", "ws", "chrome-extension", "file"]),
    domains() | st.just("127.0.0.1"),
    st.none() | st.integers(1, 65_535),
)
@example("http", "localhost", PORT)
@example("http", "127.0.0.1", 3001)
def test_no_other_origin_is_served(scheme: str, name: str, port: int | None) -> None:
    """Another port of this machine is another origin too."""
    origin = f"{scheme}://{name}" if port is None else f"{scheme}://{name}:{port}"
    if origin in (f"http://{HERE}", f"https://{HERE}"):
        return
    for method, kind in (("GET", "http"), ("POST", "http"), ("OPTIONS", "http"), ("", "websocket")):
        status, text = asked([("Host", HERE), ("Origin", origin)], method=method, kind=kind)
        assert status == 403
        assert "another site" in text


@pytest.mark.parametrize(
    "origins",
    [["null"], [""], [f"http://{HERE}", "http://other.example"], [f"http://{HERE}/"], [f"http://{HERE}, null"]],
)
def test_an_origin_that_is_not_the_uis_own_is_refused(origins: Sequence[str]) -> None:
    """A sandboxed frame, or a file opened from the disk, says 'null'."""
    assert asked([("Host", HERE), *(("Origin", each) for each in origins)], method="POST")[0] == 403


@pytest.mark.parametrize("site", ["cross-site", "same-site", "Same-Origin", "anything"])
@pytest.mark.parametrize("path", ["/graphql", "/logs/a/b.err", "/download_debug/a", "/notebook", "/runs"])
def test_what_another_site_fetches_is_refused(site: str, path: str) -> None:
    """An image or a script has no Origin: only this header gives it away."""
    status, text = asked([("Host", HERE), ("Sec-Fetch-Site", site), ("Accept", "text/html")], path=path)
    assert status == 403
    assert "another site" in text


NAVIGATION = [("Host", HERE), ("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", "navigate"), ("Accept", "text/html")]


def test_a_link_on_another_site_opens_a_page_in_its_own_tab() -> None:
    """A link in a web mail is refused, or one opens a frame, sends a form or fills in GraphiQL."""
    link = [*NAVIGATION, ("Sec-Fetch-Dest", "document")]
    assert asked(link)[0] == 200
    assert asked(link, method="POST")[0] == 403
    assert asked(link, path="/graphql")[0] == 403
    assert asked(link, path="/graphql\n")[0] == 403
    assert asked([*link, ("Origin", "null")])[0] == 403
    assert asked([*link, ("Sec-Fetch-Dest", "iframe")])[0] == 403
    for other in ("iframe", "frame", "embed", "object", "empty"):
        assert asked([*NAVIGATION, ("Sec-Fetch-Dest", other)])[0] == 403


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("application/json", 200),
        ("application/json; charset=utf-8", 200),
        ("Application/GraphQL", 200),
        ("text/plain", 415),
        ("text/plain; application/json", 415),
        ("application/x-www-form-urlencoded", 415),
        ("multipart/form-data; boundary=application/json", 415),
        ("", 415),
    ],
)
def test_a_post_is_json(content_type: str, status: int) -> None:
    """Without this, all rests on Origin, which some privacy tools take out."""
    headers = [("Host", HERE), ("Content-Type", content_type)]
    assert asked(headers, method="POST", path="/graphql")[0] == status
    assert asked([*headers, ("Content-Type", "text/plain")], method="POST", path="/graphql")[0] == 415


@pytest.fixture(scope="module")
def dagster_port() -> Iterator[int]:
    """Dagster's own application behind the guard, in uvicorn; no code location."""
    listener = socket.create_server(("127.0.0.1", 0))
    port: int = listener.getsockname()[1]
    with dg.instance_for_test() as instance, WorkspaceProcessContext(instance, None) as context:
        app = Guard(create_app_from_workspace_process_context(context), port)
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", proxy_headers=False))
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        yield port
        server.should_exit = True
        thread.join()


def response_to(port: int, request: str) -> tuple[int, str]:
    """Status, and all of the response, of a request sent as it is."""
    with socket.create_connection(("127.0.0.1", port)) as connection, connection.makefile("rb") as response:
        connection.sendall(request.encode())
        text = response.read().decode()
    return int(text.split()[1]), text


QUERY = quote("{ __typename }")


@pytest.mark.parametrize(
    "target",
    [
        f"/graphql?query={QUERY}",
        f"/graphql%0A?query={QUERY}",  # the router's pattern ends in `$`, which allows it
        f"/%67raphql?query={QUERY}",
        f"/graphql?operationName=a&query=&query={QUERY}",
        f"http://other.example/graphql?query={QUERY}",
    ],
)
@pytest.mark.parametrize("accept", ["*/*", "application/json", "TEXT/HTML", "*/*\r\nAccept: text/html"])
def test_get_runs_no_graphql(dagster_port: int, target: str, accept: str) -> None:
    """Dagster runs what it finds in the address, mutations too."""
    own = f"Host: 127.0.0.1:{dagster_port}\r\nConnection: close\r\nAccept: {accept}\r\n\r\n"
    status, text = response_to(dagster_port, f"GET {target} HTTP/1.1\r\n{own}")
    assert (status, "__typename" in text, '"data"' in text) == (405, False, False)


def test_graphiql_is_served_and_runs_nothing(dagster_port: int) -> None:
    """The page for queries by hand is gone."""
    own = f"Host: 127.0.0.1:{dagster_port}\r\nConnection: close\r\nAccept: text/html\r\n\r\n"
    status, text = response_to(dagster_port, f"GET /graphql?query={QUERY} HTTP/1.1\r\n{own}")
    assert (status, "GraphiQL" in text, '"data"' in text) == (200, True, False)


def test_programs_are_served_as_before(dagster_port: int) -> None:
    """`dagster-graphql`, curl and reports of materialisations from elsewhere need no header of a browser's."""
    own = f"Host: localhost:{dagster_port}\r\nConnection: close\r\n"
    body = '{"query": "{ __typename }"}'
    json = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    status, text = response_to(dagster_port, f"POST /graphql HTTP/1.1\r\n{own}{json}")
    assert (status, '{"data":{"__typename":"Query"}}' in text) == (200, True)
    report = "POST /report_asset_materialization/elsewhere HTTP/1.1\r\n"
    assert response_to(dagster_port, f"{report}{own}Content-Length: 0\r\n\r\n")[0] == 200
    assert (
        response_to(dagster_port, f"{report}{own}Origin: http://other.example\r\nContent-Length: 0\r\n\r\n")[0] == 403
    )


def test_requests_of_old_and_broken_clients_are_refused(dagster_port: int) -> None:
    """HTTP/1.0 has no Host: nothing then says which site the browser thought it was talking to."""
    assert response_to(dagster_port, "GET /server_info HTTP/1.0\r\n\r\n")[0] == 400
    absolute = (
        f"GET http://127.0.0.1:{dagster_port}/server_info HTTP/1.1\r\nHost: other.example\r\nConnection: close\r\n\r\n"
    )
    assert response_to(dagster_port, absolute)[0] == 421


def test_a_websocket_is_refused_before_it_is_accepted(dagster_port: int) -> None:
    """An accepted WebSocket is readable from any page: browsers hold no other site back."""
    handshake = (
        "GET /graphql HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: graphql-ws\r\n"
    )
    here = f"127.0.0.1:{dagster_port}"
    status, text = response_to(dagster_port, f"{handshake}Host: {here}\r\nOrigin: http://other.example\r\n\r\n")
    assert (status, "another site ('http://other.example')" in text) == (403, True)
    assert response_to(dagster_port, f"{handshake}Host: other.example\r\n\r\n")[0] == 421


@pytest.mark.parametrize("target", ["/runs", "/robots.txt", "/graphql", "/logs/none/none.err"])
def test_no_other_site_may_frame_or_embed_a_response(dagster_port: int, target: str) -> None:
    """Refusals included: which of them came would tell the other site something."""
    own = f"Host: 127.0.0.1:{dagster_port}\r\nConnection: close\r\nAccept: text/html\r\n"
    for extra in ("", "Sec-Fetch-Site: cross-site\r\n"):
        _, text = response_to(dagster_port, f"GET {target} HTTP/1.1\r\n{own}{extra}\r\n")
        head = text.partition("\r\n\r\n")[0].lower()
        assert "content-security-policy: frame-ancestors 'self'" in head
        assert "x-frame-options: sameorigin" in head
        assert "cross-origin-resource-policy: same-origin" in head
