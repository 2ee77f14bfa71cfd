"""A connection to BigQuery: a query's rows as Arrow, with limits and a deadline, and what was refused, in words."""

import math
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import date
from typing import Any

import grpc
import pyarrow as pa
import requests
from google.api_core.retry import Retry, if_exception_type
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery
from google.cloud.bigquery_storage import BigQueryReadClient
from google.cloud.bigquery_storage_v1.services.big_query_read.transports import BigQueryReadGrpcTransport
from requests.adapters import HTTPAdapter

from nba_ml.contract.errors import SettingsError
from nba_ml.sources.bigquery_errors import StillRunningError, explained, is_transient, require_bigquery

_TABLE = re.compile(r"([a-z][a-z0-9-]{4,28}[a-z0-9]\.)?[A-Za-z0-9_]+\.[A-Za-z0-9_]+")
"""`dataset.table` or `project.dataset.table`. A name cannot be a query parameter, so nothing else gets in."""

ONCE = Retry(predicate=if_exception_type())
"""The retry is over a whole query with its rows: a job that failed on the way is asked for anew."""

_STOP_SECONDS = 2.0
"""For each request that it takes to stop a query: an error is waiting to be told."""


@dataclass(frozen=True)
class BigQueryConnection:
    """How BigQuery is asked: as which project, where, and within which limits. Nothing is opened before it is asked.

    Attributes:
        endpoint: URL of an emulator's REST service. None: Google.
        storage_endpoint: host:port of an emulator's Storage Read service.
        maximum_bytes_billed: a query that would read more is refused, unbilled.
        deadline_seconds: the longest that a query may take, retries included.
        request_seconds: the longest that one request may be without an answer.
        open_client: opens a client with credentials of the caller's own. None: with the default credentials.
    """

    project: str | None = None
    location: str | None = None
    endpoint: str | None = None
    storage_endpoint: str | None = None
    maximum_bytes_billed: int = 2**30
    deadline_seconds: float = 120.0
    request_seconds: float = 30.0
    open_client: Callable[[], AbstractContextManager[bigquery.Client]] | None = None

    @contextmanager
    def get_client(self) -> Iterator[bigquery.Client]:
        """A client; an emulator's knows no credentials."""
        if self.endpoint is not None:
            yield bigquery.Client(
                project=self.project,
                location=self.location,
                credentials=AnonymousCredentials(),  # type: ignore[no-untyped-call]
                client_options={"api_endpoint": self.endpoint},
            )
        elif self.open_client is not None:
            with self.open_client() as client:
                yield client
        else:
            yield bigquery.Client(project=self.project, location=self.location)

    @contextmanager
    def read_client(self, client: bigquery.Client) -> Iterator[BigQueryReadClient]:
        """A client of the Storage Read API, for the same credentials.

        Its channel is closed at the end: the library reads each stream in a thread of its own, without a deadline,
        and a process waits for its threads. On a closed channel they end.
        """
        if self.storage_endpoint is None:
            reader = BigQueryReadClient(credentials=client._credentials)  # type: ignore[no-untyped-call]
        else:
            unlimited = [("grpc.max_receive_message_length", -1)]
            channel = grpc.insecure_channel(self.storage_endpoint, options=unlimited)
            transport = BigQueryReadGrpcTransport(channel=channel)
            reader = BigQueryReadClient(transport=transport)  # type: ignore[no-untyped-call]
        with reader:
            yield reader

    def rows(
        self, sql: str, parameters: Mapping[str, str | int | date], label: str, within: float | None = None
    ) -> pa.Table:
        """The result of a query, as Arrow through the Storage Read API.

        `within` is a deadline shorter than the connection's own, in seconds.

        Raises:
            SettingsError: no credentials.
            SourceDataError: BigQuery refuses, or does not answer within the deadline.
        """
        seconds = self.deadline_seconds if within is None else min(within, self.deadline_seconds)
        ends = time.monotonic() + seconds
        with (
            explained(self.project, seconds, self.maximum_bytes_billed),
            self.get_client() as client,
            self.read_client(client) as reader,
        ):
            client._http.hooks["response"].append(require_bigquery)
            retry = Retry(predicate=is_transient, initial=0.5, maximum=8.0, timeout=_left(ends))
            table: pa.Table = retry(self._rows_once)(client, reader, sql, parameters, label, ends)
        return table

    def _rows_once(
        self,
        client: bigquery.Client,
        reader: BigQueryReadClient,
        sql: str,
        parameters: Mapping[str, str | int | date],
        label: str,
        ends: float,
    ) -> pa.Table:
        mount(client, TimeoutAdapter(self.request_seconds, ends))
        config = bigquery.QueryJobConfig(
            query_parameters=[bigquery.ScalarQueryParameter(n, _TYPES[type(v)], v) for n, v in parameters.items()],
            maximum_bytes_billed=self.maximum_bytes_billed,
            job_timeout_ms=int(1000 * _left(ends)),  # it ends there too, if nobody is left here to stop it
            labels={"application": "nba_ml", "query": label},
        )
        job = client.query(sql, job_config=config, timeout=self.request_seconds, retry=ONCE, job_retry=None)
        with ExitStack() as given_up:
            given_up.callback(self._stop, client, job)
            try:
                result = job.result(timeout=_left(ends), retry=ONCE, job_retry=None)
            except TimeoutError as error:
                if time.monotonic() < ends:  # one request without an answer
                    raise
                raise StillRunningError(f"job {job.job_id}") from error
            given_up.pop_all()
        return result.to_arrow(bqstorage_client=reader, timeout=_left(ends))

    def _stop(self, client: bigquery.Client, job: bigquery.QueryJob) -> None:
        """Whoever gives a query up, be it by Ctrl-C, need not pay for the rest of it. Within a few seconds, or not."""
        if job.state == "DONE":
            return
        mount(client, TimeoutAdapter(min(_STOP_SECONDS, self.request_seconds)))
        with suppress(Exception):  # whatever it is, the error that led here is the one to tell of
            job.cancel(retry=ONCE)


def mount(client: bigquery.Client, impatient: "TimeoutAdapter") -> None:
    """Have all of a client's requests made so, those for its access tokens too."""
    for session in (client._http, client._http._auth_request_session):
        for scheme in ("https://", "http://"):
            session.mount(scheme, impatient)


class TimeoutAdapter(HTTPAdapter):
    """No request waits longer than so many seconds for a sign of life.

    The library waits 120 s and more for a query's results, whatever its caller says. Nor does one wait beyond `ends`,
    a moment of the monotonic clock.
    """

    def __init__(self, seconds: float, ends: float = math.inf) -> None:
        super().__init__()
        self._seconds = seconds
        self._ends = ends

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        return super().send(request, *args, **{**kwargs, "timeout": min(self._seconds, _left(self._ends))})


def _left(ends: float) -> float:
    """Seconds until then. Never none: to the libraries 0 is no limit, or an error."""
    return max(ends - time.monotonic(), 0.05)


_TYPES: Mapping[type, str] = {str: "STRING", int: "INT64", date: "DATE"}


def quoted_table(table: str, project: str | None) -> str:
    """The table as SQL names it: in backticks, with the project if `table` names none.

    Raises:
        SettingsError: not of the form `dataset.table` or `project.dataset.table`.
    """
    if not _TABLE.fullmatch(table):
        raise SettingsError(f"'{table}' is no BigQuery table. Write dataset.table, or project.dataset.table.")
    return f"`{table}`" if table.count(".") == 2 or project is None else f"`{project}.{table}`"
