"""A month's file and an import's rows of that month, made into one: nothing is lost, what differs is replaced."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from nba_ml.contract.errors import SourceDataError
from nba_ml.sources.importers.history import with_whole_ids
from nba_ml.sources.sums import read_data
from nba_ml.storage.parquet import read_parquet, write_parquet

Row = dict[str, Any]

_ABOUT = ("game_date", "as_of", "player_name", "away_team", "home_team")


@dataclass(frozen=True)
class Merged:
    """A month as it becomes, and what is different."""

    table: pa.Table
    new: int
    unchanged: int
    changes: list[dict[str, Any]]
    """Replaced rows: what they are about, and `columns`: name -> [old, new]."""


def read_month(file: Path, schema: pa.Schema, fill: Mapping[str, Callable[[pa.Table], pa.ChunkedArray]]) -> pa.Table:
    """A month's file in the schema, with the file's further columns behind it; no rows if there is no file.

    Raises:
        SourceDataError: the file is unreadable, or has other columns or types. It is left as it is.
    """
    if not file.exists():
        return schema.empty_table()
    try:
        table = read_parquet(read_data(file)).replace_schema_metadata(None)
        for name, make in fill.items():
            if name not in table.column_names:
                table = table.append_column(name, make(table))
        if "game_id" in schema.names:
            table = with_whole_ids(table)
        ours = [table.column(field.name).cast(field.type) for field in schema]
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, KeyError, OSError) as error:
        raise SourceDataError(
            f"{file} cannot be merged with ({str(error).splitlines()[0]}). Restore or remove it, then import again; it "
            "was not changed."
        ) from error
    extra = [name for name in table.column_names if name not in schema.names]
    fields = [*schema, *(table.schema.field(name) for name in extra)]
    return pa.table([*ours, *(table.column(name) for name in extra)], schema=pa.schema(fields))


def merge(existing: pa.Table, keys: Sequence[Any], incoming: pa.Table, key: Callable[[Row], Any]) -> Merged:
    """Every row of `existing`, those that `incoming` has otherwise replaced, and what is new.

    Args:
        keys: of the rows of `existing`; equal keys are the same fact.
        incoming: has no key twice, which `key` gives; its columns are the first of `existing`.
    """
    if not existing.num_rows:
        return Merged(pa.concat_tables([existing, incoming], promote_options="default"), incoming.num_rows, 0, [])
    rows: list[Row] = existing.to_pylist()
    places: dict[Any, list[int]] = defaultdict(list)
    for i, each in enumerate(keys):
        places[each].append(i)
    new, unchanged, changes = 0, 0, []
    names = incoming.column_names
    for row in incoming.to_pylist():
        there = places.get(key(row), ())
        if not there:
            rows.append({**dict.fromkeys(existing.column_names), **row})
            new += 1
        elif any(row.items() <= rows[i].items() for i in there):
            unchanged += 1
        else:
            old = rows[there[0]]
            different = {name: [old[name], row[name]] for name in names if old[name] != row[name]}
            changes.append({**{name: str(row[name]) for name in _ABOUT if name in row}, "columns": different})
            rows[there[0]] = {**old, **row}
    if not (new or changes):
        return Merged(existing, 0, unchanged, [])
    return Merged(pa.Table.from_pylist(rows, schema=existing.schema), new, unchanged, changes)


def parquet_bytes(table: pa.Table, order: Sequence[str]) -> bytes:
    """The file: the same bytes for the same rows."""
    return write_parquet(table.sort_by([(name, "ascending") for name in order]))
