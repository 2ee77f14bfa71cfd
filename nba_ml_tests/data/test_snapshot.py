"""A month frozen: which rows become samples, which are set aside, which are refused, and under which digest."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from datetime import date, timedelta
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nba_ml.contract.errors import SnapshotRejectedError
from nba_ml.contract.features import V2_33FEATURES
from nba_ml.contract.season import month_bounds
from nba_ml.data.box_scores import normalise_prop_lines
from nba_ml.data.canonical import canonical_vectors
from nba_ml.data.feature_rows import contract_faults
from nba_ml.data.features import compute_features
from nba_ml.data.snapshot import MonthRows, Snapshot, SnapshotCounts, take_snapshot
from nba_ml.data.table_digest import table_digest
from nba_ml.data.tables import ML_FEATURE_STORE_V2, PROP_LINES, snapshot_schema
from nba_ml.settings import SAMPLE_DATA
from nba_ml_tests.conftest import COMPUTED_AT, features_of, snapshot_of, summary_of
from nba_ml_tests.profiles import examples

MONTH = "2021-11"
ROWS = 300
KEY = ("player_lookup", "game_date")
Row = dict[str, Any]


@cache
def stored() -> pa.Table:
    """Real feature rows of a few nights: enough for 1% to be three rows, few enough to be fast."""
    return features_of(MONTH).slice(3000, ROWS)


@cache
def stored_rows() -> tuple[Row, ...]:
    """The same rows as dicts; nobody changes them in place."""
    return tuple(stored().to_pylist())


def as_stored(rows: list[Row]) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=ML_FEATURE_STORE_V2)


def with_changes(changes: Mapping[int, Mapping[str, Any]]) -> pa.Table:
    """The stored rows, some of them with other values."""
    return as_stored([{**row, **changes.get(i, {})} for i, row in enumerate(stored_rows())])


def vector(row: int, values: Mapping[str, float | None]) -> Row:
    """The features of a stored row, some of them changed."""
    features = list(stored_rows()[row]["features"])
    for name, value in values.items():
        features[V2_33FEATURES.index(name)] = value
    return {"features": features}


def freeze(features: pa.Table, summary: pa.Table | None = None) -> Snapshot:
    return take_snapshot(
        MonthRows.of_tables(features, summary_of(MONTH) if summary is None else summary, V2_33FEATURES),
        MONTH,
        V2_33FEATURES,
    )


def keys(table: pa.Table) -> set[tuple[str, date]]:
    return set(zip(*(table.column(name).to_pylist() for name in KEY), strict=True))


def key(row: int) -> tuple[str, date]:
    return stored_rows()[row]["player_lookup"], stored_rows()[row]["game_date"]


# --- what a snapshot is ---------------------------------------------------------------------------------------


def test_a_real_month_is_frozen_whole() -> None:
    """Guards against rows lost on the way: all 4,864 of the month are accounted for, in order and by name."""
    snapshot = snapshot_of(MONTH)
    assert snapshot.counts == SnapshotCounts(
        samples=4662, early_season=187, without_result=15, rejected=0, played=4849, covered=4849
    )
    assert snapshot.table.schema == snapshot_schema(V2_33FEATURES)
    found = list(zip(*(snapshot.table.column(n).to_pylist() for n in ("game_date", "player_lookup")), strict=True))
    assert found == sorted(set(found))
    assert snapshot.digest == table_digest(snapshot.table)
    assert snapshot.rejects.num_rows == 0


def test_features_and_results_meet_by_key() -> None:
    """Guards against vectors and targets of different rows: each value is compared with its source."""
    results = {(r["player_lookup"], r["game_date"]): r for r in summary_of(MONTH).to_pylist()}
    vectors = {(r["player_lookup"], r["game_date"]): r for r in stored_rows()}
    for row in freeze(stored()).table.to_pylist():
        k = (row["player_lookup"], row["game_date"])
        assert (row["points"], row["minutes_played"]) == (results[k]["points"], results[k]["minutes_played"])
        assert (row["game_id"], row["feature_quality_score"]) == (
            vectors[k]["game_id"],
            float(vectors[k]["feature_quality_score"]),
        )
        np.testing.assert_array_equal([row[name] for name in V2_33FEATURES.names], vectors[k]["features"])


def test_october_is_empty_and_valid() -> None:
    """Guards against an October that fails: its rows are all early season, and no row is no fault."""
    october = snapshot_of("2021-10")
    assert october.counts == SnapshotCounts(
        samples=0, early_season=2071, without_result=0, rejected=0, played=2063, covered=2063
    )
    assert october.counts.coverage == 1.0
    assert october.table.schema == snapshot_schema(V2_33FEATURES)
    assert october.table.num_rows == 0
    assert october.digest == table_digest(snapshot_schema(V2_33FEATURES).empty_table())


def test_a_month_without_any_row_is_empty_and_covered() -> None:
    """Guards against a division by no games."""
    empty = freeze(ML_FEATURE_STORE_V2.empty_table(), summary_of(MONTH).slice(0, 0))
    assert empty.counts == SnapshotCounts(0, 0, 0, 0, 0, 0)
    assert empty.counts.coverage == 1.0


def test_coverage_counts_played_games_with_a_valid_row() -> None:
    """Guards against a coverage that counts rows of the store and not games played."""
    counts = freeze(with_changes({7: {"feature_version": "v1"}})).counts
    assert counts.played == 4849
    assert counts.covered == counts.samples == 298
    assert counts.coverage == pytest.approx(298 / 4849)


# --- rows that are set aside ----------------------------------------------------------------------------------


def test_early_season_rows_are_set_aside_before_anything_else() -> None:
    """Guards against early rows, whose vectors the platform leaves empty, being counted as breaches."""
    early: Row = {"early_season_flag": True, "features": [], "feature_names": [], "feature_version": "none"}
    snapshot = freeze(with_changes(dict.fromkeys(range(50), early)))
    assert (snapshot.counts.early_season, snapshot.counts.rejected) == (50, 0)
    assert keys(snapshot.table).isdisjoint({key(i) for i in range(50)})


def test_a_row_without_a_result_is_no_sample_and_no_fault() -> None:
    """Guards against training on games not played: no box score, or one with 0 minutes."""
    base = freeze(stored())
    results = summary_of(MONTH).to_pylist()
    gone, benched = sorted(keys(base.table))[:2]
    kept = [
        {**row, "minutes_played": 0} if (row["player_lookup"], row["game_date"]) == benched else row
        for row in results
        if (row["player_lookup"], row["game_date"]) != gone
    ]
    snapshot = freeze(stored(), pa.Table.from_pylist(kept, schema=summary_of(MONTH).schema))
    assert snapshot.counts.without_result == base.counts.without_result + 2
    assert snapshot.counts.samples == base.counts.samples - 2
    assert snapshot.counts.played == base.counts.played - 2
    assert keys(base.table) - keys(snapshot.table) == {gone, benched}
    assert snapshot.counts.rejected == 0


def test_a_row_of_another_month_is_no_sample() -> None:
    """Guards against a row of the wrong partition that would stand in two snapshots."""
    snapshot = freeze(with_changes({7: {"game_date": stored_rows()[7]["game_date"] + timedelta(days=40)}}))
    assert snapshot.counts.without_result == freeze(stored()).counts.without_result + 1


# --- rows that are refused ------------------------------------------------------------------------------------

BREACHES: list[tuple[Callable[[], Row], str]] = [
    (lambda: {"feature_version": "v1_25features"}, "feature version is not v2_33features"),
    (lambda: {"features": stored_rows()[7]["features"][:32]}, "not 33 values"),
    (lambda: {"features": [*stored_rows()[7]["features"], 0.0]}, "not 33 values"),
    (lambda: {"features": []}, "not 33 values"),
    (
        lambda: {"feature_names": [*V2_33FEATURES.names[1::-1], *V2_33FEATURES.names[2:]]},
        "feature names differ from the contract's",
    ),
    (lambda: {"feature_names": list(V2_33FEATURES.names[:32])}, "feature names differ from the contract's"),
    (lambda: {"feature_names": [None, *V2_33FEATURES.names[1:]]}, "feature names differ from the contract's"),
    (lambda: {"feature_names": []}, "feature names differ from the contract's"),
    (lambda: vector(7, {"fatigue_score": 100.5}), "fatigue_score outside 0 to 100"),
    (lambda: vector(7, {"opponent_pace": 0.0}), "opponent_pace outside 80 to 125"),
    (lambda: vector(7, {"pct_three": 41.0}), "pct_three outside 0 to 1"),
    (lambda: vector(7, {"points_avg_season": float("inf")}), "points_avg_season is infinite"),
    (lambda: vector(7, {"rest_advantage": float("-inf")}), "rest_advantage is infinite"),
    (lambda: vector(7, {"home_away": float("nan")}), "home_away is missing"),
    (lambda: vector(7, {"games_vs_opponent": None}), "games_vs_opponent is missing"),
    (lambda: vector(7, {"home_away": 0.5}), "home_away is neither 0 nor 1"),
]


@pytest.mark.parametrize(
    ("breach", "reason"), BREACHES, ids=[f"{i}-{reason}" for i, (_, reason) in enumerate(BREACHES)]
)
def test_a_row_that_breaks_the_contract_is_kept_beside_with_its_reason(breach: Callable[[], Row], reason: str) -> None:
    """Guards against a broken row in training, and against one that vanishes without a reason."""
    change = breach()
    snapshot = freeze(with_changes({7: change}))
    assert snapshot.rejected_by_reason == {reason: 1}
    assert keys(snapshot.rejects) == {key(7)}
    assert keys(freeze(stored()).table) - keys(snapshot.table) == {key(7)}
    expected = as_stored([{**stored_rows()[7], **change}]).column("features")
    assert snapshot.rejects.column("features").to_pylist().__repr__() == expected.to_pylist().__repr__()


def test_of_two_rows_with_one_key_the_newest_stays() -> None:
    """Guards against an older run of the feature store winning over its correction."""
    row = stored_rows()[7]
    rewritten = {
        **row,
        **vector(7, {"points_avg_season": 12.345}),
        "updated_at": row["updated_at"] + timedelta(seconds=1),
    }
    outdated = {**row, **vector(7, {"points_avg_season": 99.0}), "updated_at": row["updated_at"] - timedelta(days=1)}
    snapshot = freeze(pa.concat_tables([as_stored([rewritten]), stored(), as_stored([outdated])]))
    assert snapshot.rejected_by_reason == {"duplicate key": 2}
    assert snapshot.counts.samples == freeze(stored()).counts.samples
    found = [
        r["points_avg_season"] for r in snapshot.table.to_pylist() if (r["player_lookup"], r["game_date"]) == key(7)
    ]
    assert found == [12.345]


def test_of_two_rows_written_at_one_moment_the_fuller_stays_whatever_their_order() -> None:
    """Guards against a digest that depends on the order in which a warehouse returns rows."""
    row = stored_rows()[7]
    poorer = {
        **row,
        **vector(7, {"points_avg_season": None}),
        "feature_quality_score": row["feature_quality_score"] - 3,
    }
    one = freeze(pa.concat_tables([as_stored([poorer]), stored()]))
    other = freeze(pa.concat_tables([stored(), as_stored([poorer])]))
    assert one.digest == other.digest == freeze(stored()).digest


@pytest.mark.parametrize("fault", [-1, 1])
def test_every_range_is_enforced_to_the_last_bit(fault: int) -> None:
    """Guards against a feature whose range is written down and not looked at."""
    bounds = np.array([f.low if fault < 0 else f.high for f in V2_33FEATURES.features], dtype=np.float64)
    assert contract_faults(np.array([bounds]), V2_33FEATURES) == [""]
    outside = np.tile(bounds, (33, 1))
    np.fill_diagonal(outside, np.nextafter(bounds, fault * np.inf))
    expected = [f"{f.name} outside {f.low:g} to {f.high:g}" for f in V2_33FEATURES.features]
    assert contract_faults(outside, V2_33FEATURES) == expected


def test_missing_is_allowed_exactly_where_the_contract_says() -> None:
    """Guards against a NaN in a feature that is never missing, and against refusing one that may be."""
    vectors = np.tile([float(f.low) for f in V2_33FEATURES.features], (33, 1))
    np.fill_diagonal(vectors, np.nan)
    expected = ["" if f.nullable else f"{f.name} is missing" for f in V2_33FEATURES.features]
    assert contract_faults(vectors, V2_33FEATURES) == expected


def test_one_row_in_a_hundred_may_be_refused_and_no_more() -> None:
    """Guards against a limit that is off by one, and against a half-broken month that trains a model."""
    wrong: dict[int, Row] = {i: vector(i, {"fatigue_score": 101.0}) for i in range(3)}
    assert freeze(with_changes(wrong)).counts.rejected == 3
    with pytest.raises(SnapshotRejectedError):
        freeze(with_changes({**wrong, 3: {"feature_version": "v1"}}))


def test_early_rows_do_not_dilute_the_share_of_the_refused() -> None:
    """Guards against a broken November that passes because of its many early rows."""
    changes: dict[int, Row] = {i: {"early_season_flag": True} for i in range(150)}
    with pytest.raises(SnapshotRejectedError, match=r"2 of 150 feature rows \(1\.3%\)"):
        freeze(with_changes({**changes, 200: {"features": []}, 201: {"features": []}}))


def test_a_refused_month_says_what_why_and_which_rows() -> None:
    """Guards against a failure that nobody can act on: counts by reason, five rows, what stays, what to do."""
    changes: dict[int, Row] = {i: vector(i, {"fatigue_score": 101.0}) for i in range(6)}
    with pytest.raises(SnapshotRejectedError) as refused:
        freeze(with_changes({**changes, 9: {"feature_version": "v1"}}))
    message = str(refused.value)
    assert message.startswith("2021-11: 7 of 300 feature rows (2.3%) break the contract, more than 1%. By reason: ")
    assert "fatigue_score outside 0 to 100 (6), feature version is not v2_33features (1). First: " in message
    assert message.partition("First: ")[2].count(": fatigue_score outside 0 to 100") == 5
    assert "The stored snapshot is unchanged; correct the feature rows" in message
    assert refused.value.rejects.num_rows == 7
    assert keys(refused.value.rejects) == {key(i) for i in (*range(6), 9)}


# --- what older stores wrote for "missing" --------------------------------------------------------------------

NAN = float("nan")
LINE = ("vegas_points_line", "vegas_opening_line", "vegas_line_move", "has_vegas_line")
NO_LINE = (NAN, NAN, NAN, 0.0)


def canonical(names: tuple[str, ...], values: tuple[float, ...]) -> tuple[float, ...]:
    row = np.array([[f.low for f in V2_33FEATURES.features]], dtype=np.float64)
    positions = [V2_33FEATURES.index(name) for name in names]
    row[0, positions] = values
    return tuple(canonical_vectors(row, V2_33FEATURES)[0, positions])


@pytest.mark.parametrize(
    ("was", "becomes"),
    [
        ((14.2, 14.2, 0.0, 0.0), NO_LINE),
        ((14.2, NAN, NAN, 0.0), NO_LINE),
        ((0.0, 0.0, 0.0, 0.0), NO_LINE),
        ((20.0, 20.0, 0.0, 0.0), NO_LINE),
        ((20.0, 20.0, 0.0, 1.0), NO_LINE),
        ((20.0, NAN, NAN, 0.0), NO_LINE),
        ((NAN, NAN, NAN, 1.0), NO_LINE),
        ((NAN, 22.5, NAN, 1.0), NO_LINE),
        ((NAN, NAN, NAN, NAN), NO_LINE),
        ((float("inf"), 20.0, 0.0, 0.0), NO_LINE),
        ((20.0, NAN, NAN, 1.0), (20.0, NAN, NAN, 1.0)),
        ((20.0, 19.5, 0.5, 1.0), (20.0, 19.5, 0.5, 1.0)),
        ((20.5, 20.0, 0.5, 1.0), (20.5, 20.0, 0.5, 1.0)),
        ((24.5, 24.5, 0.0, 1.0), (24.5, 24.5, 0.0, 1.0)),
    ],
)
def test_no_line_is_nan_and_a_line_stays(was: tuple[float, ...], becomes: tuple[float, ...]) -> None:
    """Guards against the season average posing as a line, the placeholder 20.0, and real lines lost to either rule."""
    np.testing.assert_array_equal(canonical(LINE, was), becomes)


@pytest.mark.parametrize(
    ("was", "becomes"),
    [
        ((0.0, 0.0, 0.0), (NAN, NAN, NAN)),
        ((0.0, 0.0, 0.4), (0.0, 0.0, 0.4)),
        ((NAN, NAN, 0.0), (NAN, NAN, 0.0)),
    ],
)
def test_a_shot_profile_of_zeros_is_none(was: tuple[float, ...], becomes: tuple[float, ...]) -> None:
    """Guards against "no zone data" taken for a player who never shoots."""
    np.testing.assert_array_equal(canonical(("pct_paint", "pct_mid_range", "pct_three"), was), becomes)


def test_the_books_own_lines_of_twenty_survive() -> None:
    """Guards against throwing away real lines: in the embedded data a line of exactly 20.0 is always a book's."""
    month = "2024-11"
    [file] = (SAMPLE_DATA / "prop_lines").glob("*.parquet")
    history = pa.concat_tables([summary_of("2024-10"), summary_of(month)])
    lines = normalise_prop_lines(pq.read_table(file), file.name).select(PROP_LINES.names)
    features = compute_features(history, lines, *month_bounds(month), computed_at=COMPUTED_AT)
    frozen = take_snapshot(MonthRows.of_tables(features, summary_of(month), V2_33FEATURES), month, V2_33FEATURES).table
    twenty = pc.equal(pc.list_element(features["features"], V2_33FEATURES.index("vegas_points_line")), 20.0)
    late = pc.and_(twenty, pc.invert(features["early_season_flag"]))
    assert pc.sum(late).as_py() >= 5
    assert pc.sum(pc.equal(frozen["vegas_points_line"], 20.0)).as_py() == pc.sum(late).as_py()


stored_values = st.sampled_from([NAN, 0.0, -0.0, 1.0, 0.5, 14.2, 20.0, 24.5])


@given(st.lists(st.lists(stored_values, min_size=33, max_size=33), max_size=5))
def test_canonical_vectors_are_a_fixed_point_with_flag_and_line_in_step(rows: list[list[float]]) -> None:
    """Guards against a second snapshot that differs from the first, a flag without a line, and a changed input."""
    given_rows = np.array(rows).reshape(-1, 33)
    before = given_rows.tobytes()
    once = canonical_vectors(given_rows, V2_33FEATURES)
    assert given_rows.tobytes() == before
    assert canonical_vectors(once, V2_33FEATURES).tobytes() == once.tobytes()
    line, opening, move, flag = (once[:, V2_33FEATURES.index(name)] for name in LINE)
    assert (np.isnan(line) <= (flag == 0)).all()
    assert ((flag == 0) <= (np.isnan(line) & np.isnan(opening) & np.isnan(move))).all()
    assert not np.signbit(once[once == 0]).any()


# --- order and counts -----------------------------------------------------------------------------------------


def awkward() -> pa.Table:
    """Stored rows with a duplicate, a tie in all but the version (the two of them rejected alike), a breach and
    early rows."""
    row = stored_rows()[7]
    changes: dict[int, Row] = {20: {"features": []}, 30: {"early_season_flag": True}, 31: {"early_season_flag": True}}
    sorts_first = {**row, **vector(7, {"points_avg_season": 0.5})}
    tie = {**row, "feature_version": "another"}
    return pa.concat_tables([with_changes(changes), as_stored([sorts_first, tie])])


@settings(max_examples=examples(30))
@given(st.randoms(use_true_random=False), st.integers(0, ROWS + 2))
def test_permuted_rows_give_the_same_snapshot(shuffle: random.Random, cut: int) -> None:
    """Guards against training that depends on the order or the chunks in which rows arrive."""
    order = list(range(AWKWARD.num_rows))
    shuffle.shuffle(order)
    permuted = AWKWARD.take(pa.array(order))
    snapshot = freeze(pa.concat_tables([permuted.slice(0, cut), permuted.slice(cut)]))
    assert snapshot.digest == FROZEN.digest
    assert snapshot.counts == FROZEN.counts
    assert repr(snapshot.rejects.to_pylist()) == repr(FROZEN.rejects.to_pylist())


AWKWARD = awkward()
FROZEN = freeze(AWKWARD)


@settings(max_examples=examples(30))
@given(
    early=st.sets(st.integers(0, 99)),
    broken=st.sets(st.integers(0, ROWS - 1), max_size=2),
    unplayed=st.sets(st.integers(0, ROWS - 1), max_size=50),
)
def test_every_row_is_counted_exactly_once(early: set[int], broken: set[int], unplayed: set[int]) -> None:
    """Guards against rows that fall between the counts, or into two of them."""
    positions = np.arange(ROWS)
    flags = pa.array(np.isin(positions, list(early)))
    versions = pa.array(["none" if i in broken else V2_33FEATURES.name for i in positions])
    features = stored().set_column(13, ML_FEATURE_STORE_V2.field("early_season_flag"), flags)
    features = features.set_column(7, ML_FEATURE_STORE_V2.field("feature_version"), versions)
    out = {key_of for i, key_of in enumerate(STORED_KEYS) if i in unplayed}
    played = pa.array([each not in out for each in SUMMARY_KEYS])
    snapshot = freeze(features, summary_of(MONTH).filter(played))
    counts = snapshot.counts
    assert counts.samples + counts.early_season + counts.without_result + counts.rejected == ROWS
    assert counts.samples == snapshot.table.num_rows
    assert counts.rejected == snapshot.rejects.num_rows == len(broken - early)
    assert counts.early_season == len(early)


STORED_KEYS = [(r["player_lookup"], r["game_date"]) for r in stored().select(KEY).to_pylist()]
SUMMARY_KEYS = [(r["player_lookup"], r["game_date"]) for r in summary_of(MONTH).select(KEY).to_pylist()]
