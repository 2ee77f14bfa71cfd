"""JSON that is the same for every reader, and digests: the same content has the same one on every machine."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, NoReturn, Protocol


def bytes_digest(data: bytes) -> str:
    """sha256 of the bytes, as 64 hex digits."""
    return hashlib.sha256(data).hexdigest()


def json_digest(value: object) -> str:
    """sha256 over the canonical JSON of a value (sorted keys, no spaces, no NaN)."""
    return bytes_digest(json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode())


def canonical_json(content: Mapping[str, Any]) -> bytes:
    """JSON for people too: sorted keys, indented, no NaN, a newline at the end. Equal contents have equal bytes."""
    return (json.dumps(content, sort_keys=True, indent=2, allow_nan=False) + "\n").encode()


def sealed_json(content: Mapping[str, Any], seal: str) -> bytes:
    """Canonical JSON, with the digest of the canonical JSON of all other fields in the field `seal`.

    It detects a flipped bit, not a forger.
    """
    return canonical_json({**content, seal: bytes_digest(canonical_json(content))})


def strict_json(data: bytes | str, **hooks: Any) -> Any:
    """The value of JSON. `json.loads` alone also reads NaN and Infinity, which other readers refuse.

    Raises:
        ValueError, RecursionError: it is not JSON, or is nested too deeply.
    """
    return json.loads(data, parse_constant=_refuse, **hooks)


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


class HasDigest(Protocol):
    """A value that an asset stores for a month. Its hex digest is the data version of the materialisation."""

    @property
    def digest(self) -> str: ...
