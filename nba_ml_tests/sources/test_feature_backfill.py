"""Features computed in BigQuery, on the emulator: the embedded ones to the bit, and what a MERGE leaves alone.

A script takes the emulator a quarter of a minute, whatever the number of rows. So the tests share what a few runs left.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from sqlglot import exp, parse_one

from nba_ml.contract.errors import SourceDataError
from nba_ml.contract.features import V2_33FEATURES, V3_FEATURES
from nba_ml.contract.game_types import GameType
from nba_ml.contract.season import month_bounds
from nba_ml.data.features import compute_features
from nba_ml.data.tables import PLAYER_GAME_SUMMARY, PROP_LINES
from nba_ml.data.upcoming import UpcomingGame, UpcomingPlayer, upcoming_rows, with_upcoming
from nba_ml.defs.assets import feature_backfill
from nba_ml.sources.feature_backfill import BigQueryFeatureBackfill
from nba_ml_tests.cli.command import Home
from nba_ml_tests.cloud.bigquery import BigQueryEmulator, Platform, make_platform
from nba_ml_tests.cloud.feature_tables import differing_columns, make_backfill, stored_features
from nba_ml_tests.conftest import COMPUTED_AT, summary_of

BEFORE, MONTH = "2022-05", "2022-06"
"""June has six games; May is its history."""

IN_MONTH = "game_date BETWEEN '2022-06-01' AND '2022-06-30'"


def own_summary() -> pa.Table:
    return pa.concat_tables([summary_of(BEFORE), summary_of(MONTH)])


def own_lines() -> pa.Table:
    """Lines of two books, some of them without an id, and of nobody."""
    players = summary_of(MONTH).select(["universal_player_id", "player_lookup", "game_date"]).to_pylist()
    rows = [
        {**row, "book": book, "line": 10.5 + number % 7 + extra}
        for number, row in enumerate(players)
        if number % 3
        for book, extra in (("a", 0.0), ("a", 2.0), ("b", 0.5))
    ]
    rows += [{**rows[0], "universal_player_id": None, "player_lookup": "nobody"}]
    unnamed = [{**row, "universal_player_id": None} if number % 5 == 0 else row for number, row in enumerate(rows)]
    return pa.Table.from_pylist(unnamed, PROP_LINES)


def platform_summary() -> pa.Table:
    """The same box scores as the platform has them: parts of minutes, capitals, older versions, who did not play."""
    own = own_summary()
    minutes = pc.max_element_wise(pc.subtract(own["minutes_played"].cast(pa.float64()), 0.3), 0.2)
    names = pc.utf8_upper(own["player_lookup"])
    newest = own.set_column(own.schema.get_field_index("minutes_played"), "minutes_played", minutes)
    newest = newest.set_column(0, "player_lookup", names)
    count = newest.num_rows
    newest = newest.append_column("record_version", pa.repeat(2, count)).append_column(
        "is_dnp", pa.repeat(False, count)
    )
    columns = newest.schema
    old = newest.slice(0, 50).to_pylist()
    older = [{**row, "record_version": 1, "points": row["points"] + 30} for row in old]
    absent = [{**row, "player_lookup": f"absent{n}", "minutes_played": None} for n, row in enumerate(old)]
    dnp = [{**row, "player_lookup": f"benched{n}", "minutes_played": 0.0, "is_dnp": True} for n, row in enumerate(old)]
    return pa.concat_tables([newest, *(pa.Table.from_pylist(rows, columns) for rows in (older, absent, dnp))])


@dataclass(frozen=True)
class Scene:
    """Tables, and what the first run left: its record in Dagster, and the rows."""

    platform: Platform
    backfill: BigQueryFeatureBackfill
    home: Home
    event: dg.AssetMaterialization
    rows: pa.Table

    def count(self, where: str) -> int:
        found = self.platform.emulator.client.query_and_wait(
            f"SELECT COUNT(*) AS n FROM {self.platform.features} WHERE {where}"
        )
        return int(next(iter(found))["n"])

    def stored(self) -> pa.Table:
        return stored_features(self.platform, V2_33FEATURES, MONTH, MONTH)


@pytest.fixture(scope="module")
def scene(bigquery_emulator: BigQueryEmulator, tmp_path_factory: pytest.TempPathFactory) -> Scene:
    platform = make_platform(bigquery_emulator)
    backfill = make_backfill(platform, platform_summary(), own_lines())
    other = expected().slice(0, 1)
    other = other.set_column(other.schema.get_field_index("data_source"), "data_source", pa.array(["phase3"]))
    platform.load(other)
    environment = {
        **platform.environment,
        "NBA_ML_SUMMARY_TABLE": backfill.summary_table,
        "NBA_ML_LINES_TABLE": str(backfill.lines_table),
    }
    months = dg.MonthlyPartitionsDefinition(start_date="2021-10", end_date="2022-07", fmt="%Y-%m")
    result = dg.materialize(
        [feature_backfill.build(months)], partition_key=MONTH, resources={"feature_backfill": backfill}
    )
    [event] = result.asset_materializations_for_node("feature_backfill")
    home = Home(tmp_path_factory.mktemp("backfill") / "home", settings=environment)
    return Scene(platform, backfill, home, event, stored_features(platform, V2_33FEATURES, MONTH, MONTH))


def expected() -> pa.Table:
    return compute_features(own_summary(), own_lines(), *month_bounds(MONTH), computed_at=COMPUTED_AT)


def assert_same(found: pa.Table, before: pa.Table) -> None:
    assert differing_columns(found, before) == []
    assert found["updated_at"].equals(before["updated_at"])


def test_the_features_are_the_embedded_ones_to_the_bit(scene: Scene) -> None:
    """Guards the translation, the rounding, and how the platform's form of the box scores is read."""
    own = scene.rows.filter(pc.equal(scene.rows["data_source"], "box_scores"))
    assert own.num_rows == expected().num_rows - 1
    assert differing_columns(own, expected().slice(1)) == []
    position = V2_33FEATURES.names.index("vegas_points_line")
    assert sum(row[position] == row[position] for row in own["features"].to_pylist()) > 50


def test_dagster_records_what_was_written(scene: Scene) -> None:
    recorded = {name: scene.event.metadata[name].value for name in ("rows", "rows_changed", "rows_of_other_writers")}
    total = expected().num_rows
    assert recorded == {"rows": total, "rows_changed": total - 1, "rows_of_other_writers": 1}
    assert scene.event.metadata["bigquery_bytes_billed"].value == 0, "the emulator bills nothing"


def test_only_what_differs_is_written_again(scene: Scene) -> None:
    """Guards against new data versions of months in which nothing changed, and against rows that should be gone."""
    features = scene.platform.features
    chosen = scene.rows["player_lookup"].to_pylist()[5:7]
    scene.platform.sql(
        f"UPDATE {features} SET feature_quality_score = 1 WHERE {IN_MONTH} AND game_date = '2022-06-02' "
        f"AND player_lookup = '{chosen[0]}'"
    )
    scene.platform.sql(f"DELETE FROM {features} WHERE game_date = '2022-06-02' AND player_lookup = '{chosen[1]}'")
    stale = expected().slice(20, 1)
    scene.platform.load(stale.set_column(0, "player_lookup", pa.array(["nobody"])))
    done = scene.home.run_here("features", "--to-bigquery", "--from", MONTH)
    assert done.returncode == 0, done.stderr
    rows = expected().num_rows
    assert f"{MONTH} (1 of 1): {rows:,} rows, 3 changed, 1 rows of other writers kept; 0.0 MB billed" in done.stdout
    again = scene.stored()
    assert differing_columns(again, scene.rows) == []
    unchanged = [a == b for a, b in zip(*(each["updated_at"].to_pylist() for each in (again, scene.rows)), strict=True)]
    assert unchanged.count(False) == 2


def test_box_scores_that_break_the_rules_change_nothing(scene: Scene) -> None:
    twice = platform_summary().filter(pc.equal(platform_summary()["game_date"], month_bounds(MONTH)[0].replace(day=2)))
    scene.platform.append(scene.backfill.summary_table, twice.slice(0, 1))
    before = scene.stored()
    try:
        with pytest.raises(SourceDataError, match=r"2022-06: box scores .* player \w+ has 2 rows on 2022-06-02"):
            scene.backfill.write(MONTH)
    finally:
        scene.platform.sql(f"DELETE FROM {scene.backfill.summary_table} WHERE game_date = '2022-06-02'")
        scene.platform.append(scene.backfill.summary_table, twice)
    assert_same(scene.stored(), before)


def test_a_killed_run_leaves_whole_months(scene: Scene) -> None:
    scene.platform.sql(f"DELETE FROM {scene.platform.features} WHERE game_date > '2000-01-01'")
    process = scene.home.start("features", "--to-bigquery", "--from", BEFORE, "--to", MONTH)
    assert process.stdout is not None
    assert any("(1 of 2)" in line for line in iter(process.stdout.readline, ""))
    process.kill()
    process.communicate()
    client = scene.platform.emulator.client
    for _ in range(300):  # what the emulator began for the killed process, it ends
        if not any(client.list_jobs(state_filter="running")):
            break
        time.sleep(0.2)
    assert scene.count("game_date BETWEEN '2022-05-01' AND '2022-05-31'") == summary_of(BEFORE).num_rows
    assert scene.count(IN_MONTH) in (0, summary_of(MONTH).num_rows)


def test_what_it_would_bill_is_shown_and_limited(scene: Scene) -> None:
    """The emulator reads nothing in a dry run: what is left is the least that BigQuery bills for each table."""
    command = ("features", "--to-bigquery", "--from", BEFORE, "--to", MONTH)
    before = scene.stored()
    shown = scene.home.run_here(*command, "--dry-run")
    assert shown.returncode == 0, shown.stderr
    assert "2022-05: at least 367.0 MB, of which stored tables 31.5 MB." in shown.stdout
    assert "2 month(s) would bill at least 734.0 MB." in shown.stdout
    refused = scene.home.run_here(*command, "--max-bytes", "1000")
    assert refused.returncode == 2
    assert "2022-05: computing the features would bill at least" in refused.stderr
    assert_same(scene.stored(), before)


def test_a_table_without_the_columns_is_named(scene: Scene) -> None:
    narrow = BigQueryFeatureBackfill(scene.backfill.connection, scene.platform.features, scene.platform.summary)
    with pytest.raises(SourceDataError, match=r"lacks season, playoffs, .* set NBA_ML_SUMMARY_TABLE to it"):
        narrow.estimate(MONTH)


def test_every_condition_of_the_merge_names_the_partition(scene: Scene) -> None:
    """BigQuery demands it where the table requires a filter, and reads the whole table where it is missing; the
    emulator does neither."""
    text = scene.backfill.script(MONTH)
    merge = parse_one(text[text.index("MERGE `") : text.index("SET changed")].rstrip().rstrip(";"), dialect="bigquery")
    assert isinstance(merge, exp.Merge)
    of_target = [when.args["condition"] for when in merge.args["whens"].expressions if when.args["condition"]]
    assert len(of_target) == 2
    for condition in (merge.args["on"], *of_target):
        days = [each for each in condition.find_all(exp.Between) if each.this.sql() == "stored.game_date"]
        assert [day.args["low"].sql("bigquery") for day in days] == ["CAST('2022-06-01' AS DATE)"]


# --- games to be played ---------------------------------------------------------------------------------------


def test_the_features_of_games_to_be_played(bigquery_emulator: BigQueryEmulator) -> None:
    """Guards tonight's rows of a version that the platform does not write: those of the embedded source to the bit, for
    the players of its own rows, and without a look at the date's results, which are in the table here."""
    day = own_summary()["game_date"][-1].as_py()
    platform = make_platform(bigquery_emulator)
    backfill = replace(make_backfill(platform, platform_summary(), own_lines()), version=V3_FEATURES)
    with pytest.raises(SourceDataError, match=rf"{day}: .* has no rows of v2_33features on that date\. They say who"):
        backfill.write(day)
    platform.load(expected().filter(pc.equal(expected()["game_date"], pa.scalar(day, pa.date32()))))
    played = own_summary().to_pylist()
    history = pa.Table.from_pylist([row for row in played if row["game_date"] < day], PLAYER_GAME_SUMMARY)
    tonight = [row for row in played if row["game_date"] == day]
    [(away, home)] = {tuple(row["game_id"].split("_")[1:]) for row in tonight}
    players = [
        UpcomingPlayer(int(row["universal_player_id"]), row["player_name"], row["player_lookup"], row["team_abbr"])
        for row in tonight
    ]
    rows = upcoming_rows([UpcomingGame(day, away, home, game_type=GameType.PLAYOFFS)], players)
    embedded = compute_features(
        with_upcoming(history, rows), own_lines(), day, day, computed_at=COMPUTED_AT, version=V3_FEATURES
    )
    done = backfill.write(day)
    assert (done.rows, done.changed) == (len(tonight), len(tonight))
    assert differing_columns(stored_features(platform, V3_FEATURES, MONTH, MONTH), embedded) == []
