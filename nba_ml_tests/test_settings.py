"""The environment is read once, at the edge, and a value that cannot work is named."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import nba_ml
from nba_ml.core.errors import SettingsError
from nba_ml.settings import SAMPLE_DATA, Settings


def test_nothing_set_puts_everything_local_under_one_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Guards against files strewn over the machine, and against relative paths that a later chdir moves."""
    monkeypatch.chdir(tmp_path)
    home = tmp_path / ".nba_ml"
    assert Settings.from_environment({}) == Settings(
        home=home,
        store=home / "store",
        artifact_root=home / "artifacts",
        data=SAMPLE_DATA,
        dagster_home=home / "dagster",
        threads=None,
    )


def test_every_setting_is_read(tmp_path: Path) -> None:
    """Guards against a setting that is documented and ignored."""
    environ = {
        "NBA_ML_HOME": "~/somewhere",
        "NBA_ML_STORE": str(tmp_path / "s"),
        "NBA_ML_ARTIFACT_ROOT": str(tmp_path / "a"),
        "NBA_ML_DATA": str(tmp_path / "d"),
        "DAGSTER_HOME": str(tmp_path / "g"),
        "NBA_ML_THREADS": "3",
        "NBA_ML_SOURCE": "embedded",
    }
    assert Settings.from_environment(environ) == Settings(
        home=Path.home() / "somewhere",
        store=tmp_path / "s",
        artifact_root=tmp_path / "a",
        data=tmp_path / "d",
        dagster_home=tmp_path / "g",
        threads=3,
    )


def test_an_empty_value_counts_as_unset() -> None:
    """Guards against `NBA_ML_STORE=` in a .env file becoming the current folder."""
    names = ["NBA_ML_HOME", "NBA_ML_STORE", "NBA_ML_DATA", "NBA_ML_THREADS", "NBA_ML_SOURCE", "DAGSTER_HOME"]
    assert Settings.from_environment(dict.fromkeys(names, "")) == Settings.from_environment({})


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("NBA_ML_THREADS", "0", "NBA_ML_THREADS is '0'"),
        ("NBA_ML_THREADS", "-1", "NBA_ML_THREADS is '-1'"),
        ("NBA_ML_THREADS", "two", "NBA_ML_THREADS is 'two'"),
        ("NBA_ML_THREADS", "1.5", "NBA_ML_THREADS is '1.5'"),
        ("NBA_ML_SOURCE", "snowflake", "NBA_ML_SOURCE is 'snowflake'"),
    ],
)
def test_a_value_that_cannot_work_is_named(name: str, value: str, message: str) -> None:
    """Guards against a typo that shows as a failed step hours later."""
    with pytest.raises(SettingsError, match=message):
        Settings.from_environment({name: value})


def test_the_environment_is_read_in_one_place() -> None:
    """Guards against an asset that behaves otherwise on another machine: below the edge, values come as arguments."""
    package = Path(nba_ml.__file__).parent
    readers = {
        file.relative_to(package).as_posix()
        for file in package.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if (isinstance(node, ast.Attribute) and node.attr in ("environ", "environb", "getenv"))
        or (isinstance(node, ast.ImportFrom) and {"environ", "getenv"} & {alias.name for alias in node.names})
    }
    assert "settings.py" in readers
    assert readers <= {"settings.py", "cli.py"}
