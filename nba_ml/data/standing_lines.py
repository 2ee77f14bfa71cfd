"""Which of the listed lines count: a book's last one before tip-off, and no alternates."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from datetime import date, datetime

import pyarrow as pa
import pyarrow.compute as pc

from nba_ml.contract.errors import SourceDataError
from nba_ml.contract.times import TimeWithoutZone, eastern_date
from nba_ml.data.identities import player_lookup

TipOffs = Mapping[tuple[date, int | str], datetime]
"""(Date, player id or lookup) -> tip-off of the player's game, in UTC."""

_NamedOn = tuple[object, str]
"""Date and lookup."""

_MOMENT = pa.timestamp("us", "UTC")
"""Files differ in their units."""

OPTIONAL_COLUMNS = ("captured_at", "is_alternate", "over_price", "under_price")
"""Columns that a file under `prop_lines/` may have."""


def standing_lines(files: Mapping[str, pa.Table]) -> dict[str, pa.Table]:
    """The rows of files that are a book's main line, as it stood when it was last seen in any of them.

    A line without a time stands beside those that have one, as in files without times. A player without an id in some
    captures is the one whose id others have with his name on the date, if that is one id only.

    Args:
        files: name of a file, for messages -> its lines.

    Raises:
        SourceDataError: `is_alternate` is not true or false, or `captured_at` is not a time with a zone.
    """
    main = {where: _main_lines(lines, where) for where, lines in files.items()}
    timed = [where for where, lines in main.items() if _timed(lines, where)]
    ids = _only_ids(main.values()) if timed else {}
    seen = {where: list(_captures(main[where], ids)) for where in timed}
    last: dict[tuple[object, ...], int] = {}
    for book, at in (capture for captures in seen.values() for capture in captures):
        if at is not None:
            last[book] = max(at, last.get(book, at))
    stands = {where: [at is None or last[book] == at for book, at in captures] for where, captures in seen.items()}
    return {
        where: lines.filter(pa.array(stands[where], pa.bool_())) if where in stands else lines
        for where, lines in main.items()
    }


def _main_lines(lines: pa.Table, where: str) -> pa.Table:
    if "is_alternate" not in lines.column_names or lines.column("is_alternate").null_count == lines.num_rows:
        return lines
    if not pa.types.is_boolean(lines.schema.field("is_alternate").type):
        raise _wrong(lines, "is_alternate", where, "true or false")
    return lines.filter(pc.invert(pc.fill_null(lines.column("is_alternate"), False)))


def _captures(lines: pa.Table, ids: Mapping[_NamedOn, int]) -> Iterator[tuple[tuple[object, ...], int | None]]:
    """(Date, player, book) of each line, and when it was captured. The id says who a player is, else his name."""
    days, books = (lines.column(name).to_pylist() for name in ("game_date", "book"))
    times = lines.column("captured_at").cast(_MOMENT, safe=False).cast(pa.int64()).to_pylist()
    for day, (player, lookup), book, at in zip(days, _players(lines), books, times, strict=True):
        yield (day, player or ids.get((day, lookup), lookup), book), at


def _only_ids(tables: Iterable[pa.Table]) -> dict[_NamedOn, int]:
    """The id of those with a name on a date, where they have one only."""
    found: dict[_NamedOn, set[int]] = defaultdict(set)
    for lines in tables:
        for day, (player, lookup) in zip(lines.column("game_date").to_pylist(), _players(lines), strict=True):
            if player and lookup:
                found[day, lookup].add(player)
    return {name: ids.pop() for name, ids in found.items() if len(ids) == 1}


def _players(lines: pa.Table) -> list[tuple[int | None, str]]:
    """The id of each line's player, None for none, and the lookup of his name."""
    ids = lines.column("player_id").to_pylist() if "player_id" in lines.column_names else [None] * lines.num_rows
    names = lines.column("player_name").to_pylist()
    lookups = {name: player_lookup(name or "") for name in set(names)}
    return [
        (int(player) if player is not None and player == player else None, lookups[name])  # not NaN  # noqa: PLR0124
        for player, name in zip(ids, names, strict=True)
    ]


def before_tip_off(lines: pa.Table, tip_offs: TipOffs, where: str) -> pa.Table:
    """The rows of a file that were not captured after the player's game had begun, as far as both times are known.

    Raises:
        SourceDataError: `captured_at` is not a time with a zone.
    """
    if not tip_offs or not _timed(lines, where):
        return lines
    days, times = (lines.column(name).to_pylist() for name in ("game_date", "captured_at"))
    kept = [
        at is None or (began := _tip_off(tip_offs, day, player or lookup)) is None or at <= began
        for day, (player, lookup), at in zip(days, _players(lines), times, strict=True)
    ]
    return lines.filter(pa.array(kept, pa.bool_()))


def _tip_off(tip_offs: TipOffs, day: date | None, player: int | str) -> datetime | None:
    try:
        of = None if day is None else eastern_date(day)
    except TimeWithoutZone:  # reported when the lines are validated
        return None
    return None if of is None else tip_offs.get((of, player))


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
