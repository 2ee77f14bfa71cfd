"""Who may ask the service, and how much an answer says of what was asked.

Tokens are compared by their digests in constant time. They are in no log, no answer and no error message.
"""

from __future__ import annotations

import hmac
import re
from dataclasses import dataclass, field
from hashlib import sha256
from http import HTTPStatus

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from nba_ml.contract.errors import SettingsError
from nba_ml.contract.proxies import Proxies
from nba_ml.serving.http.problems import Problem

SHORTEST_TOKEN = 32
"""Characters: `openssl rand -hex 16` gives so many, 128 bits."""

OPEN = frozenset(
    ("/health", "/openapi.json", "/docs", "/docs/health", "/docs/page.css", "/docs/page.js", "/docs/example.json")
)
"""Asked without a token: load balancers have none, and a browser that opens a page sends none."""

_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")
"""What an Authorization header may hold (RFC 6750)."""


@dataclass(frozen=True, slots=True)
class Access:
    """Whoever sends one of the tokens may ask; anyone, without tokens. `terse`: errors name no value of a request.

    `proxies`: of requests from there, X-Forwarded-For and X-Forwarded-Proto say who asks, and how.
    """

    terse: bool = False
    digests: tuple[bytes, ...] = field(default=(), repr=False)
    proxies: Proxies = ()

    @classmethod
    def of(cls, tokens: str | None, *, terse: bool = False, proxies: Proxies = ()) -> Access:
        """From tokens with commas between them; several while one replaces another.

        Raises:
            SettingsError: one is too short, or holds what a header cannot.
        """
        given = [each.strip() for each in (tokens or "").split(",") if each.strip()]
        if (tokens or "").strip() and not given:
            raise SettingsError("NBA_ML_TOKENS has no token. Unset it to serve everyone.")
        for position, token in enumerate(given, start=1):
            if len(token) < SHORTEST_TOKEN:
                raise SettingsError(
                    f"Token {position} of NBA_ML_TOKENS has {len(token)} characters; the least is {SHORTEST_TOKEN}. "
                    "Make one with: openssl rand -hex 32"
                )
            if not _TOKEN.fullmatch(token):
                raise SettingsError(
                    f"Token {position} of NBA_ML_TOKENS has characters that a header cannot hold. Use letters, digits "
                    "and . _ ~ + / -, and commas between tokens."
                )
        return cls(terse, tuple(sha256(token.encode()).digest() for token in given), proxies)

    def admits(self, scope: Scope) -> bool:
        """Whether a request may be answered."""
        if not self.digests or scope["path"] in OPEN:
            return True
        sent = Headers(scope=scope).getlist("authorization")
        scheme, _, token = sent[0].partition(" ") if len(sent) == 1 else ("", "", "")
        digest = sha256(token.strip().encode("latin-1", "replace")).digest()
        # Each is compared: the time tells neither which one it was nor how much of it was right.
        same = [hmac.compare_digest(digest, each) for each in self.digests]
        return scheme.lower() == "bearer" and any(same)


class Guarded:
    """Answers 401 before a body is read."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or self._access.admits(scope):
            await self._app(scope, receive, send)
            return
        problem = Problem(HTTPStatus.UNAUTHORIZED, "Send a token of this service: Authorization: Bearer TOKEN.")
        headers = {"www-authenticate": 'Bearer realm="nba_ml"', "connection": "close"}
        await problem.response(headers)(scope, receive, send)
