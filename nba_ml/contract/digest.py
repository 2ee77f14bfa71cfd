"""Digests of bytes and of values: the same content has the same digest on every machine."""

from __future__ import annotations

import hashlib
import json
from typing import Protocol


def bytes_digest(data: bytes) -> str:
    """sha256 of the bytes, as 64 hex digits."""
    return hashlib.sha256(data).hexdigest()


def json_digest(value: object) -> str:
    """sha256 over the canonical JSON of a value (sorted keys, no spaces, no NaN)."""
    return bytes_digest(json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode())


class HasDigest(Protocol):
    """A value that an asset stores for a month. Its hex digest is the data version of the materialisation."""

    @property
    def digest(self) -> str: ...
