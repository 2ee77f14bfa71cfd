"""Which of the listed lines count: a book's last one before tip-off, and no alternates."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime

import pyarrow as pa
import pyarrow.compute as pc

from nba_ml.contract.errors import SourceDataError
from nba_ml.contract.times import TimeWithoutZone, eastern_date
from nba_ml.data.identities import player_lookup

TipOffs = Mapping[tuple[date, int | str], datetime]
"""(Date, player id or lookup) -> tip-off of the player's game, in UTC."""

OPTIONAL_COLUMNS = ("captured_at", "is_alternate", "over_price", "under_price")
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
    if not _timed(lines, where):
        return lines
    whose = list(zip(*(lines.column(c).to_pylist() for c in ("game_date", "player_name", "book")), strict=True))
    seen = lines.column("captured_at").cast(pa.int64()).to_pylist()
    last: dict[tuple[object, ...], int] = {}
    for key, at in zip(whose, seen, strict=True):
        if at is not None:
            last[key] = max(at, last.get(key, at))
    return lines.filter(
        pa.array([at is None or last[key] == at for key, at in zip(whose, seen, strict=True)], pa.bool_())
    )


def before_tip_off(lines: pa.Table, tip_offs: TipOffs, where: str) -> pa.Table:
    """The rows of a file that were not captured after the player's game had begun, as far as both times are known.

    Raises:
        SourceDataError: `captured_at` is not a time with a zone.
    """
    if not tip_offs or not _timed(lines, where):
        return lines
    names = ("game_date", "player_name", "captured_at")
    ids = lines.column("player_id").to_pylist() if "player_id" in lines.column_names else [None] * lines.num_rows
    kept = [
        at is None or (began := _tip_off(tip_offs, day, player, name)) is None or at <= began
        for player, day, name, at in zip(ids, *(lines.column(name).to_pylist() for name in names), strict=True)
    ]
    return lines.filter(pa.array(kept, pa.bool_()))


def _tip_off(tip_offs: TipOffs, day: date | None, player: float | None, name: str | None) -> datetime | None:
    try:
        of = None if day is None else eastern_date(day)
    except TimeWithoutZone:  # reported when the lines are validated
        return None
    if of is None:
        return None
    if player is not None and player == player:  # not NaN  # noqa: PLR0124
        return tip_offs.get((of, int(player)))
    return tip_offs.get((of, player_lookup(name or "")))


def _timed(lines: pa.Table, where: str) -> bool:
    """Whether any row has `captured_at`."""
    if "captured_at" not in lines.column_names or lines.column("captured_at").null_count == lines.num_rows:
        return False
    kind = lines.schema.field("captured_at").type
    if not (pa.types.is_timestamp(kind) and kind.tz):
        raise _wrong(lines, "captured_at", where, "a timestamp with a zone (UTC)")
    return True


def _wrong(lines: pa.Table, name: str, where: str, expected: str) -> SourceDataError:
    kind = lines.schema.field(name).type
    return SourceDataError(f"{where}: the column {name} is {kind}, not {expected}. Export it again, or leave it out.")
