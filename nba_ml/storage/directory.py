"""An object store in a directory, for a laptop and for CI.

What belongs here: how a local POSIX file system keeps the promises of `storage.objects`. No
Dagster: the command line and the tests use the class as it is.

- Data is staged in a hidden file of the same folder and flushed to the disk before it gets its name.
  The name appears by `link` (fails if it is taken) or by `rename` (replaces in one step), and then the
  folder is flushed too. So an object is whole or not there, after a kill and after a power cut.
- A staging file is locked while its writer lives. The kernel drops the lock with the process, so a
  file that can be locked is a dead writer's and may go; no clock and no process id has to be trusted.
- Hidden names (a leading dot) are this module's own. `names` never lists them, `check_name` never
  lets one through.

The locks are flock's: the directory is for the processes of one machine. Several machines share a bucket.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path

from nba_ml.contract.errors import PublicationError, SettingsError
from nba_ml.contract.limits import object_limit
from nba_ml.contract.reading import read_file
from nba_ml.contract.system_errors import reason_of
from nba_ml.storage.objects import GenerationMismatchError, ObjectExistsError, StoredObject, check_name, check_prefix

_STAGING_PREFIX = ".staged-"
_SWAP_LOCK = ".swap.lock"


class DirectoryStore:
    """The promises of `ObjectStore` under one directory, which is made at the first write.

    Reading a root that does not exist finds nothing and makes nothing.

    All methods raise SettingsError when the root itself is no usable directory, and PublicationError when
    something under it is refused; the message names the path and the reason. Nothing is half-written then.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()  # a later chdir must not move the store
        self._swept: set[Path] = set()

    def uri(self, name: str) -> str:
        """`file:///...`, percent-encoded."""
        return self._path(name).as_uri()

    def read(self, name: str) -> StoredObject | None:
        """The bytes, and the digest of them as generation; None if there is no such file."""
        path = self._path(name)
        with self._explained("read", path):
            try:
                data = read_file(path, object_limit(name), within=self.root)
            except FileNotFoundError:
                return None
        return StoredObject(data, _generation(data))

    def create(self, name: str, data: bytes) -> str:
        """Link the staged bytes to their name, which the kernel refuses if the name is taken."""
        path = self._path(name)
        with self._explained("create", path), self._staged(path.parent, data) as staged:
            try:
                os.link(staged, path)
            except FileExistsError:
                raise ObjectExistsError(name, self.uri(name)) from None
            _sync_folder(path.parent)
        return _generation(data)

    def swap(self, name: str, data: bytes, generation: str) -> str:
        """Read again, compare and replace, all under one lock of the store.

        The generation is a digest of the bytes, so bytes that come back bring their generation back (the ABA
        problem). What is swapped here is the channel pointer, whose serial rises with every change: its bytes
        never come back. Do not swap anything without such a serial.
        """
        path = self._path(name)
        found = self.read(name)
        if found is None:  # a store that does not exist yet is not made by a swap that must fail
            raise GenerationMismatchError(name, self.uri(name), generation, None)
        with self._explained("swap", path), (self.root / _SWAP_LOCK).open("ab") as lock:
            # flock, not lockf: lockf's locks belong to the process and would let its other threads through.
            # The lock file stays: removing it would let two holders lock two different files.
            fcntl.flock(lock, fcntl.LOCK_EX)
            found = self.read(name)
            if found is None or found.generation != generation:
                raise GenerationMismatchError(name, self.uri(name), generation, found.generation if found else None)
            self._replace(path, data)
        return _generation(data)

    def write(self, name: str, data: bytes) -> None:
        """Rename the staged bytes over whatever is there."""
        path = self._path(name)
        with self._explained("write", path):
            self._replace(path, data)

    def delete(self, name: str) -> None:
        """Unlink the file, durably."""
        path = self._path(name)
        with self._explained("delete", path), suppress(FileNotFoundError):
            path.unlink()
            _sync_folder(path.parent)

    def names(self, prefix: str) -> list[str]:
        """All files under the root whose relative path begins with `prefix`, sorted; hidden ones left out."""
        check_prefix(prefix)
        folder = self.root / prefix.rpartition("/")[0]
        found: list[str] = []
        with self._explained("list", folder):
            for base, folders, files in os.walk(folder, onerror=_raise_unless_gone):
                folders[:] = [name for name in folders if not name.startswith(".")]
                inside = Path(base).relative_to(self.root)
                found += [(inside / name).as_posix() for name in files if not name.startswith(".")]
        return sorted(name for name in found if name.startswith(prefix))

    def _path(self, name: str) -> Path:
        check_name(name)
        return self.root / name

    def _replace(self, path: Path, data: bytes) -> None:
        with self._staged(path.parent, data) as staged:
            staged.replace(path)
            _sync_folder(path.parent)

    @contextmanager
    def _staged(self, folder: Path, data: bytes) -> Iterator[Path]:
        """The bytes in a locked hidden file of the folder, flushed to the disk; gone when the block ends."""
        _make_folder(folder)
        self._sweep(folder)
        while True:
            staged = folder / f"{_STAGING_PREFIX}{secrets.token_hex(8)}"
            with staged.open("xb", buffering=0) as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                if os.fstat(file.fileno()).st_nlink == 0:
                    continue  # a sweep came between open and lock and took it for a dead writer's
                try:
                    _write_all(file, data)
                    os.fsync(file.fileno())
                    yield staged
                finally:
                    staged.unlink(missing_ok=True)
                return

    def _sweep(self, folder: Path) -> None:
        """Remove what killed writers left staged in the folder; once for each folder and store."""
        if folder in self._swept:
            return
        self._swept.add(folder)
        for leftover in folder.glob(f"{_STAGING_PREFIX}*"):
            # Gone meanwhile, locked by a living writer, or another user's: in each case not ours to remove.
            with suppress(FileNotFoundError, BlockingIOError, PermissionError), leftover.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                leftover.unlink()

    @contextmanager
    def _explained(self, action: str, path: Path) -> Iterator[None]:
        """Turn what the operating system refuses into one paragraph for the user."""
        try:
            yield
        except OSError as error:
            reason = reason_of(error)
            if os.path.isdir(self.root):  # noqa: PTH112 - Path.is_dir raises where a folder above is closed
                raise PublicationError(
                    f"Could not {action} {path}: {reason}. Nothing was left half-written; fix it and run again."
                ) from error
            raise SettingsError(
                f"Could not {action} {path}: the store's root {self.root} is not a directory and cannot be made one: "
                f"{reason}. Choose another root in the settings, or fix this one."
            ) from error


def _generation(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _write_all(file: FileIO, data: bytes) -> None:
    remaining = memoryview(data)
    while remaining:
        # An unbuffered write may be cut short by a full disk; the next one then says why.
        remaining = remaining[file.write(remaining) :]


def _make_folder(folder: Path) -> None:
    """Make the folder and those above it, each durably: a flushed file in a lost folder is lost."""
    if folder.is_dir():
        return
    _make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    _sync_folder(folder.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _raise_unless_gone(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error
