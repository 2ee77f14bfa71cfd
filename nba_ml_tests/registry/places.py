"""Stores of both kinds with the places that they keep their objects in, reached without the store's code."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from nba_ml.storage.directory import DirectoryStore
from nba_ml.storage.objects import ObjectStore


class Place(Protocol):
    """Where a store keeps its objects, by other means than the store's: as a reader sees it and a vandal changes it."""

    def names(self) -> list[str]:
        """The names of all objects, sorted."""
        ...

    def stamps(self) -> dict[str, str]:
        """By name, what changes when an object is written again, be it with the same bytes."""
        ...

    def read(self, name: str) -> bytes: ...

    def put(self, name: str, data: bytes) -> None: ...

    def remove(self, name: str) -> None: ...


class Folder:
    """The visible files below a directory, as the operating system shows them."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def names(self) -> list[str]:
        return list(self.stamps())

    def stamps(self) -> dict[str, str]:
        return {
            path.relative_to(self.root).as_posix(): str(path.stat().st_mtime_ns)
            for path in sorted(self.root.rglob("*"))
            if not path.name.startswith(".") and path.is_file()
        }

    def read(self, name: str) -> bytes:
        return (self.root / name).read_bytes()

    def put(self, name: str, data: bytes) -> None:
        (self.root / name).parent.mkdir(parents=True, exist_ok=True)
        (self.root / name).write_bytes(data)

    def remove(self, name: str) -> None:
        (self.root / name).unlink()


class Readable(Protocol):
    """What a reader needs of a place."""

    def names(self) -> list[str]: ...

    def read(self, name: str) -> bytes: ...


class PlaceContents:
    """The contents of a place at one moment, read while no writer is running."""

    def __init__(self, place: Readable) -> None:
        self.objects = contents(place)

    def names(self) -> list[str]:
        return list(self.objects)

    def read(self, name: str) -> bytes:
        return self.objects[name]


def contents(place: Readable) -> dict[str, bytes]:
    """The bytes of all objects by name.

    Objects may come while this runs, so a name is listed first and read then: none may vanish in between.
    """
    return {name: place.read(name) for name in place.names()}


@dataclass(frozen=True)
class Home:
    """A fresh store, and the place that it keeps its objects in."""

    store: ObjectStore
    place: Place


MakeHome = Callable[[], Home]


def in_directory(root: Path) -> Home:
    """A store of the directory's kind."""
    return Home(DirectoryStore(root), Folder(root))
