"""A table that the workers of a test run share is the one that was computed."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from nba_ml_tests import shared_tables
from nba_ml_tests.data.features.conftest import same_rows


def test_who_maps_it_has_the_table_that_was_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards every test on real months: NaN, chunks and schema as computed, and computed once."""
    from nba_ml_tests.conftest import features_of

    table, made = features_of("2021-11"), []

    def make() -> pa.Table:
        made.append(shared_tables.shared("another", lambda: table.slice(0, 1)))
        return table

    monkeypatch.setattr(shared_tables, "_folder", [tmp_path])
    first, second = (shared_tables.shared("features", make) for _ in range(2))
    assert first is table
    assert second is not table
    assert second.schema.equals(table.schema, check_metadata=True)
    assert same_rows(second, table)
    assert len(made) == 1
