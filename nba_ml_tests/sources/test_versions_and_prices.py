"""Several feature versions in one feature table, and the prices of months, on the emulator: each system reads its own
rows, and the months' grades the prices of exactly the lines that were predicted against.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from functools import cache

import pyarrow as pa
import pytest

from nba_ml.contract.errors import SlateError, SourceDataError
from nba_ml.contract.features import V3_FEATURES
from nba_ml.contract.season import month_bounds, season_months
from nba_ml.contract.systems import XGBOOST_V1, XGBOOST_V2
from nba_ml.data.features import compute_features
from nba_ml.data.progress import BackfillStatus
from nba_ml.data.snapshot import MonthRows, take_snapshot
from nba_ml.data.tables import PROP_LINES
from nba_ml.slates.rows_from_bigquery import BigQuerySlateRows
from nba_ml.sources.bigquery_prices import BigQueryMonthPrices
from nba_ml_tests.cloud.bigquery import BigQueryEmulator, Platform, make_platform
from nba_ml_tests.conftest import COMPUTED_AT, FIRST_MONTH, features_of, snapshot_of, summary_of

MONTH, DAY = "2022-06", date(2022, 6, 5)
"""A month of six games, and one of its dates."""

COMMAND = f"`nba-ml features --to-bigquery --version v3_41features --from {MONTH}`"


@cache
def second_features() -> pa.Table:
    """The month's features of the second system, from all months so far and no lines."""
    history = pa.concat_tables([summary_of(each) for each in season_months(FIRST_MONTH, MONTH)])
    bounds = month_bounds(MONTH)
    return compute_features(history, PROP_LINES.empty_table(), *bounds, computed_at=COMPUTED_AT, version=V3_FEATURES)


@pytest.fixture(scope="module")
def both(bigquery_emulator: BigQueryEmulator) -> Platform:
    """Tables with the rows of two versions."""
    made = make_platform(bigquery_emulator)
    made.load(features_of(MONTH), summary_of(MONTH))
    made.load(second_features())
    return made


def test_each_system_reads_the_rows_of_its_own_version(both: Platform) -> None:
    """Guards against a month of one system refused for the other's rows, and against models that differ from those of
    the embedded source: the snapshots are the same, and so are the versions that are read and observed."""
    source = both.source()
    embedded = MonthRows.of_tables(second_features(), summary_of(MONTH), V3_FEATURES)
    expected = {XGBOOST_V1: snapshot_of(MONTH), XGBOOST_V2: take_snapshot(embedded, MONTH, V3_FEATURES)}
    for system, snapshot in expected.items():
        rows, inputs = source.read(MONTH, system)
        found = take_snapshot(rows, MONTH, system.features)
        assert (found.digest, found.counts) == (snapshot.digest, snapshot.counts), system.id
        assert rows.notes == (), "the other system's rows are not left out: they are not its own"
        [progress] = source.progress([MONTH], system=system)
        assert (progress.status, progress.other_versions) == (BackfillStatus.COMPLETE, 0)
        features = system.asset("ml_feature_store_v2")
        versions = {"player_game_summary": progress.played.version, features: progress.features.version}
        assert inputs == {asset: {MONTH: version} for asset, version in versions.items()}
        slate = BigQuerySlateRows(both.emulator.connection(), both.features).read(DAY, system.features)
        assert {len(vector) for vector in slate.column("features").to_pylist()} == {system.features.count}
        assert slate.num_rows == sum(day == DAY for day in features_of(MONTH).column("game_date").to_pylist())


def test_a_version_that_is_not_there_is_named_with_its_command(bigquery_emulator: BigQueryEmulator) -> None:
    """Guards against every row of the first version reported as wrong, where nobody computed the second one's."""
    made = make_platform(bigquery_emulator)
    made.load(features_of(MONTH), summary_of(MONTH))
    with pytest.raises(SourceDataError) as raised:
        made.source().read(MONTH, XGBOOST_V2)
    assert f"{MONTH}: the feature table has no v3_41features rows of this month" in str(raised.value)
    assert COMMAND in str(raised.value)
    assert f"{made.features} has 0 v3_41features rows" in str(raised.value)
    [progress] = made.source().progress([MONTH], system=XGBOOST_V2)
    assert progress.status is BackfillStatus.MISSING
    assert COMMAND in progress.empty
    assert made.source().progress([MONTH], system=XGBOOST_V1)[0].status is BackfillStatus.COMPLETE
    slates = BigQuerySlateRows(made.emulator.connection(), made.features)
    assert slates.read(DAY, V3_FEATURES).num_rows == 0
    with pytest.raises(SlateError, match=r"none of v3_41features.*Nothing was scored.*--date 2022-06-05"):
        slates.upcoming(DAY, version=V3_FEATURES)


# --- prices ---------------------------------------------------------------------------------------------------

LINES = (
    "book STRING, universal_player_id STRING, player_lookup STRING, game_date DATE, line NUMERIC, "
    "over_price NUMERIC, under_price FLOAT64, captured_at TIMESTAMP, tip_off TIMESTAMP, is_alternate BOOL"
)


def prices_of(made: Platform, *listed: str, columns: str = LINES) -> BigQueryMonthPrices:
    """The prices under test, from a table of lines whose rows are given as SQL."""
    table = f"{made.dataset}.lines"
    made.sql(f"CREATE OR REPLACE TABLE {table} ({columns})")
    if listed:
        made.sql(f"INSERT INTO {table} VALUES {', '.join(f'({row})' for row in listed)}")
    return BigQueryMonthPrices(made.emulator.connection(), table, made.features, "2021-10")


def predicted(*lines: tuple[str, float]) -> pa.Table:
    """Predictions of the date: player_lookup and line."""
    return pa.table(
        {
            "player_lookup": [player for player, _ in lines],
            "game_date": pa.array([DAY] * len(lines), pa.date32()),
            "current_points_line": [line for _, line in lines],
        }
    )


def test_a_months_grades_have_the_prices_of_their_lines(both: Platform) -> None:
    """Guards against the price of another line, player or date, one that was captured after tip-off or is not the last,
    against two players of whom the table has ids alone, and against old prices of one whose name it has only once, or
    whose last capture has no id, or no price."""
    first, second, third, fourth, fifth = [row for row in features_of(MONTH).to_pylist() if row["game_date"] == DAY][:5]
    one, two = (f"'{row['universal_player_id']}', NULL" for row in (first, second))
    identity = f"'{fifth['universal_player_id']}', '{fifth['player_lookup']}'"
    other = fifth["player_lookup"].upper()
    spelt = f"NULL, '{third['player_lookup'][:3]}.{third['player_lookup'][3:].upper()}'"
    prices = prices_of(
        both,
        f"'a', {one}, '{DAY}', 21.5, 1.9, 1.95, NULL, NULL, NULL",
        f"'b', {one}, '{DAY}', 21.5, 2.1, 1.75, NULL, NULL, FALSE",
        f"'c', {one}, '{DAY}', 21.5, 3.0, NULL, NULL, NULL, FALSE",
        f"'a', {one}, '{DAY}', 25.5, 4.0, 1.2, NULL, NULL, TRUE",
        f"'a', {one}, DATE_ADD(DATE '{DAY}', INTERVAL 2 DAY), 21.5, 9.0, 9.0, NULL, NULL, NULL",
        f"'a', '{second['universal_player_id']}', 'old', '{DAY}', 21.5, 9.0, 9.0, '2022-06-05 20:00:00', NULL, NULL",
        f"'a', {two}, '{DAY}', 21.5, 1.5, 2.5, '2022-06-05 21:00:00', NULL, NULL",
        f"'early', {spelt}, '{DAY}', 10.5, 1.7, 1.7, '2022-06-05 20:00:00', '2022-06-06 00:00:00', NULL",
        f"'early', {spelt}, '{DAY}', 10.5, 1.8, 1.8, '2022-06-05 23:00:00', '2022-06-06 00:00:00', NULL",
        f"'early', {spelt}, '{DAY}', 10.5, 1.1, 5.0, '2022-06-06 01:00:00', '2022-06-06 00:00:00', NULL",
        f"'late', {spelt}, '{DAY}', 10.5, 1.1, 5.0, '2022-06-06 02:00:00', '2022-06-06 00:00:00', NULL",
        f"'a', NULL, 'nobody', '{DAY}', 21.5, 3.0, 3.0, NULL, NULL, NULL",
        f"'a', {identity}, '{DAY}', 15.5, 9.0, 9.0, '2022-06-05 20:00:00', NULL, NULL",
        f"'a', NULL, '{other}', '{DAY}', 15.5, 1.6, 2.4, '2022-06-05 21:00:00', NULL, NULL",
        f"'b', {identity}, '{DAY}', 15.5, 1.2, 6.0, '2022-06-05 20:00:00', NULL, NULL",
        f"'b', {identity}, '{DAY}', 15.5, NULL, NULL, '2022-06-05 21:00:00', NULL, NULL",
    )
    rows = predicted(
        (first["player_lookup"], 21.5),
        (second["player_lookup"], 21.5),
        (third["player_lookup"], 10.5),
        (fourth["player_lookup"], float("nan")),
        (fifth["player_lookup"], 15.5),
    )
    table, version = prices.read(MONTH, rows)
    assert table is not None
    found = {row["player_lookup"]: (row["over_price"], row["under_price"]) for row in table.to_pylist()}
    assert found == {
        first["player_lookup"]: (2.0, 1.85),
        second["player_lookup"]: (1.5, 2.5),
        third["player_lookup"]: (1.8, 1.8),
        fifth["player_lookup"]: (1.6, 2.4),
    }
    assert prices.version(MONTH) == version
    assert prices.version("2022-05") == {}
    both.sql(
        "INSERT INTO {features} SELECT * REPLACE ('zz' AS player_lookup, 'v4_43features' AS feature_version) "
        f"FROM {{features}} WHERE game_date = '{DAY}' AND player_lookup = '{first['player_lookup']}'"
    )
    assert prices.read(MONTH, rows)[1] == version, "a player under two spellings has his lines once"
    both.sql(f"UPDATE {prices.lines_table} SET over_price = 1.6 WHERE over_price = 1.5")
    assert prices.version(MONTH) == version, "asked once"
    assert replace(prices).version(MONTH) != version, "a price that changes is a reason to grade again"


def test_prices_that_cannot_be_read_are_refused(both: Platform) -> None:
    """Guards against American odds graded as decimal ones, and against a table for features alone that is refused."""
    player = features_of(MONTH)["player_lookup"][0].as_py()
    american = prices_of(both, f"'a', NULL, '{player}', '{DAY}', 21.5, -110, -110, NULL, NULL, NULL")
    with pytest.raises(SourceDataError, match=r"2022-06: .* has a price of -110\. Prices are decimal odds"):
        american.read(MONTH, predicted((player, 21.5)))
    plain = prices_of(both, columns="book STRING, player_lookup STRING, game_date DATE, line NUMERIC")
    assert plain.read(MONTH, predicted()) == (None, {})
    assert plain.version(MONTH) == {}
    local = prices_of(both, columns=LINES.replace("captured_at TIMESTAMP", "captured_at DATETIME"))
    with pytest.raises(SourceDataError, match=r"captured_at is DATETIME, accepted: TIMESTAMP.*NBA_ML_LINES_TABLE"):
        local.read(MONTH, predicted())
