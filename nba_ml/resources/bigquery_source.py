"""The feature store in BigQuery: a month's rows in one query, and the state of all months in another.

What belongs here: asking BigQuery, and saying in words what it refused. What the rows mean is
`core.snapshot`; what the counts mean is `core.progress`.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import date, datetime
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
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

from nba_ml.core.contract import V2_33FEATURES
from nba_ml.core.errors import SettingsError, SourceDataError
from nba_ml.core.lineage import Inputs
from nba_ml.core.progress import MonthProgress, TableState
from nba_ml.core.season import month_bounds
from nba_ml.core.snapshot import MonthRows
from nba_ml.core.tables import FEATURE_ROWS, RESULTS
from nba_ml.resources.month_rows import FEATURES, SUMMARY, MonthRowsSource

_SQL = Path(__file__).parent / "sql"

_TABLE = re.compile(r"([a-z][a-z0-9-]{4,28}[a-z0-9]\.)?[A-Za-z0-9_]+\.[A-Za-z0-9_]+")
"""`dataset.table` or `project.dataset.table`. A name cannot be a query parameter, so nothing else gets in."""

_TRANSIENT = (
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

_ONCE = Retry(predicate=if_exception_type())
"""The retry is over a whole query with its rows: a job that failed on the way is asked for anew."""

_EMPTY = TableState(0, 0, 0, 0, None, "")


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
        transient = if_exception_type(*_TRANSIENT)
        retry = Retry(predicate=transient, initial=0.5, maximum=8.0, timeout=self.deadline_seconds)
        with self._explained(), self.get_client() as client, self.read_client(client) as reader:
            for scheme in ("https://", "http://"):
                client._http.mount(scheme, _Impatient(self.request_seconds))
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
        job = client.query(sql, job_config=config, timeout=self.request_seconds, retry=_ONCE, job_retry=None)
        result = job.result(timeout=self.deadline_seconds, retry=_ONCE, job_retry=None)
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
                f"{where}: permission denied: {_said(error)} The account needs roles/bigquery.jobUser and "
                "roles/bigquery.readSessionUser on the project, and roles/bigquery.dataViewer on both datasets."
            ) from error
        except (gexc.Unauthenticated, auth_exceptions.RefreshError) as error:
            raise SourceDataError(
                f"{where}: the credentials were not accepted: {_said(error)} Renew them, or name another key file in "
                "GOOGLE_APPLICATION_CREDENTIALS."
            ) from error
        except gexc.NotFound as error:
            raise SourceDataError(
                f"{where}: not found: {_said(error)} Check NBA_ML_BIGQUERY_PROJECT, NBA_ML_FEATURE_TABLE, "
                "NBA_ML_SUMMARY_TABLE, and NBA_ML_BIGQUERY_LOCATION if the datasets are outside the US."
            ) from error
        except gexc.BadRequest as error:
            said = _said(error)
            limit = "bytes billed" in said
            raise SourceDataError(
                f"{where} refused the query: {said} "
                + (
                    f"The limit is NBA_ML_BIGQUERY_MAX_BYTES, {self.maximum_bytes_billed:,} bytes; raise it if the "
                    "tables really are that large."
                    if limit
                    else "The tables must have the columns that the README lists, and a partition on game_date."
                )
            ) from error
        except (gexc.RetryError, *_TRANSIENT) as error:
            cause = error.cause if isinstance(error, gexc.RetryError) and error.cause else error
            raise SourceDataError(
                f"{where} did not answer within {self.deadline_seconds:g} s; the last thing it said was: "
                f"{_said(cause)} Nothing was written. Check the network, then run it again."
            ) from error
        except gexc.GoogleAPIError as error:
            raise SourceDataError(f"{where} failed: {_said(error)} Nothing was written; run it again.") from error


class _Impatient(HTTPAdapter):
    """No request waits longer than so many seconds for a sign of life.

    The library waits 120 s and more for a query's results, whatever its caller says.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._seconds = seconds

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        return super().send(request, *args, **{**kwargs, "timeout": self._seconds})


class BigQueryFeatureSource(MonthRowsSource):
    """The platform's own tables: `ml_feature_store_v2` and `player_game_summary`."""

    connection: BigQueryConnection
    feature_table: str
    summary_table: str

    def read(self, month: str) -> tuple[MonthRows, Inputs]:
        """One query: feature rows with their results, and results that have no feature row.

        Raises:
            SourceDataError: the backfill has not reached the month, a result is there twice and differs, or
                BigQuery refuses.
        """
        first, last = month_bounds(month)
        names = ",".join(V2_33FEATURES.names)
        table = self.connection.rows(
            self._sql("month_rows"), {"first": first, "last": last, "feature_names": names}, "month-rows"
        )
        features = table.filter(pc.fill_null(table.column("has_features"), False))
        results = table.filter(pc.is_valid(table.column("minutes_played")))
        self._require_reached(month, features.num_rows, results.num_rows)
        _require_one_result(month, results, self.summary_table)
        # A player-game with two feature rows brings its result twice.
        grouped = results.group_by(["player_lookup", "game_date"])
        once = grouped.aggregate([(name, "min") for name in ("points", "minutes_played", "result_identity")])
        newest = pc.max(features.column("updated_at")).as_py()
        versions = {
            SUMMARY: {month: _version(once.num_rows, _xor(once.column("result_identity_min")))},
            FEATURES: {month: _version(features.num_rows, _xor(features.column("feature_identity")), newest)},
        }
        rows = MonthRows(
            features=features.select(FEATURE_ROWS.names).cast(FEATURE_ROWS),
            results=once.drop_columns(["result_identity_min"]).rename_columns(RESULTS.names).cast(RESULTS),
        )
        return rows, versions

    def progress(self, months: list[str]) -> list[MonthProgress]:
        """One query over the months' keys, without a feature array."""
        first, last = month_bounds(months[0])[0], month_bounds(months[-1])[1]
        parameters: dict[str, str | int | date] = {
            "first": first,
            "last": last,
            "feature_version": V2_33FEATURES.name,
            "feature_count": V2_33FEATURES.count,
        }
        rows = self.connection.rows(self._sql("observe_months"), parameters, "observe-months").to_pylist()
        found = {row["month"]: _progress(row) for row in rows}
        return [found.get(month) or MonthProgress(month, _EMPTY, _EMPTY, 0, None) for month in months]

    def _require_reached(self, month: str, feature_rows: int, results: int) -> None:
        if feature_rows == 0:
            raise SourceDataError(
                f"{month}: the backfill has not reached this month. {self.feature_table} has 0 rows of it, "
                f"{self.summary_table} has {results:,} player-games with a result. What was there is untouched; wait "
                "for the backfill (`nba-ml progress` shows how far it is), then materialise the month again."
            )

    def _sql(self, name: str) -> str:
        sql = (_SQL / f"{name}.sql").read_text()
        return sql.format(
            feature_table=_quoted(self.feature_table, self.connection.project),
            summary_table=_quoted(self.summary_table, self.connection.project),
        )


_TYPES: Mapping[type, str] = {str: "STRING", int: "INT64", date: "DATE"}


def _quoted(table: str, project: str | None) -> str:
    if not _TABLE.fullmatch(table):
        raise SettingsError(f"'{table}' is no BigQuery table. Write dataset.table, or project.dataset.table.")
    return f"`{table}`" if table.count(".") == 2 or project is None else f"`{project}.{table}`"


def _require_one_result(month: str, results: pa.Table, table: str) -> None:
    contradictory = results.filter(results.column("contradictory"))
    if contradictory.num_rows:
        named = ", ".join(f"{r['player_lookup']} {r['game_date']}" for r in contradictory.slice(0, 5).to_pylist())
        raise SourceDataError(
            f"{month}: {table} has {contradictory.num_rows:,} player-games with two different results: {named}. "
            "Which one is right cannot be told from here; remove the wrong rows, then materialise the month again."
        )


def _progress(row: Mapping[str, Any]) -> MonthProgress:
    def state(kind: str, version: str, newest: Any = None) -> TableState:
        counts = {what: row[f"{kind}_{what}"] or 0 for what in ("rows", "players", "dates", "games")}
        return TableState(**counts, newest_update=newest, version=version)

    newest = row["newest_update"]
    return MonthProgress(
        month=row["month"],
        played=state("played", _version(row["played_rows"], row["result_fingerprint"])),
        features=state("feature", _version(row["feature_rows"], row["feature_fingerprint"], newest), newest),
        covered=row["covered"] or 0,
        quality=row["quality"],
    )


def _version(rows: int | None, fingerprint: int | None, newest: datetime | None = None) -> str:
    """A month's data version: it changes when a row comes, goes, or is written again."""
    parts = [str(rows or 0), f"{fingerprint or 0:015x}", *([newest.isoformat()] if newest else [])]
    return "-".join(parts)


def _xor(identities: pa.ChunkedArray) -> int:
    return int(np.bitwise_xor.reduce(identities.to_numpy().astype(np.int64)))


def _said(error: BaseException) -> str:
    """What Google's library said, on one line, with a full stop."""
    message = getattr(error, "message", None) or str(error) or type(error).__name__
    text = " ".join(str(message).split())[:500]
    return text if text.endswith(".") else f"{text}."
