"""What every object store promises, a directory and a bucket alike. What is each one's own stands in its module."""

from __future__ import annotations

from pathlib import Path

import pytest

from nba_ml.storage.directory import DirectoryStore
from nba_ml.storage.objects import ObjectExistsError, ObjectStore


@pytest.fixture(params=["directory", "cloud"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    """An empty store of each kind."""
    if request.param == "directory":
        return DirectoryStore(tmp_path / "store")
    made: ObjectStore = request.getfixturevalue("cloud_store")
    return made


def bytes_of(store: ObjectStore, name: str) -> bytes:
    found = store.read(name)
    assert found is not None
    return found.data


def test_what_is_written_is_read(store: ObjectStore) -> None:
    """Guards the protocol: what is written is read, and the generation is the one that was returned."""
    assert store.read("m/a.json") is None
    generation = store.create("m/a.json", b"1")
    found = store.read("m/a.json")
    assert found is not None
    assert (found.data, found.generation) == (b"1", generation)
    second = store.swap("m/a.json", b"2", generation)
    assert second != generation
    found = store.read("m/a.json")
    assert found is not None
    assert found.generation == second
    for data in (b"x", b""):
        store.write("w", data)
        assert bytes_of(store, "w") == data
    for _ in range(2):
        store.delete("w")
    assert store.names("") == ["m/a.json"]


def test_create_never_writes_over(store: ObjectStore) -> None:
    """Guards create-only, also for the same bytes: the caller must see that it was not the one."""
    store.create("a", b"1")
    for data in (b"1", b"2"):
        with pytest.raises(ObjectExistsError) as caught:
            store.create("a", data)
        assert caught.value.name == "a"
        assert store.uri("a") in str(caught.value)
    assert bytes_of(store, "a") == b"1"
