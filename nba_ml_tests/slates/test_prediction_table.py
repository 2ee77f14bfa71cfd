"""A slate in BigQuery's table of predictions: once, whole, and what is said where that cannot be."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from threading import Barrier, Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from google.api_core.exceptions import BadRequest, Forbidden
from google.cloud import bigquery

from nba_ml.contract.errors import SettingsError, SlateError
from nba_ml.slates.prediction_columns import TableFit, parquet_file
from nba_ml.slates.prediction_rows import COLUMNS, TableWrite, create_table, served_rows
from nba_ml.slates.prediction_table import BigQueryPredictionTable, _job_name
from nba_ml.slates.store import KeptSlate, SlateStore, slate_parquet
from nba_ml.sources.bigquery_connection import BigQueryConnection
from nba_ml.storage.directory import DirectoryStore
from nba_ml_tests.cloud.bigquery import PROJECT, BigQueryEmulator
from nba_ml_tests.cloud.datasets import make_dataset
from nba_ml_tests.faults.proxy import Call, Fault, FaultProxy
from nba_ml_tests.slate_scene import BEFORE_THE_GAMES, DAY, slate, systems

Row = dict[str, Any]


@dataclass(frozen=True)
class Table:
    """A table of the platform's, made by our own statement, and where slates are kept."""

    emulator: BigQueryEmulator
    name: str
    store: SlateStore

    def writer(self, **connection: object) -> BigQueryPredictionTable:
        return BigQueryPredictionTable(self.emulator.connection(**connection), self.name)

    def kept(self, rule: str | None = None, serial: int = 7) -> KeptSlate:
        return self.store.keep(slate(who=systems(rule, 50 if rule else 0, serial)))

    def rows(self) -> list[Row]:
        sql = f"SELECT * FROM {self.name} WHERE game_date = @day ORDER BY slate_version, player_lookup, role"
        return list(self.emulator.connection().rows(sql, {"day": DAY}, "test").to_pylist())

    def sql(self, statement: str) -> None:
        self.emulator.client.query_and_wait(statement)


@pytest.fixture
def table(bigquery_emulator: BigQueryEmulator, tmp_path: Path) -> Table:
    dataset = make_dataset(bigquery_emulator.client)
    made = Table(bigquery_emulator, f"{dataset}.player_prop_predictions", SlateStore(DirectoryStore(tmp_path)))
    made.sql(create_table(f"`{PROJECT}.{made.name}`"))
    return made


def test_a_slate_is_there_as_it_was_kept(table: Table) -> None:
    """Guards against rounding, types and NaN on the way, and against a load that is believed and not looked at."""
    kept = table.kept("mock")
    written = table.writer().write(kept, is_current=True)
    expected = sorted(kept.slate.table.to_pylist(), key=lambda row: (row["player_lookup"], row["role"]))
    assert (written.rows, written.loaded, written.retired) == (len(expected), True, 0)
    found = table.rows()
    assert len(found) == len(expected) > 300
    for row, made in zip(found, expected, strict=True):
        for name in ("player_lookup", "game_id", "system_id", "recommendation", "side", "role", "universal_player_id"):
            assert row[name] == made[name]
        assert float(row["predicted_points"]) == made["predicted_points"]
        assert row["is_active"] is (made["role"] == "served")
        assert (row["slate_id"], row["created_at"]) == (kept.slate_id, BEFORE_THE_GAMES)
    active = [row["player_lookup"] for row in found if row["is_active"]]
    assert len(set(active)) == len(active) == kept.slate.report.served


def test_the_same_slate_twice_is_there_once(table: Table) -> None:
    """Guards against players who are counted twice because a job was run again."""
    kept = table.kept()
    first, again = (table.writer().write(kept, is_current=True) for _ in range(2))
    assert (first.loaded, again.loaded, again.rows) == (True, False, first.rows)
    assert len(table.rows()) == first.rows


def test_a_later_version_retires_the_earlier_and_removes_nothing(table: Table) -> None:
    """Guards against two active predictions of one player, and against a history that is gone."""
    writer, first = table.writer(), table.kept()
    writer.write(first, is_current=True)
    second = table.kept("mock")
    assert writer.write(second, is_current=True).retired == first.slate.report.served
    rows = table.rows()
    assert {row["slate_version"] for row in rows if row["is_active"]} == {2}
    assert sum(row["slate_version"] == 1 for row in rows) == first.slate.table.num_rows
    late = table.kept(serial=9)
    assert writer.write(late, is_current=False).retired == 0
    assert {row["slate_version"] for row in table.rows() if row["is_active"]} == {2}


def test_rows_of_others_are_left_alone(table: Table) -> None:
    """Guards against the platform's own systems switched off by ours."""
    table.sql(f"ALTER TABLE {table.name} ALTER COLUMN slate_id DROP NOT NULL")
    some = {"STRING": "'x'", "DATE": f"DATE '{DAY}'", "NUMERIC": "1", "BOOL": "TRUE", "INT64": "1"}
    theirs = {c.name: some.get(c.type, "CURRENT_TIMESTAMP()") for c in COLUMNS if c.name != "slate_id"}
    table.sql(f"INSERT INTO {table.name} ({', '.join(theirs)}) VALUES ({', '.join(theirs.values())})")
    table.writer().write(table.kept(), is_current=True)
    (left,) = [row for row in table.rows() if row["slate_id"] is None]
    assert left["is_active"] is True


# --- lost answers ---------------------------------------------------------------------------------------------


@pytest.fixture
def proxy(bigquery_emulator: BigQueryEmulator) -> Iterator[FaultProxy]:
    """A proxy in front of the emulator's REST service.

    BigQuery takes a job's id or refuses it in one step. The emulator looks whether the id is there and then begins the
    job: of uploads that overlap, two can load. So they reach it in turn.
    """
    with FaultProxy(f"http://{bigquery_emulator.rest}", in_turn="/upload/").running() as running:
        yield running


def once(fault: Fault) -> Any:
    """The plan that disturbs the first upload of a load job."""
    left = [fault]

    def plan(call: Call) -> Fault | None:
        return left.pop() if left and "/upload/" in call.path else None

    return plan


@pytest.mark.parametrize(("kind", "when"), [("reset", "before"), ("503", "after"), ("reset", "after")])
def test_an_answer_that_is_lost_loads_nothing_twice(table: Table, proxy: FaultProxy, kind: Any, when: Any) -> None:
    """Guards against a slate that is there twice since the network lost the answer of the job that loaded it."""
    kept = table.kept("mock")
    injected = proxy.injected
    with proxy.disturbing(once(Fault(kind, when)), lambda: None):
        written = table.writer(endpoint=proxy.endpoint, deadline_seconds=60).write(kept, is_current=True)
    assert proxy.injected == injected + 1
    assert written.rows == kept.slate.table.num_rows == len(table.rows())


def test_writers_at_one_moment_load_a_slate_once(table: Table, proxy: FaultProxy) -> None:
    """Guards against several coordinators: the job's id is the slate's, so all but one meet a job that is there."""
    kept = table.kept()
    together, written = Barrier(4, timeout=60), list[TableWrite]()

    class Racer(BigQueryPredictionTable):
        """Loads when all have seen that nothing is there."""

        def _load(self, *arguments: Any) -> None:
            together.wait()
            super()._load(*arguments)

    def write() -> None:
        connection = table.emulator.connection(endpoint=proxy.endpoint)
        written.append(Racer(connection, table.name).write(kept, is_current=True))

    threads = [Thread(target=write) for _ in range(together.parties)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(written) == together.parties
    assert sum("/upload/" in call.path for call in proxy.calls) == together.parties
    assert len(table.rows()) == kept.slate.table.num_rows


def test_a_statement_that_met_another_is_asked_for_again(table: Table) -> None:
    """Guards against a slate without active rows: of two updates at one moment BigQuery refuses one as a bad query."""
    kept, refused = table.kept(), list[str]()

    class Crowded(BigQueryPredictionTable):
        """Refused as BigQuery refuses, the first time that it changes rows."""

        def _ask(self, client: bigquery.Client, statement: str, *rest: Any) -> list[bigquery.Row]:
            if statement.startswith("UPDATE") and not refused:
                refused.append(statement)
                raise BadRequest(f"Could not serialize access to table {table.name} due to concurrent update")
            return super()._ask(client, statement, *rest)

    Crowded(table.emulator.connection(), table.name).write(kept, is_current=True)
    assert refused
    assert sum(row["is_active"] for row in table.rows()) == kept.slate.report.served


def test_a_failed_job_does_not_stand_in_the_way_for_ever(table: Table) -> None:
    """Guards against a slate that can never be loaded because its first job failed: job ids are used up for good."""
    kept = table.kept()
    reference = bigquery.TableReference.from_string(f"{PROJECT}.{table.name}")
    config = bigquery.LoadJobConfig(source_format="PARQUET", create_disposition="CREATE_NEVER")
    with pytest.raises(Exception, match="nowhere"):
        table.emulator.client.load_table_from_file(
            io.BytesIO(slate_parquet(kept.slate)),
            f"{PROJECT}.{table.name}_nowhere",
            job_id=f"{_job_name(reference, kept)}-1",
            job_config=config,
        ).result()
    assert table.writer().write(kept, is_current=True).loaded
    assert len(table.rows()) == kept.slate.table.num_rows


def test_rows_that_were_removed_can_be_written_again(table: Table) -> None:
    """Guards against a job that went well once and is taken for its rows."""
    kept = table.kept()
    table.writer().write(kept, is_current=True)
    table.sql(f"DELETE FROM {table.name} WHERE game_date = DATE '{DAY}'")
    assert table.writer().write(kept, is_current=True).loaded
    assert len(table.rows()) == kept.slate.table.num_rows


def test_a_part_of_a_slate_is_said(table: Table) -> None:
    """Guards against a slate of which somebody removed rows, and which passes for whole."""
    kept = table.kept()
    table.writer().write(kept, is_current=True)
    player = kept.slate.table.column("player_lookup")[0].as_py()
    table.sql(f"DELETE FROM {table.name} WHERE game_date = DATE '{DAY}' AND player_lookup = '{player}'")
    whole = kept.slate.table.num_rows
    with pytest.raises(SlateError, match=f"has {whole - 1} rows of slate {kept.slate_id}, expected {whole}"):
        table.writer().write(kept, is_current=True)


# --- what a load says of its columns --------------------------------------------------------------------------


def loads(there: Table, kept: KeptSlate) -> list[bigquery.SchemaField]:
    """The schema of the job that loaded a slate, as the server has it."""
    reference = bigquery.TableReference.from_string(f"{PROJECT}.{there.name}")
    job = there.emulator.client.get_job(f"{_job_name(reference, kept)}-1")
    assert isinstance(job, bigquery.LoadJob)
    return list(job.schema or ())


def modes(schema: Sequence[bigquery.SchemaField]) -> dict[str, str]:
    return {field.name: field.mode for field in schema}


def alter(there: Table, change: Callable[[str], str]) -> None:
    """Make the table anew, its statement changed."""
    there.sql(f"DROP TABLE {there.name}")
    there.sql(change(create_table(f"`{PROJECT}.{there.name}`")))


def test_a_load_demands_what_the_table_of_the_readme_demands(table: Table) -> None:
    """Guards against a job without a schema: BigQuery then takes every column for one that may be NULL, and refuses."""
    kept = table.kept()
    table.writer().write(kept, is_current=True)
    found = modes(loads(table, kept))
    assert found == {column.name: "NULLABLE" if column.nullable else "REQUIRED" for column in COLUMNS}


def test_a_load_demands_nothing_of_a_table_that_demands_nothing(table: Table) -> None:
    """Guards against a platform's own table, or columns added by ALTER TABLE: a REQUIRED column does not fit those."""
    alter(table, lambda statement: statement.replace(" NOT NULL", ""))
    kept = table.kept()
    assert table.writer().write(kept, is_current=True).loaded
    assert modes(loads(table, kept)) == {column.name: "NULLABLE" for column in COLUMNS}


def test_a_load_leaves_the_tables_own_columns_out_and_keeps_the_parameters(table: Table) -> None:
    """Guards against a load that takes NUMERIC(5, 2) for NUMERIC, which takes the 5 and 2 off the platform's table."""
    alter(
        table,
        lambda statement: statement.replace("predicted_points NUMERIC", "predicted_points NUMERIC(5, 2)").replace(
            "created_at", "sport STRING, created_at"
        ),
    )
    kept = table.kept()
    assert table.writer().write(kept, is_current=True).loaded
    fields = {field.name: field for field in loads(table, kept)}
    assert set(fields) == {column.name for column in COLUMNS}
    assert (fields["predicted_points"].precision, fields["predicted_points"].scale) == (5, 2)
    assert "precision" not in fields["points_low"].to_api_repr()
    points = sorted(kept.slate.table.column("predicted_points").to_pylist())
    assert sorted(float(row["predicted_points"]) for row in table.rows()) == points


def test_the_file_demands_nothing_and_rounds_as_bigquery_does() -> None:
    """Guards against a file whose REQUIRED columns fit no other table, and a traceback over a line of 20.125."""
    rows = served_rows(slate(), 1, "a slate")
    lines = pa.array([Decimal("20.125"), Decimal("-20.125"), None], pa.decimal128(15, 6))
    rows = rows.slice(0, 3).set_column(rows.schema.get_field_index("line_margin"), "line_margin", lines)
    narrow = bigquery.SchemaField("line_margin", "NUMERIC", precision=5, scale=2)
    fit = TableFit(
        "t", [narrow, *(bigquery.SchemaField(name, "NUMERIC") for name in ("points_low", "slate_id", "role"))]
    )
    read = pq.read_table(parquet_file(fit.rows(rows)))
    assert all(field.nullable for field in read.schema)
    assert read.column("line_margin").to_pylist() == [Decimal("20.13"), Decimal("-20.13"), None]
    assert read.schema.field("points_low").type == pa.decimal128(15, 6)
    assert read.num_rows == 3


def test_a_job_is_asked_for_where_the_table_is(table: Table, proxy: FaultProxy) -> None:
    """Guards against 'the table is not there' in a region: a job is only found there by those who name the region."""
    kept = table.kept()
    with proxy.disturbing(once(Fault("reset", "after")), lambda: None):
        table.writer(endpoint=proxy.endpoint, deadline_seconds=60).write(kept, is_current=True)
        asked = [urlsplit(call.path) for call in proxy.calls if "/jobs/nba_ml_slate_" in call.path]
    assert asked
    where = table.emulator.client.get_table(f"{PROJECT}.{table.name}").location
    assert [parse_qs(each.query).get("location") for each in asked] == [[where]] * len(asked)


# --- tables that cannot take it -------------------------------------------------------------------------------


def test_a_missing_table_is_answered_with_the_statement_that_makes_it(table: Table) -> None:
    """Guards against 'Not found' and nothing more: the statement in the message works."""
    table.sql(f"DROP TABLE {table.name}")
    kept = table.kept()
    with pytest.raises(SlateError, match="does not exist") as refused:
        table.writer().write(kept, is_current=True)
    said = str(refused.value)
    statement = said[said.index("CREATE TABLE") : said.index("= TRUE)") + 7]
    table.sql(statement)
    assert table.writer().write(kept, is_current=True).loaded


def test_missing_columns_are_answered_with_the_statement_that_adds_them(table: Table) -> None:
    """Guards against a table that cannot hold a prediction, and half a word about it."""
    for name in ("system_id", "is_active"):
        table.sql(f"ALTER TABLE {table.name} DROP COLUMN {name}")
    kept = table.kept()
    with pytest.raises(SlateError, match="lacks 2 of the 6 required columns: system_id, is_active") as refused:
        table.writer().write(kept, is_current=True)
    said = str(refused.value)
    table.sql(said[said.index("ALTER TABLE") : said.index(". The slate is stored")])
    assert table.writer().write(kept, is_current=True).loaded


@pytest.mark.parametrize(
    ("column", "instead", "said"),
    [
        ("line_margin NUMERIC", "line_margin FLOAT64", "line_margin is FLOAT.*, expected NUMERIC"),
        ("created_at", "sport STRING NOT NULL, created_at", "sport is REQUIRED but not a column of slates"),
        ("points_low NUMERIC", "points_low NUMERIC NOT NULL", "points_low is REQUIRED but NULL in some rows"),
        ("points_high NUMERIC", "points_high NUMERIC(2, 1)", "points_high has 1 digits before the point, needs 2"),
        (
            "confidence_score NUMERIC",
            "confidence_score NUMERIC(4, 2)",
            "confidence_score has 2 digits before the point, needs 3",
        ),
        ("line_margin NUMERIC", "line_margin BIGNUMERIC", "line_margin is BIGNUMERIC, expected NUMERIC"),
    ],
)
def test_columns_that_cannot_hold_a_slate_are_named(table: Table, column: str, instead: str, said: str) -> None:
    """Guards against exact points that arrive rounded or in a column of floats, and a load that can only fail."""
    table.sql(f"DROP TABLE {table.name}")
    table.sql(create_table(f"`{PROJECT}.{table.name}`").replace(column, instead, 1))
    with pytest.raises(SlateError, match=said):
        table.writer().write(table.kept(), is_current=True)
    assert table.rows() == []


def test_a_name_that_is_no_table_is_refused(table: Table) -> None:
    """Guards against a setting that becomes part of a statement."""
    writer = BigQueryPredictionTable(table.emulator.connection(), "a.b` WHERE TRUE --")
    with pytest.raises(SettingsError, match="is not a valid BigQuery table"):
        writer.write(table.kept(), is_current=True)


def test_a_refusal_names_no_more_rights_than_are_needed(table: Table) -> None:
    """Guards against an account that may change every table of the dataset because a message said so."""
    needed = r"no\. The account needs .*bigquery\.dataEditor on the table\."
    with pytest.raises(SlateError, match=needed), table.writer()._explained("`p.d.t`"):
        raise Forbidden("no")


def test_a_used_up_quota_is_no_missing_role(table: Table) -> None:
    """Guards against rights that are granted for nothing: BigQuery calls both forbidden."""
    used_up = Forbidden("Quota exceeded.", errors=[{"reason": "quotaExceeded"}])
    used_up_said = pytest.raises(SlateError, match="A quota of the project is used up")
    with used_up_said as caught, table.writer()._explained("`p.d.t`"):
        raise used_up
    assert "roles/" not in str(caught.value)


def test_no_answer_is_said_in_words(table: Table) -> None:
    """Guards against a traceback of Google's library, and against doubt about what was written."""
    writer = BigQueryPredictionTable(
        table.emulator.connection(endpoint="http://127.0.0.1:9", deadline_seconds=1, request_seconds=1), table.name
    )
    with pytest.raises(SlateError, match=r"did not respond within 1 s.*It never writes a slate twice"):
        writer.write(table.kept(), is_current=True)


def test_a_statement_over_the_limit_gives_both_numbers() -> None:
    """Guards against a bare refusal of a table without a partition, whose slate is stored all the same."""
    writer = BigQueryPredictionTable(BigQueryConnection(project=PROJECT, maximum_bytes_billed=1000), "d.t")
    words = "Query exceeded limit for bytes billed: 1000. 20971520 or higher required."
    error = BadRequest(words, errors=[{"reason": "bytesBilledLimitExceeded"}])
    needed = r"would bill 20,971,520 bytes, and the limit NBA_ML_BIGQUERY_MAX_BYTES is 1,000\..*The slate is stored"
    with pytest.raises(SlateError, match=needed), writer._explained("`p.d.t`"):
        raise error
