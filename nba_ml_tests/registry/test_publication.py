"""Publication: a bundle is whole in the store or not there, whoever dies and whoever comes second.

What is about the steps of publication runs over both stores, the directory's and Cloud Storage's on its
emulator. What is about a process and its files runs over the directory alone; `faults` has it for the network.
"""

from __future__ import annotations

import json
import pickle
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xgboost as xgb
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from nba_ml.contract.errors import BundleError, MonthError, NotVerifiedError, PublicationConflictError, PublicationError
from nba_ml.contract.features import V2_33FEATURES
from nba_ml.contract.model_id import model_id
from nba_ml.contract.systems import XGBOOST_V1
from nba_ml.registry.manifest import BundleNames, Manifest
from nba_ml.registry.publication import Bundle, list_published, publish, published
from nba_ml.registry.verdict import Verdict
from nba_ml.storage.directory import DirectoryStore
from nba_ml.storage.objects import ObjectStore
from nba_ml_tests.profiles import examples
from nba_ml_tests.registry.places import Folder, Home, MakeHome, Place, PlaceContents, contents, in_directory
from nba_ml_tests.registry.publication_machine import (
    CHAMPION,
    SteppedPublisher,
    bundle_of,
    digest,
    resolved_serial,
    verdict_on,
    whole_bundles,
)
from nba_ml_tests.registry.stoppable import HookedStore, InterleavedUsers, Killed, Order, dying_at

HELPER = "nba_ml_tests.registry.publication_machine"


def trained(seed: int) -> bytes:
    """A real booster over the contract's names, trained on random numbers."""
    random_state = np.random.default_rng(seed)
    rows = random_state.random((60, V2_33FEATURES.count), dtype=np.float32)
    matrix = xgb.DMatrix(rows, label=rows[:, seed] * 20, feature_names=list(V2_33FEATURES.names))
    booster = xgb.train({"objective": "reg:absoluteerror", "max_depth": 2, "nthread": 1}, matrix, 2)
    return bytes(booster.save_raw("json"))


@pytest.fixture(scope="module")
def boosters() -> tuple[bytes, bytes]:
    return trained(0), trained(1)


@pytest.fixture
def bundle(boosters: tuple[bytes, bytes]) -> Bundle:
    return bundle_of(boosters[0])


@pytest.fixture
def home(make_home: MakeHome) -> Home:
    return make_home()


@pytest.fixture
def store(home: Home) -> ObjectStore:
    return home.store


@pytest.fixture
def place(home: Home) -> Place:
    return home.place


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


# -- names and manifest ------------------------------------------------------------------------------


def test_the_id_is_made_of_content_and_month() -> None:
    """Guards the platform's naming: an id with a clock, or another digest, would not be found by the worker."""
    sha = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"  # of b'{}', from sha256sum
    assert model_id(XGBOOST_V1, "2022-06", b"{}") == f"xgboost_v1_33features_202206_{sha[:12]}"
    with pytest.raises(MonthError, match="off-season"):
        model_id(XGBOOST_V1, "2022-08", b"{}")


@pytest.mark.parametrize("identity", ["../x", "xgboost_v1_33features_202206_0123", "", "a/b", "xgboost_v2_" + "0" * 30])
def test_an_id_of_another_form_has_no_names(store: ObjectStore, identity: str) -> None:
    """Guards against an id that leads out of the folder, or to an object that is no bundle's."""
    with pytest.raises(PublicationError, match="is not a valid model id"):
        published(store, identity)


def test_the_manifest_goes_through_its_bytes_and_back(store: ObjectStore, bundle: Bundle) -> None:
    """Guards the canonical form: sorted keys, one newline at the end, the same bytes for the same content."""
    publish(store, bundle)
    stored = store.read(BundleNames.of(bundle.model_id).manifest)
    manifest = published(store, bundle.model_id)
    assert stored is not None
    assert manifest is not None
    assert manifest.to_bytes() == stored.data
    assert stored.data.endswith(b"}\n")
    assert list(json.loads(stored.data)) == ["format_version", "manifest_sha256", "model_id", "objects", "verdict"]
    assert [each.sha256 for each in manifest.objects] == [digest(bundle.booster), digest(bundle.record)]


def test_no_byte_of_the_manifest_can_flip(store: ObjectStore, bundle: Bundle) -> None:
    """Guards the one object that no other object's digest covers: every byte, and every length."""
    publish(store, bundle)
    name = BundleNames.of(bundle.model_id).manifest
    stored = store.read(name)
    assert stored is not None
    damaged = [flipped(stored.data, at) for at in range(len(stored.data))]
    for data in [*damaged, *(stored.data[:length] for length in range(len(stored.data))), stored.data + b"\n"]:
        with pytest.raises(BundleError, match=name):
            Manifest.from_bytes(data, store.uri(name))


def test_the_order_of_the_checks_does_not_matter(make_home: MakeHome, boosters: tuple[bytes, bytes]) -> None:
    """Guards against a manifest that depends on the order in which an event log was read."""
    one, other = make_home(), make_home()
    for home, checks in ((one, ("mae", "gap")), (other, ("gap", "mae"))):
        publish(home.store, bundle_of(boosters[0], verdict=verdict_on(boosters[0], checks=checks)))
    assert contents(one.place) == contents(other.place)


# -- one publisher -----------------------------------------------------------------------------------


def test_a_bundle_is_published_as_given(store: ObjectStore, place: Place, bundle: Bundle) -> None:
    """Guards the layout that workers read, and the description that goes into the asset's metadata."""
    assert published(store, bundle.model_id) is None
    assert list_published(store) == []
    result = publish(store, bundle)
    identity = bundle.model_id
    found = contents(place)
    assert sorted(found) == [f"xgboost_v1/{identity}{end}.json" for end in ("", "_manifest", "_metadata")]
    assert found[f"xgboost_v1/{identity}.json"] == bundle.booster
    assert found[f"xgboost_v1/{identity}_metadata.json"] == bundle.record
    assert whole_bundles(place) == [f"{identity}_manifest.json"]
    assert result.created
    for each in (result.booster, result.record, result.manifest):
        stored = store.read(each.name)
        assert stored is not None
        assert (each.uri, each.generation) == (store.uri(each.name), stored.generation)
        assert (each.sha256, each.size) == (digest(stored.data), len(stored.data))
    assert list_published(store) == [identity]


def test_publishing_again_writes_nothing(store: ObjectStore, place: Place, bundle: Bundle) -> None:
    """Guards idempotence: an empty October, or a run repeated, must leave every file as it was."""
    first = publish(store, bundle)
    before = place.stamps()
    second = publish(store, bundle)
    assert second == replace(first, created=False)
    assert place.stamps() == before


@pytest.mark.parametrize("kind", ["failed", "of another model", "empty"])
def test_nothing_is_written_without_the_verdict(
    store: ObjectStore, place: Place, boosters: tuple[bytes, bytes], kind: str
) -> None:
    """Guards the gate: a check that failed, in this run or an earlier one, must stop the first byte."""
    verdict = {
        "failed": verdict_on(boosters[0], passed=False),
        "of another model": verdict_on(boosters[1]),
        "empty": Verdict(model_sha256=digest(boosters[0]), checks=()),
    }[kind]
    with pytest.raises(NotVerifiedError):
        publish(store, bundle_of(boosters[0], verdict=verdict))
    assert place.names() == []


def test_a_pickle_is_not_published(store: ObjectStore, place: Place) -> None:
    """Guards against code that runs on loading: a pickle of any protocol, whatever it is called."""
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with pytest.raises(PublicationError, match="neither XGBoost's JSON nor UBJ"):
            publish(store, bundle_of(pickle.dumps({"trees": [1.0]}, protocol=protocol)))
    assert place.names() == []


def test_parts_of_different_models_are_not_published(
    store: ObjectStore, place: Place, boosters: tuple[bytes, bytes]
) -> None:
    """Guards against a record, or an id, of the model before."""
    mine, other = bundle_of(boosters[0]), bundle_of(boosters[1])
    cases = [
        (replace(mine, record=other.record), "record of .* belongs to another model: its model_id"),
        (bundle_of(boosters[0], model_sha256=digest(boosters[1])), "belongs to another model: its model_sha256"),
        (replace(mine, model_id=other.model_id), "not the id of this booster"),
        (replace(mine, record=b"[]"), "not a JSON object"),
        (bundle_of(boosters[0], metrics={"mae": float("nan")}), "not a JSON object"),
    ]
    for wrong, message in cases:
        with pytest.raises(PublicationError, match=message):
            publish(store, wrong)
    assert place.names() == []


@pytest.mark.parametrize("part", ["booster", "record", "manifest"])
@pytest.mark.parametrize("garble", [True, False])
def test_what_does_not_read_back_is_an_error(
    store: ObjectStore, place: Place, bundle: Bundle, part: str, garble: bool
) -> None:
    """Guards against a disk or a network that takes the bytes and keeps others, or none."""
    name = getattr(BundleNames.of(bundle.model_id), part)

    def hook(method: str, perform: Callable[[], Any]) -> Any:
        result = perform()
        if method == "create" and name in place.names():
            data = place.read(name)
            place.remove(name)
            if garble:
                place.put(name, flipped(data, 9))
        return result

    message = "contains other bytes" if garble else "cannot be read back"
    with pytest.raises(PublicationError, match=message) as caught:
        publish(HookedStore(store, hook), bundle)
    assert store.uri(name) in str(caught.value)
    assert (part == "manifest") or whole_bundles(place) == []


# -- what is there already ---------------------------------------------------------------------------


@pytest.mark.parametrize("part", ["booster", "record"])
def test_other_bytes_under_the_name_are_a_conflict(store: ObjectStore, place: Place, bundle: Bundle, part: str) -> None:
    """Guards against writing over an object, and against trusting it: both digests and the URI are named."""
    name = getattr(BundleNames.of(bundle.model_id), part)
    store.create(name, b'{"other": 1}')
    with pytest.raises(PublicationConflictError) as caught:
        publish(store, bundle)
    for named in (store.uri(name), digest(b'{"other": 1}'), digest(getattr(bundle, part))):
        assert named in str(caught.value)
    assert store.read(name).data == b'{"other": 1}'  # type: ignore[union-attr]
    assert whole_bundles(place) == []


@pytest.mark.parametrize("manifest_there", [True, False])
def test_other_libraries_are_no_conflict(
    store: ObjectStore, place: Place, bundle: Bundle, manifest_there: bool
) -> None:
    """Guards a month against turning red when the same booster is trained again under a newer pandas.

    Also where an earlier publisher died between record and manifest: its record is the one that stays.
    """
    publish(store, bundle)
    if not manifest_there:
        place.remove(BundleNames.of(bundle.model_id).manifest)
    newer = bundle_of(bundle.booster, libraries={"pandas": "9.0"})
    result = publish(store, newer)
    assert result.created is not manifest_there
    assert result.record.sha256 == digest(bundle.record) != digest(newer.record)
    assert len(whole_bundles(place)) == 1


def test_a_record_that_says_more_is_no_conflict_and_one_that_says_less_is(
    store: ObjectStore, place: Place, bundle: Bundle
) -> None:
    """Guards every published month against turning red when a later version measures more of the same booster."""
    metrics = json.loads(bundle.record)["metrics"]
    publish(store, bundle)
    before = contents(place)
    assert not publish(store, bundle_of(bundle.booster, metrics={**metrics, "coverage": 0.8}, tiers=[1])).created
    assert contents(place) == before
    less = {name: value for name, value in json.loads(bundle.record).items() if name != "metrics"}
    with pytest.raises(PublicationConflictError, match=r"differs in metrics\)"):
        publish(store, replace(bundle, record=json.dumps(less).encode()))


@pytest.mark.parametrize("manifest_there", [True, False])
def test_another_record_of_the_same_booster_is_a_conflict(
    store: ObjectStore, place: Place, bundle: Bundle, manifest_there: bool
) -> None:
    """Guards the published metrics: the fields that differ are named, down to 4 against 4.0, with both digests."""
    publish(store, bundle)
    if not manifest_there:
        place.remove(BundleNames.of(bundle.model_id).manifest)
    before = contents(place)
    other = bundle_of(bundle.booster, metrics={"mae": 4}, libraries={"pandas": "9.0"})
    with pytest.raises(PublicationConflictError, match=r"differs in metrics\.mae\)") as caught:
        publish(store, other)
    assert digest(bundle.record) in str(caught.value)
    assert digest(other.record) in str(caught.value)
    assert contents(place) == before


def test_bytes_that_are_no_record_are_a_conflict(store: ObjectStore, place: Place, bundle: Bundle) -> None:
    """Guards against taking what an earlier publisher left half written, or a stranger put there, for a record."""
    name = BundleNames.of(bundle.model_id).record
    for data in (b"", b"[]", b'{"metrics": NaN}', bundle.record[:-1]):
        place.put(name, data)
        with pytest.raises(PublicationConflictError, match="contains bytes that are not a record"):
            publish(store, bundle)
        assert whole_bundles(place) == []


@pytest.mark.parametrize(
    ("stored", "ours", "differing"),
    [
        ({"metrics": {"mae": 1, "libraries": 1}}, {"metrics": {"mae": 1, "libraries": 2}}, r"metrics\.libraries"),
        ({"metrics": [1]}, {"metrics": {"mae": 1}}, "metrics"),
        ({"metrics": {"mae": 1}}, {"metrics": [1]}, "metrics"),
        (dict.fromkeys("fbdace", 1), dict.fromkeys("fbdace", 2), "a, b, c, d, e, f"),
        ({"tiers": [{"a": 1, "b": 2}]}, {"tiers": [{"b": 2, "a": 1}]}, None),
        ({"tiers": [{"a": 1, "b": 2}]}, {"tiers": [{"b": 2, "a": True}]}, "tiers"),
    ],
    ids=["nested libraries", "a list before", "a list now", "several, in order", "other order", "true for 1"],
)
def test_what_differs_between_records_is_named(
    store: ObjectStore, bundle: Bundle, stored: dict[str, Any], ours: dict[str, Any], differing: str | None
) -> None:
    """Guards the comparison of what a record holds, at any depth: only its libraries may differ."""
    publish(store, bundle_of(bundle.booster, **stored))
    if differing is None:
        assert not publish(store, bundle_of(bundle.booster, **ours)).created
        return
    with pytest.raises(PublicationConflictError, match=rf"\(it differs in {differing}\)"):
        publish(store, bundle_of(bundle.booster, **ours))


def test_a_later_verdict_does_not_change_what_is_published(store: ObjectStore, place: Place, bundle: Bundle) -> None:
    """Guards the empty October: its verdict names another month, its model is the one of June."""
    publish(store, bundle)
    before = contents(place)
    later = replace(bundle, verdict=verdict_on(bundle.booster, checks=("a_new_check",)))
    assert not publish(store, later).created
    assert contents(place) == before


def test_damage_in_the_free_field_is_damage(store: ObjectStore, place: Place, bundle: Bundle) -> None:
    """Guards against taking a damaged record for one that differs by right: what counts is the manifest's digest."""
    publish(store, bundle)
    name = BundleNames.of(bundle.model_id).record
    place.put(name, bundle.record.replace(b"3.2.0", b"3.2.1"))
    with pytest.raises(PublicationConflictError, match="bundle is damaged") as caught:
        publish(store, bundle)
    assert digest(bundle.record) in str(caught.value)
    assert digest(place.read(name)) in str(caught.value)


@pytest.mark.parametrize("part", ["booster", "record", "manifest"])
@pytest.mark.parametrize("damage", ["flipped", "cut", "gone"])
def test_a_damaged_bundle_is_not_taken_for_published(
    store: ObjectStore, place: Place, bundle: Bundle, part: str, damage: str
) -> None:
    """Guards against a green run over a bundle that no reader can load; both digests are named."""
    publish(store, bundle)
    name = getattr(BundleNames.of(bundle.model_id), part)
    data = place.read(name)
    if damage == "gone":
        place.remove(name)
    else:
        place.put(name, flipped(data, len(data) // 2) if damage == "flipped" else data[:-1])
    if (part, damage) == ("manifest", "gone"):
        assert publish(store, bundle).created  # without its manifest it was never there
        return
    after = contents(place)
    with pytest.raises(PublicationConflictError) as caught:
        publish(store, bundle)
    assert store.uri(name) in str(caught.value)
    assert digest(data) in str(caught.value)
    assert (digest(after[name]) if damage != "gone" else "no object") in str(caught.value)
    assert contents(place) == after


def test_the_manifest_of_another_model_is_refused(
    store: ObjectStore, place: Place, boosters: tuple[bytes, bytes]
) -> None:
    """Guards against a manifest that was copied under another model's name."""
    mine, other = bundle_of(boosters[0]), bundle_of(boosters[1])
    publish(store, other)
    names = BundleNames.of(mine.model_id)
    place.put(names.manifest, place.read(BundleNames.of(other.model_id).manifest))
    with pytest.raises(BundleError, match=other.model_id):
        published(store, mine.model_id)
    with pytest.raises(PublicationConflictError, match=other.model_id):
        publish(store, mine)


@pytest.mark.parametrize("what", ["model_id", "objects"])
def test_a_manifest_of_this_name_must_name_this_model_and_its_objects(
    store: ObjectStore, place: Place, boosters: tuple[bytes, bytes], what: str
) -> None:
    """Guards each of the two: a manifest that another hand wrote may be right in one and wrong in the other."""
    mine = bundle_of(boosters[0])
    publish(store, mine)
    manifest = published(store, mine.model_id)
    assert manifest is not None
    wrong = {"model_id": bundle_of(boosters[1]).model_id, "objects": manifest.objects[::-1]}
    name = BundleNames.of(mine.model_id).manifest
    place.put(name, manifest.model_copy(update={what: wrong[what]}).to_bytes())
    with pytest.raises(BundleError, match="does not match its name"):
        published(store, mine.model_id)


def test_only_bundles_are_listed(store: ObjectStore, bundle: Bundle) -> None:
    """Guards the list against channel pointers, orphans and strangers' files in the same folder."""
    publish(store, bundle)
    orphan = BundleNames.of(bundle.model_id.replace("202201", "202202"))
    store.create(orphan.booster, bundle.booster)
    store.create("xgboost_v1/channels/champion.json", b"{}")
    store.create("xgboost_v1/notes_manifest.json", b"{}")
    assert list_published(store) == [bundle.model_id]


# -- publishers that die -----------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["die before", "die after"])
def test_a_publisher_may_die_at_any_store_call(make_home: MakeHome, bundle: Bundle, order: Order) -> None:
    """Guards the order of the steps: a death anywhere leaves no manifest without its bundle, and a rerun completes."""
    bundle = replace(bundle, documents={"model_card.md": b"# A card"})
    clean = make_home()
    publish(clean.store, bundle)
    for call in range(100):
        home = make_home()
        try:
            publish(dying_at(home.store, call, order), bundle)
            break
        except Killed:
            pass
        created = whole_bundles(home.place) == []
        assert publish(home.store, bundle).created == created
        assert contents(home.place) == contents(clean.place)
    # One read for the manifest, then create and read back for each of four objects.
    assert call == 9


def test_documents_are_named_by_the_manifest(store: ObjectStore, place: Place, bundle: Bundle) -> None:
    """Guards the card: what an interrupted publisher wrote, about another verdict, is neither used nor in the way."""
    names = BundleNames.of(bundle.model_id)
    earlier, card = b"# A card of another verdict", b"# A card"
    store.create(names.document("model_card.md", earlier), earlier)
    done = publish(store, replace(bundle, documents={"model_card.md": card}))
    name = names.document("model_card.md", card)
    stated = json.loads(place.read(names.manifest))
    assert stated["documents"] == [{"name": name.rpartition("/")[2], "size": len(card), "sha256": digest(card)}]
    assert [each.model_dump() for each in done.documents] == stated["documents"]
    assert [each["name"] for each in stated["objects"]] == [
        f"{bundle.model_id}.json",
        f"{bundle.model_id}_metadata.json",
    ]
    before = contents(place)
    assert publish(store, bundle).documents == done.documents
    assert contents(place) == before


def test_a_manifest_of_a_later_version_is_read(store: ObjectStore, bundle: Bundle) -> None:
    """Guards a fleet of two versions: a field that this one does not know is covered by the digest and left alone."""
    publish(store, bundle)
    name = BundleNames.of(bundle.model_id).manifest
    found = store.read(name)
    assert found is not None
    content = {**json.loads(found.data), "later": [1]}
    del content["manifest_sha256"]
    content["manifest_sha256"] = digest((json.dumps(content, sort_keys=True, indent=2) + "\n").encode())
    later = (json.dumps(content, sort_keys=True, indent=2) + "\n").encode()
    assert Manifest.from_bytes(later, name) == Manifest.from_bytes(found.data, name)


@pytest.mark.slow
def test_a_publisher_may_be_killed_at_any_system_call(tmp_path: Path, boosters: tuple[bytes, bytes]) -> None:
    """Guards the directory store's own steps, with a real SIGKILL before every one of them.

    After each: no reader sees a part of an object or of a bundle; a rerun completes and sweeps the leftovers.
    """
    (tmp_path / "booster").write_bytes(boosters[0])
    roots = tmp_path / "roots"
    roots.mkdir()
    command = [sys.executable, "-m", HELPER, "die-everywhere", str(roots), str(tmp_path / "booster")]
    subprocess.run(command, check=True, timeout=300)

    bundle = bundle_of(boosters[0])
    clean = in_directory(tmp_path / "clean")
    publish(clean.store, bundle)
    expected = contents(clean.place)
    stores, left, swept = 0, 0, 0
    for root in sorted(roots.iterdir()):
        place = Folder(root)
        whole = whole_bundles(place)
        assert contents(place).items() <= expected.items()
        staged = list(root.rglob(".*"))
        publish(DirectoryStore(root), bundle)
        assert contents(place) == expected
        stores, left = stores + 1, left + len(staged)
        if not whole:  # else the rerun had nothing to write, and so nothing to sweep
            swept += len(staged)
            assert list(root.rglob(".*")) == []
    assert stores > 10  # three objects take more calls than that
    assert left >= swept > 0  # some died with a staged file in hand


@pytest.mark.slow
def test_readers_see_whole_bundles_while_publishers_are_killed(tmp_path: Path, boosters: tuple[bytes, bytes]) -> None:
    """Guards the promise to workers: kill -9 at random moments, and no reader ever finds a part."""
    # Large enough that writing takes a while.
    (tmp_path / "booster").write_bytes(boosters[0] + b" " * 300_000)
    root = tmp_path / "artifacts"
    place = Folder(root)
    seen: dict[str, bytes] = {}
    failures: list[str] = []
    done = threading.Event()

    def read_on() -> None:
        while not done.is_set():
            try:
                whole_bundles(place)
                now = contents(place)
                if any(now.get(name) != data for name, data in seen.items()):
                    failures.append("a published object changed or vanished")
                seen.update(now)
            except (AssertionError, ValueError, OSError) as error:
                failures.append(repr(error))
            time.sleep(0.005)

    reader = threading.Thread(target=read_on)
    reader.start()
    delays = random.Random(7)
    try:
        for round_number in range(5):
            command = [sys.executable, "-m", HELPER, "publish-forever", str(root), str(tmp_path / "booster")]
            with subprocess.Popen([*command, str(round_number * 1000)], stdout=subprocess.PIPE, text=True) as child:
                assert child.stdout is not None
                assert child.stdout.readline() == "ready\n"
                # Wait for a first manifest of this round, so that every round has published something.
                before, limit = len(seen), time.monotonic() + 300
                while len(seen) < before + 3 and time.monotonic() < limit:
                    time.sleep(0.002)
                time.sleep(delays.uniform(0, 0.03))
                child.kill()
    finally:
        done.set()
        reader.join()
    assert failures == []
    assert len(whole_bundles(place)) >= 5
    # Whatever was begun can be completed.
    boosters_there = [path for path in root.glob("xgboost_v1/*.json") if not path.stem.endswith(("data", "manifest"))]
    for path in boosters_there:
        publish(DirectoryStore(root), bundle_of(path.read_bytes()))
    assert len(whole_bundles(place)) == len(boosters_there)


# -- several publishers ------------------------------------------------------------------------------


def test_of_many_publishers_one_creates(store: ObjectStore, place: Place, boosters: tuple[bytes, bytes]) -> None:
    """Guards the race of two runs for one model, with verdicts and libraries that differ by right."""
    bundles = [
        bundle_of(boosters[0], verdict=verdict_on(boosters[0], checks=(f"check_{n}",)), libraries={"pandas": str(n)})
        for n in range(8)
    ]
    with ThreadPoolExecutor(len(bundles)) as pool:
        results = list(pool.map(lambda each: publish(store, each), bundles))
    assert sum(result.created for result in results) == 1
    assert len({result.manifest.sha256 for result in results}) == 1
    assert len({result.record.sha256 for result in results}) == 1
    assert len(whole_bundles(place)) == 1


class InterleavedPublishers(InterleavedUsers):
    """Publishers of agreeing and contradicting bundles, one store call at a time, some of them killed.

    Some go on to promote what they have published, so that they race for the pointer too.
    """

    choices: tuple[Bundle, ...] = ()
    make_home: MakeHome

    @initialize(begun=st.booleans())
    def open_store(self, begun: bool) -> None:
        home = type(self).make_home()
        self.store, self.place = home.store, home.place
        if begun:
            publish(self.store, self.choices[-1])
        self.published: dict[str, bytes] = {}
        self.manifests: list[str] = []
        self.pointer: bytes | None = None
        self.serial = 0

    @precondition(lambda self: len(self.running) < 4)
    @rule(which=st.integers(0, 5), promotes=st.booleans())
    def start(self, which: int, promotes: bool) -> None:
        self.running.append(SteppedPublisher(self.store, self.choices[which], self.author() if promotes else None))

    @precondition(lambda self: len(self.running) < 4 and self.manifests)
    @rule(which=st.integers(0, 1))
    def start_promotion(self, which: int) -> None:
        """Of a model that is published: a race that only the pointer's few calls decide."""
        manifest = self.manifests[which % len(self.manifests)]
        bundle = next(each for each in self.choices if manifest.startswith(each.model_id))
        self.running.append(SteppedPublisher(self.store, bundle, self.author(), publishes=False))

    def author(self) -> str:
        return f"publisher {len(self.running) + len(self.ended)}"

    @invariant()
    def all_is_well(self) -> None:
        """Bundles are whole and stay as they are; the pointer moves forward only, to a model that is published."""
        if not hasattr(self, "place"):
            return
        now = PlaceContents(self.place)
        self.manifests = whole_bundles(now)
        serial = resolved_serial(now)
        published = {name: data for name, data in now.objects.items() if name != CHAMPION}
        assert self.published.items() <= published.items(), "a published object changed or vanished"
        pointer = now.objects.get(CHAMPION)
        assert self.serial <= serial <= self.serial + 1, "the pointer moved back, or further than one step"
        assert (serial == self.serial) == (pointer == self.pointer), "the pointer changed, and its serial did not"
        self.published, self.serial, self.pointer = published, serial, pointer

    def teardown(self) -> None:
        if not hasattr(self, "place"):
            return
        for publisher in self.running:
            publisher.step("die before")
        self.finish_everything()

    def finish_everything(self) -> None:
        """Every bundle is published or contradicts the one that came first; a further round changes nothing."""
        for _ in range(2):
            for bundle in self.choices:
                record = BundleNames.of(bundle.model_id).record
                try:
                    publish(self.store, bundle)
                except PublicationConflictError:
                    stored = self.store.read(record)
                    assert stored is not None
                    assert json.loads(stored.data)["metrics"] != json.loads(bundle.record)["metrics"]
                self.all_is_well()
        assert len(whole_bundles(self.place)) == len({each.model_id for each in self.choices})
        created = [each.result.manifest.name for each in self.ended if each.result and each.result.created]
        assert len(created) == len(set(created)), "two publishers created one bundle"
        serials = [each.serial for each in self.ended if each.serial is not None]
        assert len(serials) == len(set(serials)), "two promotions got one serial"


@pytest.fixture
def machine(make_home: MakeHome, boosters: tuple[bytes, bytes]) -> type[InterleavedPublishers]:
    first, second = boosters

    class OverThisStore(InterleavedPublishers):
        choices = (
            bundle_of(first),
            bundle_of(first, libraries={"pandas": "9.0"}),
            bundle_of(first, verdict=verdict_on(first, checks=("another",))),
            bundle_of(first, metrics={"mae": 9.9}),
            bundle_of(second),
            bundle_of(second),
        )

    OverThisStore.make_home = staticmethod(make_home)
    return OverThisStore


@pytest.mark.slow
def test_interleaved_publishers(machine: type[InterleavedPublishers], home: Home) -> None:
    """Guards against any order of several publishers' steps and deaths that one publisher alone does not show."""
    run_state_machine_as_test(
        machine,
        settings=settings(
            # The steps are the same over both; over the network they take four times as long.
            max_examples=examples(40 if isinstance(home.store, DirectoryStore) else 15),
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
