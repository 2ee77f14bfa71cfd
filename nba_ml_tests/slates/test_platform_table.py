"""A slate in the platform's own table, in the three forms that it has had, and what its graders find there."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal
from functools import cache
from pathlib import Path

import pyarrow as pa
import pytest
from google.api_core.exceptions import ServiceUnavailable
from google.cloud import bigquery

from nba_ml.contract.errors import SettingsError, SlateError
from nba_ml.contract.features import V2_33FEATURES
from nba_ml.data.tables import PLATFORM_PREDICTIONS
from nba_ml.settings import Settings
from nba_ml.slates.operations import send_slate
from nba_ml.slates.platform_rows import counted_rows
from nba_ml.slates.prediction_columns import TableFit, require_kept
from nba_ml.slates.prediction_rows import REQUIRED
from nba_ml.slates.prediction_table import BigQueryPredictionTable, P, T
from nba_ml.slates.slate import Slate, score_slate
from nba_ml.slates.store import SlateStore
from nba_ml.sources.platform_predictions import BigQueryPlatformPredictions
from nba_ml.storage.directory import DirectoryStore
from nba_ml_tests.cloud.bigquery import PROJECT, BigQueryEmulator
from nba_ml_tests.cloud.datasets import make_dataset
from nba_ml_tests.slate_scene import BEFORE_THE_GAMES, DAY, slate_rows_of, systems
from nba_ml_tests.slates.test_prediction_table import Table

_FIRST = """
    prediction_id STRING! system_id STRING! player_lookup STRING! universal_player_id STRING game_date DATE!
    game_id STRING! prediction_version INT64! predicted_points NUMERIC(5,1)! confidence_score NUMERIC(5,2)!
    recommendation STRING! has_prop_line BOOL similarity_baseline NUMERIC(5,1) fatigue_adjustment NUMERIC(5,2)
    similar_games_count INT64 avg_similarity_score NUMERIC(5,2) min_similarity_score NUMERIC(5,2)
    current_points_line NUMERIC(4,1) line_margin NUMERIC(5,2) ml_model_id STRING line_source STRING
    estimated_line_value NUMERIC(4,1) estimation_method STRING prediction_variance NUMERIC(5,2)
    system_agreement_score NUMERIC(5,2) contributing_systems INT64 key_factors JSON warnings JSON
    completeness_percentage FLOAT64 is_active BOOL! superseded_by STRING created_at TIMESTAMP! updated_at TIMESTAMP
"""
_SECOND = """
    line_source_api STRING sportsbook STRING was_line_fallback BOOL injury_status_at_prediction STRING
    injury_flag_at_prediction BOOL injury_checked_at TIMESTAMP invalidation_reason STRING invalidated_at TIMESTAMP
"""
_THIRD = """
    model_file_name STRING model_training_start_date DATE model_training_end_date DATE model_expected_mae FLOAT64
    model_trained_at TIMESTAMP prediction_made_before_game BOOL
"""
EPOCHS = {"first": _FIRST, "second": _FIRST + _SECOND, "third": _FIRST + _SECOND + _THIRD}


def field(name: str, text: str) -> bigquery.SchemaField:
    """'NUMERIC(5,1)!' as a column."""
    kind, _, parameters = text.rstrip("!").partition("(")
    numbers = dict(zip(("precision", "scale"), parameters.rstrip(")").split(","), strict=False)) if parameters else {}
    mode = "REQUIRED" if text.endswith("!") else "NULLABLE"
    return bigquery.SchemaField.from_api_repr({"name": name, "type": kind, "mode": mode, **numbers})


def schema_of(epoch: str) -> list[bigquery.SchemaField]:
    words = EPOCHS[epoch].split()
    schema = [field(name, text) for name, text in zip(words[::2], words[1::2], strict=True)]
    return [*schema, bigquery.SchemaField("data_quality_issues", "STRING", mode="REPEATED")]


def platform_table(
    emulator: BigQueryEmulator, epoch: str, folder: Path, schema: list[bigquery.SchemaField] | None = None
) -> Table:
    dataset = make_dataset(emulator.client)
    schema = schema or schema_of(epoch)
    made = bigquery.Table(f"{PROJECT}.{dataset}.player_prop_predictions", schema=schema)
    made.time_partitioning = bigquery.TimePartitioning(field="game_date")
    names = {field.name for field in schema}
    clustered = ["system_id", "player_lookup", "confidence_score", "game_date"]
    made.clustering_fields = [name for name in clustered if name in names]
    made.require_partition_filter = True
    emulator.client.create_table(made)
    return Table(emulator, f"{dataset}.player_prop_predictions", SlateStore(DirectoryStore(folder)))


@cache
def with_lines(rule: str | None = None, serial: int = 7, out: int = 0) -> Slate:
    """The day's slate, every third player with a points line, without the first players if some are `out`."""
    rows = slate_rows_of(DAY).slice(out)
    line, has, opening, move = (
        V2_33FEATURES.index(name)
        for name in ("vegas_points_line", "has_vegas_line", "vegas_opening_line", "vegas_line_move")
    )
    vectors = rows.column("features").to_pylist()
    for number, vector in enumerate(vectors):
        if number % 3 == 0:
            vector[line], vector[has], vector[opening], vector[move] = 14.5, 1.0, 14.5, 0.0
    rows = rows.set_column(
        rows.schema.get_field_index("features"),
        rows.schema.field("features"),
        pa.array(vectors, rows.schema.field("features").type),
    )
    return score_slate(rows, systems(rule, 50 if rule else 0, serial), DAY, BEFORE_THE_GAMES)


GRADED = """
    SELECT * FROM {table} WHERE game_date = @day AND is_active = TRUE {valid}
      AND ((line_source IN ('ACTUAL_PROP', 'ODDS_API', 'BETTINGPROS')
            AND current_points_line IS NOT NULL AND current_points_line != 20.0)
           OR line_source = 'NO_PROP_LINE')
    QUALIFY ROW_NUMBER() OVER (PARTITION BY player_lookup, game_id, system_id ORDER BY created_at DESC) = 1
    ORDER BY player_lookup
"""
"""What the platform's graders take."""


@pytest.mark.parametrize("epoch", EPOCHS)
def test_every_epoch_takes_a_slate_once_and_its_graders_find_every_row(
    bigquery_emulator: BigQueryEmulator, epoch: str, tmp_path: Path
) -> None:
    """Guards against a default table that is refused, and rows that the graders skip in silence."""
    table = platform_table(bigquery_emulator, epoch, tmp_path)
    kept = table.store.keep(with_lines("mock"))
    ids = {"xgboost_v1": "nba_ml_v1", "challenger": "nba_ml_mock"}
    writer = table.writer()
    writer.system_ids = ids
    first, again = (send_slate(writer, table.store, kept).written for _ in range(2))
    assert (first.loaded, again.loaded, first.rows) == (True, False, kept.slate.report.served)
    valid = "" if epoch == "first" else "AND invalidation_reason IS NULL"
    sql = GRADED.format(table=table.name, valid=valid)
    rows = table.emulator.connection().rows(sql, {"day": DAY}, "test").to_pylist()
    made = sorted(kept.slate.served.to_pylist(), key=lambda row: row["player_lookup"])
    assert len(rows) == len(made) == kept.slate.report.served > 200
    assert {row["line_source"] for row in rows} == {"ACTUAL_PROP", "NO_PROP_LINE"}
    for row, one in zip(rows, made, strict=True):
        assert row["system_id"] == {"xgboost_v1": "nba_ml_v1", "mock": "nba_ml_mock"}[one["system_id"]]
        assert abs(row["predicted_points"] - Decimal(str(one["predicted_points"]))) <= Decimal("0.05")
        assert row["predicted_points"] == round(row["predicted_points"], 1)
        assert (row["confidence_score"] == 0) is (one["system_id"] == "mock")
        assert row["has_prop_line"] is (row["current_points_line"] is not None) is (row["line_source"] == "ACTUAL_PROP")
        assert (row["ml_model_id"], row["prediction_version"]) == (one["model_version"], 1)
        assert row["prediction_id"].startswith(kept.slate_id)


def test_versions_are_told_apart_without_a_column_for_them(bigquery_emulator: BigQueryEmulator, tmp_path: Path) -> None:
    """Guards against two active rows of a player, game and system, whoever wrote the first."""
    table = platform_table(bigquery_emulator, "first", tmp_path)
    player, game = (with_lines().served.column(name)[0].as_py() for name in ("player_lookup", "game_id"))
    for system_id in ("xgboost_v1", "zone_matchup_v1"):
        table.sql(
            f"INSERT INTO {table.name} (prediction_id, system_id, player_lookup, game_date, game_id, "
            "prediction_version, predicted_points, confidence_score, recommendation, is_active, created_at) VALUES "
            f"('theirs', '{system_id}', '{player}', DATE '{DAY}', '{game}', 1, 20, 50, 'PASS', TRUE, TIMESTAMP '{DAY}')"
        )
    first = table.store.keep(with_lines())
    assert send_slate(table.writer(), table.store, first).written.retired == 1
    second = table.store.keep(with_lines(serial=8))
    assert send_slate(table.writer(), table.store, second).written.retired == first.slate.report.served
    keys = f"SELECT prediction_id, system_id FROM {table.name} WHERE game_date = @day AND is_active"
    active = table.emulator.connection().rows(keys, {"day": DAY}, "test").to_pylist()
    assert [row["system_id"] for row in active if row["prediction_id"] == "theirs"] == ["zone_matchup_v1"]
    ours = [row for row in active if row["prediction_id"] != "theirs"]
    assert len(ours) == second.slate.report.served
    assert all(row["prediction_id"].startswith(second.slate_id) for row in ours)


@pytest.mark.parametrize("theirs", ["mock", "mock_v2"])
def test_a_challenger_takes_no_system_id_that_is_live(
    bigquery_emulator: BigQueryEmulator, theirs: str, tmp_path: Path
) -> None:
    """Guards against a challenger's predictions under the name of a system of the platform."""
    table = platform_table(bigquery_emulator, "first", tmp_path)
    table.sql(
        f"INSERT INTO {table.name} (prediction_id, system_id, player_lookup, game_date, game_id, prediction_version, "
        "predicted_points, confidence_score, recommendation, is_active, created_at) VALUES "
        f"('x', '{theirs}', 'p', DATE '2022-01-10', 'g', 1, 20, 50, 'PASS', TRUE, TIMESTAMP '2022-01-10')"
    )
    kept, writer = table.store.keep(with_lines("mock")), table.writer()
    if theirs == "mock":
        with pytest.raises(SlateError, match=r"1 active rows of other writers have too.*NBA_ML_SYSTEM_IDS=challenger="):
            writer.write(kept, is_current=True)
        writer.system_ids = {"challenger": "mock"}
    assert writer.write(kept, is_current=True).loaded


NO_KEY = {
    "first epoch": [field for field in schema_of("first") if field.name != "prediction_id"],
    "six columns": [field for field in schema_of("first") if field.name in REQUIRED],
}
"""Tables without a column that holds the slate's id."""


class Losing(BigQueryPredictionTable):
    """Loses the answer to the first statement that it starts, which BigQuery runs all the same."""

    lost = 0

    def _retried(self, function: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
        def losing(*arguments: P.args, **named: P.kwargs) -> T:
            answer = function(*arguments, **named)
            if isinstance(answer, tuple) and not self.lost:
                self.lost += 1
                raise ServiceUnavailable("the answer is lost")
            return answer

        return super()._retried(losing, *arguments, **named)


@pytest.mark.parametrize("form", NO_KEY)
def test_a_table_without_a_slates_id_takes_it_once_by_the_id_of_the_job(
    bigquery_emulator: BigQueryEmulator, form: str, tmp_path: Path
) -> None:
    """Guards against a slate that is written twice, two active rows, and a player who is out and still active."""
    table = platform_table(bigquery_emulator, "first", tmp_path, NO_KEY[form])
    slate = with_lines()
    player, game = (slate.served.column(name)[0].as_py() for name in ("player_lookup", "game_id"))
    values = {
        **{"player_lookup": f"'{player}'", "game_date": f"DATE '{DAY}'", "game_id": f"'{game}'"},
        **{"predicted_points": "3", "is_active": "TRUE", "prediction_version": "1", "confidence_score": "50"},
        **{"recommendation": "'PASS'", "created_at": f"TIMESTAMP '{DAY}'", "system_id": "'xgboost_v1'"},
    }
    there = {field.name for field in NO_KEY[form]}
    for system_id in ("'xgboost_v1'", "'zone_matchup_v1'"):
        row = {name: value for name, value in {**values, "system_id": system_id}.items() if name in there}
        table.sql(f"INSERT INTO {table.name} ({', '.join(row)}) VALUES ({', '.join(row.values())})")

    def active() -> dict[str, list[Decimal]]:
        sql = f"SELECT player_lookup, predicted_points FROM {table.name} WHERE game_date = @day AND is_active " + (
            "AND system_id = 'xgboost_v1'"
        )
        found: dict[str, list[Decimal]] = {}
        for each in table.emulator.connection().rows(sql, {"day": DAY}, "test").to_pylist():
            found.setdefault(each["player_lookup"], []).append(each["predicted_points"])
        return found

    def predicted(slate: Slate) -> dict[str, list[Decimal]]:
        places = Decimal("0.1")
        return {
            row["player_lookup"]: [Decimal(str(row["predicted_points"])).quantize(places, ROUND_HALF_UP)]
            for row in slate.served.to_pylist()
        }

    writer = Losing(table.emulator.connection(), table.name)
    first = table.store.keep(slate)
    written = [send_slate(writer, table.store, first).written for _ in range(2)]
    assert (writer.lost, [each.rows for each in written]) == (1, [slate.report.served] * 2)
    assert active() == predicted(slate)
    second = table.store.keep(with_lines(serial=8, out=5))
    assert send_slate(table.writer(), table.store, second).written.retired == slate.report.served
    assert active() == predicted(second.slate)
    late = send_slate(table.writer(), table.store, first)
    assert (late.current and late.current[0].number, active()) == (2, predicted(second.slate))
    count = f"SELECT COUNT(*) AS n FROM {table.name} WHERE game_date = @day"
    rows = table.emulator.connection().rows(count, {"day": DAY}, "test").to_pylist()
    assert rows == [{"n": 2 + first.slate.report.served + second.slate.report.served}]
    table.sql(f"UPDATE {table.name} SET is_active = FALSE WHERE game_date = '{DAY}' AND player_lookup != '{player}'")
    with pytest.raises(SlateError, match=r"has 0 of the .* rows that job .*Correct is_active of 2022-01-15"):
        table.writer().write(second, is_current=True)


def test_a_challengers_id_must_be_named_for_a_table_without_a_slates_id(
    bigquery_emulator: BigQueryEmulator, tmp_path: Path
) -> None:
    """Guards against a challenger under the id of a system of the platform, where nobody can tell the rows apart."""
    table = platform_table(bigquery_emulator, "first", tmp_path, NO_KEY["six columns"])
    kept, writer = table.store.keep(with_lines("mock")), table.writer()
    assert writer.write(kept, is_current=True).loaded
    with pytest.raises(SlateError, match=r"active rows of other writers have too.*NBA_ML_SYSTEM_IDS=challenger="):
        writer.write(kept, is_current=True)
    writer.system_ids = {"challenger": "mock"}
    assert not writer.write(kept, is_current=True).loaded


# --- without a server -----------------------------------------------------------------------------------------------


def test_what_a_table_loses_is_shown_at_once() -> None:
    """Guards against one complaint after the other while production is altered."""
    lines = list(TableFit("`p.d.t`", schema_of("third")).report().lines())
    shown = {line.split()[0]: line for line in lines}
    assert "filled, rounded to 1 decimals" in shown["predicted_points"]
    assert "not written" in shown["points_low"]
    assert "predictions in shadow are not written" in shown["role"]
    assert "left out" in shown["key_factors"]
    assert lines[-1].startswith("To add what is missing: ALTER TABLE `p.d.t` ADD COLUMN model_version STRING")
    assert lines[-1].count("ADD COLUMN") == 11
    assert any("known by its job's id" in line for line in TableFit("`p.d.t`", NO_KEY["six columns"]).report().lines())
    required = [*schema_of("third"), bigquery.SchemaField("sport", "STRING", mode="REQUIRED")]
    assert "a slate cannot be written" in list(TableFit("`p.d.t`", required).report().lines())[-2]


@pytest.mark.parametrize("default", [None, "'nba'"])
def test_a_required_column_with_a_default_is_no_obstacle(default: str | None) -> None:
    """Guards against a refusal where BigQuery fills the column itself."""
    sport = bigquery.SchemaField("sport", "STRING", mode="REQUIRED", default_value_expression=default)
    faults = TableFit("t", [*schema_of("first"), sport]).faults
    assert faults == ([] if default else ["sport is REQUIRED but not a column of slates"])


@pytest.mark.parametrize(
    ("now", "kept"), [(datetime(2023, 1, 14, 23, tzinfo=UTC), True), (datetime(2023, 1, 15, tzinfo=UTC), False)]
)
def test_a_date_whose_partition_has_expired_is_refused(now: datetime, kept: bool) -> None:
    """Guards against rows that are loaded, counted and deleted within a day."""
    table = bigquery.Table("p.d.t")
    table.time_partitioning = bigquery.TimePartitioning(field="game_date", expiration_ms=365 * 86_400_000)
    if kept:
        require_kept("t", table, DAY, now)
        return
    with pytest.raises(SlateError, match="keeps its partitions for 365 days, so that of 2022-01-15 has expired"):
        require_kept("t", table, DAY, now)


def test_an_expired_date_is_refused_before_anything_is_sent(
    bigquery_emulator: BigQueryEmulator, tmp_path: Path
) -> None:
    """Guards as above, with a server."""
    table = platform_table(bigquery_emulator, "first", tmp_path)
    made = bigquery.Table(f"{PROJECT}.{table.name}_2", schema=schema_of("first"))
    made.time_partitioning = bigquery.TimePartitioning(field="game_date", expiration_ms=365 * 86_400_000)
    bigquery_emulator.client.create_table(made)
    there = Table(bigquery_emulator, f"{table.name}_2", table.store)
    with pytest.raises(SlateError, match="keeps its partitions for 365 days"):
        there.writer().write(there.store.keep(with_lines()), is_current=True)
    count = f"SELECT COUNT(*) AS n FROM {there.name} WHERE game_date = @day"
    assert there.emulator.connection().rows(count, {"day": DAY}, "test").to_pylist() == [{"n": 0}]


@pytest.mark.parametrize("text", ["xgboost_v1", "a=b,a=c", "a='; DROP", "=b"])
def test_system_ids_are_checked(text: str) -> None:
    """Guards against SQL in a setting."""
    base = {"NBA_ML_SOURCE": "bigquery", "NBA_ML_BIGQUERY_PROJECT": "p"}
    with pytest.raises(SettingsError, match=r"NBA_ML_SYSTEM_IDS is '.*Give each id once"):
        Settings.from_environment({**base, "NBA_ML_SYSTEM_IDS": text})
    given = Settings.from_environment({**base, "NBA_ML_SYSTEM_IDS": "xgboost_v1=x, challenger=y"}).bigquery
    assert given is not None
    assert given.system_ids == {"xgboost_v1": "x", "challenger": "y"}


# --- what the platform's own systems predicted ----------------------------------------------------------------

_THEIRS = """
    INSERT INTO {table} (prediction_id, system_id, player_lookup, game_date, game_id, prediction_version,
      predicted_points, confidence_score, recommendation, current_points_line, line_source, is_active, created_at{more})
    SELECT GENERATE_UUID(), system, lookup, DATE '{day}', 'g', version, points, 50, 'OVER', line, source, active,
      TIMESTAMP '{day} 15:00:00 UTC'{values}
    FROM UNNEST([
      STRUCT('catboost_v8' AS system, 'Luka.Doncic' AS lookup, 1 AS version, NUMERIC '25.5' AS points,
             NUMERIC '24.5' AS line, 'ODDS_API' AS source, TRUE AS active, 'old' AS why),
      ('catboost_v8', 'lukadoncic', 2, NUMERIC '27.5', NUMERIC '24.5', 'ODDS_API', TRUE, NULL),
      ('catboost_v8', 'lukadoncic', 3, NUMERIC '40.0', NUMERIC '24.5', 'ODDS_API', FALSE, NULL),
      ('moving_average', 'lukadoncic', 1, NUMERIC '21.0', NUMERIC '20.0', 'ACTUAL_PROP', TRUE, NULL),
      ('ensemble_v1', 'lukadoncic', 1, NUMERIC '1.0', NULL, 'NO_PROP_LINE', TRUE, NULL)
    ])
"""
"""A dotted lookup, two active versions, an inactive one, a placeholder, and a system that nobody asks for."""


@pytest.mark.parametrize("epoch", EPOCHS)
def test_what_its_systems_predicted_is_read_from_every_epoch(
    bigquery_emulator: BigQueryEmulator, epoch: str, tmp_path: Path
) -> None:
    """Guards against a query for columns that a table does not have, and against rows of other systems."""
    table = platform_table(bigquery_emulator, epoch, tmp_path)
    more = {
        "first": "",
        "second": ", invalidation_reason",
        "third": ", invalidation_reason, prediction_made_before_game",
    }
    values = {"first": "", "second": ", why", "third": ", why, TRUE"}
    table.sql(_THEIRS.format(table=table.name, day=DAY, more=more[epoch], values=values[epoch]))
    read = BigQueryPlatformPredictions(bigquery_emulator.connection(), table.name)
    found = read.read(f"{DAY:%Y-%m}", ("catboost_v8", "moving_average"))
    assert found.schema == PLATFORM_PREDICTIONS
    counted = counted_rows(found)
    [kept] = counted.rows.to_dict("records")
    assert (kept["system_id"], kept["player_lookup"], kept["predicted_points"]) == ("catboost_v8", "lukadoncic", 27.5)
    assert (kept["current_points_line"], kept["recommendation"], kept["made"]) == (24.5, "OVER", "ahead")
    why = "older row" if epoch == "first" else "invalidated"
    assert {system: dict(reasons) for system, reasons in counted.left_out.items()} == {
        "catboost_v8": {why: 1},
        "moving_average": {"placeholder line": 1},
    }
    assert read.read("2021-12", ("catboost_v8",)).num_rows == 0, "another month"
