"""Read XGBoost's UBJ: the part of Universal Binary JSON that XGBoost writes, and nothing else.

Used to look at a model before XGBoost parses it. No length that the bytes state is trusted: what is read must be there.
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np

_NUMBERS = {b"i": ">b", b"U": ">B", b"I": ">h", b"l": ">i", b"L": ">q", b"d": ">f", b"D": ">d"}
_TYPES = {marker: np.dtype(form.replace("b", "i1").replace("B", "u1")) for marker, form in _NUMBERS.items()}
_CONSTANTS = {b"Z": None, b"T": True, b"F": False}
_DEEPEST = 16
"""XGBoost nests 7 deep."""


def read_ubj(data: bytes) -> dict[str, Any]:
    """The object that the bytes hold; typed arrays as NumPy arrays, other arrays as lists.

    Raises:
        ValueError: they are cut off, have more after the object, or hold what XGBoost does not write.
    """
    reader = _Reader(data)
    found = reader.value(reader.take(1), 0)
    if not isinstance(found, dict) or reader.at != len(data):
        raise ValueError(f"{len(data) - reader.at} bytes after the end" if isinstance(found, dict) else "no object")
    return found


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def take(self, size: int) -> bytes:
        if not 0 <= size <= len(self.data) - self.at:
            raise ValueError(f"cut off at byte {self.at:,}, where {size:,} more are stated")
        self.at += size
        return self.data[self.at - size : self.at]

    def size(self) -> int:
        if self.take(1) != b"L":
            raise ValueError(f"no length at byte {self.at - 1:,}")
        size: int = struct.unpack(">q", self.take(8))[0]
        return size

    def text(self) -> str:
        return self.take(self.size()).decode()

    def value(self, marker: bytes, depth: int) -> Any:
        if depth > _DEEPEST:
            raise ValueError(f"nested deeper than {_DEEPEST} at byte {self.at:,}")
        if marker == b"{":
            return self._object(depth)
        if marker == b"[":
            return self._array(depth)
        if marker == b"S":
            return self.text()
        if marker in _CONSTANTS:
            return _CONSTANTS[marker]
        if marker in _NUMBERS:
            form = _NUMBERS[marker]
            return struct.unpack(form, self.take(struct.calcsize(form)))[0]
        raise ValueError(f"unknown marker {marker!r} at byte {self.at - 1:,}")

    def _object(self, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        while self.data[self.at : self.at + 1] != b"}":
            name = self.text()
            if name in found:
                raise ValueError(f"{name!r} twice")
            found[name] = self.value(self.take(1), depth + 1)
        self.take(1)
        return found

    def _array(self, depth: int) -> Any:
        kind = self.take(1)
        if kind == b"$":
            marker = self.take(1)
            if marker not in _TYPES or self.take(1) != b"#":
                raise ValueError(f"unknown array at byte {self.at:,}")
            form = _TYPES[marker]
            return np.frombuffer(self.take(self.size() * form.itemsize), form).astype(form.newbyteorder("="))
        if kind != b"#":
            raise ValueError(f"an array without a length at byte {self.at:,}")
        size = self.size()
        if size > len(self.data) - self.at:  # each value takes a byte at least
            raise ValueError(f"cut off at byte {self.at:,}, where {size:,} values are stated")
        return [self.value(self.take(1), depth + 1) for _ in range(size)]
