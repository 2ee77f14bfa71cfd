"""What nba_ml uses of Dagster that is not, or not yet, a promise of Dagster's: its private modules and its previews.

The only module that imports `dagster._core`, so that an upgrade of Dagster is checked here. Each name says why there
is no public way.
"""

from __future__ import annotations

import sqlite3
import threading
import warnings
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import dagster as dg
import sqlalchemy as sql

# To report a check's result outside a run: the public class of a result takes it, and there is no public name for it.
from dagster._core.definitions.asset_checks.asset_check_evaluation import (
    AssetCheckEvaluationTargetMaterializationData,
)

# The version of each month, for many months at once: there is no public call; this is what the UI itself asks.
from dagster._core.definitions.data_version import DATA_VERSION_TAG

# A repository as the states of its schedules and sensors are filed: by the names of its location and its own.
from dagster._core.definitions.repository_definition import SINGLETON_REPOSITORY_NAME

# Dagster names it in its own signatures and exports it to type checkers only.
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

# An instance with settings beside those of its dagster.yaml.
from dagster._core.instance.ref import InstanceRef

# Whether a schedule was switched by a person, and since when.
from dagster._core.scheduler.instigation import InstigatorStatus, ScheduleInstigatorData
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus

# To keep a connection to its files open.
from dagster._core.storage.event_log import SqlEventLogStorage, SqliteEventLogStorage

# The results of many checks and months at once: Dagster asks check by check, and month by month.
from dagster._core.storage.event_log.schema import AssetCheckExecutionsTable, SqlEventLogStorageTable

# To keep its engines.
from dagster._core.storage.event_log.sqlite import sqlite_event_log
from dagster._core.storage.runs.sqlite import sqlite_run_storage

# The month of a run, for an asset that has no months; whether a run that failed is queued again, and how often.
from dagster._core.storage.tags import (
    MAX_RETRIES_TAG,
    PARTITION_NAME_TAG,
    RETRY_ON_ASSET_OR_OP_FAILURE_TAG,
    WILL_RETRY_TAG,
)

# An id for a run that is known before the run begins.
from dagster._core.utils import make_new_run_id

# The code location as the web server's application is made over it.
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import ModuleTarget, WorkspaceFileTarget
from sqlalchemy.pool import QueuePool

__all__ = [
    "DATA_VERSION_TAG",
    "LOCATION_NAME",
    "MAX_RETRIES_TAG",
    "PARTITION_NAME_TAG",
    "REPOSITORY",
    "RETRY_ON_ASSET_OR_OP_FAILURE_TAG",
    "WILL_RETRY_TAG",
    "AssetCheckEvaluationTargetMaterializationData",
    "AssetCheckExecutionRecordStatus",
    "CheckExecution",
    "InstanceRef",
    "InstigatorStatus",
    "ModuleTarget",
    "ScheduleInstigatorData",
    "SqliteEventLogStorage",
    "UnresolvedAssetJobDefinition",
    "WorkspaceFileTarget",
    "WorkspaceProcessContext",
    "engines_kept",
    "forget_outputs",
    "latest_check_executions",
    "make_new_run_id",
    "silence_preview_warnings",
    "stored_events",
    "sync_databases",
]

LOCATION_NAME = "nba_ml"
"""As in workspace.yaml."""

REPOSITORY = dg.RepositorySelector(location_name=LOCATION_NAME, repository_name=SINGLETON_REPOSITORY_NAME)
"""What Dagster makes of the definitions, under the name by which it keeps the switches of schedules and sensors."""

_USED = {
    # One result per month and check: without it a check speaks of whichever month ran last.
    r".*partitions_def.*AssetCheckSpec.*": dg.PreviewWarning,
    # A digest as data version is what makes "the same rows, so nothing to do" visible to Dagster.
    r".*data_version.*Output.*": dg.BetaWarning,
    # Where an asset's code is: the UI links to it.
    r".*(LocalFileCodeReference|CodeReferencesMetadataValue).*": dg.BetaWarning,
    # Tables that are made elsewhere: observed, with a data version for each month.
    r".*observable_source_asset.*": dg.BetaWarning,
    # The first month's window reaches back before the first partition.
    r".*allow_nonexistent_upstream_partitions.*": dg.BetaWarning,
}


@contextmanager
def silence_preview_warnings() -> Iterator[None]:
    """Leave out the warnings about the named features; any other warning still shows."""
    with warnings.catch_warnings():
        for message, category in _USED.items():
            warnings.filterwarnings("ignore", message=message, category=category)
        yield


@dataclass(frozen=True, slots=True)
class CheckExecution:
    """The latest execution of a check for a month: its status, the storage id of the materialisation that it ran on,
    and its event as stored."""

    key: dg.AssetCheckKey
    month: str
    status: str
    materialisation: int | None
    event: str | None


def latest_check_executions(
    instance: dg.DagsterInstance, keys: Sequence[dg.AssetCheckKey], months: Sequence[str]
) -> Iterator[CheckExecution]:
    """The latest execution of each check and month, in one query; nothing of a check that never ran.

    As Dagster's `get_asset_check_partition_info`: an execution that was planned by an old version, without an event, is
    none.
    """
    names = {(key.asset_key.to_string(), key.name): key for key in keys}
    table = AssetCheckExecutionsTable.c
    latest = (
        sql.select(sql.func.max(table.id))
        .where(
            table.asset_key.in_({asset for asset, _ in names}),
            table.check_name.in_({name for _, name in names}),
            table.partition.in_(months),
            table.evaluation_event_storage_id.is_not(None),
        )
        .group_by(table.asset_key, table.check_name, table.partition)
    )
    columns = (table.asset_key, table.check_name, table.partition, table.execution_status)
    query = sql.select(*columns, table.materialization_event_storage_id, table.evaluation_event).where(
        table.id.in_(latest)
    )
    # Every storage that Dagster ships is one, or hands this call on to one.
    with cast(SqlEventLogStorage, instance.event_log_storage).index_connection() as connection:
        rows = connection.execute(query).fetchall()
    for asset, name, month, status, materialisation, event in rows:
        if (asset, name) in names:  # assets and names are selected separately
            yield CheckExecution(names[asset, name], month, status, materialisation, event)


def stored_events(instance: dg.DagsterInstance, ids: Sequence[int]) -> list[tuple[str, str]]:
    """The month of each of these events, and the event as stored. To parse one takes Dagster milliseconds."""
    table = SqlEventLogStorageTable.c
    query = sql.select(table.partition, table.event).where(table.id.in_(ids))
    with cast(SqlEventLogStorage, instance.event_log_storage).index_connection() as connection:
        return [(month, event) for month, event in connection.execute(query).fetchall()]


class _OneOpen(QueuePool):
    """One connection that stays open between uses; others, used at the same time, are closed after use."""

    def __init__(self, creator: Any, **options: Any) -> None:
        super().__init__(creator, **{**options, "pool_size": 1, "max_overflow": -1})

    def dispose(self) -> None:
        """Dagster disposes of its engine after every event."""

    def recreate(self) -> _OneOpen:
        return self

    def close(self) -> None:
        super().dispose()


_ENGINES = 4
"""The index of events, the runs, the events of the run at work, and those of another one."""


@contextmanager
def engines_kept() -> Iterator[None]:
    """Let Dagster's SQLite storages use an engine of SQLAlchemy, and its connection, more than once.

    They make a new engine and a new connection for every event, several times. A new engine has no compiled statements.
    A new connection reads the schema, and the last one to be closed copies the write-ahead log into the file, syncs and
    deletes it. Together they were three quarters of what an event cost. The last files are closed when the block ends.

    A commit is written, and not synced: a killed process leaves what it had recorded, as before, and a power failure
    loses what came after the last `sync_databases`.
    """
    places: tuple[Any, ...] = (sqlite_event_log, sqlite_run_storage)
    made = [place.create_engine for place in places]

    def create_engine(url: str, *, connect_args: Mapping[str, int] | None = None, **_: Any) -> sql.Engine:
        with _changing:
            if url not in _kept:
                # A connection may be used by one thread after another.
                options = {**(connect_args or {}), "check_same_thread": False}
                _kept[url] = sql.create_engine(url, poolclass=_OneOpen, connect_args=options)
                sql.event.listen(_kept[url], "connect", _write_ahead)
                if len(_kept) > _ENGINES:
                    _close(_kept.popitem(last=False)[1])
            _kept.move_to_end(url)
            return _kept[url]

    for place in places:
        place.create_engine = create_engine
    try:
        yield
    finally:
        for place, original in zip(places, made, strict=True):
            place.create_engine = original
        while _kept:
            _close(_kept.popitem()[1])


def forget_outputs(context: dg.OutputContext) -> None:
    """Let go of the values that this run has stored so far.

    A run in this process keeps those of all its steps, for callers who ask its result for them, and something of
    Dagster keeps the run until the next one: 20 MB more in each month of a backfill.
    """
    try:
        kept = context.step_context.output_capture
    except dg.DagsterInvariantViolationError:
        return  # outside a run there is no step
    if kept is not None:
        kept.clear()


def sync_databases() -> None:
    """Sync what the kept engines have committed. A power failure then loses nothing of the runs so far."""
    for engine in list(_kept.values()):  # another thread may open a database meanwhile
        with engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA wal_checkpoint(PASSIVE)")


_kept: OrderedDict[str, sql.Engine] = OrderedDict()
_changing = threading.Lock()


def _write_ahead(connection: sqlite3.Connection, _: object) -> None:
    """As Dagster sets it when it makes the file, and without a sync for each of the 200 commits of a run."""
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")


def _close(engine: sql.Engine) -> None:
    cast(_OneOpen, engine.pool).close()
