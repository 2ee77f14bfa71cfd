"""Errors of Dagster's own files in the home, each with its path and what to do.

What belongs here: `dagster.yaml` and the SQLite databases. Models, data and what is published are in neither.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from nba_ml.contract.errors import InstanceError, SettingsError

_DAMAGED = frozenset((sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB))

_REFUSED = {
    sqlite3.SQLITE_FULL: "the disk is full. Free some space",
    sqlite3.SQLITE_IOERR: "the disk is full, or cannot be read or written. Free some space, or check the disk",
    sqlite3.SQLITE_READONLY: "this user may not write to it. Change its owner or permissions",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened. Check the permissions of the folder, and that the disk has space",
    sqlite3.SQLITE_PERM: "this user may not open it. Change its owner or permissions",
}

_FOLDERS = ("history", "schedules")
"""Where Dagster keeps its databases, unless `dagster.yaml` says otherwise."""


@contextmanager
def config_errors_named(dagster_home: Path) -> Iterator[None]:
    """Errors of `dagster.yaml` while the instance is opened, and of the database that it names, unless that is SQLite.

    Raises:
        SettingsError: it is not UTF-8, not YAML, or has entries that Dagster does not know.
        InstanceError: the database cannot be reached, or its URL or driver is wrong.
    """
    import dagster as dg
    import yaml

    try:
        yield
    except (UnicodeDecodeError, yaml.YAMLError, dg.DagsterInvalidConfigError) as error:
        entries = error.errors if isinstance(error, dg.DagsterInvalidConfigError) else ()
        # Dagster's own text begins with the whole form of the file.
        text = " ".join(entry.message for entry in entries) or str(error)
        reason = " ".join(text.split())[:400].rstrip(".")
        raise SettingsError(
            f"{dagster_home / 'dagster.yaml'} cannot be used: {reason}. Correct it, or move it away: the next command "
            "writes a new one with the defaults."
        ) from error
    except Exception as error:
        if problem := _database_reason(error):
            yaml_file = dagster_home / "dagster.yaml"
            raise InstanceError(f"{yaml_file} names a database that cannot be used: {problem}") from error
        raise


@contextmanager
def database_errors_named(dagster_home: Path) -> Iterator[None]:
    """Errors of the instance's SQLite databases, also where another error was caused by one.

    Raises:
        InstanceError: a database is damaged, or cannot be read or written.
    """
    try:
        yield
    except Exception as error:
        cause = _sqlite_error(error)
        code = getattr(cause, "sqlite_errorcode", 0) & 0xFF  # without what extends the primary code
        if code in _DAMAGED:
            raise InstanceError(_damaged(dagster_home, cause)) from error
        if code in _REFUSED:
            raise InstanceError(
                f"A database of Dagster's in {dagster_home} could not be used ({cause}): {_REFUSED[code]} and run the "
                "command again. It continues from what was finished."
            ) from error
        raise


def _database_reason(error: Exception) -> str | None:
    """Why a database other than SQLite cannot be used, and what to do; None if that is not the error."""
    from sqlalchemy.exc import SQLAlchemyError

    causes = list(_causes(error))
    modules = {each.name for each in causes if isinstance(each, ModuleNotFoundError)}
    if "dagster_postgres" in modules:
        return "Postgres needs an extra. Install it: pip install 'nba_ml[postgres]'."
    if "psycopg" in modules:
        return "its URL names no driver. Begin it with postgresql+psycopg2://."
    refused = [each for each in causes if isinstance(each, SQLAlchemyError)]
    if not refused or _sqlite_error(error):
        return None
    # The driver's own words are on the first line; a password is in none of them.
    return f"{str(refused[-1]).splitlines()[0].rstrip('.')}. Check its address, and that it runs."


def _sqlite_error(error: BaseException | None) -> sqlite3.Error | None:
    """The error itself, or the one that it was raised from or during."""
    return next((each for each in _causes(error) if isinstance(each, sqlite3.Error)), None)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error, and those that it was raised from or during."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        yield error
        seen.add(id(error))
        error = error.__cause__ or error.__context__


def _damaged(dagster_home: Path, cause: sqlite3.Error | None) -> str:
    files = [file for folder in _FOLDERS for file in sorted((dagster_home / folder).rglob("*.db")) if not _whole(file)]
    # The history's databases refer to each other: they are replaced together.
    folders = list(dict.fromkeys(dagster_home / file.relative_to(dagster_home).parts[0] for file in files))
    named = ", ".join(map(str, files[:3])) or f"a database in {dagster_home}"
    folders = folders or [dagster_home / name for name in _FOLDERS]
    start = f"move {' and '.join(map(str, folders))} away"
    if dagster_home / "history" in folders:
        start += (
            " and run `nba-ml backfill --only-missing`: it makes every month again, with the same ids where nothing "
            "else changed. What is lost is the history of runs and checks in the UI"
        )
    else:
        start += ". What is lost is which schedules and sensors are on; switch them on again in the UI"
    return (
        f"Dagster's database is damaged ({cause}): {named}. Store and published models are not in it. Restore it from "
        f"a backup; or start a new one: end every nba-ml and Dagster process, {start}."
    )


def _whole(file: Path) -> bool:
    try:
        with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)) as connection:
            return bool(connection.execute("PRAGMA quick_check(1)").fetchone() == ("ok",))
    except sqlite3.DatabaseError:
        return False
