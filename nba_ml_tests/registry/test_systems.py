"""Prediction systems beside each other: rules, our bundles, CatBoost, and their grades on the same rows."""

from __future__ import annotations

import json
import pickle
import tempfile
from dataclasses import replace
from datetime import date
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nba_ml.contract.errors import (
    BundleError,
    MissingExtraError,
    PublicationConflictError,
    ReleaseError,
)
from nba_ml.contract.features import V2_33FEATURES
from nba_ml.contract.systems import XGBOOST_V1
from nba_ml.data.table_digest import table_digest
from nba_ml.data.tables import PREDICTION_GRADES, PREDICTIONS
from nba_ml.evaluation.compare import shadow_month
from nba_ml.evaluation.predictions import make_predictions
from nba_ml.evaluation.shadow import grade_systems, shadow_predictions
from nba_ml.model.fitting import Samples
from nba_ml.registry.learners import interface
from nba_ml.registry.promotion import promote as promote_model
from nba_ml.registry.registration import register
from nba_ml.registry.rollback import rollback
from nba_ml.registry.rollout import rollout_advance, rollout_start
from nba_ml.registry.systems.interface import PredictionSystem, TrainingExtent, columns_of, matrix_of
from nba_ml.registry.systems.loading import find_model, load_system
from nba_ml.registry.systems.registered import load_registered, register_file, require_registered
from nba_ml.registry.systems.registered_manifest import RegisteredManifest
from nba_ml.registry.systems.rules import RULES, Rule
from nba_ml.registry.systems.xgboost_v1 import XGBoostSystem
from nba_ml.storage.directory import DirectoryStore
from nba_ml_tests.conftest import Trained, snapshot_of
from nba_ml_tests.profiles import examples
from nba_ml_tests.release_scene import (
    AT,
    REFITTED,
    as_of,
    bench_of,
    model_of,
    publish_made,
    published_model,
    trained_on,
)

JANUARY = "2022-01"
WHY = "a reason of a sentence"


@pytest.fixture
def store(tmp_path: Path) -> DirectoryStore:
    return DirectoryStore(tmp_path / "artifacts")


@pytest.fixture
def ours(store: DirectoryStore) -> XGBoostSystem:
    """The published model of December."""
    system = load_system(store, find_model(store, published_model(store, "2021-12")), 1)
    assert isinstance(system, XGBoostSystem)
    return system


def january() -> pa.Table:
    return snapshot_of(JANUARY).table


# -- rules and our own -------------------------------------------------------------------------------


def test_the_moving_average_is_the_platforms() -> None:
    """Guards the weights, 0.5, 0.3 and 0.2, by numbers worked out by hand."""
    columns = {name: np.array([value]) for name, value in
               (("points_avg_last_5", 20.0), ("points_avg_last_10", 10.0), ("points_avg_season", 5.0))}  # fmt: skip
    assert RULES["moving_average"].predict(columns) == pytest.approx([14.0])


def test_a_published_model_predicts_as_the_predictions_asset_does(ours: XGBoostSystem) -> None:
    """Guards shadow numbers against being of another model, other rounding or other columns than what is served."""
    made = model_of("2021-12")
    from nba_ml.contract.season import season_months
    from nba_ml.model.train import train
    from nba_ml_tests.conftest import FIRST_MONTH, split_of

    months = season_months(FIRST_MONTH, "2021-12")
    model = train(split_of(months), {each: snapshot_of(each) for each in months}, REFITTED, V2_33FEATURES, threads=1)
    expected = make_predictions(snapshot_of(JANUARY), model, JANUARY, XGBOOST_V1, threads=1).table
    found = shadow_predictions([ours], january())
    assert found.schema == PREDICTIONS
    assert table_digest(found) == table_digest(expected)
    assert found.num_rows == 4901
    assert ours.version == made.model_id


def test_what_a_model_has_seen_is_what_it_was_fitted_on(ours: XGBoostSystem) -> None:
    """Guards every comparison: a booster fitted anew on all rows has seen the last, its measured twin has not."""
    sides = ours.record.split.sides()
    assert ours.record.measured_sha256 != ours.record.model_sha256
    assert ours.extent == TrainingExtent(fitted_until=sides["validation"].last, given_until=sides["validation"].last)
    measured = replace(ours, held_out=True)
    assert measured.extent == TrainingExtent(
        fitted_until=sides["early_stopping"].last, given_until=sides["validation"].last
    )


def test_a_bundle_whose_reference_rows_differ_is_refused(store: DirectoryStore) -> None:
    """Guards against a record that goes with another booster, whatever the digests say."""
    from nba_ml.registry.publication import Bundle, publish
    from nba_ml.registry.verdict import CheckVerdict, Verdict

    made = model_of("2021-12")
    record = json.loads(made.record.to_bytes())
    record["reference_rows"][3]["prediction"] += 0.25
    check = CheckVerdict(asset="xgboost_model", check="mae", month="2021-12", passed=True, subject="x")
    verdict = Verdict(model_sha256=made.record.model_sha256, checks=(check,))
    publish(store, Bundle(made.model_id, made.booster, json.dumps(record).encode(), verdict))
    with pytest.raises(BundleError, match="points for reference row 3, as in the record"):
        load_system(store, find_model(store, made.model_id), 1)


def test_a_manifest_other_than_the_channels_is_refused(store: DirectoryStore) -> None:
    """Guards against a bundle that was swapped under a pointer that names it by digest."""
    model = find_model(store, published_model(store, "2021-12"))
    other = model.model_copy(update={"manifest_sha256": "0" * 64})
    with pytest.raises(BundleError, match="as the channel names it"):
        load_system(store, other, 1)


# -- side by side ------------------------------------------------------------------------------------


def test_systems_are_graded_on_the_same_rows(ours: XGBoostSystem) -> None:
    """Guards the comparison: the rows that one system has nothing for count for none of them."""
    systems: list[PredictionSystem] = [ours, RULES["moving_average"], RULES["mock"]]
    predictions = shadow_predictions(systems, january())
    by_system = {s: predictions.filter(pc.equal(predictions["system_id"], s)) for s in ("xgboost_v1", "mock")}
    assert (by_system["xgboost_v1"].num_rows, by_system["mock"].num_rows) == (4901, 4878)
    assert np.isnan(by_system["mock"].column("points_low").to_numpy()).all()
    graded = grade_systems(predictions, snapshot_of(JANUARY))
    assert graded.table.schema == PREDICTION_GRADES
    assert [each.metrics.n for each in graded.systems] == [4878] * 3
    assert [each.system_id for each in graded.systems] == ["xgboost_v1", "moving_average", "mock"]
    # By hand, on the rows where both have a value.
    table = january()
    columns = columns_of(table, V2_33FEATURES)
    mock, points = RULES["mock"].predict(columns), table.column("points").to_numpy()
    there = ~np.isnan(mock)
    mae = {
        name: np.abs(np.clip(np.round(value[there], 2), 0, 60) - points[there]).mean()
        for name, value in (("xgboost_v1", ours.predict(columns)), ("mock", mock))
    }
    assert graded.systems[2].metrics.mae == pytest.approx(mae["mock"], abs=1e-6)
    assert graded.systems[2].gain == pytest.approx(mae["xgboost_v1"] - mae["mock"], abs=1e-6)
    assert graded.systems[0].gain == 0.0
    assert graded.systems[2].gain_interval.high < 0  # the mock is worse, beyond doubt
    for each in graded.systems:
        print(f"{each.system_id}: MAE {each.metrics.mae:.3f}, gain {each.gain:+.3f} {each.gain_interval}")
    assert [each.with_line for each in graded.systems] == [None] * 3  # that season has no lines
    assert [each.without_line for each in graded.systems] == [each.metrics for each in graded.systems]


def test_rows_with_and_without_a_line_are_graded_separately() -> None:
    """Guards against one mean over both: a model of imputed lines is good on the first and useless on the second."""
    snapshot = snapshot_of(JANUARY)
    at, points = snapshot.table.schema.get_field_index("vegas_points_line"), snapshot.table["points"].to_numpy()
    lines = np.where(np.arange(len(points)) % 3 == 0, points + 0.5, np.nan)
    table = snapshot.table.set_column(at, snapshot.table.schema.field(at), pa.array(lines, from_pandas=False))
    line = Rule("line", lambda c: np.where(np.isnan(c["vegas_points_line"]), 0.0, c["vegas_points_line"] - 0.5))
    [grade] = grade_systems(shadow_predictions([line], table), replace(snapshot, table=table)).systems
    assert grade.with_line is not None
    assert grade.without_line is not None
    assert (grade.with_line.n, grade.with_line.mae) == (len(lines[::3]), 0.0)
    assert (grade.without_line.n, grade.without_line.mae) == (
        int(np.isnan(lines).sum()), pytest.approx(points[np.isnan(lines)].mean()),
    )  # fmt: skip


def test_a_system_may_not_stand_there_twice_and_may_have_nothing_to_say(ours: XGBoostSystem) -> None:
    """Guards against pairing a system with itself, and against a crash on a slate of newcomers."""
    with pytest.raises(ReleaseError, match="listed twice"):
        shadow_predictions([ours, ours], january())
    mute = Rule("mute", lambda columns: np.full(len(columns["home_away"]), np.nan))
    predictions = shadow_predictions([mute], january())
    assert predictions.num_rows == 0
    assert grade_systems(predictions, snapshot_of(JANUARY)).systems == ()
    assert shadow_predictions([], january()).schema == PREDICTIONS


def test_a_month_that_a_system_was_given_is_refused(store: DirectoryStore) -> None:
    """Guards against a shadow comparison of memories."""
    bench = bench_of(store, store)
    december = published_model(store, "2021-12")
    with pytest.raises(ReleaseError, match="has already seen the results"):
        shadow_month(bench, "2021-12", ["mock", december])
    with pytest.raises(ReleaseError, match="no samples of 2022-02"):
        shadow_month(bench, "2022-02", ["mock", december])
    assert len(shadow_month(bench, JANUARY, [december, "mock"]).systems) == 2
    first = january().column("game_date")[0].as_py()
    running = publish_made(store, trained_on(as_of(first)))
    with pytest.raises(
        ReleaseError, match=f"trained on games up to {first}, but the first game of {JANUARY} is on {first}"
    ):
        shadow_month(bench, JANUARY, ["mock", running])


# -- CatBoost ----------------------------------------------------------------------------------------

needs_catboost = pytest.mark.skipif(
    find_spec("catboost") is None, reason="needs CatBoost: pip install 'nba_ml[catboost]'"
)

SEEN = TrainingExtent(date(2021, 12, 31), date(2021, 12, 31))


def fitted_cbm(rows: Samples, names: list[str] | None, **parameters: Any) -> bytes:
    """A CatBoost of the rows, as a file."""
    from catboost import CatBoostRegressor, Pool

    options = {"loss_function": "MAE", "iterations": 60, "learning_rate": 0.15, "depth": 5, "random_seed": 42,
               "thread_count": 1, "allow_writing_files": False, "verbose": False, **parameters}  # fmt: skip
    model = CatBoostRegressor(**options)
    model.fit(Pool(rows.features, rows.points, feature_names=names))
    return saved(model)


def saved(model: Any) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.cbm"
        model.save_model(str(path), format="cbm")
        return path.read_bytes()


_CBM: dict[str, bytes] = {}


@pytest.fixture
def cbm(trained: Trained) -> bytes:
    """A CatBoost of our split's train side: the stand-in for the platform's."""
    if "stand-in" not in _CBM:
        _CBM["stand-in"] = fitted_cbm(trained.side("train"), list(V2_33FEATURES.names))
    return _CBM["stand-in"]


def reference(count: int = 20) -> list[tuple[str, date, list[float]]]:
    table = snapshot_of("2021-12").table.slice(0, count)
    vectors = matrix_of(columns_of(table, V2_33FEATURES), V2_33FEATURES).tolist()
    return list(zip(table["player_lookup"].to_pylist(), table["game_date"].to_pylist(), vectors, strict=True))


@pytest.mark.slow
@needs_catboost
def test_a_registered_catboost_predicts_as_its_trainer_saw_it(store: DirectoryStore, cbm: bytes) -> None:
    """Guards the user's own model: the numbers that CatBoost gives, under its own name, and registered once."""
    from catboost import CatBoostRegressor

    registered = register_file(store, cbm, SEEN, reference())
    assert register_file(store, cbm, SEEN, reference()) == registered
    assert registered.model.model_id.startswith("catboost_v8_33features_202112_")
    system = load_system(store, find_model(store, registered.model.model_id), 1)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "m.cbm").write_bytes(cbm)
        theirs = CatBoostRegressor().load_model(str(Path(folder) / "m.cbm"))
    columns = columns_of(january(), V2_33FEATURES)
    assert np.array_equal(system.predict(columns), theirs.predict(matrix_of(columns, V2_33FEATURES)))
    assert (system.system_id, system.model_type, system.extent) == ("catboost_v8", "catboost", SEEN)
    with pytest.raises(PublicationConflictError, match="other bytes"):
        register_file(store, cbm, TrainingExtent(date(2021, 12, 1), SEEN.given_until), reference())


@needs_catboost
def test_a_model_of_other_features_is_refused_by_name(store: DirectoryStore, trained: Trained) -> None:
    """Guards against the old worker's fault: 25 features in another order, and nobody noticed."""
    names, side = list(V2_33FEATURES.names), trained.side("train")
    swapped = [names[1], names[0], *names[2:]]
    few = Samples(side.features[:, :25], side.points, side.dates, side.keys)
    for rows, given_names, said in (
        (side, swapped, r"at position 0 'points_avg_last_10' where v2_33features has 'points_avg_last_5'"),
        (side, None, r"an array of 33 columns, which have no names.*: --features v2_33features"),
        (few, names[:25], r"25 of them, and at position 25 'none' where"),
    ):
        data = fitted_cbm(rows, given_names, iterations=2)
        with pytest.raises(BundleError, match=said):
            register_file(store, data, SEEN, reference())
    assert store.names("") == []


def test_what_is_no_model_file_is_refused_before_a_library_sees_it(store: DirectoryStore) -> None:
    """Guards against a pickle under another name: unpickling runs code."""
    for data in (pickle.dumps({"a": 1}), b"", b"binf\x00"):
        with pytest.raises(BundleError, match="is not a model file"):
            register_file(store, data, SEEN, reference())
    assert store.names("") == []


def test_without_catboost_the_error_says_what_to_install(
    store: DirectoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards an install without the extra: it is told by name, and nothing predicts in CatBoost's place."""

    def absent(name: str) -> object:
        raise ModuleNotFoundError(f"No module named '{name}'", name=name)

    monkeypatch.setattr(interface, "import_module", absent)
    with pytest.raises(MissingExtraError, match=r"nba_ml\[catboost\]"):
        register_file(store, b"CBM1 and more", SEEN, reference())


@needs_catboost
def test_a_damaged_catboost_is_refused(store: DirectoryStore, cbm: bytes) -> None:
    """Guards both objects: any flipped bit or missing end, anywhere, is refused before CatBoost parses a byte."""
    registered = register_file(store, cbm, SEEN, reference())
    identity = registered.model.model_id
    tried = 0

    @settings(max_examples=examples(150), deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(name=st.sampled_from(store.names("catboost_v8/")), data=st.data())
    def damaged(name: str, data: st.DataObject) -> None:
        nonlocal tried
        path = store.root / name
        good = path.read_bytes()
        at = data.draw(st.integers(0, len(good) - 1))
        bad = good[:at] if data.draw(st.booleans()) else good[:at] + bytes([good[at] ^ 4]) + good[at + 1 :]
        path.write_bytes(bad)
        try:
            with pytest.raises(BundleError):
                require_registered(store, identity)
        finally:
            path.write_bytes(good)
        tried += 1

    damaged()
    assert require_registered(store, identity) == registered
    print(f"{tried} damaged registrations, none accepted")


@pytest.mark.slow
@needs_catboost
def test_a_catboost_that_predicts_otherwise_is_refused(store: DirectoryStore, cbm: bytes) -> None:
    """Guards against a CatBoost library that computes something else than the one it was registered with."""
    registered = register_file(store, cbm, SEEN, reference())
    row = registered.manifest.reference_rows[0]
    changed = row.model_copy(update={"prediction": row.prediction + 0.01})
    manifest = registered.manifest.model_copy(
        update={"reference_rows": (changed, *registered.manifest.reference_rows[1:])}
    )
    moved = type(registered)(registered.model, manifest, registered.data)
    with pytest.raises(BundleError, match=r"differ by up to 0\.010000 points"):
        load_registered(moved)


@pytest.mark.slow
@needs_catboost
def test_a_catboost_runs_in_shadow_and_is_rolled_out_if_it_earns_it(store: DirectoryStore, cbm: bytes) -> None:
    """Guards the way of the user's own model: registered, graded on the same rows, and promoted by its grades."""
    bench = bench_of(store, store)
    ours = published_model(store, "2021-12")
    model = register(bench, cbm, SEEN)
    graded = shadow_month(bench, JANUARY, [ours, model.model_id, "moving_average", "mock"])
    assert [each.metrics.n for each in graded.systems] == [4878] * 4
    for each in graded.systems:
        print(f"{each.system_id}: MAE {each.metrics.mae:.3f}, gain {each.gain:+.3f} {each.gain_interval}")
    promote_model(bench, AT)
    rollout_start(bench, model.model_id, AT, WHY, graded_from=date(2022, 1, 1), share=10, waived=("comparison",))
    shares = []
    for until in (date(2022, 1, 10), date(2022, 1, 20), date(2022, 1, 31)):
        status, moved = rollout_advance(bench, AT, until)
        assert status.step.action == "advance", status.step.reason
        assert moved.channel is not None
        shares.append((moved.channel.share, moved.channel.champion.system_id))
    assert shares == [(50, "xgboost_v1"), (100, "xgboost_v1"), (0, "catboost_v8")]
    for to, system in ((None, "xgboost_v1"), (model.model_id, "catboost_v8")):
        state = rollback(store, AT, WHY, to).channel
        assert state is not None
        assert state.champion.system_id == system


@pytest.mark.slow
@needs_catboost
def test_a_catboost_registered_again_is_what_it_was(store: DirectoryStore, cbm: bytes) -> None:
    """Guards a command that is run again a month later: other reference rows by then, and no conflict with itself."""
    model = register(bench_of(store, store, "2021-11", "2021-12"), cbm, SEEN)
    stored = {name: (store.root / name).read_bytes() for name in store.names("catboost_v8/")}
    assert register(bench_of(store, store), cbm, SEEN) == model
    assert {name: (store.root / name).read_bytes() for name in store.names("catboost_v8/")} == stored
    with pytest.raises(PublicationConflictError, match="other bytes"):
        register(bench_of(store, store), cbm, TrainingExtent(date(2021, 12, 1), SEEN.given_until))


@pytest.mark.slow
@needs_catboost
def test_the_interval_of_a_catboost_is_learnt_from_what_its_trainer_held_out(
    store: DirectoryStore, trained: Trained, cbm: bytes
) -> None:
    """Guards the interval: not from rows it was fitted on, nor from games it will be graded on; without such, none."""
    bench = bench_of(store, store)
    fitted = trained.split.sides()["train"].last
    held = require_registered(store, register(bench, cbm, TrainingExtent(fitted, date(2021, 12, 31))).model_id).manifest
    rows = pa.concat_tables([snapshot_of("2021-11").table, snapshot_of("2021-12").table])
    days = rows.column("game_date")
    rows = rows.filter(pc.and_(pc.greater(days, pa.scalar(fitted)), pc.less_equal(days, pa.scalar(held.given_until))))
    assert rows.num_rows > 1000
    assert held.calibration is not None
    assert held.calibration.rows == rows.num_rows
    low, high = held.calibration.interval(np.array([5.0, 20.0]))
    assert (low < [5.0, 20.0]).all()
    assert (high > [5.0, 20.0]).all()
    elsewhere = DirectoryStore(store.root.parent / "elsewhere")
    none_held = register(bench_of(elsewhere, elsewhere), cbm, SEEN)
    assert require_registered(elsewhere, none_held.model_id).manifest.calibration is None


def test_a_manifest_that_contradicts_itself_is_refused() -> None:
    """Guards against dates that would have a model graded on games that it remembers."""
    fields = {
        "model_id": "catboost_v8_x", "feature_version": "v2_33features",
        "objects": [{"name": "catboost_v8_x.cbm", "size": 1, "sha256": "0" * 64}],
        "feature_names": V2_33FEATURES.names, "newest_month": "2021-12", "fitted_until": "2021-12-31",
        "given_until": "2021-12-31", "calibration": None, "catboost": "1.2",
        "reference_rows": [{"player_lookup": "p", "game_date": "2021-12-01", "features": [], "prediction": 1.0}],
    }  # fmt: skip
    assert RegisteredManifest.model_validate(fields)
    changes: tuple[dict[str, Any], ...] = (
        {"fitted_until": "2022-01-01"},
        {"newest_month": "2021-11"},
        {"reference_rows": []},
        {"model_id": "other"},
    )
    for change in changes:
        with pytest.raises(ValueError, match=r"fitted until|no reference rows|is not the file of"):
            RegisteredManifest.model_validate({**fields, **change})
