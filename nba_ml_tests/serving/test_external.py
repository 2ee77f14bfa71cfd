"""Other systems in the predictor and the service: a CatBoost as champion and challenger, rules as challengers only."""

from __future__ import annotations

import hashlib
import random
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import date
from importlib.util import find_spec
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import xgboost as xgb

from nba_ml.contract.errors import BundleError, MissingExtraError
from nba_ml.contract.features import V2_33FEATURES
from nba_ml.contract.quantiles import QUANTILE_COLUMNS
from nba_ml.data.tables import PREDICTIONS
from nba_ml.evaluation.shadow import shadow_predictions
from nba_ml.model.calibration import calibrate
from nba_ml.registry.channel import CHAMPION, Channel, ChannelModel, Share
from nba_ml.registry.learners import interface
from nba_ml.registry.learners.process import predict_file
from nba_ml.registry.rollout_rules import bucket_of
from nba_ml.registry.systems.interface import TrainingExtent, columns_of, matrix_of
from nba_ml.registry.systems.registered import (
    Registered,
    load_registered,
    register_file,
    require_registered,
)
from nba_ml.registry.systems.registered_manifest import StatedFile
from nba_ml.registry.systems.rules import RULES
from nba_ml.serving import Prediction, Predictor
from nba_ml.serving.external import LoadedSystem, load_other
from nba_ml.serving.http.limits import Limits
from nba_ml.serving.http.service import app_of, create_app
from nba_ml.storage.directory import DirectoryStore
from nba_ml_tests.conftest import Trained, snapshot_of
from nba_ml_tests.faults.summary import PREFIX
from nba_ml_tests.serving.client import running
from nba_ml_tests.serving.conftest import AT, Published, named, point

pytestmark = pytest.mark.slow

needs_catboost = pytest.mark.skipif(
    find_spec("catboost") is None, reason="needs CatBoost: pip install 'nba_ml[catboost]'"
)
Record = Callable[[str, object], None]

MOCK = ChannelModel(system_id="mock", model_id="mock", manifest_sha256=None)
AVERAGE = ChannelModel(system_id="moving_average", model_id="moving_average", manifest_sha256=None)


@pytest.fixture(scope="session")
def cbm(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A CatBoost of our split's train side, as a file."""
    from catboost import CatBoostRegressor, Pool

    side = trained.side("train")
    model = CatBoostRegressor(
        loss_function="MAE", iterations=60, learning_rate=0.15, depth=5, random_seed=42, thread_count=1,
        allow_writing_files=False, verbose=False,
    )  # fmt: skip
    model.fit(Pool(side.features, side.points, feature_names=list(V2_33FEATURES.names)))
    path = tmp_path_factory.mktemp("cbm") / "model.cbm"
    model.save_model(str(path), format="cbm")
    return path.read_bytes()


def registered(store: DirectoryStore, cbm: bytes, trained: Trained, *, interval: bool = True) -> Registered:
    """The file registered, with an interval of the rows that it was stopped on, or without one."""
    fitted = trained.split.sides()["train"].last
    table = snapshot_of("2021-12").table.slice(0, 20)
    vectors = matrix_of(columns_of(table, V2_33FEATURES), V2_33FEATURES).tolist()
    rows = list(zip(table["player_lookup"].to_pylist(), table["game_date"].to_pylist(), vectors, strict=True))
    held = trained.side("early_stopping")
    predicted = np.array(predict_file(cbm, held.features.tolist()))
    calibration = calibrate(predicted, held.points.astype(np.float64)) if interval else None
    return register_file(store, cbm, TrainingExtent(fitted, date(2021, 12, 31)), rows, calibration)


@pytest.fixture
def theirs(published: Published, cbm: bytes, trained: Trained) -> Registered:
    return registered(published.store, cbm, trained)


def crown(store: DirectoryStore, model: ChannelModel, challenger: ChannelModel | None = None, share: Share = 0) -> None:
    """Let the pointer name any model as champion."""
    found = store.read(CHAMPION)
    assert found is not None
    state = Channel.from_bytes(found.data, "").model_copy(
        update={
            "serial": Channel.from_bytes(found.data, "").serial + 1,
            "champion": model,
            "challenger": challenger,
            "share": share,
            "graded_from": AT.date() if challenger else None,
        }
    )
    store.swap(CHAMPION, state.to_bytes(), found.generation)


def as_columns(records: list[Prediction]) -> list[dict[str, Any]]:
    return [
        {
            **{name: getattr(record, name) for name in PREDICTIONS.names if name not in QUANTILE_COLUMNS},
            **dict(zip(QUANTILE_COLUMNS, record.points_quantiles or (None,) * 19, strict=True)),
        }
        for record in records
    ]


def with_none(table: pa.Table) -> list[dict[str, Any]]:
    """A table's rows, NaN as None."""
    return [{name: None if value != value else value for name, value in row.items()} for row in table.to_pylist()]


def january() -> pa.Table:
    return snapshot_of("2022-01").table


def slate() -> pa.Table:
    return january().select([*V2_33FEATURES.names, "player_lookup", "game_date", "game_id"])


# --- what is predicted ------------------------------------------------------------------------------


@needs_catboost
@pytest.mark.parametrize("interval", [True, False])
def test_a_catboost_champion_predicts_what_shadow_grades(
    published: Published, cbm: bytes, trained: Trained, interval: bool
) -> None:
    """Guards the served record against being another than the graded one: every column of 4,901 real rows, bit for bit.

    And against an interval made up for a system that has none.
    """
    model = registered(published.store, cbm, trained, interval=interval)
    crown(published.store, model.model)
    expected = with_none(shadow_predictions([load_registered(model, 1)], january()))
    for predictor in (
        Predictor.load(published.store, channel="champion"),
        Predictor.load(str(published.root), model_id=model.model.model_id),
        Predictor.load(str(published.root / model.model.manifest)),
    ):
        found = as_columns(predictor.predict(slate()))
        assert len(found) == 4901
        assert found == expected
    record = predictor.predict(slate().slice(5, 1).to_pylist()[0])
    assert (record.system_id, record.model_type) == ("catboost_v8", "catboost")
    assert record.model_sha256 == model.manifest.objects[0].sha256
    spread = (record.points_low, record.points_high, record.confidence_score)
    assert all(value is not None for value in spread) if interval else spread == (None, None, None)


@pytest.mark.parametrize("share", [10, 50])
@pytest.mark.parametrize("rule", [MOCK, AVERAGE])
def test_a_rule_serves_its_share_and_nothing_else(published: Published, rule: ChannelModel, share: Share) -> None:
    """Guards the A/B against the mock: each player-game on the side of its bucket, every record as its system has it.

    A rule has nothing to say before a player's first game of the season, and no model's number stands in its place.
    """
    point(published.store, published.first, challenger=rule, share=share)
    predictor = Predictor.load(published.store, channel="champion")
    found = as_columns(predictor.predict(slate()))
    ours = as_columns(Predictor.load(published.store, model_id=published.first.model_id).predict(slate()))
    system = RULES[rule.model_id]
    by_key = {(r["player_lookup"], r["game_date"]): r for r in with_none(shadow_predictions([system], january()))}
    served, newcomers = 0, 0
    for record, of_champion in zip(found, ours, strict=True):
        key = (record["player_lookup"], record["game_date"])
        if bucket_of(*key) >= share:
            assert record == of_champion
            continue
        served += 1
        if key in by_key:
            assert record == by_key[key]
        else:
            newcomers += 1
            assert (record["system_id"], record["predicted_points"]) == (rule.system_id, None)
            assert (record["line_margin"], record["recommendation"]) == (None, "NO_LINE")
    assert abs(served / 4901 - share / 100) < 0.02
    assert newcomers == {10: 0, 50: 12}[share]
    mine = next(r for r in found if r["system_id"] == rule.system_id)
    assert mine["model_type"] == ("mock" if rule is MOCK else "rule")
    assert (mine["model_sha256"], mine["points_low"], mine["over_probability"]) == ("", None, None)


@needs_catboost
@pytest.mark.parametrize("share", [10, 50, 100])
def test_a_mixed_slate_goes_by_the_bucket(published: Published, theirs: Registered, share: Share) -> None:
    """Guards a rollout of the user's CatBoost: the very rows that every other worker gives it."""
    point(published.store, published.first, challenger=theirs.model, share=share)
    predictor = Predictor.load(published.store, channel="champion")
    assert predictor.challenger is not None
    assert predictor.challenger.model_id == theirs.model.model_id
    ours = as_columns(Predictor.load(published.store, model_id=published.first.model_id).predict(slate()))
    challengers = with_none(shadow_predictions([load_registered(theirs, 1)], january()))
    expected = [
        other if bucket_of(other["player_lookup"], other["game_date"]) < share else own
        for own, other in zip(ours, challengers, strict=True)
    ]
    assert as_columns(predictor.predict(slate())) == expected
    anonymous = slate().drop_columns(["player_lookup"]).slice(0, 50)
    assert {record.system_id for record in predictor.predict(anonymous)} == {"xgboost_v1"}


@needs_catboost
def test_threads_that_predict_while_systems_are_swapped(published: Published, theirs: Registered) -> None:
    """Guards CatBoost and the swap under threads: no error, and every record is one that some state would give."""
    predictor = Predictor.load(published.store, channel="champion", try_apart=False)
    rows = slate().slice(1000, 40).to_pylist()
    ours = predictor.predict(rows)
    crown(published.store, theirs.model)
    other = Predictor.load(published.store, channel="champion", try_apart=False).predict(rows)
    allowed = list(zip(ours, other, strict=True))
    seen: set[str] = set()
    wrong: list[object] = []
    done = threading.Event()

    def ask() -> None:
        while not done.is_set():
            try:
                found = predictor.predict(rows)
            except Exception as error:  # noqa: BLE001 (any error of this thread fails the test)
                wrong.append(error)
                return
            seen.update(record.model_sha256 for record in found)
            if not all(record in either for record, either in zip(found, allowed, strict=True)):
                wrong.append(found)

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for turn in range(8):
        crown(published.store, theirs.model if turn % 2 == 0 else named(published.store, published.first))
        predictor.refresh("champion")
    done.set()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert len(seen) == 2


# --- what is refused --------------------------------------------------------------------------------


@needs_catboost
def test_any_damage_to_a_catboost_is_refused(published: Published, theirs: Registered, record_property: Record) -> None:
    """Guards both objects of a registered model: bytes flipped, put in or taken out, anywhere, never serve.

    All are refused before CatBoost parses a byte, so nothing here can crash.
    """
    chance, tried = random.Random(33), 0
    for name in published.store.names("catboost_v8/"):
        path = published.root / name
        good = path.read_bytes()
        for _ in range(400):
            at, bad = chance.randrange(len(good)), bytearray(good)
            match chance.choice(["flip", "cut", "insert", "remove", "swap"]):
                case "flip":
                    bad[at] ^= 1 << chance.randrange(8)
                case "cut":
                    del bad[at:]
                case "insert":
                    bad[at:at] = chance.randbytes(chance.randint(1, 9))
                case "remove":
                    del bad[at : at + chance.randint(1, 9)]
                case _:
                    bad.reverse()
            if bytes(bad) == good:
                continue
            path.write_bytes(bad)
            with pytest.raises(BundleError):
                load_other(published.store, theirs.model, try_apart=False)
            tried += 1
        path.unlink()
        with pytest.raises(BundleError, match="none with that name"):
            load_other(published.store, theirs.model, try_apart=False)
        path.write_bytes(good)
    assert isinstance(load_other(published.store, theirs.model, try_apart=False), LoadedSystem)
    record_property(f"{PREFIX}damaged CatBoost models, none loaded", tried)
    assert tried > 700


@needs_catboost
def test_a_manifest_that_the_channel_does_not_name_is_refused(published: Published, theirs: Registered) -> None:
    """Guards against a model registered anew under a pointer that names the old one by digest."""
    other = theirs.model.model_copy(update={"manifest_sha256": "0" * 64})
    crown(published.store, other)
    with pytest.raises(BundleError, match=r"the manifest of sha256 0000.* as the channel names it"):
        Predictor.load(published.store, channel="champion")


@needs_catboost
def test_a_forged_catboost_kills_another_process(published: Published, theirs: Registered) -> None:
    """Guards the serving process: with every digest right, a damaged tree can kill CatBoost's parser, but not here.

    The numbers that describe the trees lie in the last eighth of the file.
    """
    file, manifest = (
        published.root / f"catboost_v8/{theirs.model.model_id}{end}" for end in (".cbm", "_manifest.json")
    )
    predictor = Predictor.load(published.store, channel="champion", try_apart=True)
    size, ended = len(theirs.data), ""
    for at in random.Random(3).sample(range(size - size // 8, size - 4, 4), 60):
        before = predictor.model
        bad = theirs.data[:at] + b"\xff\xff\xff\x7f" + theirs.data[at + 4 :]
        stated = StatedFile(name=file.name, size=size, sha256=hashlib.sha256(bad).hexdigest())
        forged = theirs.manifest.model_copy(update={"objects": (stated,)}).to_bytes()
        file.write_bytes(bad)
        manifest.write_bytes(forged)
        sha256 = hashlib.sha256(forged).hexdigest()
        crown(published.store, theirs.model.model_copy(update={"manifest_sha256": sha256}))
        try:
            predictor.refresh("champion")
        except BundleError as error:
            ended = str(error)
            assert predictor.model is before
        if "killed by signal" in ended:
            break
    assert "could not load catboost_v8_33features_202112_" in ended
    assert "it was killed by signal 11" in ended
    registered = require_registered(published.store, theirs.model.model_id)
    with pytest.raises(BundleError, match="it was killed by signal 11"):  # nor the process of a check or a grading
        load_registered(registered)


def test_an_unknown_system_has_no_stand_in(published: Published) -> None:
    """Guards against a channel from a newer nba_ml: what this one cannot predict is refused by name."""
    unknown = ChannelModel(system_id="lightgbm_v2", model_id="lightgbm_v2_x", manifest_sha256="0" * 64)
    point(published.store, published.first, challenger=unknown, share=10)
    with pytest.raises(BundleError, match="a system that this version of nba_ml does not have"):
        Predictor.load(published.store, channel="champion")


@needs_catboost
def test_without_catboost_the_error_names_the_extra(
    published: Published, theirs: Registered, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards a worker without the extra: told by name at load, and while watching what served goes on serving."""
    predictor = Predictor.load(published.store, channel="champion")
    before = predictor.predict(slate().slice(0, 30))

    def absent(name: str) -> object:
        raise ModuleNotFoundError(f"No module named '{name}'", name=name)

    monkeypatch.setattr(interface, "import_module", absent)
    point(published.store, published.first, challenger=theirs.model, share=10)
    with pytest.raises(MissingExtraError, match=r"pip install 'nba_ml\[catboost\]'") as caught:
        Predictor.load(published.store, channel="champion")
    assert "docker build --build-arg EXTRA=catboost" in str(caught.value)
    assert f"{theirs.model.model_id} is the challenger of the channel champion" in str(caught.value)
    assert "To serve without it now: `nba-ml rollout stop --reason ...`" in str(caught.value)
    with pytest.raises(MissingExtraError, match="EXTRA=catboost") as caught:
        Predictor.load(published.store, model_id=theirs.model.model_id)
    assert "channel" not in str(caught.value)
    crown(published.store, theirs.model)
    with pytest.raises(MissingExtraError, match=r"is the champion of.*`nba-ml champion rollback --reason \.\.\.`"):
        Predictor.load(published.store, channel="champion")
    app = app_of(predictor, channel="champion", refresh_seconds=0.05, limits=Limits())
    with running(app) as client:
        health = client.get("/health").json
        while health["status"] == "ok":
            health = client.get("/health").json
        assert "nba_ml[catboost]" in health["channel"]["failure"]
        assert (health["status"], health["model"]["model_id"]) == ("degraded", published.first.model_id)
        assert predictor.predict(slate().slice(0, 30)) == before


# --- the service ------------------------------------------------------------------------------------


@needs_catboost
def test_the_service_with_a_catboost_champion_and_the_mock_beside_it(published: Published, theirs: Registered) -> None:
    """Guards the way through HTTP: both sides bit for bit, who served in every record, health and metrics alike."""
    crown(published.store, theirs.model, MOCK, 50)
    predictor = Predictor.load(published.store, channel="champion")
    rows = [
        {name: None if value != value else value for name, value in row.items()}
        for row in slate().slice(0, 450).to_pylist()
    ]
    sent: list[dict[str, Any]] = [{**row, "game_date": str(row["game_date"])} for row in rows]
    with running(create_app(published.store, channel="champion")) as client:
        answer = client.predict({"rows": sent})
        assert answer.status == 200
        found = answer.json["predictions"]
        assert found == [record.to_json() for record in predictor.predict(slate().slice(0, 450))]
        assert {(r["system_id"], r["model_type"]) for r in found} == {("catboost_v8", "catboost"), ("mock", "mock")}
        assert client.predict(sent[0]).json == found[0]
        health = client.get("/health").json
        assert (health["status"], health["model"]["system_id"]) == ("ok", "catboost_v8")
        assert health["model"]["model_sha256"] == theirs.manifest.objects[0].sha256
        assert (health["channel"]["challenger"], health["channel"]["challenger_type"]) == ("mock", "mock")
        metrics = client.get("/metrics").body.decode()
        assert f'nba_ml_predictions_total{{model_version="{theirs.model.model_id}"}}' in metrics
        assert 'role="challenger"' in metrics
        document = client.get("/openapi.json").json
        low = document["components"]["schemas"]["Prediction"]["properties"]["points_low"]
        assert {"type": "null"} in low["anyOf"]


def test_a_library_that_is_not_needed_is_not_loaded(published: Published) -> None:
    """Guards the worker's size: the mock beside a booster must not bring CatBoost along, nor Arrow."""
    point(published.store, published.first, challenger=MOCK, share=10)
    code = (
        "import sys\nfrom nba_ml.serving import Predictor\n"
        f"p = Predictor.load({str(published.root)!r}, channel='champion', try_apart=False)\n"
        "print(p.challenger.identity.model_type, *sys.modules)"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert told[0] == "mock"
    loaded = {name.partition(".")[0] for name in told[1:]}
    assert not loaded & {"catboost", "pyarrow", "pandas", "dagster", "duckdb"}
    assert xgb.__name__ in loaded
