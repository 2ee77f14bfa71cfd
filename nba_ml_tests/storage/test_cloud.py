"""The Cloud Storage store: the directory store's promises on the emulator, and refusals that a user can act on."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from google.auth.credentials import Credentials
from google.auth.exceptions import RefreshError
from google.cloud import storage

from nba_ml.contract.errors import PublicationError, SettingsError
from nba_ml.contract.limits import STATE_BYTES
from nba_ml.registry.publication import publish
from nba_ml.storage.cloud import CloudStore, open_cloud_store
from nba_ml.storage.objects import GenerationMismatchError, ObjectExistsError
from nba_ml_tests.cloud.gcs import BucketView, emulator_client
from nba_ml_tests.faults.proxy import Call, Fault, FaultProxy, Kind, disturbed
from nba_ml_tests.registry.publication_machine import bundle_of, raise_counter
from nba_ml_tests.storage.answering import error, every_call, refusals, refused
from nba_ml_tests.storage.test_directory import BAD_NAMES

MIB = 2**20


@pytest.fixture
def store(cloud_store: CloudStore) -> CloudStore:
    return cloud_store


@pytest.fixture
def place(gcs_endpoint: str, gcs_bucket: str) -> BucketView:
    """What the store's bucket holds, the prefix included."""
    return BucketView(gcs_endpoint, gcs_bucket)


@pytest.fixture
def proxy(gcs_endpoint: str) -> Iterator[FaultProxy]:
    with FaultProxy(gcs_endpoint).running() as proxy:
        yield proxy


@pytest.fixture
def behind(proxy: FaultProxy, gcs_bucket: str) -> CloudStore:
    """A patient store behind the proxy."""
    return CloudStore(gcs_bucket, "models", emulator_client(proxy.endpoint), 30, 10, first_pause=0.005)


def nothing() -> None:
    """No watch."""


# -- the promises ------------------------------------------------------------------------------------


def test_swap_refuses_another_generation(store: CloudStore) -> None:
    """Guards compare-and-swap: a stale decision, or one about an object that is gone, changes nothing."""
    with pytest.raises(GenerationMismatchError, match="no object"):
        store.swap("a", b"2", "12345")
    first = store.create("a", b"1")
    second = store.swap("a", b"2", first)
    with pytest.raises(GenerationMismatchError) as caught:
        store.swap("a", b"2", first)  # with the very bytes that are there, too
    assert (caught.value.name, caught.value.expected, caught.value.found) == ("a", first, second)
    assert store.read("a").data == b"2"  # type: ignore[union-attr]


@pytest.mark.parametrize("generation", ["0", "sha256:00", "-1", ""])
def test_swap_with_what_is_no_generation_here(store: CloudStore, generation: str) -> None:
    """Guards against a swap that creates: to Cloud Storage a generation of 0 means 'where nothing is'."""
    with pytest.raises(GenerationMismatchError, match="no object"):
        store.swap("a", b"2", generation)
    first = store.create("a", b"1")
    with pytest.raises(GenerationMismatchError, match=first):
        store.swap("a", b"2", generation)
    assert store.read("a").data == b"1"  # type: ignore[union-attr]


def test_names_are_sorted_paged_and_begin_with_the_prefix(
    gcs_endpoint: str, gcs_bucket: str, place: BucketView
) -> None:
    """Guards listing: all pages of it, nothing outside the store's prefix, nothing that is no name."""
    client = emulator_client(gcs_endpoint)
    store = CloudStore(gcs_bucket, "a/store", client)
    assert store.names("") == []
    for name in ("m/b.json", "m/a.json", "m/sub/c.json", "mm/d.json", "e"):
        store.create(name, b"")
    for stranger in ("a/store/m/", "a/store/m/.hidden", "a/storeroom/m/x", "m/y"):  # a folder mark of the console's
        place.put(stranger, b"")
    assert store.names("m/") == ["m/a.json", "m/b.json", "m/sub/c.json"]
    assert store.names("m") == ["m/a.json", "m/b.json", "m/sub/c.json", "mm/d.json"]
    assert store.names("m/s") == ["m/sub/c.json"]
    assert store.names("none/") == []
    assert CloudStore(gcs_bucket, "", client).names("m/") == ["m/y"]
    for number in range(1100):  # a page holds a thousand
        place.put(f"a/store/many/{number:04d}", b"")
    assert store.names("many/") == [f"many/{number:04d}" for number in range(1100)]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_bad_names_are_refused_by_every_method(store: CloudStore, place: BucketView, name: str) -> None:
    """Guards the prefix, and that a name good in the cloud is good in a directory."""
    calls: list[Callable[[], object]] = [
        lambda: store.uri(name),
        lambda: store.read(name),
        lambda: store.create(name, b""),
        lambda: store.swap(name, b"", "1"),
        lambda: store.write(name, b""),
        lambda: store.delete(name),
    ]
    for call in calls:
        with pytest.raises(PublicationError, match="is not a valid object name"):
            call()
    with pytest.raises(PublicationError, match="is not a valid object name"):
        store.names("../")
    assert place.names() == []


def test_where_objects_lie(store: CloudStore, place: BucketView, gcs_bucket: str, gcs_endpoint: str) -> None:
    """Guards the address that goes into records: it must be the one that Google's tools find the object under."""
    store.create("m/with space & ümlaut?#.json", b"{}")
    assert place.names() == ["models/m/with space & ümlaut?#.json"]
    assert store.uri("m/a.json") == f"gs://{gcs_bucket}/models/m/a.json"
    assert store.read("m/with space & ümlaut?#.json").data == b"{}"  # type: ignore[union-attr]
    bare = CloudStore(gcs_bucket, "", emulator_client(gcs_endpoint))
    assert bare.uri("a") == f"gs://{gcs_bucket}/a"
    assert bare.read("models/m/with space & ümlaut?#.json") is not None


def test_objects_say_what_they_are(store: CloudStore, gcs_bucket: str, gcs_endpoint: str) -> None:
    """Guards readers of a public bucket against an hour-old pointer, and the console against 'text/plain'."""
    for name, kind in (("a.json", "application/json"), ("b.parquet", "application/octet-stream")):
        store.create(name, b"{}")
        blob = emulator_client(gcs_endpoint).bucket(gcs_bucket).get_blob(f"models/{name}")
        assert (blob.content_type, blob.cache_control) == (kind, "no-store")


# -- one request each, sent again where that is safe -------------------------------------------------


def requests_of(proxy: FaultProxy, work: Callable[[], object]) -> list[Call]:
    with proxy.disturbing(lambda _: None, nothing):
        work()
        return proxy.calls


def test_an_upload_is_one_request(proxy: FaultProxy, behind: CloudStore) -> None:
    """Guards what an emulator's promise hangs on: up to 8 MiB the library sends one request, with the expectation."""
    (call,) = requests_of(proxy, lambda: behind.create("a", b"x" * 8 * MIB))
    assert (call.method, "uploadType=multipart" in call.path, "ifGenerationMatch=0" in call.path) == (
        "POST",
        True,
        True,
    )
    generation = behind.read("a").generation  # type: ignore[union-attr]
    (call,) = requests_of(proxy, lambda: behind.swap("a", b"y", generation))
    assert f"ifGenerationMatch={generation}" in call.path
    (call,) = requests_of(proxy, lambda: behind.write("w", b"x" * 8 * MIB))
    assert "ifGenerationMatch" not in call.path
    (call,) = requests_of(proxy, lambda: behind.read("a"))
    assert call.method == "GET"


def test_an_object_over_its_limit_is_not_read(store: CloudStore) -> None:
    """Guards a worker's memory: a pointer of gigabytes ends its download as soon as it is larger than allowed."""
    store.create("channels/champion.json", b"x" * STATE_BYTES)
    found = store.read("channels/champion.json")
    assert found is not None
    assert len(found.data) == STATE_BYTES
    store.swap("channels/champion.json", b"x" * (STATE_BYTES + 1), found.generation)
    with pytest.raises(PublicationError, match=r"champion\.json has more than the 1,048,576 bytes"):
        store.read("channels/champion.json")


def test_a_large_object_goes_and_comes_whole(store: CloudStore) -> None:
    """Guards the size at which the library turns to several requests: months of rows may be larger."""
    data = bytes(range(256)) * (9 * MIB // 256)
    store.write("large", data)
    store.create("larger", data + b"1")
    assert store.read("large").data == data  # type: ignore[union-attr]
    assert store.read("larger").data == data + b"1"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("number", "kind"),
    [(0, "410"), (0, "503"), (0, "cut"), (1, "404"), (1, "410"), (1, "503"), (1, "short"), (1, "cut")],
)
def test_a_large_upload_starts_anew_when_its_session_ends(
    proxy: FaultProxy, behind: CloudStore, store: CloudStore, number: int, kind: Kind
) -> None:
    """Guards uploads in several requests: an ended session was taken for a missing bucket, half an answer for none.

    Request 0 opens the session and 1 sends the bytes; of the second the server has already acted.
    """
    data = bytes(range(256)) * (9 * MIB // 256)
    with proxy.disturbing(disturbed(Fault(kind, "after"), number), nothing):
        generation = behind.create("large", data)
        assert len(proxy.calls) > 2
    found = store.read("large")
    assert found is not None
    assert (found.generation, found.data == data) == (generation, True)


def test_bytes_and_generation_belong_together(store: CloudStore) -> None:
    """Guards reads while the object is replaced: one answer gives both, so no old bytes with a new generation."""
    generation = store.create("pointer", b"0" * 50_000)
    pairs = {generation: b"0"}
    done = threading.Event()
    seen: list[tuple[str, bytes]] = []

    def read_on() -> None:
        while not done.is_set():
            found = store.read("pointer")
            assert found is not None
            assert len(set(found.data)) == 1
            seen.append((found.generation, found.data[:1]))

    with ThreadPoolExecutor(2) as pool:
        readers = [pool.submit(read_on) for _ in range(2)]
        try:
            for number in range(1, 100):
                mark = str(number % 10).encode()
                generation = store.swap("pointer", mark * 50_000, generation)
                pairs[generation] = mark
        finally:
            done.set()
        for reader in readers:
            reader.result()
    assert len(set(seen)) > 5
    assert set(seen) <= set(pairs.items())


def test_a_download_that_broke_off_starts_anew(proxy: FaultProxy, behind: CloudStore, store: CloudStore) -> None:
    """Guards against the two halves of two objects: the object is replaced between the first try and the second."""
    first = store.create("a", b"old" * 100_000)
    replaced: list[str] = []

    def plan(call: Call) -> Fault | None:
        return Fault("cut", "after") if call.number == 0 else None

    def replace() -> None:
        if not replaced:
            replaced.append(store.swap("a", b"new" * 90_000, first))

    with proxy.disturbing(plan, replace):
        found = behind.read("a")
    assert found is not None
    assert (found.data, found.generation) == (b"new" * 90_000, replaced[0])


def test_a_lost_answer_is_not_taken_for_another_writer(proxy: FaultProxy, behind: CloudStore) -> None:
    """Guards create and swap: what the first try did must not be blamed on somebody else when the second is refused."""
    lost = disturbed(Fault("reset", "after"), 0)
    with proxy.disturbing(lost, nothing):
        generation = behind.create("a", b"1")
    assert behind.read("a").generation == generation  # type: ignore[union-attr]
    with proxy.disturbing(lost, nothing):
        second = behind.swap("a", b"2", generation)
    found = behind.read("a")
    assert found is not None
    assert (found.data, found.generation) == (b"2", second)
    with proxy.disturbing(lost, nothing):
        behind.delete("a")
    assert behind.read("a") is None


def test_another_writer_is_not_taken_for_a_lost_answer(
    proxy: FaultProxy, behind: CloudStore, store: CloudStore
) -> None:
    """Guards the other way round: the first try never arrived, and meanwhile another wrote the very same bytes."""

    def plan_with(rival: Callable[[], object]) -> Callable[[Call], Fault | None]:
        def plan(call: Call) -> Fault | None:
            if call.number > 0:
                return None
            rival()
            return Fault("reset", "before")

        return plan

    with proxy.disturbing(plan_with(lambda: store.create("a", b"1")), nothing), pytest.raises(ObjectExistsError):
        behind.create("a", b"1")
    first = store.read("a").generation  # type: ignore[union-attr]
    with (
        proxy.disturbing(plan_with(lambda: store.swap("a", b"2", first)), nothing),
        pytest.raises(GenerationMismatchError),
    ):
        behind.swap("a", b"2", first)


# -- races -------------------------------------------------------------------------------------------


def test_threads_race_for_one_name(store: CloudStore) -> None:
    """Guards create among threads that share a client."""
    start = threading.Barrier(8)

    def attempt(who: int) -> list[int]:
        won = []
        for index in range(20):
            start.wait()
            try:
                store.create(f"race/{index}", str(who).encode())
                won.append(index)
            except ObjectExistsError:
                pass
        return won

    with ThreadPoolExecutor(8) as pool:
        won = [index for each in pool.map(attempt, range(8)) for index in each]
    assert sorted(won) == list(range(20))


def test_threads_lose_no_swap(store: CloudStore) -> None:
    """Guards swap among threads: two may want to write the same bytes, and one of them lost all the same."""
    store.create("counter", b"0")
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(raise_counter, [store] * 60))
    assert store.read("counter").data == b"60"  # type: ignore[union-attr]


# -- refusals ----------------------------------------------------------------------------------------


def test_a_bucket_that_is_not_there(gcs_endpoint: str) -> None:
    """Guards the platform's old mistake: a bucket that never existed, and a script that did not say so.

    An object that is not there and a bucket that is not there are both a 404.
    """
    store = CloudStore("bucket-that-never-was", "models", emulator_client(gcs_endpoint))
    for message in refusals(store, SettingsError):
        assert "there is no bucket 'bucket-that-never-was'" in message
        assert "gcloud storage buckets create gs://bucket-that-never-was" in message
    with pytest.raises(SettingsError, match="there is no bucket"):
        publish(store, bundle_of(b"{}"))


DENIED = "worker@p.iam.gserviceaccount.com does not have storage.objects.create access"


@pytest.mark.slow
@pytest.mark.parametrize("answering", [error(403, DENIED)], indirect=True)
def test_no_permission(answering: tuple[CloudStore, list[str]]) -> None:
    """Guards the commonest refusal: whose permission, in the server's words, and the role to grant. Not tried again."""
    store, got = answering
    for message in refusals(store, PublicationError):
        assert "worker@p.iam.gserviceaccount.com does not have" in message
        assert "roles/storage.objectUser on the bucket 'bucket-x'" in message
    assert len([line for line in got if "/o" in line]) == 6


@pytest.mark.slow
@pytest.mark.parametrize("answering", [error(401, "Anonymous caller does not have access")], indirect=True)
def test_nobody_is_logged_in(answering: tuple[CloudStore, list[str]]) -> None:
    """Guards the difference to a missing permission: here the way out is to log in."""
    for message in refusals(answering[0], SettingsError):
        assert "not authenticated to Cloud Storage (Anonymous credentials cannot be refreshed" in message
        assert "gcloud auth application-default login" in message


@pytest.mark.slow
@pytest.mark.parametrize("answering", [error(503, "Backend error"), error(429, "Too fast")], indirect=True)
def test_a_refusal_that_lasts(answering: tuple[CloudStore, list[str]]) -> None:
    """Guards the deadline: tried again, but not for ever, and the last answer is told."""
    store, got = answering
    for message in refusals(store, PublicationError):
        assert "kept refusing for 0 seconds" in message
        assert "503: Backend error" in message or "429: Too fast" in message
    assert len(got) > len(every_call(store)), "how often each is tried within its fifth of a second is the machine's"


@pytest.mark.slow
@pytest.mark.parametrize(
    "answering", [error(400, "Object name too long"), (200, b"<html>Log in</html>")], indirect=True
)
def test_an_answer_that_cannot_be_worked_with(answering: tuple[CloudStore, list[str]]) -> None:
    """Guards against a raw exception of the library: a request that is refused, a portal in between."""
    store, got = answering
    for action in ("create", "list"):
        message = refused(store, action)
        assert "gave an unexpected answer" in message
        assert "http://127.0.0.1:" in message
    assert len([line for line in got if "/o" in line]) == 2


@pytest.mark.slow
@pytest.mark.parametrize("answering", [(200, b"<html>Log in</html>"), (200, b"{}")], indirect=True)
def test_an_answer_without_a_generation_is_none_of_cloud_storage(answering: tuple[CloudStore, list[str]]) -> None:
    """Guards against a login page that is taken for the object, and an upload that a proxy says it has taken."""
    store, _ = answering
    for action in ("read", "create"):
        assert "gave an unexpected answer" in refused(store, action)


def test_nobody_listens_and_nobody_answers(gcs_bucket: str) -> None:
    """Guards a dead network: an error at the deadline, whether connections are refused or simply hang."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as hanging:
        port = hanging.getsockname()[1]
        client = emulator_client(f"http://127.0.0.1:{port}")
        for message in refusals(CloudStore(gcs_bucket, "models", client, 0.1, 0.1, 0.01), PublicationError):
            assert f"http://127.0.0.1:{port} could not be reached for 0 seconds" in message
            assert "imed out" in message
    for message in refusals(CloudStore(gcs_bucket, "models", client, 0.1, 5, 0.01), PublicationError):
        assert "Connection refused" in message
        assert "status.cloud.google.com" in message


def test_the_cause_stays_attached(gcs_endpoint: str) -> None:
    """Guards debugging: what the library raised is there for --debug."""
    with pytest.raises(SettingsError) as caught:
        CloudStore("bucket-none", "", emulator_client(gcs_endpoint)).names("")
    assert caught.value.__cause__ is not None


# -- opening -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("uri", "root", "address"),
    [
        ("gs://bucket-x/models", "gs://bucket-x/models", "gs://bucket-x/models/a"),
        ("gs://bucket-x/a/b/", "gs://bucket-x/a/b", "gs://bucket-x/a/b/a"),
        ("gs://bucket.with_dots-1", "gs://bucket.with_dots-1", "gs://bucket.with_dots-1/a"),
        ("gs://bucket-x/", "gs://bucket-x", "gs://bucket-x/a"),
    ],
)
def test_a_root_is_parsed(uri: str, root: str, address: str) -> None:
    """Guards the settings' way of naming a bucket; nothing is asked of it yet."""
    store = open_cloud_store(uri, emulator_client("http://127.0.0.1:9"))
    assert (store.root, store.uri("a")) == (root, address)


@pytest.mark.parametrize(
    "uri",
    [
        *("", "gs://", "gs:///a", "gs:/bucket-x", "s3://bucket-x", "GS://bucket-x", "/tmp/x"),
        *("gs://UPPER", "gs://b", "gs://bucket x", "gs://-bucket", "gs://user@bucket-x"),
        *("gs://bucket-x//a", "gs://bucket-x/a//", "gs://bucket-x/../a", "gs://bucket-x/.a", "gs://bucket-x/a\nb"),
    ],
)
def test_nonsense_is_no_root(uri: str) -> None:
    """Guards the settings: refused where it is read, not at the first upload after an hour of training."""
    with pytest.raises(SettingsError, match="is not a valid Cloud Storage root"):
        open_cloud_store(uri, emulator_client("http://127.0.0.1:9"))


def test_the_emulators_address_is_the_librarys_business(
    gcs_endpoint: str, gcs_bucket: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Guards Google's own setting: with it neither credentials nor a project are asked for."""
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", gcs_endpoint)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "none.json"))
    monkeypatch.delenv("GOOGLE_CLOUD_PROJECT", raising=False)
    store = open_cloud_store(f"gs://{gcs_bucket}/models")
    store.create("a", b"1")
    assert BucketView(gcs_endpoint, gcs_bucket).names() == ["models/a"]


def test_an_emulator_without_a_scheme(monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards a slip that the library answers with 'No connection adapters were found'."""
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", "127.0.0.1:4443")
    store = open_cloud_store("gs://bucket-x/models")
    for message in refusals(store, PublicationError):
        assert "127.0.0.1:4443 gave an unexpected answer" in message
        assert "http://host:port" in message


@pytest.mark.parametrize("content", [None, "", "{}", '{"type": "service_account"}'])
def test_no_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: str | None) -> None:
    """Guards a machine where nobody has logged in, and a key file that is none: said before anything is trained."""
    path = tmp_path / "key.json"
    if content is not None:
        path.write_text(content)
    monkeypatch.delenv("STORAGE_EMULATOR_HOST", raising=False)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(path))
    with pytest.raises(SettingsError, match="no usable credentials") as caught:
        open_cloud_store("gs://bucket-x/models")
    assert "gcloud auth application-default login" in str(caught.value)


def test_credentials_that_are_no_longer_good(gcs_bucket: str) -> None:
    """Guards a revoked key: the token cannot be renewed, and that is not the network's fault."""

    class Revoked(Credentials):
        def refresh(self, request: object) -> None:  # noqa: ARG002 - the library calls it by that name
            raise RefreshError("invalid_grant: Token has been expired or revoked.")

    client = storage.Client(project=None, credentials=Revoked())
    for message in refusals(CloudStore(gcs_bucket, "models", client), SettingsError):
        assert "expired or revoked" in message
        assert "gcloud auth application-default login" in message
