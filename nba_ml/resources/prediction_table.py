"""BigQuery's `player_prop_predictions`: a slate goes there in one load job, once, however often it is asked for.

The job's id is made of the slate's: whoever asks again after a lost answer meets the job that did the work. A load
job is all or nothing, so after it either every row of the slate is there, or none. No row arrives active: one
statement then makes the rows of the version that counts active and those of all others not, so that whoever reads
between two steps, or after a writer died there, never finds two of a player.
"""

import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq
from google.api_core import exceptions as gexc
from google.api_core.retry import Retry
from google.auth import exceptions as auth_exceptions
from google.cloud import bigquery

from nba_ml.core.digest import bytes_digest
from nba_ml.core.errors import SettingsError, SlateError
from nba_ml.core.served_table import COLUMNS, add_columns, create_table, served_rows
from nba_ml.core.slate import SERVED
from nba_ml.resources.bigquery_connection import ONCE, TRANSIENT, BigQueryConnection, Impatient, quoted_table, said
from nba_ml.resources.slate_store import KeptSlate

P = ParamSpec("P")
T = TypeVar("T")

_ATTEMPTS = 20
"""Load jobs of one slate. A failed job loaded nothing and keeps its id for ever: the next one needs another."""

_CONCURRENT = "due to concurrent update"
"""BigQuery's words (`Could not serialize access to table ... due to concurrent update`); it has no status for it."""

_DECIMALS = {"over_probability": 4}
"""Decimals that are published where they are not two."""

_SPELT = {"BOOLEAN": "BOOL", "INTEGER": "INT64"}
"""BigQuery's older names, as its API gives them."""


@dataclass(frozen=True, slots=True)
class Written:
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

    def write(self, kept: KeptSlate, *, stands: bool) -> Written:
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
            for scheme in ("https://", "http://"):
                client._http.mount(scheme, Impatient(self.connection.request_seconds))
            reference = bigquery.TableReference.from_string(name.strip("`"))
            _require_columns(name, self._patiently(client.get_table, reference, retry=ONCE).schema)
            before = self._count(client, name, kept)
            if before == 0 and rows.num_rows:
                self._load(client, name, reference, rows, kept)
            after = self._count(client, name, kept) if before != rows.num_rows else before
            if after != rows.num_rows:
                raise SlateError(
                    f"{name} has {after:,} rows of slate {kept.slate_id} and should have {rows.num_rows:,}: somebody "
                    "else changed them. Remove the rows of that slate_id, then write it again; the slate itself is "
                    f"whole at {kept.uri}."
                )
            retired = self._activate(client, name, kept) if stands else 0
        return Written(name.strip("`"), rows.num_rows, loaded=before == 0 and rows.num_rows > 0, retired=retired)

    def _load(
        self, client: bigquery.Client, name: str, reference: bigquery.TableReference, rows: pa.Table, kept: KeptSlate
    ) -> None:
        """One load job that ended well, be it this call's or one before it."""
        data = io.BytesIO()
        pq.write_table(rows, data, compression="zstd")
        for attempt in range(1, _ATTEMPTS + 1):
            job_id = f"{_job_name(reference, kept)}-{attempt}"
            job, ours = self._patiently(_started, client, job_id, data, reference)
            failure = job.exception(timeout=self.connection.deadline_seconds)  # type: ignore[no-untyped-call]
            # An earlier call's job, whose rows were removed since, or which failed at what is mended by now, is none.
            if failure is None and (ours or self._count(client, name, kept)):
                return
            if failure is not None and ours:
                raise failure
        raise SlateError(
            f"{name}: {_ATTEMPTS} load jobs of slate {kept.slate_id} failed, or their rows were removed again. Look at "
            f"the project's jobs {_job_name(reference, kept)}-*, and load the file by hand: {kept.uri}."
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
        """The rows that a statement gives: few, so not through the Storage Read API."""
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
                f"{name}: no credentials were found. Set GOOGLE_APPLICATION_CREDENTIALS to a service account's key "
                f"file, or run `gcloud auth application-default login`. {again}"
            ) from error
        except gexc.NotFound as error:
            raise SlateError(
                f"{name} is not there: {said(error)} Check NBA_ML_PREDICTION_TABLE, or make the table: "
                f"{create_table(name)}. {again}"
            ) from error
        except gexc.Forbidden as error:
            raise SlateError(
                f"{name}: permission denied: {said(error)} The account needs roles/bigquery.jobUser on the project "
                f"and roles/bigquery.dataEditor on the dataset. {again}"
            ) from error
        except (gexc.RetryError, *TRANSIENT) as error:
            cause = error.cause if isinstance(error, gexc.RetryError) and error.cause else error
            raise SlateError(
                f"{name}: BigQuery did not answer within {self.connection.deadline_seconds:g} s; the last thing it "
                f"said was: {said(cause)} {again}"
            ) from error
        except (gexc.GoogleAPIError, auth_exceptions.GoogleAuthError) as error:
            raise SlateError(f"{name}: BigQuery refused the slate: {said(error)} {again}") from error


def _passes(error: BaseException) -> bool:
    """Whether it goes away by itself. Of statements that change a table at one moment BigQuery refuses some, as bad."""
    return isinstance(error, TRANSIENT) or (isinstance(error, gexc.BadRequest) and _CONCURRENT in str(error))


def _job_name(reference: bigquery.TableReference, kept: KeptSlate) -> str:
    """The same for the same slate and table, and for no other."""
    there = f"{reference.project}.{reference.dataset_id}.{reference.table_id}"
    return f"nba_ml_slate_{kept.slate_id}_{bytes_digest(f'{there}|{kept.slate.digest}'.encode())[:16]}"


def _started(
    client: bigquery.Client, job_id: str, data: io.BytesIO, reference: bigquery.TableReference
) -> tuple[bigquery.LoadJob, bool]:
    """The job of that id, and whether it is this call's: one before it may have begun it, its answer lost."""
    config = bigquery.LoadJobConfig(
        source_format=bigquery.SourceFormat.PARQUET,
        write_disposition=bigquery.WriteDisposition.WRITE_APPEND,
        create_disposition=bigquery.CreateDisposition.CREATE_NEVER,
        labels={"application": "nba_ml"},
    )
    size = data.getbuffer().nbytes  # known, so that it is one request
    try:
        job = client.load_table_from_file(
            data, reference, rewind=True, size=size, num_retries=0, job_id=job_id, job_config=config
        )
    except gexc.Conflict:
        begun = client.get_job(job_id, retry=ONCE)
        if not isinstance(begun, bigquery.LoadJob):
            raise
        return begun, False
    return job, True


def _require_columns(name: str, schema: Sequence[bigquery.SchemaField]) -> None:
    """Pass silently for a table that takes a slate's rows.

    Raises:
        SlateError: a column is missing, of another type, or demanded and unknown here; says how to mend it.
    """
    found = {field.name: _SPELT.get(field.field_type, field.field_type) for field in schema}
    missing = [column.name for column in COLUMNS if column.name not in found]
    if missing:
        raise SlateError(
            f"{name} lacks {len(missing)} of the {len(COLUMNS)} columns that a slate fills: {', '.join(missing)}. Add "
            f"them: {add_columns(name, missing)}. The slate is kept: the same command then writes it."
        )
    fields = {field.name: field for field in schema}
    other = [f"{c.name} is {found[c.name]}, {c.type} is due" for c in COLUMNS if found[c.name] not in _takes(c.type)]
    for column in COLUMNS:
        field, decimals = fields[column.name], _DECIMALS.get(column.name, 2)
        if column.type == "NUMERIC" and field.scale is not None and field.scale < decimals:
            other.append(f"{column.name} keeps {field.scale} decimals, {decimals} are due")
        if column.nullable and field.mode == "REQUIRED":
            other.append(f"{column.name} is REQUIRED, and is NULL in some rows")
    other += [f"{name} is REQUIRED, and no slate has it" for name in _unknown(schema)]
    if other:
        raise SlateError(
            f"{name} cannot take a slate: {'; '.join(other)}. Alter those columns, or name another table in "
            f"NBA_ML_PREDICTION_TABLE, made so: {create_table(name)}. The slate is kept: the same command then writes "
            "it."
        )


def _unknown(schema: Sequence[bigquery.SchemaField]) -> list[str]:
    """Columns that every row must have and no slate has."""
    known = {column.name for column in COLUMNS}
    return [field.name for field in schema if field.mode == "REQUIRED" and field.name not in known]


def _takes(kind: str) -> tuple[str, ...]:
    """The types of a column that values of a type go into unharmed."""
    return (kind, "BIGNUMERIC") if kind == "NUMERIC" else (kind,)
