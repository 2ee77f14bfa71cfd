"""Errors of the HTTP service as problem documents (RFC 9457): `application/problem+json`."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any

from starlette.responses import Response

MEDIA_TYPE = "application/problem+json"


class Problem(Exception):  # noqa: N818 - RFC 9457 calls it so
    """A request that is answered with an error. `errors` name row, field and problem of each fault."""

    def __init__(self, status: HTTPStatus, detail: str, errors: list[dict[str, Any]] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.errors = errors

    def response(self, headers: dict[str, str] | None = None) -> Response:
        content: dict[str, Any] = {
            "type": "about:blank",
            "title": self.status.phrase,
            "status": self.status.value,
            "detail": self.detail,
        }
        if self.errors is not None:
            content["errors"] = self.errors
        return Response(json.dumps(content), self.status.value, headers=headers, media_type=MEDIA_TYPE)
