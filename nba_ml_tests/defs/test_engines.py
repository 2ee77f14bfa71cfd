"""Dagster's SQLite databases while their engines are kept."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import sqlalchemy
from dagster._core.storage.event_log.sqlite import sqlite_event_log

from nba_ml.defs.internals import engines_kept, sync_databases
from nba_ml_tests.runner.conftest import count

FOLDER = "history/runs"


def recorded(root: Path) -> int:
    """The materialisations that another program sees in the file of the index."""
    with closing(sqlite3.connect(f"{(root / FOLDER / 'index.db').as_uri()}?mode=ro", uri=True)) as connection:
        return int(connection.execute("SELECT count(*) FROM event_logs").fetchone()[0])


def left_open(root: Path) -> Sequence[str]:
    return sorted(file.name for file in root.rglob("*.db-wal"))


def test_connections_stay_open_and_every_event_is_there_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards the time of a run, 180 events each with several connections; and an event that only this process sees."""
    original = vars(sqlite_event_log)["create_engine"]
    with engines_kept(), dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        instance.report_runless_asset_event(dg.AssetMaterialization("first"))
        opened = count(monkeypatch, sqlite3.dbapi2, "connect")
        for number in range(2, 22):
            instance.report_runless_asset_event(dg.AssetMaterialization(f"asset_{number}"))
            assert recorded(tmp_path) == number
        assert len(opened) - 20 < 5, "20 are those of the test"
        with ThreadPoolExecutor(4) as threads:
            list(
                threads.map(lambda n: instance.report_runless_asset_event(dg.AssetMaterialization(f"b{n}")), range(20))
            )
        assert recorded(tmp_path) == 41
        assert left_open(tmp_path)
    assert left_open(tmp_path) == [], "whoever copies the folder now has all of it"
    assert recorded(tmp_path) == 41
    assert vars(sqlite_event_log)["create_engine"] is original


def test_the_files_of_many_runs_are_not_all_open(tmp_path: Path) -> None:
    """Guards the number of open files in a long backfill: each run has a file of its own."""

    @dg.job
    def nothing() -> None:
        pass

    with engines_kept(), dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        runs = [nothing.execute_in_process(instance=instance).run_id for _ in range(8)]
        assert len(left_open(tmp_path)) <= 4
        assert len(instance.all_logs(runs[0])) > 0
    assert left_open(tmp_path) == []


def test_what_a_run_has_recorded_outlives_a_power_failure(tmp_path: Path) -> None:
    """Guards finished months: after a sync, the files have everything without the logs that are not synced."""
    with engines_kept(), dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        instance.report_runless_asset_event(dg.AssetMaterialization("first"))
        sync_databases()
        (tmp_path / "synced").mkdir()
        shutil.copytree(
            tmp_path / FOLDER, tmp_path / "synced" / FOLDER, ignore=shutil.ignore_patterns("*-wal", "*-shm")
        )
        assert recorded(tmp_path / "synced") == 1


def test_a_database_may_be_opened_while_the_others_are_synced(tmp_path: Path) -> None:
    """Guards a finished month: its run failed where another thread opened the file of a run at that moment."""
    dagsters: Any = sqlite_event_log
    with engines_kept():
        urls = [f"sqlite:///{tmp_path / name}.db" for name in "abc"]
        first, _ = (dagsters.create_engine(url) for url in urls[:2])

        @sqlalchemy.event.listens_for(first, "before_cursor_execute")
        def opens_another(*_: object) -> None:
            with ThreadPoolExecutor(1) as thread:
                thread.submit(dagsters.create_engine, urls[2]).result()

        sync_databases()
        assert dagsters.create_engine(urls[0]) is first
