"""Registered models of a later feature version, at every place that reads rows for them."""

from __future__ import annotations

import json
from datetime import date, timedelta
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from nba_ml.contract.errors import BundleError, FeatureRowsError, ReleaseError, SlateError
from nba_ml.contract.features import V2_33FEATURES, V3_FEATURES, V4_FEATURES, FeatureVersion
from nba_ml.contract.season import month_bounds
from nba_ml.contract.systems import XGBOOST_V2
from nba_ml.contract.times import eastern_noon
from nba_ml.data.features import compute_features
from nba_ml.data.lines import FeatureMonth, LineCounts
from nba_ml.data.snapshot import MonthRows, Snapshot, take_snapshot
from nba_ml.data.stored import FEATURES, SNAPSHOT
from nba_ml.data.table_digest import table_digest
from nba_ml.data.tables import PROP_LINES
from nba_ml.evaluation.compare import shadow_month
from nba_ml.registry.learners.missing import NAN, PLATFORM_2026_01, MissingPolicy
from nba_ml.registry.promotion import promote
from nba_ml.registry.registration import features_of, register
from nba_ml.registry.release_context import ReleaseContext
from nba_ml.registry.rollout import rollout_advance, rollout_start
from nba_ml.registry.systems.interface import TrainingExtent, columns_of, matrix_of
from nba_ml.registry.systems.loading import features_of as features_of_model
from nba_ml.registry.systems.loading import find_model, load_system
from nba_ml.registry.systems.registered import registered_id, require_registered
from nba_ml.serving import Predictor
from nba_ml.slates.operations import SlateContext, grade_month_of_slates, predict_slate
from nba_ml.slates.rows import StoredSlateRows
from nba_ml.slates.store import SlateStore
from nba_ml.storage.directory import DirectoryStore
from nba_ml_tests.conftest import COMPUTED_AT, summary_of
from nba_ml_tests.conftest import features_of as stored_features_of
from nba_ml_tests.registry.model_files import SYSTEMS, model_file, saved, trained
from nba_ml_tests.release_scene import AT, WHY, bench_of, published_model, strict

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        find_spec("catboost") is None or find_spec("lightgbm") is None,
        reason="needs CatBoost and LightGBM: pip install 'nba_ml[challengers]'",
    ),
]

SEEN = TrainingExtent(date(2021, 12, 31), date(2021, 12, 31))
DAY = date(2022, 1, 12)
KEYS = ("player_lookup", "game_date", "game_id")


@cache
def rows_of(month: str) -> pa.Table:
    """The second system's feature store of a month."""
    history = pa.concat_tables([summary_of(each) for each in ("2021-10", "2021-11", "2021-12", "2022-01")])
    no_lines, days = PROP_LINES.empty_table(), month_bounds(month)
    return compute_features(history, no_lines, *days, computed_at=COMPUTED_AT, version=V3_FEATURES, threads=1)


@cache
def followed(month: str) -> Snapshot:
    """The second system's snapshot of a month."""
    return take_snapshot(MonthRows.of_tables(rows_of(month), summary_of(month), V3_FEATURES), month, V3_FEATURES)


@cache
def file_of(suffix: str, *, named: bool = True) -> bytes:
    """A model of `v3_41features`, fitted on November and December with missing values as we have them."""
    names = list(V3_FEATURES.names) if named else None
    return saved(fitted(suffix, names), suffix)


def fitted(suffix: str, names: list[str] | None) -> Any:
    parts = [followed(month) for month in ("2021-11", "2021-12")]
    return trained(suffix, np.concatenate([*map(vectors, parts)]), np.concatenate([*map(points, parts)]), names)


def vectors(snapshot: Snapshot) -> np.ndarray[Any, np.dtype[np.float32]]:
    return matrix_of(columns_of(snapshot.table, V3_FEATURES), V3_FEATURES)


def points(snapshot: Snapshot) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.asarray(snapshot.table["points"].to_numpy(), dtype=np.float64)


@pytest.fixture
def store(tmp_path: Path) -> DirectoryStore:
    return DirectoryStore(tmp_path / "artifacts")


@pytest.fixture
def first_only(store: DirectoryStore, tmp_path: Path) -> ReleaseContext:
    """A store with the first system's snapshots."""
    return bench_of(store, DirectoryStore(tmp_path / "store"), "2021-12", "2022-01")


@pytest.fixture
def both(first_only: ReleaseContext) -> ReleaseContext:
    """A store with the snapshots and the feature rows of both systems."""
    for month in ("2021-12", "2022-01"):
        first_only.months.save(SNAPSHOT.of(XGBOOST_V2), month, followed(month))
    for asset, rows in ((FEATURES, stored_features_of("2022-01")), (FEATURES.of(XGBOOST_V2), rows_of("2022-01"))):
        first_only.months.save(asset, "2022-01", FeatureMonth(rows, table_digest(rows), LineCounts({}, 0)))
    return first_only


def expected(suffix: str, snapshot: Snapshot) -> np.ndarray[Any, np.dtype[np.float64]]:
    """What the model's own library predicts."""
    model = fitted(suffix, list(V3_FEATURES.names))
    if suffix == "json":
        import xgboost

        return np.asarray(model.predict(xgboost.DMatrix(vectors(snapshot), feature_names=list(V3_FEATURES.names))))
    return np.asarray(model.predict(vectors(snapshot)))


@pytest.mark.parametrize("suffix", ["cbm", "json", "txt"])
def test_a_model_of_41_features_from_registration_to_champion(
    both: ReleaseContext, store: DirectoryStore, suffix: str
) -> None:
    """Guards against a place that still reads the 33: registration, comparison, slate, grades, rollout, service."""
    bench, stored = strict(both, rollout_margin=0.5, external_margin=0.5), both.months.objects
    ours = published_model(store, "2021-11")
    promote(bench, AT, ours)
    identity = register(bench, file_of(suffix), SEEN, missing=NAN).model_id
    assert identity.startswith(f"{SYSTEMS[suffix]}_41features_202112_")
    assert register(bench, file_of(suffix), SEEN, missing=NAN).model_id == identity
    manifest = require_registered(store, identity).manifest
    assert (manifest.feature_version, manifest.names) == (V3_FEATURES.name, "embedded")
    assert {len(row.features) for row in manifest.reference_rows} == {V3_FEATURES.count}
    assert features_of_model(store, find_model(store, identity)) == V3_FEATURES
    raw = load_system(store, find_model(store, identity), 1).predict(columns_of(followed("2022-01").table, V3_FEATURES))
    assert np.allclose(raw, expected(suffix, followed("2022-01")), rtol=0, atol=1e-5)

    first, second = shadow_month(bench, "2022-01", [ours, identity]).systems
    assert (first.model_version, second.model_version) == (ours, identity)
    assert first.metrics.n == second.metrics.n > 4000

    rollout_start(bench, identity, AT, WHY, graded_from=date(2022, 1, 1))
    assert isinstance(stored, DirectoryStore)
    slates = SlateStore(stored)
    context = SlateContext(store, StoredSlateRows(str(stored.root)), slates, threads=1)
    slate = predict_slate(context, DAY, eastern_noon(DAY) - timedelta(hours=1)).kept.slate
    by_model = {
        name: slate.table.filter(pc.equal(slate.table["model_version"], name)).num_rows for name in (ours, identity)
    }
    assert by_model[ours] == by_model[identity] > 100
    graded = grade_month_of_slates(bench.months, slates, "2022-01").report
    [grade] = [each for each in graded.grades if each.model_version == identity]
    day = followed("2022-01").table
    of_day = pc.equal(day["game_date"], pa.scalar(DAY))
    errors = np.abs(expected(suffix, followed("2022-01")) - points(followed("2022-01")))[np.asarray(of_day)]
    assert grade.metrics is not None
    assert (grade.metrics.n, grade.metrics.mae) == (len(errors), pytest.approx(errors.mean(), abs=0.005))

    for last in (8, 16, 24, 31):
        status, _ = rollout_advance(bench, AT, date(2022, 1, last))
        assert status.step.action == "advance", status.step.reason
    predictor = Predictor.load(store, channel="champion", try_apart=False)
    assert predictor.model.model_id == identity
    rows = day.select([*V3_FEATURES.names, *KEYS]).slice(0, 5).to_pylist()
    assert [each.predicted_points for each in predictor.predict(rows)] == pytest.approx(
        np.clip(expected(suffix, followed("2022-01"))[:5], 0, 60), abs=0.0051
    )
    with pytest.raises(FeatureRowsError, match="points_ewm_12: is missing"):
        predictor.predict([{name: row[name] for name in (*V2_33FEATURES.names, *KEYS)} for row in rows])


def test_a_model_of_41_features_needs_the_rows_of_its_system(first_only: ReleaseContext, store: DirectoryStore) -> None:
    """Guards against a model that is registered and can never be graded, and a message without the way out."""
    with pytest.raises(ReleaseError, match=r"name xgboost_v2 in NBA_ML_SYSTEMS.*xgboost_v2/feature_store_snapshot"):
        register(first_only, file_of("json"), SEEN)
    assert store.names("") == []


def test_a_slate_of_41_features_needs_the_rows_of_its_system(both: ReleaseContext, store: DirectoryStore) -> None:
    """Guards against the first system's rows for a model that reads more than they have."""
    promote(
        strict(both, external_margin=0.5), AT, register(both, file_of("json"), SEEN, missing=NAN).model_id, reason=WHY
    )
    stored = both.months.objects
    assert isinstance(stored, DirectoryStore)
    (stored.root / FEATURES.of(XGBOOST_V2).file("2022-01")).unlink()
    context = SlateContext(store, StoredSlateRows(str(stored.root)), SlateStore(stored), threads=1)
    with pytest.raises(SlateError, match=f"There are no feature rows of {DAY}"):
        predict_slate(context, DAY, eastern_noon(DAY) - timedelta(hours=1))


def test_the_columns_of_an_array_of_41_are_stated(both: ReleaseContext, store: DirectoryStore, tmp_path: Path) -> None:
    """Guards against a remedy in the message that names another version, or does not work."""
    unnamed = file_of("json", named=False)
    with pytest.raises(BundleError, match=r"an array of 41 columns.*--features v3_41features"):
        register(both, unnamed, SEEN)
    identity = register(both, unnamed, SEEN, missing=NAN, features=features_of("v3_41features")).model_id
    assert require_registered(store, identity).manifest.names == "given"
    names = tmp_path / "names.json"
    for version in (V2_33FEATURES, V3_FEATURES, V4_FEATURES):
        names.write_text(json.dumps(version.names))
        assert features_of(str(names)) == version
    names.write_text(json.dumps([*V3_FEATURES.names[:-1], "team_games"]))
    with pytest.raises(BundleError, match="not those of v3_41features in its order: position 40 is 'team_games'"):
        features_of(str(names))
    with pytest.raises(BundleError, match="an array of 41 columns, which have no names"):
        register(both, unnamed, TrainingExtent(date(2021, 12, 30), date(2021, 12, 30)))


@pytest.mark.parametrize(
    ("version", "rules", "fault"),
    [
        (V3_FEATURES, {"absent_points": (0.0,)}, ""),
        (V2_33FEATURES, {"absent_points": (0.0,)}, "v2_33features has no feature 'absent_points'"),
        (V3_FEATURES, {"out_points": (0.0,)}, "v3_41features has no feature 'out_points'"),
        (V4_FEATURES, {"out_points": ("absent_points",)}, ""),
        (V3_FEATURES, {"opponent_pace": (60.0,)}, ""),
        (V2_33FEATURES, {"opponent_pace": (60.0,)}, "opponent_pace: 60.0 is outside its range, 80 to 125"),
    ],
)
def test_a_policy_is_one_of_the_models_version(
    version: FeatureVersion, rules: dict[str, tuple[float | str, ...]], fault: str
) -> None:
    """Guards against a rule for a feature that the model does not have, found only when it predicts."""
    policy = MissingPolicy(name="mine", rules=rules)
    assert policy.fault(version) == fault
    assert not PLATFORM_2026_01.fault(version)


def test_a_policy_of_another_version_is_refused(both: ReleaseContext, store: DirectoryStore) -> None:
    """Guards the manifest: a rule of another version is an error at registration, not in a worker."""
    zeros = {each.name: (each.low,) for each in V3_FEATURES.features if each.nullable}
    policy = MissingPolicy(name="mine", rules={**zeros, **PLATFORM_2026_01.rules})
    with pytest.raises(ReleaseError, match="policy mine is not one for this model: v2_33features has no feature"):
        register(both, model_file("json"), SEEN, missing=policy)
    assert store.names("") == []
    with pytest.raises(
        ReleaseError, match=r"The policy platform-2026-01 has no rule for .* team_games_missed"
    ) as refused:
        register(both, file_of("json"), SEEN, missing=PLATFORM_2026_01)
    assert "--missing platform-2026-01" not in str(refused.value), "it has no rules for the later features"
    filled, as_nan = (register(both, file_of("json"), SEEN, missing=each).model_id for each in (policy, NAN))
    assert filled != as_nan


def test_the_ids_of_models_of_33_features_stay() -> None:
    """Guards the ids of what earlier versions registered."""
    assert registered_id(model_file("json"), SEEN).startswith("xgboost_registered_33features_202112_")
    assert registered_id(b"CBM1 and nothing more", SEEN, NAN) == "catboost_v8_33features_202112_8c4d96223bac"
