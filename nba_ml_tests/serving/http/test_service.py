"""The HTTP service: what it answers, what it refuses, and that nothing brings it down."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from starlette.applications import Starlette

from nba_ml.contract.errors import BundleError, PublicationError
from nba_ml.contract.features import V2_33FEATURES
from nba_ml.contract.quantiles import QUANTILE_COLUMNS
from nba_ml.contract.systems import XGBOOST_V1
from nba_ml.evaluation.predictions import make_predictions
from nba_ml.registry.channel import CHAMPION, Share
from nba_ml.serving import Predictor
from nba_ml.serving.http.limits import Limits
from nba_ml.serving.http.logs import LinesOut
from nba_ml.serving.http.service import _end_at_hang_up, app_of, create_app
from nba_ml.serving.predictor import Serving
from nba_ml.storage.cloud import CloudStore
from nba_ml.storage.directory import DirectoryStore
from nba_ml.storage.objects import ObjectStore
from nba_ml_tests.cloud.gcs import NOT_INSTALLED, emulator_client, emulator_program, make_bucket, running_server
from nba_ml_tests.conftest import snapshot_of
from nba_ml_tests.faults.summary import PREFIX
from nba_ml_tests.processes import heed_signals
from nba_ml_tests.profiles import examples
from nba_ml_tests.serving.client import JSON, Answer, Client, running
from nba_ml_tests.serving.conftest import Published, point
from nba_ml_tests.serving.test_predictor import until, with_none

Row = Callable[..., dict[str, Any]]
Record = Callable[[str, object], None]
KEYS = ("player_lookup", "game_date", "game_id")


@pytest.fixture
def client(published: Published) -> Iterator[Client]:
    """A service on the champion, with small limits."""
    with running(app_on(str(published.root), limits=Limits(body_bytes=100_000, rows=60))) as client:
        yield client


def app_on(source: str | ObjectStore, refresh_seconds: float = 60.0, limits: Limits = Limits()) -> Starlette:  # noqa: B008
    """The service on the champion as `create_app` makes it, without a fresh process that loads each model first."""
    predictor = Predictor.load(source, channel="champion", try_apart=False)
    return app_of(predictor, channel="champion", refresh_seconds=refresh_seconds, limits=limits)


def as_json(row: dict[str, Any]) -> dict[str, Any]:
    """A real row as a JSON client would send it."""
    return {
        name: str(value) if name == "game_date" else None if value != value else value for name, value in row.items()
    }


def problem(answer: Answer, status: int) -> dict[str, Any]:
    assert answer.status == status, answer
    assert answer.headers["content-type"] == "application/problem+json"
    content: dict[str, Any] = answer.json
    assert content["status"] == status
    assert content["detail"]
    return content


# --- good requests ----------------------------------------------------------------------------------


@pytest.mark.slow
def test_one_player_and_a_slate(client: Client, published: Published, row: Row, unseen: pa.Table) -> None:
    """Guards the two forms of a request: the records are the predictor's own."""
    predictor = Predictor.load(str(published.root), channel="champion", try_apart=False)
    assert client.predict(as_json(row())).json == predictor.predict(row()).to_json()
    rows = unseen.slice(400, 60).to_pylist()
    found = client.predict({"rows": [as_json(each) for each in rows]}).json
    assert found == {"predictions": [record.to_json() for record in predictor.predict(rows)]}
    assert client.predict({"rows": []}).json == {"predictions": []}


@pytest.mark.slow
def test_ten_thousand_real_rows_through_the_service(published: Published) -> None:
    """Guards the way through JSON and back: every value equal to `predictions`, bit for bit, on every row."""
    seen = 0
    with running(app_on(str(published.root))) as client:
        for month in ("2022-01", "2022-02", "2022-03"):
            snapshot = snapshot_of(month)
            expected = with_none(make_predictions(snapshot, published.model, month, XGBOOST_V1, threads=1).table)
            rows = snapshot.table.select([*V2_33FEATURES.names, *KEYS]).to_pylist()
            for start in range(0, len(rows), 500):
                slate = [as_json(each) for each in rows[start : start + 500]]
                found = [
                    each | dict(zip(QUANTILE_COLUMNS, each.pop("points_quantiles"), strict=True))
                    for each in client.predict({"rows": slate}).json["predictions"]
                ]
                assert found == [
                    {**each, "game_date": str(each["game_date"])} for each in expected[start : start + 500]
                ]
                seen += len(found)
    print(f"\n{seen:,} rows predicted through the service as core.predictions does, bit for bit")
    assert seen >= 10_000


@pytest.mark.slow
def test_health_says_which_model_since_when(client: Client, published: Published) -> None:
    """Guards what an operator and a load balancer look at."""
    health = client.get("/health").json
    assert (health["status"], health["loaded"], health["verified"]) == ("ok", True, True)
    assert health["model"]["model_id"] == published.first.model_id
    assert len(health["model"]["model_sha256"]) == 64
    assert 0 <= health["age_seconds"] < 600
    assert health["channel"]["serial"] == 1
    assert health["channel"]["failure"] is None


@pytest.mark.slow
def test_health_is_of_one_moment(published: Published) -> None:
    """Guards against the new serial beside the old model: a swap that comes while the answer is put together."""

    class Restless(Predictor):
        """Swaps whenever somebody has looked."""

        @property
        def serving(self) -> Serving:
            now = super().serving
            point(
                published.store, published.second if now.model.model_id == published.first.model_id else published.first
            )
            self.refresh("champion")
            return now

    restless = Restless.load(str(published.root), channel="champion", try_apart=False)
    with running(app_of(restless, channel="champion", refresh_seconds=86_400, limits=Limits())) as client:
        for _ in range(3):
            said = client.get("/health").json
            first = said["model"]["model_id"] == published.first.model_id
            assert first is (said["channel"]["serial"] % 2 == 1)
            text = client.get("/metrics").body.decode()
            assert text.count("nba_ml_model_info{") == 1


@pytest.mark.slow
def test_metrics_are_what_prometheus_reads(client: Client, published: Published, row: Row) -> None:
    """Guards the counters, and their cardinality: whatever is sent, labels stay few."""
    from prometheus_client.parser import text_string_to_metric_families

    client.predict(as_json(row()))
    client.predict({"rows": [as_json(row())] * 3})
    client.predict({**as_json(row()), "fatigue_score": 140, "nonsense": 1})
    client.get("/nowhere")
    samples = {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(client.get("/metrics").body.decode())
        for sample in family.samples
    }
    version = ("model_version", published.first.model_id)
    assert samples["nba_ml_predictions_total", version] == 4
    assert samples["nba_ml_requests_total", ("path", "/predict"), ("status", "200")] == 2
    assert samples["nba_ml_requests_total", ("path", "/predict"), ("status", "422")] == 1
    assert samples["nba_ml_requests_total", ("path", "other"), ("status", "404")] == 1
    assert samples["nba_ml_row_faults_total", ("field", "other")] == 1
    assert samples["nba_ml_request_seconds_count", ("path", "/predict")] == 3
    assert samples["nba_ml_refresh_failing",] == 0
    assert any(name == "nba_ml_model_info" and version in labels for name, *labels in samples)


# --- bad requests -----------------------------------------------------------------------------------


@pytest.mark.slow
def test_rows_that_break_the_contract_are_named(client: Client, row: Row) -> None:
    """Guards against a request that is silently mended, or refused without saying why."""
    good = as_json(row())
    for change, field in (
        ({"extra": 1.0}, "extra"),
        ({"fatigue_score": "80"}, "fatigue_score"),
        ({"home_away": True}, "home_away"),
        ({"home_away": None}, "home_away"),
        ({"points_avg_last_5": 101}, "points_avg_last_5"),
        ({"points_avg_last_5": [1]}, "points_avg_last_5"),
        ({"game_date": "tomorrow"}, "game_date"),
    ):
        errors = problem(client.predict({**good, **change}), 422)["errors"]
        assert [(error["row"], error["field"]) for error in errors if error["row"] is not None] == [(0, field)]
        slate = problem(client.predict({"rows": [good, {**good, **change}]}), 422)["errors"]
        assert [error["field"] for error in slate] == [field]
        assert slate[0]["row"] == 1
    fewer = {name: value for name, value in good.items() if name != "team_pace"}
    assert problem(client.predict(fewer), 422)["errors"][0]["field"] == "team_pace"
    huge = json.dumps(good).replace(f'"fatigue_score": {good["fatigue_score"]}', '"fatigue_score": 1e999')
    assert "infinite" in problem(client.post("/predict", huge.encode()), 422)["errors"][0]["problem"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"\xff\xfe{", 400),
        (b"\xef\xbb\xbf{}", 400),
        (b'{"fatigue_score": NaN}', 400),
        (b'{"fatigue_score": -Infinity}', 400),
        (b'{"a": 1, "a": 2}', 400),
        (b"[" * 9_900, 400),
        (b'{"a":' * 9_900 + b"1" + b"}" * 9_900, 400),
        (b"[" * 90_000, 413),
        (b'{"rows": [' + b"[]," * 5_000 + b"0]}", 413),
        (b'{"a":' * 15_000 + b"1" + b"}" * 15_000, 413),
        (b"9" * 5_000, 400),
        (b"[]", 422),
        (b"null", 422),
        (b"1.5", 422),
        (b'"x"', 422),
        (b"{}", 422),
        (b'{"rows": {}}', 422),
        (b'{"rows": null}', 422),
        (b'{"rows": [], "more": 1}', 422),
        (b'{"rows": [1]}', 422),
        (b'{"rows": [[0.0]]}', 422),
        (b'{"rows": [' + b",".join([b"0"] * 61) + b"]}", 413),
        (b" " * 100_001, 413),
    ],
)
def test_bodies_that_are_no_request(client: Client, body: bytes, status: int, row: Row) -> None:
    """Guards the parser: each is answered with its own status, and the service goes on."""
    problem(client.post("/predict", body), status)
    assert client.predict(as_json(row())).status == 200


@pytest.mark.slow
def test_a_body_without_length_is_cut_off(client: Client) -> None:
    """Guards memory against a client that never stops sending."""
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        for _ in range(1000):
            sent += 10_000
            yield b" " * 10_000

    problem(client.post("/predict", endless()), 413)


@pytest.mark.slow
@pytest.mark.parametrize(
    "headers",
    [
        {"content-type": "text/plain"},
        {"content-type": "application/x-www-form-urlencoded"},
        {},
        {**JSON, "content-encoding": "gzip"},
    ],
)
def test_another_content_type(client: Client, headers: dict[str, str]) -> None:
    """Guards against form posts from a web page, and against compressed bombs."""
    problem(client.post("/predict", b"{}", headers), 415)


@pytest.mark.slow
def test_other_paths_and_methods(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    """Guards errors of the framework: they are problem documents too; and the log, against a path of 16 KiB."""
    caplog.set_level(logging.INFO, "nba_ml.serving")
    answer = client.get("/" + "x" * 300)
    assert problem(answer, 404)["status"] == 404
    assert "server" not in answer.headers
    assert problem(client.get("/predict"), 405)["detail"] == "/predict takes only POST."
    assert "GET, HEAD /health" in problem(client.get("/nowhere"), 404)["detail"]
    for method, path, allowed in (("OPTIONS", "/predict", "POST"), ("DELETE", "/health", "GET, HEAD")):
        answer = client.ask(method, path)
        problem(answer, 405)
        assert answer.headers["allow"] == allowed
    for path in ("/predict/", "/health/", "//health"):  # not sent on to a host that the proxy does not know
        problem(client.get(path), 404)
    logged = [getattr(record, "fields", {}).get("path") for record in caplog.records]
    assert "/" + "x" * 199 in logged, "the first 200 characters"


@pytest.mark.slow
def test_a_monitor_may_ask_with_head(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    """Guards load balancers that ask with HEAD: a service in good health was 405 to them, and a log line each time."""
    caplog.set_level(logging.INFO, "nba_ml.serving")
    for path in ("/health", "/metrics", "/openapi.json"):
        answer = client.ask("HEAD", path)
        assert (answer.status, answer.body) == (200, b"")
        assert int(answer.headers["content-length"]) > 0
        assert answer.headers["content-type"] == client.get(path).headers["content-type"]
    assert {fields["path"] for record in caplog.records if (fields := getattr(record, "fields", {})).get("path")} == {
        "/openapi.json"
    }


@pytest.mark.slow
def test_fuzzed_requests(client: Client, row: Row, record_property: Record) -> None:
    """Guards the whole way in: any bytes, and good requests with bytes changed, give 200 or a problem, never 500."""
    good = json.dumps(as_json(row())).encode()
    counts: Counter[int] = Counter()

    @settings(max_examples=examples(400))
    @given(data=st.data())
    def check(data: st.DataObject) -> None:
        if data.draw(st.booleans()):
            body = data.draw(st.binary(max_size=200))
        else:
            at = data.draw(st.integers(0, len(good)))
            body = good[:at] + data.draw(st.binary(max_size=6)) + good[at + data.draw(st.integers(0, 6)) :]
        answer = client.post("/predict", body)
        counts[answer.status] += 1
        assert answer.status in (200, 400, 422)
        if answer.status == 200:
            assert set(V2_33FEATURES.names) <= set(json.loads(body)) <= {*V2_33FEATURES.names, *KEYS}
        else:
            problem(answer, answer.status)

    check()
    record_property(f"{PREFIX}fuzzed requests, none answered 500", sum(counts.values()))


# Every character, and halves of surrogate pairs, which JSON can hold and UTF-8 cannot.
texts = st.text(st.characters(), max_size=5)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)


@pytest.mark.slow
@pytest.mark.parametrize("share", [0, 50])
def test_fuzzed_values(published: Published, row: Row, record_property: Record, share: Share) -> None:
    """Guards every field against every kind of JSON value: 200 only where all of them are the contract's.

    In a rollout too, where the keys say which model serves the row.
    """
    tried = 0
    names = st.sampled_from([*V2_33FEATURES.names, "x"]) | st.sampled_from(KEYS)
    if share:
        point(published.store, published.first, challenger=published.second, share=share)

    with running(app_on(str(published.root))) as client:

        @settings(max_examples=examples(400))
        @given(changes=st.dictionaries(names, json_values, min_size=1, max_size=3))
        @example(changes={"player_lookup": "\ud800"})
        @example(changes={"game_id": "2025\udfff"})
        def check(changes: dict[str, Any]) -> None:
            nonlocal tried
            tried += 1
            answer = client.predict({**as_json(row()), **changes})
            assert answer.status in (200, 422)
            for name, value in changes.items() if answer.status == 200 else ():
                if name in KEYS:
                    assert value is None or value.encode()
                    continue
                feature = V2_33FEATURES[name]
                assert type(value) in (int, float) or (value is None and feature.nullable)
                assert value is None or feature.low <= value <= feature.high

        check()
    record_property(f"{PREFIX}requests with fuzzed values, share {share}, none accepted that should not be", tried)


@pytest.mark.slow
@pytest.mark.parametrize("share", [0, 50])
def test_half_a_surrogate_pair_is_refused_by_name(published: Published, row: Row, share: Share) -> None:
    """Guards a rollout: the name's bytes say who serves the row, and a name without any was a 500 for the slate."""
    if share:
        point(published.store, published.first, challenger=published.second, share=share)
    good = json.dumps(as_json(row()))
    bad = json.dumps(as_json(row(player_lookup="\ud800", game_id="2025\udfff")))
    with running(app_on(str(published.root))) as client:
        errors = problem(client.post("/predict", f'{{"rows": [{good}, {bad}]}}'.encode()), 422)["errors"]
        assert [(error["row"], error["field"]) for error in errors] == [(1, "player_lookup"), (1, "game_id")]
        assert client.post("/predict", good.encode()).status == 200


# --- following the champion -------------------------------------------------------------------------


class Unsteady(DirectoryStore):
    """A store that can be cut off."""

    down = False

    def read(self, name: str) -> Any:
        if self.down:
            raise PublicationError("Could not read: Cloud Storage could not be reached for 120 seconds.")
        return super().read(name)


@pytest.mark.slow
def test_the_store_goes_down_while_serving(published: Published, row: Row, caplog: pytest.LogCaptureFixture) -> None:
    """Guards the evening on which Cloud Storage is down: what is loaded serves on, and health says so."""
    store = Unsteady(published.root)
    app = app_on(store, refresh_seconds=0.02)
    with caplog.at_level(logging.INFO, "nba_ml.serving"), running(app) as client:
        before = client.predict(as_json(row())).json
        store.down = True
        until(lambda: client.get("/health").json["status"] == "degraded")
        health = client.get("/health").json
        assert "could not be reached" in health["channel"]["failure"]
        assert health["channel"]["failed_at"] >= health["channel"]["checked_at"]
        assert client.predict(as_json(row())).json == before
        assert "nba_ml_refresh_failing 0.0" not in client.get("/metrics").body.decode()
        store.down = False
        point(published.store, published.second)
        until(lambda: client.get("/health").json["model"]["model_id"] == published.second.model_id)
        after = client.predict(as_json(row())).json
        until(lambda: client.get("/health").json["status"] == "ok")  # said a moment after the model serves
    assert (before["model_version"], after["model_version"]) == (published.first.model_id, published.second.model_id)
    assert {"refresh failed", "refreshed"} <= {record.message for record in caplog.records}


@pytest.mark.slow
def test_cloud_storage_goes_down_while_serving(published: Published, row: Row) -> None:
    """Guards the same with Google's library and a server that is really gone: its retries hold up nobody."""
    if emulator_program() is None:
        pytest.skip(NOT_INSTALLED)
    with ExitStack() as stack:
        with running_server() as endpoint:
            bucket = make_bucket(endpoint)
            store = CloudStore(bucket, "models", emulator_client(endpoint), deadline=0.5, first_pause=0.05)
            for name in published.store.names(""):
                store.create(name, (published.root / name).read_bytes())
            client = stack.enter_context(running(create_app(store, channel="champion", refresh_seconds=0.05)))
            before = client.predict(as_json(row())).json
            assert client.get("/health").json["status"] == "ok"
        until(lambda: client.get("/health").json["status"] == "degraded")
        assert "could not be reached" in client.get("/health").json["channel"]["failure"]
        assert client.predict(as_json(row())).json == before


def test_no_service_without_a_verified_model(published: Published) -> None:
    """Guards against a service that starts empty, or with something else."""
    (published.root / CHAMPION).unlink()
    with pytest.raises(BundleError, match="There is no channel"):
        create_app(str(published.root), channel="champion")


# --- the process ------------------------------------------------------------------------------------


class Server:
    """`nba-ml serve` in a process of its own."""

    def __init__(self, root: Path, *options: str) -> None:
        code = "from nba_ml.cli.serve import serve; serve()"
        command = [sys.executable, "-c", code, "--source", str(root), "--port", "0", *options]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=heed_signals
        )
        self.lines: list[dict[str, Any]] = []
        self.port = 0
        while not any(line["event"] == "serving" for line in self.lines):
            text = self.process.stdout.readline()  # type: ignore[union-attr]
            assert text, self.process.communicate()[1]
            self.lines.append(json.loads(text))
            self.port = self.lines[-1].get("port", self.port)

    def ask(self, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, body, JSON)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def stop(self, how: int = signal.SIGTERM) -> tuple[int, str]:
        self.process.send_signal(how)
        out, err = self.process.communicate(timeout=300)
        self.lines += [json.loads(line) for line in out.splitlines()]
        return self.process.returncode, err


@contextmanager
def served(root: Path, *options: str) -> Iterator[Server]:
    server = Server(root, *options)
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.process.kill()
            server.process.communicate()


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGHUP])
def test_the_process_serves_logs_and_ends_gracefully(published: Published, row: Row, how: signal.Signals) -> None:
    """Guards a deployment: a request under way when the end comes is answered, every line is JSON, no traceback."""
    body = json.dumps(as_json(row())).encode()
    with served(published.root) as server:
        assert server.ask("POST", "/predict", body)[0] == 200
        slow = HTTPConnection("127.0.0.1", server.port, timeout=60)
        slow.putrequest("POST", "/predict")
        slow.putheader("Content-Type", "application/json")
        slow.putheader("Content-Length", str(len(body)))
        slow.endheaders()
        slow.send(body[:100])
        while b"nba_ml_predictions_total" not in server.ask("GET", "/metrics")[1]:
            time.sleep(0.01)
        server.process.send_signal(how)
        time.sleep(0.3)
        slow.send(body[100:])
        answer = slow.getresponse()
        assert (answer.status, json.loads(answer.read())["model_version"]) == (200, published.first.model_id)
        out, err = server.process.communicate(timeout=300)
    lines = server.lines + [json.loads(line) for line in out.splitlines()]
    answered = [line for line in lines if line["event"] == "answered"]
    assert [(line["status"], line["rows"]) for line in answered] == [(200, 1), (200, 1)]
    assert [len(sha256) for sha256 in answered[0]["model_sha256"]] == [64]
    assert lines[-1]["event"] == "stopped" or any(line["event"] == "stopped" for line in lines)
    assert "Traceback" not in err
    assert server.process.returncode in (0, -signal.SIGTERM)


@pytest.mark.parametrize("before", [signal.SIG_IGN, lambda *_: None])
def test_whoever_decided_about_hanging_up_is_left_alone(before: Any) -> None:
    """Guards `nohup nba-ml serve`: it must not end with the terminal after all."""
    kept = signal.signal(signal.SIGHUP, before)
    try:
        _end_at_hang_up()
        assert signal.getsignal(signal.SIGHUP) is before
    finally:
        signal.signal(signal.SIGHUP, kept)


def test_a_log_that_cannot_be_written_is_a_line_and_no_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    """Guards a full disk under the log: fifty lines of traceback for each request, on the other stream."""
    logger = logging.getLogger("nba_ml.a_test_of_a_full_disk")
    logger.propagate = False
    with suppress(OSError), Path("/dev/full").open("w") as full:  # closing it tries once more
        logger.addHandler(LinesOut(full))
        logger.error("answered")
        logger.handlers.clear()
    said = capsys.readouterr().err
    assert said == "A line of the log (answered) is lost: [Errno 28] No space left on device\n"


@pytest.mark.slow
def test_many_clients_and_broken_ones(published: Published, row: Row) -> None:
    """Guards the process: clients that hang up, send nonsense or 100,000 rows do not disturb the others."""
    body = json.dumps(as_json(row())).encode()
    slate = b'{"rows": [' + b",".join([b"{}"] * 100_000) + b"]}"
    wrong: list[Any] = []
    with served(published.root) as server:
        _, expected = server.ask("POST", "/predict", body)

        def good() -> None:
            for _ in range(50):
                found = server.ask("POST", "/predict", body)
                if found != (200, expected):
                    wrong.append(found)

        def bad() -> None:
            for index in range(20):
                connection = HTTPConnection("127.0.0.1", server.port, timeout=60)
                connection.putrequest("POST", "/predict")
                connection.putheader("Content-Type", "application/json")
                connection.putheader("Content-Length", "5000")
                connection.endheaders()
                connection.send(os.urandom(40 * index))
                connection.close()

        threads = [threading.Thread(target=work) for work in (good, good, bad, bad)]
        for thread in threads:
            thread.start()
        assert server.ask("POST", "/predict", slate)[0] == 413
        for thread in threads:
            thread.join()
        assert wrong == []
        assert json.loads(server.ask("GET", "/health")[1])["status"] == "ok"
        _, err = server.stop()
    assert "Traceback" not in err
    assert not any(line["level"] == "error" for line in server.lines), server.lines[-5:]


@pytest.mark.slow
def test_the_command_refuses_in_one_paragraph(published: Published) -> None:
    """Guards the terminal: no model, an address that is taken, a wrong option: exit code 2 and words."""
    code = "from nba_ml.cli.serve import serve; serve()"
    with served(published.root) as server:
        for options in (
            ["--source", str(published.root / "empty")],
            ["--source", str(published.root), "--model", "nonsense"],
            ["--source", str(published.root), "--port", str(server.port)],
            ["--source", str(published.root), "--port", "70000"],
            ["--source", str(published.root), "--port", "0", "--host", ""],
            ["--source", str(published.root), "--port", "0", "--refresh-seconds", "nan"],
            ["--source", str(published.root), "--port", "0", "--refresh-seconds", "inf"],
        ):
            done = subprocess.run([sys.executable, "-c", code, *options], capture_output=True, text=True, timeout=300)
            assert done.returncode == 2, (options, done)
            assert "Traceback" not in done.stderr
            assert "Error: " in done.stderr
