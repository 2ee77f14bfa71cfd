"""The worst rows of a finding, identified by their keys."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import pyarrow as pa

from nba_ml.data.feature_rows import KEY


def keys_of(table: pa.Table, rows: Sequence[int]) -> list[dict[str, str]]:
    """Player and date of the given rows (by position), as text."""
    keys = table.select(KEY).take(pa.array(rows, pa.int64())).to_pylist()
    return [{name: str(value) for name, value in key.items()} for key in keys]


def first_rows(frame: pd.DataFrame) -> list[dict[str, object]]:
    """The first five rows of a frame as dictionaries, with dates as text. The frame has the key columns."""
    first = frame.head(5).assign(game_date=lambda rows: rows["game_date"].dt.strftime("%Y-%m-%d"))
    return [{str(name): value for name, value in row.items()} for row in first.to_dict("records")]
