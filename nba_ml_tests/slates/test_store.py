"""Slates as they are kept: every version, none written over, and damage that is said."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from threading import Barrier, Thread

import pytest

from nba_ml.contract.errors import SlateError
from nba_ml.data.tables import GAME_FACTS
from nba_ml.slates.grades import grade_slates
from nba_ml.slates.slate import Slate
from nba_ml.slates.store import KeptSlate, SlateStore, slate_parquet
from nba_ml.storage.directory import DirectoryStore
from nba_ml_tests.conftest import snapshot_of
from nba_ml_tests.slate_scene import AFTERWARDS, BEFORE_THE_GAMES, DAY, slate, systems


@pytest.fixture
def store(tmp_path: Path) -> SlateStore:
    return SlateStore(DirectoryStore(tmp_path))


def test_a_slate_comes_back_as_it_was(store: SlateStore) -> None:
    """Guards against a grade of something else than what was served."""
    made = slate(who=systems("mock", 10))
    kept = store.keep(made)
    (found,) = store.versions(DAY)
    assert found.slate.report == made.report
    assert (found.slate.digest, found.slate.created_at) == (made.digest, BEFORE_THE_GAMES)
    assert found.slate.table.column_names == made.table.column_names
    assert found.slate.table.column("predicted_points").equals(made.table.column("predicted_points"))
    assert (kept.number, kept.new, found.new) == (1, True, False)
    assert kept.slate_id == f"2022-01-15-000001-{made.digest[:12]}" == found.slate_id
    assert store.days("2022-01") == [DAY]
    assert store.days("2022-02") == []


def test_the_same_slate_is_kept_once_and_keeps_its_time(store: SlateStore) -> None:
    """Guards against a coordinator that runs every five minutes and fills a disk, or makes old predictions young."""
    store.keep(slate())
    files = {name: store.objects.read(name) for name in store.objects.names("")}
    again = store.keep(slate(at=AFTERWARDS))
    assert (again.number, again.new, again.slate.created_at) == (1, False, BEFORE_THE_GAMES)
    assert {name: store.objects.read(name) for name in store.objects.names("")} == files


def test_a_changed_slate_is_kept_beside_the_earlier_one(store: SlateStore) -> None:
    """Guards against predictions that are replaced without a trace, and against a return to an older state lost."""
    hour = timedelta(hours=1)
    states = [systems(), systems("mock", 10), systems()]
    for n, who in enumerate(states):
        assert store.keep(slate(who=who, at=BEFORE_THE_GAMES - hour + n * hour / 4)).new
    versions = store.versions(DAY)
    assert [version.number for version in versions] == [1, 2, 3]
    assert versions[0].slate.digest == versions[2].slate.digest != versions[1].slate.digest
    late = store.keep(slate(who=systems("mock", 50), at=AFTERWARDS))
    current = store.current(DAY)
    assert late.number == 4
    assert current is not None
    assert current.number == 3


def test_of_many_at_one_moment_none_is_lost(store: SlateStore) -> None:
    """Guards against two coordinators of which one writes over the other."""
    made = [slate(who=systems(serial=serial)) for serial in range(1, 7)]
    together, kept = Barrier(len(made)), list[KeptSlate]()

    def keep(each: int) -> None:
        together.wait()
        kept.append(store.keep(made[each]))

    threads = [Thread(target=keep, args=(each,)) for each in range(len(made))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(version.number for version in kept) == [1, 2, 3, 4, 5, 6]
    assert {version.slate.digest for version in store.versions(DAY)} == {each.digest for each in made}


@pytest.mark.parametrize("where", [0.3, 0.6, 0.9])
def test_a_damaged_slate_is_never_graded(store: SlateStore, tmp_path: Path, where: float) -> None:
    """Guards against numbers made of flipped bits: what was served is proved by its digest."""
    store.keep(slate(who=systems("mock", 50)))
    file = tmp_path / "slates" / "2022-01-15" / "000001.parquet"
    data = bytearray(file.read_bytes())
    data[int(len(data) * where)] ^= 0x10
    file.write_bytes(bytes(data))
    with pytest.raises(SlateError, match="is damaged"):
        store.versions(DAY)


def test_a_version_cannot_be_made_older_than_it_is(store: SlateStore) -> None:
    """Guards against a replayed version that comes to count by a changed time, which the digest does not name."""
    younger = replace(slate(at=AFTERWARDS), created_at=BEFORE_THE_GAMES)
    store.objects.create("slates/2022-01-15/000001.parquet", slate_parquet(younger))
    with pytest.raises(SlateError, match=r"the time 2022-01-15 .* has rows made at 2025-07-01"):
        store.versions(DAY)


def test_grades_are_written_where_they_are_said_to_be(store: SlateStore) -> None:
    """Guards against an address in the UI that leads nowhere."""
    grades = grade_slates([slate()], snapshot_of("2022-01"), "2022-01")
    assert store.save_grades(grades) == store.grades_uri("2022-01")
    assert store.objects.read("slate_grades/2022-01.parquet") is not None


def test_a_slate_of_before_the_models_own_number_is_read(store: SlateStore) -> None:
    """Guards against kept predictions that a new column makes unreadable."""
    whole = slate()
    kept = Slate.of(whole.table.drop_columns("model_points"), whole.report, whole.created_at)
    store.objects.create(f"slates/{DAY}/000001.parquet", slate_parquet(kept))
    found = store.newest(DAY)
    assert found is not None
    assert found.slate.digest == kept.digest
    assert found.slate.table.schema == whole.table.schema
    assert found.slate.table.column("model_points").equals(whole.table.column("predicted_points"))


def test_a_slate_that_was_kept_before_tip_offs_is_read(store: SlateStore) -> None:
    """Guards against kept predictions that a new column makes unreadable, and a version more of the same slate."""
    whole = slate()
    old = replace(whole, table=whole.table.drop_columns(list(GAME_FACTS)))
    store.objects.create(f"slates/{DAY}/000001.parquet", slate_parquet(old))
    found = store.newest(DAY)
    assert found is not None
    assert found.slate.table.schema == whole.table.schema
    assert found.slate.digest == whole.digest
    assert not store.keep(slate()).new
