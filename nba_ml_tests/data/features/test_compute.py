"""What the backfill promises of its table: contract, ranges, order, determinism, and clear refusals."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from importlib import resources

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from nba_ml.contract.errors import SourceDataError
from nba_ml.contract.features import NOT_IN_BOX_SCORES, V2_33FEATURES, V3_FEATURES, V4_FEATURES, FeatureVersion
from nba_ml.contract.season import EARLY_SEASON_DAYS, season_months
from nba_ml.data import tables
from nba_ml.data.features import compute, compute_features, features_code_digest
from nba_ml.data.reports import NO_REPORTS
from nba_ml_tests.conftest import summary_of
from nba_ml_tests.data.features.conftest import COMPUTED_AT, FIRST, LAST, between, matrix

WEEK = (date(2024, 12, 2), date(2024, 12, 8))


def serialised(table: pa.Table) -> bytes:
    """The table as an Arrow stream: equal bytes are equal chunks of equal values, down to the sign of a zero."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


@pytest.fixture(scope="module")
def recent() -> pa.Table:
    """The season of WEEK up to its end."""
    months = season_months("2024-10", f"{WEEK[1]:%Y-%m}")
    return between(pa.concat_tables([summary_of(month) for month in months]), date(2024, 10, 1), WEEK[1])


# The table


def test_one_row_per_player_game_in_canonical_order(summary: pa.Table, all_features: pa.Table) -> None:
    """Guards against rows lost or doubled in a join, and against another order than (game_date, player_lookup)."""
    keys = ["player_lookup", "universal_player_id", "game_date", "game_id", "opponent_team_abbr", "is_home"]
    assert all_features.schema.equals(tables.ML_FEATURE_STORE_V2)
    assert all_features.num_rows == summary.num_rows == 111_750
    for key in keys:
        assert all_features[key].combine_chunks().equals(summary[key].combine_chunks()), key


def test_vector_follows_the_contract_and_not_the_sql(recent: pa.Table, lines: pa.Table) -> None:
    """Guards the order of the vector: it must move with the version's names, never with the SQL's columns."""
    reversed_version = FeatureVersion("v2_reversed", V2_33FEATURES.features[::-1])
    usual = compute_features(recent, lines, *WEEK, computed_at=COMPUTED_AT)
    other = compute_features(recent, lines, *WEEK, computed_at=COMPUTED_AT, version=reversed_version)

    np.testing.assert_array_equal(matrix(other), matrix(usual)[:, ::-1])
    assert all(names == list(V2_33FEATURES.names) for names in usual["feature_names"].to_pylist())
    assert all(names == list(V2_33FEATURES.names[::-1]) for names in other["feature_names"].to_pylist())
    assert set(usual["feature_count"].to_pylist()) == {33}
    assert other["feature_version"].unique().to_pylist() == ["v2_reversed"]


@pytest.mark.parametrize(
    ("version", "view"),
    [
        pytest.param(V2_33FEATURES, "assembled", id=V2_33FEATURES.name),
        pytest.param(V3_FEATURES, "assembled_careers", id=V3_FEATURES.name),
        pytest.param(V4_FEATURES, "assembled_reports", id=V4_FEATURES.name),
    ],
)
def test_sql_columns_are_the_contract(version: FeatureVersion, view: str, recent: pa.Table, lines: pa.Table) -> None:
    """Guards against a feature that the SQL computes and the contract does not know, or the other way round."""
    with compute._database({"summary": recent, "lines": lines, "reports": NO_REPORTS}) as connection:
        compute._prepare(connection, *WEEK, version)
        columns = [str(row[0]) for row in connection.execute(f"DESCRIBE {view}").fetchall()]
    keys = {
        "player_lookup",
        "universal_player_id",
        "game_date",
        "game_id",
        "opponent_team_abbr",
        "is_home",
        "days_rest",
        "early_season_flag",
        "is_production_ready",
    }
    assert len(columns) == len(set(columns))
    assert set(columns) - keys == set(version.names)


def test_every_sql_file_runs_and_none_can_hide() -> None:
    """Guards against a step whose file is forgotten in STEPS, or listed and not shipped."""
    files = {path.name for path in (resources.files("nba_ml.data.features") / "sql").iterdir()}
    others = ("list_inactive", "find_faults", "select_vectors")
    assert files == {f"{step}.sql" for step in (*compute.STEPS, *compute.CAREER_STEPS, *compute.REPORT_STEPS, *others)}


def test_the_first_version_s_queries_are_as_they_were() -> None:
    """Guards every home in use: another digest of v2_33features puts all of its months out of date."""
    assert features_code_digest().startswith("0592e11b4098")
    assert features_code_digest(V3_FEATURES).startswith("2195668a1f9f")
    assert features_code_digest(V4_FEATURES) != features_code_digest(V3_FEATURES)


def test_stamps_and_source(recent: pa.Table, lines: pa.Table) -> None:
    """Guards the record of origin: the time given, in UTC whatever its zone, and the name of the source."""
    noon_in_new_york = datetime(2025, 7, 1, 8, tzinfo=timezone(-timedelta(hours=4)))
    features = compute_features(recent, lines, *WEEK, computed_at=noon_in_new_york)
    for name in ("created_at", "updated_at"):
        assert features[name].unique().to_pylist() == [datetime(2025, 7, 1, 12, tzinfo=UTC)]
    assert features["data_source"].unique().to_pylist() == ["box_scores"]
    assert features["feature_version"].unique().to_pylist() == ["v2_33features"]


def test_quality_is_the_share_of_features_there(all_features: pa.Table) -> None:
    """Guards the quality score: in percent with 2 decimals, rounded and not cut off."""
    there = (~np.isnan(matrix(all_features))).sum(axis=1)
    assert all_features["feature_quality_score"].to_pylist()[:200] == [
        Decimal(f"{100 * count / 33:.2f}") for count in there[:200].tolist()
    ]
    quality = np.array([float(score) for score in all_features["feature_quality_score"].to_pylist()])
    np.testing.assert_allclose(quality, 100 * there / 33, atol=0.005001)


def test_early_season_is_14_days_from_the_opening_game(summary: pa.Table, all_features: pa.Table) -> None:
    """Guards the cut of what training leaves out: the opening day is day 0, day 14 is no longer early."""
    opening = {
        row["season"]: row["game_date_min"]
        for row in summary.group_by("season").aggregate([("game_date", "min")]).to_pylist()
    }
    assert len(opening) == 4
    days = [
        (day - opening[season]).days
        for season, day in zip(summary["season"].to_pylist(), summary["game_date"].to_pylist(), strict=True)
    ]
    assert all_features["early_season_flag"].to_pylist() == [day < EARLY_SEASON_DAYS for day in days]
    assert {13, 14} <= set(days)


def test_ready_means_settled_and_rated(all_features: pa.Table) -> None:
    """Guards is_production_ready: a debutant or an early row that counts as ready would be predicted on noise."""
    names = ("points_avg_last_10", "opponent_def_rating", "team_off_rating")
    needed = matrix(all_features)[:, [V2_33FEATURES.index(name) for name in names]]
    early = all_features["early_season_flag"].to_numpy()
    ready = all_features["is_production_ready"].to_numpy()
    np.testing.assert_array_equal(ready, ~early & ~np.isnan(needed).any(axis=1))
    assert (~ready & ~early).any()  # there are debutants after the early season, or this proves half


# Values


def test_values_lie_in_the_contract_s_ranges_after_the_early_season(all_features: pa.Table) -> None:
    """Guards against a wrong unit or a missing clamp. Only teams with one or two games behind them fall outside."""
    outside = _outside(all_features, V2_33FEATURES)
    assert not outside[~all_features["early_season_flag"].to_numpy()].any()
    names = {V2_33FEATURES.names[at] for at in np.flatnonzero(outside.any(axis=0))}
    assert names <= {"opponent_def_rating", "opponent_pace", "team_pace", "team_off_rating"}
    assert outside.any(axis=1).sum() > 0


def test_the_later_versions_values_always_lie_in_their_ranges(all_career_features: pa.Table) -> None:
    """Guards the season's first days, which those versions do not leave out."""
    assert not _outside(all_career_features, V4_FEATURES).any()


def _outside(features: pa.Table, version: FeatureVersion) -> npt.NDArray[np.bool_]:
    vectors = matrix(features)
    assert not np.isinf(vectors).any()
    low, high = (np.array([getattr(feature, end) for feature in version.features]) for end in ("low", "high"))
    return np.asarray((vectors < low) | (vectors > high))  # False for NaN


def test_missing_only_where_the_contract_allows(all_career_features: pa.Table) -> None:
    """Guards against a NaN where none may be, and against a join that silently finds nothing."""
    missing = np.isnan(matrix(all_career_features))
    for at, feature in enumerate(V4_FEATURES.features):
        if feature.name in NOT_IN_BOX_SCORES:
            assert missing[:, at].all(), feature.name
        elif feature.nullable:
            assert missing[:, at].any(), feature.name
            assert not missing[:, at].all(), feature.name
        else:
            assert not missing[:, at].any(), feature.name


def test_no_feature_in_the_data_is_constant(all_career_features: pa.Table) -> None:
    """Guards against a feature that is there in every row and says nothing."""
    vectors = matrix(all_career_features)
    for at, feature in enumerate(V4_FEATURES.features):
        if feature.name not in NOT_IN_BOX_SCORES:
            assert np.nanstd(vectors[:, at]) > 0, feature.name


# Determinism


@pytest.mark.slow
def test_bytes_do_not_depend_on_threads(summary: pa.Table, lines: pa.Table) -> None:
    """Guards the digest of a snapshot: float sums in another order, or -0.0 for 0.0, would change it at random."""
    season = (date(2024, 10, 1), date(2025, 6, 30))
    one = compute_features(summary, lines, *season, computed_at=COMPUTED_AT, version=V3_FEATURES, threads=1)
    four = compute_features(summary, lines, *season, computed_at=COMPUTED_AT, version=V3_FEATURES, threads=4)
    assert serialised(one) == serialised(four)


def test_rows_in_another_order_change_nothing(recent: pa.Table, lines: pa.Table) -> None:
    """Guards against a window without a complete order, or a result in the order of the input."""
    order = np.random.default_rng(3).permutation(recent.num_rows)
    straight = compute_features(recent, lines, *WEEK, computed_at=COMPUTED_AT, version=V3_FEATURES)
    shuffled = compute_features(recent.take(order), lines, *WEEK, computed_at=COMPUTED_AT, version=V3_FEATURES)
    assert serialised(straight) == serialised(shuffled)


def test_zero_has_no_sign_and_values_six_decimals(all_features: pa.Table) -> None:
    """Guards canonical bytes: -0.0 equals 0.0 and has another digest; a seventh decimal is float noise."""
    vectors = matrix(all_features)
    assert not (np.signbit(vectors) & (vectors == 0)).any()
    there = vectors[~np.isnan(vectors)]
    np.testing.assert_array_equal(there, np.round(there, 6))


def test_noise_below_zero_is_plain_zero() -> None:
    """Guards the same where the data have no example: a difference of -1e-9 rounds to -0.0, which must not stay."""
    version = FeatureVersion("one", V2_33FEATURES.features[:1])
    batch = pa.record_batch({version.names[0]: pa.array([-1e-9, -0.0, None, 1.23456789])})
    vectors = compute._Packer(version, COMPUTED_AT)._vectors(batch)
    assert vectors.tobytes() == np.array([0.0, 0.0, np.nan, 1.234568]).tobytes()


def test_names_are_shared_and_not_repeated(summary: pa.Table, lines: pa.Table) -> None:
    """Guards the memory of a long backfill: 33 names for each of 111,750 rows would be 63 MB of the same text."""
    # Computed here: a table that another worker wrote to a file has lost what its chunks share.
    features = compute_features(summary, lines, date(2024, 10, 1), LAST, computed_at=COMPUTED_AT)
    blocks = {chunk.values.buffers()[2].address for chunk in features["feature_names"].chunks}
    assert len(features["feature_names"].chunks) > 1
    assert len(blocks) == 1


# Nothing to do, and nothing to reach


def test_no_games_in_the_range_is_an_empty_table(recent: pa.Table, lines: pa.Table) -> None:
    """Guards empty months: they are a table with the right columns, not an error."""
    around = pa.concat_tables([summary_of("2024-06"), recent])
    for games in (around, recent.slice(0, 0)):
        features = compute_features(games, lines, date(2024, 7, 1), date(2024, 9, 30), computed_at=COMPUTED_AT)
        assert features.num_rows == 0
        assert features.schema.equals(tables.ML_FEATURE_STORE_V2)


def test_no_lines_leave_every_other_feature_as_it_is(recent: pa.Table, lines: pa.Table) -> None:
    """Guards seasons without lines: no row may go missing with its line."""
    at = [V2_33FEATURES.index("vegas_points_line"), V2_33FEATURES.index("has_vegas_line")]
    with_lines = matrix(compute_features(recent, lines, *WEEK, computed_at=COMPUTED_AT))
    without = matrix(compute_features(recent, lines.slice(0, 0), *WEEK, computed_at=COMPUTED_AT))

    assert with_lines[:, at[1]].any()
    assert np.isnan(without[:, at[0]]).all()
    assert not without[:, at[1]].any()
    np.testing.assert_array_equal(np.delete(without, at, axis=1), np.delete(with_lines, at, axis=1))


def test_the_database_reaches_no_file(recent: pa.Table, lines: pa.Table) -> None:
    """Guards the lock-down: SQL that reads a file or loads an extension must fail."""
    with compute._database({"summary": recent, "lines": lines}) as connection:
        with pytest.raises(duckdb.PermissionException):
            connection.execute("SELECT * FROM read_text('pyproject.toml')")
        with pytest.raises(duckdb.Error, match="disabled"):
            connection.execute("INSTALL httpfs")


# Refusals


def test_a_table_with_other_columns_is_refused(recent: pa.Table, lines: pa.Table) -> None:
    """Guards the first message a user sees of a wrong source: it names the table and the columns."""
    renamed = recent.rename_columns(["minutes" if name == "minutes_played" else name for name in recent.column_names])
    with pytest.raises(SourceDataError, match=r"player_game_summary .* minutes_played \(missing, not int16\)"):
        compute_features(renamed, lines, *WEEK, computed_at=COMPUTED_AT)
    narrow = lines.set_column(lines.schema.get_field_index("line"), "line", lines["line"].cast(pa.float32()))
    with pytest.raises(SourceDataError, match=r"prop_lines .* line \(float, not double\)"):
        compute_features(recent, narrow, *WEEK, computed_at=COMPUTED_AT)


def test_a_player_with_two_rows_on_a_date_is_refused(recent: pa.Table, lines: pa.Table) -> None:
    """Guards every average: a doubled row would count twice in all of them."""
    doubled = pa.concat_tables([recent, recent.slice(100, 1)])
    player, day = recent["player_lookup"][100].as_py(), recent["game_date"][100].as_py()
    with pytest.raises(SourceDataError, match=f"player {player} has 2 rows on {day}"):
        compute_features(doubled, lines, *WEEK, computed_at=COMPUTED_AT)


def test_a_game_with_one_side_is_refused(recent: pa.Table, lines: pa.Table) -> None:
    """Guards possessions and defence: with one side missing, the other's rows would silently vanish in a join."""
    game, team = recent["game_id"][0].as_py(), recent["team_abbr"][0].as_py()
    half = recent.filter(pc.invert(pc.and_(pc.equal(recent["game_id"], game), pc.equal(recent["team_abbr"], team))))
    with pytest.raises(SourceDataError, match=f"game {re.escape(game)} has rows of"):
        compute_features(half, lines, *WEEK, computed_at=COMPUTED_AT)


def test_rows_after_the_range_are_not_even_looked_at(recent: pa.Table, lines: pa.Table) -> None:
    """Guards 'more is harmless': what the caller holds of later dates, broken or not, changes nothing."""
    later = recent.slice(0, 1)
    later = later.set_column(3, "game_date", pa.array([date(2024, 12, 24)], pa.date32())).cast(recent.schema)
    usual = compute_features(recent, lines, *WEEK, computed_at=COMPUTED_AT)
    with_later = compute_features(pa.concat_tables([recent, later]), lines, *WEEK, computed_at=COMPUTED_AT)
    assert serialised(with_later) == serialised(usual)
    with pytest.raises(SourceDataError, match="has rows of"):
        compute_features(pa.concat_tables([recent, later]), lines, WEEK[0], date(2024, 12, 31), computed_at=COMPUTED_AT)


def test_a_team_with_two_games_on_a_date_is_refused(recent: pa.Table, lines: pa.Table) -> None:
    """Guards 'the row before': two games of one day would be in each other's history."""
    day = recent["game_date"][0].as_py()
    game = recent.filter(pc.equal(recent["game_id"], recent["game_id"][0]))
    again = game.set_column(4, "game_id", pa.repeat("another game", game.num_rows)).set_column(
        0, "player_lookup", pc.binary_join_element_wise(game["player_lookup"], "ii", "")
    )
    with pytest.raises(SourceDataError, match=f"plays 2 games on {day}"):
        compute_features(pa.concat_tables([recent, again.cast(recent.schema)]), lines, *WEEK, computed_at=COMPUTED_AT)


def test_a_version_with_an_unknown_feature_is_refused(recent: pa.Table, lines: pa.Table) -> None:
    """Guards a richer version to come: a feature without SQL is an error that names it, not a column of NaN."""
    invented = replace(V2_33FEATURES.features[0], name="points_ewma")
    version = FeatureVersion("v9", (*V3_FEATURES.features, invented))
    with pytest.raises(SourceDataError, match=rf"v9 has 1 of {version.count} features .*: points_ewma"):
        compute_features(recent, lines, *WEEK, computed_at=COMPUTED_AT, version=version)


def test_arguments_that_cannot_be_meant_are_refused(recent: pa.Table, lines: pa.Table) -> None:
    """Guards against a swapped range that gives an empty month, and a local time that passes for UTC."""
    with pytest.raises(ValueError, match="is after last"):
        compute_features(recent, lines, LAST, FIRST, computed_at=COMPUTED_AT)
    with pytest.raises(ValueError, match="no time zone"):
        compute_features(recent, lines, *WEEK, computed_at=datetime(2025, 7, 1))
