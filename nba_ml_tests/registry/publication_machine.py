"""Publishers that can be stopped: what the tests of publication and of the stores drive.

- `bundle_of` and `whole_bundles`: a bundle around a booster's bytes, and a reader that shares no code
  with the publisher.
- `promote`: the channel pointer's compare-and-swap, and `resolved_serial`, a reader of the pointer.
- `SteppedPublisher`: a publisher that makes one store call at a time, and can be killed before or after any of them.
- As a program, a publisher in a process of its own, to be killed by the kernel.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from nba_ml.contract.errors import PublicationError
from nba_ml.contract.features import V2_33FEATURES
from nba_ml.contract.model_id import model_id
from nba_ml.contract.systems import XGBOOST_V1
from nba_ml.registry.publication import Bundle, Published, publish
from nba_ml.registry.verdict import CheckVerdict, Verdict
from nba_ml.storage.directory import DirectoryStore
from nba_ml.storage.objects import GenerationMismatchError, ObjectExistsError, ObjectStore
from nba_ml_tests.registry.places import Readable
from nba_ml_tests.registry.stoppable import SteppedUser

MONTH = "2022-01"
CHAMPION = "xgboost_v1/channels/champion.json"


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def verdict_on(booster: bytes, *, passed: bool = True, checks: Iterable[str] = ("beats_baselines", "mae")) -> Verdict:
    """A verdict of the given blocking checks on a booster."""
    sha = digest(booster)
    named = (CheckVerdict(asset="xgboost_model", check=c, month=MONTH, passed=passed, subject=sha) for c in checks)
    return Verdict(model_sha256=sha, checks=tuple(named))


def bundle_of(booster: bytes, *, verdict: Verdict | None = None, **fields: Any) -> Bundle:
    """A bundle with a minimal record; `fields` go into the record, over what is there."""
    identity = model_id(XGBOOST_V1, MONTH, booster)
    record = {
        "model_id": identity,
        "model_sha256": digest(booster),
        "feature_version": V2_33FEATURES.name,
        "feature_names": list(V2_33FEATURES.names),
        "reference_rows": [],
        "libraries": {"xgboost": "3.2.0"},
        "metrics": {"mae": 4.5},
    }
    return Bundle(identity, booster, json.dumps({**record, **fields}).encode(), verdict or verdict_on(booster))


def whole_bundles(place: Readable) -> list[str]:
    """The names of all manifests; an AssertionError if one of them speaks for a bundle that is not whole."""
    manifests = [name for name in place.names() if name.endswith("_manifest.json")]
    for name in manifests:
        folder = name.rpartition("/")[0]
        manifest = json.loads(place.read(name))
        assert len(manifest["objects"]) == 2
        for stated in manifest["objects"]:
            data = place.read(f"{folder}/{stated['name']}")
            assert (len(data), digest(data)) == (stated["size"], stated["sha256"]), f"{stated['name']} is not whole"
    return [name.rpartition("/")[2] for name in manifests]


def promote(store: ObjectStore, model_id: str, author: str) -> int:
    """Let the champion's pointer name a published model; its new serial. A lost race is decided again."""
    while True:
        found = store.read(CHAMPION)
        serial = 1 if found is None else json.loads(found.data)["serial"] + 1
        data = json.dumps({"serial": serial, "model_id": model_id, "author": author}).encode()
        try:
            if found is None:
                store.create(CHAMPION, data)
            else:
                store.swap(CHAMPION, data, found.generation)
        except (ObjectExistsError, GenerationMismatchError):
            continue
        return serial


def resolved_serial(place: Readable) -> int:
    """The pointer's serial, 0 without a pointer; an AssertionError if it names a model without a manifest."""
    if CHAMPION not in place.names():
        return 0
    pointer = json.loads(place.read(CHAMPION))
    assert f"{pointer['model_id']}_manifest.json" in whole_bundles(place)
    serial: int = pointer["serial"]
    return serial


class SteppedPublisher(SteppedUser):
    """`publish`, `promote`, or both, one store call at a time."""

    def __init__(
        self, store: ObjectStore, bundle: Bundle, promoted_by: str | None = None, *, publishes: bool = True
    ) -> None:
        self.bundle = bundle
        self.result: Published | None = None
        self.serial: int | None = None
        self.error: PublicationError | None = None
        self._promoted_by = promoted_by
        self._publishes = publishes
        super().__init__(store)

    def work(self, store: ObjectStore) -> None:
        try:
            if self._publishes:
                self.result = publish(store, self.bundle)
            if self._promoted_by is not None:
                self.serial = promote(store, self.bundle.model_id, self._promoted_by)
        except PublicationError as error:
            self.error = error


AUDITED = ("open", "os.mkdir", "os.link", "os.rename", "os.remove", "os.scandir", "fcntl.flock")
"""The interpreter's audit events for the system calls that a directory store makes."""


def _publish_dying_everywhere(root: Path, booster: bytes) -> None:
    """Publish in a forked process for each system call n, killed by the kernel right before the n-th.

    Leaves one store per call under `root`, named by the number, and ends with the one that was not killed.
    """
    bundle = bundle_of(booster)
    n = 0
    while True:
        n += 1
        if (child := os.fork()) == 0:
            left = n

            def count(event: str, _: tuple[Any, ...]) -> None:
                nonlocal left
                if event in AUDITED:
                    left -= 1
                    if left == 0:
                        os.kill(os.getpid(), signal.SIGKILL)

            sys.addaudithook(count)
            publish(DirectoryStore(root / f"{n:03d}"), bundle)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if status == 0:
            return
        if not os.WIFSIGNALED(status):
            raise SystemExit(f"publisher {n} failed by itself: {status}")


def _publish_forever(root: Path, booster: bytes, first: int) -> None:
    """Publish one model after the other, until killed. Spaces after the JSON make them different models."""
    store = DirectoryStore(root)
    print("ready", flush=True)
    while True:
        publish(store, bundle_of(booster + b" " * first))
        first += 1


def _race(root: Path, names: int, increments: int) -> None:
    """Race the others for objects that only one can create, and for a counter that only swaps can raise.

    Prints how many of the objects this process created.
    """
    store = DirectoryStore(root)
    won = [0]
    print("ready", flush=True)
    sys.stdin.readline()

    def race() -> None:
        for index in range(names):
            try:
                store.create(f"race/{index}", f"{os.getpid()} {threading.get_ident()}".encode())
            except ObjectExistsError:
                continue
            with counting:
                won[0] += 1
        for _ in range(increments):
            raise_counter(store)

    counting = threading.Lock()
    threads = [threading.Thread(target=race) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(won[0], flush=True)


def raise_counter(store: ObjectStore) -> None:
    """Add one to `counter`, deciding again after every lost race."""
    while True:
        found = store.read("counter")
        assert found is not None
        try:
            store.swap("counter", str(int(found.data) + 1).encode(), found.generation)
        except GenerationMismatchError:
            continue
        return


def _stage_and_wait(root: Path) -> None:
    """Hold a staged file open in the middle of a write, and say so."""
    store = DirectoryStore(root)
    with store._staged(root / "xgboost_v1", b"half of it"):
        print("ready", flush=True)
        time.sleep(60)


if __name__ == "__main__":
    what, where, *rest = sys.argv[1:]
    if what == "die-everywhere":
        _publish_dying_everywhere(Path(where), Path(rest[0]).read_bytes())
    elif what == "publish-forever":
        _publish_forever(Path(where), Path(rest[0]).read_bytes(), int(rest[1]))
    elif what == "race":
        _race(Path(where), int(rest[0]), int(rest[1]))
    elif what == "stage-and-wait":
        _stage_and_wait(Path(where))
    else:
        raise SystemExit(f"unknown: {what}")
