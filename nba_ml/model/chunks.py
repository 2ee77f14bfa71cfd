"""Rows in chunks, for what needs much memory for each of them.

Imports nothing, because the prediction worker imports it.
"""

from __future__ import annotations

from collections.abc import Iterator

CHUNK_ROWS = 2**16
"""Rows whose quantiles are in memory together: 41 of them, several times over, take 80 MB. Above the validation rows of
the shipped months, 20,523."""


def row_chunks(rows: int) -> Iterator[slice]:
    """Slices that cover so many rows, in order; one empty slice for no rows."""
    for start in range(0, max(rows, 1), CHUNK_ROWS):
        yield slice(start, min(start + CHUNK_ROWS, rows))
