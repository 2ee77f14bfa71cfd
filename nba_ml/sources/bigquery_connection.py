"""A connection to BigQuery: returns a query's rows as Arrow, with cost limits, a deadline and readable errors."""

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
from nba_ml.sources.job_costs import JobCost, record_job

_DOMAIN = r"(?:[a-z0-9-]+(?:\.[a-z0-9-]+)+:)?"
"""A project may be of a domain: `example.com:my-project`."""

_PROJECT = re.compile(rf"{_DOMAIN}[a-z0-9-]+")

_TABLE = re.compile(rf"({_DOMAIN}[a-z][a-z0-9-]{{4,28}}[a-z0-9]\.)?[A-Za-z0-9_]+\.\w+(?:-\w+)*")
"""`dataset.table` or `project.dataset.table`. A name cannot be a query parameter, so nothing else is accepted."""

ONCE = Retry(predicate=if_exception_type())
"""No retries of single requests: a failed query is retried as a whole."""

_STOP_SECONDS = 2.0
"""Timeout of each request that cancels a query; short, because an error is waiting to be reported."""


@dataclass(frozen=True)
class BigQueryConnection:
    """How to query BigQuery: the project, the location and the limits. Opens nothing before the first query.

    Attributes:
        endpoint: URL of an emulator's REST service. None: Google.
        storage_endpoint: host:port of an emulator's Storage Read service.
        maximum_bytes_billed: BigQuery rejects a query that would read more, without charge.
        deadline_seconds: time limit of a query, including retries.
        request_seconds: time limit of one request.
        open_client: opens a client with the caller's own credentials. None: the default credentials.
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
        """A client; anonymous for an emulator."""
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

        Its channel is closed at the end. The library reads each stream in its own thread without a deadline, and the
        process would wait for these threads; they end when the channel is closed.
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
            SettingsError: there are no usable credentials.
            SourceDataError: BigQuery rejects the query, or does not answer within the deadline.
        """
        with self._asking(within) as (client, retry, ends), self.read_client(client) as reader:
            table: pa.Table = retry(self._rows_once)(client, reader, sql, parameters, label, ends)
        return table

    def columns(self, table: str, within: float | None = None) -> dict[str, str]:
        """A table's or view's columns: name in lower case -> type (`type_of`). Free of charge.

        Args:
            table: the name from `quoted_table`.
            within: as for `rows`.

        Raises:
            SettingsError, SourceDataError: as for `rows`.
        """
        with self._asking(within) as (client, retry, _):
            reference = bigquery.TableReference.from_string(table.strip("`"), default_project=client.project)
            found = retry(client.get_table)(reference, retry=ONCE)
        return {field.name.lower(): type_of(field) for field in found.schema}

    def estimate(self, sql: str) -> int:
        """Bytes that a query would read, by a dry run. Free of charge; 0 from an emulator.

        Raises:
            SettingsError, SourceDataError: as for `rows`.
        """
        with self._asking() as (client, retry, _):
            config = bigquery.QueryJobConfig(dry_run=True, use_query_cache=False)
            job = retry(client.query)(sql, job_config=config, timeout=self.request_seconds, retry=ONCE, job_retry=None)
        return job.total_bytes_processed or 0

    @contextmanager
    def _asking(self, within: float | None = None) -> Iterator[tuple[bigquery.Client, Retry, float]]:
        """A client, what repeats its failed requests, and the end of both by the monotonic clock. Explains errors."""
        seconds = self.deadline_seconds if within is None else min(within, self.deadline_seconds)
        ends = time.monotonic() + seconds
        with explained(self.project, round(seconds, 1), self.maximum_bytes_billed), self.get_client() as client:
            client._http.hooks["response"].append(require_bigquery)
            mount(client, TimeoutAdapter(self.request_seconds, ends))
            yield client, Retry(predicate=is_transient, initial=0.5, maximum=8.0, timeout=_left(ends)), ends

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
            job_timeout_ms=int(1000 * _left(ends)),  # BigQuery ends it too, in case this process dies
            labels={"application": "nba_ml", "query": label},
        )
        job = client.query(sql, job_config=config, timeout=self.request_seconds, retry=ONCE, job_retry=None)
        with ExitStack() as on_failure:
            on_failure.callback(self._stop, client, job)
            try:
                result = job.result(timeout=_left(ends), retry=ONCE, job_retry=None)
            except TimeoutError as error:
                if time.monotonic() < ends:  # one request without an answer
                    raise
                raise StillRunningError(f"job {job.job_id}") from error
            on_failure.pop_all()
        record_job(cost_of(job, label))
        rows: pa.Table = result.to_arrow(bqstorage_client=reader, timeout=_left(ends))
        if rows.num_rows != result.total_rows:
            raise ConnectionError(f"{rows.num_rows:,} of {result.total_rows:,} rows arrived")
        return rows

    def _stop(self, client: bigquery.Client, job: bigquery.QueryJob) -> None:
        """Try for a few seconds to cancel an abandoned query, also after Ctrl-C, so that it is not billed further."""
        if job.state == "DONE":
            return
        mount(client, TimeoutAdapter(min(_STOP_SECONDS, self.request_seconds)))
        with suppress(Exception):  # the original error is the one to report
            job.cancel(retry=ONCE)


def cost_of(job: bigquery.QueryJob, label: str) -> JobCost:
    """What a finished query cost. An emulator reports nothing, which counts as 0."""
    return JobCost(job.job_id, label, job.total_bytes_billed or 0, (job.slot_millis or 0) / 1000)


def mount(client: bigquery.Client, adapter: "TimeoutAdapter") -> None:
    """Use the adapter for all of a client's requests, including those for access tokens."""
    for session in (client._http, client._http._auth_request_session):
        for scheme in ("https://", "http://"):
            session.mount(scheme, adapter)


class TimeoutAdapter(HTTPAdapter):
    """Limits how long a request waits for a response: `seconds`, and not beyond `ends` (monotonic clock).

    The library waits 120 s or more for a query's results, regardless of the caller's timeout.
    """

    def __init__(self, seconds: float, ends: float = math.inf) -> None:
        super().__init__()
        self._seconds = seconds
        self._ends = ends

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        return super().send(request, *args, **{**kwargs, "timeout": min(self._seconds, _left(self._ends))})


def _left(ends: float) -> float:
    """Seconds until then, at least 0.05: the libraries treat 0 as no limit or as an error."""
    return max(ends - time.monotonic(), 0.05)


_TYPES: Mapping[type, str] = {str: "STRING", int: "INT64", date: "DATE"}


def quoted_table(table: str, project: str | None) -> str:
    """The table's name for SQL: in backticks, with the project if `table` has none.

    Raises:
        SettingsError: it does not have the form `dataset.table` or `project.dataset.table`, or the project is invalid.
    """
    match = _TABLE.fullmatch(table)
    if match is None:
        raise SettingsError(
            f"'{table}' is not a valid BigQuery table. Write dataset.table or project.dataset.table, also where `bq` "
            "has a colon after the project."
        )
    if match[1] or project is None:
        return f"`{table}`"
    if _PROJECT.fullmatch(project) is None:
        raise SettingsError(
            f"NBA_ML_BIGQUERY_PROJECT is '{project}'. Set it to a project's id, for example my-project or "
            "example.com:my-project."
        )
    return f"`{project}.{table}`"


def type_of(field: bigquery.SchemaField) -> str:
    """A column's type as in SQL, without parameters: the API has older names for some."""
    kind = _SQL_TYPES.get(field.field_type, field.field_type)
    return f"ARRAY<{kind}>" if field.mode == "REPEATED" else kind


_SQL_TYPES = {"BOOLEAN": "BOOL", "INTEGER": "INT64", "FLOAT": "FLOAT64", "RECORD": "STRUCT"}
