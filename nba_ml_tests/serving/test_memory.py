"""What a restarted worker remembers of its channel: on rules in place of models.

`registry/test_signed_store` has the same with signatures.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from nba_ml.contract.errors import ChannelError, SettingsError
from nba_ml.serving import Predictor
from nba_ml.serving.memory import ChannelMemory
from nba_ml.storage.directory import DirectoryStore
from nba_ml_tests.serving.rules import MONTHS, Loads, install, ours, point, state_of

FIRST, SECOND = (ours(month) for month in MONTHS)


@pytest.fixture
def store(tmp_path: Path) -> DirectoryStore:
    made = DirectoryStore(tmp_path / "models")
    point(made, state_of(1, FIRST))
    return made


@pytest.fixture(autouse=True)
def loads(monkeypatch: pytest.MonkeyPatch) -> Loads:
    return install(monkeypatch)


def test_what_was_served_last_is_remembered_from_the_first_load_on(store: DirectoryStore, tmp_path: Path) -> None:
    """Guards a restart against an old state, whether the newer one was loaded at the start or followed later."""
    memory = tmp_path / "state.json"
    worker = Predictor.load(store, channel="champion", remember=memory)
    for serial, model in ((2, SECOND), (3, FIRST)):
        point(store, state_of(serial, model))
        assert worker.refresh("champion")
        point(store, state_of(serial - 1, FIRST))
        with pytest.raises(ChannelError, match=rf"at serial {serial - 1} .* served serial {serial} .* remove the file"):
            Predictor.load(store, channel="champion", remember=memory)
        point(store, state_of(serial, model))
        assert Predictor.load(store, channel="champion", remember=memory).model.model_id == model.model_id
    other = tmp_path / "other.json"
    Predictor.load(store, channel="champion", remember=other)
    point(store, state_of(2, SECOND))
    with pytest.raises(ChannelError, match=r"at serial 2 .* served serial 3 "):
        Predictor.load(store, channel="champion", remember=other)
    # Another state of the same serial was never recorded in the history.
    point(store, state_of(3, SECOND))
    with pytest.raises(ChannelError, match=r"at serial 3 .* served serial 3 "):
        Predictor.load(store, channel="champion", remember=other)


def test_a_file_that_cannot_be_used_is_named(store: DirectoryStore, tmp_path: Path) -> None:
    """Guards against a worker that starts without its memory, and against a file that is half written."""
    memory = tmp_path / "state.json"
    Predictor.load(store, channel="champion", remember=memory)
    assert [each.name for each in tmp_path.iterdir() if each.is_file()] == ["state.json"]
    whole = memory.read_text()
    for content, said in (
        (whole[:-1], r"state\.json is damaged.*remove the file"),
        (whole.replace('"serial": 1', '"serial": 0'), "is damaged"),
        (whole.replace("champion.json", "other.json"), r"is of .*other\.json, not of .*champion\.json"),
    ):
        memory.write_text(content)
        with pytest.raises(SettingsError, match=said):
            Predictor.load(store, channel="champion", remember=memory)
    memory.unlink()
    memory.mkdir()
    with pytest.raises(SettingsError, match="Name a file that this process may read and write"):
        Predictor.load(store, channel="champion", remember=memory)
    with pytest.raises(SettingsError, match="cannot be written"):
        Predictor.load(store, channel="champion", remember=tmp_path / "absent" / "file")


def test_a_state_that_cannot_be_kept_is_not_served(store: DirectoryStore, tmp_path: Path) -> None:
    """Guards against a restart that could go back behind what was served."""
    folder = tmp_path / "memory"
    folder.mkdir()
    worker = Predictor.load(store, channel="champion", remember=folder / "state.json")
    (folder / "state.json").unlink()
    folder.rmdir()
    point(store, state_of(2, SECOND))
    with pytest.raises(SettingsError, match="cannot be written"):
        worker.refresh("champion")
    assert worker.model.model_id == FIRST.model_id


def test_of_two_workers_with_one_file_the_later_state_is_remembered(tmp_path: Path) -> None:
    """Guards a restart: a worker that took long to load wrote its state over that of one that was ahead of it."""
    late, ahead = (ChannelMemory(tmp_path / "state.json", "champion.json") for _ in range(2))
    ahead.keep(state_of(8, SECOND))
    late.keep(state_of(7, FIRST))
    assert ahead.read() == state_of(8, SECOND)
    late.keep(state_of(9, FIRST))
    assert ahead.read() == state_of(9, FIRST)


def test_a_model_by_its_id_has_nothing_to_remember(store: DirectoryStore, tmp_path: Path) -> None:
    Predictor.load(store, model_id=FIRST.model_id, remember=tmp_path / "state.json")
    assert not (tmp_path / "state.json").exists()
