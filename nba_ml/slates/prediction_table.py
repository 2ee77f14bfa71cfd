"""BigQuery's `player_prop_predictions`: a slate goes there in one load job, once, however often it is asked for.

The job's id is made of the slate's: whoever asks again after a lost answer meets the job that did the work. A load
job is all or nothing, so after it either every row of the slate is there, or none. No row arrives active: one
statement then makes the rows of the version that counts active and those of all others not, so that whoever reads
between two steps, or after a writer died there, never finds two of a player.
"""

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

import pyarrow as pa
from google.api_core import exceptions as gexc
from google.api_core.retry import Retry
from google.auth import exceptions as auth_exceptions
from google.cloud import bigquery

from nba_ml.contract.digest import bytes_digest
from nba_ml.contract.errors import SettingsError, SlateError
from nba_ml.slates.prediction_columns import load_file, load_schema, require_columns
from nba_ml.slates.served_table import create_table, served_rows
from nba_ml.slates.slate import SERVED
from nba_ml.slates.store import KeptSlate
from nba_ml.sources.bigquery_connection import ONCE, BigQueryConnection, TimeoutAdapter, mount, quoted_table
from nba_ml.sources.bigquery_errors import TRANSIENT, is_denied, is_transient, remedy, said

P = ParamSpec("P")
T = TypeVar("T")

_ATTEMPTS = 20
"""Load jobs of one slate. A failed job loaded nothing and keeps its id for ever: the next one needs another."""

_CONCURRENT = "due to concurrent update"
"""BigQuery's words (`Could not serialize access to table ... due to concurrent update`); it has no status for it."""


@dataclass(frozen=True, slots=True)
class TableWrite:
    """A slate in the table. `loaded` is False if it was there already; `retired` are rows of other versions that
    are no longer active since."""

    table: str
    rows: int
    loaded: bool
    retired: int


class BigQueryPredictionTable:
    """The platform's table of predictions."""

    def __init__(self, connection: BigQueryConnection, table: str) -> None:
        self.connection = connection
        self.table = table

    def write(self, kept: KeptSlate, *, stands: bool) -> TableWrite:
        """Bring a kept slate into the table, and see that it is there.

        Its rows are appended; no row is ever replaced. If the slate is the version of its date that counts, its
        served rows become active and those of other versions cease to be, in one statement.

        Raises:
            SlateError: the table is not there, lacks a column or has one of another type; BigQuery refuses, or does
                not answer; or the rows are not there afterwards.
            SettingsError: there are no credentials, or the table's name is none.
        """
        name = quoted_table(self.table, self.connection.project)
        rows = served_rows(kept.slate, kept.number, kept.slate_id)
        with self._explained(name), self.connection.get_client() as client:
            mount(client, TimeoutAdapter(self.connection.request_seconds))
            reference = bigquery.TableReference.from_string(name.strip("`"))
            there = self._patiently(client.get_table, reference, retry=ONCE)
            require_columns(name, there.schema)
            before = self._count(client, name, kept)
            if before == 0 and rows.num_rows:
                self._load(client, name, there, rows, kept)
            after = self._count(client, name, kept) if before != rows.num_rows else before
            if after != rows.num_rows:
                raise SlateError(
                    f"{name} has {after:,} rows of slate {kept.slate_id} and should have {rows.num_rows:,}: somebody "
                    "else changed them. Remove the rows of that slate_id, then write it again; the slate itself is "
                    f"whole at {kept.uri}."
                )
            retired = self._activate(client, name, kept) if stands else 0
        return TableWrite(name.strip("`"), rows.num_rows, loaded=before == 0 and rows.num_rows > 0, retired=retired)

    def _load(self, client: bigquery.Client, name: str, there: bigquery.Table, rows: pa.Table, kept: KeptSlate) -> None:
        """One load job that ended well, be it this call's or one before it."""
        data, jobs = load_file(rows, load_schema(there.schema)), _job_name(there.reference, kept)
        for attempt in range(1, _ATTEMPTS + 1):
            job, ours = self._patiently(_started, client, f"{jobs}-{attempt}", data, there)
            failure = job.exception(timeout=self.connection.deadline_seconds)  # type: ignore[no-untyped-call]
            # An earlier call's job, whose rows were removed since, or which failed at what is mended by now, is none.
            if failure is None and (ours or self._count(client, name, kept)):
                return
            if failure is not None and ours:
                raise failure
        raise SlateError(
            f"{name}: {_ATTEMPTS} load jobs of slate {kept.slate_id} failed, or their rows were removed again. Look at "
            f"the project's jobs {jobs}-*, and load the file by hand: {kept.uri}."
        )

    def _count(self, client: bigquery.Client, name: str, kept: KeptSlate) -> int:
        """Rows of exactly this slate."""
        statement = f"SELECT COUNT(*) AS n FROM {name} WHERE game_date = @day AND slate_id = @slate_id"
        rows = self._patiently(self._ask, client, statement, kept, "slate-count")
        return int(rows[0]["n"])

    def _activate(self, client: bigquery.Client, name: str, kept: KeptSlate) -> int:
        """Make the slate's served rows the active ones of its date; how many others were. Twice does nothing more.

        Rows without a slate_id are other systems' own, and left alone.
        """
        others = f"SELECT COUNT(*) AS n FROM {name} WHERE game_date = @day AND is_active AND slate_id != @slate_id"
        found = self._patiently(self._ask, client, others, kept, "slate-others")
        due = f"(slate_id = @slate_id AND role = '{SERVED}')"
        statement = (
            f"UPDATE {name} SET is_active = {due} "
            f"WHERE game_date = @day AND slate_id IS NOT NULL AND is_active != {due}"
        )
        self._patiently(self._ask, client, statement, kept, "slate-activate")
        return int(found[0]["n"])

    def _ask(self, client: bigquery.Client, statement: str, kept: KeptSlate, label: str) -> list[bigquery.Row]:
        """The rows that a statement gives: few, so not through the Storage Read API.

        It runs where the table is that it names, and its job's answer says where that was.
        """
        config = bigquery.QueryJobConfig(
            query_parameters=[
                bigquery.ScalarQueryParameter("day", "DATE", kept.slate.report.game_date),
                bigquery.ScalarQueryParameter("slate_id", "STRING", kept.slate_id),
            ],
            maximum_bytes_billed=self.connection.maximum_bytes_billed,
            labels={"application": "nba_ml", "query": label},
        )
        seconds = self.connection.request_seconds
        job = client.query(statement, job_config=config, timeout=seconds, retry=ONCE, job_retry=None)
        return list(job.result(timeout=self.connection.deadline_seconds, retry=ONCE, job_retry=None))

    def _patiently(self, function: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
        """Again after what goes away by itself: everything here may be asked for twice."""
        retry = Retry(predicate=_passes, initial=0.5, maximum=8.0, timeout=self.connection.deadline_seconds)
        answer: T = retry(function)(*arguments, **named)
        return answer

    @contextmanager
    def _explained(self, name: str) -> Iterator[None]:
        """What went wrong, as one paragraph with what to do."""
        again = "The slate is kept: the same command writes it again, and never twice."
        try:
            yield
        except auth_exceptions.DefaultCredentialsError as error:
            raise SettingsError(
                f"{name}: no usable credentials: {said(error)} Set GOOGLE_APPLICATION_CREDENTIALS to a service "
                f"account's key file, or unset it and run `gcloud auth application-default login`. {again}"
            ) from error
        except gexc.NotFound as error:
            raise SlateError(
                f"{name} is not there: {said(error)} Check NBA_ML_PREDICTION_TABLE, or make the table: "
                f"{create_table(name)}. {again}"
            ) from error
        except (gexc.GoogleAPIError, auth_exceptions.GoogleAuthError, *TRANSIENT) as error:
            cause = error.cause if isinstance(error, gexc.RetryError) and error.cause else error
            raise SlateError(f"{name}: {self._refusal(cause)} {again}") from error

    def _refusal(self, error: Exception) -> str:
        if is_denied(error):
            return (
                f"permission denied: {said(error)} The account needs roles/bigquery.jobUser on the project and "
                "roles/bigquery.dataEditor on the table."
            )
        if _passes(error):
            seconds = self.connection.deadline_seconds
            return f"BigQuery did not answer within {seconds:g} s; the last thing it said was: {said(error)}"
        return f"BigQuery refused the slate: {said(error)} {remedy(error)}".rstrip()


def _passes(error: BaseException) -> bool:
    """Whether it goes away by itself. Of statements that change a table at one moment BigQuery refuses some, as bad."""
    return is_transient(error) or (isinstance(error, gexc.BadRequest) and _CONCURRENT in str(error))


def _job_name(reference: bigquery.TableReference, kept: KeptSlate) -> str:
    """The same for the same slate and table, and for no other."""
    there = f"{reference.project}.{reference.dataset_id}.{reference.table_id}"
    return f"nba_ml_slate_{kept.slate_id}_{bytes_digest(f'{there}|{kept.slate.digest}'.encode())[:16]}"


def _started(
    client: bigquery.Client, job_id: str, data: io.BytesIO, there: bigquery.Table
) -> tuple[bigquery.LoadJob, bool]:
    """The job of that id, and whether it is this call's: one before it may have begun it, its answer lost.

    It runs where the table is, and is asked for there: without a location a job outside of the US and EU is not found.
    """
    config = bigquery.LoadJobConfig(
        schema=load_schema(there.schema),
        source_format=bigquery.SourceFormat.PARQUET,
        write_disposition=bigquery.WriteDisposition.WRITE_APPEND,
        create_disposition=bigquery.CreateDisposition.CREATE_NEVER,
        labels={"application": "nba_ml"},
    )
    size = data.getbuffer().nbytes  # known, so that it is one request
    try:
        job = client.load_table_from_file(
            data,
            there.reference,
            rewind=True,
            size=size,
            num_retries=0,
            job_id=job_id,
            location=there.location,
            job_config=config,
        )
    except gexc.Conflict:
        begun = client.get_job(job_id, location=there.location, retry=ONCE)
        if not isinstance(begun, bigquery.LoadJob):
            raise
        return begun, False
    return job, True
