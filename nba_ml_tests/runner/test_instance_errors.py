"""A home whose Dagster files are damaged, or whose disk is full: the file and the remedy are named.

Each fault is a real one: bytes of a database, a limit of the operating system on the size of files.
"""

from __future__ import annotations

import re
import resource
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg
import pytest

from nba_ml.contract.errors import InstanceError, SettingsError
from nba_ml.runner.home import open_instance
from nba_ml.settings import Settings

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose instance holds some events."""
    home = tmp_path_factory.mktemp("used")
    with open_instance(settings_of(home)) as instance:
        for number in range(30):
            instance.report_runless_asset_event(dg.AssetMaterialization(f"asset_{number}", description="x" * 2_000))
    return home


@pytest.fixture
def home(used: Path, tmp_path: Path) -> Path:
    return shutil.copytree(used, tmp_path / "home")


def settings_of(home: Path) -> Settings:
    return Settings.from_environment({"NBA_ML_HOME": str(home)})


def read_all(home: Path) -> int:
    """What opens the databases: runs, events, switches."""
    with open_instance(settings_of(home)) as instance:
        instance.get_runs()
        instance.all_instigator_state()
        return sum(len(instance.fetch_materializations(key, 10).records) for key in instance.all_asset_keys())


def overwrite(file: Path) -> None:
    file.write_bytes(b"\x00garbage" * 500)


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def damage_pages(file: Path) -> None:
    """All pages but the first: the file opens, and a query fails."""
    whole = file.read_bytes()
    file.write_bytes(whole[:4096] + b"\xff" * (len(whole) - 4096))


@pytest.mark.parametrize(
    ("database", "damage"),
    [
        ("history/runs.db", overwrite),
        ("history/runs/index.db", overwrite),
        ("history/runs/index.db", cut),
        ("history/runs/index.db", damage_pages),
        ("schedules/schedules.db", overwrite),
        ("schedules/schedules.db", damage_pages),
    ],
    ids=["runs", "events", "events cut", "events' pages", "schedules", "schedules' pages"],
)
def test_a_damaged_database_is_named_with_the_way_to_a_new_one(
    home: Path, database: str, damage: Callable[[Path], None]
) -> None:
    """Was `Unexpected error: DatabaseError: file is not a database`, with neither path nor remedy."""
    file = home / "dagster" / database
    damage(file)
    with pytest.raises(InstanceError) as raised:
        read_all(home)
    folder = home / "dagster" / Path(database).parts[0]
    assert f": {file}. Store and published models are not in it." in str(raised.value)
    assert f"move {folder} away" in str(raised.value)
    folder.rename(home / "moved away")  # the remedy helps
    assert read_all(home) == (30 if database.startswith("schedules") else 0)


def test_an_error_that_a_damaged_database_caused_is_named_too(home: Path) -> None:
    """Dagster raises errors of its own from those of the database."""
    with pytest.raises(InstanceError, match="malformed"):
        fail_with_cause(home)


def fail_with_cause(home: Path) -> None:
    with open_instance(settings_of(home)) as instance:
        damage_pages(home / "dagster/history/runs/index.db")
        try:
            instance.all_asset_keys()
        except Exception as error:
            raise RuntimeError("a step failed") from error


@pytest.fixture
def small_files() -> Iterator[None]:
    """No file may grow beyond 200 kB."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.usefixtures("small_files")
def test_a_disk_without_room_is_named(tmp_path: Path) -> None:
    """Was `Unexpected error: OperationalError`. As where the disk is full, the operating system refuses the write."""
    with pytest.raises(InstanceError, match=r"could not be used .*Free some space.* run the command again"):
        fill(tmp_path)


def fill(home: Path) -> None:
    with open_instance(settings_of(home)) as instance:
        for number in range(200):
            instance.report_runless_asset_event(dg.AssetMaterialization(f"asset_{number}", description="x" * 9_000))


def test_other_errors_of_a_session_pass_unchanged(home: Path) -> None:
    """Guards against a fault of ours that is blamed on the database."""
    with pytest.raises(RuntimeError, match="ours"), open_instance(settings_of(home)):
        raise RuntimeError("ours")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"telemetry:\n  enabled: false\n# \xff\n", "can't decode byte 0xff"),
        (b"telemetry: [unfinished", "expected ',' or ']'"),
        (b"storage:\n  nothing: 1\n", 'unexpected config entry "nothing"'),
    ],
    ids=["not UTF-8", "not YAML", "unknown entry"],
)
def test_an_instance_file_that_cannot_be_used_is_named(tmp_path: Path, content: bytes, reason: str) -> None:
    """Was `Unexpected error: UnicodeDecodeError`, of which file nobody could tell."""
    file = tmp_path / "dagster/dagster.yaml"
    file.parent.mkdir()
    file.write_bytes(content)
    with pytest.raises(SettingsError) as raised:
        read_all(tmp_path)
    assert str(raised.value).startswith(f"{file} cannot be used: ")
    assert reason in str(raised.value)
    assert "move it away" in str(raised.value)


@pytest.mark.parametrize(
    ("url", "error", "reason"),
    [
        pytest.param("postgresql+psycopg2://u:secret@127.0.0.1:1/d", InstanceError, "Connection refused", id="nobody"),
        pytest.param("postgresql://u:secret@127.0.0.1:1/d", InstanceError, "postgresql[+]psycopg2://", id="no driver"),
        pytest.param("nonsense", InstanceError, "Could not parse SQLAlchemy URL", id="no URL"),
        pytest.param(None, SettingsError, "POSTGRES_URL.*not set", id="not set"),
    ],
)
def test_a_postgres_that_cannot_be_used_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str | None, error: type[Exception], reason: str
) -> None:
    """Guards the first start on Postgres: a traceback without the file, or the words of a driver nobody chose."""
    monkeypatch.delenv("POSTGRES_URL", raising=False)
    if url:
        monkeypatch.setenv("POSTGRES_URL", url)
    (tmp_path / "dagster").mkdir()
    yaml = tmp_path / "dagster/dagster.yaml"
    yaml.write_text("storage: {postgres: {postgres_url: {env: POSTGRES_URL}}}")
    with pytest.raises(error, match=f"{re.escape(str(yaml))} .*{reason}") as raised:
        read_all(tmp_path)
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("name", ["what?", "a%41"])
def test_a_folder_that_dagster_would_misread_is_refused(tmp_path: Path, name: str) -> None:
    """Guards a home whose databases would be made beside it, under another name, and have no tables."""
    with pytest.raises(SettingsError, match=r"has a '\?', or a '%' before.*Set NBA_ML_HOME"):
        read_all(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_other_signs_is_a_home(tmp_path: Path) -> None:
    """Guards homes like 'My Models (50%) #2': only what Dagster misreads is refused."""
    home = tmp_path / "we ird'\"#[a]*{b}é;&:@ 50% ~\\"
    assert read_all(home) == 0
    assert (home / "dagster" / "history" / "runs.db").is_file()
