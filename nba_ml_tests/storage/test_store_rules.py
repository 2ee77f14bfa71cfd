"""What a store of months says and keeps, with values that are a few bytes; and the edges of names and roots."""

from __future__ import annotations

import fcntl
import os
import re
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

import pyarrow as pa
import pytest
from pydantic import BaseModel

from nba_ml.contract.digest import bytes_digest
from nba_ml.contract.errors import MissingMonthsError, PublicationError, SettingsError, StaleInputError
from nba_ml.contract.systems import XGBOOST_V2
from nba_ml.storage.cloud import CloudStore
from nba_ml.storage.directory import DirectoryStore
from nba_ml.storage.months import (
    MonthStore,
    Parts,
    StoredAsset,
    parquet_bytes,
    parquet_facts,
    parquet_table,
    record_bytes,
    stored_record,
)
from nba_ml.storage.objects import (
    URI_SCHEME,
    GenerationMismatchError,
    ObjectExistsError,
    check_name,
    check_prefix,
)
from nba_ml.storage.opening import open_objects
from nba_ml.storage.parquet import write_parquet
from nba_ml_tests.ports import free_port


class Number(BaseModel):
    """A value whose digest is itself."""

    value: int

    @property
    def digest(self) -> str:
        return str(self.value)


@dataclass(frozen=True)
class Text:
    """A value whose content is a part."""

    content: bytes

    @property
    def digest(self) -> str:
        return bytes_digest(self.content)


NUMBER = stored_record("number", Number)
TEXT = StoredAsset(
    "text",
    Text,
    lambda value, parts: parts.put("texts", "txt", value.content).encode(),
    lambda data, parts, _: Text(parts.get("texts", "txt", data.decode(), made_by="the_writer")),
)
TABLE = StoredAsset("table", Text, lambda value, _: value.content, lambda data, *_: Text(data), tabular=True)


@pytest.fixture
def store(tmp_path: Path) -> MonthStore:
    return MonthStore(DirectoryStore(tmp_path))


def test_a_value_lies_under_its_assets_name(store: MonthStore, tmp_path: Path) -> None:
    store.save(NUMBER, "2021-10", Number(value=3))
    assert (tmp_path / "number/2021-10.json").read_bytes() == b'{\n "value": 3\n}\n' == record_bytes(Number(value=3))
    assert store.load(NUMBER, "2021-10") == Number(value=3)
    assert store.load(NUMBER, "2021-11") is None
    assert store.uri(NUMBER, "2021-10") == (tmp_path / "number/2021-10.json").as_uri()
    store.save(TABLE, "2021-10", Text(b"rows"))
    assert (tmp_path / "table/2021-10.parquet").read_bytes() == b"rows"
    store.save(NUMBER.of(XGBOOST_V2), "2021-10", Number(value=4))
    assert (tmp_path / "xgboost_v2/number/2021-10.json").exists(), "another system's has a folder of its own"
    assert store.load(NUMBER, "2021-10") == Number(value=3)
    with pytest.raises(TypeError, match="number is a Number and cannot be a Text"):
        store.save(NUMBER, "2021-10", Text(b""))  # type: ignore[misc]


def test_the_months_of_an_asset_are_those_that_have_its_main_object(store: MonthStore, tmp_path: Path) -> None:
    for month in ("2021-11", "2021-10"):
        store.save(NUMBER, month, Number(value=3))
    (tmp_path / "number/2021-12.txt").write_bytes(b"beside it")
    assert store.stored(NUMBER) == ["2021-10", "2021-11"]
    assert store.stored(TABLE) == []


def test_a_part_is_what_its_digest_names(store: MonthStore, tmp_path: Path) -> None:
    store.save(TEXT, "2021-10", Text(b"a part"))
    part = tmp_path / f"texts/{bytes_digest(b'a part')}.txt"
    assert store.load(TEXT, "2021-10") == Text(b"a part")
    for harm in (lambda: part.write_bytes(b"another"), part.unlink):
        harm()
        with pytest.raises(StaleInputError, match=r"not the one that the_writer of 2021-10 names\. Materialise the_wr"):
            store.load(TEXT, "2021-10")
    with pytest.raises(StaleInputError, match="that text of 2021-11 names"):
        Parts(store.objects, "text", "2021-11").get("texts", "txt", "0")


def test_missing_months_are_named_with_the_command(store: MonthStore) -> None:
    store.save(NUMBER, "2021-10", Number(value=1))
    assert store.require(NUMBER, ["2021-10"]) == {"2021-10": Number(value=1)}
    months = [f"2022-0{n}" for n in range(1, 9)]
    said = "was never materialised for 2022-01, 2022-02, 2022-03, 2022-04, 2022-05, 2022-06"
    with pytest.raises(MissingMonthsError, match=f"{said} and 2 more months"):
        store.require(NUMBER, ["2021-10", *months])
    with pytest.raises(MissingMonthsError, match=rf"{said}, 2022-07\. "):
        store.require(NUMBER, months[:7])
    with pytest.raises(
        MissingMonthsError, match=rf"{said}\. .*--from 2022-01 --to 2022-06 --only-missing --assets number"
    ):
        store.require(NUMBER, months[:6])


@pytest.mark.parametrize("error", [pa.ArrowInvalid, OSError, ValueError, TypeError, KeyError])
def test_a_value_that_cannot_be_read_is_stale(store: MonthStore, error: type[Exception]) -> None:
    said = r"number/2021-10\.json cannot be read \('?one'?\): it is damaged"
    with pytest.raises(StaleInputError, match=said), store.readable(NUMBER, "2021-10"):
        raise error("one") if error is KeyError else error("one\ntwo")
    with pytest.raises(RuntimeError), store.readable(NUMBER, "2021-10"):
        raise RuntimeError


def test_a_table_keeps_its_facts_and_nothing_else() -> None:
    table = pa.table({"a": [1, 2], "b": ["x", "y"]}).replace_schema_metadata({"pandas": "its own"})
    data = parquet_bytes(table, {"digest": "d"})
    assert parquet_facts(data) == {"digest": "d"}
    read, facts = parquet_table(data, None)
    assert (read.to_pylist(), read.schema.metadata, facts) == (table.to_pylist(), None, {"digest": "d"})
    assert parquet_table(data, ["b"])[0].column_names == ["b"]
    assert parquet_facts(parquet_bytes(table, {})) == {}
    assert parquet_facts(write_parquet(pa.table({"a": [1]}))) == {}, "of another writer"
    assert len(parquet_bytes(pa.table({"a": [7] * 100_000}), {})) < 10_000, "compressed"


# --- names and roots ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["", "/a", "a/", "a//b", "a/.b", ".", "..", "a\\b", "a\nb", "a/../b"])
def test_a_name_that_some_store_would_take_otherwise(name: str) -> None:
    with pytest.raises(PublicationError, match=re.escape(f"{name!r} is not a valid object name")):
        check_name(name)


def test_names_and_beginnings_that_are_good() -> None:
    for name in ("a", "a/b.json", "a/b-1_2.x y"):
        check_name(name)
    for prefix in ("", "a", "a/", "a/b"):
        check_prefix(prefix)
    for prefix in ("/", "a//", "a/."):
        with pytest.raises(PublicationError):
            check_prefix(prefix)


def test_a_root_is_a_folder_or_an_address_that_is_known(tmp_path: Path) -> None:
    for root in (str(tmp_path), f"file://{tmp_path}", f"file://localhost{tmp_path}"):
        opened = open_objects(root)
        assert isinstance(opened, DirectoryStore)
        assert opened.root == tmp_path
    spaced = open_objects(f"file://{tmp_path}/a%20b")
    assert isinstance(spaced, DirectoryStore)
    assert spaced.root == tmp_path / "a b"
    as_it_is = open_objects(f"{tmp_path}/a%20b")
    assert isinstance(as_it_is, DirectoryStore)
    assert as_it_is.root == tmp_path / "a%20b", "a path is not an address"
    for root in ("s3://bucket", f"file://host{tmp_path}", "gs:/bucket", "https://x"):
        with pytest.raises(SettingsError):
            open_objects(root)
    assert URI_SCHEME.match("gs:/bucket")
    assert not URI_SCHEME.match("c:/folder")


@pytest.mark.slow
def test_a_bucket_is_opened_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{free_port()}")  # which needs no credentials
    opened = open_objects("gs://bucket/prefix")
    assert isinstance(opened, CloudStore)
    assert opened.uri("a/b") == "gs://bucket/prefix/a/b"


# --- the directory --------------------------------------------------------------------------------------------


def test_only_the_generation_that_was_read_is_replaced(store: MonthStore) -> None:
    objects = store.objects
    first = objects.create("a", b"1")
    assert first == f"sha256:{bytes_digest(b'1')}"
    with pytest.raises(ObjectExistsError, match="already exists") as exists:
        objects.create("a", b"2")
    assert exists.value.name == "a"
    second = objects.swap("a", b"2", first)
    found = objects.read("a")
    assert found is not None
    assert (found.data, found.generation) == (b"2", second)
    with pytest.raises(GenerationMismatchError, match=f"{first} was expected, {second} was found") as other:
        objects.swap("a", b"3", first)
    assert (other.value.name, other.value.expected, other.value.found) == ("a", first, second)
    with pytest.raises(GenerationMismatchError, match="no object was found") as gone:
        objects.swap("b", b"3", first)
    assert gone.value.found is None


def test_an_object_that_goes_before_its_swap_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards a swap whose object is removed while it waits for the lock: another generation, not an error of ours."""
    objects, flock = DirectoryStore(tmp_path), fcntl.flock
    first = objects.create("a", b"1")

    def removed_meanwhile(file: int, operation: int) -> None:
        (tmp_path / "a").unlink(missing_ok=True)
        flock(file, operation)

    monkeypatch.setattr(fcntl, "flock", removed_meanwhile)
    with pytest.raises(GenerationMismatchError):
        objects.swap("a", b"2", first)
    assert objects.names("") == []


def test_a_read_makes_nothing_and_a_write_leaves_nothing_beside(tmp_path: Path) -> None:
    objects = DirectoryStore(tmp_path / "new/store")
    assert objects.read("a") is None
    assert objects.names("") == []
    objects.delete("a/b")
    assert not (tmp_path / "new").exists()
    objects.write("folder/a", b"1")
    objects.write("folder/a", b"2")
    assert [file.name for file in (tmp_path / "new/store/folder").iterdir()] == ["a"]
    objects.delete("folder/a")
    objects.delete("folder/a")
    assert objects.read("folder/a") is None


def test_names_are_those_that_begin_so(tmp_path: Path) -> None:
    objects = DirectoryStore(tmp_path)
    for name in ("b/2", "a/1", "a/b/3", "ab"):
        objects.write(name, b"")
    (tmp_path / ".hidden").write_bytes(b"")
    (tmp_path / "a/.hidden").mkdir()
    (tmp_path / "a/.hidden/x").write_bytes(b"")
    assert objects.names("") == ["a/1", "a/b/3", "ab", "b/2"]
    assert objects.names("a") == ["a/1", "a/b/3", "ab"]
    assert objects.names("a/") == ["a/1", "a/b/3"]
    assert objects.names("a/b") == ["a/b/3"]
    assert objects.names("c/") == []
    with pytest.raises(PublicationError, match="is not a valid object name"):
        objects.names("../")


def test_what_the_system_refuses_is_said_with_its_path(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    objects = DirectoryStore(tmp_path)
    with pytest.raises(PublicationError, match=r"Could not write .*file/a: a file is where a folder should be"):
        objects.write("file/a", b"")
    objects.write("folder/a", b"")
    with pytest.raises(PublicationError, match=r"Could not read .*folder: a folder is where the object should be"):
        objects.read("folder")
    with pytest.raises(SettingsError, match="is not a directory and cannot be made one"):
        DirectoryStore(tmp_path / "file").write("a", b"")


def test_only_ordinary_files_inside_the_root_and_within_their_limit_are_read(tmp_path: Path) -> None:
    """Guards a worker against a pipe that waits forever, a file of another folder, and a pointer of gigabytes."""
    root = tmp_path / "root"
    (root / "channels").mkdir(parents=True)
    (tmp_path / "secret").write_bytes(b"secret")
    (root / "link").symlink_to(tmp_path / "secret")
    os.mkfifo(root / "pipe")
    with (root / "channels/champion.json").open("wb") as file:
        file.truncate(2**40)
    objects = DirectoryStore(root)
    for name, said in (
        ("pipe", "only ordinary files are read"),
        ("link", "which is outside of"),
        ("channels/champion.json", "1,099,511,627,776 bytes, and at most 1,048,576 are read"),
    ):
        with pytest.raises(PublicationError, match=f"Could not read {root / name}: .*{said}"):
            objects.read(name)


def test_what_the_system_says_is_passed_on_where_it_says_enough(tmp_path: Path) -> None:
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    said = re.escape(f"Could not read {loop}: Too many levels of symbolic links. Nothing")
    with pytest.raises(PublicationError, match=said):
        DirectoryStore(tmp_path).read("loop")


def test_a_staged_file_that_a_sweep_took_is_staged_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards the moment between a file's opening and its lock: another writer's sweep removes what nobody holds."""
    swept: list[Path] = []
    lock = fcntl.flock

    def flock(file: FileIO, operation: int) -> None:
        if not swept:
            swept.append(Path(str(file.name)))
            swept[0].unlink()
        lock(file, operation)

    monkeypatch.setattr(fcntl, "flock", flock)
    DirectoryStore(tmp_path).write("a", b"whole")
    assert swept
    assert (tmp_path / "a").read_bytes() == b"whole"


def test_a_dead_writers_leftover_is_swept_once(tmp_path: Path) -> None:
    leftover = tmp_path / ".staged-0123"
    leftover.write_bytes(b"half")
    objects = DirectoryStore(tmp_path)
    objects.write("a", b"1")
    assert not leftover.exists()
    leftover.write_bytes(b"half")
    objects.write("b", b"1")
    assert leftover.exists(), "looked for once for each folder"
    assert objects.names("") == ["a", "b"]


def test_months_that_are_read_one_by_one(store: MonthStore) -> None:
    """Guards the months of a large history: a hole is an error before any is read, and one that another run replaces
    between two readings is no longer the one that was checked."""
    store.save(NUMBER, "2021-10", Number(value=1))
    with pytest.raises(MissingMonthsError, match="was never materialised for 2021-11"):
        store.one_by_one(NUMBER, ["2021-10", "2021-11"])
    store.save(NUMBER, "2021-11", Number(value=2))
    months = store.one_by_one(NUMBER, ["2021-10", "2021-11"])
    assert (list(months), len(months), "2021-12" in months) == (["2021-10", "2021-11"], 2, False)
    assert months["2021-10"] == Number(value=1)
    assert months.digests() == {"2021-10": "1", "2021-11": "2"}
    store.save(NUMBER, "2021-10", Number(value=3))
    assert months.digests() == {"2021-10": "1", "2021-11": "2"}, "those of what was read"
    with pytest.raises(StaleInputError, match=r"number/2021-10\.json was changed while it was being read"):
        months["2021-10"]
    store.objects.delete("number/2021-11.json")
    with pytest.raises(StaleInputError, match=r"number/2021-11\.json was changed while it was being read"):
        months["2021-11"]


def test_a_folder_that_another_writer_makes_meanwhile_is_good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards two first writers of one folder: the second finds it made between its look and its turn."""
    folder, is_dir = tmp_path / "slates", Path.is_dir

    def look_too_early(path: Path) -> bool:
        found = is_dir(path)
        if path == folder and not found:
            path.mkdir()
        return found

    monkeypatch.setattr(Path, "is_dir", look_too_early)
    objects = DirectoryStore(tmp_path)
    objects.create("slates/a", b"1")
    assert objects.names("") == ["slates/a"]
