"""The directory store: each object whole or not there, one winner of every race, and clear refusals."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nba_ml.contract.errors import PublicationError, SettingsError
from nba_ml.storage.directory import DirectoryStore
from nba_ml.storage.objects import GenerationMismatchError, ObjectExistsError, check_name, check_prefix
from nba_ml_tests.registry.publication_machine import raise_counter

HELPER = "nba_ml_tests.registry.publication_machine"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "a" / "store"


@pytest.fixture
def store(root: Path) -> DirectoryStore:
    return DirectoryStore(root)


def hidden(root: Path) -> list[str]:
    return sorted(path.name for path in root.rglob(".*"))


def test_a_refused_create_leaves_nothing_staged(store: DirectoryStore) -> None:
    """Guards against hidden files that pile up with every refusal."""
    store.create("a", b"1")
    with pytest.raises(ObjectExistsError):
        store.create("a", b"2")
    assert hidden(store.root) == []


def test_swap_refuses_another_generation(store: DirectoryStore, root: Path) -> None:
    """Guards compare-and-swap: a stale decision, or one about an object that is gone, changes nothing."""
    with pytest.raises(GenerationMismatchError, match="no object"):
        store.swap("a", b"2", "sha256:0")
    assert not root.exists()
    first = store.create("a", b"1")
    second = store.swap("a", b"2", first)
    with pytest.raises(GenerationMismatchError) as caught:
        store.swap("a", b"3", first)
    assert (caught.value.name, caught.value.expected, caught.value.found) == ("a", first, second)
    assert store.read("a").data == b"2"  # type: ignore[union-attr]


def test_names_are_sorted_and_begin_with_the_prefix(store: DirectoryStore, root: Path) -> None:
    """Guards listing: like Cloud Storage's, by the beginning of the name and not by folder alone."""
    assert store.names("") == []
    for name in ("m/b.json", "m/a.json", "m/sub/c.json", "mm/d.json", "e"):
        store.create(name, b"")
    assert store.names("m/") == ["m/a.json", "m/b.json", "m/sub/c.json"]
    assert store.names("m") == ["m/a.json", "m/b.json", "m/sub/c.json", "mm/d.json"]
    assert store.names("m/s") == ["m/sub/c.json"]
    assert store.names("none/") == []
    (root / "m" / ".staged-dead").write_bytes(b"half")
    (root / ".hidden").mkdir()
    (root / ".hidden" / "x").write_bytes(b"")
    assert store.names("") == ["e", "m/a.json", "m/b.json", "m/sub/c.json", "mm/d.json"]


def test_uris_are_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards addresses in records, and the store itself, against a later change of directory."""
    monkeypatch.chdir(tmp_path)
    store = DirectoryStore(Path("with space"))
    store.create("a", b"1")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert store.uri("m/a.json") == f"file://{tmp_path}/with%20space/m/a.json"
    assert store.read("a") is not None


def test_published_objects_can_be_read_by_others(store: DirectoryStore, root: Path) -> None:
    """Guards against a staging file's private mode: a worker under another user must be able to read."""
    umask = os.umask(0o022)
    try:
        store.create("a", b"1")
        store.write("b", b"1")
    finally:
        os.umask(umask)
    assert {(root / name).stat().st_mode & 0o777 for name in ("a", "b")} == {0o644}


# -- names -------------------------------------------------------------------------------------------

BAD_NAMES = ["", "/a", "a/", "a//b", ".", "..", "a/../b", "../a", "a/.b", ".staged-x", "a\\b", "a\0b", "a\nb", "C:\\a"]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_bad_names_are_refused_by_every_method(store: DirectoryStore, root: Path, name: str) -> None:
    """Guards the root: no name leads out of it, or to one of the store's own files."""
    calls: list[Callable[[], object]] = [
        lambda: store.uri(name),
        lambda: store.read(name),
        lambda: store.create(name, b""),
        lambda: store.swap(name, b"", "g"),
        lambda: store.write(name, b""),
        lambda: store.delete(name),
    ]
    for call in calls:
        with pytest.raises(PublicationError, match="is not a valid object name"):
            call()
    assert not root.exists()


@pytest.mark.parametrize("prefix", ["/", "../", "a//", ".s", "a/.", "a\\"])
def test_bad_prefixes_are_refused(prefix: str) -> None:
    """Guards listing against a prefix that leads out of the root."""
    with pytest.raises(PublicationError):
        check_prefix(prefix)


@given(st.text(alphabet=st.sampled_from("./\\a~ \0\u202eé"), max_size=8))
def test_an_accepted_name_stays_under_the_root(name: str) -> None:
    """Guards `check_name` as a whole: whatever it lets through is a path below the root, in its plain form."""
    try:
        check_name(name)
    except PublicationError:
        return
    path = os.path.normpath(f"/base/{name}")
    assert path == f"/base/{name}"
    assert path.startswith("/base/")


# -- races -------------------------------------------------------------------------------------------


def test_threads_race_for_one_name(store: DirectoryStore) -> None:
    """Guards create among threads of one process, whose staging files must not be each other's."""
    start = threading.Barrier(8)

    def attempt(who: int) -> list[int]:
        won = []
        for index in range(20):
            start.wait()
            try:
                store.create(f"race/{index}", str(who).encode() * 5000)
                won.append(index)
            except ObjectExistsError:
                pass
        return won

    with ThreadPoolExecutor(8) as pool:
        won = [index for each in pool.map(attempt, range(8)) for index in each]
    assert sorted(won) == list(range(20))
    assert all(len(set(store.read(f"race/{index}").data)) == 1 for index in range(20))  # type: ignore[union-attr]


def test_threads_lose_no_swap(store: DirectoryStore) -> None:
    """Guards swap among threads of one process: a process-wide lock (lockf) would let both through."""
    store.create("counter", b"0")
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(raise_counter, [store] * 60))
    assert store.read("counter").data == b"60"  # type: ignore[union-attr]


@pytest.mark.slow
def test_processes_race(store: DirectoryStore, root: Path) -> None:
    """Guards create and swap among processes, of two threads each: one creator per name, no update lost."""
    store.create("counter", b"0")
    children = [
        subprocess.Popen(
            [sys.executable, "-m", HELPER, "race", str(root), "40", "10"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    for child in children:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
    won = []
    for child in children:  # all are warm; the line that lets them go is written to each in turn
        assert child.stdin is not None
        child.stdin.write("go\n")
        child.stdin.flush()
    for child in children:
        out, _ = child.communicate(timeout=300)
        won.append(int(out))
    assert sum(won) == 40
    assert store.read("counter").data == b"60"  # type: ignore[union-attr]
    assert hidden(root) == [".swap.lock"]


def test_readers_see_old_bytes_or_new(store: DirectoryStore) -> None:
    """Guards write and swap: no reader finds an empty or a mixed object while they go on."""
    sizes = 50_000
    generation = store.create("pointer", b"0" * sizes)
    store.write("work", b"0" * sizes)
    done = threading.Event()
    seen: list[bytes] = []

    def read_on() -> None:
        while not done.is_set():
            for name in ("pointer", "work"):
                found = store.read(name)
                seen.append(b"gone" if found is None else found.data)

    reader = threading.Thread(target=read_on)
    reader.start()
    for serial in range(1, 60):
        data = str(serial % 10).encode() * sizes
        generation = store.swap("pointer", data + str(serial).encode(), generation)
        store.write("work", data + str(serial).encode())
    done.set()
    reader.join()
    assert len(seen) > 10
    assert {(len(set(data[:sizes])), len(data) >= sizes) for data in seen} == {(1, True)}


@pytest.mark.parametrize("method", ["create", "write", "swap"])
def test_bytes_are_on_the_disk_before_their_name(
    store: DirectoryStore, root: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    """Guards against a power cut: a name without its bytes, or a return before the name is on the disk."""
    events: list[str] = []
    real_fsync = os.fsync

    def fsync(descriptor: int) -> None:
        kind = "folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "bytes"
        named = (root / "a").exists() and (root / "a").read_bytes() == b"new"
        events.append(f"{kind} flushed, {'named' if named else 'not named'}")
        real_fsync(descriptor)

    generation = store.create("a", b"old") if method == "swap" else ""
    store.create("b", b"")  # makes the root
    monkeypatch.setattr(os, "fsync", fsync)
    if method == "swap":
        store.swap("a", b"new", generation)
    else:
        getattr(store, method)("a", b"new")
    assert events == ["bytes flushed, not named", "folder flushed, named"]


# -- leftovers ---------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_dead_writers_leftover_is_swept_and_a_living_ones_is_not(store: DirectoryStore, root: Path) -> None:
    """Guards both: leftovers must not pile up, and a writer at work must not lose its staged bytes."""
    command = [sys.executable, "-m", HELPER, "stage-and-wait", str(root)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        try:
            assert child.stdout is not None
            assert child.stdout.readline() == "ready\n"
            left = hidden(root)
            assert len(left) == 1
            DirectoryStore(root).create("xgboost_v1/a", b"1")
            assert hidden(root) == left
        finally:
            child.kill()
    assert hidden(root) == left  # the kernel frees the lock, not the file
    assert store.names("") == ["xgboost_v1/a"]
    store.create("xgboost_v1/b", b"1")
    assert hidden(root) == []
    assert store.names("") == ["xgboost_v1/a", "xgboost_v1/b"]


# -- refusals ----------------------------------------------------------------------------------------
# The tests may run as root, whom no file mode stops: so a file stands in the way, or /proc refuses, or the
# process drops root before it tries.


def test_a_root_that_is_a_file(tmp_path: Path) -> None:
    """Guards the commonest wrong setting: every method says which path, and why."""
    (tmp_path / "file").write_bytes(b"")
    for root in (tmp_path / "file", tmp_path / "file" / "below"):
        store = DirectoryStore(root)
        calls: list[Callable[[DirectoryStore], object]] = [
            lambda store: store.create("a/b", b""),
            lambda store: store.write("a", b""),
            lambda store: store.read("a"),
            lambda store: store.delete("a"),
        ]
        for call in calls:
            with pytest.raises(SettingsError, match="a file is where a folder should be") as caught:
                call(store)
            assert str(root) in str(caught.value)
    with pytest.raises(SettingsError, match="file is where"):
        DirectoryStore(tmp_path / "file").names("")


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs /proc, which refuses new files to root too")
def test_a_root_that_cannot_be_made_or_written_to() -> None:
    """Guards a root on a file system that takes no files: named, with the reason."""
    with pytest.raises(SettingsError, match=r"/proc/nba_ml.* cannot be made"):
        DirectoryStore(Path("/proc/nba_ml")).create("a", b"1")
    with pytest.raises(PublicationError, match=r"Could not create /proc/self/a: "):
        DirectoryStore(Path("/proc/self")).create("a", b"1")


def test_a_file_in_the_place_of_a_folder_and_the_other_way_round(store: DirectoryStore, root: Path) -> None:
    """Guards a damaged layout: refused with the path, and left as it is."""
    store.create("a", b"1")
    store.create("folder/b", b"2")
    below: list[Callable[[], object]] = [
        lambda: store.create("a/b", b""),
        lambda: store.write("a/b", b""),
        lambda: store.read("a/b"),
    ]
    above: list[Callable[[], object]] = [lambda: store.write("folder", b""), lambda: store.read("folder")]
    for call in below:
        with pytest.raises(PublicationError, match="a file is where a folder should be"):
            call()
    for call in above:
        with pytest.raises(PublicationError, match="a folder is where the object should be"):
            call()
    with pytest.raises(ObjectExistsError):
        store.create("folder", b"")
    with pytest.raises(PublicationError, match="too long for"):
        store.create("x" * 300, b"")
    assert store.names("") == ["a", "folder/b"]
    assert hidden(root) == []


FULL = """
import sys
from pathlib import Path
from nba_ml.contract.errors import PublicationError
from nba_ml.storage.directory import DirectoryStore
store = DirectoryStore(Path(sys.argv[1]))
store.write("work", b"old")
generation = store.create("pointer", b"old")
big = b"x" * 300_000
for attempt in (lambda: store.create("new", big), lambda: store.write("work", big),
                lambda: store.swap("pointer", big, generation)):
    try:
        attempt()
    except PublicationError as error:
        print(error)
print(store.names(""), store.read("work").data, store.read("pointer").data)
print(sorted(path.name for path in Path(sys.argv[1]).rglob(".staged*")))
"""


def refusals_of(command: list[str]) -> list[str]:
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


NOTHING_HALF_WRITTEN = ["['pointer', 'work'] b'old' b'old'", "[]"]


FORBIDDEN = """
import os, sys
from pathlib import Path
from nba_ml.contract.errors import NbaMlError
from nba_ml.storage.directory import DirectoryStore
closed = Path(sys.argv[1])
if os.geteuid() == 0:
    os.setuid(65534)
for root in (closed, closed / "below"):
    try:
        DirectoryStore(root).create("a", b"1")
    except NbaMlError as error:
        print(type(error).__name__, error)
"""


@pytest.mark.slow
def test_a_root_without_permission() -> None:
    """Guards the message where the mode forbids writing; as a user whom a mode stops, in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:  # tmp_path lies below folders that are closed to other users
        Path(folder).chmod(0o555)
        existing, below = refusals_of([sys.executable, "-c", FORBIDDEN, folder])
    assert f"PublicationError Could not create {folder}/a: this user has no permission there" in existing
    assert (
        f"SettingsError Could not create {folder}/below/a: the store's root {folder}/below is not a directory" in below
    )


@pytest.mark.slow
def test_a_write_that_is_cut_short(tmp_path: Path) -> None:
    """Guards against half an object: the kernel's own limit on file size stops the write in the middle."""
    script = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))" + FULL
    lines = refusals_of([sys.executable, "-c", script, str(tmp_path / "store")])
    assert len(lines) == 5
    for verb, line in zip(("create", "write", "swap"), lines, strict=False):
        assert f"Could not {verb} {tmp_path}/store/" in line
        assert "larger than this process may write" in line
    assert lines[3:] == NOTHING_HALF_WRITTEN


def may_mount(tmp_path: Path) -> bool:
    if shutil.which("unshare") is None:
        return False
    mount = ["unshare", "-m", "mount", "-t", "tmpfs", "-o", "size=128k", "none", str(tmp_path)]
    return subprocess.run(mount, capture_output=True, check=False).returncode == 0


@pytest.mark.slow
def test_a_full_disk(tmp_path: Path) -> None:
    """Guards against half an object on a disk that is really full: a file system of 128 KB, mounted for this alone."""
    if not may_mount(tmp_path):
        pytest.skip("this user may not mount a small file system of its own; the size limit's test covers the write")
    mounted = 'mount -t tmpfs -o size=128k none "$1" && exec "$2" -c "$3" "$1/store"'
    command = ["unshare", "-m", "sh", "-c", mounted, "sh", str(tmp_path), sys.executable, FULL]
    lines = refusals_of(command)
    assert len(lines) == 5
    for name, line in zip(("new", "work", "pointer"), lines, strict=False):
        assert f"/store/{name}: the disk is full" in line
    assert lines[3:] == NOTHING_HALF_WRITTEN


def test_the_reason_of_the_system_is_kept(tmp_path: Path) -> None:
    """Guards debugging: the operating system's own error stays attached to the paragraph."""
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(SettingsError) as caught:
        DirectoryStore(tmp_path / "file").create("a", b"")
    assert isinstance(caught.value.__cause__, OSError)
    assert caught.value.__cause__.errno in (errno.ENOTDIR, errno.EEXIST)
