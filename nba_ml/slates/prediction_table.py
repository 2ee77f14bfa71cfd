"""BigQuery's `player_prop_predictions`: each slate is loaded exactly once, in one load job.

The job id is derived from the slate's id, so a retry after a lost response finds the job that did the work. A load job
is atomic: it loads all rows of a slate or none. Rows are loaded inactive. One statement then activates the version that
counts and deactivates all others, so a reader never finds two active rows of a player, even if a writer dies between
the steps. A table without a column for the slate's id takes a slate in one transaction instead
(`slate_transaction`).
"""

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import ParamSpec, TypeVar

import pyarrow as pa
from google.api_core import exceptions as gexc
from google.api_core.retry import Retry
from google.auth import exceptions as auth_exceptions
from google.cloud import bigquery

from nba_ml.contract.digest import bytes_digest
from nba_ml.contract.errors import SettingsError, SlateError
from nba_ml.slates.prediction_columns import TableFit, TableReport, parquet_file, require_kept
from nba_ml.slates.prediction_rows import TableWrite, create_table, served_rows, system_id_of
from nba_ml.slates.slate import CHALLENGER, CHAMPION, SERVED
from nba_ml.slates.slate_transaction import count_replaced, count_written, parameters_of, replace_rows, with_activity
from nba_ml.slates.store import KeptSlate
from nba_ml.sources.bigquery_connection import (
    ONCE,
    BigQueryConnection,
    TimeoutAdapter,
    cost_of,
    mount,
    quoted_table,
)
from nba_ml.sources.bigquery_errors import (
    TRANSIENT,
    is_denied,
    is_over_limit,
    is_transient,
    message_of,
    over_limit,
    remedy,
)
from nba_ml.sources.job_costs import record_job

P = ParamSpec("P")
T = TypeVar("T")
Job = TypeVar("Job", bigquery.LoadJob, bigquery.QueryJob)
Parameters = Sequence[bigquery.ScalarQueryParameter | bigquery.ArrayQueryParameter]

_ATTEMPTS = 20
"""Maximum load jobs per slate. A failed job loads nothing but keeps its id, so each attempt needs a new id."""

_LIVE_DAYS = 14
"""Days before a slate in which another writer's active rows make a system id live."""

_CONCURRENT = "due to concurrent update"
"""Part of BigQuery's message `Could not serialize access to table ... due to concurrent update`. It has no status."""


class BigQueryPredictionTable:
    """The platform's table of predictions.

    `system_ids` maps a system id, or 'challenger' for the challenger's, to its id in the table.
    """

    def __init__(self, connection: BigQueryConnection, table: str, system_ids: Mapping[str, str] | None = None) -> None:
        self.connection = connection
        self.table = table
        self.system_ids = system_ids or {}

    def report(self) -> TableReport:
        """The table's columns against those of a slate. Writes nothing.

        Raises:
            SlateError, SettingsError: as `write`.
        """
        name = quoted_table(self.table, self.connection.project)
        with self._explained(name), self._client() as client:
            table = self._table(client, name)
        return TableFit(name, table.schema).report()

    def write(self, kept: KeptSlate, *, is_current: bool, versions: Sequence[KeptSlate] = ()) -> TableWrite:
        """Write a stored slate to the table, and verify that its rows exist.

        Appends rows and never replaces any. If the slate is the version of its date that counts, one statement
        activates its served rows and deactivates those of other versions. `versions` are the stored versions of the
        date: a table without a column for the slate's id needs them to know which rows those are.

        Raises:
            SlateError: the table does not exist, or its columns do not match; BigQuery rejects the request or does not
                respond; or the rows are missing afterwards.
            SettingsError: there are no credentials, or the table's name is invalid.
        """
        name = quoted_table(self.table, self.connection.project)
        with self._explained(name), self._client() as client:
            table = self._table(client, name)
            fit = TableFit(name, table.schema)
            fit.require()
            require_kept(name, table, kept.slate.report.game_date)
            self._require_own_ids(client, fit, kept)
            if fit.slate_key is None:
                return self._replace(client, fit, table, kept, (kept, *versions) if is_current else ())
            rows = self._rows(fit, kept)
            before = self._count(client, fit, kept)
            if before == 0 and rows.num_rows:
                self._load(client, fit, table, rows, kept)
            after = self._count(client, fit, kept) if before != rows.num_rows else before
            if after != rows.num_rows:
                raise SlateError(
                    f"{name} has {after:,} rows of slate {kept.slate_id}, expected {rows.num_rows:,}: another writer "
                    "changed them. Delete the slate's rows, then run the same command again. The stored slate "
                    f"at {kept.uri} is complete."
                )
            retired = self._activate(client, fit, kept) if is_current else 0
        return TableWrite(name.strip("`"), rows.num_rows, loaded=before == 0 and rows.num_rows > 0, retired=retired)

    def _rows(self, fit: TableFit, kept: KeptSlate) -> pa.Table:
        return fit.rows(served_rows(kept.slate, kept.number, kept.slate_id, self.system_ids))

    def _client(self) -> AbstractContextManager[bigquery.Client]:
        return self.connection.get_client()

    def _table(self, client: bigquery.Client, name: str) -> bigquery.Table:
        mount(client, TimeoutAdapter(self.connection.request_seconds))
        reference = bigquery.TableReference.from_string(name.strip("`"), default_project=client.project)
        table: bigquery.Table = self._retried(client.get_table, reference, retry=ONCE)
        return table

    def _require_own_ids(self, client: bigquery.Client, fit: TableFit, kept: KeptSlate) -> None:
        """Do nothing unless a challenger would use a system id under which another model is live in the table.

        A person can allow it: NBA_ML_SYSTEM_IDS then names the id for 'challenger'.
        """
        report = kept.slate.report
        if report.challenger is None or CHALLENGER in self.system_ids:
            return
        sides = {CHAMPION: report.champion, CHALLENGER: report.challenger}
        ids = {
            side: system_id_of({"system_id": scorer.system_id, "side": side}, self.system_ids)
            for side, scorer in sides.items()
        }
        own, shared = ids[CHALLENGER], ids[CHAMPION] == ids[CHALLENGER]
        live = 0 if shared else self._live(client, fit, kept, own)
        if live:
            user = f"{live:,} active rows of other writers have"
        elif shared and "side" not in fit.fields:
            user = f"the champion, {report.champion.model_version}, has"
        else:
            return
        raise SlateError(
            f"{fit.name}: the challenger {report.challenger.model_version} would have the system_id '{own}', which "
            f"{user} too. Give it another one with NBA_ML_SYSTEM_IDS=challenger={own}_challenger, or share this one "
            f"with NBA_ML_SYSTEM_IDS=challenger={own}. The slate is stored: then run the same command again."
        )

    def _live(self, client: bigquery.Client, fit: TableFit, kept: KeptSlate, system_id: str) -> int:
        """Number of other writers' active rows with a system id, on the days up to the slate's."""
        days = f"game_date BETWEEN DATE_SUB(@day, INTERVAL {_LIVE_DAYS} DAY) AND @day"
        of_others = f" AND {fit.slate_key} IS NULL" if fit.slate_key else ""  # else every row may be another writer's
        statement = (
            f"SELECT COUNT(*) AS n FROM {fit.name} WHERE {days} AND is_active AND system_id = '{system_id}'{of_others}"
        )
        return int(self._retried(self._ask, client, statement, kept, "slate-live")[0]["n"])

    def _load(
        self, client: bigquery.Client, fit: TableFit, table: bigquery.Table, rows: pa.Table, kept: KeptSlate
    ) -> None:
        """Load the rows, unless an earlier call did and they still exist."""
        data = parquet_file(rows)
        self._once(
            _job_name(table.reference, kept),
            lambda job_id: _started(client, job_id, data, table, fit),
            lambda: self._count(client, fit, kept) > 0,
        )

    def _replace(
        self,
        client: bigquery.Client,
        fit: TableFit,
        table: bigquery.Table,
        kept: KeptSlate,
        versions: Sequence[KeptSlate],
    ) -> TableWrite:
        """Write the slate in one transaction. `versions` are those that it replaces, empty if another one counts."""
        rows = with_activity(self._rows(fit, kept), is_current=bool(versions))
        day = kept.slate.report.game_date
        parameters = parameters_of(day, rows, [self._rows(fit, version) for version in versions])
        [before] = self._retried(self._asked, client, count_replaced(fit), parameters, "slate-replaced")
        jobs = f"{_job_name(table.reference, kept)}_replaces"
        config = self._config(parameters, "slate-replace")
        # A job that failed is retried under the next id: BigQuery rejects one of two concurrent transactions.
        job, ours = self._retried(
            self._once, jobs, lambda job_id: _replaced(client, job_id, replace_rows(fit), table, config), lambda: True
        )
        if ours:
            record_job(cost_of(job, "slate-replace"))
        [after] = self._retried(self._asked, client, count_written(fit), parameters, "slate-written")
        if after["n"] != rows.num_rows:
            raise SlateError(
                f"{fit.name} has {after['n']:,} of the {rows.num_rows:,} rows that job {job.job_id} wrote for slate "
                f"{kept.slate_id}: they were changed since, by another writer or another version of the slate. They "
                "are not written again, because the table has neither slate_id nor prediction_id. Correct is_active "
                f"of {day} in the table. The stored slate at {kept.uri} is complete."
            )
        retired = int(before["n"]) if ours else 0
        return TableWrite(fit.name.strip("`"), rows.num_rows, loaded=ours and rows.num_rows > 0, retired=retired)

    def _once(
        self, jobs: str, start: Callable[[str], tuple[Job, bool]], is_kept: Callable[[], bool]
    ) -> tuple[Job, bool]:
        """Run jobs until one succeeds. A successful job of an earlier call counts too, if its rows are kept.

        Returns the job, and whether this call started it.
        """
        for attempt in range(1, _ATTEMPTS + 1):
            job, ours = self._retried(start, f"{jobs}-{attempt}")
            failure = job.exception(timeout=self.connection.deadline_seconds)  # type: ignore[no-untyped-call]
            # Ignore an earlier call's job if its rows were removed since, or if it failed: the cause may be fixed.
            if failure is None and (ours or is_kept()):
                return job, ours
            if failure is not None and ours:
                raise failure
        raise SlateError(
            f"{self.table}: {_ATTEMPTS} jobs of the slate failed, or their rows were removed. Check the project's jobs "
            f"{jobs}-*, and load the slate's file manually."
        )

    def _count(self, client: bigquery.Client, fit: TableFit, kept: KeptSlate) -> int:
        """Number of rows of this slate version."""
        statement = f"SELECT COUNT(*) AS n FROM {fit.name} WHERE game_date = @day AND {fit.slate_key} = @slate_id"
        rows = self._retried(self._ask, client, statement, kept, "slate-count")
        return int(rows[0]["n"])

    def _activate(self, client: bigquery.Client, fit: TableFit, kept: KeptSlate) -> int:
        """Activate the slate's served rows and deactivate the date's other rows. Returns the number of those.

        Idempotent. Rows without a slate belong to other systems and are not changed, except where the table does not
        hold slates: there a player, game and system has one active row, whoever wrote it.
        """
        key = f"IFNULL({fit.slate_key}, '')"
        ours = f"{key} != ''"
        if "slate_id" not in fit.fields:
            game = "CONCAT(player_lookup, '|', game_id, '|', system_id)"
            of_slate = f"SELECT {game} FROM {fit.name} WHERE game_date = @day AND {key} = @slate_id"
            ours = f"({ours} OR {game} IN ({of_slate}))"
        where = f"WHERE game_date = @day AND {ours}"
        others = f"SELECT COUNT(*) AS n FROM {fit.name} {where} AND is_active AND {key} != @slate_id"
        found = self._retried(self._ask, client, others, kept, "slate-others")
        role = f" AND role = '{SERVED}'" if "role" in fit.fields else ""
        due = f"({key} = @slate_id{role})"
        statement = f"UPDATE {fit.name} SET is_active = {due} {where} AND is_active != {due}"
        self._retried(self._ask, client, statement, kept, "slate-activate")
        return int(found[0]["n"])

    def _ask(self, client: bigquery.Client, statement: str, kept: KeptSlate, label: str) -> list[bigquery.Row]:
        """Run a statement about a slate and return its rows."""
        parameters = [
            bigquery.ScalarQueryParameter("day", "DATE", kept.slate.report.game_date),
            bigquery.ScalarQueryParameter("slate_id", "STRING", kept.slate_id),
        ]
        return self._asked(client, statement, parameters, label)

    def _asked(self, client: bigquery.Client, statement: str, parameters: Parameters, label: str) -> list[bigquery.Row]:
        """Run a statement and return its rows. They are few, so this does not use the Storage Read API.

        BigQuery runs it in the location of the table.
        """
        config, seconds = self._config(parameters, label), self.connection.request_seconds
        job = client.query(statement, job_config=config, timeout=seconds, retry=ONCE, job_retry=None)
        rows = list(job.result(timeout=self.connection.deadline_seconds, retry=ONCE, job_retry=None))
        record_job(cost_of(job, label))
        return rows

    def _config(self, parameters: Parameters, label: str) -> bigquery.QueryJobConfig:
        return bigquery.QueryJobConfig(
            query_parameters=parameters,
            maximum_bytes_billed=self.connection.maximum_bytes_billed,
            labels={"application": "nba_ml", "query": label},
        )

    def _retried(self, function: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
        """Call a function, with retries after transient errors. All calls here are idempotent."""
        retry = Retry(predicate=_passes, initial=0.5, maximum=8.0, timeout=self.connection.deadline_seconds)
        answer: T = retry(function)(*arguments, **named)
        return answer

    @contextmanager
    def _explained(self, name: str) -> Iterator[None]:
        """Turn BigQuery's errors into an error with the next step."""
        again = "The slate is stored: run the same command again. It never writes a slate twice."
        try:
            yield
        except auth_exceptions.DefaultCredentialsError as error:
            raise SettingsError(
                f"{name}: no usable credentials: {message_of(error)} Set GOOGLE_APPLICATION_CREDENTIALS to a service "
                f"account's key file, or unset it and run `gcloud auth application-default login`. {again}"
            ) from error
        except gexc.NotFound as error:
            raise SlateError(
                f"{name} does not exist: {message_of(error)} Check NBA_ML_PREDICTION_TABLE, or create the table: "
                f"{create_table(name)}. {again}"
            ) from error
        except (gexc.GoogleAPIError, auth_exceptions.GoogleAuthError, *TRANSIENT) as error:
            cause = error.cause if isinstance(error, gexc.RetryError) and error.cause else error
            raise SlateError(f"{name}: {self._refusal(cause)} {again}") from error

    def _refusal(self, error: Exception) -> str:
        if is_denied(error):
            return (
                f"permission denied: {message_of(error)} The account needs roles/bigquery.jobUser on the project and "
                "roles/bigquery.dataEditor on the table."
            )
        if is_over_limit(error):
            return over_limit(error, self.connection.maximum_bytes_billed)
        if _passes(error):
            seconds = self.connection.deadline_seconds
            return f"BigQuery did not respond within {seconds:g} s; the last error was: {message_of(error)}"
        return f"BigQuery rejected the slate: {message_of(error)} {remedy(error)}".rstrip()


def _passes(error: BaseException) -> bool:
    """Whether an error is transient. BigQuery rejects some concurrent table updates as BadRequest."""
    return is_transient(error) or (isinstance(error, gexc.BadRequest) and _CONCURRENT in str(error))


def _job_name(reference: bigquery.TableReference, kept: KeptSlate) -> str:
    """A job id prefix that is unique for the slate and the table."""
    table = f"{reference.project}.{reference.dataset_id}.{reference.table_id}"
    return f"nba_ml_slate_{kept.slate_id}_{bytes_digest(f'{table}|{kept.slate.digest}'.encode())[:16]}"


def _started(
    client: bigquery.Client, job_id: str, data: io.BytesIO, table: bigquery.Table, fit: TableFit
) -> tuple[bigquery.LoadJob, bool]:
    """Start the job with that id. Returns the job, and whether this call started it rather than an earlier one.

    Jobs outside the US and EU are found only with their location, so this passes the location of the table.
    """
    config = bigquery.LoadJobConfig(
        schema=fit.load_schema(),
        source_format=bigquery.SourceFormat.PARQUET,
        write_disposition=bigquery.WriteDisposition.WRITE_APPEND,
        create_disposition=bigquery.CreateDisposition.CREATE_NEVER,
        labels={"application": "nba_ml"},
    )
    size = data.getbuffer().nbytes  # a known size makes it a single request
    try:
        job = client.load_table_from_file(
            data,
            table.reference,
            rewind=True,
            size=size,
            num_retries=0,
            job_id=job_id,
            location=table.location,
            job_config=config,
        )
    except gexc.Conflict:
        begun = client.get_job(job_id, location=table.location, retry=ONCE)
        if not isinstance(begun, bigquery.LoadJob):
            raise
        return begun, False
    return job, True


def _replaced(
    client: bigquery.Client, job_id: str, statement: str, table: bigquery.Table, config: bigquery.QueryJobConfig
) -> tuple[bigquery.QueryJob, bool]:
    """Start the statement's job with that id. Returns as `_started`."""
    try:
        job = client.query(
            statement, job_id=job_id, location=table.location, job_config=config, retry=ONCE, job_retry=None
        )
    except gexc.Conflict:
        begun = client.get_job(job_id, location=table.location, retry=ONCE)
        if not isinstance(begun, bigquery.QueryJob):
            raise
        return begun, False
    return job, True
