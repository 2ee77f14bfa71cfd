"""Our pages beside Dagster's: what is served under which address, and that nothing else is."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from starlette.responses import PlainTextResponse
from starlette.testclient import TestClient

from nba_ml.contract.systems import XGBOOST_V2
from nba_ml.evaluation.report.addresses import (
    PICTURES,
    WALK_FORWARD_FILES,
    card_address,
    picture_address,
    walk_forward_address,
)
from nba_ml.model.stored import METADATA, MODEL
from nba_ml.model.values import DescribedModel, TrainedModel
from nba_ml.storage.directory import DirectoryStore
from nba_ml.storage.months import MonthStore
from nba_ml.ui.guard import Guard
from nba_ml.ui.pages import WithPages
from nba_ml_tests.conftest import Trained

MONTH = "2021-12"
PORT = 3000


@pytest.fixture
def store(trained: Trained, tmp_path: Path) -> MonthStore:
    months = MonthStore(DirectoryStore(tmp_path / "store"))
    months.save(MODEL, MONTH, TrainedModel(trained.report, trained.fitted.booster))
    months.save(METADATA, MONTH, DescribedModel(trained.record, trained.fitted.booster))
    months.objects.write("walk_forward/report.html", b"<p>report</p>")
    months.objects.write("walk_forward/xgboost_v2/report.html", b"<p>the second</p>")
    months.objects.write("walk_forward/summary.json", b"{}")
    (tmp_path / "secret.svg").write_text("secret")
    return months


@pytest.fixture
def client(store: MonthStore) -> TestClient:
    app = Guard(WithPages(PlainTextResponse("Dagster"), store), PORT)
    return TestClient(app, base_url=f"http://127.0.0.1:{PORT}")


def test_every_picture_that_has_data_is_an_svg(client: TestClient) -> None:
    """Guards against a picture in the metadata that is broken where a person looks at it."""
    for name in PICTURES:
        answer = client.get(picture_address(MONTH, name))
        if name == "over_probability":  # no line was listed in 2021
            assert (answer.status_code, "betting line" in answer.text) == (404, True)
            continue
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "image/svg+xml"
        assert ET.fromstring(answer.text).tag == "{http://www.w3.org/2000/svg}svg"
        assert "nan" not in answer.text


def test_the_card_and_the_report_are_pages_that_can_run_nothing(client: TestClient, trained: Trained) -> None:
    """Guards against a page without its headers, or one that another site may frame."""
    card = client.get(card_address(MONTH))
    report = client.get(walk_forward_address("report.html"))
    assert trained.record.model_id in card.text
    assert report.text == "<p>report</p>"
    assert client.get(walk_forward_address("report.html", XGBOOST_V2)).text == "<p>the second</p>"
    for answer in (card, report, client.get(picture_address(MONTH, "importance"))):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["x-frame-options"] == "SAMEORIGIN"
    assert card.headers["content-type"] == "text/html; charset=utf-8"


@pytest.mark.parametrize(
    ("address", "says"),
    [
        (card_address("2021-11"), "There is no model of 2021-11"),
        (card_address("2021-13"), "2021-13"),
        (picture_address(MONTH, "secret"), "There is no such picture"),
        ("/nba_ml/walk_forward/summary.json", "There is no such file"),
        ("/nba_ml/walk_forward/xgboost_v2/summary.json", "There is no such file"),
        ("/nba_ml/walk_forward/secret/report.html", "There is no such system"),
        (walk_forward_address(WALK_FORWARD_FILES[1]), "Materialise walk_forward"),
        ("/nba_ml/walk_forward/..%2Fxgboost_model%2F2021-12.json", "Not Found"),
        ("/nba_ml/models/..%2F..%2Fsecret/secret.svg", "Not Found"),
        ("/nba_ml/models/%2e%2e/secret.svg", "valid"),
        ("/nba_ml/", "Not Found"),
    ],
    ids=[
        "no model",
        "no month",
        "no picture",
        "not listed",
        "not listed of a system",
        "no system",
        "not made",
        "parent",
        "outside",
        "dots",
        "root",
    ],
)
def test_nothing_else_is_served(client: TestClient, address: str, says: str) -> None:
    """Guards against a path that leads out of what is meant to be seen, and against an error that helps nobody."""
    answer = client.get(address)
    assert answer.status_code == 404
    assert says in answer.text
    assert "secret" not in answer.text.replace("secret.svg", "")


def test_what_is_damaged_is_reported(client: TestClient, store: MonthStore) -> None:
    """Guards against a traceback, or a broken picture without a word, when a month has to be made again."""
    store.objects.write(MODEL.file(MONTH), b"{")
    answer = client.get(card_address(MONTH))
    assert answer.status_code == 503
    assert f"Materialise xgboost_model for {MONTH} again." in answer.text


def test_dagsters_own_paths_go_to_dagster(client: TestClient) -> None:
    """Guards against a page of Dagster's that ours hide."""
    for path in ("/", "/assets/nba_ml", "/nba_ml", "/nba_mlx/models"):
        assert client.get(path).text == "Dagster"
    assert client.post(card_address(MONTH), json={}).status_code == 405


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "other.example"}, 421),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Origin": "https://other.example"}, 403),
    ],
    ids=["host", "site", "origin"],
)
def test_the_guard_is_in_front(client: TestClient, headers: dict[str, str], status: int) -> None:
    """Guards against another site that reads a card through the operator's browser."""
    assert client.get(card_address(MONTH), headers=headers).status_code == status
