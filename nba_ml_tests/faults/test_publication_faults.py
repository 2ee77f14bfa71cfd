"""Publication to Cloud Storage through a network that fails at every call, in every way, before and after.

Every test looks at the bucket after every call that reached the server: no reader ever finds half a bundle, no
published byte changes, and the champion's pointer moves forward only, to a model that is published.
"""

from __future__ import annotations

import itertools
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from nba_ml.contract.errors import BundleError, PublicationError
from nba_ml.registry.manifest import BundleNames
from nba_ml.registry.publication import Bundle, publish
from nba_ml.registry.reader import verify_bundle
from nba_ml.storage.cloud import CloudStore
from nba_ml_tests.cloud.gcs import BucketView, emulator_client, make_bucket
from nba_ml_tests.faults.proxy import KINDS, WHENS, Call, Fault, FaultProxy, Kind, When, disturbed, undisturbed
from nba_ml_tests.faults.publishers import publish_and_promote
from nba_ml_tests.faults.summary import PREFIX
from nba_ml_tests.registry.places import Place, PlaceContents, contents
from nba_ml_tests.registry.publication_machine import CHAMPION, bundle_of, resolved_serial, verdict_on, whole_bundles
from nba_ml_tests.registry.test_reader import NAMES, recorded, reference_rows, trained

HELPER = "nba_ml_tests.faults.publishers"

CALLS = [
    "GET manifest",  # not there,
    "GET list",  # and that is not for want of a bucket
    "POST booster",
    "GET booster",
    "POST record",
    "GET record",
    "POST manifest",
    "GET manifest",
    "GET champion",  # not there
    "POST champion",  # create
    "GET champion",
    "POST champion",  # swap
]
"""What `publish_and_promote` asks of an empty bucket, when nothing goes wrong."""

Record = Callable[[str, object], None]


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    """A bundle that a worker would load."""
    booster, rows = trained(NAMES), reference_rows()
    references = [
        {"player_lookup": f"player{index}", "game_date": "2022-01-15", "features": row, "prediction": prediction}
        for index, (row, prediction) in enumerate(zip(rows, recorded(booster, rows), strict=True))
    ]
    return bundle_of(booster, reference_rows=references)


class Watch:
    """A reader that remembers what it saw. It reads again only what has another generation than before."""

    def __init__(self, place: Place, allowed: dict[str, bytes]) -> None:
        self._place = place
        self._allowed = allowed
        self._stamps: dict[str, str] = {}
        self._objects: dict[str, bytes] = {}
        self._serial = 0
        self.looks = 0

    def names(self) -> list[str]:
        return list(self._objects)

    def read(self, name: str) -> bytes:
        return self._objects[name]

    def __call__(self) -> None:
        """Look, and raise AssertionError for anything that no reader may ever see."""
        self.looks += 1
        stamps = self._place.stamps()
        rewritten = [name for name, stamp in self._stamps.items() if stamps.get(name) != stamp and name != CHAMPION]
        assert rewritten == [], "written over, or gone"
        changed = [name for name, stamp in stamps.items() if self._stamps.get(name) != stamp]
        self._objects |= {name: self._place.read(name) for name in changed}
        self._stamps = stamps
        for name, data in self._objects.items():
            assert name == CHAMPION or self._allowed[name] == data, f"{name} has bytes that nobody published"
        whole_bundles(self)
        serial = resolved_serial(self)
        assert serial == self._serial + (CHAMPION in changed), f"serial {serial} after {self._serial}"
        self._serial = serial


@dataclass
class Trial:
    """One bucket of the emulator, seen directly and through the proxy, and a folder in it for each trial."""

    direct: str
    proxy: FaultProxy
    bucket: str
    bundle: Bundle
    clean: dict[str, bytes]
    folders: Iterator[int]

    def begin(self) -> tuple[str, BucketView, Watch]:
        """The name of a fresh folder, and it as it is seen directly."""
        folder = f"trial-{next(self.folders)}"
        place = BucketView(self.direct, self.bucket, folder)
        return folder, place, Watch(BucketView(self.direct, self.bucket, folder), self.clean)

    def store(self, folder: str) -> CloudStore:
        """A store that nothing disturbs."""
        return CloudStore(self.bucket, folder, emulator_client(self.direct))

    def disturbed(self, folder: str, *, deadline: float, request_timeout: float = 30.0) -> CloudStore:
        """A store behind the proxy, which tries again soon."""
        client = emulator_client(self.proxy.endpoint)
        return CloudStore(self.bucket, folder, client, deadline, request_timeout, first_pause=0.005)

    def counted(self) -> Counter[str]:
        """The calls through the proxy, and the faults, so far."""
        return Counter(calls=self.proxy.arrived, faults=self.proxy.injected)

    def since(self, before: Counter[str]) -> Counter[str]:
        """Those that came after it was `counted`."""
        return self.counted() - before


@pytest.fixture(scope="module")
def trial(gcs_endpoint: str, bundle: Bundle) -> Iterator[Trial]:
    """The clean publication is verified as a worker would, so whatever equals it byte for byte is good."""
    bucket = make_bucket(gcs_endpoint)
    store = CloudStore(bucket, "clean", emulator_client(gcs_endpoint))
    result = publish(store, bundle)
    assert verify_bundle(read_from(store), result.manifest.name).model_id == bundle.model_id
    with FaultProxy(gcs_endpoint).running() as proxy:
        clean = contents(BucketView(gcs_endpoint, bucket, "clean"))
        yield Trial(gcs_endpoint, proxy, bucket, bundle, clean, itertools.count())


def read_from(store: CloudStore) -> Callable[[str], bytes | None]:
    """What `verify_bundle` takes."""

    def read(name: str) -> bytes | None:
        found = store.read(name)
        return None if found is None else found.data

    return read


def published_objects(place: Place) -> dict[str, bytes]:
    return {name: data for name, data in contents(place).items() if name != CHAMPION}


def test_the_calls_of_a_publication(trial: Trial, record_property: Record) -> None:
    """Guards the counts below, and the cost of a publication: a call more is a call more that can fail."""
    folder, place, watch = trial.begin()
    before = trial.counted()
    with trial.proxy.disturbing(undisturbed, watch):
        outcome = publish_and_promote(trial.disturbed(folder, deadline=60), trial.bundle, "calm")
    assert outcome == (True, [1, 2])
    names = BundleNames.of(trial.bundle.model_id)
    known = {names.booster: "booster", names.record: "record", names.manifest: "manifest", CHAMPION: "champion"}

    def asked(call: Call) -> str:
        return next((known[name] for name in known if name.replace("/", "%2F") in call.path), "list")

    # An upload has the object's name in its body, not in its address: those are told by the reading back.
    told = [f"{call.method} {asked(call)}" for call in trial.proxy.calls]
    assert [each for each in told if each.startswith("GET")] == [each for each in CALLS if each.startswith("GET")]
    assert [each.method for each in trial.proxy.calls] == [each.split()[0] for each in CALLS]
    assert trial.proxy.violations == []
    assert watch.looks == len(CALLS)
    assert trial.since(before) == {"calls": len(CALLS)}
    assert published_objects(place) == trial.clean
    record(record_property, **trial.since(before))


@pytest.mark.parametrize("when", WHENS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_fault_that_passes_is_overcome(trial: Trial, kind: Kind, when: When, record_property: Record) -> None:
    """Guards every call against a fault, resets also two in a row: all is done, once, and nobody else is blamed.

    After the server acted, the second try is refused because of the first: taken for a lost race, the publisher
    would not say `created`, and the pointer would go up by one serial too many.
    """
    runs, before = 0, trial.counted()
    for call, times in itertools.product(range(len(CALLS)), (1, 2) if kind == "reset" else (1,)):
        folder, place, watch = trial.begin()
        store = trial.disturbed(folder, deadline=60, request_timeout=0.25 if kind == "silence" else 30)
        with trial.proxy.disturbing(disturbed(Fault(kind, when), call, times), watch):
            outcome = publish_and_promote(store, trial.bundle, "patient")
        assert trial.proxy.violations == []
        assert outcome == (True, [1, 2]), f"{times} x {kind} {when} call {call}"
        assert published_objects(place) == trial.clean
        runs += 1
    record(record_property, runs=runs, **trial.since(before))


@pytest.mark.parametrize("when", WHENS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_fault_that_lasts_ends_in_an_error_that_a_rerun_mends(
    trial: Trial, kind: Kind, when: When, record_property: Record
) -> None:
    """Guards against hanging, against half a bundle, and against a state from which publishing again fails."""
    runs, before = 0, trial.counted()
    for call in range(len(CALLS)):
        folder, place, watch = trial.begin()
        store = trial.disturbed(folder, deadline=0.1, request_timeout=0.1 if kind == "silence" else 30)
        with (
            trial.proxy.disturbing(disturbed(Fault(kind, when), call, None), watch),
            pytest.raises(PublicationError, match=r"for 0 seconds; the last error was: .*run again") as caught,
        ):
            publish_and_promote(store, trial.bundle, "unlucky")
        assert trial.proxy.violations == []
        assert trial.proxy.endpoint in str(caught.value)

        undisturbed = trial.store(folder)
        manifest = BundleNames.of(trial.bundle.model_id).manifest
        if manifest not in place.names():
            with pytest.raises(BundleError, match="none with that name"):
                verify_bundle(read_from(undisturbed), manifest)
        seen = resolved_serial(place)
        _, serials = publish_and_promote(undisturbed, trial.bundle, "second")
        assert serials == [seen + 1, seen + 2]
        assert published_objects(place) == trial.clean
        runs += 1
    record(record_property, runs=runs, **trial.since(before))


def test_damaged_bytes_are_refused(trial: Trial, record_property: Record) -> None:
    """Guards every download: one bit turned over on the way is an error that says so, and nothing is built on it."""
    before = trial.counted()
    downloads = [number for number, asked in enumerate(CALLS) if asked in ("GET booster", "GET record")]
    downloads += [CALLS.index("GET manifest", 1), CALLS.index("GET champion", 9)]
    for call in downloads:
        folder, place, watch = trial.begin()
        with (
            trial.proxy.disturbing(disturbed(Fault("garbled", "after"), call), watch),
            pytest.raises(PublicationError, match="checksum of the received bytes"),
        ):
            publish_and_promote(trial.disturbed(folder, deadline=60), trial.bundle, "garbled")
        assert trial.proxy.violations == []
        publish_and_promote(trial.store(folder), trial.bundle, "second")
        assert published_objects(place) == trial.clean
    record(record_property, runs=len(downloads), **trial.since(before))


def test_publishers_killed_at_every_call(trial: Trial, tmp_path: Path, record_property: Record) -> None:
    """Guards with a real SIGKILL to a real process, before and after every call: a rerun completes the bundle."""
    small = bundle_of(trial.bundle.booster)
    store, allowed = trial.store("killed-clean"), BucketView(trial.direct, trial.bucket, "killed-clean")
    publish(store, small)
    kills, before = 0, trial.counted()
    with started("in-forks", trial.proxy.endpoint, trial.bucket, small, tmp_path) as helper:
        for call, when in itertools.product(range(len(CALLS) + 1), WHENS):
            folder, place, _ = trial.begin()
            watch = Watch(BucketView(trial.direct, trial.bucket, folder), contents(allowed))
            with trial.proxy.disturbing(disturbed(Fault("kill", when), call), watch):
                ended = helper(folder)
            assert trial.proxy.violations == []
            assert ended == ("-9" if call < len(CALLS) else "0")
            kills += ended == "-9"
            whole = whole_bundles(place)
            assert publish(trial.store(folder), small).created == (whole == [])
            assert published_objects(place) == contents(allowed)
    assert kills == 2 * len(CALLS)
    record(record_property, kills=kills, calls=trial.since(before)["calls"])


@pytest.mark.parametrize("publishers", [2, 3])
def test_publishers_at_once_through_a_bad_network(trial: Trial, publishers: int, record_property: Record) -> None:
    """Guards the races of runs for one model while answers are lost: one creates, no two get one serial."""
    booster = trial.bundle.booster
    bundles = [
        bundle_of(booster, verdict=verdict_on(booster, checks=(f"check_{n}",)), libraries={"pandas": str(n)})
        for n in range(publishers)
    ]
    chance = random.Random(publishers)
    before = trial.counted()

    def plan(_: Call) -> Fault | None:
        kind, when = chance.choice(["503", "reset", "cut"]), chance.choice(WHENS)
        return Fault(kind, when) if chance.random() < 0.3 else None  # type: ignore[arg-type]

    rounds = 4
    for _ in range(rounds):
        folder, place, _ = trial.begin()
        watched = BucketView(trial.direct, trial.bucket, folder)
        stores = [trial.disturbed(folder, deadline=120) for _ in bundles]
        with trial.proxy.disturbing(plan, partial(look, watched)), ThreadPoolExecutor(publishers) as pool:
            outcomes = list(pool.map(publish_and_promote, stores, bundles, map(str, range(publishers))))
        assert trial.proxy.violations == []
        assert sum(created for created, _ in outcomes) == 1
        serials = [serial for _, each in outcomes for serial in each]
        assert len(serials) == len(set(serials)) == 2 * publishers
        assert resolved_serial(place) >= max(serials)
        assert len(whole_bundles(place)) == 1
    record(record_property, races=rounds, **trial.since(before))


def look(place: Place) -> None:
    """Bundles are whole and the pointer resolves, whoever is at work."""
    whole_bundles(place)
    resolved_serial(place)


def test_processes_at_once(trial: Trial, tmp_path: Path, record_property: Record) -> None:
    """Guards the same race between processes, which share no lock and no connection."""
    small = bundle_of(trial.bundle.booster)
    rounds = 10
    with ThreadPoolExecutor(3) as pool:
        helpers = [started("racing", trial.direct, trial.bucket, small, tmp_path, str(n)) for n in range(3)]
        try:
            for number in range(rounds):
                folder = f"race-{number}"
                answers = list(pool.map(started.__call__, helpers, [folder] * 3))
                created = [answer.split()[0] for answer in answers]
                serials = [serial for answer in answers for serial in answer.split()[1:]]
                assert sorted(created) == ["0", "0", "1"]
                assert sorted(map(int, serials)) == [1, 2, 3, 4, 5, 6]
                assert resolved_serial(PlaceContents(BucketView(trial.direct, trial.bucket, folder))) == 6
        finally:
            for helper in helpers:
                helper.close()
    record(record_property, races=rounds)


class started:  # noqa: N801 - reads as a verb
    """A helper process: give it a line, get one back."""

    def __init__(self, what: str, endpoint: str, bucket: str, bundle: Bundle, tmp_path: Path, *rest: str) -> None:
        path = tmp_path / "booster"
        path.write_bytes(bundle.booster)
        self._process = subprocess.Popen(
            [sys.executable, "-m", HELPER, what, endpoint, bucket, str(path), *rest],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._ready = False

    def __call__(self, line: str) -> str:
        assert self._process.stdin is not None
        if not self._ready:  # not waited for in the beginning, so that several can start at once
            assert self._answer() == "ready"
            self._ready = True
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def close(self) -> None:
        """End of input, and so of the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=60)

    def __enter__(self) -> started:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def test_the_watch_sees_half_a_bundle(trial: Trial) -> None:
    """Guards the guard: what the tests above look for is found when it is there."""
    names = BundleNames.of(trial.bundle.model_id)
    for missing in (names.booster, names.record):
        _, place, watch = trial.begin()
        for name in trial.clean.keys() - {missing}:
            place.put(name, trial.clean[name])
        with pytest.raises(KeyError, match=missing):
            watch()
    _, place, watch = trial.begin()
    place.put(names.booster, trial.clean[names.booster][:-1])
    with pytest.raises(AssertionError, match="nobody published"):
        watch()
    _, place, watch = trial.begin()
    for name, data in trial.clean.items():
        place.put(name, data)
    for serial, violation in ((1, None), (2, None), (1, "serial 1 after 2")):
        place.put(CHAMPION, f'{{"serial": {serial}, "model_id": "{trial.bundle.model_id}"}}'.encode())
        if violation is None:
            watch()
        else:
            with pytest.raises(AssertionError, match=violation):
                watch()
    place.put(names.record, trial.clean[names.record])
    with pytest.raises(AssertionError, match="written over"):
        watch()


def record(record_property: Record, **counts: int) -> None:
    """Add to the line that `summary` writes at the end."""
    for name, value in counts.items():
        record_property(PREFIX + name, value)
