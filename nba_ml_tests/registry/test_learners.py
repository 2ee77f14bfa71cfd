"""Registered model files of every learner: what is accepted, what they get for missing values, and what is refused."""

from __future__ import annotations

import json
from datetime import date, timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from nba_ml.cli.main import main
from nba_ml.contract.errors import BundleError, ReleaseError
from nba_ml.contract.features import V2_33FEATURES
from nba_ml.contract.times import eastern_noon
from nba_ml.registry.channel import read_channel
from nba_ml.registry.learners.known import LEARNERS
from nba_ml.registry.learners.missing import NAN, PLATFORM_2026_01, MissingPolicy, policy_of
from nba_ml.registry.promotion import promote
from nba_ml.registry.reader import REGISTERED
from nba_ml.registry.registration import register
from nba_ml.registry.release_context import ReleaseContext
from nba_ml.registry.rollout import rollout_advance, rollout_start
from nba_ml.registry.systems.interface import TrainingExtent, columns_of
from nba_ml.registry.systems.loading import find_model, load_system
from nba_ml.registry.systems.registered import require_registered
from nba_ml.serving import Predictor
from nba_ml.slates.grades import grade_slates
from nba_ml.slates.slate import SlateSystems, score_slate
from nba_ml.storage.directory import DirectoryStore
from nba_ml_tests.conftest import snapshot_of
from nba_ml_tests.profiles import examples
from nba_ml_tests.registry.model_files import FORMATS, NAMES, SYSTEMS, december, model_file, saved, trained, vectors_of
from nba_ml_tests.release_scene import AT, WHY, bench_of, published_model, strict
from nba_ml_tests.slate_scene import slate_rows_of

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        find_spec("catboost") is None or find_spec("lightgbm") is None,
        reason="needs CatBoost and LightGBM: pip install 'nba_ml[challengers]'",
    ),
]

GIVEN = ("--target", "points", "--given-until", "2021-12-31")
SEEN = TrainingExtent(date(2021, 12, 31), date(2021, 12, 31))


@pytest.fixture
def store(tmp_path: Path) -> DirectoryStore:
    return DirectoryStore(tmp_path / "artifacts")


@pytest.fixture
def bench(store: DirectoryStore, tmp_path: Path) -> ReleaseContext:
    return bench_of(store, DirectoryStore(tmp_path / "store"), "2021-12", "2022-01")


def says(code: int, *arguments: str, **environment: str) -> str:
    ended = CliRunner().invoke(main, arguments, env=environment, catch_exceptions=False)
    assert ended.exit_code == code, ended.output
    return ended.output


def predicted(model: Any, suffix: str, filled: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """What the model's library predicts for imputed rows."""
    if suffix in ("json", "ubj"):
        import xgboost

        return np.asarray(model.predict(xgboost.DMatrix(filled, feature_names=NAMES)))
    return np.asarray(model.predict(filled))


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_model_of_the_platform_is_registered_verified_and_served_on_its_own_inputs(
    bench: ReleaseContext, store: DirectoryStore, suffix: str
) -> None:
    """Guards the numbers: shadow and the predictor give what the library gives on imputed rows, not on NaN."""
    data = model_file(suffix)
    identity = register(bench, data, SEEN, missing=PLATFORM_2026_01).model_id
    assert identity.startswith(f"{SYSTEMS[suffix]}_33features_202112_")
    assert register(bench, data, SEEN, missing=PLATFORM_2026_01).model_id == identity
    january = snapshot_of("2022-01").table
    own = trained(suffix, vectors_of(december(), PLATFORM_2026_01), december()["points"].to_numpy().astype(float))
    filled = vectors_of(january, PLATFORM_2026_01)
    expected = predicted(own, suffix, filled)
    system = load_system(store, find_model(store, identity), 1)
    assert np.allclose(system.predict(columns_of(january, V2_33FEATURES)), expected, rtol=0, atol=1e-6)
    # On NaN, the CatBoost is 3 points too low: it is no longer a model of points, and a person has to insist.
    as_nan = register(bench, data, SEEN, missing=NAN, waived=["stored_bias"], reason="what NaN does to it").model_id
    assert as_nan != identity
    with_nan = load_system(store, find_model(store, as_nan), 1)
    assert np.abs(with_nan.predict(columns_of(january, V2_33FEATURES)) - expected).max() > 1

    rows = january.select([*NAMES, "player_lookup", "game_date", "game_id"]).slice(0, 40).to_pylist()
    for row in rows[::2]:  # the games of that season have no lines
        row |= {"vegas_points_line": 12.5, "has_vegas_line": 1.0}
    predictor = Predictor.load(store, model_id=identity, try_apart=False)
    served = predictor.predict(rows)
    # The imputed line is the model's input only: nobody bets on it.
    assert [each.current_points_line for each in served] == [12.5, None] * 20
    lineless = [each.predicted_points for each in served[1::2]]
    assert lineless == pytest.approx(np.clip(expected[1:40:2], 0, 60), abs=0.0051)

    for record, output in zip(predictor.explain(rows[1:10:2]), expected[1:10:2], strict=True):
        said_why: Any = record.explanation
        assert said_why["model_output"] == pytest.approx(output, abs=1e-4)
        assert said_why["base"] + sum(said_why["contributions"].values()) == pytest.approx(output, abs=1e-3)

    said = says(0, "verify", str(store.root / SYSTEMS[suffix] / f"{identity}_manifest.json"))
    assert f"{identity}: verified. Digests match, and a fresh process reproduces its 20 reference predictions" in said
    [file] = [path for path in (store.root / SYSTEMS[suffix]).iterdir() if path.name == f"{identity}.{suffix}"]
    good = file.read_bytes()
    file.write_bytes(good[:-3] + bytes([good[-3] ^ 1]) + good[-2:])
    said = says(2, "verify", str(store.root / SYSTEMS[suffix] / f"{identity}_manifest.json"))
    assert "register the model file again" in said
    assert "publish" not in said


def shadow_grade(store: DirectoryStore, identity: str, day: date) -> tuple[int, float]:
    """Rows and MAE of the challenger in a slate of the channel, as graded with the month's results."""
    channel = read_channel(store)
    assert channel is not None
    assert channel.challenger is not None
    who = SlateSystems(channel, *(load_system(store, each, 1) for each in (channel.champion, channel.challenger)))
    made = score_slate(slate_rows_of(day), who, day, eastern_noon(day) - timedelta(hours=1))
    graded = grade_slates([made], snapshot_of("2022-01"), "2022-01")
    [grade] = [each for each in graded.report.grades if each.model_version == identity]
    assert (grade.side, grade.role, grade.made) == ("challenger", "shadow", "ahead")
    assert grade.metrics is not None
    return grade.metrics.n, grade.metrics.mae


@pytest.mark.parametrize("suffix", ["cbm", "json", "txt"])
def test_a_registered_model_goes_from_shadow_to_champion(
    bench: ReleaseContext, store: DirectoryStore, suffix: str
) -> None:
    """Guards the path of every learner's files: graded in slates in shadow, rolled out step by step, and served."""
    bench = strict(bench, rollout_margin=0.5)
    promote(bench, AT, published_model(store, "2021-11"))
    identity = register(bench, model_file(suffix), SEEN, missing=PLATFORM_2026_01).model_id
    rollout_start(bench, identity, AT, WHY, graded_from=date(2022, 1, 1))
    slate_day = date(2022, 1, 12)
    own = trained(suffix, vectors_of(december(), PLATFORM_2026_01), december()["points"].to_numpy().astype(float))
    played = snapshot_of("2022-01").table
    played = played.filter(pc.equal(played["game_date"], pa.scalar(slate_day)))
    errors = np.abs(predicted(own, suffix, vectors_of(played, PLATFORM_2026_01)) - played["points"].to_numpy())
    assert shadow_grade(store, identity, slate_day) == (len(errors), pytest.approx(errors.mean(), abs=0.005))
    shares = []
    for day in (8, 16, 24, 31):
        status, moved = rollout_advance(bench, AT, date(2022, 1, day))
        assert status.step.action == "advance", status.step.reason
        assert moved.channel is not None
        shares.append(moved.channel.share)
    assert shares == [10, 50, 100, 0]
    predictor = Predictor.load(store, channel="champion", try_apart=False)
    assert predictor.model.model_id == identity
    rows = snapshot_of("2022-01").table.select([*NAMES, "player_lookup", "game_date", "game_id"]).slice(0, 30)
    assert {each.system_id for each in predictor.predict(rows)} == {SYSTEMS[suffix]}


@pytest.mark.parametrize("suffix", ["cbm", "json", "txt"])
def test_a_model_that_never_saw_a_missing_value_needs_a_policy(
    bench: ReleaseContext, store: DirectoryStore, tmp_path: Path, suffix: str
) -> None:
    """Guards against the model that nobody knows: NaN alone moved one from an error of 3.97 to 4.48."""
    data = model_file(suffix)
    with pytest.raises(ReleaseError) as refused:
        register(bench, data, SEEN)
    assert "never saw a missing value" in str(refused.value)
    assert "vegas_points_line " in str(refused.value)
    ways = [line for line in str(refused.value).splitlines() if line.startswith("--missing ")]
    assert len(ways) == 2
    assert ways[0].split() == ["--missing", "platform-2026-01"]
    assert store.names("") == []

    rules = tmp_path / "rules.json"
    rules.write_text('{"minutes_avg_last_10": 28}')
    with pytest.raises(ReleaseError, match=r"The policy rules.json has no rule for .* vegas_points_line"):
        register(bench, data, SEEN, missing=policy_of(str(rules)))
    file = tmp_path / f"model.{suffix}"
    file.write_bytes(data)
    places = {"NBA_ML_STORE": str(bench.months.objects.root), "NBA_ML_ARTIFACT_ROOT": str(store.root)}  # type: ignore[attr-defined]
    command = ("rollout", "register", str(file), *GIVEN)
    assert "--missing platform-2026-01" in says(2, *command, **places)
    assert "Registered as" in says(0, *command, "--missing", "platform-2026-01", **places)


@pytest.mark.parametrize("suffix", ["cbm", "json", "txt"])
def test_a_model_of_rows_with_missing_values_gets_them(
    bench: ReleaseContext, store: DirectoryStore, suffix: str
) -> None:
    """Guards against a policy demanded of everybody: a rare first game is no reason either."""
    identity = register(bench, model_file(suffix, "nan"), SEEN).model_id
    assert require_registered(store, identity).manifest.missing == NAN


@pytest.mark.parametrize("suffix", ["cbm", "json", "txt"])
def test_the_columns_of_an_array_are_never_guessed(
    bench: ReleaseContext, store: DirectoryStore, tmp_path: Path, suffix: str
) -> None:
    """Guards against 33 columns in another order; the remedy in the message works for every learner."""
    file = tmp_path / f"model.{suffix}"
    file.write_bytes(model_file(suffix, "unnamed"))
    places = {"NBA_ML_STORE": str(bench.months.objects.root), "NBA_ML_ARTIFACT_ROOT": str(store.root)}  # type: ignore[attr-defined]
    command = ("rollout", "register", str(file), *GIVEN, "--missing", "platform-2026-01")
    assert "--features v2_33features" in says(2, *command, **places)
    names = tmp_path / "names.txt"
    names.write_text("\n".join([NAMES[1], NAMES[0], *NAMES[2:]]))
    assert "position 0 is 'points_avg_last_10'" in says(2, *command, "--features", str(names), **places)
    names.write_text(json.dumps(NAMES))
    said = says(0, *command, "--features", str(names), **places)
    identity = said.split("Registered as ")[1].split(". ")[0]
    assert load_system(store, find_model(store, identity), 1).version == identity
    assert require_registered(store, identity).manifest.names == "given"
    swapped = [NAMES[1], NAMES[0], *NAMES[2:]]
    other = saved(
        trained(suffix, vectors_of(december()), december()["points"].to_numpy().astype(float), swapped, 1), suffix
    )
    file.write_bytes(other)
    said = says(2, *command, "--features", "v2_33features", **places)
    assert "at position 0 'points_avg_last_10' where v2_33features has 'points_avg_last_5'" in " ".join(said.split())


def test_a_booster_that_stopped_early_is_saved_as_its_trainer_means_it(bench: ReleaseContext, tmp_path: Path) -> None:
    """Guards against the trees after the best iteration, which XGBoost's classes count or do not; both ways work."""
    import xgboost

    rows = vectors_of(december())
    matrix = xgboost.DMatrix(rows, december()["points"].to_numpy(), feature_names=NAMES)
    model = trained("json", rows, december()["points"].to_numpy().astype(float), rounds=12)
    model.set_attr(best_iteration="7")
    file = tmp_path / "model.json"
    file.write_bytes(saved(model, "json"))
    with pytest.raises(BundleError, match="its best iteration is 7, and it has 12 rounds") as refused:
        register(bench, file.read_bytes(), SEEN, missing=NAN)
    model.set_attr(best_iteration="the seventh")
    with pytest.raises(BundleError, match="the best iteration 'the seventh', and a number is expected"):
        register(bench, saved(model, "json"), SEEN, missing=NAN)
    first, cut, keep = str(refused.value).split("`")[1::2]
    for lines, rounds in ((cut, 8), (keep, 12)):
        text = f"{first}; {lines}".replace("'cut.json'", "OUT").replace("'all.json'", "OUT")
        exec(text, {"FILE": str(file), "OUT": str(tmp_path / "out.json")})
        identity = register(bench, (tmp_path / "out.json").read_bytes(), SEEN, missing=NAN).model_id
        system = load_system(bench.objects, find_model(bench.objects, identity), 1)
        expected = model.predict(matrix, iteration_range=(0, rounds))
        assert np.allclose(system.predict(columns_of(december(), V2_33FEATURES)), expected, rtol=0, atol=1e-5)


def two_targets() -> bytes:
    import xgboost

    rows, points = vectors_of(december())[:500], december()["points"].to_numpy()[:500]
    matrix = xgboost.DMatrix(rows, np.column_stack([points, points]), feature_names=NAMES)
    return saved(xgboost.train({"nthread": 1}, matrix, 2), "json")


def linear() -> bytes:
    import xgboost

    matrix = xgboost.DMatrix(np.nan_to_num(vectors_of(december())[:500]), np.ones(500), feature_names=NAMES)
    return saved(xgboost.train({"booster": "gblinear", "nthread": 1}, matrix, 2), "json")


def categories() -> bytes:
    import lightgbm

    data = lightgbm.Dataset(
        vectors_of(december(), PLATFORM_2026_01), december()["points"].to_numpy(), feature_name=NAMES,
        categorical_feature=["games_in_last_7_days"],
    )  # fmt: skip
    options = {"verbose": -1, "num_threads": 1, "feature_fraction": 0.1, "seed": 1}
    return saved(lightgbm.train(options, data, 40), "txt")


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (two_targets, "num_target 2, and one output is expected"),
        (linear, "of kind 'gblinear'"),
        (categories, "treats some features as categories"),
        (lambda: model_file("txt")[:9000], "is cut off"),
        (lambda: model_file("ubj")[:900], "cannot be loaded by XGBoost"),
        (lambda: model_file("cbm")[:900], "cannot be loaded by CatBoost|A new process could not load"),
        (lambda: b"\x80\x04\x95", "pickle or joblib file is never loaded"),
    ],
    ids=["two targets", "linear", "categories", "cut text", "cut ubj", "cut cbm", "pickle"],
)
def test_what_is_no_regression_of_numbers_on_trees_is_refused(bench: ReleaseContext, made: Any, said: str) -> None:
    """Guards each learner against what its library loads without a word."""
    with pytest.raises(BundleError, match=said):
        register(bench, made(), SEEN, missing=NAN)
    assert bench.objects.names("") == []


# -- policies ----------------------------------------------------------------------------------------


def test_the_platforms_policy_fills_everything_and_reads_the_row_as_it_was() -> None:
    """Guards the imputed values: a line is the season average, or 15 for a player without one, and never a default."""
    assert set(PLATFORM_2026_01.rules) == {each.name for each in V2_33FEATURES.features if each.nullable}
    rows = np.full((3, 33), np.nan, dtype=np.float32)
    at = V2_33FEATURES.index
    rows[0, at("points_avg_season")] = 22.5
    rows[1, at("vegas_points_line")] = 30.5
    filled = PLATFORM_2026_01.fill(rows, V2_33FEATURES)
    found = {name: filled[:, at(name)].tolist() for name in NAMES}
    assert found["vegas_points_line"] == [22.5, 30.5, 15.0]
    assert found["vegas_opening_line"] == [22.5, 30.5, 15.0]
    assert found["avg_points_vs_opponent"] == [22.5, 10.0, 10.0]
    assert found["points_avg_season"] == [22.5, 10.0, 10.0]
    assert found["pct_mid_range"] == pytest.approx([0.2] * 3)
    assert np.isnan(rows).sum() == 97  # the rows themselves are not touched


@settings(max_examples=examples(60), deadline=None)
@given(
    values=st.lists(st.one_of(st.none(), st.floats(0, 60, width=32)), min_size=33, max_size=33),
    rules=st.dictionaries(
        st.sampled_from(["points_avg_last_5", "points_avg_season", "vegas_points_line"]),
        st.lists(
            st.one_of(st.floats(0, 60, width=32), st.sampled_from(["points_avg_last_10"])), min_size=1, max_size=3
        ),
    ),
)
def test_a_policy_changes_missing_values_only(values: list[float | None], rules: dict[str, list[Any]]) -> None:
    """Guards a value that is there, and the order of the alternatives."""
    row = np.array([values], dtype=np.float32)
    filled = MissingPolicy(name="mine", rules={key: tuple(rule) for key, rule in rules.items()}).fill(
        row, V2_33FEATURES
    )
    for index, name in enumerate(NAMES):
        there = [values[NAMES.index(each)] if isinstance(each, str) else each for each in rules.get(name, [])]
        expected = next((each for each in [values[index], *there] if each is not None), None)
        assert np.array_equal(filled[0, index], np.float32(np.nan if expected is None else expected), equal_nan=True)


@pytest.mark.parametrize(
    "rules",
    [
        {"no_such": 1.0},
        {"vegas_points_line": "no_such"},
        {"vegas_points_line": "vegas_points_line"},
        {"vegas_points_line": []},
        {"vegas_points_line": 900},
        {"pct_three": 35},
        {"vegas_points_line": None},
        ["vegas_points_line"],
    ],
    ids=["feature", "source", "itself", "empty", "range", "percent", "null", "list"],
)
def test_a_policy_that_means_nothing_is_refused(tmp_path: Path, rules: object) -> None:
    """Guards against shares in percent and names with a typing error, before they reach a manifest."""
    path = tmp_path / "rules.json"
    path.write_text(json.dumps(rules))
    with pytest.raises(ReleaseError, match=r"rules\.json is not a missing-value policy"):
        policy_of(str(path))
    with pytest.raises(ReleaseError, match="neither a policy"):
        policy_of("platform-2025")
    with pytest.raises(ValidationError):
        MissingPolicy(name="", rules={})


def test_the_reader_knows_the_registered_systems() -> None:
    """Guards the remedy in the reader's messages, which may not import the learners."""
    assert tuple(f"{name}_" for name in LEARNERS) == REGISTERED
