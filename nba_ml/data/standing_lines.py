"""Which of the listed lines count: a book's last one before the game, and no alternates."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from nba_ml.contract.errors import SourceDataError

OPTIONAL_COLUMNS = ("captured_at", "is_alternate")
"""Columns that a file under `prop_lines/` may have."""


def standing_lines(lines: pa.Table, where: str) -> pa.Table:
    """The rows of a file that are a book's main line, as it stood when it was last seen.

    A line without a time stands beside those that have one, as in files without times.

    Args:
        where: the file, for messages.

    Raises:
        SourceDataError: `is_alternate` is not true or false, or `captured_at` is not a time with a zone.
    """
    if "is_alternate" in lines.column_names:
        if not pa.types.is_boolean(lines.schema.field("is_alternate").type):
            raise _wrong(lines, "is_alternate", where, "true or false")
        lines = lines.filter(pc.invert(pc.fill_null(lines.column("is_alternate"), False)))
    if "captured_at" not in lines.column_names or lines.column("captured_at").null_count == lines.num_rows:
        return lines
    kind = lines.schema.field("captured_at").type
    if not (pa.types.is_timestamp(kind) and kind.tz):
        raise _wrong(lines, "captured_at", where, "a timestamp with a zone (UTC)")
    whose = list(zip(*(lines.column(c).to_pylist() for c in ("game_date", "player_name", "book")), strict=True))
    seen = lines.column("captured_at").cast(pa.int64()).to_pylist()
    last: dict[tuple[object, ...], int] = {}
    for key, at in zip(whose, seen, strict=True):
        if at is not None:
            last[key] = max(at, last.get(key, at))
    return lines.filter(
        pa.array([at is None or last[key] == at for key, at in zip(whose, seen, strict=True)], pa.bool_())
    )


def _wrong(lines: pa.Table, name: str, where: str, expected: str) -> SourceDataError:
    kind = lines.schema.field(name).type
    return SourceDataError(f"{where}: the column {name} is {kind}, not {expected}. Export it again, or leave it out.")
