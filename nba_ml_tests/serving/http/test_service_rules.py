"""What the service says of itself, where it answers a request, and what it logs: on rules in place of models."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import queue
import signal
import socket
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import uvicorn
import xgboost as xgb
from prometheus_client.parser import text_string_to_metric_families
from starlette.applications import Starlette
from starlette.responses import Response

from nba_ml.contract.errors import BundleError, SettingsError
from nba_ml.serving import Predictor
from nba_ml.serving.http import service
from nba_ml.serving.http.limits import Limits
from nba_ml.serving.http.logs import JsonLines, LinesOut, log_as_json
from nba_ml.serving.http.metrics import ServiceMetrics
from nba_ml.serving.http.pages import _facts_of, _health, _render
from nba_ml.serving.http.problems import Problem
from nba_ml.serving.http.service import _Observed, app_of, config_of, create_app, serve
from nba_ml.serving.http.state import ServiceState
from nba_ml.serving.model import LoadedModel
from nba_ml.serving.prediction import ModelIdentity
from nba_ml.serving.rows import Fault
from nba_ml.serving.watch import Watch, WatchStatus
from nba_ml.storage.directory import DirectoryStore
from nba_ml_tests.serving.client import JSON, Answer, Client, running
from nba_ml_tests.serving.rules import MONTHS, ROW, install, ours, point, rule_predictor, state_of

FIRST, SECOND = (ours(month) for month in MONTHS)


@pytest.fixture
def store(tmp_path: Path) -> DirectoryStore:
    made = DirectoryStore(tmp_path)
    point(made, state_of(7, FIRST, SECOND, 10))
    return made


@pytest.fixture
def predictor(monkeypatch: pytest.MonkeyPatch, store: DirectoryStore) -> Predictor:
    return rule_predictor(monkeypatch, store)


def served(predictor: Predictor, **limits: Any) -> Starlette:
    return app_of(predictor, channel="champion", refresh_seconds=3_600.0, limits=Limits(**limits))


# --- /health and /metrics ------------------------------------------------------------------------------------


def test_health_is_of_the_models_and_of_the_channel(predictor: Predictor, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards what a load balancer and an alarm decide by."""
    state = ServiceState(predictor)
    found = state.health()
    assert (found.status, found.channel, found.xgboost) == ("ok", None, xgb.__version__)
    assert found.model.model_dump() == {
        "system_id": "xgboost_v1",
        "model_type": "xgboost",
        "model_id": FIRST.model_id,
        "model_sha256": FIRST.manifest_sha256,
        "feature_version": "v2_33features",
        "newest_month": "2025-05",
    }
    assert found.loaded_at == predictor.model.loaded_at
    assert 0 <= found.age_seconds <= (datetime.now(UTC) - predictor.model.loaded_at).total_seconds() + 0.001
    assert 0 <= found.uptime_seconds < 60
    now = time.monotonic() + 1_000.25
    monkeypatch.setattr(time, "monotonic", lambda: now)
    assert 1_000.25 <= state.health().uptime_seconds < 1_060
    monkeypatch.undo()
    with Watch(lambda _: False, "champion", 3_600.0, checked_at=predictor.model.loaded_at) as watch:
        state.watch = watch
        channel = state.health().channel
        assert channel is not None
        assert (channel.serial, channel.challenger, channel.challenger_type) == (7, SECOND.model_id, "xgboost")
        assert (channel.share, channel.following, channel.overdue) == (10, True, False)
        assert (channel.channel, channel.failures, channel.failure) == ("champion", 0, None)
        assert state.health().status == "ok"
        watch._failed("gone")
        assert (state.health().status, state.health().channel.failures) == ("degraded", 1)  # type: ignore[union-attr]
        watch._check()
        assert state.health().status == "ok"
        with monkeypatch.context() as patch:
            patch.setattr(Watch, "overdue", property(lambda _: True))
            late = state.health()
            assert (late.status, late.channel.overdue) == ("degraded", True)  # type: ignore[union-attr]
    assert state.health().status == "degraded", "nobody follows the channel any more"


def test_health_is_of_one_moment(predictor: Predictor) -> None:
    """Guards `/health` while the watch's thread ends a read: a 500, or a failure's text with the paths in it."""

    class Recovering(Watch):
        """Its failed read is followed by a good one as soon as somebody has seen that it failed."""

        @property
        def status(self) -> WatchStatus:
            found = super().status
            if found.failure is not None:
                self._check()
            return found

    state = ServiceState(predictor)
    with Recovering(lambda _: False, "champion", 3_600.0, checked_at=predictor.model.loaded_at) as watch:
        state.watch = watch
        watch._failed(f"{predictor.root}champion.json is gone")
        failing = state.health()
        assert failing.channel is not None
        assert (failing.status, failing.channel.failures) == ("degraded", 1)
        assert failing.channel.failure == "champion.json is gone"
        assert state.health().status == "ok"


@pytest.mark.slow
def test_a_model_without_a_channel_is_in_good_health(monkeypatch: pytest.MonkeyPatch, store: DirectoryStore) -> None:
    predictor = rule_predictor(monkeypatch, store, model_id=FIRST.model_id)
    with running(app_of(predictor, channel=None, refresh_seconds=60.0, limits=Limits())) as client:
        health = client.get("/health").json
        assert (health["status"], health["channel"]) == ("ok", None)
        assert "nba_ml_refresh" not in client.get("/metrics").body.decode()


def samples_of(text: bytes) -> dict[tuple[Any, ...], float]:
    return {
        (each.name, *sorted(each.labels.items())): each.value
        for family in text_string_to_metric_families(text.decode())
        for each in family.samples
    }


def test_metrics_count_answers_rows_and_faults(predictor: Predictor) -> None:
    with Watch(lambda _: False, "champion", 3_600.0, checked_at=predictor.model.loaded_at) as watch:
        metrics = ServiceMetrics(predictor, lambda: watch)
        metrics.answered("/predict", 200, 0.004)
        metrics.answered("/predict", 200, 0.4)
        metrics.predicted(FIRST.model_id, 3)
        metrics.refused((Fault(0, "team_pace", ""), Fault(1, "game_id", ""), Fault(None, "x", ""), Fault(0, None, "")))
        watch._failed("gone")
        watch._failed("gone")
        found = samples_of(metrics.text())
    assert found["nba_ml_requests_total", ("path", "/predict"), ("status", "200")] == 2
    assert found["nba_ml_request_seconds_sum", ("path", "/predict")] == pytest.approx(0.404)
    assert found["nba_ml_predictions_total", ("model_version", FIRST.model_id)] == 3
    faults = {labels[0][1]: value for name, *labels in found if name == "nba_ml_row_faults_total" for value in
              [found[name, *labels]]}  # fmt: skip
    assert faults == {"team_pace": 1, "game_id": 1, "other": 2}
    assert found["nba_ml_refresh_failing",] == found["nba_ml_refresh_failures_total",] == 2
    loaded = predictor.model.loaded_at.timestamp()
    assert found["nba_ml_refresh_success_timestamp_seconds",] == pytest.approx(loaded)
    assert found["nba_ml_model_loaded_timestamp_seconds",] == pytest.approx(loaded)
    models = {(dict(labels)["role"], dict(labels)["model_version"], dict(labels)["newest_month"]): found[name, *labels]
              for name, *labels in found if name == "nba_ml_model_info"}  # fmt: skip
    assert models == {("champion", FIRST.model_id, "2025-05"): 1, ("challenger", SECOND.model_id, "2025-05"): 1}
    # A dashboard's quantiles are made from these.
    edges = [labels[0][1] for name, *labels in found if name == "nba_ml_request_seconds_bucket"]
    steps = ["0.0005", "0.001", "0.002", "0.003", "0.005", "0.01", "0.02", "0.05", "0.1", "0.5", "1.0", "5.0", "+Inf"]
    assert edges == steps


def test_a_page_shows_names_and_never_interprets_them() -> None:
    """Guards the pages against a record or a reason that somebody else wrote."""
    evil = "<script>alert(1)</script>"
    page = _render(
        "facts", title=evil, here="Model", base="../", lead=evil, tokens=False, sections=[(evil, [(evil, evil)])]
    )
    assert evil not in page
    assert page.count("&lt;script&gt;alert(1)&lt;/script&gt;") >= 5


METRICS = {
    "validation": {"mae": 4.5678, "n": 1_234},
    "baselines": {"last_10_average": {"gain": 0.25, "gain_interval": {"low": -0.01, "high": 0.5}}},
    "coverage": {"overall": {"inside": 0.8123}},
}
DATES = {"first_date": "2021-10-19", "last_date": "2025-04-13", "rows": 98_765}


def test_the_page_of_a_model_says_what_its_record_does() -> None:
    who = ModelIdentity("xgboost_v1", FIRST.model_id, "xgboost", "a" * 64, "v2_33features")

    def facts(**record: Any) -> list[tuple[str, str]]:
        loaded = LoadedModel(who, "2025-05", datetime.now(UTC), record, None, None, None)  # type: ignore[arg-type]
        return list(_facts_of(loaded))[5:]

    assert facts(**DATES, metrics=METRICS) == [
        ("trained on", "98,765 rows, 2021-10-19 to 2025-04-13"),
        ("mean absolute error", "4.568 points on 1,234 later rows"),
        ("gain over last 10 average", "+0.250 points (95% -0.010 to +0.500)"),
        ("inside the 80% interval", "81.2% of those rows"),
    ]
    assert facts() == [], "an older release wrote none"
    assert facts(metrics={"coverage": {"overall": {"inside": 0.0}}}) == [
        ("inside the 80% interval", "0.0% of those rows")
    ]


def test_the_page_of_health_says_what_health_does(predictor: Predictor) -> None:
    state = ServiceState(predictor)
    alone = _health(state.health(), tokens=False)
    assert "<h2>Model</h2>" in alone
    assert "<h2>Channel</h2>" not in alone
    assert "Status ok: a verified model serves." in alone
    assert 'href="../docs/model"' in alone
    with Watch(lambda _: False, "champion", 3_600.0, checked_at=predictor.model.loaded_at) as watch:
        state.watch = watch
        watch._failed("gone")
        page = _health(state.health(), tokens=True)
    assert "<h2>Model</h2>" in page
    assert "<h2>Channel</h2>" in page
    assert "Status degraded: the loaded model serves on" in page
    assert 'href="../docs/model"' not in page, "it asks for a token, which a link cannot send"
    for shown in (FIRST.model_id, "gone", "yes", "no", "none", "3600.0"):
        assert f">{shown}<" in page, shown


# --- where a request is answered -------------------------------------------------------------------------------


class Seen(Predictor):
    """Notes the thread of each call, and waits in it when told to."""

    threads: list[str]
    free: threading.Event
    begun: threading.Semaphore

    def predict(self, rows: Any, *, line_as_flagged: bool = False) -> Any:
        self.threads.append(threading.current_thread().name)
        self.begun.release()
        assert self.free.wait(60)
        return super().predict(rows, line_as_flagged=line_as_flagged)

    def explain(self, rows: Any, *, line_as_flagged: bool = False) -> Any:
        self.threads.append(threading.current_thread().name)
        self.begun.release()
        assert self.free.wait(60)
        return super().explain(rows, line_as_flagged=line_as_flagged)


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch, store: DirectoryStore) -> Seen:
    install(monkeypatch)
    made = Seen.load(store, channel="champion")
    assert isinstance(made, Seen)
    made.threads, made.free, made.begun = [], threading.Event(), threading.Semaphore(0)
    made.free.set()
    return made


@pytest.mark.slow
def test_small_bodies_are_answered_on_the_event_loop_and_others_in_a_thread(seen: Seen) -> None:
    """Guards `/health`: a slate of milliseconds on the loop holds it up, a thread for each row costs more than it."""
    row = json.dumps(ROW)
    rows = ",".join([row] * 31)
    slate = f'{{"rows": [{rows}]}}'  # 32 opening brackets
    more = f'{{"rows": [{rows},{row}]}}'
    with running(served(seen, small_body_bytes=len(more))) as client:
        for body in (row, row.ljust(len(more)), row.ljust(len(more) + 1)):
            assert client.post("/predict", body.encode()).status == 200
        loop = seen.threads[0]
        assert [name == loop for name in seen.threads] == [True, True, False]
        for body in (slate, more):
            assert client.post("/predict", body.encode()).status == 200
        assert [name == loop for name in seen.threads[3:]] == [True, False]
    assert service._ROWS_AT_ONCE == 32


@pytest.mark.slow
@pytest.mark.parametrize(("path", "rows", "kind"), [("/predict", 40, "slates"), ("/predict?explain=1", 1, "requests")])
def test_one_is_answered_after_the_other_and_some_may_wait(seen: Seen, path: str, rows: int, kind: str) -> None:
    """Guards the processor, which several threads would share; and the memory of what waits for the only one."""
    body = json.dumps({"rows": [ROW] * rows}).encode()
    seen.free.clear()
    with running(served(seen, slates=2, explaining=2)) as client:
        answers: queue.SimpleQueue[Answer] = queue.SimpleQueue()

        def ask() -> None:
            own = Client(client.port)
            answers.put(own.post(path, body))
            own.close()

        asking = [threading.Thread(target=ask) for _ in range(4)]
        for each in asking:
            each.start()
        full = answers.get(timeout=60)  # of the one that found two before it in the queue
        assert full.status == 503
        assert full.json["detail"].startswith(f"Too many {kind} ")
        assert (full.headers["retry-after"], full.headers["connection"]) == ("1", "close")
        assert seen.begun.acquire(timeout=60)
        assert len(seen.threads) == 1
        assert client.get("/health").status == 200
        seen.free.set()
        for each in asking:
            each.join()
    assert [answers.get().status for _ in range(3)] == [200, 200, 200]


def test_of_many_that_arrive_together_only_as_many_wait_as_may() -> None:
    """Guards the limit against a burst read in one pass of the event loop, in which none of them waits yet."""
    free = threading.Event()

    def call(number: int) -> Response:
        assert free.wait(60)
        return Response(str(number))

    async def burst() -> list[Response | BaseException]:
        turns = service._OneAtATime(2, "slates")
        asked = [asyncio.ensure_future(turns.run(call, number)) for number in range(9)]
        done, _ = await asyncio.wait(asked, timeout=60, return_when=asyncio.FIRST_COMPLETED)
        assert all(isinstance(each.exception(), Problem) for each in done)
        free.set()
        answers = await asyncio.gather(*asked, return_exceptions=True)
        return [*answers, await turns.run(call, 9)]

    *first, last = asyncio.run(burst())
    assert [answer.body for answer in [*first[:3], last] if isinstance(answer, Response)] == [b"0", b"1", b"2", b"9"]
    assert [str(answer) for answer in first[3:]] == ["Too many slates at once. Try again."] * 6


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sent", "headers", "status", "closed"),
    [
        (b"{", JSON, 400, False),
        (b"{}", {"content-type": "text/plain"}, 415, True),
        (b" " * 200, JSON, 413, True),
        (b"{", JSON | {"content-length": "9"}, 408, True),
        (b"[]", JSON, 422, False),
    ],
    ids=["400", "415", "413", "408", "422"],
)
def test_a_connection_is_kept_where_the_body_was_read(
    predictor: Predictor, sent: bytes, headers: dict[str, str], status: int, closed: bool
) -> None:
    with running(served(predictor, body_bytes=100, body_seconds=0.1)) as client:
        found = client.post("/predict", sent, headers)
    assert found.status == status
    assert (found.headers.get("connection") == "close") is closed
    assert "retry-after" not in found.headers
    assert found.headers["content-type"] == "application/problem+json"


@pytest.mark.slow
def test_one_player_a_slate_and_other_paths(predictor: Predictor, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "nba_ml.serving")
    rows = [{**ROW, "player_lookup": f"p{number}"} for number in range(30)]
    with running(served(predictor)) as client:
        one = client.predict(ROW)
        assert (one.json, one.headers["content-type"]) == (predictor.predict(ROW).to_json(), "application/json")
        expected: Any = predictor.predict(rows)
        assert client.predict({"rows": rows}).json == {"predictions": [each.to_json() for each in expected]}
        assert client.predict({"rows": []}).json == {"predictions": []}
        assert client.predict({**ROW, "x": 1, "team_pace": "y"}).status == 422
        assert client.get("/metrics").headers["content-type"].startswith("text/plain; version=")
        assert client.get("/openapi.json").json["info"]["title"] == "nba_ml predictions"
        page = client.get("/docs").body
        assert b"curl -s -H" in page
        assert b"Bearer" not in page, "nobody asks for a token"
        counted = samples_of(client.get("/metrics").body)
    by_model = {FIRST.model_id: 1, SECOND.model_id: 0}
    for each in expected:
        by_model[each.model_version] += 1
    for model_id, count in by_model.items():
        assert counted["nba_ml_predictions_total", ("model_version", model_id)] == count
    assert counted["nba_ml_row_faults_total", ("field", "other")] == 1
    said = [(record.message, getattr(record, "fields", {})) for record in caplog.records]
    assert [event for event, _ in said] == ["serving", *["answered"] * 6, "stopped"]
    assert said[0][1]["model_id"] == said[-1][1]["model_id"] == FIRST.model_id
    answered = [fields for event, fields in said if event == "answered"]
    assert [fields["path"] for fields in answered] == ["/predict"] * 4 + ["/openapi.json", "/docs"]
    assert [fields.get("rows") for fields in answered] == [1, 30, 0, None, None, None]
    assert answered[1]["model_sha256"] == list(dict.fromkeys(each.model_sha256 for each in expected))
    assert {fields["method"] for fields in answered} == {"POST", "GET"}
    assert all(0 < fields["milliseconds"] < 60_000 for fields in answered)


class Broken(Predictor):
    """Fails when it is asked anything."""

    error: Exception

    def predict(self, rows: object, *, line_as_flagged: bool = False) -> Any:  # noqa: ARG002
        raise self.error

    @property
    def serving(self) -> Any:
        if isinstance(self.error, ArithmeticError):
            raise self.error
        return super().serving


@pytest.mark.slow
@pytest.mark.parametrize(
    ("error", "detail", "events"),
    [
        (BundleError("The output is infinite."), "The output is infinite.", ["answered"]),
        (KeyError("x"), "Unexpected error. The service's log has the details.", ["unforeseen", "answered"]),
    ],
    ids=["ours", "any"],
)
def test_an_error_is_answered_in_words_and_logged(
    monkeypatch: pytest.MonkeyPatch,
    store: DirectoryStore,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
    detail: str,
    events: list[str],
) -> None:
    install(monkeypatch)
    broken = Broken.load(store, channel="champion")
    broken.error = error  # type: ignore[attr-defined]
    caplog.set_level(logging.INFO, "nba_ml.serving")
    with running(served(broken)) as client:
        found = client.predict(ROW)
        assert (found.status, found.json["detail"], found.json["title"]) == (500, detail, "Internal Server Error")
        assert client.get("/health").status == 200
        broken.error = ZeroDivisionError()  # type: ignore[attr-defined]
        assert client.get("/health").status == 500
        broken.error = error  # type: ignore[attr-defined]
    # Read at the end: a line is written a moment after its answer.
    logged = [record for record in caplog.records if record.name == "nba_ml.serving" and record.levelname == "ERROR"]
    assert [record.message for record in logged] == [*events, "unforeseen", "answered"]
    assert logged[-1].fields["path"] == "/health"  # type: ignore[attr-defined]


@pytest.mark.parametrize(("status", "level"), [(200, None), (499, "INFO"), (500, "ERROR"), (503, "INFO")], ids=str)
def test_the_level_of_a_line_says_whose_fault_it_was(
    predictor: Predictor, caplog: pytest.LogCaptureFixture, status: int, level: str | None
) -> None:
    caplog.set_level(logging.INFO, "nba_ml.serving")
    metrics = ServiceMetrics(predictor, lambda: None)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await Response("", status)(scope, receive, send)

    async def nothing(*_: object) -> Any:
        return {"type": "http.request", "body": b""}

    observed = _Observed(app, metrics)
    asyncio.run(observed({"type": "http", "method": "GET", "path": "/metrics"}, nothing, nothing))
    assert [record.levelname for record in caplog.records] == ([level] if level else [])
    assert samples_of(metrics.text())["nba_ml_requests_total", ("path", "/metrics"), ("status", str(status))] == 1
    asyncio.run(observed({"type": "http", "method": "GET", "path": "/" + "y" * 300}, nothing, nothing))
    assert caplog.records[-1].fields["path"] == "/" + "y" * 199  # type: ignore[attr-defined]
    assert samples_of(metrics.text())["nba_ml_requests_total", ("path", "other"), ("status", str(status))] == 1


def test_a_refresh_is_logged_with_what_became_of_it(predictor: Predictor, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "nba_ml.serving")
    state = ServiceState(predictor)
    with Watch(lambda _: True, "champion", 3_600.0, checked_at=datetime.now(UTC), tell=state.tell) as watch:
        watch._failed("gone")
        watch._failed("gone")
        watch._check()
    failed, again, well = caplog.records
    assert (failed.levelname, failed.message, again.fields) == (  # type: ignore[attr-defined]
        "ERROR",
        "refresh failed",
        {"failure": "gone", "in_a_row": 2},
    )
    assert (well.levelname, well.message) == ("INFO", "refreshed")
    assert well.fields["serial"] == 7  # type: ignore[attr-defined]
    assert well.fields["model_id"] == FIRST.model_id  # type: ignore[attr-defined]


# --- the process -----------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_service_follows_the_channel_that_it_was_given(
    monkeypatch: pytest.MonkeyPatch, store: DirectoryStore
) -> None:
    loads = install(monkeypatch)
    for seconds in (0, 86_401):
        with pytest.raises(SettingsError, match="A channel cannot be read every"):
            create_app(store, channel="champion", refresh_seconds=seconds)
    assert loads.asked == [], "before a model is loaded"
    limits = Limits(rows=3)
    app = create_app(store, channel="champion", refresh_seconds=1_800.0, threads=2, limits=limits)
    assert loads.asked[0][1]["threads"] == 2
    assert app.state.limits is limits
    with running(app) as client:
        assert client.get("/health").json["channel"]["seconds"] == 1_800.0
        assert client.get("/openapi.json").json["components"]["schemas"]["Slate"]["properties"]["rows"]["maxItems"] == 3
        assert client.predict({"rows": [ROW] * 4}).status == 413
    assert create_app(store, model_id=FIRST.model_id).state.limits == Limits()


def test_how_uvicorn_is_set_up(predictor: Predictor) -> None:
    limits = Limits(idle_seconds=76)
    config = config_of(app_of(predictor, channel=None, refresh_seconds=60.0, limits=limits))
    assert (config.ws, config.log_config, config.access_log, config.server_header) == ("none", None, False, False)
    assert (config.timeout_keep_alive, config.timeout_graceful_shutdown) == (76, 10)
    assert (config.proxy_headers, config.forwarded_allow_ips) == (False, []), "nobody is believed, loopback neither"


@pytest.mark.slow
@pytest.mark.parametrize(("host", "port"), [("", 0), ("127.0.0.1", 70_000), ("no such host", 0), ("::1::", 0)], ids=str)
def test_an_address_that_cannot_be_served_is_refused(
    predictor: Predictor, monkeypatch: pytest.MonkeyPatch, host: str, port: int
) -> None:
    monkeypatch.setattr(uvicorn.Server, "run", lambda *_, **__: pytest.fail("it is served"))
    with pytest.raises(SettingsError, match="--host"):
        serve(served(predictor), host, port)
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(SettingsError, match="Cannot listen on 127"):
        serve(served(predictor), "127.0.0.1", taken.getsockname()[1])


def test_only_the_main_thread_may_decide_about_signals() -> None:
    kept, raised = signal.signal(signal.SIGHUP, signal.SIG_DFL), list[Exception]()

    def work() -> None:
        try:
            service._end_at_hang_up()
        except ValueError as error:
            raised.append(error)

    try:
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        assert raised == []
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_DFL
        service._end_at_hang_up()
        assert callable(signal.getsignal(signal.SIGHUP))
    finally:
        signal.signal(signal.SIGHUP, kept)


@pytest.mark.slow
def test_what_is_set_up_before_the_service_is_run(
    predictor: Predictor, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "nba_ml.serving")
    done: list[Any] = []
    monkeypatch.setattr(service, "log_as_json", lambda: done.append("log"))
    monkeypatch.setattr(service, "_end_at_hang_up", lambda: done.append("hang up"))
    monkeypatch.setattr(service, "_allow_connections", done.append)
    monkeypatch.setattr(sys, "setswitchinterval", done.append)
    monkeypatch.setattr(uvicorn.Server, "run", lambda _, sockets: done.append(sockets[0].getsockname()))
    app = served(predictor)
    serve(app, "127.0.0.1", 0)
    assert done[:4] == ["log", "hang up", app.state.limits, 0.0005]
    assert done[4][0] == "127.0.0.1"
    assert caplog.records[-1].message == "listening"
    assert caplog.records[-1].fields == {"host": "127.0.0.1", "port": done[4][1], "tls": False}  # type: ignore[attr-defined]


def test_a_line_of_the_log_is_one_object(capsys: pytest.CaptureFixture[str]) -> None:
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    try:
        log_as_json(logging.ERROR)
        [handler] = root.handlers
        assert isinstance(handler, LinesOut)
        assert root.level == logging.ERROR
    finally:
        root.handlers = handlers
        root.setLevel(level)
    record = logging.LogRecord("nba_ml.x", logging.INFO, "", 0, "done %s", ("it",), None)
    record.created = datetime(2025, 1, 15, 12, 30, 0, 123_456, tzinfo=UTC).timestamp()
    assert json.loads(JsonLines().format(record)) == {
        "time": "2025-01-15T12:30:00.123+00:00",
        "level": "info",
        "logger": "nba_ml.x",
        "event": "done it",
    }
    record.fields = {"at": timedelta(seconds=1)}
    try:
        raise ValueError("no")
    except ValueError:
        record.exc_info = sys.exc_info()
    found = json.loads(JsonLines().format(record))
    assert found["at"] == "0:00:01"
    assert found["exception"].endswith("ValueError: no")
    record.msg, record.args, record.exc_info = "x" * 100, (), None

    class Full(io.StringIO):
        def write(self, _: str) -> int:
            raise OSError("no space")

    LinesOut(Full()).emit(record)
    assert capsys.readouterr().err == f"A line of the log ({'x' * 80}) is lost: no space\n"
