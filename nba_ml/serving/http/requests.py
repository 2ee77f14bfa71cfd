"""Reading the body of a request: within limits, strict JSON, one player or a slate.

What belongs here: bytes and JSON. What does not: whether the rows keep the contract (`rows`).
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any, NoReturn
from urllib.parse import parse_qs

from starlette.requests import ClientDisconnect, Request

from nba_ml.serving.http.limits import Limits
from nba_ml.serving.http.problems import Problem

_PARAMETERS = 20
"""Of a query; only one is known."""


class LargeBodies:
    """Bytes of the larger bodies that are held now, within `Limits.large_bodies_bytes`."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._held: Counter[str] = Counter()

    @contextmanager
    def held(self, client: str) -> Iterator[Callable[[int], None]]:
        """Count a body until it has been answered. Call the function that this gives with the length as it grows.

        Raises:
            Problem: too much is held already, by this client or by all.
        """
        mine = 0

        def grown(length: int) -> None:
            nonlocal mine
            more = length - mine
            if length <= self._limits.small_body_bytes:
                return
            most = self._limits.large_bodies_bytes
            if self._held.total() + more > most or self._held[client] + more > max(most // 2, self._limits.body_bytes):
                raise Problem(
                    HTTPStatus.SERVICE_UNAVAILABLE, "Too many large bodies at once. Try again, or send fewer rows."
                )
            self._held[client] += more
            mine = length

        try:
            yield grown
        finally:
            self._held[client] -= mine
            if not self._held[client]:
                del self._held[client]


async def read_body(request: Request, limits: Limits, grown: Callable[[int], None]) -> bytearray:
    """The body of a request that declares JSON, within the limits. `grown` is called with its length so far.

    Raises:
        Problem: another content type, too long, too slow, or cut off; whatever `grown` raises.
    """
    stated = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if stated != "application/json" or request.headers.get("content-encoding", "identity").lower() != "identity":
        raise Problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "Send JSON, not compressed: Content-Type: application/json.")
    length = request.headers.get("content-length", "0")
    if length.isdecimal() and len(length) < 20 and int(length) > limits.body_bytes:
        raise _too_long(limits)
    body = bytearray()
    try:
        async with asyncio.timeout(limits.body_seconds):
            async for chunk in request.stream():
                body += chunk
                if len(body) > limits.body_bytes:
                    raise _too_long(limits)
                grown(len(body))
    except TimeoutError:
        raise Problem(
            HTTPStatus.REQUEST_TIMEOUT,
            f"The body did not arrive within {limits.body_seconds:g} seconds. Try again.",
        ) from None
    except ClientDisconnect:
        raise Problem(HTTPStatus.BAD_REQUEST, "The body was cut off: the client closed the connection.") from None
    return body


def _too_long(limits: Limits) -> Problem:
    return Problem(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        f"The body is longer than the limit of {limits.body_bytes:,} bytes. Send fewer rows at once.",
    )


def parse_rows(body: bytes | bytearray, limits: Limits) -> Mapping[str, Any] | list[Any]:
    """One row, or the rows of a slate, `{"rows": [...]}`.

    Raises:
        Problem: not strict JSON, not an object, a slate with other members, or too many rows or values.
    """
    values, most = sum(map(body.count, (b",", b"[", b"{"))), limits.values_per_row * max(limits.rows, 100)
    if values > most:  # before it is parsed: that is what takes the memory
        raise Problem(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            f"The body has about {values:,} values; the limit is {most:,}. Send fewer rows at once.",
        )
    content = _json(body)
    if not isinstance(content, dict):
        raise Problem(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            f'Send an object: the features of a player by name, or {{"rows": [...]}}. Found: {_kind(content)}.',
        )
    if "rows" not in content:
        return content
    rows = content["rows"]
    if len(content) > 1 or not isinstance(rows, list):
        raise Problem(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            f'A slate is {{"rows": [...]}}, a list of objects and no other member. Found: rows is {_kind(rows)}, '
            f"and there are {len(content) - 1} other member(s).",
        )
    if len(rows) > limits.rows:
        raise Problem(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            f"The slate has {len(rows):,} rows; the limit is {limits.rows:,}. Send it in parts.",
        )
    return rows


def wants_explanation(query: bytes) -> bool:
    """Whether the query of a request has `explain=1`. Parameters of other names are ignored.

    Raises:
        Problem: `explain` is neither 0 nor 1, or there are more parameters than are read.
    """
    if query.count(b"&") >= _PARAMETERS:
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, f"The query has more than {_PARAMETERS} parameters.")
    values = parse_qs(query.decode("latin-1"), keep_blank_values=True).get("explain", ["0"])
    if values[-1] not in ("0", "1"):
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "explain is 0 or 1: POST /predict?explain=1.")
    return values[-1] == "1"


def require_few(rows: Mapping[str, Any] | list[Any], limits: Limits) -> None:
    """Raise Problem for more rows than are explained at once."""
    if isinstance(rows, list) and len(rows) > limits.explained_rows:
        raise Problem(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            f"The slate has {len(rows):,} rows; with explain=1 the limit is {limits.explained_rows:,}. Send it in "
            "parts, or without explain.",
        )


def _json(body: bytes | bytearray) -> object:
    """Strict JSON: UTF-8, no NaN, no Infinity, no repeated name."""
    try:
        return json.loads(body.decode("utf-8"), parse_constant=_no_constant, object_pairs_hook=_without_repeats)
    except RecursionError:
        raise Problem(HTTPStatus.BAD_REQUEST, "The body is nested too deeply. A row is one object.") from None
    except ValueError as error:
        raise Problem(HTTPStatus.BAD_REQUEST, f"The body is not valid JSON: {str(error)[:200]}.") from None


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not JSON; send null for a missing value")


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The object of these members, in time linear in their number: a client may send any number."""
    content = dict(pairs)
    if len(content) != len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise ValueError(f"the name {name[:80]!r} is repeated")
            seen.add(name)
    return content


def _kind(value: object) -> str:
    names = {dict: "an object", list: "a list", str: "a string", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")
