"""The column lineage that the UI shows is what the SQL does: a column is changed, and its features alone change."""

from __future__ import annotations

from datetime import date

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.types as pat
import pytest

from nba_ml.contract.features import V4_FEATURES
from nba_ml.data import tables
from nba_ml.data.features import compute_features, inactive_lists
from nba_ml.data.features.lineage import BOX_SCORE_COLUMNS
from nba_ml_tests.data.features.conftest import COMPUTED_AT, between, every_day_listed, matrix
from nba_ml_tests.data.features.test_compute import WEEK

pytestmark = pytest.mark.slow

NO_LINES = tables.PROP_LINES.empty_table()
VALUES = [
    field.name for field in tables.PLAYER_GAME_SUMMARY if pat.is_integer(field.type) or pat.is_boolean(field.type)
]


def changed(table: pa.Table, name: str) -> pa.Table:
    """The table with other values in a column; minutes stay above 0, and other keys as they are."""
    column = table.column(name)
    position, numbers = table.column_names.index(name), np.arange(table.num_rows)
    if pat.is_boolean(column.type):
        # By date: a team's rows of a game agree.
        days = np.asarray(table.column("game_date").to_numpy().astype("datetime64[D]").astype(int))
        values = column.to_numpy() ^ (days % 2 == 0)
    else:
        values = column.to_numpy() + (numbers * 7 % 5).astype(np.int16)
    return table.set_column(position, table.schema.field(name), pa.array(values, column.type))


def vectors(table: pa.Table, reports: pa.Table) -> npt.NDArray[np.float64]:
    made = compute_features(table, NO_LINES, *WEEK, computed_at=COMPUTED_AT, version=V4_FEATURES, reports=reports)
    return matrix(made)


def test_a_changed_column_changes_the_features_that_name_it(summary: pa.Table) -> None:
    """Guards the lineage against an edited query: each feature has the columns that it is computed from, and no more.

    Columns that are keys, and the minutes that select rows, are not changed so: those are stated by hand.
    """
    recent = between(summary, date(2024, 10, 1), WEEK[1])
    reports = inactive_lists(recent, every_day_listed(*WEEK), *WEEK)
    before = vectors(recent, reports)
    found: dict[str, set[str]] = {name: set() for name in V4_FEATURES.names}
    for column in VALUES:
        after = vectors(changed(recent, column), reports)
        differs = ((before != after) & ~(np.isnan(before) & np.isnan(after))).any(axis=0)
        for name in np.array(V4_FEATURES.names)[differs]:
            found[name].add(column)
    for name in V4_FEATURES.names:
        stated = set(BOX_SCORE_COLUMNS.get(name, ())) & set(VALUES)
        assert found[name] - {"minutes_played"} == stated - {"minutes_played"}, name
        assert found[name] <= stated, name
    assert set(BOX_SCORE_COLUMNS) <= set(V4_FEATURES.names)
    assert {each for columns in BOX_SCORE_COLUMNS.values() for each in columns} <= set(tables.PLAYER_GAME_SUMMARY.names)
