"""A connection to BigQuery: a query's rows as Arrow, with limits and a deadline, and what was refused, in words."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import date
from typing import Any

import grpc
import pyarrow as pa
import requests
from dagster_gcp import BigQueryResource
from google.api_core import exceptions as gexc
from google.api_core.retry import Retry, if_exception_type
from google.auth import exceptions as auth_exceptions
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery
from google.cloud.bigquery_storage import BigQueryReadClient
from google.cloud.bigquery_storage_v1.services.big_query_read.transports import BigQueryReadGrpcTransport
from pydantic import Field
from requests.adapters import HTTPAdapter

from nba_ml.core.errors import SettingsError, SourceDataError

_TABLE = re.compile(r"([a-z][a-z0-9-]{4,28}[a-z0-9]\.)?[A-Za-z0-9_]+\.[A-Za-z0-9_]+")
"""`dataset.table` or `project.dataset.table`. A name cannot be a query parameter, so nothing else gets in."""

TRANSIENT = (
    gexc.TooManyRequests,
    gexc.InternalServerError,
    gexc.BadGateway,
    gexc.ServiceUnavailable,
    gexc.GatewayTimeout,
    gexc.Aborted,
    requests.ConnectionError,
    requests.Timeout,
    requests.exceptions.ChunkedEncodingError,
    auth_exceptions.TransportError,
    ConnectionError,
    TimeoutError,
)
"""What may go away by itself. Every query here only reads, so asking again is always safe."""

ONCE = Retry(predicate=if_exception_type())
"""The retry is over a whole query with its rows: a job that failed on the way is asked for anew."""


class BigQueryConnection(BigQueryResource):
    """dagster-gcp's resource, and what it lacks: an endpoint (an emulator's), limits, labels, a deadline."""

    endpoint: str | None = Field(default=None, description="URL of an emulator's REST service. None: Google.")
    storage_endpoint: str | None = Field(default=None, description="host:port of an emulator's Storage Read service.")
    maximum_bytes_billed: int = Field(default=2**30, description="A query that would read more is refused, unbilled.")
    deadline_seconds: float = Field(default=120.0, description="The longest that a query may take, retries included.")
    request_seconds: float = Field(default=30.0, description="The longest that one request may be without an answer.")

    @contextmanager
    def get_client(self) -> Iterator[bigquery.Client]:
        """A client; an emulator's knows no credentials."""
        if self.endpoint is None:
            with super().get_client() as client:
                yield client
        else:
            yield bigquery.Client(
                project=self.project,
                location=self.location,
                credentials=AnonymousCredentials(),  # type: ignore[no-untyped-call]
                client_options={"api_endpoint": self.endpoint},
            )

    @contextmanager
    def read_client(self, client: bigquery.Client) -> Iterator[BigQueryReadClient]:
        """A client of the Storage Read API, for the same credentials."""
        if self.storage_endpoint is None:
            yield BigQueryReadClient(credentials=client._credentials)  # type: ignore[no-untyped-call]
            return
        unlimited = [("grpc.max_receive_message_length", -1)]
        with grpc.insecure_channel(self.storage_endpoint, options=unlimited) as channel:
            transport = BigQueryReadGrpcTransport(channel=channel)
            yield BigQueryReadClient(transport=transport)  # type: ignore[no-untyped-call]

    def rows(self, sql: str, parameters: Mapping[str, str | int | date], label: str) -> pa.Table:
        """The result of a query, as Arrow through the Storage Read API.

        Raises:
            SettingsError: no credentials.
            SourceDataError: BigQuery refuses, or does not answer within the deadline.
        """
        transient = if_exception_type(*TRANSIENT)
        retry = Retry(predicate=transient, initial=0.5, maximum=8.0, timeout=self.deadline_seconds)
        with self._explained(), self.get_client() as client, self.read_client(client) as reader:
            for scheme in ("https://", "http://"):
                client._http.mount(scheme, Impatient(self.request_seconds))
            table: pa.Table = retry(self._rows_once)(client, reader, sql, parameters, label)
        return table

    def _rows_once(
        self,
        client: bigquery.Client,
        reader: BigQueryReadClient,
        sql: str,
        parameters: Mapping[str, str | int | date],
        label: str,
    ) -> pa.Table:
        config = bigquery.QueryJobConfig(
            query_parameters=[bigquery.ScalarQueryParameter(n, _TYPES[type(v)], v) for n, v in parameters.items()],
            maximum_bytes_billed=self.maximum_bytes_billed,
            labels={"application": "nba_ml", "query": label},
        )
        job = client.query(sql, job_config=config, timeout=self.request_seconds, retry=ONCE, job_retry=None)
        result = job.result(timeout=self.deadline_seconds, retry=ONCE, job_retry=None)
        return result.to_arrow(bqstorage_client=reader, timeout=self.deadline_seconds)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """What went wrong, as one paragraph with what to do."""
        where = f"BigQuery, project {self.project}"
        try:
            yield
        except auth_exceptions.DefaultCredentialsError as error:
            raise SettingsError(
                f"{where}: no credentials were found. Set GOOGLE_APPLICATION_CREDENTIALS to a service account's key "
                "file, or run `gcloud auth application-default login`."
            ) from error
        except gexc.Forbidden as error:
            raise SourceDataError(
                f"{where}: permission denied: {said(error)} The account needs roles/bigquery.jobUser and "
                "roles/bigquery.readSessionUser on the project, and roles/bigquery.dataViewer on both datasets."
            ) from error
        except (gexc.Unauthenticated, auth_exceptions.RefreshError) as error:
            raise SourceDataError(
                f"{where}: the credentials were not accepted: {said(error)} Renew them, or name another key file in "
                "GOOGLE_APPLICATION_CREDENTIALS."
            ) from error
        except gexc.NotFound as error:
            raise SourceDataError(
                f"{where}: not found: {said(error)} Check NBA_ML_BIGQUERY_PROJECT, NBA_ML_FEATURE_TABLE, "
                "NBA_ML_SUMMARY_TABLE, and NBA_ML_BIGQUERY_LOCATION if the datasets are outside the US."
            ) from error
        except gexc.BadRequest as error:
            words = said(error)
            limit = "bytes billed" in words
            raise SourceDataError(
                f"{where} refused the query: {words} "
                + (
                    f"The limit is NBA_ML_BIGQUERY_MAX_BYTES, {self.maximum_bytes_billed:,} bytes; raise it if the "
                    "tables really are that large."
                    if limit
                    else "The tables must have the columns that the README lists, and a partition on game_date."
                )
            ) from error
        except (gexc.RetryError, *TRANSIENT) as error:
            cause = error.cause if isinstance(error, gexc.RetryError) and error.cause else error
            raise SourceDataError(
                f"{where} did not answer within {self.deadline_seconds:g} s; the last thing it said was: "
                f"{said(cause)} Nothing was written. Check the network, then run it again."
            ) from error
        except gexc.GoogleAPIError as error:
            raise SourceDataError(f"{where} failed: {said(error)} Nothing was written; run it again.") from error


class Impatient(HTTPAdapter):
    """No request waits longer than so many seconds for a sign of life.

    The library waits 120 s and more for a query's results, whatever its caller says.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._seconds = seconds

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        return super().send(request, *args, **{**kwargs, "timeout": self._seconds})


_TYPES: Mapping[type, str] = {str: "STRING", int: "INT64", date: "DATE"}


def quoted_table(table: str, project: str | None) -> str:
    """The table as SQL names it: in backticks, with the project if `table` names none.

    Raises:
        SettingsError: not of the form `dataset.table` or `project.dataset.table`.
    """
    if not _TABLE.fullmatch(table):
        raise SettingsError(f"'{table}' is no BigQuery table. Write dataset.table, or project.dataset.table.")
    return f"`{table}`" if table.count(".") == 2 or project is None else f"`{project}.{table}`"


def said(error: BaseException) -> str:
    """What Google's library said, on one line, with a full stop."""
    message = getattr(error, "message", None) or str(error) or type(error).__name__
    text = " ".join(str(message).split())[:500]
    return text if text.endswith(".") else f"{text}."
