"""The predictor as an HTTP service: predict, health, metrics.

What belongs here: routes, what they answer, and the life of the process. What does not: what a request may be
(`requests`), what a row may be (`rows`), which model serves (`predictor`).
"""

from __future__ import annotations

import asyncio
import json
import logging
import resource
import signal
import socket
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager, nullcontext
from functools import cache
from http import HTTPStatus
from typing import Any, TypeVar

import anyio
import anyio.to_thread
import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from nba_ml.contract.errors import SettingsError
from nba_ml.contract.features import FeatureVersion
from nba_ml.contract.proxies import Proxies
from nba_ml.serving.http.access import Access, Guarded
from nba_ml.serving.http.connections import Connections
from nba_ml.serving.http.limits import SWITCH_SECONDS, Limits
from nba_ml.serving.http.logs import LOGGER, log_as_json, say
from nba_ml.serving.http.metrics import ServiceMetrics
from nba_ml.serving.http.openapi import document
from nba_ml.serving.http.pages import page_routes
from nba_ml.serving.http.prediction_log import PredictionLog
from nba_ml.serving.http.problems import Problem
from nba_ml.serving.http.requests import LargeBodies, read_body, wants_explanation
from nba_ml.serving.http.state import ServiceState, json_response, model_fields
from nba_ml.serving.http.tls import Tls
from nba_ml.serving.prediction import Prediction
from nba_ml.serving.predictor import Predictor
from nba_ml.serving.watch import require_period
from nba_ml.storage.objects import ObjectStore

P = TypeVar("P", bound=Prediction)

ROUTES = ("/predict", "/health", "/metrics")

_READ = ("/health", "/metrics", "/openapi.json", "/docs")
_METHODS = {"/predict": "POST", **dict.fromkeys(_READ, "GET, HEAD")}
"""What each path takes. Load balancers and monitors often send HEAD."""

_QUIET = ("/health", "/metrics")
"""Requested every few seconds by monitors: logged only when they fail."""

_BUSY = HTTPStatus.SERVICE_UNAVAILABLE

_NOT_READ = (
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    HTTPStatus.REQUEST_TIMEOUT,
    _BUSY,
)
"""Answered while some of the body may still be arriving: the connection cannot be used again."""

_ROWS_AT_ONCE = 32
"""Of a small body that is answered on the event loop: a few milliseconds, if each of its values is wrong."""

_DRAIN_SECONDS = 10
"""How long requests under way may take after the signal to end."""


def create_app(
    source: str | ObjectStore,
    *,
    channel: str | None = None,
    model_id: str | None = None,
    refresh_seconds: float = 60.0,
    threads: int | None = 1,
    limits: Limits = Limits(),  # noqa: B008 - frozen
    access: Access = Access(),  # noqa: B008 - frozen
    prediction_log: PredictionLog | None = None,
    remember: str | None = None,
) -> Starlette:
    """The service over a published model, which is loaded and verified before this returns.

    Args:
        source, channel, model_id, threads, remember: as in `Predictor.load`.
        refresh_seconds: how often a channel is read; the model that it names then serves without a gap.
        limits: what a request may be.
        access: who may ask.
        prediction_log: what keeps the predictions that are served.

    Raises:
        NbaMlError: as in `Predictor.load` and `Predictor.watch`. There is no service without a verified model.
    """
    require_period(refresh_seconds)
    predictor = Predictor.load(source, channel=channel, model_id=model_id, threads=threads, remember=remember)
    return app_of(
        predictor,
        channel=channel,
        refresh_seconds=refresh_seconds,
        limits=limits,
        access=access,
        prediction_log=prediction_log,
    )


def app_of(
    predictor: Predictor,
    *,
    channel: str | None,
    refresh_seconds: float,
    limits: Limits,
    access: Access = Access(),  # noqa: B008 - frozen
    prediction_log: PredictionLog | None = None,
) -> Starlette:
    """The service over a predictor; it follows the channel while it runs, if there is one."""
    state = ServiceState(predictor, access, prediction_log)
    predicting = _Predicting(state, limits)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        say(logging.INFO, "serving", **model_fields(predictor.serving))
        with ExitStack() as stack:
            if prediction_log is not None:
                stack.enter_context(prediction_log.writing())
            if channel is not None:
                state.watch = stack.enter_context(predictor.watch(channel, refresh_seconds, tell=state.tell))
            yield
        say(logging.INFO, "stopped", **model_fields(predictor.serving))

    async def health(_: Request) -> Response:
        return json_response(state.health().model_dump_json())

    async def metrics(_: Request) -> Response:
        return Response(state.metrics.text(), media_type=CONTENT_TYPE_LATEST)

    @cache  # a few versions
    def described(version: FeatureVersion) -> dict[str, Any]:
        return document(limits, version)

    async def openapi(_: Request) -> Response:
        return json_response(json.dumps(described(predictor.serving.features)).encode())

    async def problem(_: Request, error: Problem) -> Response:
        headers = {"connection": "close"} if error.status in _NOT_READ else {}
        return error.response(headers | ({"retry-after": "1"} if error.status is _BUSY else {}))

    async def refused(request: Request, error: HTTPException) -> Response:
        takes = _METHODS.get(request.url.path)
        if takes is None:
            paths = ", ".join(f"{methods} {path}" for path, methods in _METHODS.items())
            return Problem(HTTPStatus(error.status_code), f"No such path. The service has {paths}.").response()
        detail = f"{request.url.path} takes only {takes}."
        return Problem(HTTPStatus(error.status_code), detail).response({"allow": takes})

    handlers: dict[Any, Any] = {Problem: problem, HTTPException: refused}
    app = Starlette(
        routes=[
            Route("/predict", predicting.answer, methods=["POST"]),
            Route("/health", health),
            Route("/metrics", metrics),
            Route("/openapi.json", openapi),
            *page_routes(described, lambda: predictor.serving, state.health, tokens=bool(access.digests)),
        ],
        middleware=[Middleware(_Observed, metrics=state.metrics), Middleware(Guarded, access=access)],
        exception_handlers=handlers,
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False  # behind a proxy it would name another host, and few clients post a body twice
    app.state.limits = limits
    app.state.proxies = access.proxies
    return app


class _Predicting:
    """`POST /predict`: small bodies on the event loop, others in a thread, explanations in one of their own."""

    def __init__(self, state: ServiceState, limits: Limits) -> None:
        self._state = state
        self._limits = limits
        self._large_bodies = LargeBodies(limits)
        self._slates = _OneAtATime(limits.slates, "slates")
        self._explaining = _OneAtATime(limits.explaining, "requests with explain=1")
        self._turn = asyncio.Lock()

    async def answer(self, request: Request) -> Response:
        limits, state, query = self._limits, self._state, request.scope["query_string"]
        explain = bool(query) and wants_explanation(query)
        with self._large_bodies.held(request.client.host if request.client else "") as grown:
            body = await read_body(request, limits, grown)
            if explain:
                return await self._explaining.run(state.explain, body, limits, request.scope)
            if len(body) <= limits.small_body_bytes and body.count(b"{") <= _ROWS_AT_ONCE:
                await self._turn.acquire()  # many may be complete at once: one in each pass of the event loop
                asyncio.get_running_loop().call_soon(self._turn.release)
                return state.predict(body, limits, request.scope)
            return await self._slates.run(state.predict, body, limits, request.scope)


class _OneAtATime:
    """Calls in a thread, one after the other: parsing holds Python's lock, and several would hold up `/health`.

    Args:
        waiting: how many calls may wait for the one at work; a further one is answered with 503.
        kind: what they are, for that answer.
    """

    def __init__(self, waiting: int, kind: str) -> None:
        self._limiter = anyio.CapacityLimiter(1)
        self._waiting = waiting
        self._kind = kind
        self._taken = 0

    async def run(self, call: Callable[..., Response], *args: object) -> Response:
        # Not the limiter's own count: a call enters that one pass of the event loop after it is made, and calls made in
        # the same pass would all find room.
        if self._taken > self._waiting:
            raise Problem(_BUSY, f"Too many {self._kind} at once. Try again.")
        self._taken += 1
        try:
            return await anyio.to_thread.run_sync(call, *args, limiter=self._limiter)
        finally:
            self._taken -= 1


class _Observed:
    """Counts, times and logs every answer, and turns an unexpected error into a 500 with a problem document."""

    def __init__(self, app: ASGIApp, metrics: ServiceMetrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status = time.perf_counter(), 0

        async def observed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, observed)
        except Exception:  # noqa: BLE001 (the outermost layer: any error is logged, and answered in words)
            LOGGER.exception("unforeseen")
            if status == 0:
                detail = "Unexpected error. The service's log has the details."
                await Problem(HTTPStatus.INTERNAL_SERVER_ERROR, detail).response()(scope, receive, observed)
        finally:
            path = scope["path"] if scope["path"] in ROUTES else "other"
            seconds = time.perf_counter() - started
            self._metrics.answered(path, status, seconds)
            if path not in _QUIET or status != HTTPStatus.OK:
                say(
                    logging.INFO if status < 500 or status == _BUSY else logging.ERROR,
                    "answered",
                    client=scope["client"][0] if scope.get("client") else "",
                    method=scope["method"],
                    path=scope["path"][:200],
                    status=status,
                    milliseconds=round(1000 * seconds, 3),
                    **scope.get("nba_ml", {}),
                )


def _end_at_hang_up() -> None:
    """Let SIGHUP, a terminal that was closed, end the service as SIGTERM does. Under nohup it stays ignored."""
    if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGHUP, lambda *_: signal.raise_signal(signal.SIGTERM))


def config_of(app: Starlette, tls: Tls | None = None) -> uvicorn.Config:
    """How uvicorn serves it: within limits, with the service's own log, to the end of what is under way."""
    limits: Limits = app.state.limits
    proxies: Proxies = app.state.proxies
    return uvicorn.Config(
        app,
        # Uvicorn's default is to believe every process of this machine.
        proxy_headers=bool(proxies),
        forwarded_allow_ips=list(map(str, proxies)),
        http=Connections(limits).protocol,  # type: ignore[arg-type] # called as a class would be
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=limits.idle_seconds,
        timeout_graceful_shutdown=_DRAIN_SECONDS,
        ssl_certfile=None if tls is None else tls.certificate,
        ssl_keyfile=None if tls is None else tls.key,
    )


def _allow_connections(limits: Limits) -> None:
    """Let this process have a file for each connection: the usual limit, 1,024, is meant for programs with select()."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    due = 2 * limits.burst_connections
    if soft != resource.RLIM_INFINITY and soft < due:
        resource.setrlimit(resource.RLIMIT_NOFILE, (due if hard == resource.RLIM_INFINITY else min(due, hard), hard))


def serve(app: Starlette, host: str, port: int, tls: Tls | None = None) -> None:
    """Serve until SIGTERM, SIGINT or SIGHUP; requests under way are finished first.

    Raises:
        SettingsError: the address is invalid or cannot be listened on; certificate and key cannot be used.
    """
    if tls is not None:
        tls.require_usable()
    if not host:  # the operating system would take it for every address
        raise SettingsError("--host is empty. 127.0.0.1 serves this machine only, 0.0.0.0 every network.")
    try:
        listening = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except (OSError, OverflowError) as error:
        raise SettingsError(f"Cannot listen on {host}:{port}: {error}. Choose another --host or --port.") from error
    log_as_json()
    _end_at_hang_up()
    _allow_connections(app.state.limits)
    sys.setswitchinterval(SWITCH_SECONDS)
    with listening:
        say(logging.INFO, "listening", host=host, port=listening.getsockname()[1], tls=tls is not None)
        config = config_of(app, tls)
        config.load()
        with nullcontext() if tls is None or config.ssl is None else tls.renewed(config.ssl):
            uvicorn.Server(config).run(sockets=[listening])
