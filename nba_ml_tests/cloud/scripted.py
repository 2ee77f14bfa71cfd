"""A loopback server that says what Google says, where an emulator never would: no permission, over a limit.

The client under test is the real one, and speaks HTTP with it; the words are Google's own. And what says nothing of
Google's at all: another server on that port, a network's log-in page.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from nba_ml.sources.bigquery_connection import BigQueryConnection
from nba_ml.sources.table_columns import FEATURE_COLUMNS, RESULT_COLUMNS
from nba_ml_tests.cloud.bigquery import PROJECT

_HELD = 0.2
"""Seconds for which a query's results are waited for before the answer is that there are none yet. Google: 10."""


@dataclass(frozen=True)
class Answer:
    """A status with a body, and what kind of body that is."""

    status: int
    body: bytes
    kind: str = "application/json"
    location: str = ""


Script = Answer | Callable[[str], Answer]
"""An answer, or what makes one for the id of the job that was asked for last."""


def refusal(status: int, message: str, reason: str) -> Answer:
    """An error in the form that Google's services give it."""
    error = {"code": status, "message": message, "errors": [{"message": message, "reason": reason}]}
    return Answer(status, json.dumps({"error": error}).encode())


def failed_job(message: str, reason: str) -> Script:
    """A job that has failed: how Google refuses what shows only when it runs."""
    error = {"message": message, "reason": reason}
    return lambda job: _job(job, {"state": "DONE", "errorResult": error, "errors": [error]})


class ScriptedService:
    """A BigQuery REST service with its answers written down.

    `requests` are the bodies that it was sent; `asked` the calls: insert, get, results, cancel. Every table exists,
    with the columns that are needed; requests for one are not among `asked`. `credentials` are the values of the header
    Authorization.
    """

    def __init__(self) -> None:
        self.requests: list[Any] = []
        self.asked: list[str] = []
        self.credentials: set[str | None] = set()
        self._answers: dict[str, list[Script]] = {}
        self._ended = threading.Event()
        service = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self) -> None:
                if body := self.rfile.read(int(self.headers.get("Content-Length") or 0)):
                    service.requests.append(json.loads(body))
                service.credentials.add(self.headers.get("Authorization"))
                answer = service._answer(self.command, self.path.partition("?")[0])
                self.send_response(answer.status)
                self.send_header("Content-Type", answer.kind)
                self.send_header("Content-Length", str(len(answer.body)))
                if answer.location:
                    self.send_header("Location", answer.location)
                self.end_headers()
                self.wfile.write(answer.body)

            do_GET = do_POST = handle_any  # noqa: N815 - the names that the base class calls

            def log_message(self, format: str, *args: Any) -> None:
                """Nothing: the tests look at `requests`."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> ScriptedService:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._server.shutdown()
        self._server.server_close()

    def answer_always(self, answer: Script) -> None:
        """Answer every request so, whatever it asks."""
        self._answers = {call: [answer] for call in ("insert", "get", "results", "cancel")}

    def finish_without_rows(self, bytes_billed: int, slot_millis: int) -> None:
        """Run every query to its end: it finds nothing, and costs that much."""
        cost = {"totalBytesBilled": str(bytes_billed), "totalSlotMs": str(slot_millis)}
        self.answer_always(lambda job: _job(job, {"state": "DONE"}, {"query": cost}))
        self._answers["results"] = [_no_rows]

    def answer_in_turn(self, call: str, *answers: Script | None) -> None:
        """Answer the first such call with the first, and so on; the last stays. None: as was said before."""
        (before,) = self._answers[call]
        self._answers[call] = [before if answer is None else answer for answer in answers]

    def never_finish(self) -> None:
        """Accept every query, and run it for ever."""
        self.answer_always(lambda job: _job(job, {"state": "RUNNING"}))
        self._answers["results"] = [self._not_yet]

    def connection(self, **changes: Any) -> BigQueryConnection:
        """The connection under test, to this server."""
        fields: dict[str, Any] = {
            "project": PROJECT,
            "endpoint": self.endpoint,
            "storage_endpoint": "127.0.0.1:1",
            "deadline_seconds": 60.0,
        }
        return BigQueryConnection(**{**fields, **changes})

    def _answer(self, method: str, path: str) -> Answer:
        if method == "POST":
            call = "cancel" if path.endswith("/cancel") else "insert"
        else:
            call = "results" if "/queries/" in path else "get"
        if "/tables/" in path:
            return _table(path)
        self.asked.append(call)
        answers = self._answers[call]
        job = self.requests[-1]["jobReference"]["jobId"] if self.requests else ""
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        return answer if isinstance(answer, Answer) else answer(job)

    def _not_yet(self, job: str) -> Answer:
        self._ended.wait(_HELD)
        return Answer(200, json.dumps({"jobComplete": False, "jobReference": _reference(job)}).encode())


def _table(path: str) -> Answer:
    *_, dataset, _, table = path.split("/")
    columns = {**FEATURE_COLUMNS, **RESULT_COLUMNS}
    fields = [
        {
            "name": name,
            "type": types[0].removeprefix("ARRAY<").removesuffix(">"),
            "mode": "REPEATED" if types[0].startswith("ARRAY") else "NULLABLE",
        }
        for name, types in columns.items()
    ]
    reference = {"projectId": PROJECT, "datasetId": dataset, "tableId": table}
    return Answer(200, json.dumps({"tableReference": reference, "schema": {"fields": fields}}).encode())


def _reference(job: str) -> dict[str, str]:
    return {"projectId": PROJECT, "jobId": job, "location": "US"}


def _no_rows(job: str) -> Answer:
    schema = {"fields": [{"name": "month", "type": "STRING"}]}
    answer = {"jobComplete": True, "jobReference": _reference(job), "schema": schema, "totalRows": "0", "rows": []}
    return Answer(200, json.dumps(answer).encode())


def _job(job: str, status: dict[str, Any], statistics: dict[str, Any] | None = None) -> Answer:
    """A query's job, also as what is said of it when it is cancelled."""
    made = {
        "kind": "bigquery#job",
        "jobReference": _reference(job),
        "configuration": {"jobType": "QUERY", "query": {"query": "SELECT 1"}},
        "status": status,
        "statistics": statistics or {},
    }
    return Answer(200, json.dumps({**made, "job": made}).encode())
