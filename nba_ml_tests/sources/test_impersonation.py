"""A log-in that acts as a service account: the file that gcloud writes, through our own opening code.

Google's two token services are a loopback server here; their addresses are constants of the library. All else is real.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from google.auth import iam, impersonated_credentials
from google.cloud import bigquery
from google.oauth2 import credentials

from nba_ml.contract.errors import SettingsError, SourceDataError
from nba_ml.sources.bigquery_connection import BigQueryConnection
from nba_ml.storage.cloud import open_cloud_store
from nba_ml_tests.cloud.bigquery import PROJECT
from nba_ml_tests.cloud.scripted import ScriptedService

pytestmark = pytest.mark.slow

TRAINER = "trainer@some-project.iam.gserviceaccount.com"
DENIED = {
    "error": {
        "code": 403,
        "message": "Permission 'iam.serviceAccounts.getAccessToken' denied on resource (or it may not exist).",
        "status": "PERMISSION_DENIED",
    }
}
REMEDY = r"iam.serviceAccounts.getAccessToken.*Grant it roles/iam.serviceAccountTokenCreator"


@dataclass
class Tokens:
    """Both token services. `asked` are the paths, with the token that was shown; `denied` refuses the account."""

    port: int = 0
    denied: bool = False
    asked: list[tuple[str, str | None]] = field(default_factory=list)

    def answer(self, path: str) -> tuple[int, dict[str, Any]]:
        if path == "/token":
            return 200, {"access_token": "of-the-person", "expires_in": 3600, "token_type": "Bearer"}
        if self.denied:
            return 403, DENIED
        return 200, {"accessToken": "of-the-account", "expireTime": "2099-01-01T00:00:00Z"}


@contextmanager
def token_services() -> Iterator[Tokens]:
    tokens = Tokens()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            tokens.asked.append((self.path, self.headers.get("Authorization")))
            status, body = tokens.answer(self.path)
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing: the tests look at `asked`."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    tokens.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield tokens
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def tokens(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Tokens]:
    """Logged in with `gcloud auth application-default login --impersonate-service-account`."""
    person = {"type": "authorized_user", "client_id": "x", "client_secret": "x", "refresh_token": "x"}
    made = {
        "type": "impersonated_service_account",
        "delegates": [],
        "service_account_impersonation_url": "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/"
        f"{TRAINER}:generateAccessToken",
        "source_credentials": person,
    }
    file = tmp_path / "application_default_credentials.json"
    file.write_text(json.dumps(made))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(file))
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    with token_services() as services:
        here = f"http://127.0.0.1:{services.port}"
        monkeypatch.setattr(iam, "_IAM_ENDPOINT", f"{here}/impersonate/{{}}")
        monkeypatch.setattr(credentials, "_GOOGLE_OAUTH2_TOKEN_ENDPOINT", f"{here}/token")
        yield services


def connection(scripted: ScriptedService) -> BigQueryConnection:
    """With the credentials of the machine, to a server of ours: not as for an emulator, which gets none."""

    @contextmanager
    def opened() -> Iterator[bigquery.Client]:
        yield bigquery.Client(project=PROJECT, client_options={"api_endpoint": scripted.endpoint})

    return BigQueryConnection(project=PROJECT, open_client=opened, deadline_seconds=30.0)


def test_queries_are_made_as_the_service_account(tokens: Tokens) -> None:
    """Guards against queries in the person's own name, and against a file of gcloud's that is not understood."""
    with ScriptedService() as scripted:
        scripted.finish_without_rows(0, 0)
        made = connection(scripted)
        assert made.rows("SELECT 1", {}, "test").num_rows == 0
        assert scripted.credentials == {"Bearer of-the-account"}
        with made.get_client() as client, made.read_client(client) as reader:
            assert reader.transport._credentials is client._credentials
    assert tokens.asked[:2] == [("/token", None), (f"/impersonate/{TRAINER}", "Bearer of-the-person")]


def test_objects_are_written_as_the_service_account(tokens: Tokens, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards against a bucket that is opened with another log-in than the tables."""
    monkeypatch.delenv("STORAGE_EMULATOR_HOST", raising=False)
    opened = open_cloud_store("gs://some-bucket/models")._client._credentials
    assert isinstance(opened, impersonated_credentials.Credentials)
    assert opened.service_account_email == TRAINER
    assert not tokens.asked, "opening asks for nothing"


def test_an_account_that_may_not_be_impersonated_is_named_with_the_role(
    tokens: Tokens, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards against 'renew your credentials' for somebody whose log-in is fine."""
    tokens.denied = True
    with ScriptedService() as scripted, pytest.raises(SourceDataError, match=REMEDY):
        connection(scripted).rows("SELECT 1", {}, "test")
    monkeypatch.delenv("STORAGE_EMULATOR_HOST", raising=False)
    with pytest.raises(Exception, match=REMEDY) as caught:
        open_cloud_store("gs://some-bucket/models").read("a")
    assert not isinstance(caught.value, SettingsError)
