"""Reading a request of the HTTP service: within limits, strictly JSON, one player or a slate.

What belongs here: what the bytes are. What does not: whether the rows keep the contract (`rows`).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, NoReturn

from starlette.requests import ClientDisconnect, Request

from nba_ml.serving.http.problems import Problem


@dataclass(frozen=True, slots=True)
class Limits:
    """What a request may be: bytes of its body, rows in a slate, seconds until the body is there.

    A slate of 450 players, the largest evening of a season, is half a megabyte.
    """

    body_bytes: int = 4 * 2**20
    rows: int = 1_000
    body_seconds: float = 10.0


async def read_body(request: Request, limits: Limits) -> bytes:
    """The body, as far as it is JSON by its own account and within the limits.

    Raises:
        Problem: another content type, too long, too slow, or broken off.
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
    except TimeoutError:
        raise Problem(
            HTTPStatus.REQUEST_TIMEOUT, f"The body was not there within {limits.body_seconds:g} seconds."
        ) from None
    except ClientDisconnect:
        raise Problem(HTTPStatus.BAD_REQUEST, "The body broke off.") from None
    return bytes(body)


def _too_long(limits: Limits) -> Problem:
    return Problem(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        f"A body may have {limits.body_bytes:,} bytes. Send fewer rows at once.",
    )


def parse_rows(body: bytes, limits: Limits) -> Mapping[str, Any] | list[Any]:
    """One row, or the rows of a slate, `{"rows": [...]}`.

    Raises:
        Problem: no JSON in the strict sense, no object, a slate with other members, or too many rows.
    """
    content = _json(body)
    if not isinstance(content, dict):
        raise Problem(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            f'Send an object: the 33 features of a player by name, or {{"rows": [...]}}. Found: {_kind(content)}.',
        )
    if "rows" not in content:
        return content
    rows = content["rows"]
    if len(content) > 1 or not isinstance(rows, list):
        raise Problem(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            f'A slate is {{"rows": [...]}}, a list of objects and nothing beside it. Found: rows as {_kind(rows)}, '
            f"{len(content) - 1} other member(s).",
        )
    if len(rows) > limits.rows:
        raise Problem(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            f"A slate may have {limits.rows:,} rows; this one has {len(rows):,}. Send it in parts.",
        )
    return rows


def _json(body: bytes) -> object:
    """JSON in the strict sense: UTF-8, no NaN, no Infinity, no name twice."""
    try:
        return json.loads(body.decode("utf-8"), parse_constant=_no_constant, object_pairs_hook=_each_name_once)
    except RecursionError:
        raise Problem(HTTPStatus.BAD_REQUEST, "The body is nested too deeply.") from None
    except ValueError as error:
        raise Problem(HTTPStatus.BAD_REQUEST, f"The body is no JSON: {str(error)[:200]}.") from None


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is no JSON; a missing value is null")


def _each_name_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The object of these members, in time that grows with their number and no faster: anyone may send any number."""
    content = dict(pairs)
    if len(content) != len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise ValueError(f"the name {name[:80]!r} stands there twice")
            seen.add(name)
    return content


def _kind(value: object) -> str:
    names = {dict: "an object", list: "a list", str: "a string", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")
