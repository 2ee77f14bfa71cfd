"""The home: the folder of everything local, including Dagster's instance.

What belongs here: creating it, locking out a second writer, and cleaning up after a killed one.
"""

from __future__ import annotations

import fcntl
import os
import re
import socket
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from nba_ml.contract.assets import HOME_TAG, PID_TAG
from nba_ml.contract.errors import HomeBusyError, SettingsError
from nba_ml.runner.instance_errors import config_errors_named, database_errors_named
from nba_ml.settings import Settings
from nba_ml.storage.directory import DirectoryStore

# Dagster takes seconds to import. A busy home, or one that cannot be written to, says so without it.
if TYPE_CHECKING:
    import dagster as dg

_DAGSTER_YAML = """\
# Written by nba_ml on first use; yours to change.
telemetry:
  enabled: false
# No form for a newsletter over the first page.
nux:
  enabled: false
concurrency:
  runs:
    # A month needs the months before it, and a run uses every core: the months of a backfill go one by one.
    max_concurrent_runs: 1
"""

_MISREAD = re.compile("[?]|%[0-9a-fA-F]{2}")


def prepare_home(settings: Settings) -> None:
    """Create the home and Dagster's folder, with a `dagster.yaml` if there is none.

    Raises:
        SettingsError: the folder cannot be created or written to, or Dagster could not open a database in it.
    """
    if _MISREAD.search(str(settings.dagster_home)):
        raise SettingsError(
            f"{settings.dagster_home} has a '?', or a '%' before two digits or letters a to f. Dagster makes an "
            "address of a database's path, and these mean something else there. Set NBA_ML_HOME (or DAGSTER_HOME) to "
            "a folder without them."
        )
    for folder in (settings.home, settings.dagster_home):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as error:
            raise SettingsError(
                f"Cannot write to {folder} ({error.strerror}). Set NBA_ML_HOME (or DAGSTER_HOME) to a writable folder."
            ) from error
    if not (settings.dagster_home / "dagster.yaml").exists():
        # Whole or not at all: half a file, left by a kill, would be an instance with telemetry on.
        DirectoryStore(settings.dagster_home).write("dagster.yaml", _DAGSTER_YAML.encode())


@contextmanager
def exclusive(home: Path) -> Iterator[None]:
    """Hold the home's lock. The kernel releases it however this process ends.

    Raises:
        HomeBusyError: another process holds it; names its pid.
    """
    with (home / "lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            holder = lock.read().strip() or "unknown"
            raise HomeBusyError(
                f"Another nba-ml (process {holder}) is using {home}. Wait for it to end, or set NBA_ML_HOME to another "
                "folder."
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


@contextmanager
def open_instance(settings: Settings) -> Iterator[dg.DagsterInstance]:
    """Dagster's instance of this home, as the UI shows it.

    This process's output is not captured: that would take four child processes per run and redirect the terminal away
    from the progress bar. Runs that the UI starts are captured as usual.

    Raises:
        SettingsError: `dagster.yaml` cannot be used.
        InstanceError: a database is damaged, or cannot be read or written; also while the block runs.
    """
    import dagster as dg

    from nba_ml.defs.internals import InstanceRef, engines_kept

    prepare_home(settings)
    folder = settings.dagster_home
    uncaptured = {"module": "dagster._core.storage.noop_compute_log_manager", "class": "NoOpComputeLogManager"}
    with database_errors_named(folder), engines_kept(), ExitStack() as stack:
        with config_errors_named(folder):
            ref = InstanceRef.from_dir(str(folder), overrides={"compute_logs": uncaptured})
            instance = stack.enter_context(dg.DagsterInstance.from_ref(ref))
        yield instance


def home_of(instance: dg.DagsterInstance) -> str:
    """The machine and the folder of this process's Dagster instance."""
    return f"{socket.gethostname()}:{instance.root_directory}"


def fail_orphaned_runs(instance: dg.DagsterInstance) -> int:
    """Mark the unfinished runs of this home's command lines as failed, so that the UI does not show them running for
    ever.

    Call it under the home's lock: then no process that could still be at work on them holds it. Other homes' runs may
    be under way in the same database, unless that is a file of this home.
    """
    import dagster as dg

    from nba_ml.defs.internals import SqliteEventLogStorage

    status = dg.DagsterRunStatus
    unfinished = [status.NOT_STARTED, status.STARTING, status.STARTED, status.CANCELING]
    runs = [run for run in instance.get_runs(dg.RunsFilter(statuses=unfinished)) if PID_TAG in run.tags]
    if not isinstance(instance.event_log_storage, SqliteEventLogStorage):
        runs = [run for run in runs if run.tags.get(HOME_TAG) == home_of(instance)]
    for run in runs:
        instance.report_run_failed(run, f"Process {run.tags[PID_TAG]} was killed or interrupted during this run.")
    return len(runs)
