"""The feature store in BigQuery, against an emulator: the same snapshots, and what BigQuery refuses in words."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from nba_ml.contract.errors import SettingsError, SourceDataError
from nba_ml.contract.features import V2_33FEATURES
from nba_ml.data.progress import BackfillStatus
from nba_ml.data.results_due import last_date_due
from nba_ml.data.snapshot import Snapshot, take_snapshot
from nba_ml.data.tables import ML_FEATURE_STORE_V2
from nba_ml.sources.bigquery import BigQueryFeatureSource
from nba_ml.sources.bigquery_connection import BigQueryConnection
from nba_ml_tests.cloud.bigquery import BigQueryEmulator, Platform, make_platform
from nba_ml_tests.cloud.scripted import ScriptedService, refusal
from nba_ml_tests.conftest import features_of, snapshot_of, summary_of

MONTHS = ("2021-10", "2021-11", "2021-12", "2025-01")
"""An empty month, one that is early season in part, a plain one, and one with betting lines."""

OLD = "2022-01"
"""The month whose rows are written as older stores wrote them."""

Row = dict[str, Any]


@pytest.fixture(scope="module")
def platform(bigquery_emulator: BigQueryEmulator) -> Platform:
    """Tables that hold what the embedded source computes."""
    made = make_platform(bigquery_emulator)
    for month in MONTHS:
        made.load(features_of(month), summary_of(month))
    return made


def snapshot_from(source: BigQueryFeatureSource, month: str) -> Snapshot:
    rows, _ = source.read(month)
    return take_snapshot(rows, month, V2_33FEATURES)


# --- one canonical snapshot -----------------------------------------------------------------------------------


@pytest.mark.parametrize("month", MONTHS)
def test_the_same_rows_give_the_same_snapshot(platform: Platform, month: str) -> None:
    """Guards against a model that depends on where its rows were read: types, order, NaN, rounding, days."""
    found, expected = snapshot_from(platform.source(), month), snapshot_of(month)
    assert found.digest == expected.digest
    assert found.counts == expected.counts
    assert found.table.schema.equals(expected.table.schema, check_metadata=True)
    pd.testing.assert_frame_equal(found.table.to_pandas(), expected.table.to_pandas(), check_exact=True)  # NaN is NaN


def old_rows(bigquery_emulator: BigQueryEmulator, change: Callable[[list[Row]], list[Row]]) -> BigQueryFeatureSource:
    """The month's real rows, as an older store would have written some of them."""
    made = make_platform(bigquery_emulator)
    rows = change(features_of(OLD).to_pylist())
    made.load(pa.Table.from_pylist(rows, schema=ML_FEATURE_STORE_V2), summary_of(OLD))
    return made.source()


def with_values(row: Row, **values: float) -> Row:
    features = list(row["features"])
    for name, value in values.items():
        features[V2_33FEATURES.index(name)] = value
    return {**row, "features": features}


def value(row: Row, name: str) -> float:
    return float(row["features"][V2_33FEATURES.index(name)])


def season_average_as_line(row: Row) -> Row:
    average = value(row, "points_avg_season")
    return with_values(row, vegas_points_line=average, vegas_opening_line=average, vegas_line_move=0.0)


def placeholder_line(row: Row) -> Row:
    return with_values(row, vegas_points_line=20.0, vegas_opening_line=20.0, vegas_line_move=0.0, has_vegas_line=1.0)


def stray_lookup(row: Row) -> Row:
    lookup = row["player_lookup"]
    return {**row, "player_lookup": f"{lookup[:2].upper()}. {lookup[2:]}'"}


@pytest.mark.parametrize("change", [season_average_as_line, placeholder_line, stray_lookup])
def test_rows_of_older_eras_become_canonical(bigquery_emulator: BigQueryEmulator, change: Callable[[Row], Row]) -> None:
    """Guards against what older stores wrote for "missing" being trained on, and against keys that never meet.

    In the embedded data of this month no row has a line, so the canonical snapshot is the month's own.
    """
    source = old_rows(bigquery_emulator, lambda rows: [change(row) if i % 3 else row for i, row in enumerate(rows)])
    found = snapshot_from(source, OLD)
    assert found.digest == snapshot_of(OLD).digest
    assert found.counts == snapshot_of(OLD).counts


def test_shot_profiles_of_zeros_are_missing(bigquery_emulator: BigQueryEmulator) -> None:
    """Guards against a player who takes none of his shots anywhere."""
    zeros = {"pct_paint": 0.0, "pct_mid_range": 0.0, "pct_three": 0.0}
    source = old_rows(bigquery_emulator, lambda rows: [with_values(row, **zeros) for row in rows])
    table = snapshot_from(source, OLD).table
    for name in zeros:
        assert table.column(name).to_pandas().isna().all()


@pytest.mark.parametrize("vector", [[], [0.0] * 33])
def test_early_season_rows_may_be_empty_or_filled_with_anything(
    bigquery_emulator: BigQueryEmulator, vector: list[float]
) -> None:
    """Guards against a month refused for rows that are set aside anyway."""
    day = min(features_of(OLD).column("game_date").to_pylist())

    def change(rows: list[Row]) -> list[Row]:
        early = {"features": vector, "feature_count": len(vector), "early_season_flag": True}
        return [{**row, **early} if row["game_date"] == day else row for row in rows]

    found = snapshot_from(old_rows(bigquery_emulator, change), OLD)
    assert found.counts.early_season == sum(d == day for d in features_of(OLD).column("game_date").to_pylist()) > 50
    assert found.counts.rejected == 0
    assert found.counts.samples + found.counts.early_season + found.counts.without_result == features_of(OLD).num_rows


OTHER_ROWS: dict[str, Row] = {
    "not 33 values": {"features": [1.0] * 25, "feature_count": 25, "feature_names": list(V2_33FEATURES.names[:25])},
    "feature version is not v2_33features": {"feature_version": "v1_baseline_25"},
    "feature names differ from the contract's": {"feature_names": list(reversed(V2_33FEATURES.names))},
}


@pytest.mark.parametrize("reason", OTHER_ROWS)
def test_other_rows_are_rejected_and_kept(bigquery_emulator: BigQueryEmulator, reason: str) -> None:
    """Guards against rows of another version in the training data, and against rows that vanish."""
    source = old_rows(bigquery_emulator, lambda rows: [{**rows[0], **OTHER_ROWS[reason]}, *rows[1:]])
    found = snapshot_from(source, OLD)
    assert found.rejected_by_reason == {reason: 1}
    assert found.rejects.column("player_lookup").to_pylist() == [features_of(OLD).column("player_lookup")[0].as_py()]


def test_of_two_rows_of_a_key_the_newest_counts(bigquery_emulator: BigQueryEmulator) -> None:
    """Guards against an old vector beside its correction, and against a result that counts twice."""

    def change(rows: list[Row]) -> list[Row]:
        older = datetime(2020, 1, 1, tzinfo=UTC)
        stale = [{**with_values(row, points_avg_last_5=99.0), "updated_at": older} for row in rows[:20]]
        return [*stale[:10], *rows, *stale[10:]]

    found = snapshot_from(old_rows(bigquery_emulator, change), OLD)
    assert found.digest == snapshot_of(OLD).digest
    assert found.rejected_by_reason == {"duplicate key": 20}
    assert found.counts.played == snapshot_of(OLD).counts.played


# --- what is observed -----------------------------------------------------------------------------------------


def test_the_progress_of_every_month(platform: Platform) -> None:
    """Guards against 'a date has a row' being taken for complete."""
    months = ["2021-10", "2021-11", "2021-12", "2022-01"]
    found = platform.source().progress(months)
    assert [m.month for m in found] == months
    assert [m.status for m in found] == [BackfillStatus.COMPLETE] * 3 + [BackfillStatus.MISSING]
    november = found[1]
    counts = snapshot_of("2021-11").counts
    assert (november.played.rows, november.covered) == (counts.played, counts.covered)
    assert november.features.rows == features_of("2021-11").num_rows
    assert november.features.games == november.played.games == 225
    assert november.features.newest_update is not None


def test_one_query_observes_and_reads_no_feature(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards against an observation that costs as much as a snapshot."""
    asked: list[str] = []
    rows = BigQueryConnection.rows

    def listening(self: BigQueryConnection, sql: str, *arguments: Any) -> pa.Table:
        asked.append(sql)
        return rows(self, sql, *arguments)

    monkeypatch.setattr(BigQueryConnection, "rows", listening)
    platform.source().progress(["2021-11"])
    (sql,) = asked
    code = "\n".join(line.partition("--")[0] for line in sql.splitlines())
    columns = set(code.replace(",", " ").replace("(", " ").replace(")", " ").split())
    assert not columns & {"feature_names", "@feature_names", "{features}"}
    assert " features," not in code.split("feature_rows AS (")[1].split("FROM")[0]
    assert "*" not in code.split("feature_rows AS (")[1].split("FROM")[0]


@pytest.mark.parametrize("share", [0.5, 0.85, 0.99])
def test_a_half_backfilled_month(bigquery_emulator: BigQueryEmulator, share: float) -> None:
    """Guards against a month that is half there being called trainable."""
    features = features_of(OLD)
    made = make_platform(bigquery_emulator)
    made.load(features.slice(0, int(share * features.num_rows)), summary_of(OLD))
    (found,) = made.source().progress([OLD])
    expected = {0.5: BackfillStatus.PARTIAL, 0.85: BackfillStatus.SUBSTANTIAL, 0.99: BackfillStatus.COMPLETE}
    assert found.status == expected[share]
    assert found.coverage == pytest.approx(share, abs=0.01)


def test_rows_of_another_version_cover_nothing(bigquery_emulator: BigQueryEmulator) -> None:
    """Guards against a month full of an older store's rows being called done, and asked to be trained on."""
    made = make_platform(bigquery_emulator)
    made.load(features_of(OLD), summary_of(OLD))
    made.sql("UPDATE {features} SET feature_version = 'v1_baseline_25' WHERE game_date > '2022-01-15'")
    (found,) = made.source().progress([OLD])
    assert found.features.rows == features_of(OLD).num_rows
    assert found.status == BackfillStatus.PARTIAL
    made.sql("UPDATE {features} SET feature_version = 'v1_baseline_25' WHERE game_date <= '2022-01-15'")
    (found,) = made.source().progress([OLD])
    assert (found.covered, found.status) == (0, BackfillStatus.MISSING)


def test_versions_follow_the_rows(bigquery_emulator: BigQueryEmulator) -> None:
    """Guards against a correction that nobody notices, and against a rebuild that nothing called for."""
    made = make_platform(bigquery_emulator)
    made.load(features_of("2021-10"), summary_of("2021-10"))

    def versions() -> tuple[str, str]:
        (state,) = made.source().progress(["2021-10"])
        return state.features.version, state.played.version

    seen = [versions()]
    assert versions() == seen[0]
    day = "game_date = '2021-10-20'"
    made.sql(f"UPDATE {{features}} SET updated_at = TIMESTAMP_ADD(updated_at, INTERVAL 1 SECOND) WHERE {day}")
    seen.append(versions())
    assert seen[1][0] != seen[0][0]
    assert seen[1][1] == seen[0][1]
    made.sql(f"UPDATE {{summary}} SET points = points + 1 WHERE {day} AND player_lookup = 'stephencurry'")
    made.sql(
        "UPDATE {summary} SET points = points + 1 WHERE game_date = '2021-10-21' AND player_lookup = 'stephencurry'"
    )
    seen.append(versions())
    assert seen[2][0] == seen[1][0]
    assert seen[2][1] != seen[1][1]


def test_a_snapshot_records_the_versions_that_it_was_taken_from(platform: Platform) -> None:
    """Guards against a snapshot that claims to be made from rows that came later."""
    source = platform.source()
    _, inputs = source.read("2021-11")
    (state,) = source.progress(["2021-11"])
    assert inputs == {
        "player_game_summary": {"2021-11": state.played.version},
        "ml_feature_store_v2": {"2021-11": state.features.version},
    }


# --- what BigQuery refuses ------------------------------------------------------------------------------------


def test_a_month_that_the_backfill_has_not_reached(platform: Platform) -> None:
    """Guards against an empty snapshot of a month that is not there."""
    with pytest.raises(
        SourceDataError, match=r"2022-03: the feature table has earlier and later.*0 rows of it.*0 player"
    ):
        platform.source().read("2022-03")


def test_results_without_features_are_named(bigquery_emulator: BigQueryEmulator) -> None:
    """Guards against box scores that came before their features being called an empty month."""
    made = make_platform(bigquery_emulator)
    made.load(summary=summary_of("2021-11"))
    with pytest.raises(SourceDataError, match=r"has not reached this month.* has 4,849 player-games with a result"):
        made.source().read("2021-11")


def test_two_results_of_one_game_are_refused(bigquery_emulator: BigQueryEmulator) -> None:
    """Guards against a target that depends on which of two contradicting rows came first."""
    made = make_platform(bigquery_emulator)
    made.load(features_of("2021-12"), summary_of("2021-12"))
    made.sql(
        "INSERT INTO {summary} (player_lookup, game_date, points, minutes_played) "
        "SELECT player_lookup, game_date, points + 1, minutes_played FROM {summary} "
        "WHERE game_date = '2021-12-01' AND player_lookup = 'nikolajokic'"
    )
    with pytest.raises(SourceDataError, match="1 player-games with two different results: nikolajokic 2021-12-01"):
        made.source().read("2021-12")


NOBODY = "INSERT INTO {summary} (player_lookup, game_date, game_id, points, minutes_played) VALUES "


@pytest.mark.parametrize("lookup", ["NULL", "'', '---'"])
def test_a_result_of_nobody_is_left_out_and_told_of(bigquery_emulator: BigQueryEmulator, lookup: str) -> None:
    """Guards against a row that nobody can use ending the training, and against rows that vanish in silence.

    Observed and read versions leave it out alike, or a month would be asked for again for ever.
    """
    made = make_platform(bigquery_emulator)
    made.load(features_of(OLD), summary_of(OLD))
    lookups = [each.strip() for each in lookup.split(",")]
    made.sql(NOBODY + ", ".join(f"({each}, DATE '2022-01-15', 'x', {n}, 4)" for n, each in enumerate(lookups)))
    rows, inputs = made.source().read(OLD)
    (state,) = made.source().progress([OLD])
    found = take_snapshot(rows, OLD, V2_33FEATURES)
    assert (found.digest, found.counts) == (snapshot_of(OLD).digest, snapshot_of(OLD).counts)
    assert inputs == {
        "player_game_summary": {OLD: state.played.version},
        "ml_feature_store_v2": {OLD: state.features.version},
    }
    assert state.played.rows == found.counts.played
    [note] = rows.notes
    assert f"has {len(lookups)} results without a player_lookup, on 2022-01-15 ({len(lookups)})" in note


def test_many_results_of_nobody_are_refused(bigquery_emulator: BigQueryEmulator) -> None:
    """Guards against a month that is trained on without the players whose names were lost."""
    made = make_platform(bigquery_emulator)
    made.load(features_of("2022-06"), summary_of("2022-06"))
    made.sql("UPDATE {summary} SET player_lookup = NULL WHERE game_date >= '2022-06-01' AND points = 18")
    with pytest.raises(SourceDataError, match=r"^2022-06: .* without a player_lookup, on 2022-06-.* more than 1%"):
        made.source().read("2022-06")


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("nowhere.ml_feature_store_v2", "not found: .*nowhere.*NBA_ML_FEATURE_TABLE"),
        ("{dataset}.no_such_table", "not found: .*no_such_table"),
        ("{dataset}.player_game_summary", r"it lacks features, feature_names, .* Make a view .* docs/"),
    ],
)
def test_a_dataset_table_or_column_that_is_not_there(platform: Platform, table: str, message: str) -> None:
    """Guards against a page of Google's own words for a mistyped table."""
    source = BigQueryFeatureSource(
        connection=platform.emulator.connection(),
        feature_table=table.format(dataset=platform.dataset),
        summary_table=platform.summary,
    )
    with pytest.raises(SourceDataError, match=message):
        source.read("2021-11")


@pytest.mark.parametrize("table", ["features", "a.b.c.d", "d.t` WHERE TRUE; DROP TABLE `d.t", "d.t--", ""])
def test_a_name_that_is_no_table_never_reaches_sql(platform: Platform, table: str) -> None:
    """Guards against SQL in a setting."""
    source = BigQueryFeatureSource(
        connection=platform.emulator.connection(), feature_table=table, summary_table=platform.summary
    )
    with pytest.raises(SettingsError, match="is not a valid BigQuery table"):
        source.read("2021-11")


@pytest.mark.slow
def test_a_query_is_limited_labelled_and_has_parameters() -> None:
    """Guards against a query that costs what nobody agreed to, and one that nobody can find in the bill."""
    with ScriptedService() as scripted:
        scripted.answer_always(refusal(404, "nothing here", "notFound"))
        with pytest.raises(SourceDataError):
            scripted_source(scripted, maximum_bytes_billed=12345).read("2021-11")
    (request,) = scripted.requests
    query = request["configuration"]["query"]
    assert query["maximumBytesBilled"] == "12345"
    assert request["configuration"]["labels"] == {"application": "nba_ml", "query": "month-rows"}
    parameters = {p["name"]: p["parameterValue"]["value"] for p in query["queryParameters"]}
    assert (parameters["first"], parameters["last"]) == ("2021-11-01", "2021-11-30")
    assert "2021-11" not in query["query"]


def scripted_source(scripted: ScriptedService, **connection: object) -> BigQueryFeatureSource:
    return BigQueryFeatureSource(
        connection=scripted.connection(**connection), feature_table="d.features", summary_table="d.summary"
    )


@pytest.mark.slow
def test_a_look_at_the_backfill_ends_when_its_caller_must() -> None:
    """Guards against a sensor that asks a slow BigQuery for longer than its daemon lets it live."""
    with ScriptedService() as scripted:
        scripted.never_finish()
        with pytest.raises(SourceDataError, match=r"(limit of|within) (1|0\.\d|0) s"):  # what is left of it
            scripted_source(scripted, deadline_seconds=20.0).progress(["2021-11"], within=1.0)


# --- doubled rows ---------------------------------------------------------------------------------------------


def versions_of(made: Platform, month: str) -> tuple[str, str]:
    """The versions of the features and of the results, the same whether observed or read."""
    (state,) = made.source().progress([month])
    return state.features.version, state.played.version


SHORT = "2022-06"
"""A month of six games."""


@pytest.fixture
def short(bigquery_emulator: BigQueryEmulator) -> Platform:
    made = make_platform(bigquery_emulator)
    made.load(features_of(SHORT), summary_of(SHORT))
    return made


@pytest.mark.parametrize("times", [2, 4])
@pytest.mark.parametrize("change", ["points = points + 1", "minutes_played = minutes_played + 1"])
def test_a_correction_of_doubled_results_is_seen(short: Platform, times: int, change: str) -> None:
    """Guards against rows that cancel one another out, so that a month never changes again whatever becomes of it."""
    seen = {versions_of(short, SHORT)[1]}
    for _ in range(times - 1):
        short.load(summary=summary_of(SHORT))
    seen.add(versions_of(short, SHORT)[1])
    (state,) = short.source().progress([SHORT])
    assert state.played.rows == summary_of(SHORT).num_rows
    assert state.played.duplicates == (times - 1) * state.played.rows
    assert f"{state.played.duplicates:,} duplicate results" in list(state.notes())
    short.sql(f"UPDATE {{summary}} SET {change} WHERE game_date >= '2022-06-01'")
    seen.add(versions_of(short, SHORT)[1])
    assert len(seen) == 3
    _, inputs = short.source().read(SHORT)
    assert inputs["player_game_summary"][SHORT] in seen


FEATURE_CHANGES = (
    "feature_version = 'v1_baseline_25'",
    "feature_quality_score = feature_quality_score - 1",
    "game_id = CONCAT(game_id, '_2')",
    "early_season_flag = NOT early_season_flag",
    "feature_count = 25",
    "updated_at = TIMESTAMP_SUB(updated_at, INTERVAL 1 HOUR)",
)


@pytest.mark.parametrize("where", ["game_date >= '2022-06-01'", "game_date = '2022-06-02'"])
def test_a_change_of_doubled_feature_rows_is_seen(short: Platform, where: str) -> None:
    """Guards as above, for whatever is read of a row beside its arrays: the newest update may stay what it was."""
    short.load(features_of(SHORT))
    (state,) = short.source().progress([SHORT])
    assert state.features.duplicates == features_of(SHORT).num_rows
    assert f"{state.features.duplicates:,} duplicate feature rows" in list(state.notes())
    seen = {state.features.version}
    for n, change in enumerate(FEATURE_CHANGES, 2):
        short.sql(f"UPDATE {{features}} SET {change} WHERE {where}")
        features, played = versions_of(short, SHORT)
        assert played == state.played.version
        seen.add(features)
        assert len(seen) == n, change
    _, inputs = short.source().read(SHORT)
    assert (inputs["ml_feature_store_v2"][SHORT], inputs["player_game_summary"][SHORT]) == (features, played)


def test_rows_without_some_values_count_too(short: Platform) -> None:
    """Guards against one NULL that takes a row, and its corrections, out of the version; and against a silent one."""
    short.sql("UPDATE {features} SET updated_at = NULL, game_id = NULL WHERE game_date = '2022-06-02'")
    before = versions_of(short, SHORT)
    (state,) = short.source().progress([SHORT])
    assert state.undated == sum(str(day) == "2022-06-02" for day in features_of(SHORT).column("game_date").to_pylist())
    assert any("without updated_at" in note for note in state.notes())
    short.sql("UPDATE {features} SET feature_quality_score = 1 WHERE game_date = '2022-06-02'")
    assert versions_of(short, SHORT)[0] != before[0]
    _, inputs = short.source().read(SHORT)
    assert inputs["ml_feature_store_v2"][SHORT] == versions_of(short, SHORT)[0]


def test_values_do_not_run_into_one_another(short: Platform) -> None:
    """Guards against two different rows with one digest, because what parts their values stands in one of them."""
    seen = set()
    for game_id, version in (("a|b", "c"), ("a", "b|c"), ('a","feature_version":"b', "c"), ("a", "c")):
        short.sql(
            f"UPDATE {{features}} SET game_id = '{game_id}', feature_version = '{version}' "
            "WHERE game_date >= '2022-06-01'"
        )
        seen.add(versions_of(short, SHORT)[0])
    assert len(seen) == 4


# --- results that are not there -------------------------------------------------------------------------------

MORNING_AFTER = datetime(2022, 6, 11, 15, 59, tzinfo=UTC)
"""11:59 in New York, the day after the game of June 10th."""
NOON_AFTER = datetime(2022, 6, 11, 16, 0, tzinfo=UTC)


def players_on(*days: str) -> int:
    return sum(str(day) in days for day in features_of(SHORT).column("game_date").to_pylist())


@pytest.mark.parametrize("gone", ["TRUE", "points"])
@pytest.mark.parametrize("now", [MORNING_AFTER, NOON_AFTER])
def test_results_of_a_day_that_are_not_there(short: Platform, gone: str, now: datetime) -> None:
    """Guards against a day without box scores that reads as complete, and against blaming tonight's games."""
    if gone == "TRUE":
        short.sql("DELETE FROM {summary} WHERE game_date IN ('2022-06-05', '2022-06-10')")
    else:
        short.sql("UPDATE {summary} SET points = NULL WHERE game_date IN ('2022-06-05', '2022-06-10')")
    (state,) = short.source().progress([SHORT], now=now)
    due = ["2022-06-05", "2022-06-10"] if now == NOON_AFTER else ["2022-06-05"]
    assert [str(day) for day in state.missing] == due
    assert [str(day) for day in state.awaited] == [d for d in ("2022-06-10",) if d not in due]
    assert state.missing_results == players_on(*due)
    assert state.coverage == state.covered / (state.played.rows + state.missing_results) < 0.9
    assert f"results missing: {', '.join(due)} ({players_on(*due)} player-games with features)" in list(state.notes())
    rows, _ = short.source().read(SHORT)
    counts = take_snapshot(rows, SHORT, V2_33FEATURES, last_date_due(now)).counts
    assert (counts.missing_results, counts.missing_dates) == (players_on(*due), ", ".join(due))
    assert counts.coverage == state.coverage


@pytest.mark.parametrize("without", ["game_id = game_id", "game_id = NULL", "game_id = 'elsewhere'"])
def test_who_did_not_play_has_no_result_to_miss(short: Platform, without: str) -> None:
    """Guards against a bench that counts as missing, and against tables that write the id of a game differently."""
    short.sql(f"UPDATE {{features}} SET {without} WHERE game_date >= '2022-06-01'")
    short.sql("UPDATE {summary} SET minutes_played = 0, points = 0 WHERE game_date = '2022-06-05' AND points < 20")
    short.sql("DELETE FROM {summary} WHERE game_date = '2022-06-10' AND points < 20")
    (state,) = short.source().progress([SHORT], now=NOON_AFTER)
    assert (state.missing, state.awaited) == ({}, {})
    rows, _ = short.source().read(SHORT)
    assert take_snapshot(rows, SHORT, V2_33FEATURES).counts.missing_results == 0


def test_of_two_games_on_a_day_the_one_without_results_is_missing(bigquery_emulator: BigQueryEmulator) -> None:
    """Guards against one game's box scores that stand for all of the night's."""
    made = make_platform(bigquery_emulator)
    made.load(features_of("2021-10"), summary_of("2021-10"))
    made.sql("DELETE FROM {summary} WHERE game_date = '2021-10-20' AND game_id LIKE '%_CHI_%'")
    (state,) = made.source().progress(["2021-10"])
    games = zip(*(features_of("2021-10").column(n).to_pylist() for n in ("game_date", "game_id")), strict=True)
    expected = sum(str(day) == "2021-10-20" and "_CHI_" in game for day, game in games)
    assert {str(day): n for day, n in state.missing.items()} == {"2021-10-20": expected}
    assert 0 < expected < 40
    rows, _ = made.source().read("2021-10")
    assert take_snapshot(rows, "2021-10", V2_33FEATURES).counts.missing_results == expected


@pytest.mark.parametrize(
    ("due", "message"),
    [
        (date.max, r"^2022-06 has no results yet: \d+ feature rows.*missing: 2022-06-02, .*Load the box scores"),
        (date(2022, 6, 1), r"^2022-06 has no results yet: .*None are due yet: the games are on 2022-06-02, "),
    ],
)
def test_a_month_with_features_and_no_results(short: Platform, due: date, message: str) -> None:
    """Guards against a snapshot of nothing with a coverage of 100%, published as the last month's model."""
    short.sql("DELETE FROM {summary} WHERE game_date >= '2022-06-01'")
    (state,) = short.source().progress([SHORT])
    assert (state.status, state.trainable, state.coverage) == (BackfillStatus.MISSING, False, 0.0)
    rows, _ = short.source().read(SHORT)
    with pytest.raises(SourceDataError, match=message):
        take_snapshot(rows, SHORT, V2_33FEATURES, due)
