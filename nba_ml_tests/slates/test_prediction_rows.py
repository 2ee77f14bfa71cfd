"""A slate as rows of BigQuery's table of predictions."""

from __future__ import annotations

from decimal import Decimal

from nba_ml.slates.prediction_rows import COLUMNS, SCHEMA, add_columns, columns_table, create_table, served_rows
from nba_ml_tests.slate_scene import BEFORE_THE_GAMES, slate, systems

PLATFORM = (
    *("system_id", "model_version", "player_lookup", "universal_player_id", "game_date", "game_id", "predicted_points"),
    *("confidence_score", "recommendation", "current_points_line", "model_type", "feature_version", "is_active"),
    "created_at",
)
"""What the platform's readers select by name."""


def test_the_platforms_columns_are_there_with_its_types() -> None:
    """Guards against a column that a dashboard selects and that is gone, or is a float where it was exact."""
    types = {column.name: column.type for column in COLUMNS}
    assert set(PLATFORM) <= set(types)
    assert {types[name] for name in ("predicted_points", "confidence_score", "current_points_line")} == {"NUMERIC"}
    assert {column.name: column.nullable for column in COLUMNS}["current_points_line"]
    assert all(f"`{column.name}` | {column.type}" in columns_table() for column in COLUMNS)


def test_a_row_says_exactly_what_the_slate_says() -> None:
    """Guards against 19.349999 points, NaN where NULL is due, and an id that two rows share."""
    made = slate(who=systems("mock", 50))
    rows = served_rows(made, 3, "an-id")
    assert rows.schema == SCHEMA
    for row, kept in zip(rows.to_pylist(), made.table.to_pylist(), strict=True):
        line = kept["recommendation"] != "NO_LINE"
        assert (row["has_prop_line"], row["line_source"]) == (line, "ACTUAL_PROP" if line else "NO_PROP_LINE")
        assert (row["prediction_version"], row["ml_model_id"]) == (3, kept["model_version"])
        assert row["predicted_points"] == Decimal(str(kept["predicted_points"]))
        assert row["is_active"] is False  # the writer makes a version active once all of it is there
        assert (row["points_low"] is None) is (kept["system_id"] == "mock")
        assert (row["current_points_line"] is None) is (kept["recommendation"] == "NO_LINE")
        assert (row["model_sha256"] is None) is (kept["system_id"] == "mock")
        assert (row["slate_version"], row["slate_id"], row["created_at"]) == (3, "an-id", BEFORE_THE_GAMES)
    assert len(set(rows.column("prediction_id").to_pylist())) == rows.num_rows == made.table.num_rows
    other = served_rows(made, 4, "another").column("prediction_id").to_pylist()
    assert not set(other) & set(rows.column("prediction_id").to_pylist())


def test_the_statements_name_every_column() -> None:
    """Guards against a table that is made by our own statement and then refused."""
    made = create_table("`p.d.t`")
    assert all(f"{column.name} {column.type}" in made for column in COLUMNS)
    assert "PARTITION BY game_date" in made
    assert (
        add_columns("`p.d.t`", ["side", "role"]) == "ALTER TABLE `p.d.t` ADD COLUMN side STRING, ADD COLUMN role STRING"
    )
