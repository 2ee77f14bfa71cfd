"""The rows that a rule found wrong, as a finding shows them: by their keys, and few."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import pyarrow as pa

from nba_ml.data.recomputation import KEY


def keys_of(table: pa.Table, rows: Sequence[int]) -> list[dict[str, str]]:
    """Player and date of the given rows (by position), as text."""
    keys = table.select(KEY).take(pa.array(rows, pa.int64())).to_pylist()
    return [{name: str(value) for name, value in key.items()} for key in keys]


def first_rows(frame: pd.DataFrame) -> list[dict[str, object]]:
    """The first five rows of a frame with the key's columns, column -> value, its dates as text."""
    first = frame.head(5).assign(game_date=lambda rows: rows["game_date"].dt.strftime("%Y-%m-%d"))
    return [{str(name): value for name, value in row.items()} for row in first.to_dict("records")]
