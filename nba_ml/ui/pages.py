"""The pages and pictures of nba_ml beside Dagster's own: model cards, charts and the walk-forward report.

What belongs here: addresses and responses. Each page is made from what is in the store when it is asked for.
"""

from __future__ import annotations

from collections.abc import Callable

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from nba_ml.contract.errors import NbaMlError
from nba_ml.contract.season import parse_month
from nba_ml.contract.systems import SYSTEMS, XGBOOST_V1, System
from nba_ml.evaluation.report.addresses import PICTURES, ROOT, WALK_FORWARD, WALK_FORWARD_FILES, walk_forward_file
from nba_ml.evaluation.report.card import Card, card_of
from nba_ml.evaluation.report.charts import charts_of
from nba_ml.storage.months import MonthStore

_TYPES = {"html": "text/html; charset=utf-8", "svg": "image/svg+xml", "png": "image/png"}

_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    # Nothing is loaded and no script runs, whatever a name in the data looks like.
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:",
    "Cache-Control": "no-cache",  # a month may be made again
}


class WithPages:
    """An ASGI application: our pages under `ROOT`, and everything else by Dagster's."""

    def __init__(self, dagster: ASGIApp, store: MonthStore) -> None:
        self._dagster = dagster
        self._pages = _application(store)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request to the one it is for."""
        ours = scope["type"] == "http" and scope["path"].startswith(f"{ROOT}/")
        await (self._pages if ours else self._dagster)(scope, receive, send)


class _NothingThereError(Exception):
    """What was asked for does not exist; says how it comes to be."""


def _application(store: MonthStore) -> Starlette:
    def card(request: Request) -> Response:
        return _response(_card(store, request).html().encode(), "html")

    def picture(request: Request) -> Response:
        return _response(_picture(_card(store, request), request.path_params["name"]), "svg")

    def walk_forward(request: Request) -> Response:
        name = request.path_params["name"]
        return _response(_walk_forward_file(store, name, _system(request)), name.rpartition(".")[2])

    return Starlette(
        routes=[
            *(
                Route(f"{ROOT}/models/{system}{path}", _answering(view))
                for system in ("", "{system}/")
                for path, view in (("{month}/card", card), ("{month}/{name}.svg", picture))
            ),
            *(
                Route(f"{ROOT}/{WALK_FORWARD}/{system}{{name}}", _answering(walk_forward))
                for system in ("", "{system}/")
            ),
        ]
    )


def _answering(make: Callable[[Request], Response]) -> Callable[[Request], Response]:
    """The same with errors as text: 404 for what is not there, 503 for what cannot be read."""

    def answer(request: Request) -> Response:
        try:
            return make(request)
        except _NothingThereError as error:
            return PlainTextResponse(f"{error}\n", 404, _HEADERS)
        except NbaMlError as error:
            return PlainTextResponse(f"{error}\n", 503, _HEADERS)

    return answer


def _card(store: MonthStore, request: Request) -> Card:
    month = request.path_params["month"]
    try:
        parse_month(month)
    except NbaMlError as error:
        raise _NothingThereError(str(error)) from error
    card = card_of(store, month, _system(request))
    if card is None:
        raise _NothingThereError(f"There is no model of {month} in the store. Materialise model_metadata of {month}.")
    return card


def _system(request: Request) -> System:
    system = SYSTEMS.get(request.path_params.get("system", XGBOOST_V1.id))
    if system is None:
        raise _NothingThereError(f"There is no such system. The systems are {', '.join(SYSTEMS)}.")
    return system


def _picture(card: Card, name: str) -> bytes:
    if name not in PICTURES:
        raise _NothingThereError(f"There is no such picture. The pictures are {', '.join(PICTURES)}.")
    if card.diagnosis is None:
        raise _NothingThereError(
            "The model was trained by a version that kept no numbers for pictures. Materialise xgboost_model of this "
            "month again."
        )
    drawn = charts_of(card.diagnosis, card.record.importance).get(name)
    if drawn is None:
        raise _NothingThereError("No held-out game of this model had a betting line, so there is nothing to draw.")
    return drawn.encode()


def _walk_forward_file(store: MonthStore, name: str, system: System) -> bytes:
    if name not in WALK_FORWARD_FILES:
        raise _NothingThereError(f"There is no such file. The files are {', '.join(WALK_FORWARD_FILES)}.")
    file = walk_forward_file(name, system)
    found = store.objects.read(file)
    if found is None:
        raise _NothingThereError(f"The store has no {file}. Materialise walk_forward.")
    return found.data


def _response(data: bytes, ending: str) -> Response:
    return Response(data, headers={**_HEADERS, "Content-Type": _TYPES[ending]})
