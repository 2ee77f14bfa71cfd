"""The connection to BigQuery: what is asked again, what is told, and that every end comes in time."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.api_core import exceptions as gexc
from google.auth import exceptions as auth_exceptions
from google.cloud import bigquery
from google.rpc import error_details_pb2

from nba_ml.contract.errors import SettingsError, SourceDataError
from nba_ml.sources import bigquery_connection
from nba_ml.sources.bigquery_connection import BigQueryConnection, quoted_table
from nba_ml.sources.bigquery_errors import is_transient, reason
from nba_ml_tests.cloud.bigquery import PROJECT
from nba_ml_tests.cloud.scripted import Answer, ScriptedService, failed_job, refusal
from nba_ml_tests.mail import make_certificate, silent_server, webhook

pytestmark = pytest.mark.slow


@pytest.fixture
def scripted() -> Iterator[ScriptedService]:
    with ScriptedService() as service:
        yield service


# --- what BigQuery refuses ------------------------------------------------------------------------------------

REFUSALS = {
    "accessDenied": (
        403,
        "Access Denied: Project p: User does not have bigquery.jobs.create permission",
        "permission denied: .*roles/bigquery.jobUser",
    ),
    "responseTooLarge": (403, "Response too large to return.", "failed: .*Response too large"),
    "quotaExceeded": (403, "Custom quota exceeded: QueryUsagePerDay", "quota of the project is used up"),
    "billingNotEnabled": (403, "Billing has not been enabled for this project", "Link it to a billing account"),
    "accessNotConfigured": (403, "BigQuery API has not been used in project 1", "gcloud services enable bigquery"),
    "bytesBilledLimitExceeded": (
        400,
        "Query exceeded limit for bytes billed: 1000. 20971520 or higher required.",
        "would bill 20,971,520 bytes, and the limit NBA_ML_BIGQUERY_MAX_BYTES is 1,073,741,824.*not billed"
        ".*MAX_BYTES=20971520 or more",
    ),
    "invalidQuery": (400, "Unrecognized name: player_lookup", "must have the columns listed in docs"),
    "notFound": (404, "Not found: Project no-such-project", "Check NBA_ML_BIGQUERY_PROJECT"),
    "timeout": (400, "Operation timed out after 0.02 hours.", "after the limit of 60 s .* was cancelled"),
    "stopped": (
        400,
        "Job execution was cancelled: Job timed out",
        "after the limit of 60 s .* was cancelled",
    ),
}


@pytest.mark.parametrize("form", ["answer", "job"])
@pytest.mark.parametrize("why", REFUSALS)
def test_what_google_refuses_is_said_with_what_to_do(scripted: ScriptedService, why: str, form: str) -> None:
    """Guards against a user left alone with a status code, or sent to mend what is not broken.

    The emulator knows no permissions and no limits. Google refuses in two forms: an HTTP error, and a job that failed.
    """
    status, message, remedy = REFUSALS[why]
    scripted.answer_always(refusal(status, message, why) if form == "answer" else failed_job(message, why))
    with pytest.raises(SourceDataError, match=remedy) as caught:
        scripted.connection().rows("SELECT 1", {}, "test")
    assert message in str(caught.value) or why == "bytesBilledLimitExceeded"
    assert ("roles/" in str(caught.value)) == (why == "accessDenied")
    assert scripted.asked == ["insert"], "a refusal is not asked for again"


PASSING = [
    (403, "rateLimitExceeded"),
    (400, "jobRateLimitExceeded"),
    (400, "jobBackendError"),
    (400, "jobInternalError"),
    (503, "backendError"),
    (429, "somethingElse"),
    (500, "internalError"),
    (502, "somethingElse"),
    (504, "somethingElse"),
]


@pytest.mark.parametrize(("status", "why"), PASSING)
def test_what_passes_is_asked_again(scripted: ScriptedService, status: int, why: str) -> None:
    """Guards against a backfill that dies of one bad minute: what the second try finds is what is told."""
    scripted.answer_always(refusal(404, "Not found: Table t", "notFound"))
    scripted.answer_in_turn("insert", refusal(status, "try again later", why), None)
    with pytest.raises(SourceDataError, match=r"not found: .*Table t"):
        scripted.connection().rows("SELECT 1", {}, "test")
    assert scripted.asked == ["insert", "insert"]


@pytest.mark.parametrize("why", ["rateLimitExceeded", "jobRateLimitExceeded", "backendError", "jobInternalError"])
def test_a_job_that_failed_in_passing_is_asked_for_anew(scripted: ScriptedService, why: str) -> None:
    """Guards against the same minute, met by a query that had begun."""
    scripted.answer_always(refusal(404, "Not found: Table t", "notFound"))
    scripted.answer_in_turn("insert", failed_job("try again later", why), None)
    with pytest.raises(SourceDataError, match=r"not found: .*Table t"):
        scripted.connection().rows("SELECT 1", {}, "test")
    assert scripted.asked == ["insert", "insert"]


def test_what_does_not_pass_is_given_up_at_the_deadline(scripted: ScriptedService) -> None:
    """Guards against a run that waits for ever."""
    scripted.answer_always(refusal(503, "try again later", "backendError"))
    with pytest.raises(SourceDataError, match=r"did not answer within 2 s; the last error was: "):
        scripted.connection(deadline_seconds=2.0).rows("SELECT 1", {}, "test")


def test_reasons_go_before_classes() -> None:
    """Guards against two minutes of asking a switched-off API, which the Storage Read API says in its own way."""
    off = error_details_pb2.ErrorInfo(reason="SERVICE_DISABLED", domain="googleapis.com")
    assert reason(gexc.PermissionDenied("...", error_info=off)) == "SERVICE_DISABLED"
    assert not is_transient(gexc.TooManyRequests("...", errors=[{"reason": "quotaExceeded"}]))
    assert is_transient(gexc.ServiceUnavailable("..."))
    assert is_transient(auth_exceptions.RefreshError("...", retryable=True))
    assert not is_transient(auth_exceptions.RefreshError("invalid_grant"))


# --- what is not BigQuery -------------------------------------------------------------------------------------

STRANGERS = {
    "a log-in page": Answer(200, b"<html>log in</html>", "text/html"),
    "an empty object": Answer(200, b"{}"),
    "a list": Answer(200, b"[]"),
    "nothing": Answer(200, b""),
    "a proxy that forbids": Answer(403, b"<html>Forbidden by proxy</html>", "text/html"),
    "a proxy with a password": Answer(407, b"who are you?", "text/plain"),
    "another server": Answer(404, b"<html>no such page</html>", "text/html"),
    "another API's error": Answer(503, b'{"error": "no upstream"}'),
    "a server of files": Answer(501, b"Unsupported method ('POST')", "text/html"),
}


@pytest.mark.parametrize("who", STRANGERS)
def test_what_answers_and_is_not_bigquery_is_named(scripted: ScriptedService, who: str) -> None:
    """Guards against a KeyError of the library's for a log-in page or a mistyped port, and against roles to grant."""
    scripted.answer_always(STRANGERS[who])
    with pytest.raises(
        SourceDataError, match=r"something other than BigQuery answered: .*BIGQUERY_EMULATOR_HOST"
    ) as caught:
        scripted.connection().rows("SELECT 1", {}, "test")
    assert scripted.endpoint in str(caught.value)
    assert f"status {STRANGERS[who].status}, {STRANGERS[who].kind}" in str(caught.value)
    assert scripted.asked == ["insert"]


def test_a_redirect_to_a_log_in_page_is_named(scripted: ScriptedService) -> None:
    """Guards against the page behind a redirect being taken for the answer."""
    scripted.answer_always(Answer(200, b"<html>log in</html>", "text/html"))
    scripted.answer_in_turn("insert", Answer(302, b"", location=f"{scripted.endpoint}/login"))
    with pytest.raises(SourceDataError, match=r"something other than BigQuery answered: .*log in"):
        scripted.connection().rows("SELECT 1", {}, "test")


def test_a_server_in_front_that_is_busy_in_its_own_words_is_asked_again(scripted: ScriptedService) -> None:
    """Guards against Google's own front end, whose 502 is a page, being called a stranger."""
    scripted.answer_always(refusal(404, "Not found: Table t", "notFound"))
    scripted.answer_in_turn("insert", Answer(502, b"<html>Error 502 (Server Error)</html>", "text/html"), None)
    with pytest.raises(SourceDataError, match=r"not found: .*Table t"):
        scripted.connection().rows("SELECT 1", {}, "test")


def test_a_certificate_that_is_not_trusted(tmp_path: Path) -> None:
    """Guards against two minutes of asking a company's proxy for a certificate that it does not have."""
    with webhook(make_certificate(tmp_path)) as server:
        connection = BigQueryConnection(
            project=PROJECT, endpoint=server.url.partition("/hooks")[0], storage_endpoint="127.0.0.1:1"
        )
        with pytest.raises(SourceDataError, match=r"the server's certificate is not trusted.*REQUESTS_CA_BUNDLE"):
            connection.rows("SELECT 1", {}, "test")


# --- credentials ----------------------------------------------------------------------------------------------


@pytest.fixture
def no_login(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """A machine where nobody has logged in, outside of Google's."""
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    return monkeypatch


@pytest.mark.usefixtures("no_login")
def test_no_credentials() -> None:
    """Guards against a traceback for somebody who has not logged in."""
    with pytest.raises(SettingsError, match=r"no usable credentials: .*Set GOOGLE_APPLICATION_CREDENTIALS") as caught:
        BigQueryConnection(project=PROJECT).rows("SELECT 1", {}, "test")
    assert isinstance(caught.value.__cause__, auth_exceptions.DefaultCredentialsError)


KEY_FILES = {
    None: "File {file} was not found",
    "not json": "File {file} is not a valid json file: Expecting value",
    '{"type": "service_account"}': "{file}: .*missing fields .*client_email",
}


@pytest.mark.parametrize("content", KEY_FILES)
def test_a_key_file_that_is_none_is_named(no_login: pytest.MonkeyPatch, tmp_path: Path, content: str | None) -> None:
    """Guards against 'set GOOGLE_APPLICATION_CREDENTIALS' for somebody who has set it, to a wrong file."""
    file = tmp_path / "key.json"
    if content is not None:
        file.write_text(content)
    no_login.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(file))
    with pytest.raises(SettingsError, match=f"no usable credentials: .*{KEY_FILES[content].format(file=file)}"):
        BigQueryConnection(project=PROJECT).rows("SELECT 1", {}, "test")


def test_an_emulator_that_wants_credentials(scripted: ScriptedService) -> None:
    """Guards against a hunt for a key file where an emulator's address is wrong: it is asked without one."""
    scripted.answer_always(refusal(401, "Invalid Credentials", "authError"))
    with pytest.raises(SettingsError, match=r"BIGQUERY_EMULATOR_HOST requires credentials \(status 401\)"):
        scripted.connection().rows("SELECT 1", {}, "test")


def test_an_access_token_that_never_comes(no_login: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Guards the first request of all in production, the token's, which the library makes apart from the others."""
    key = rsa.generate_private_key(65537, 2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with silent_server() as port:
        account = {
            "type": "service_account",
            "client_email": "trainer@some-project.iam.gserviceaccount.com",
            "private_key": key.decode(),
            "token_uri": f"https://127.0.0.1:{port}/token",
        }
        file = tmp_path / "key.json"
        file.write_text(json.dumps(account))
        no_login.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(file))
        connection = BigQueryConnection(project=PROJECT, deadline_seconds=1.0, request_seconds=20.0)
        with pytest.raises(SourceDataError, match=r"did not answer within 1 s.*Read timed out\. \(read timeout=[01]\."):
            connection.rows("SELECT 1", {}, "test")


# --- the deadline ---------------------------------------------------------------------------------------------


def test_a_network_that_hangs_ends_in_an_error() -> None:
    """Guards against a run that stands still for a day."""
    with silent_server() as port:
        connection = BigQueryConnection(
            project=PROJECT,
            endpoint=f"http://127.0.0.1:{port}",
            storage_endpoint="127.0.0.1:1",
            deadline_seconds=2.0,
            request_seconds=0.5,
        )
        with pytest.raises(SourceDataError, match="did not answer within 2 s"):
            connection.rows("SELECT 1", {}, "test")


@pytest.fixture
def late(scripted: ScriptedService, monkeypatch: pytest.MonkeyPatch) -> None:
    """A query that does not end, and a clock on which its deadline comes as soon as its results are asked for."""
    scripted.never_finish()
    clock = SimpleNamespace(monotonic=lambda: time.monotonic() + (1000.0 if "results" in scripted.asked else 0.0))
    monkeypatch.setattr(bigquery_connection, "time", clock)


@pytest.mark.usefixtures("late")
def test_a_query_that_does_not_end_is_stopped(scripted: ScriptedService) -> None:
    """Guards against a query that goes on, and is paid for, when nobody waits for it any more."""
    with pytest.raises(SourceDataError, match=r"running after the limit of 60 s .* was cancelled: job ") as caught:
        scripted.connection().rows("SELECT 1", {}, "test")
    (request,) = scripted.requests
    assert request["jobReference"]["jobId"] in str(caught.value)
    assert scripted.asked[-1] == "cancel"
    assert scripted.asked.count("cancel") == scripted.asked.count("insert") == 1
    assert 0 < int(request["configuration"]["jobTimeoutMs"]) <= 60_000, "it ends there too, if this process dies"


@pytest.mark.usefixtures("late")
@pytest.mark.parametrize("answer", [refusal(403, "may not cancel", "accessDenied"), Answer(200, b"log in"), None])
def test_a_query_that_cannot_be_stopped_hides_no_error(scripted: ScriptedService, answer: Answer | None) -> None:
    """Guards against the wrong one of two errors being told, and against waiting for the second."""
    with silent_server() as port:
        elsewhere = Answer(307, b"", location=f"http://127.0.0.1:{port}/")
        scripted.answer_in_turn("cancel", answer or elsewhere)
        with pytest.raises(SourceDataError, match="was still running after the limit of 60 s"):
            scripted.connection().rows("SELECT 1", {}, "test")
    assert scripted.asked[-1] == "cancel"


def test_a_query_given_up_on_the_way_is_stopped(scripted: ScriptedService) -> None:
    """Guards against two queries paid for, where the second is asked because an answer about the first was lost."""
    scripted.never_finish()
    scripted.answer_in_turn("results", refusal(503, "try again later", "backendError"), None)
    scripted.answer_in_turn("insert", None, refusal(404, "Not found: Table t", "notFound"))
    with pytest.raises(SourceDataError, match=r"not found: .*Table t"):
        scripted.connection().rows("SELECT 1", {}, "test")
    assert scripted.asked == ["insert", "get", "results", "cancel", "insert"]


@pytest.mark.parametrize(("connection", "within"), [(20.0, 1.0), (1.0, 20.0)])
def test_who_has_less_time_has_it_as_the_deadline(scripted: ScriptedService, connection: float, within: float) -> None:
    """Guards the shorter of two deadlines, whichever it is."""
    scripted.never_finish()
    with pytest.raises(SourceDataError, match=r"(after the limit of|within) 1 s"):
        scripted.connection(deadline_seconds=connection).rows("SELECT 1", {}, "test", within)


@pytest.mark.parametrize("project", ["my-project", "example.com:my-project", "a-b.example.co.uk:my-project-2"])
@pytest.mark.parametrize("table", ["my_data.my-table", "my_data.my_table"])
def test_projects_may_have_hyphens_and_domains(project: str, table: str) -> None:
    """Guards against a table that is looked for in another project, since its name was cut at a colon or a hyphen."""
    for name in (quoted_table(table, project), quoted_table(f"{project}.{table}", "other-project")):
        found = bigquery.TableReference.from_string(name.strip("`"), default_project="other-project")
        assert (name, found.project) == (f"`{project}.{table}`", project)


@pytest.mark.parametrize(
    ("table", "project"),
    [
        ("my-project:d.t", "other-project"),  # as `bq` writes it
        (".com:my-project.d.t", "other-project"),
        ("example.com:d.t", "other-project"),
        ("example.com:my-project:d.t", "other-project"),
        ("d.t", "my project"),
        ("d.t", "p` WHERE TRUE --"),
        ("d.t", "example:my-project"),
    ],
)
def test_names_of_no_table_or_project_are_refused(table: str, project: str) -> None:
    """Guards against SQL in a setting."""
    with pytest.raises(SettingsError, match=r"is not a valid BigQuery table|NBA_ML_BIGQUERY_PROJECT is"):
        quoted_table(table, project)
