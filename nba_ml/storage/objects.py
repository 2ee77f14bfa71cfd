"""The interface of an object store, and its guarantees.

A directory and Google Cloud Storage give the same guarantees, so publishing takes the same steps on a laptop and in
the cloud. What belongs here: the guarantees. What does not: how a store keeps them (`directory`, `cloud`), and what
the objects mean (`registry.publication`).

An object is either published (only `create` and `swap` ever touch it) or working data between
assets (`write` and `delete`). The two are not mixed under one name: a published
name is never overwritten without a compare-and-swap.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Protocol

from nba_ml.contract.errors import PublicationError

URI_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:")
"""How a URI begins. `gs:/bucket` lacks a slash: taken for a path it would be a folder of that name, and green."""


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object as it was read, in one piece.

    `generation` is opaque: it is handed back to `swap`, compared for equality, and nothing else.
    """

    data: bytes
    generation: str


class ObjectExistsError(PublicationError):
    """`create` found an object of that name. Whether that is a conflict depends on its bytes."""

    def __init__(self, name: str, uri: str) -> None:
        super().__init__(
            f"{uri} already exists and is never overwritten. Compare its bytes with the new ones, or choose "
            "another name."
        )
        self.name = name


class GenerationMismatchError(PublicationError):
    """`swap` found another generation than the one its caller had decided upon, or no object at all."""

    def __init__(self, name: str, uri: str, expected: str, found: str | None) -> None:
        super().__init__(
            f"{uri} was changed by someone else: generation {expected} was expected, "
            f"{found or 'no object'} was found. Read it again and decide again; do not repeat the same swap."
        )
        self.name = name
        self.expected = expected
        self.found = found


class ObjectStore(Protocol):
    """Named objects, each whole or not there, whatever kills the process that writes it.

    Names are relative POSIX paths (`check_name`). Every method raises PublicationError, or
    SettingsError where the root itself cannot be used, when the store refuses: no permission, no
    space, no connection.
    """

    def uri(self, name: str) -> str:
        """The full address of an object, for people and for records. Does not look whether it is there."""
        ...

    def read(self, name: str) -> StoredObject | None:
        """The object as it is now, or None if there is none of that name."""
        ...

    def create(self, name: str, data: bytes) -> str:
        """Write an object that is not there yet, durably, and return its generation.

        Of any number of callers one succeeds (Cloud Storage: `if_generation_match=0`).

        Raises:
            ObjectExistsError: an object of that name is there, with whatever bytes.
        """
        ...

    def swap(self, name: str, data: bytes, generation: str) -> str:
        """Replace an object if it is still of that generation, and return the new generation.

        Of any number of callers with one generation one succeeds.

        Raises:
            GenerationMismatchError: the object has another generation, or is not there.
        """
        ...

    def write(self, name: str, data: bytes) -> None:
        """Put working data there, over what was there: readers see the old bytes or the new ones, whole."""
        ...

    def delete(self, name: str) -> None:
        """Remove working data. One that is not there is no error."""
        ...

    def names(self, prefix: str) -> list[str]:
        """Names of the objects that begin with `prefix` ('' for all), sorted."""
        ...


def check_name(name: str) -> None:
    """Pass silently for a name that every store takes: segments joined by '/', none of them special.

    A segment that begins with a dot is refused: that covers '.' and '..', and leaves those names to the
    stores for their own files.

    Raises:
        PublicationError: absolute, with a backslash, a control character, or an empty or dotted segment.
    """
    if "\\" in name or not name.isprintable() or any(part.startswith(".") or not part for part in name.split("/")):
        raise PublicationError(
            f"{name!r} is not a valid object name. A name is a relative path such as 'xgboost_v1/model.json': no "
            "leading or double '/', no backslash, no control character, no segment that begins with a dot."
        )


def check_prefix(prefix: str) -> None:
    """Pass silently for the beginning of a name, up to any character; '' is the beginning of all.

    Raises:
        PublicationError: no name that `check_name` takes can begin so.
    """
    if prefix:
        check_name(prefix + "x" if prefix.endswith("/") else prefix)
