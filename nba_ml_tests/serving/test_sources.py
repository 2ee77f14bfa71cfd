"""Which store and which model an address, a channel or a model id means: nothing is loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nba_ml.contract.errors import BundleError, ChannelError, SettingsError
from nba_ml.registry.channel import CHAMPION, FOLDER, Channel, history_name
from nba_ml.serving import sources
from nba_ml.serving.sources import ManifestRef, ModelSelection, locate, read_named
from nba_ml.storage.directory import DirectoryStore
from nba_ml_tests.serving.rules import MOCK, MONTHS, ours, point, state_of

FIRST, SECOND = (ours(month) for month in MONTHS)
CATBOOST = ours(MONTHS[1], "catboost_v8")
NAMED = ManifestRef(FIRST.manifest, FIRST.manifest_sha256)
FILE = f"{FIRST.model_id}_manifest.json"
NAMELESS = ManifestRef(f"xgboost_v1/{FILE}")


@pytest.mark.parametrize(
    ("address", "root", "name"),
    [
        (f"/models/xgboost_v1/{FILE}", "/models", f"xgboost_v1/{FILE}"),
        (f"file:///models/xgboost_v1/{FILE}", "/models", f"xgboost_v1/{FILE}"),
        (f"/xgboost_v1/{FILE}", "/", f"xgboost_v1/{FILE}"),
        (f"xgboost_v1/{FILE}", ".", f"xgboost_v1/{FILE}"),
        (f"models/xgboost_v1/{FILE}", "models", f"xgboost_v1/{FILE}"),
        (f"/copies/{FILE}", "/copies", FILE),
        (f"copies/{FILE}", "copies", FILE),
        (f"/{FILE}", "/", FILE),
        (FILE, ".", FILE),
    ],
    ids=str,
)
def test_the_root_of_a_manifests_address(address: str, root: str, name: str) -> None:
    """Guards a bundle that was copied: above the system's folder are the channels too, elsewhere only the bundle."""
    store, named = locate(address)
    assert isinstance(store, DirectoryStore)
    assert store.root == Path(root).absolute()
    assert named == ModelSelection(ManifestRef(name))


def test_a_registered_model_is_looked_for_in_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[Any, str]] = []

    class Found:
        model = CATBOOST

    def require(store: object, name: str) -> Found:
        asked.append((store, name))
        return Found()

    monkeypatch.setattr(sources, "require_registered", require)
    store = DirectoryStore(tmp_path)
    for located in (
        locate(f"{tmp_path}/catboost_v8/{CATBOOST.model_id}_manifest.json"),
        locate(store, model_id=CATBOOST.model_id),
        locate(f"{tmp_path}/catboost_v8/named_otherwise_manifest.json"),
    ):
        assert located[1] == ModelSelection(CATBOOST)
    assert [name for _, name in asked] == [CATBOOST.model_id, CATBOOST.model_id, "named_otherwise"]
    assert [each.root for each, _ in asked] == [tmp_path] * 3


def test_a_root_with_a_channel_or_a_model_id(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path)
    state = state_of(1, FIRST)
    point(store, state)
    for root in (str(tmp_path), tmp_path.as_uri(), store):
        found, named = locate(root, channel="champion")
        assert isinstance(found, DirectoryStore)
        assert found.root == tmp_path
        assert (found is store) is (root is store)
        assert named == ModelSelection(NAMED, None, state, "champion")
        assert locate(root, model_id=FIRST.model_id)[1] == ModelSelection(NAMELESS)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "names no model"),
        ({"channel": "champion", "model_id": FIRST.model_id}, "Leave one of them out"),
        ({"model_id": ""}, "'' is not a model id"),
        ({"model_id": "../x_000000000000"}, "is not a model id"),
        ({"channel": ""}, "'' is not a channel name"),
        ({"channel": "Champion"}, "is not a channel name"),
        ({"channel": "a" * 101}, "is not a channel name"),
        ({"channel": "../champion"}, "is not a channel name"),
    ],
    ids=["nothing", "both", "empty", "path", "no name", "case", "long", "folder"],
)
def test_what_names_no_model_is_refused(tmp_path: Path, given: dict[str, str], said: str) -> None:
    for source in (str(tmp_path), DirectoryStore(tmp_path)):
        with pytest.raises(SettingsError, match=said):
            locate(source, **given)


@pytest.mark.parametrize("given", [{"channel": "champion"}, {"model_id": FIRST.model_id}], ids=["channel", "id"])
def test_an_address_that_names_a_model_needs_no_other_name(given: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match="names one model already"):
        locate(f"/models/xgboost_v1/{FILE}", **given)


@pytest.mark.parametrize(
    ("state", "challenger"),
    [
        (state_of(1, FIRST, SECOND, 0), None),
        (state_of(1, FIRST, SECOND, 10), ManifestRef(SECOND.manifest, SECOND.manifest_sha256)),
        (state_of(1, FIRST, SECOND, 100), ManifestRef(SECOND.manifest, SECOND.manifest_sha256)),
        (state_of(1, FIRST, CATBOOST, 50), CATBOOST),
        (state_of(1, FIRST, MOCK, 50), MOCK),
        (state_of(1, FIRST, MOCK, 0), None),
    ],
    ids=["shadow", "10", "100", "registered", "rule", "rule in shadow"],
)
def test_a_challenger_is_named_while_it_serves(tmp_path: Path, state: Channel, challenger: object) -> None:
    store = DirectoryStore(tmp_path)
    point(store, state)
    assert read_named(store, "champion") == ModelSelection(NAMED, challenger, state, "champion")  # type: ignore[arg-type]


def test_a_rule_is_not_given_everything(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path)
    point(store, state_of(1, FIRST, MOCK, 100))
    with pytest.raises(BundleError, match="gives mock a share of 100%"):
        read_named(store, "champion")


def test_a_channel_that_is_not_there(tmp_path: Path) -> None:
    """Guards the two answers: promote one; or find out who removed the pointer of a year of champions."""
    store = DirectoryStore(tmp_path)
    for name in ("champion", "canary_2-b"):
        with pytest.raises(BundleError, match=f"There is no channel {name} at .*{FOLDER}/{name}.json"):
            read_named(store, name)
    store.create(history_name(1), state_of(1, FIRST).to_bytes())
    with pytest.raises(ChannelError, match="is missing, but its history goes up to serial 1"):
        read_named(store, "champion")
    with pytest.raises(BundleError, match="There is no channel other"):
        read_named(store, "other")
    store.create(CHAMPION, b"{}")
    with pytest.raises(ChannelError, match="is not a channel of format 1"):
        read_named(store, "champion")
