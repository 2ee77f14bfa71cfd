"""Errors of the HTTP service as problem documents (RFC 9457): `application/problem+json`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from http import HTTPStatus
from urllib.parse import unquote

from starlette.responses import Response

from nba_ml.serving.http.answers import ProblemDocument
from nba_ml.serving.rows import Fault

_PATH = re.compile(r"""(?:(?<!\w)file://|(?<![\w.:/]))/[^\s'"`,;()<>]*?([^\s/'"`,;()<>]+)(?=[\s'"`,;()<>]|$)""")
"""An absolute path in a text, and its last part."""

MEDIA_TYPE = "application/problem+json"


class Problem(Exception):  # noqa: N818 - RFC 9457 calls it so
    """A request that is answered with an error. `faults` are those of its rows."""

    def __init__(self, status: HTTPStatus, detail: str, faults: Sequence[Fault] = ()) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.faults = faults

    def response(self, headers: dict[str, str] | None = None) -> Response:
        document = ProblemDocument(
            type="about:blank",
            title=self.status.phrase,
            status=self.status.value,
            detail=self.detail,
            errors=list(self.faults),
        )
        content = document.model_dump_json(exclude=None if self.faults else {"errors"})
        return Response(content, self.status.value, headers, MEDIA_TYPE)


def without_paths(text: str, root: str) -> str:
    """An error's text for a stranger: names below the store's root, and of other files the last part only.

    Args:
        root: the address of the store, `file:///srv/models/` or `gs://bucket/prefix/`.
    """
    for each in (root, unquote(root.removeprefix("file://"))):
        if len(each) > 1:
            text = text.replace(each, "").replace(each.rstrip("/"), "the store")
    return _PATH.sub(r"\1", text)
