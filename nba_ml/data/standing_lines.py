"""Which of the listed lines count: a book's last one before the game, and no alternates."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

OPTIONAL_COLUMNS = ("captured_at", "is_alternate")
"""Columns that a file under `prop_lines/` may have."""


def standing_lines(lines: pa.Table) -> pa.Table:
    """The rows of a file that are a book's main line, as it stood when it was last seen.

    A line without a time stands beside those that have one, as in files without times.
    """
    if "is_alternate" in lines.column_names:
        lines = lines.filter(pc.invert(pc.fill_null(lines.column("is_alternate"), False)))
    if "captured_at" not in lines.column_names:
        return lines
    whose = list(zip(*(lines.column(c).to_pylist() for c in ("game_date", "player_name", "book")), strict=True))
    seen = lines.column("captured_at").to_pylist()
    last: dict[tuple[object, ...], object] = {}
    for key, at in sorted(((k, at) for k, at in zip(whose, seen, strict=True) if at is not None), key=lambda e: e[1]):
        last[key] = at
    return lines.filter(
        pa.array([at is None or last[key] == at for key, at in zip(whose, seen, strict=True)], pa.bool_())
    )
