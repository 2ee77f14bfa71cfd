"""Postgres on this machine: Debian's server on a free loopback port, its files in a folder of its own.

The fixture is for a conftest to import.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sql

from nba_ml_tests.ports import free_port

NOT_INSTALLED = "needs a Postgres server: apt-get install postgresql"

_ATTEMPTS = 5
"""A port that was free may be taken the moment after."""


def postgres_programs() -> Path | None:
    """The folder of the newest server's programs, which Debian leaves out of the PATH. None if there is none."""
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"), key=lambda program: int(program.parts[-3]))
    found = debian[-1] if debian else shutil.which("pg_ctl")
    return Path(found).parent if found else None


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """The URL of an empty database, with the driver in it: `postgresql+psycopg2://...`."""
    if postgres_programs() is None:
        if os.environ.get("NBA_ML_REQUIRE_EMULATORS") == "1":
            pytest.fail(NOT_INSTALLED)
        pytest.skip(NOT_INSTALLED)
    with running_postgres() as url:
        yield url


def new_database(url: str, name: str) -> str:
    """The URL of a new, empty database of the same server: the runs of another test would fill the queue."""
    engine = sql.create_engine(url, isolation_level="AUTOCOMMIT")  # a database cannot be made in a transaction
    with engine.connect() as connection:
        connection.execute(sql.text(f"CREATE DATABASE {name}"))
    engine.dispose()
    return f"{url.rpartition('/')[0]}/{name}"


@contextmanager
def running_postgres() -> Iterator[str]:
    """The URL of a server that runs while the block does."""
    programs = postgres_programs()
    assert programs is not None, NOT_INSTALLED
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    # The server refuses to run as root.
    user = "postgres" if os.geteuid() == 0 else None
    if user:
        shutil.chown(folder, user)

    def run(program: str, *options: str) -> bool:
        command = [str(programs / program), "-D", str(folder / "data"), *options]
        done = subprocess.run(command, user=user, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
        return done.returncode == 0

    try:
        assert run("initdb", "--username=dagster", "--auth=trust", "--no-sync", "--encoding=UTF8"), "initdb failed"
        for _ in range(_ATTEMPTS):
            port = free_port()
            settings = f"-p {port} -h 127.0.0.1 -c unix_socket_directories='' -c fsync=off -c max_connections=200"
            if run("pg_ctl", "start", "--wait", "-o", settings, "-l", str(folder / "log")):
                break
        else:
            raise AssertionError((folder / "log").read_text())
        yield f"postgresql+psycopg2://dagster@127.0.0.1:{port}/postgres"
    finally:
        run("pg_ctl", "stop", "-m", "immediate")
        shutil.rmtree(folder, ignore_errors=True)
