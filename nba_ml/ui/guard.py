"""Refuse what another web site sends to the UI through the operator's browser.

Dagster's web server has no login: it relies on being out of reach. A browser on the same machine reaches it on behalf
of any page that is open in it, and the server runs mutations sent by GET or in a form, and answers WebSockets, from any
origin and for any Host. The guard wraps the whole ASGI application, so no route is left out.
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Any, cast

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from nba_ml.contract.proxies import Proxies, is_proxy
from nba_ml.settings import HOST

LOGGER = logging.getLogger("nba_ml.ui")

OWN_HEADERS = {
    # Another site could lay the UI, invisible, under a button of its own.
    "Content-Security-Policy": "frame-ancestors 'self'",
    "X-Frame-Options": "SAMEORIGIN",
    # Nor may it load a file as a script or an image, or keep a handle on a window that it opened.
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
"""Added to every response. `frame-ancestors` comes beside Dagster's own policy: a browser enforces both."""

_JSON = ("application/json", "application/graphql")
_OWN_SITE = ("same-origin", "none")  # none: the user typed the address


class RefusedRequestError(Exception):
    """A request that the guard answers itself. The message says why, and what to do."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class Guard:
    """An ASGI application that passes on what the UI's own pages, the command line and curl send, and nothing else.

    `port` is the one on loopback that the server is bound to. `hosts` are further Host headers, in lower case, under
    which the UI is reached (a tunnel, a proxy): a name, with the port where the browser shows one.

    From `proxies`, X-Forwarded-Host is the name that the browser shows, if it is one of `hosts`: a browser's own origin
    is then compared with that. The Host header has to be a right one as well, since a page whose name was pointed at
    127.0.0.1 comes from the same address as a proxy on this machine, and can set any header but Host. From other
    addresses forwarded headers are not looked at, and `Forwarded` from none.
    """

    def __init__(self, app: ASGIApp, port: int, hosts: Collection[str] = (), proxies: Proxies = ()) -> None:
        # Beyond the guard, which needs the proxy's own address.
        wrapped: Any = ProxyHeadersMiddleware(cast(Any, app), list(map(str, proxies))) if proxies else app
        self._app: ASGIApp = wrapped
        self._port = port
        self._hosts = frozenset(hosts)
        self._proxies = proxies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse the request with the reason as text, a WebSocket before it is accepted; else pass it on."""
        if scope["type"] not in ("http", "websocket"):  # the server's own start and stop
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] in ("http.response.start", "websocket.http.response.start"):
                headers = MutableHeaders(scope=message)
                for name, value in OWN_HEADERS.items():
                    headers.append(name, value)
            await send(message)

        try:
            passed = self._checked(scope)
        except RefusedRequestError as refusal:
            LOGGER.warning("Refused %s %r: %s", scope.get("method", "WebSocket"), scope["path"], refusal)
            await PlainTextResponse(f"{refusal}\n", refusal.status)(scope, receive, send_with_headers)
        else:
            await self._app(passed, receive, send_with_headers)

    def _checked(self, scope: Scope) -> Scope:
        """The scope to pass on.

        Raises:
            RefusedRequestError: another site sent the request, or the server would misread it.
        """
        headers = Headers(scope=scope)
        _check_site(scope, headers, self._check_host(scope, headers))
        if scope["type"] == "websocket":
            return scope
        if scope["method"] not in ("GET", "HEAD"):
            _check_content_type(headers)
        elif scope["path"].strip() == "/graphql":  # the router's pattern also takes a line break at the end
            if "text/html" not in headers.get("accept", ""):
                raise RefusedRequestError(405, "GraphQL is answered by POST only: a GET must not change anything.")
            return {**scope, "query_string": b""}  # the page for queries by hand, whatever is in the address
        return scope

    def _check_host(self, scope: Scope, headers: Headers) -> str:
        """The host that the browser shows.

        A page can give its own name the address 127.0.0.1; what the browser then sends still has that name.
        """
        hosts = headers.getlist("host")
        if len(hosts) != 1:
            raise RefusedRequestError(400, f"The request has {len(hosts)} Host headers instead of one.")
        host = hosts[0].lower()
        if host not in self._hosts and not self._is_loopback(host):
            raise RefusedRequestError(
                421,
                f"The UI does not serve the host {hosts[0][:100]!r}. Open http://127.0.0.1:{self._port}, or, if you "
                "reach it under this name through a tunnel or a proxy of yours, add the name to NBA_ML_UI_HOSTS.",
            )
        forwarded = (
            headers.getlist("x-forwarded-host") if is_proxy((scope.get("client") or ("",))[0], self._proxies) else []
        )
        if not forwarded:
            return host
        if len(forwarded) != 1 or forwarded[0].lower() not in self._hosts:
            raise RefusedRequestError(
                421,
                f"The UI does not serve the host {', '.join(forwarded)[:100]!r} (X-Forwarded-Host of your proxy). Add "
                "the name to NBA_ML_UI_HOSTS.",
            )
        return forwarded[0].lower()

    def _is_loopback(self, host: str) -> bool:
        match = HOST.fullmatch(host)
        if match is None or int(match["port"] or 80) != self._port:
            return False
        name = match["name"]
        try:
            if name.startswith("["):
                return IPv6Address(name[1:-1]).is_loopback
            return name == "localhost" or IPv4Address(name).is_loopback
        except AddressValueError:
            return False


def _check_site(scope: Scope, headers: Headers, host: str) -> None:
    """Neither header can be set by a page. Programs send neither; the host has been checked."""
    for origin in headers.getlist("origin"):
        if origin.lower() not in (f"http://{host}", f"https://{host}"):
            raise RefusedRequestError(
                403,
                f"The request comes from another site ({origin[:100]!r}), and only the UI's own pages may send one.",
            )
    sites = headers.getlist("sec-fetch-site")
    if any(site not in _OWN_SITE for site in sites) and not _opens_page(scope, headers):
        raise RefusedRequestError(
            403,
            f"The request comes from another site (Sec-Fetch-Site: {sites[0][:100]!r}). Open the UI in its own tab.",
        )


def _opens_page(scope: Scope, headers: Headers) -> bool:
    """Whether the request is a click on a link to the UI. The other site cannot see what is then shown.

    GraphiQL is left out: what is in its address is one click away from being run.
    """
    return (
        scope["type"] == "http"
        and scope["method"] in ("GET", "HEAD")
        and headers.getlist("sec-fetch-mode") == ["navigate"]
        and headers.getlist("sec-fetch-dest") == ["document"]
        and scope["path"].strip() != "/graphql"
    )


def _check_content_type(headers: Headers) -> None:
    """A form cannot send JSON, and a script may send it to another site only if that site agrees beforehand."""
    for value in headers.getlist("content-type"):
        if value.partition(";")[0].strip().lower() not in _JSON:
            raise RefusedRequestError(415, f"Content-Type is {value[:100]!r}. It must be application/json.")
