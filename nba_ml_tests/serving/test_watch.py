"""Following a channel that does not answer, and from a process that has no thread for it."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from nba_ml.contract.errors import PublicationError
from nba_ml.registry.channel import CHAMPION
from nba_ml.serving import Predictor, predictor, watch
from nba_ml.serving.http.service import create_app
from nba_ml.storage.cloud import CloudStore
from nba_ml.storage.directory import DirectoryStore
from nba_ml.storage.objects import StoredObject
from nba_ml_tests.cloud.gcs import emulator_client
from nba_ml_tests.faults.proxy import Fault, FaultProxy, disturbed
from nba_ml_tests.ports import free_port
from nba_ml_tests.serving.client import running
from nba_ml_tests.serving.conftest import Published
from nba_ml_tests.serving.http.test_service import as_json
from nba_ml_tests.serving.test_predictor import until

Row = Callable[..., dict[str, Any]]


class Held(DirectoryStore):
    """A store whose reads can be held, as a network that drops every packet holds them."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.free, self.waiting = threading.Event(), threading.Event()
        self.free.set()

    def read(self, name: str) -> StoredObject | None:
        if not self.free.is_set():
            self.waiting.set()
            self.free.wait()
        return super().read(name)


@pytest.fixture
def held(published: Published) -> Iterator[Held]:
    store = Held(published.root)
    yield store
    store.free.set()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The watch's clock, in seconds: as the test sets it."""
    now = [1000.0]
    monkeypatch.setattr(watch, "monotonic", lambda: now[0])
    return now


@pytest.mark.slow
def test_a_read_that_does_not_end_is_no_good_health(
    held: Held, clock: list[float], row: Row, published: Published
) -> None:
    """Guards the monitor: Cloud Storage was gone for minutes, and `/health` said "ok", as no read had failed yet."""
    with running(create_app(held, channel="champion", refresh_seconds=0.05)) as client:
        held.free.clear()
        assert held.waiting.wait(60)
        clock[0] += 2 * 0.05 + watch.GRACE_SECONDS - 0.01
        assert client.get("/health").json["status"] == "ok"
        clock[0] += 0.02
        health = client.get("/health").json
        assert (health["status"], health["channel"]["overdue"], health["channel"]["failure"]) == (
            "degraded",
            True,
            None,
        )
        assert client.predict(as_json(row())).json["model_version"] == published.first.model_id
        held.free.set()
        until(lambda: client.get("/health").json["status"] == "ok")
        assert client.get("/health").json["channel"]["overdue"] is False


@pytest.mark.slow
def test_a_watch_counts_from_its_own_beginning(published: Published, clock: list[float]) -> None:
    """Guards against a false alarm: a model that was loaded hours before somebody began to follow the channel."""
    loaded = Predictor.load(str(published.root), model_id=published.first.model_id)
    clock[0] += 10_000
    with loaded.watch("champion", 1_000) as begun:
        assert not begun.overdue
        clock[0] += 2 * 1_000 + watch.GRACE_SECONDS + 1
        assert begun.overdue


@pytest.mark.slow
def test_after_a_failure_the_next_look_is_soon(published: Published, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards a channel that is read once a day: ten bad seconds must not leave it unfollowed until tomorrow."""
    monkeypatch.setattr(watch, "AGAIN_SECONDS", 0.01)
    pointer = published.root / CHAMPION
    good = pointer.read_bytes()
    with Predictor.load(str(published.root), channel="champion").watch("champion", 0.2) as begun:
        assert begun.pause == 0.2
        pointer.write_bytes(good[:-9])
        until(lambda: begun.status.failures >= 2)
        assert begun.status.failed_at is not None
        assert begun.pause == 0.01
        pointer.write_bytes(good)
        until(lambda: begun.status.failure is None)
        assert begun.pause == 0.2
        # Those in a row begin again at 0, and all of them are kept.
        assert (begun.status.failures, begun.status.failed_at) == (0, None)
        assert begun.status.failures_ever >= 2


@pytest.fixture
def proxy(gcs_endpoint: str) -> Iterator[FaultProxy]:
    with FaultProxy(gcs_endpoint).running() as proxy:
        yield proxy


@pytest.mark.parametrize("fault", [Fault("silence", "before"), Fault("503", "before")], ids=["silence", "503"])
def test_cloud_storage_as_it_is_opened_by_default(
    published: Published, row: Row, proxy: FaultProxy, gcs_bucket: str, fault: Fault, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards the watch from the patience of a publisher: minutes of retries, in which nobody is told of a failure."""
    monkeypatch.setattr(predictor, "READ_SECONDS", 0.3)
    store = CloudStore(gcs_bucket, "models", emulator_client(proxy.endpoint))
    for name in published.store.names(""):
        store.create(name, (published.root / name).read_bytes())
    with running(create_app(store, channel="champion", refresh_seconds=0.05)) as client:
        with proxy.disturbing(disturbed(fault, 0, None), lambda: None):
            until(lambda: client.get("/health").json["channel"]["failure"] is not None)
            health = client.get("/health").json
            assert health["status"] == "degraded"
            assert "Could not read xgboost_v1/channels/champion.json" in health["channel"]["failure"]
            assert "write" not in health["channel"]["failure"]
            assert client.predict(as_json(row())).json["model_version"] == published.first.model_id
        until(lambda: client.get("/health").json["status"] == "ok")


def test_a_store_in_a_hurry_is_the_same_otherwise(cloud_store: CloudStore) -> None:
    """Guards against a copy of the store that looks elsewhere, or is more patient than its owner wanted."""
    made = cloud_store.create("folder/object.json", b"{}")
    hurried = cloud_store.within(10.0)
    found = hurried.read("folder/object.json")
    assert found is not None
    assert (found.data, found.generation, hurried.root) == (b"{}", made, cloud_store.root)
    assert hurried.uri("x") == cloud_store.uri("x")
    dead = CloudStore("bucket", "", emulator_client(f"http://127.0.0.1:{free_port()}"), 0.1, 0.1, 0.01)
    assert dead.within(10.0).root == dead.root
    with pytest.raises(PublicationError, match="could not be reached for 0 seconds"):
        dead.within(10.0).read("x")


@pytest.mark.slow
def test_only_a_write_may_have_been_carried_out() -> None:
    """Guards the words of a failed read: they sent people looking for a write that nobody had asked for."""
    store = CloudStore("bucket", "", emulator_client(f"http://127.0.0.1:{free_port()}"), 0.1, 0.1, 0.01)
    asked: dict[str, Callable[[], object]] = {
        "read": lambda: store.read("x"),
        "list": lambda: store.names(""),
        "create": lambda: store.create("x", b""),
        "swap": lambda: store.swap("x", b"", "1"),
        "write": lambda: store.write("x", b""),
        "delete": lambda: store.delete("x"),
    }
    for action, ask in asked.items():
        with pytest.raises(PublicationError, match=f"^Could not {action} gs://") as caught:
            ask()
        assert ("whether the write was carried out" in str(caught.value)) is (action not in ("read", "list")), action


@pytest.mark.slow
def test_a_child_of_the_process_that_loaded_is_refused(published: Published, row: Row) -> None:
    """Guards a server that forks its workers: their model was never followed, and with two threads they hung."""
    code = f"""
import json, os, signal, sys
from nba_ml.contract.errors import SettingsError
from nba_ml.serving import Predictor

row = json.loads(sys.argv[1])
predictor = Predictor.load({str(published.root)!r}, channel="champion", threads=2, try_apart=False)
watch = predictor.watch("champion", 60)
predictor.predict([row] * 450)
child = os.fork()
if child == 0:
    signal.alarm(60)  # one that hangs ends all the same
    for call in (
        lambda: predictor.predict(row),
        lambda: predictor.refresh("champion"),
        lambda: predictor.watch("champion", 60),
    ):
        try:
            call()
        except SettingsError as error:
            assert f"process {{os.getppid()}} loaded" in str(error), error
            assert "without --preload" in str(error), error
            print("refused", flush=True)
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
predictor.predict(row)
print("served")
"""
    done = subprocess.run(
        [sys.executable, "-c", code, json.dumps(as_json(row()))], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["refused", "refused", "refused", "served"]
