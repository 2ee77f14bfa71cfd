"""A polite client of the API of nba.com: one request at a time, with pauses, retries, and no answer that is not whole.

The `nba_api` package knows the endpoints, their parameters and the headers that the server asks for.
"""

from __future__ import annotations

import importlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nba_ml.contract.errors import MissingExtraError, SourceDataError

_LONGEST_WAIT = 300.0
"""Seconds. A server that asks for more is left alone."""


@dataclass(frozen=True)
class Request:
    """A request. `name` says what it is for, in messages and as a file's stem; `endpoint` is a class of nba_api."""

    name: str
    endpoint: str
    arguments: Mapping[str, Any]


class Client:
    """Requests to one server.

    Args:
        address: what stands before the endpoint's name.
        pause: seconds between two requests; after a failure twice as long each time.
        timeout: seconds without a byte after which a request has failed.
        tries: of a request, the first included.

    Raises:
        MissingExtraError: nba_api is not installed.
    """

    def __init__(self, address: str, *, pause: float, timeout: float = 60.0, tries: int = 5) -> None:
        self._requests = _library("requests")
        http = _library("nba_api.stats.library.http")
        self._endpoints = _library("nba_api.stats.endpoints")
        session = self._requests.Session()
        session.hooks["response"].append(lambda answer, *_, **__: answer.raise_for_status())
        # The Host header of nba_api is nba.com's, whatever the address is.
        headers = {name: value for name, value in http.NBAStatsHTTP.headers.items() if name != "Host"}
        kind: Any = type("Http", (http.NBAStatsHTTP,), {"base_url": f"{address}/{{endpoint}}", "headers": headers})
        kind.set_session(session)
        self._http = kind()
        self._address, self._pause, self._timeout, self._tries = address, pause, timeout, tries
        self._earliest = 0.0

    def get(self, request: Request) -> str:
        """The answer: JSON with rows.

        Raises:
            SourceDataError: the server refuses the request, or did not give a whole answer in any of the tries.
        """
        asked = getattr(self._endpoints, request.endpoint)(**request.arguments, get_request=False)
        why = ""
        for again in range(self._tries):
            time.sleep(max(0.0, self._earliest - time.monotonic()))
            wait = self._pause * 2**again
            try:
                answer = self._http.send_api_request(asked.endpoint, asked.parameters, timeout=self._timeout)
                text: str = answer.get_response()
                why = _fault(text)
                if not why:
                    return text
            except self._requests.HTTPError as error:
                status = error.response.status_code
                why = f"status {status}"
                if status != 429 and status < 500:
                    raise SourceDataError(
                        f"{self._address} refuses {request.name} ({why}). If the address (NBA_ML_NBA_API) is right, "
                        "the server may block this network; try from another one."
                    ) from error
                wait = max(wait, _retry_after(error.response.headers.get("Retry-After")))
            except self._requests.RequestException as error:
                why = f"{type(error).__name__}: {str(error)[:200]}"
            finally:
                self._earliest = time.monotonic() + wait
            if wait > _LONGEST_WAIT:
                why += f", and asks to wait for {wait:,.0f} seconds"
                break
        raise SourceDataError(
            f"{self._address} gave no whole answer to {request.name} (tries: {again + 1}). The last: {why}. What was "
            "fetched is kept for six hours: run the same command later to continue."
        )


def _fault(text: str) -> str:
    """Why an answer is not used; '' for one that is whole."""
    if text.lstrip()[:1] == "<":
        return f"a page instead of JSON ({' '.join(text.split())[:80]})"
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        return f"not valid JSON, perhaps cut short ({error})"
    if isinstance(content, dict) and isinstance(content.get("leagueSchedule"), dict):
        return ""
    sets = content.get("resultSets") if isinstance(content, dict) else None
    if not isinstance(sets, list) or not sets:
        return f"JSON without rows ({text[:80]})"
    whole = all(
        isinstance(each, dict) and all(len(row) == len(each["headers"]) for row in each["rowSet"]) for each in sets
    )
    return "" if whole else "rows with fewer or more cells than the header"


def _retry_after(header: str | None) -> float:
    """Seconds of a Retry-After header. A date, which servers rarely send, counts as none."""
    return float(header) if header and header.strip().isdecimal() else 0.0


def _library(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingExtraError(
            f"Fetching needs the package nba_api ({error}). Install it with: pip install 'nba_ml[nba-api]'."
        ) from error
