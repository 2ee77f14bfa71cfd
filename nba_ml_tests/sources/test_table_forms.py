"""The platform's tables as they are found: each form gives the same snapshot, or an error that says what to do.

One month of six games, changed in one way each.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from nba_ml.contract.errors import SourceDataError
from nba_ml.contract.features import V2_33FEATURES
from nba_ml.data.progress import BackfillStatus, MonthProgress, progress_table
from nba_ml.data.snapshot import Snapshot, take_snapshot
from nba_ml.data.tables import ML_FEATURE_STORE_V2
from nba_ml.slates.rows_from_bigquery import BigQuerySlateRows
from nba_ml.sources.bigquery import BigQueryFeatureSource
from nba_ml_tests.cloud.bigquery import FEATURE_TABLE, PROJECT, BigQueryEmulator, Platform, make_platform
from nba_ml_tests.conftest import features_of, snapshot_of, summary_of

MONTH = "2022-06"
LATER = "v2_54features"
BOTH = (V2_33FEATURES.name, LATER)
DAY = date(2022, 6, 5)
ALL = "game_date >= '2022-06-01'"

Row = dict[str, Any]


@pytest.fixture
def made(bigquery_emulator: BigQueryEmulator) -> Platform:
    """Both tables, empty."""
    return make_platform(bigquery_emulator)


@pytest.fixture
def full(made: Platform) -> Platform:
    """Both tables with the month's rows."""
    made.load(features_of(MONTH), summary_of(MONTH))
    return made


def taken(source: BigQueryFeatureSource) -> Snapshot:
    return take_snapshot(source.read(MONTH)[0], MONTH, V2_33FEATURES)


def state(source: BigQueryFeatureSource) -> MonthProgress:
    [found] = source.progress([MONTH])
    return found


def same(source: BigQueryFeatureSource) -> MonthProgress:
    """The progress of a month whose snapshot is that of the plain tables, and whose versions agree."""
    rows, inputs = source.read(MONTH)
    found, progress = take_snapshot(rows, MONTH, V2_33FEATURES), state(source)
    assert (found.digest, found.counts) == (snapshot_of(MONTH).digest, snapshot_of(MONTH).counts)
    assert inputs == {
        "player_game_summary": {MONTH: progress.played.version},
        "ml_feature_store_v2": {MONTH: progress.features.version},
    }
    assert progress.status is BackfillStatus.COMPLETE
    assert progress.coverage == found.counts.coverage
    return progress


def refused(source: BigQueryFeatureSource, message: str) -> None:
    """Progress and snapshot refuse the tables with the same words."""
    for ask in (lambda: source.read(MONTH), lambda: source.progress([MONTH])):
        with pytest.raises(SourceDataError, match=message):
            ask()


def with_features(rows: list[Row]) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=ML_FEATURE_STORE_V2)


def recreated(made: Platform, table: str, columns: str) -> None:
    """Make one of the two tables anew from a SELECT list over its rows."""
    made.sql(f"CREATE TABLE {{{table}}}_old AS SELECT * FROM {{{table}}} WHERE {ALL}")
    made.sql(f"DROP TABLE {{{table}}}")
    made.sql(f"CREATE TABLE {{{table}}} AS SELECT {columns} FROM {{{table}}}_old")


def with_structs(made: Platform) -> None:
    """Make the feature table anew with an array of structs: the emulator builds none in a query."""
    made.sql("DROP TABLE {features}")
    structs = FEATURE_TABLE.replace("features ARRAY<FLOAT64>", "features ARRAY<STRUCT<name STRING, value FLOAT64>>")
    made.sql(f"CREATE TABLE {{features}} ({structs})")
    rows = features_of(MONTH)
    pairs = [
        [{"name": name, "value": value} for name, value in zip(V2_33FEATURES.names, vector, strict=True)]
        for vector in rows.column("features").to_pylist()
    ]
    kind = pa.list_(pa.struct([("name", pa.string()), ("value", pa.float64())]))
    made.load(rows.set_column(rows.schema.get_field_index("features"), "features", pa.array(pairs, kind)))


def changed(made: Platform, form: str) -> str:
    """Change a table into one of `FORMS`, and return which."""
    table, columns, _ = FORMS[form]
    if form == "features as structs":
        with_structs(made)
    else:
        recreated(made, table, columns)
    return table


def reading(made: Platform, table: str, name: str) -> BigQueryFeatureSource:
    """The source with another name for one of the two tables."""
    if table == "features":
        return replace(made.source(), feature_table=name)
    return replace(made.source(), summary_table=name)


# --- feature versions ---------------------------------------------------------------------------------------------


def later_row(row: Row, **changes: Any) -> Row:
    """The row as the third epoch writes it: 60 names, of which the first 33 are the contract's."""
    more = [f"feature_{i}" for i in range(33, 60)]
    return {
        **row,
        "features": [*row["features"], *([0.5] * 27)],
        "feature_names": [*row["feature_names"], *more],
        "feature_count": 60,
        "feature_version": LATER,
        **changes,
    }


def test_rows_of_a_later_version_give_the_same_digest(made: Platform) -> None:
    """Guards against the current feature store that cannot be read."""
    made.load(with_features([later_row(row) for row in features_of(MONTH).to_pylist()]), summary_of(MONTH))
    same(replace(made.source(), versions=BOTH))
    rows = BigQuerySlateRows(made.emulator.connection(), made.features, BOTH).read(DAY)
    assert set(rows.column("feature_version").to_pylist()) == {V2_33FEATURES.name}
    assert {len(vector) for vector in rows.column("features").to_pylist()} == {33}
    unlisted = state(made.source())
    assert (unlisted.status, unlisted.covered) == (BackfillStatus.MISSING, 0)


@pytest.mark.parametrize("names", [["x", *V2_33FEATURES.names[1:]], list(V2_33FEATURES.names[:32])])
def test_a_later_version_with_other_names_first_is_rejected(made: Platform, names: list[str]) -> None:
    """Guards against values that are read under the contract's names and are not those."""
    rows = [later_row(row) for row in features_of(MONTH).to_pylist()]
    rows[0] = {**rows[0], "feature_names": [*names, *rows[0]["feature_names"][33:]]}
    made.load(with_features(rows), summary_of(MONTH))
    found = taken(replace(made.source(), versions=BOTH))
    assert found.rejected_by_reason == {"feature names differ from the contract's": 1}


@pytest.mark.parametrize("other", ["v1_baseline_25", LATER])
@pytest.mark.parametrize("days", [-1, 1])
def test_of_two_versions_the_wanted_one_counts(full: Platform, other: str, days: int) -> None:
    """Guards against rows lost behind newer rows of another version, and a month refused for its duplicate keys."""
    interval = f"TIMESTAMP_ADD(updated_at, INTERVAL {days} DAY)"
    full.sql(
        f"INSERT INTO {{features}} SELECT * REPLACE ('{other}' AS feature_version, {interval} AS updated_at) "
        f"FROM {{features}} WHERE {ALL}"
    )
    progress = same(full.source())
    assert (progress.other_versions, progress.features.duplicates) == (features_of(MONTH).num_rows, 0)
    assert f"{progress.other_versions:,} feature rows of other versions left out" in list(progress.notes())
    [note] = full.source().read(MONTH)[0].notes
    assert f"{progress.other_versions:,} feature rows of other versions" in note
    assert BigQuerySlateRows(full.emulator.connection(), full.features).read(DAY).num_rows == sum(
        day == DAY for day in features_of(MONTH).column("game_date").to_pylist()
    )


def test_a_player_without_a_row_of_the_wanted_version_is_rejected_and_kept(full: Platform) -> None:
    """Guards against rows that vanish since their version is another one."""
    player = features_of(MONTH).column("player_lookup")[0].as_py()
    full.sql(f"UPDATE {{features}} SET feature_version = 'v1' WHERE {ALL} AND player_lookup = '{player}'")
    rows, _ = full.source().read(MONTH)
    assert "v1" in rows.features.column("feature_version").to_pylist()
    assert state(full.source()).coverage < 1


@pytest.mark.parametrize("epoch", ["without features", "with empty features"])
def test_values_in_columns_of_their_own_give_the_same_digest(full: Platform, epoch: str) -> None:
    """Guards against the third epoch's table, in which a missing value is NULL."""
    values = ", ".join(
        f"IF(IS_NAN(features[OFFSET({i})]), NULL, features[OFFSET({i})]) AS feature_{i}_value" for i in range(33)
    )
    kept = (
        "* EXCEPT (features)" if epoch == "without features" else "* REPLACE (CAST([] AS ARRAY<FLOAT64>) AS features)"
    )
    recreated(full, "features", f"{kept}, {values}")
    same(full.source())


# --- versions of results ------------------------------------------------------------------------------------------

_OLDER = "SELECT * REPLACE (points + 7 AS points{more}) FROM {{summary}} WHERE game_date = '2022-06-05'"


@pytest.mark.parametrize(
    ("columns", "older"),
    [
        ("record_version INT64", ", 1 AS record_version"),
        ("processed_at TIMESTAMP", ", TIMESTAMP '2022-06-06 00:00:00' AS processed_at"),
        ("record_version INT64, ADD COLUMN processed_at TIMESTAMP", ", TIMESTAMP '2022-06-06' AS processed_at"),
        ("record_version INT64, ADD COLUMN processed_at TIMESTAMP", ", NULL AS record_version"),
    ],
    ids=["record_version", "processed_at", "same record_version", "no record_version"],
)
def test_the_newest_version_of_a_result_counts(full: Platform, columns: str, older: str) -> None:
    """Guards against a month refused for its corrections, and a target from before the correction."""
    for column in columns.replace("ADD COLUMN ", "").split(", "):
        full.sql(f"ALTER TABLE {{summary}} ADD COLUMN {column}")
        name, kind = column.split()
        value = "2" if kind == "INT64" else "TIMESTAMP '2022-07-01 00:00:00'"
        full.sql(f"UPDATE {{summary}} SET {name} = {value} WHERE {ALL}")
    full.sql(f"INSERT INTO {{summary}} {_OLDER.format(more=older).format(summary='{summary}')}")
    progress = same(full.source())
    played = sum(day == DAY for day in summary_of(MONTH).column("game_date").to_pylist())
    assert (progress.older_results, progress.played.duplicates) == (played, 0)
    [note] = full.source().read(MONTH)[0].notes
    assert f"{played:,} versions of results" in note


@pytest.mark.parametrize("column", ["", "record_version"])
def test_versions_that_cannot_be_told_apart_are_an_error(full: Platform, column: str) -> None:
    """Guards against a target that depends on the order of rows."""
    if column:
        full.sql(f"ALTER TABLE {{summary}} ADD COLUMN {column} INT64")
    full.sql(f"INSERT INTO {{summary}} {_OLDER.format(more='').format(summary='{summary}')}")
    with pytest.raises(SourceDataError, match="player-games with two different results"):
        full.source().read(MONTH)


# --- types --------------------------------------------------------------------------------------------------------

CLOUD = Path(__file__).parents[2] / "docs" / "pages" / "how-to" / "cloud.md"
FORMS = {
    "features as JSON text": ("features", "* REPLACE (TO_JSON_STRING(features) AS features)", "features is STRING"),
    "features as structs": ("features", "", "features is ARRAY<STRUCT>"),
    "minutes as text": (
        "summary",
        "* REPLACE (CONCAT(CAST(minutes_played AS STRING), ':00') AS minutes_played)",
        "minutes_played is STRING, accepted: INT64 or FLOAT64",
    ),
    "dates as times": (
        "summary",
        "* REPLACE (TIMESTAMP(game_date) AS game_date)",
        "game_date is TIMESTAMP, accepted: DATE",
    ),
    "dates as text": ("features", "* REPLACE (CAST(game_date AS STRING) AS game_date)", "game_date is STRING"),
    "points as text": ("summary", "* REPLACE (CAST(points AS STRING) AS points)", "points is STRING, accepted: INT64"),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_column_of_another_type_is_named(full: Platform, form: str) -> None:
    """Guards against 'complete' before an unexplained error of a cast."""
    changed(full, form)
    refused(full.source(), f"{FORMS[form][2]}.*Make a view.*docs/pages/how-to/cloud.md")


@pytest.mark.parametrize("form", ["features as JSON text", "features as structs", "minutes as text"])
def test_the_documented_view_fixes_it(full: Platform, form: str) -> None:
    """Guards against advice that does not work."""
    table = changed(full, form)
    [statement] = [sql for sql in re.findall(r"```sql\n(.*?)```", CLOUD.read_text(), re.S) if form in sql]
    name = full.features if table == "features" else full.summary
    view = re.sub(r"(`)[\w.-]+_view(`)", rf"\1{PROJECT}.{name}_view\2", statement)
    view = re.sub(r"FROM `[\w.-]+`", f"FROM `{PROJECT}.{name}`", view)
    full.emulator.client.query_and_wait(view)
    same(reading(full, table, f"{name}_view"))


@pytest.mark.parametrize("table", ["features", "summary"])
def test_columns_in_another_case_and_names_with_hyphens(full: Platform, table: str) -> None:
    """Guards against a table refused for the spelling of its names, which BigQuery does not care about."""
    name = getattr(full, table)
    columns = "* EXCEPT (game_date), game_date AS Game_Date"
    full.sql(f"CREATE TABLE `{name}-2` AS SELECT {columns} FROM {{{table}}} WHERE {ALL}")
    same(reading(full, table, f"{name}-2"))
    same(reading(full, table, f"{PROJECT}.{name}-2"))
    full.emulator.client.create_dataset(f"example.com:other-project.{full.dataset}")
    elsewhere = f"example.com:other-project.{name}-2"
    full.sql(f"CREATE TABLE `{elsewhere}` AS SELECT {columns} FROM {{{table}}} WHERE {ALL}")
    same(reading(full, table, elsewhere))


# --- valid rows ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", ["NULL", "25"])
def test_progress_and_snapshot_have_one_definition_of_a_valid_row(full: Platform, count: str) -> None:
    """Guards against 'missing' beside a published model, or the reverse."""
    full.sql(f"UPDATE {{features}} SET feature_count = {count} WHERE game_date >= '2022-06-03'")
    if count == "NULL":
        same(full.source())
        return
    assert (
        state(full.source()).status is BackfillStatus.MISSING or state(full.source()).status is BackfillStatus.PARTIAL
    )
    with pytest.raises(Exception, match="not 33 values"):
        taken(full.source())


# --- keys ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("table", ["features", "summary"])
@pytest.mark.parametrize(
    ("plain", "accented"), [("lukadoncic", "Luka Dončić"), ("jaylenbrown", "jaylen Brøwn"), ("alhorford", "Ál Horford")]
)
def test_accents_are_folded(full: Platform, table: str, plain: str, accented: str) -> None:
    """Guards against `lukadoni`: a letter that goes with its accent, and its player with it."""
    players = summary_of(MONTH).column("player_lookup").to_pylist()
    stored = plain if plain in players else players[0]
    spelled = accented if plain in players else f"{stored[0]}\u0301{stored[1:]}"
    full.sql(f"UPDATE {{{table}}} SET player_lookup = '{spelled}' WHERE {ALL} AND player_lookup = '{stored}'")
    same(full.source())


def test_namesakes_with_a_digit_stay_two_players(full: Platform) -> None:
    """Guards against two players of one name who become one, with two results."""
    first, second = sorted(set(summary_of(MONTH).column("player_lookup").to_pylist()))[:2]
    for table in ("features", "summary"):
        full.sql(f"UPDATE {{{table}}} SET player_lookup = '{first}2' WHERE {ALL} AND player_lookup = '{second}'")
    found = taken(full.source())
    assert found.counts == snapshot_of(MONTH).counts
    assert {first, f"{first}2"} <= set(found.table.column("player_lookup").to_pylist())


@pytest.mark.parametrize("table", ["features", "summary"])
def test_keys_of_one_table_only_are_reported(full: Platform, table: str) -> None:
    """Guards against a player who vanishes at a coverage of 99%."""
    player = summary_of(MONTH).column("player_lookup")[0].as_py()
    full.sql(f"UPDATE {{{table}}} SET player_lookup = '{player}iii' WHERE {ALL} AND player_lookup = '{player}'")
    missed = player if table == "features" else f"{player}iii"
    progress = state(full.source())
    assert list(progress.results_only) == [missed]
    note = f"1 players (games) have results but no features, perhaps for another spelling: {missed} ("
    assert any(each.startswith(note) for each in progress.notes())
    assert any(note in each for each in full.source().read(MONTH)[0].notes)


@pytest.mark.parametrize(("days", "when"), [(1, "after"), (-1, "before")])
def test_tables_a_day_apart_are_reported(full: Platform, days: int, when: str) -> None:
    """Guards against advice to wait for a backfill that is done."""
    full.sql(f"UPDATE {{features}} SET game_date = DATE_ADD(game_date, INTERVAL {days} DAY) WHERE {ALL}")
    progress = state(full.source())
    assert progress.shift == days
    assert f"most features are dated the day {when} their result" in next(progress.notes())
    with pytest.raises(SourceDataError, match=f"dated the day {when} their result.*match that way"):
        full.source().read(MONTH)


# --- months and dates that are not there ----------------------------------------------------------------------------


MONTHS_THERE = ("2022-05 2022-06", "2022-06 2022-11", "2021-12 2022-11")


@pytest.fixture(scope="module")
def seasons(bigquery_emulator: BigQueryEmulator) -> Callable[[str], Platform]:
    """Tables of some months."""
    known = {months: make_platform(bigquery_emulator) for months in MONTHS_THERE}
    for months, platform in known.items():
        for month in months.split():
            platform.load(features_of(month), summary_of(month))
    return known.__getitem__


@pytest.mark.parametrize(
    ("month", "message"),
    [
        ("2022-04", "begins in 2022-05: unless the backfill will add earlier months, set NBA_ML_FIRST_MONTH=2022-05"),
        ("2021-12", "set NBA_ML_FIRST_MONTH=2022-05"),
        ("2022-10", "has earlier and later months but not this one: run its backfill"),
        ("2022-12", "the backfill has not reached this month"),
    ],
)
def test_months_without_rows_are_told_apart(seasons: Callable[[str], Platform], month: str, message: str) -> None:
    """Guards against one advice, to wait, for a wrong setting, a hole and a month to come."""
    source = seasons("2022-06 2022-11" if month == "2022-10" else "2022-05 2022-06").source()
    with pytest.raises(SourceDataError, match=f"{month}: .*{message}"):
        source.read(month)
    [alone] = source.progress([month])
    months = [month, "2022-05", "2022-06"] if month < "2022-05" else ["2022-06", month, "2022-11"]
    together = {m.month: m for m in source.progress(sorted({*months}))}[month]
    assert together == alone
    assert (alone.empty == "") == (month == "2022-12")


def test_a_history_of_regular_seasons_has_no_games_in_june(seasons: Callable[[str], Platform]) -> None:
    """Guards against a June that blocks every later month because no playoffs are kept."""
    source = seasons("2021-12 2022-11").source()
    progress = {m.month: m for m in source.progress(["2021-12", "2022-03", "2022-05", "2022-06", "2022-11"])}
    assert [progress[m].no_games for m in ("2022-03", "2022-05", "2022-06")] == [False, True, True]
    rows, inputs = source.read("2022-06")
    assert (rows.features.num_rows, take_snapshot(rows, "2022-06", V2_33FEATURES).counts.coverage) == (0, 1.0)
    assert inputs["ml_feature_store_v2"]["2022-06"] == progress["2022-06"].features.version


AFTERWARDS = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize("gone", ["both", "results", "points"])
def test_days_that_are_gone_are_named(bigquery_emulator: BigQueryEmulator, gone: str) -> None:
    """Guards against a month of two thirds of its games that reads as complete."""
    made = make_platform(bigquery_emulator)
    made.load(features_of("2021-12"), summary_of("2021-12"))
    days = "(game_date BETWEEN '2021-12-06' AND '2021-12-15' OR game_date = '2021-12-20')"
    if gone == "points":
        made.sql(f"UPDATE {{summary}} SET points = NULL WHERE {days}")
    else:
        made.sql(f"DELETE FROM {{summary}} WHERE {days}")
    if gone == "both":
        made.sql(f"DELETE FROM {{features}} WHERE {days}")
    [progress] = made.source().progress(["2021-12"], now=AFTERWARDS)
    assert progress.status is not BackfillStatus.COMPLETE
    assert 0.6 < progress.coverage < 0.8
    assert "2021-12-06, 2021-12-07" in " ".join(progress.notes())
    assert date(2021, 12, 20) in (progress.absent if gone == "both" else progress.missing)
    counts = take_snapshot(made.source().read("2021-12")[0], "2021-12", V2_33FEATURES).counts
    assert counts.coverage == progress.coverage
    assert counts.missing_dates.startswith("2021-12-06, 2021-12-07")
    present, expected = progress_table([progress]).iloc[0]["dates"].split(" of ")
    assert int(present) + 11 == int(expected)
    present, expected = progress_table([progress]).iloc[0]["games"].replace(",", "").split(" of ")
    assert int(present) <= int(expected)
