"""The OpenAPI document: it is valid, and real requests and answers of every status are what it describes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate

from nba_ml.contract.errors import BundleError, FeatureRowsError
from nba_ml.contract.features import FEATURE_VERSIONS, V2_33FEATURES, V3_FEATURES
from nba_ml.serving import Predictor
from nba_ml.serving.http.limits import Limits
from nba_ml.serving.http.openapi import EXAMPLE_RECORD, EXAMPLE_ROW, document, example_row
from nba_ml.serving.http.service import app_of
from nba_ml.serving.rows import KEYS, read_rows
from nba_ml_tests.profiles import examples
from nba_ml_tests.serving.client import JSON, Answer, Client, running
from nba_ml_tests.serving.conftest import Published
from nba_ml_tests.serving.http.test_connections import HEALTH, POST, answer, connected

pytestmark = pytest.mark.slow

LIMITS = Limits(rows=60, body_bytes=100_000, body_seconds=0.3, large_bodies_bytes=40_000, head_bytes=2_000, pipelined=1)
DOCUMENT = document(LIMITS)
EVERY_FEATURE = list(dict.fromkeys(name for version in FEATURE_VERSIONS.values() for name in version.names))
PREDICT = DOCUMENT["paths"]["/predict"]["post"]
GOOD = json.dumps(EXAMPLE_ROW).encode()


def schema_of(content: dict[str, Any]) -> Draft202012Validator:
    """The validator of a request's or an answer's only content."""
    (media,) = content.values()
    whole = {**media["schema"], "components": DOCUMENT["components"]}
    return Draft202012Validator(whole, format_checker=Draft202012Validator.FORMAT_CHECKER)


def described(found: Answer, status: int, operation: dict[str, Any] = PREDICT) -> Any:
    """The content of an answer, after it has been held to the document."""
    assert found.status == status, found
    response = operation["responses"][str(status)]
    assert list(response["content"]) == [found.headers["content-type"].partition(";")[0]]
    schema_of(response["content"]).validate(found.json)
    return found.json


@pytest.fixture
def serve(published: Published) -> Iterator[Callable[..., Client]]:
    """Starts a service on the champion, with some of its limits changed."""
    predictor = Predictor.load(str(published.root), channel="champion", try_apart=False)
    with ExitStack() as stack:

        def start(predictor: Predictor = predictor, **limits: Any) -> Client:
            app = app_of(predictor, channel="champion", refresh_seconds=60.0, limits=replace(LIMITS, **limits))
            return stack.enter_context(running(app))

        yield start


def test_the_document_is_valid_and_served(serve: Callable[..., Client]) -> None:
    """Guards clients made from the document: it keeps the specification, and is the one that the service serves."""
    served = serve().get("/openapi.json").json
    assert served == DOCUMENT
    assert served["openapi"].startswith("3.1.")
    validate(served)
    row = served["components"]["schemas"]["Row"]
    assert row["required"] == list(V2_33FEATURES.names)
    assert set(row["properties"]) == {*V2_33FEATURES.names, *KEYS}


def test_the_document_follows_the_model_that_serves(published: Published, serve: Callable[..., Client]) -> None:
    """Guards a client made from the document after the second system's model became the champion, or its challenger."""

    class Renamed(Predictor):
        serving = property(lambda _: serving)

    ours = Predictor.load(str(published.root), channel="champion", try_apart=False).serving
    serving = ours
    second = replace(ours.model, identity=replace(ours.model.identity, feature_version=V3_FEATURES.name))
    client = serve(Renamed.load(str(published.root), channel="champion", try_apart=False))
    both = {*V2_33FEATURES.names, *V3_FEATURES.names}
    for serving, names in (
        (ours, set(V2_33FEATURES.names)),
        (replace(ours, model=second), set(V3_FEATURES.names)),
        (replace(ours, challenger=second), both),
    ):
        found = client.get("/openapi.json").json
        validate(found)
        assert set(found["components"]["schemas"]["Row"]["required"]) == names
        example = client.get("/docs/example.json").json
        assert set(example) == {*names, *KEYS}
        media = found["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"]
        assert media["examples"]["one player"]["value"] == example
        page = client.get("/docs").body.decode()
        assert {name for name in both if f">{name}<" in page} == names
        for version in (serving.model.features, (serving.challenger or serving.model).features):
            read_rows(example, version, line_as_flagged=True)


def test_good_requests_and_their_answers(serve: Callable[..., Client]) -> None:
    """Guards the examples and the answers with status 200, those of /health and /metrics too."""
    client = serve()
    media = PREDICT["requestBody"]["content"]["application/json"]
    assert media["examples"]["one player"]["value"] == EXAMPLE_ROW
    for each in media["examples"].values():
        schema_of(PREDICT["requestBody"]["content"]).validate(each["value"])
        described(client.predict(each["value"]), 200)
    assert set(described(client.predict(EXAMPLE_ROW), 200)) == set(EXAMPLE_RECORD)
    for body, name in ((EXAMPLE_ROW, "ExplainedPrediction"), ({"rows": [EXAMPLE_ROW]}, "ExplainedPredictions")):
        found = described(client.post("/predict?explain=1", json.dumps(body).encode()), 200)
        schema_of({"answer": {"schema": {"$ref": f"#/components/schemas/{name}"}}}).validate(found)
    schema_of(PREDICT["responses"]["200"]["content"]).validate(EXAMPLE_RECORD)
    health = described(client.get("/health"), 200, DOCUMENT["paths"]["/health"]["get"])
    assert health["channel"]["checked_at"].endswith("+00:00")
    metrics = DOCUMENT["paths"]["/metrics"]["get"]["responses"]["200"]
    assert client.get("/metrics").headers["content-type"].partition(";")[0] in metrics["content"]


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, b"{"),
        (400, b'{"a": 1, "a": 2}'),
        (400, b'{"fatigue_score": NaN}'),
        (413, b" " * 100_001),
        (413, b'{"rows": [' + b",".join([b"0"] * 61) + b"]}"),
        (422, b"[]"),
        (422, b'{"rows": 1}'),
        (422, b"{}"),
        (422, b'{"rows": [1, {"x": 1}]}'),
        (422, json.dumps({**EXAMPLE_ROW, "game_date": "today", "fatigue_score": 140, "x": 1}).encode()),
        (503, b'{"rows": [' + b",".join([GOOD] * 50) + b"]}"),
    ],
)
def test_refused_bodies(serve: Callable[..., Client], status: int, body: bytes) -> None:
    """Guards the errors that a client's author reads in the document: each real one is as described."""
    described(serve().post("/predict", body), status)


def test_other_refusals(serve: Callable[..., Client]) -> None:
    """Guards the same for what is refused by its head, its time, or in the connection."""
    client = serve()
    described(client.post("/predict", GOOD, {**JSON, "content-encoding": "gzip"}), 415)
    for status, sent in (
        (408, POST + b"content-length: 9\r\n\r\n{"),
        (431, HEALTH[:-2] + b"x: " + b"x" * 3_000 + b"\r\n\r\n"),
    ):
        with connected(client, sent) as connection:
            described(_parsed(answer(connection)), status)


def _parsed(received: bytes) -> Answer:
    head, _, body = received.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines)
    return Answer(int(first.split()[1]), headers, body)


@pytest.mark.parametrize("error", [BundleError("The output is infinite."), RuntimeError("unexpected")])
def test_failures_of_the_service(published: Published, serve: Callable[..., Client], error: Exception) -> None:
    """Guards the 500: it is a problem document too."""

    class Failing(Predictor):
        def predict(self, rows: object, *, line_as_flagged: bool = False) -> Any:  # noqa: ARG002
            raise error

    described(serve(Failing.load(str(published.root), channel="champion", try_apart=False)).predict(EXAMPLE_ROW), 500)


values = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-2, 120),
    st.floats(allow_nan=False, allow_infinity=False),
    st.floats(0, 100),
    st.text(max_size=4),
    st.just("2025-02-28"),
    st.just("2025-02-30"),
    st.lists(st.integers(), max_size=1),
    st.just({}),
)
fields = st.sampled_from([*EVERY_FEATURE, *KEYS])


@settings(max_examples=examples(500))
@given(
    changes=st.dictionaries(fields | st.text(max_size=3), values, max_size=3),
    dropped=st.sets(fields, max_size=1),
)
@example(changes={"home_away": 1.0}, dropped=set())
@example(changes={"home_away": 1 - 1e-12}, dropped=set())
@example(changes={"home_away": True}, dropped=set())
@example(changes={"player_lookup": "x" * 201}, dropped=set())
@example(changes={"has_vegas_line": 0}, dropped=set())
@example(changes={"vegas_points_line": None}, dropped=set())
@example(changes={"has_vegas_line": 0, "vegas_points_line": None}, dropped=set())
def test_rows_are_accepted_as_the_document_says(changes: dict[str, Any], dropped: set[str]) -> None:
    """Guards the schema: a row is valid by the document if and only if it is accepted."""
    for version, valid in VALID_ROW.items():
        left_out = set(EVERY_FEATURE) - {*version.names}  # the document does not name them
        given = {**example_row(version), **{name: value for name, value in changes.items() if name not in left_out}}
        row = {name: value for name, value in given.items() if name not in dropped}
        accepted = True
        try:
            read_rows(row, version, line_as_flagged=True)
        except FeatureRowsError:
            accepted = False
        assert valid(row) is accepted


VALID_ROW = {
    version: Draft202012Validator(
        {"$ref": "#/components/schemas/Row", "components": document(LIMITS, version)["components"]},
        format_checker=Draft202012Validator.FORMAT_CHECKER,
    ).is_valid
    for version in FEATURE_VERSIONS.values()
}
