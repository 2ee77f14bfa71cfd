"""Tokens, the terse mode, and paths that no answer shows: on rules in place of models."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import example, given
from hypothesis import strategies as st

from nba_ml.cli.serve import serve
from nba_ml.contract.errors import SettingsError
from nba_ml.contract.features import V2_33FEATURES
from nba_ml.serving.http.access import OPEN, SHORTEST_TOKEN, Access
from nba_ml.serving.http.limits import Limits
from nba_ml.serving.http.problems import without_paths
from nba_ml.serving.http.service import app_of
from nba_ml.serving.rows import KEYS
from nba_ml.storage.directory import DirectoryStore
from nba_ml_tests.serving.client import JSON, Client, running
from nba_ml_tests.serving.rules import MONTHS, ROW, ours, point, rule_predictor, state_of

OLD, NEW = "old-" + "a" * 30, "new~" + "b" * 30
BODY = json.dumps(ROW).encode()


@pytest.fixture
def store(tmp_path: Path) -> DirectoryStore:
    made = DirectoryStore(tmp_path / "my models")
    point(made, state_of(7, ours(MONTHS[0])))
    return made


@pytest.mark.slow
def test_tokens_are_asked_for_and_shown_nowhere(
    monkeypatch: pytest.MonkeyPatch, store: DirectoryStore, caplog: pytest.LogCaptureFixture
) -> None:
    """Guards predictions and counters: each of the tokens opens them, nothing else does, and no text repeats one."""
    caplog.set_level(logging.DEBUG)
    access = Access.of(f" {OLD}, {NEW},")
    predictor = rule_predictor(monkeypatch, store)
    seen = b""
    with running(app_of(predictor, channel="champion", refresh_seconds=60.0, limits=Limits(), access=access)) as client:
        for token in (OLD, NEW):
            assert client.post("/predict", BODY, {**JSON, "Authorization": f"bearer {token}"}).status == 200
        wrong = (
            f"Bearer {OLD[:-1]}",
            f"Bearer {OLD}x",
            f"Basic {OLD}",
            OLD,
            "Bearer",
            "",
            f"Bearer {OLD},{NEW}",
            "Bearer é",
        )
        for sent in wrong:
            refused = client.post("/predict", BODY, {**JSON, "Authorization": sent})
            assert (refused.status, refused.headers["www-authenticate"]) == (401, 'Bearer realm="nba_ml"')
            seen += refused.body
        for path in ("/metrics", "/docs/model", "/nowhere", "/predict", "/docs/", "//health"):
            assert client.get(path).status == 401
        for path in sorted(OPEN):
            answer = client.get(path)
            assert answer.status == 200
            seen += answer.body
        assert b"docs/model" not in seen
    for secret in (OLD, NEW):
        assert secret not in caplog.text + str([vars(record) for record in caplog.records]) + repr(access)
        assert secret.encode() not in seen


@pytest.mark.slow
def test_a_body_without_a_token_is_not_read(monkeypatch: pytest.MonkeyPatch, store: DirectoryStore) -> None:
    """Guards memory: the answer comes before the body, and the connection ends."""
    access = Access.of(OLD)
    predictor = rule_predictor(monkeypatch, store)
    with running(app_of(predictor, channel=None, refresh_seconds=60.0, limits=Limits(), access=access)) as client:
        refused = Client(client.port).post("/predict", BODY, {**JSON, "Content-Length": "1000000000"})
        assert (refused.status, refused.headers["connection"]) == (401, "close")


@pytest.mark.parametrize(
    ("tokens", "words"),
    [
        ("short", "Token 1 of NBA_ML_TOKENS has 5 characters; the least is 32"),
        (f"{OLD},{'c' * (SHORTEST_TOKEN - 1)}", "Token 2 of NBA_ML_TOKENS has 31 characters"),
        (f"{OLD} {NEW}", "characters that a header cannot hold"),
        (f"{OLD}é", "characters that a header cannot hold"),
        (" , ", "has no token"),
    ],
    ids=["short", "second", "space", "accent", "none"],
)
def test_tokens_that_cannot_work(tokens: str, words: str) -> None:
    """Guards against a service that anyone can guess into, or that nobody can ask; the message has no token."""
    with pytest.raises(SettingsError, match=words) as refused:
        Access.of(tokens)
    assert all(each.strip() not in str(refused.value) for each in tokens.split(",") if each.strip())
    assert Access.of("").digests == Access.of(None).digests == ()


def test_a_token_is_no_option() -> None:
    """Guards against a token in the list of processes."""
    done = CliRunner().invoke(serve, ["--tokens", OLD])
    assert (done.exit_code, OLD in done.output) == (2, False)
    assert "Give tokens in NBA_ML_TOKENS" in done.output
    done = CliRunner().invoke(serve, ["--source", "/nowhere"], env={"NBA_ML_TOKENS": "short"})
    assert done.exit_code == 2
    assert "Token 1 of NBA_ML_TOKENS has 5 characters" in done.output


@pytest.mark.slow
def test_terse_names_fields_and_no_values(monkeypatch: pytest.MonkeyPatch, store: DirectoryStore) -> None:
    """Guards a log of a client's errors against what was sent: every field is named, with what it has to be."""
    predictor = rule_predictor(monkeypatch, store)
    secret = 987654.321
    row = {**dict.fromkeys(V2_33FEATURES.names, secret), **dict.fromkeys(KEYS, secret), "x": secret}
    bodies = [row, {**ROW, "vegas_points_line": None}, {"rows": [secret, {}]}]
    with running(
        app_of(predictor, channel=None, refresh_seconds=60.0, limits=Limits(), access=Access(terse=True))
    ) as client:
        answers = [client.predict(body) for body in bodies]
    for answer in answers:
        assert answer.status == 422
        assert "98765" not in answer.body.decode()
    problems = {each["field"]: each["problem"] for each in answers[0].json["errors"]}
    assert set(problems) == {*row}
    assert problems["fatigue_score"] == "must be a number, 0 to 100 (score)"
    assert problems["game_date"] == "must be a date such as 2025-01-15, or null"
    assert problems["x"] == "is not a known feature"
    [flag] = answers[1].json["errors"]
    assert flag["problem"] == "must be 0 or 1: 1 with a vegas_points_line, 0 without"
    assert len(answers[2].json["errors"]) == 34


@pytest.mark.slow
def test_no_answer_shows_where_the_files_are(monkeypatch: pytest.MonkeyPatch, store: DirectoryStore) -> None:
    """Guards against a map of the machine: a failure of the channel, and one of the model."""
    predictor = rule_predictor(monkeypatch, store)
    app = app_of(predictor, channel="champion", refresh_seconds=0.05, limits=Limits())
    with running(app) as client:
        (store.root / "xgboost_v1/channels/champion.json").write_text("{")
        failure = None
        while failure is None:
            failure = client.get("/health").json["channel"]["failure"]
        page = client.get("/docs/health").body.decode()
    assert "xgboost_v1/channels/champion.json" in failure
    for text in (failure, page):
        assert "my%20models" not in text
        assert "my models" not in text
        assert str(store.root.parent) not in text


names = st.text(st.characters(categories=["L", "N"], include_characters="._-"), min_size=1, max_size=8)


@given(parts=st.lists(names.filter(lambda name: set(name) != {"."}), min_size=2, max_size=5), quoted=st.booleans())
@example(parts=["srv", "models"], quoted=False)
def test_of_a_path_only_the_last_part_is_shown(parts: list[str], quoted: bool) -> None:
    path = "/" + "/".join(parts)
    for written in (path, f"file://{path}"):
        text = f"Cannot read '{written}': no." if quoted else f"Cannot read {written}"
        assert without_paths(text, "gs://bucket/") == text.replace(written, parts[-1])


def test_what_is_no_path_stays() -> None:
    text = "Ask https://storage.example/b/o or POST x/predict and/or 1/2, at gs://bucket/p/a/b.json; gs://other/c."
    assert without_paths(text, "gs://bucket/p/") == text.replace("gs://bucket/p/", "")
    assert without_paths("There is nothing at gs://bucket/p.", "gs://bucket/p/") == "There is nothing at the store."
