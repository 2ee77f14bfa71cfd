"""What a predictor takes for rows, and what it refuses by row and by name."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from nba_ml.contract.errors import FeatureRowsError
from nba_ml.contract.features import V2_33FEATURES
from nba_ml.data.canonical import canonical_vectors
from nba_ml.data.feature_rows import contract_faults
from nba_ml.serving.rows import FEWEST_AT_ONCE, MOST_FAULTS, FeatureRows, _contract, _unknown_names, read_rows
from nba_ml_tests.faults.summary import PREFIX
from nba_ml_tests.profiles import examples

NAMES = V2_33FEATURES.names
NEVER_MISSING = [feature.name for feature in V2_33FEATURES.features if not feature.nullable]
Row = Callable[..., dict[str, Any]]
Record = Callable[[str, object], None]


def faults_of(rows: object) -> dict[str | None, str]:
    """What was refused, by name."""
    with pytest.raises(FeatureRowsError) as caught:
        read_rows(rows)
    assert caught.value.faults, caught.value
    return {fault.field: fault.problem for fault in caught.value.faults}


def same(one: FeatureRows, other: FeatureRows) -> None:
    np.testing.assert_array_equal(one.features, other.features)
    assert list(one.player_lookup) == list(other.player_lookup)
    assert list(one.game_date) == list(other.game_date)
    assert list(one.game_id) == list(other.game_id)


def test_every_kind_of_rows_is_read_alike(unseen: pa.Table) -> None:
    """Guards against a prediction that hangs on which library the caller happens to use."""
    rows = unseen.slice(500, 200)
    expected = np.column_stack([rows.column(name).to_numpy() for name in NAMES])
    from_arrow = read_rows(rows)
    np.testing.assert_array_equal(from_arrow.features, expected)
    assert np.isnan(expected).any()
    assert isinstance(from_arrow.game_date[0], date)
    frame = rows.to_pandas(date_as_object=False)
    shuffled = frame[sorted(frame.columns)]
    for other in (
        rows.to_pylist(),
        frame,
        shuffled,
        frame.convert_dtypes(),
        frame.astype(dict.fromkeys(NAMES, object)),
        rows.to_pandas(types_mapper=pd.ArrowDtype),
        rows.combine_chunks().to_batches()[0],
    ):
        same(read_rows(other), from_arrow)


def test_numbers_of_numpy_and_whole_numbers_are_numbers(row: Row) -> None:
    """Guards against a refusal of what `frame.to_dict('records')` or a JSON parser gives."""
    plain = row(fatigue_score=80.0, games_vs_opponent=3.0)
    mixed = row(fatigue_score=np.float32(80), games_vs_opponent=3, game_date=str(plain["game_date"]))
    same(read_rows([mixed]), read_rows(plain))


def test_a_nullable_feature_may_be_none_or_nan(row: Row) -> None:
    """Guards missing values: NaN is NaN, and 0 is 0."""
    for missing in (None, math.nan, np.float32("nan")):
        read = read_rows(row(injury_risk=missing, pct_free_throw=0.0))
        assert math.isnan(read.features[0, V2_33FEATURES.index("injury_risk")])
        assert read.features[0, V2_33FEATURES.index("pct_free_throw")] == 0.0


def test_names_that_are_missing_or_do_not_belong(row: Row) -> None:
    """Guards against a worker that builds 25 features in another order, which is what happened."""
    short = {name: value for name, value in row().items() if name not in ("pace_score", "team_pace")}
    assert set(faults_of(short)) == {"pace_score", "team_pace"}
    assert "is not a feature of v2_33features" in faults_of(row(points=30.0))["points"]
    assert set(faults_of(pd.DataFrame([short]))) == {"pace_score", "team_pace"}
    assert set(faults_of(pa.table({"points": [1.0], **{n: [1.0] for n in NAMES}}))) == {"points"}
    assert "more than once" in faults_of(pd.DataFrame([[1.0] * 34], columns=[*NAMES, "pace_score"]))["pace_score"]
    assert faults_of(dict[Any, Any]([(1, 2.0), *row().items()])) == {"1": "is not a feature of v2_33features"}


@pytest.mark.parametrize(
    "rows",
    [
        [1.0] * 33,
        [[1.0] * 33],
        np.ones((1, 33)),
        np.ones(33),
        pd.Series([1.0] * 33),
        None,
        "x",
        b"x",
        7,
        {1, 2},
        [None],
    ],
)
def test_values_without_names_are_refused(rows: object) -> None:
    """Guards against an order that nobody can check."""
    faults_of(rows)


@pytest.mark.parametrize("name", NAMES)
def test_every_range_is_kept_at_both_ends(row: Row, name: str) -> None:
    """Guards the contract's ranges: the ends are in, what lies beyond is refused by name, and so is infinity."""
    feature = V2_33FEATURES[name]
    present: dict[str, Any] = {"has_vegas_line": 1.0, "vegas_points_line": 21.5}
    for end, beyond in ((feature.low, -math.inf), (feature.high, math.inf)):
        read = read_rows(row(**{**present, name: end}))
        found = read.features[0, V2_33FEATURES.index(name)]
        assert found == end or (name in ("vegas_line_move", "vegas_opening_line") and math.isnan(found))
        assert set(faults_of(row(**{**present, name: float(np.nextafter(end, beyond))}))) == {name}
        limits = f"{feature.low:g} to {feature.high:g} ({feature.unit})"
        assert faults_of(row(**{**present, name: beyond})) == {name: f"is infinite, outside {limits}"}
        assert faults_of(row(**{name: 10**400})) == {name: f"is infinite, outside {limits}"}


@pytest.mark.parametrize("name", ["fatigue_score", "home_away", "vegas_points_line"])
@pytest.mark.parametrize("value", ["21.5", "", True, False, np.True_, 1j, [1.0], {}, b"1", pd.NaT, object()])
def test_what_is_no_number_is_refused_by_name(row: Row, name: str, value: Any) -> None:
    """Guards against text and truth values that Python or NumPy would turn into numbers without a word."""
    assert "not a number" in faults_of(row(**{name: value}))[name]
    assert "not a number" in faults_of([row(), row(**{name: value})])[name]
    if value is not pd.NaT:  # in a frame it is pandas' own word for missing
        frame = pd.DataFrame([row(), row()]).astype({name: object})
        frame.at[1, name] = value
        assert "not a number" in faults_of(frame)[name]


def test_columns_of_another_type_are_refused(row: Row) -> None:
    """Guards tables: a column of truth values or text is refused whole."""
    table = pa.Table.from_pylist([row()])
    at = table.schema.get_field_index("home_away")
    for values in (pa.array([True]), pa.array(["1"])):
        changed = table.set_column(at, "home_away", values)
        assert "not a number" in faults_of(changed)["home_away"]
        assert "not a number" in faults_of(changed.to_pandas())["home_away"]


@pytest.mark.parametrize("rows", [1, FEWEST_AT_ONCE], ids=["one", "a slate"])
def test_rows_as_googles_client_gives_them(row: Row, rows: int) -> None:
    """Guards a platform with NUMERIC columns and whole numbers that may be missing: all its rows were refused."""
    given = pd.DataFrame([row(vegas_points_line=None, has_vegas_line=0.0, fatigue_score=50.25)] * rows)
    plain = read_rows(given)
    at = V2_33FEATURES.index("fatigue_score")
    assert plain.features[0, at] == 50.25
    forms = given.astype({"home_away": "Int64", "vegas_points_line": "Float64", "player_lookup": object})
    forms["fatigue_score"] = pd.Series([Decimal("50.25")] * rows, dtype=object)
    forms["player_lookup"] = pd.NA
    mappings = [dict(zip(forms.columns, values, strict=True)) for values in forms.itertuples(index=False)]
    assert mappings[0]["vegas_points_line"] is pd.NA
    for each in (forms, mappings, pa.Table.from_pandas(forms)):
        read = read_rows(each)
        np.testing.assert_array_equal(read.features, plain.features)
        assert [*read.player_lookup] == [None] * rows
    assert "outside 0 to 100" in faults_of(row(fatigue_score=Decimal("1e9")))["fatigue_score"]
    assert "not a number" in faults_of(row(fatigue_score=Decimal("sNaN")))["fatigue_score"]


@pytest.mark.parametrize("name", NEVER_MISSING)
@pytest.mark.parametrize("missing", [None, math.nan])
def test_missing_where_the_contract_forbids_it(row: Row, name: str, missing: float | None) -> None:
    """Guards against a made-up value for what is always known."""
    for rows in (row(**{name: missing}), [row(**{name: missing})], pd.DataFrame([row(**{name: missing})])):
        assert list(problems := faults_of(rows)) == [name]
        assert problems[name].startswith("is missing, which the contract forbids. Give a number, ")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("game_date", "2025-02-30"),
        ("game_date", "15.1.2025"),
        ("game_date", "20250115"),
        ("game_date", datetime(2025, 1, 15, 19, 30)),
        ("game_date", 20250115),
        ("player_lookup", ""),
        ("player_lookup", 7),
        ("player_lookup", "x" * 201),
        ("player_lookup", "\ud800"),
        ("player_lookup", "luka\udc00doncic"),
        pytest.param("player_lookup", 10**5_000, id="player_lookup-10**5000"),
        ("game_id", ["a"]),
        ("game_id", "\ud800"),
    ],
)
def test_keys_of_another_form(row: Row, key: str, value: object) -> None:
    """Guards the keys that predictions are joined and graded by."""
    assert set(faults_of(row(**{key: value}))) == {key}
    assert read_rows({n: row()[n] for n in NAMES}).player_lookup == [None]


def test_what_has_no_text_is_refused_in_words_all_the_same(row: Row) -> None:
    """Guards the message itself: Python refuses to write an integer of 5,000 digits, a list within a list a thousand
    times over, and half of a surrogate pair; that was another error than the one that names the row.
    """
    nested: list[Any] = []
    for _ in range(200_000):
        nested = [nested]
    assert faults_of(row(fatigue_score=[10**5_000]))["fatigue_score"] == (
        "is something too large to be shown (list), not a number"
    )
    assert faults_of(row(game_id=nested))["game_id"].startswith("is something too large to be shown (list)")
    assert set(faults_of(dict[Any, Any]([*row().items(), (10**5_000, 1)]))) == {"something too large to be shown"}
    with pytest.raises(FeatureRowsError) as caught:
        read_rows(row(**{"half \ud800": 1, "player_lookup": "\udfff"}))
    assert [fault.field for fault in caught.value.faults] == ["half \\ud800", "player_lookup"]
    for said in (str(caught.value), *map(str, caught.value.faults)):
        assert said.encode()
    frame = pd.DataFrame([[1.0, 2.0]], columns=["half \ud800", "half \ud800"])
    assert str(faults_of(frame)).encode()


def test_a_fault_says_its_row_and_a_slate_of_faults_stays_readable(row: Row) -> None:
    """Guards the message: which row, which name, how many; not a megabyte of text."""
    with pytest.raises(FeatureRowsError, match=r"1 fault\(s\) in 3 row\(s\).*row 2, fatigue_score: is 140.0") as caught:
        read_rows([row(), row(), row(fatigue_score=140.0)])
    assert caught.value.faults[0].row == 2
    with pytest.raises(FeatureRowsError, match="33,000 fault") as caught:
        read_rows([{}] * 1000)
    assert len(caught.value.faults) == MOST_FAULTS
    assert len(str(caught.value)) < 1000
    assert "\n" not in str(caught.value)
    with pytest.raises(FeatureRowsError, match=r"51 fault\(s\) in 1 row\(s\)"):  # and not half a million of them
        read_rows(row(**{f"{index:06d}": 0 for index in range(500_000)}))
    few = {f"x{index}": 0 for index in range(MOST_FAULTS + 7)}
    assert [str(fault) for fault in _unknown_names(few, 4, _contract("v2_33features"))][-1] == (
        "row 4: 7 more names are not features of v2_33features"
    )


def test_stand_ins_of_older_stores_are_read_as_training_reads_them(row: Row) -> None:
    """Guards against a worker that predicts from a made-up line which training took for none."""
    at = {name: V2_33FEATURES.index(name) for name in NAMES}
    none = read_rows(row(has_vegas_line=0, vegas_points_line=17.3)).features[0]
    assert math.isnan(none[at["vegas_points_line"]])
    placeholder = read_rows(row(has_vegas_line=1, vegas_points_line=20.0, vegas_opening_line=20.0)).features[0]
    assert math.isnan(placeholder[at["vegas_points_line"]])
    assert placeholder[at["has_vegas_line"]] == 0.0
    profile = read_rows(row(pct_paint=0.0, pct_mid_range=0.0, pct_three=0.0)).features[0]
    assert math.isnan(profile[at["pct_three"]])


anything = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(st.characters(), max_size=5),
    st.decimals(),
    st.dates(),
    st.lists(st.integers(), max_size=2),
)


def test_whatever_is_given_it_is_refused_or_keeps_the_contract(row: Row, record_property: Record) -> None:
    """Guards the parser as a whole: only a FeatureRowsError comes out of it, or rows that a snapshot would hold."""
    tried = 0

    @settings(max_examples=examples(500))
    @given(
        changes=st.dictionaries(
            st.one_of(st.sampled_from([*NAMES, "player_lookup", "game_id"]), st.text(st.characters(), max_size=8)),
            anything,
            max_size=4,
        ),
        dropped=st.sets(st.sampled_from(NAMES), max_size=2),
    )
    @example(changes={"vegas_points_line": -1.0, "has_vegas_line": 0}, dropped=set())
    @example(changes={"vegas_points_line": None, "has_vegas_line": None}, dropped=set())
    @example(changes={"vegas_points_line": None, "has_vegas_line": 0.5}, dropped=set())
    def check(changes: dict[str, Any], dropped: set[str]) -> None:
        nonlocal tried
        tried += 1
        given_row = {name: value for name, value in row(**changes).items() if name not in dropped - set(changes)}
        try:
            read = read_rows(given_row)
        except FeatureRowsError:
            return
        assert set(NAMES) <= set(given_row) <= {*NAMES, "player_lookup", "game_date", "game_id"}
        assert all(given_row[n] is None or type(given_row[n]) in (int, float, Decimal) for n in {*changes} & {*NAMES})
        as_given = np.array([[given_row[name] for name in NAMES]], dtype=np.float64)
        assert contract_faults(as_given, V2_33FEATURES) == contract_faults(read.features, V2_33FEATURES) == [""]
        np.testing.assert_array_equal(canonical_vectors(read.features, V2_33FEATURES), read.features)

    check()
    record_property(f"{PREFIX}fuzzed rows, none accepted that should not be", tried)


def test_a_library_in_the_middle_of_its_import(row: Row, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards a running service: CatBoost, loaded in a thread, imports pandas, which has no DataFrame meanwhile."""
    for library in ("pandas", "pyarrow"):
        monkeypatch.setitem(sys.modules, library, ModuleType(library))
    assert len(read_rows([row(), row()]).features) == 2
    assert len(read_rows(row()).features) == 1
    with pytest.raises(FeatureRowsError, match="have no names"):
        read_rows(object())
