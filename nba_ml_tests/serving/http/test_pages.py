"""The service's pages for people, and `?explain=1`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from urllib.parse import urljoin, urlsplit

import numpy as np
import pytest

from nba_ml.contract.features import V2_33FEATURES
from nba_ml.serving import Predictor
from nba_ml.serving.http.limits import Limits
from nba_ml.serving.http.openapi import EXAMPLE_ROW
from nba_ml.serving.http.pages import _at
from nba_ml.serving.http.service import app_of
from nba_ml.serving.rows import read_rows
from nba_ml_tests.serving.client import Client, running
from nba_ml_tests.serving.conftest import Published, point
from nba_ml_tests.serving.http.test_service import Row, as_json, problem
from nba_ml_tests.serving.test_external import AVERAGE

PAGES = ("/docs", "/docs/model", "/docs/health")


@pytest.fixture
def predictor(published: Published) -> Predictor:
    return Predictor.load(published.store, channel="champion", try_apart=False)


@pytest.fixture
def client(predictor: Predictor) -> Iterator[Client]:
    limits = Limits(explained_rows=3)
    with running(app_of(predictor, channel="champion", refresh_seconds=60.0, limits=limits)) as client:
        yield client


class References(HTMLParser):
    """What a page refers to, and its tags."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value for name, value in attrs if name in ("href", "src") and value]
        assert not [name for name, _ in attrs if name == "style" or name.startswith("on")]


@pytest.mark.slow
@pytest.mark.parametrize("path", PAGES)
def test_a_page_needs_nothing_from_elsewhere(client: Client, path: str) -> None:
    """Guards a machine without the internet, and the policy: what it refers to is served here, and there is no inline
    script or style, which the policy would block.
    """
    page = client.get(path)
    assert (page.status, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    policy = page.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; ")
    assert not re.search(r"unsafe|https?:|\*", policy)
    found = References()
    found.feed(page.body.decode())
    assert "style" not in found.tags
    for address in found.addresses:
        if not address.startswith("data:"):
            assert urlsplit(address).netloc == ""
            assert client.get(urljoin(path, address)).status == 200
    kinds = {"page.css": "text/css", "page.js": "text/javascript", "example.json": "application/json"}
    for name, kind in kinds.items():
        file = client.get(f"/docs/{name}")
        assert file.headers["content-type"].startswith(kind)
        assert file.headers["x-content-type-options"] == "nosniff"
    assert client.get("/docs/example.json").json == EXAMPLE_ROW


@pytest.mark.slow
def test_what_the_pages_say(client: Client, predictor: Predictor, published: Published) -> None:
    """Guards against a page that lacks a feature or a field, or says another model serves than does."""
    api = client.get("/docs").body.decode()
    assert all(f">{name}<" in api for name in V2_33FEATURES.names)
    assert "Probability, 0 to 1, that the player scores more than the line" in api
    model = client.get("/docs/model").body.decode()
    assert f">{published.first.model_id}<" in model
    record = json.loads(published.first.record)
    assert f"{record['metrics']['validation']['mae']:.3f} points" in model
    assert "Status ok" in client.get("/docs/health").body.decode()
    point(published.store, published.second, challenger=AVERAGE, share=10)
    predictor.refresh("champion")
    model = client.get("/docs/model").body.decode()
    assert all(f">{words}<" in model for words in (published.second.model_id, "10% of the player-games"))


def test_a_page_of_an_older_record() -> None:
    """Guards a bundle of an older release: a metric that its record lacks is left out."""
    record = {"metrics": {"validation": {"mae": 4.5}, "coverage": None}}
    assert _at(record, "metrics", "validation", "mae") == 4.5
    assert _at(record, "metrics", "coverage", "overall", "inside") is None
    assert _at({}, "metrics") is None


@pytest.mark.slow
def test_contributions_add_up(client: Client, predictor: Predictor, row: Row) -> None:
    """Guards the explanation: it is of this prediction, all of it, and the prediction itself is the same."""
    content = as_json(row())
    found = client.post("/predict?explain=1", json.dumps(content).encode()).json
    explanation = found.pop("explanation")
    assert found == client.predict(content).json
    assert list(explanation["contributions"]) == list(V2_33FEATURES.names)
    total = explanation["base"] + sum(explanation["contributions"].values())
    assert total == pytest.approx(explanation["model_output"], abs=1e-4)
    booster = predictor.model.booster  # type: ignore[attr-defined]
    raw = float(booster.inplace_predict(read_rows(row()).features.astype(np.float32), missing=np.nan)[0])
    assert explanation["model_output"] == pytest.approx(raw, abs=1e-4)
    assert round(explanation["model_output"], 2) == pytest.approx(found["predicted_points"], abs=0.0101)
    slate = client.post("/predict?explain=1", json.dumps({"rows": [content] * 3}).encode()).json["predictions"]
    assert [each["explanation"] for each in slate] == [explanation] * 3
    assert client.post("/predict?explain=1", b'{"rows": []}').json == {"predictions": []}


@pytest.mark.slow
def test_explanations_that_are_refused(client: Client, row: Row) -> None:
    """Guards the thread that explains: a slate that would hold it for seconds; and a misspelt value."""
    body = json.dumps({"rows": [as_json(row())] * 4}).encode()
    assert "with explain=1 the limit is 3" in problem(client.post("/predict?explain=1", body), 413)["detail"]
    assert client.post("/predict?explain=0", body).status == 200
    assert client.post("/predict?other=%ff", body).status == 200
    for query in ("explain=yes", "explain=", "explain=1&explain=2"):
        assert "explain is 0 or 1" in problem(client.post(f"/predict?{query}", body), 422)["detail"]
    contradiction = json.dumps({**EXAMPLE_ROW, "vegas_points_line": None}).encode()
    assert problem(client.post("/predict?explain=1", contradiction), 422)["errors"][0]["field"] == "has_vegas_line"


def test_a_rule_has_nothing_to_explain(predictor: Predictor, published: Published, row: Row) -> None:
    """Guards a rollout: the challenger's rows say so, the champion's are explained."""
    point(published.store, published.first, challenger=AVERAGE, share=50)
    predictor.refresh("champion")
    rows = [row(player_lookup=f"player{index}") for index in range(12)]
    records = predictor.explain(rows)
    assert {record.system_id for record in records} == {"xgboost_v1", AVERAGE.system_id}
    for record in records:
        assert ("unavailable" in record.explanation) is (record.system_id == AVERAGE.system_id)
        assert record.to_json()["explanation"] == record.explanation
    assert predictor.explain([]) == []
