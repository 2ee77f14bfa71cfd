"""A date's rows: from the store and from BigQuery the same, and what each says where there are none."""

from __future__ import annotations

from datetime import date, timedelta

import pyarrow as pa
import pytest

from nba_ml.checks.registry import STORED
from nba_ml.contract.errors import SlateError, SourceDataError
from nba_ml.contract.features import V2_33FEATURES
from nba_ml.data.table_digest import DigestedTable
from nba_ml.data.tables import ML_FEATURE_STORE_V2, SLATE_ROWS
from nba_ml.defs.resources import open_store
from nba_ml.slates.rows import StoredSlateRows
from nba_ml.slates.rows_from_bigquery import BigQuerySlateRows
from nba_ml.slates.slate import Slate
from nba_ml_tests.cloud.bigquery import BigQueryEmulator, Platform, make_platform
from nba_ml_tests.conftest import features_of
from nba_ml_tests.slate_scene import DAY, slate, slate_rows_of

ALL_STAR_BREAK = date(2022, 2, 20)
"""A Sunday of February without games."""


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> StoredSlateRows:
    """The features of two months, as the asset leaves them in the store."""
    root = tmp_path_factory.mktemp("store")
    for month in ("2022-01", "2022-02"):
        open_store(str(root)).save(STORED["ml_feature_store_v2"], month, DigestedTable(features_of(month), "a digest"))
    return StoredSlateRows(str(root))


@pytest.fixture(scope="module")
def platform(bigquery_emulator: BigQueryEmulator) -> Platform:
    made = make_platform(bigquery_emulator)
    for month in ("2022-01", "2022-02"):
        made.load(features_of(month))
    return made


def bigquery_rows(platform: Platform) -> BigQuerySlateRows:
    return BigQuerySlateRows(platform.emulator.connection(), platform.features)


def test_the_stores_rows_are_the_dates_and_no_others(stored: StoredSlateRows) -> None:
    """Guards against yesterday's players in today's slate."""
    rows = stored.read(DAY)
    assert rows.schema == SLATE_ROWS
    assert rows.equals(slate_rows_of(DAY)) or rows.num_rows == slate_rows_of(DAY).num_rows > 200  # NaN is not NaN
    assert rows.column("game_date").unique().to_pylist() == [DAY]
    assert all(rows.column("universal_player_id").to_pylist())


@pytest.mark.parametrize("day", [ALL_STAR_BREAK, date(2022, 3, 1), date(2022, 7, 4), date(1999, 1, 1)])
def test_a_date_without_rows_has_none(stored: StoredSlateRows, day: date) -> None:
    """Guards against an exception in the off-season, or for a month that nobody made."""
    assert stored.read(day).num_rows == 0
    assert stored.read(day).schema == SLATE_ROWS


def test_the_days_around_a_date(stored: StoredSlateRows) -> None:
    """Guards against advice to choose a date that has no rows either."""
    near = stored.days_near(ALL_STAR_BREAK)
    assert near == sorted(set(near))
    assert ALL_STAR_BREAK not in near
    assert max(day for day in near if day < ALL_STAR_BREAK) == date(2022, 2, 17)
    assert min(day for day in near if day > ALL_STAR_BREAK) == date(2022, 2, 24)
    assert all(abs(day - ALL_STAR_BREAK) <= timedelta(days=31) for day in near)
    assert stored.days_near(date(1999, 1, 1)) == []


@pytest.mark.parametrize("day", [date(2022, 3, 1), date(2022, 3, 3)])
def test_a_short_month_is_not_stepped_over(stored: StoredSlateRows, day: date) -> None:
    """Guards against the first days of March, from which a step of a month back ends in January."""
    assert max(stored.days_near(day)) == date(2022, 2, 28)


def test_bigquery_gives_the_same_slate(platform: Platform, stored: StoredSlateRows) -> None:
    """Guards against predictions that depend on where the rows were read: types, order, NaN, rounding."""
    source = bigquery_rows(platform)
    rows = source.read(DAY)
    assert rows.schema == SLATE_ROWS
    assert slate(rows).digest == slate(stored.read(DAY)).digest == slate().digest
    assert source.days_near(ALL_STAR_BREAK) == stored.days_near(ALL_STAR_BREAK)
    assert source.read(ALL_STAR_BREAK).num_rows == 0


LINES = (
    "book STRING, universal_player_id STRING, player_lookup STRING, game_date DATE, line NUMERIC, "
    "over_price NUMERIC, under_price FLOAT64"
)


def with_lines(made: Platform, *listed: str, columns: str = LINES) -> BigQuerySlateRows:
    """A source with a table of lines, whose rows are given as SQL."""
    table = f"{made.dataset}.lines"
    made.sql(f"CREATE OR REPLACE TABLE {table} ({columns})")
    for row in listed:
        made.sql(f"INSERT INTO {table} VALUES ({row})")
    return BigQuerySlateRows(made.emulator.connection(), made.features, lines_table=table)


def test_bigquery_gives_the_prices_of_the_rows_lines(bigquery_emulator: BigQueryEmulator) -> None:
    """Guards against the price of another line, player or date, against two players with one line of whom the table has
    the ids alone, and against American odds taken for decimal ones."""
    made = make_platform(bigquery_emulator)
    rows = [row for row in features_of("2022-01").to_pylist() if row["game_date"] == DAY][:4]
    for row in rows:
        row["features"][V2_33FEATURES.index("vegas_points_line")] = 21.5
        row["features"][V2_33FEATURES.index("has_vegas_line")] = 1.0
    made.load(pa.Table.from_pylist(rows, schema=ML_FEATURE_STORE_V2))
    first, second, third, fourth = rows
    spelt = f"{second['player_lookup'][:3]}.{second['player_lookup'][3:].upper()}"
    source = with_lines(
        made,
        f"'one', '{first['universal_player_id']}', NULL, '{DAY}', 21.5, 1.9, 1.95",
        f"'two', '{first['universal_player_id']}', NULL, '{DAY}', 21.5, 2.1, 1.75",
        f"'alternate', '{first['universal_player_id']}', NULL, '{DAY}', 25.5, 4.0, 1.2",
        f"'the day after', '{first['universal_player_id']}', NULL, '{DAY + timedelta(days=1)}', 21.5, 9.0, 9.0",
        f"'one', '{third['universal_player_id']}', NULL, '{DAY}', 21.5, 1.6, 1.7",
        f"'by name', NULL, '{spelt}', '{DAY}', 21.5, NULL, 1.8",
        f"'nobody', NULL, 'nobody', '{DAY}', 21.5, 1.9, 1.9",
    )
    found = {row["player_lookup"]: row for row in source.read(DAY).to_pylist()}
    prices = {name: (row["over_price"], row["under_price"]) for name, row in found.items()}
    assert prices == {
        first["player_lookup"]: (2.0, 1.85),
        second["player_lookup"]: (None, 1.8),
        third["player_lookup"]: (1.6, 1.7),
        fourth["player_lookup"]: (None, None),
    }
    priced = slate(source.read(DAY)).table
    assert priced["over_price"].to_pylist().count(2.0) == 1
    american = with_lines(made, f"'one', '{first['universal_player_id']}', NULL, '{DAY}', 21.5, -110, -110")
    with pytest.raises(SlateError, match=r"has a price of -110 on .* decimal odds"):
        american.read(DAY)
    without = with_lines(made, columns="book STRING, player_lookup STRING, game_date DATE, line NUMERIC")
    assert without.read(DAY)["over_price"].null_count == len(rows), "a table of lines need not have prices"
    half = with_lines(made, columns=LINES.replace(", under_price FLOAT64", ""))
    with pytest.raises(SourceDataError, match=r"it lacks under_price.*NBA_ML_LINES_TABLE"):
        half.read(DAY)


def test_rows_as_an_older_store_wrote_them(bigquery_emulator: BigQueryEmulator) -> None:
    """Guards against players under two spellings, a placeholder line that is bet on, and a row written twice."""
    made = make_platform(bigquery_emulator)
    rows = [row for row in features_of("2022-01").to_pylist() if row["game_date"] == DAY]
    first, second, third = rows[:3]
    old = [
        {**first, "player_lookup": f"{first['player_lookup'][:3]}.{first['player_lookup'][3:].upper()}"},
        {**second, "updated_at": second["updated_at"] - timedelta(days=1)},
        {**third, "feature_names": third["feature_names"][::-1]},
        *rows[1:2],
        *rows[3:],
    ]
    made.load(pa.Table.from_pylist(old, schema=ML_FEATURE_STORE_V2))
    scored: Slate = slate(bigquery_rows(made).read(DAY))
    assert first["player_lookup"] in scored.table.column("player_lookup").to_pylist()
    assert scored.report.set_aside_by_reason == {
        "duplicate key": 1,
        "feature names differ from the contract's": 1,
    }
    assert scored.report.served == len(rows) - 1


def test_a_table_that_is_not_there_is_said(bigquery_emulator: BigQueryEmulator) -> None:
    """Guards against a missing table that looks like a day without games."""
    source = BigQuerySlateRows(bigquery_emulator.connection(), "nowhere.features")
    with pytest.raises(SourceDataError, match="NBA_ML_FEATURE_TABLE"):
        source.read(DAY)
