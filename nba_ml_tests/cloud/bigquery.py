"""BigQuery on this machine: an emulator in an environment of its own, and tables of the platform's shape in it.

What the emulator honours, tried: the mandatory partition filter, parameters, ordering, load jobs, the Storage
Read API. What it does not: dry-run bytes and `maximum_bytes_billed`; those errors come from a server that
speaks BigQuery's words (`faults`).
"""

from __future__ import annotations

import io
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from google.api_core.exceptions import GoogleAPIError
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery

from nba_ml.sources.bigquery import BigQueryFeatureSource
from nba_ml.sources.bigquery_connection import BigQueryConnection
from nba_ml_tests.cloud.datasets import make_dataset
from nba_ml_tests.ports import free_port, listens

PROJECT = "platform-tests"
ENVIRONMENT = Path(__file__).parents[2] / ".venv-bigquery"
STARTS_WITHIN = 180.0
"""Seconds: 5 to 7 on an idle machine."""

TAKEN = "address already in use"
"""What its log says, in whatever case, when another server has its port."""

NOT_THERE = (
    f"{ENVIRONMENT.name} is not there: the BigQuery emulator needs an environment of Python 3.13, which `make test` "
    "makes where it finds one"
)

FEATURE_TABLE = """
    player_lookup STRING, universal_player_id STRING, game_date DATE, game_id STRING, features ARRAY<FLOAT64>,
    feature_names ARRAY<STRING>, feature_count INT64, feature_version STRING, feature_quality_score NUMERIC,
    opponent_team_abbr STRING, is_home BOOL, days_rest INT64, data_source STRING, early_season_flag BOOL,
    is_production_ready BOOL, created_at TIMESTAMP, updated_at TIMESTAMP
"""
_SUMMARY_COLUMNS = """
    player_lookup STRING, universal_player_id STRING, game_date DATE, game_id STRING, team_abbr STRING,
    points INT64, minutes_played INT64
"""


@dataclass(frozen=True)
class BigQueryEmulator:
    """A running emulator: address of its REST service, and of its Storage Read service."""

    rest: str
    storage: str

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs to use it."""
        return {
            "NBA_ML_SOURCE": "bigquery",
            "NBA_ML_BIGQUERY_PROJECT": PROJECT,
            "BIGQUERY_EMULATOR_HOST": self.rest,
            "BIGQUERY_STORAGE_EMULATOR_HOST": self.storage,
        }

    @cached_property
    def client(self) -> bigquery.Client:
        return bigquery.Client(
            project=PROJECT, credentials=AnonymousCredentials(), client_options={"api_endpoint": f"http://{self.rest}"}
        )

    def connection(self, **changes: Any) -> BigQueryConnection:
        """The connection under test, some of its fields changed."""
        fields: dict[str, Any] = {
            "project": PROJECT,
            "endpoint": f"http://{self.rest}",
            "storage_endpoint": self.storage,
        }
        return BigQueryConnection(**{**fields, **changes})


@dataclass(frozen=True)
class Platform:
    """A dataset with the platform's two tables, both partitioned by date with a mandatory filter."""

    emulator: BigQueryEmulator
    dataset: str

    @property
    def features(self) -> str:
        return f"{self.dataset}.ml_feature_store_v2"

    @property
    def summary(self) -> str:
        return f"{self.dataset}.player_game_summary"

    @property
    def environment(self) -> dict[str, str]:
        return {
            **self.emulator.environment,
            "NBA_ML_FEATURE_TABLE": self.features,
            "NBA_ML_SUMMARY_TABLE": self.summary,
        }

    def source(self, **connection: object) -> BigQueryFeatureSource:
        """The source under test on these tables."""
        return BigQueryFeatureSource(
            connection=self.emulator.connection(**connection), feature_table=self.features, summary_table=self.summary
        )

    def load(self, features: pa.Table | None = None, summary: pa.Table | None = None) -> None:
        """Append rows, as `tables.ML_FEATURE_STORE_V2` and `tables.PLAYER_GAME_SUMMARY` have them."""
        if features is not None:
            self.append(self.features, features)
        if summary is not None:
            columns = [column.split()[0] for column in _SUMMARY_COLUMNS.split(",")]
            self.append(self.summary, summary.select(columns))

    def sql(self, statement: str) -> None:
        """Run a statement; `{features}` and `{summary}` stand for the tables."""
        self.emulator.client.query_and_wait(statement.format(features=self.features, summary=self.summary))

    def append(self, table: str, rows: pa.Table) -> None:
        """Load rows into a table that exists."""
        data = io.BytesIO()
        pq.write_table(rows, data)
        data.seek(0)
        options = bigquery.ParquetOptions()
        options.enable_list_inference = True
        config = bigquery.LoadJobConfig(source_format="PARQUET", write_disposition="WRITE_APPEND")
        config.parquet_options = options
        self.emulator.client.load_table_from_file(data, f"{PROJECT}.{table}", job_config=config).result()


def make_platform(emulator: BigQueryEmulator) -> Platform:
    """A new dataset with both tables, empty. In a test it lasts as long as what asked for it."""
    platform = Platform(emulator, make_dataset(emulator.client))
    for table, columns in (("{features}", FEATURE_TABLE), ("{summary}", _SUMMARY_COLUMNS)):
        platform.sql(
            f"CREATE TABLE {table} ({columns}) PARTITION BY game_date OPTIONS (require_partition_filter = TRUE)"
        )
    return platform


@pytest.fixture(scope="session")
def bigquery_emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BigQueryEmulator]:
    """A running emulator; its data is thrown away. Skips, or fails where NBA_ML_REQUIRE_EMULATORS is 1."""
    if not (ENVIRONMENT / ".ready").exists():
        if os.environ.get("NBA_ML_REQUIRE_EMULATORS") == "1":
            pytest.fail(NOT_THERE)
        pytest.skip(NOT_THERE)
    with running_emulator(tmp_path_factory.mktemp("bigquery")) as emulator:
        yield emulator


@contextmanager
def running_emulator(folder: Path) -> Iterator[BigQueryEmulator]:
    """An emulator with its data in the folder; its process ends with the block."""
    process, emulator = _started(folder)
    try:
        yield emulator
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=STARTS_WITHIN)


def _started(folder: Path) -> tuple[subprocess.Popen[bytes], BigQueryEmulator]:
    """Start it and wait until it answers queries.

    A port that was free may be taken the moment after, by whatever else runs here: then on others.
    """
    (folder / "data").mkdir()
    log = folder / "log"
    for _ in range(10):
        process, emulator = _begun(folder)
        deadline = time.monotonic() + STARTS_WITHIN
        while process.poll() is None and TAKEN not in log.read_text().lower():
            try:  # the port answers before it is ready: only a query tells
                if listens(process, *(int(each.rpartition(":")[2]) for each in (emulator.rest, emulator.storage))):
                    emulator.client.query_and_wait("SELECT 1", retry=None, api_timeout=30)  # type: ignore[arg-type]
                    return process, emulator
            except (GoogleAPIError, OSError):
                pass
            if time.monotonic() > deadline:
                break
            time.sleep(0.2)
        process.kill()
        process.wait()
        assert TAKEN in log.read_text().lower(), f"no answer within {STARTS_WITHIN} s:\n{log.read_text()[-3000:]}"
    raise AssertionError(f"ten times a port was taken:\n{log.read_text()[-3000:]}")


def _begun(folder: Path) -> tuple[subprocess.Popen[bytes], BigQueryEmulator]:
    """The process, on free ports."""
    emulator = BigQueryEmulator(*(f"127.0.0.1:{free_port()}" for _ in range(2)))
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [ENVIRONMENT / "bin" / "local-bigquery"],
            env={
                "PATH": os.environ["PATH"],
                # DuckDB looks for its extensions under the home; those of this environment were put there with it.
                "HOME": str(ENVIRONMENT / "home"),
                "DEFAULT_PROJECT_ID": PROJECT,
                "BIGQUERY_HOST": "127.0.0.1",
                "BIGQUERY_PORT": emulator.rest.rpartition(":")[2],
                "GRPC_PORT": emulator.storage.rpartition(":")[2],
                "DATA_DIR": str(folder / "data"),
            },
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=folder,
        )
    return process, emulator
