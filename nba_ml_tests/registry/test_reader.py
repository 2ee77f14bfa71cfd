"""A worker's side: a bundle that is not exactly what was published is refused before XGBoost sees a byte."""

from __future__ import annotations

import hashlib
import json
import math
import pickle
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xgboost as xgb
from hypothesis import given, settings
from hypothesis import strategies as st

from nba_ml.contract.errors import BundleError
from nba_ml.contract.features import V2_33FEATURES, V3_FEATURES
from nba_ml.registry import fresh_process
from nba_ml.registry.channel import ChannelModel
from nba_ml.registry.fresh_process import predict_in_fresh_process
from nba_ml.registry.manifest import BundleNames
from nba_ml.registry.moves import require_model_intact
from nba_ml.registry.publication import publish
from nba_ml.registry.reader import (
    _version_of,
    read_bundle,
    read_manifest,
    reads_from,
    refuse,
    require_intact,
    verify_bundle,
)
from nba_ml.registry.reference import predict_rows
from nba_ml.registry.systems.loading import find_model, load_system
from nba_ml.serving.model import load_model
from nba_ml.storage.directory import DirectoryStore
from nba_ml_tests.profiles import examples
from nba_ml_tests.registry.publication_machine import bundle_of

NAMES = list(V2_33FEATURES.names)
Objects = dict[str, bytes]
"""The three objects of a bundle by name: the manifest, the booster, the record."""


def trained(names: list[str], form: str = "json") -> bytes:
    """A real booster over the given features, trained on random numbers with holes."""
    source = np.random.default_rng(3)
    rows = source.random((400, len(names)), dtype=np.float32) * 40
    rows[source.random(rows.shape) < 0.1] = np.nan
    target = np.nan_to_num(rows[:, 0]) * 0.7 + source.normal(0, 3, 400)
    matrix = xgb.DMatrix(rows, label=target, feature_names=names)
    booster = xgb.train({"objective": "reg:absoluteerror", "max_depth": 4, "nthread": 1, "seed": 42}, matrix, 40)
    return bytes(booster.save_raw(form))


def reference_rows() -> list[list[float | None]]:
    source = np.random.default_rng(4)
    values = source.random((20, len(NAMES))) * 40
    return [[None if source.random() < 0.1 else float(value) for value in row] for row in values]


def recorded(booster: bytes, rows: list[list[float | None]]) -> list[float]:
    """What training records: predictions through a DMatrix, the other way into XGBoost than serving takes."""
    model = xgb.Booster(model_file=bytearray(booster))
    values = np.array([[math.nan if value is None else value for value in row] for row in rows], dtype=np.float32)
    return [float(value) for value in model.predict(xgb.DMatrix(values, feature_names=model.feature_names))]


@pytest.fixture(scope="module")
def booster() -> bytes:
    return trained(NAMES)


@pytest.fixture(scope="module")
def rows() -> list[list[float | None]]:
    return reference_rows()


@pytest.fixture(scope="module")
def published(
    booster: bytes, rows: list[list[float | None]], tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Objects]:
    """The manifest's name and the objects of a bundle that the publisher itself published."""
    references = [
        {"player_lookup": f"player{i}", "game_date": "2022-01-15", "features": row, "prediction": prediction}
        for i, (row, prediction) in enumerate(zip(rows, recorded(booster, rows), strict=True))
    ]
    return published_by_us(booster, tmp_path_factory.mktemp("published"), reference_rows=references)


def published_by_us(booster: bytes, root: Path, **fields: Any) -> tuple[str, Objects]:
    store = DirectoryStore(root)
    result = publish(store, bundle_of(booster, **fields))
    names = [result.manifest.name, result.booster.name, result.record.name]
    return result.manifest.name, {name: store.read(name).data for name in names}  # type: ignore[union-attr]


def refused(objects: Objects, name: str, expecting: str) -> str:
    """Verify, and expect a refusal by the checks of the bytes alone.

    The time limit of zero makes sure of 'before XGBoost parses a byte': starting the process that would parse
    them fails with another message than the one expected here.
    """
    with pytest.raises(BundleError, match="The bundle cannot be trusted") as caught:
        verify_bundle(objects.get, name, time_limit_seconds=0.0)
    assert expecting in str(caught.value)
    return str(caught.value)


def sealed(manifest: dict[str, Any]) -> bytes:
    """A manifest with the digest that it needs: what a careful forger would write."""

    def canonical(content: dict[str, Any]) -> bytes:
        return (json.dumps(content, sort_keys=True, indent=2) + "\n").encode()

    content = {key: value for key, value in manifest.items() if key != "manifest_sha256"}
    return canonical({**content, "manifest_sha256": hashlib.sha256(canonical(content)).hexdigest()})


def forged(published: tuple[str, Objects], change: Callable[[dict[str, Any]], object]) -> Objects:
    """The bundle with a manifest changed by `change` and sealed again."""
    name, objects = published
    manifest = json.loads(objects[name])
    change(manifest)
    return {**objects, name: sealed(manifest)}


# -- a good bundle -----------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_published_bundle_is_trusted(published: tuple[str, Objects], booster: bytes) -> None:
    """Guards the whole chain: published here, read and predicted by a process that loaded nothing else."""
    name, objects = published
    verified = verify_bundle(objects.get, name)
    assert verified.booster == booster
    assert verified.model_sha256 == hashlib.sha256(booster).hexdigest()
    assert name == f"xgboost_v1/{verified.model_id}_manifest.json"
    assert (verified.features, len(verified.rows)) == (V2_33FEATURES, 20)
    assert verified.record["metrics"] == {"mae": 4.5}


@pytest.mark.slow
def test_a_bundle_may_be_copied_elsewhere_whole(published: tuple[str, Objects]) -> None:
    """Guards relative names: a bundle in another folder, or in none, is the same bundle."""
    name, objects = published
    bare = {key.rpartition("/")[2]: data for key, data in objects.items()}
    assert len(verify_bundle(bare.get, name.rpartition("/")[2]).rows) == 20


@pytest.mark.slow
@pytest.mark.parametrize("form", ["json", "ubj"])
def test_predictions_are_the_recorded_ones_to_the_last_bit(rows: list[list[float | None]], form: str) -> None:
    """Guards equality: DMatrix against in-place, a batch against row by row, both forms, missing values."""
    booster = trained(NAMES, form)
    expected = recorded(booster, rows)
    assert predict_rows(booster, rows, V2_33FEATURES) == expected
    assert [predict_rows(booster, [row], V2_33FEATURES)[0] for row in rows] == expected
    assert predict_in_fresh_process(booster, rows, V2_33FEATURES) == expected
    assert len(set(expected)) > 10
    assert predict_rows(booster, [], V2_33FEATURES) == []


@pytest.mark.slow
def test_the_worker_loads_neither_dagster_nor_pydantic() -> None:
    """Guards what a worker must install, and the seconds that importing it takes."""
    code = "import sys, nba_ml.registry.reader, nba_ml.registry.reference; print('\\n'.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300)
    loaded = set(done.stdout.split())
    assert {"nba_ml.registry.reader", "numpy"} <= loaded
    banned = {"dagster", "pydantic", "pyarrow", "pandas", "duckdb", "google.cloud", "click", "rich", "xgboost"}
    assert loaded & banned == set()
    rooms = {".".join(name.split(".")[:2]) for name in loaded if name.startswith("nba_ml.")}
    assert rooms == {"nba_ml.machine", "nba_ml.contract", "nba_ml.registry"}
    ours = {name for name in loaded if name.startswith("nba_ml.registry.")}
    names = ("booster_structure", "fresh_process", "reader", "reference", "ubj")
    assert ours == {f"nba_ml.registry.{name}" for name in names}


@pytest.mark.slow
def test_reading_a_bundle_loads_no_library_of_numbers() -> None:
    """Guards the second that a rollback has: digests need neither NumPy nor XGBoost."""
    code = "import sys, nba_ml.registry.reader, nba_ml.registry.rollback; print('\\n'.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300)
    loaded = set(done.stdout.split())
    assert "nba_ml.registry.moves" in loaded
    assert loaded & {"numpy", "xgboost", "dagster", "pyarrow", "pandas", "duckdb", "google.cloud", "click"} == set()


# -- damage ------------------------------------------------------------------------------------------


@settings(max_examples=examples(150), deadline=None)
@given(data=st.data())
def test_no_flipped_bit_goes_through(published: tuple[str, Objects], data: st.DataObject) -> None:
    """Guards against bit rot and tampering, at any place of any of the three objects."""
    name, objects = published
    which = data.draw(st.sampled_from(sorted(objects)))
    at, bit = data.draw(st.integers(0, len(objects[which]) - 1)), data.draw(st.integers(0, 7))
    changed = bytearray(objects[which])
    changed[at] ^= 1 << bit
    refused({**objects, which: bytes(changed)}, name, which)


def test_no_truncation_goes_through(published: tuple[str, Objects]) -> None:
    """Guards against a copy that was cut, by one byte or by all, or that grew."""
    name, objects = published
    source = random.Random(1)
    for which, data in objects.items():
        lengths = [0, 1, len(data) - 1, *(source.randrange(len(data)) for _ in range(30))]
        for changed in [*(data[:length] for length in lengths), data + b"\n", data + data]:
            refused({**objects, which: changed}, name, which)


def test_a_missing_object_is_named(published: tuple[str, Objects]) -> None:
    """Guards against a bundle without one of its parts."""
    name, objects = published
    for which in objects:
        others = {key: data for key, data in objects.items() if key != which}
        refused(others, name, f"{which}: expected an object; found")


def test_whoever_reads_refuses_the_same_damage_in_the_same_words(
    published: tuple[str, Objects], tmp_path: Path
) -> None:
    """Guards against a second verifier: rollback, promotion, the predictor and `verify` go by one reader."""
    name, objects = published
    model_id = name.rpartition("/")[2].removesuffix("_manifest.json")
    named = ChannelModel(
        system_id="xgboost_v1", model_id=model_id, manifest_sha256=hashlib.sha256(objects[name]).hexdigest()
    )
    readers: list[Callable[[DirectoryStore], object]] = [
        lambda store: require_model_intact(store, named),
        lambda store: find_model(store, model_id),
        lambda store: load_system(store, named, 1),
        lambda store: load_model(reads_from(store), name, manifest_sha256=named.manifest_sha256),
        lambda store: verify_bundle(reads_from(store), name, manifest_sha256=named.manifest_sha256),
    ]
    for which in (other for other in objects if other != name):
        good = objects[which]
        for number, damaged in enumerate((None, good[:-1], good[:-1] + b"?")):
            store = DirectoryStore(tmp_path / f"{which.rpartition('/')[2]}{number}")
            for each, data in {**objects, which: damaged}.items():
                if data is not None:
                    store.create(each, data)
            found = {_refusal(reader, store) for reader in readers}
            assert len(found) == 1, found
            assert which in found.pop()


def test_a_manifest_other_than_the_one_named_is_refused_at_every_depth(
    published: tuple[str, Objects], tmp_path: Path
) -> None:
    """Guards the pointer's word: another manifest, sealed and valid, is not the one that was promoted."""
    name, objects = published
    store = DirectoryStore(tmp_path)
    changed = forged(published, lambda manifest: manifest["verdict"].update(thresholds={"min_rows": 1}))
    for each, data in changed.items():
        store.create(each, data)
    sha256 = hashlib.sha256(objects[name]).hexdigest()
    assert read_bundle(reads_from(store), name).manifest_sha256 != sha256
    for read in (require_intact, read_manifest, read_bundle):
        with pytest.raises(BundleError, match=f"expected the manifest of sha256 {sha256}"):
            read(reads_from(store), name, sha256)


def _refusal(read: Callable[[DirectoryStore], object], store: DirectoryStore) -> str:
    with pytest.raises(BundleError) as caught:
        read(store)
    return str(caught.value)


@pytest.mark.parametrize("damage", [None, b"# A carb", b"# A card, longer"], ids=["missing", "flipped", "longer"])
def test_a_damaged_document_is_refused_and_does_not_stop_a_worker(
    published: tuple[str, Objects], damage: bytes | None
) -> None:
    """Guards the card in both directions: `verify` holds it to the manifest, loading the model does not need it."""
    name, _ = published
    card = b"# A card"
    stated = {"name": "card.md", "size": len(card), "sha256": hashlib.sha256(card).hexdigest()}
    objects = forged(published, lambda manifest: manifest.update(documents=[stated]))
    folder = name.rpartition("/")[0]
    path = f"{folder}/card.md" if folder else "card.md"
    whole = {**objects, path: card}
    assert len(read_manifest(whole.get, name).read_documents(whole.get)) == 1
    broken = dict(objects) if damage is None else {**objects, path: damage}
    with pytest.raises(BundleError, match=r"card\.md: expected"):
        read_manifest(broken.get, name).read_documents(broken.get)
    read_bundle(broken.get, name)


def test_objects_of_another_bundle_are_refused(published: tuple[str, Objects], tmp_path: Path) -> None:
    """Guards against objects swapped between two bundles that are each whole."""
    name, objects = published
    other_name, others = published_by_us(trained(NAMES) + b" ", tmp_path)
    for mine, theirs in zip(objects, others, strict=True):
        refused({**objects, mine: others[theirs]}, name, mine)
    refused({**objects, other_name: objects[name]}, other_name, "expected the manifest of")


# -- forged manifests, each with the right digest of itself ------------------------------------------


@pytest.mark.parametrize("path", ["../x.json", "/etc/passwd", "sub/x.json", "..", "sub\\x.json", ""])
@pytest.mark.parametrize("index", [0, 1])
def test_no_name_leads_out_of_the_folder(published: tuple[str, Objects], path: str, index: int) -> None:
    """Guards the worker's disk: such a name is refused before anything of that name is asked for."""
    asked: list[str] = []
    name, _ = published
    objects = forged(published, lambda manifest: manifest["objects"][index].update(name=path))

    def read(wanted: str) -> bytes | None:
        asked.append(wanted)
        return objects.get(wanted, b"{}")

    for reading in (verify_bundle, require_intact):
        asked.clear()
        with pytest.raises(BundleError, match="expected objects in the manifest's own folder"):
            reading(read, name, manifest_sha256=None)
        assert asked == [name]


@pytest.mark.parametrize(
    ("change", "expecting"),
    [
        (lambda m: m.update(format_version=2), "manifest format 1; found 2"),
        (lambda m: m.update(model_id="xgboost_v1_33features_202201_000000000000"), "the manifest of"),
        (lambda m: m.update(objects={}), "a list of objects"),
        (lambda m: m["objects"].append("x"), "a list of objects"),
        (lambda m: m["objects"].pop(), "the objects ["),
        (lambda m: m["objects"].reverse(), "the objects ["),
        (lambda m: m["objects"].append(m["objects"][0]), "the objects ["),
        (lambda m: m["objects"][0].update(size=1), "expected 1 bytes"),
        (lambda m: m["objects"][0].update(size=None), "expected None bytes"),
        (lambda m: m["objects"][0].update(sha256="0" * 64), "a booster with a sha256 that begins with"),
        (lambda m: m["objects"][1].update(sha256="0" * 64), "expected sha256 000"),
        (lambda m: m["verdict"].update(checks=[]), "a verdict with the blocking checks; found none"),
        (lambda m: m["verdict"].update(checks={"a": 1}), "a verdict with the blocking checks; found none"),
        (lambda m: m["verdict"]["checks"].append("x"), "3 blocking checks passed; found 1 not passed, the first 'x'"),
        (lambda m: m["verdict"].update(model_sha256="0" * 64), "a verdict on the model"),
        (lambda m: m["verdict"]["checks"][0].update(passed=False), "2 blocking checks passed; found 1 not passed"),
        (lambda m: m["verdict"]["checks"][0].update(passed=1), "2 blocking checks passed; found 1 not passed"),
        (lambda m: m.update(verdict=None), "a verdict on the model"),
    ],
)
def test_a_manifest_that_states_something_else(
    published: tuple[str, Objects], change: Callable[[dict[str, Any]], object], expecting: str
) -> None:
    """Guards every statement of the manifest on its own, with the manifest's own digest right."""
    refused(forged(published, change), published[0], expecting)


def overridden(manifest: dict[str, Any], **override: object) -> None:
    """The first check has failed, and its override has these fields beside its name."""
    verdict = manifest["verdict"]
    failed = verdict["checks"][0]
    failed.update(passed=False, final=False)
    verdict["overrides"] = [{"check": f"{failed['asset']}.{failed['check']}", **override}]


@pytest.mark.parametrize("override", [{}, {"reason": ""}, {"reason": None}])
def test_an_override_needs_a_reason(published: tuple[str, Objects], override: dict[str, object]) -> None:
    """Guards against a failed check that somebody let pass without a word; with one, the same bundle is trusted."""
    objects = forged(published, lambda manifest: overridden(manifest, **override))
    refused(objects, published[0], "2 blocking checks passed; found 1 not passed")
    reasoned = forged(published, lambda manifest: overridden(manifest, reason="Wanted for a rehearsal only."))
    assert read_bundle(reasoned.get, published[0]).model_id


@pytest.mark.parametrize(
    "change",
    [
        lambda v: v["checks"][0].update(final=True),
        lambda v: v["checks"][0].pop("final"),
        lambda v: v["checks"][0].update(check="another"),
        lambda v: v["checks"][0].update(asset="another"),
        lambda v: v.update(overrides=1),
        lambda v: v.update(overrides=["x"]),
        lambda v: v["overrides"][0].update(check=["x"]),
    ],
    ids=["final", "not said", "another check", "another asset", "no list", "no override", "no name"],
)
def test_an_override_is_of_one_check_that_may_be_overridden(
    published: tuple[str, Objects], change: Callable[[dict[str, Any]], object]
) -> None:
    """Guards against a reason given for one failed check that lets another pass, or one that is final."""

    def override(manifest: dict[str, Any]) -> None:
        overridden(manifest, reason="Wanted for a rehearsal only.")
        change(manifest["verdict"])

    refused(forged(published, override), published[0], "2 blocking checks passed; found 1 not passed")


@pytest.mark.parametrize("data", [b"", b"[]", b"null", b"\xff", b'{"a": NaN}', b"[" * 100_000, pickle.dumps({})])
def test_what_is_no_manifest(published: tuple[str, Objects], data: bytes) -> None:
    """Guards the parser: whatever bytes lie there, the answer is a BundleError."""
    refused({**published[1], published[0]: data}, published[0], "expected")


@pytest.mark.parametrize("name", ["", "x.json", "_manifest.json", "xgboost_v1/model_manifest.json"])
def test_a_name_that_is_no_manifests(name: str) -> None:
    """Guards the caller who passes the booster's name, or a folder."""
    refused({}, name, "a name that ends in <model_id>_manifest.json")


def bundle_with(booster: bytes, **fields: Any) -> tuple[str, Objects]:
    """A bundle whose digests are all right, around any bytes and any record: no publisher would write it."""
    bundle = bundle_of(booster, **fields)
    names = BundleNames.of(bundle.model_id)
    stated = [
        {"name": name.rpartition("/")[2], "size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        for name, data in ((names.booster, booster), (names.record, bundle.record))
    ]
    content = {
        "format_version": 1,
        "model_id": bundle.model_id,
        "objects": stated,
        "verdict": bundle.verdict.model_dump(mode="json"),
    }
    return names.manifest, {names.manifest: sealed(content), names.booster: booster, names.record: bundle.record}


def test_a_pickle_is_never_loaded() -> None:
    """Guards against code that runs on loading: a pickle under the booster's name, with every digest right."""
    data = pickle.dumps({"trees": []})
    name, objects = bundle_with(data)
    refused(objects, name, f"expected XGBoost's JSON or UBJ, which begin with '{{'; found {data[:4]!r}.")


@pytest.mark.parametrize(
    ("fields", "expecting"),
    [
        ({"model_id": "another"}, "model_id 'xgboost_v1_33features_202201_"),
        ({"model_sha256": "0" * 64}, "model_sha256 '"),
        ({"feature_version": "v3"}, "feature_version 'v2_33features'; found 'v3'"),
        ({"feature_names": NAMES[::-1]}, "feature_names ['points_avg_last_5'"),
        ({"feature_names": NAMES[:-1]}, "feature_names ['points_avg_last_5'"),
        ({"reference_rows": []}, "reference rows; found []"),
        ({"reference_rows": {"features": 1}}, "reference rows; found {'features': 1}"),
        ({"reference_rows": [1]}, "33 features in reference row 0"),
        ({"reference_rows": [{"features": "x" * 33, "prediction": 1.0}]}, "33 features in reference row 0"),
        ({"reference_rows": [{"features": [0.0] * 32, "prediction": 1.0}]}, "33 features in reference row 0"),
        ({"reference_rows": [{"features": [0.0] * 33, "prediction": None}]}, "a prediction for reference row 0"),
        ({"metrics": float("nan")}, "NaN is not JSON"),
    ],
)
def test_a_record_of_something_else(booster: bytes, fields: dict[str, Any], expecting: str) -> None:
    """Guards the contract between training and worker: a vector in another order would predict nonsense."""
    name, objects = bundle_with(booster, **fields)
    refused(objects, name, expecting)


@pytest.mark.slow
def test_a_prediction_off_by_one_bit_is_refused(booster: bytes, rows: list[list[float | None]]) -> None:
    """Guards exact equality: the nearest other float32 is another model, or another library's arithmetic."""
    predictions = recorded(booster, rows)
    nearest = float(np.nextafter(np.float32(predictions[7]), np.float32(np.inf)))
    references = [{"features": row, "prediction": p} for row, p in zip(rows, predictions, strict=True)]
    references[7]["prediction"] = nearest
    name, objects = bundle_with(booster, reference_rows=references)
    with pytest.raises(BundleError, match="points for reference row 7") as caught:
        verify_bundle(objects.get, name)
    assert repr(nearest) in str(caught.value)
    assert repr(predictions[7]) in str(caught.value)


def test_fewer_predictions_than_rows_are_an_error(published: tuple[str, Objects]) -> None:
    """Guards the comparison: rows that were not predicted are not taken for reproduced."""
    bundle = read_bundle(published[1].get, published[0])
    bundle.require_reproduced(bundle.predictions)
    with pytest.raises(ValueError, match="shorter"):
        bundle.require_reproduced(bundle.predictions[:-1])


@pytest.mark.slow
def test_the_time_limit_reaches_the_fresh_process(published: tuple[str, Objects]) -> None:
    with pytest.raises(BundleError, match=r"within 0\.001 seconds"):
        verify_bundle(published[1].get, published[0], time_limit_seconds=0.001)


def test_what_a_manifest_states_is_read_without_its_own_digest(published: tuple[str, Objects]) -> None:
    name, objects = published
    read = read_manifest(objects.get, name)
    assert read.content.keys() == {"format_version", "model_id", "objects", "verdict"}
    assert read.folder == "xgboost_v1/"
    assert read.sha256 == hashlib.sha256(objects[name]).hexdigest()


def test_the_features_of_a_bundle_are_those_of_its_system() -> None:
    """Guards against a record that chooses its own; under an id of another form, it may name a known version."""
    ours, theirs = f"xgboost_v1_33features_202506_{'0' * 12}", f"somebody_{'0' * 12}"
    assert _version_of({"feature_version": "v3_41features"}, ours) == V2_33FEATURES
    assert _version_of({"feature_version": "v3_41features"}, theirs) == V3_FEATURES
    for other in ({}, {"feature_version": "v9"}, {"feature_version": ["v3_41features"]}):
        assert _version_of(other, theirs) == V2_33FEATURES


def test_a_refusal_is_brief_and_names_the_way_out() -> None:
    for length, shown in ((400, "x" * 400 + "."), (401, "x" * 400 + "....")):
        with pytest.raises(BundleError, match=rf"; found {shown} Do not load it\. Restore it from where it was"):
            refuse("xgboost_v1/a.json", "another", "x" * length)
    with pytest.raises(BundleError, match="register the model file again"):
        refuse("catboost_v8/catboost_v8_a_manifest.json", "another", "x")


# -- the fresh process -------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_booster_of_other_features_is_refused(rows: list[list[float | None]]) -> None:
    """Guards the order inside the booster itself, whatever its record says; the child's words reach the caller."""
    swapped = [NAMES[1], NAMES[0], *NAMES[2:]]
    with pytest.raises(BundleError, match="at position 0 points_avg_last_10 where points_avg_last_5") as caught:
        predict_in_fresh_process(trained(swapped), rows, V2_33FEATURES)
    assert "Traceback" not in str(caught.value)
    with pytest.raises(BundleError, match="it has 32, and at position 32 nothing"):
        predict_rows(trained(NAMES[:-1]), rows, V2_33FEATURES)


def test_bytes_that_xgboost_cannot_load(booster: bytes, rows: list[list[float | None]]) -> None:
    """Guards the message: XGBoost's first line, not its stack trace, and never an unpickled object."""
    for damaged in (booster[: len(booster) // 2], b"{}", b'{"learner": 1}'):
        with pytest.raises(BundleError, match="cannot load the model") as caught:
            predict_rows(damaged, rows, V2_33FEATURES)
        assert "\n" not in str(caught.value)
    with pytest.raises(BundleError, match="neither XGBoost's JSON nor UBJ"):
        predict_rows(pickle.dumps(1), rows, V2_33FEATURES)


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan, 1e39, True, "1", [1.0]])
def test_a_value_that_is_no_finite_float32(booster: bytes, value: Any) -> None:
    """Guards the vector: infinity, text or a truth value is a wrong row, not a number to predict from."""
    row: list[Any] = [1.0] * 33
    row[5] = value
    with pytest.raises(BundleError, match=r"Row 1 has .* for fatigue_score"):
        predict_rows(booster, [[1.0] * 33, row], V2_33FEATURES)
    with pytest.raises(BundleError, match="Row 0 has 32 features"):
        predict_rows(booster, [row[:32]], V2_33FEATURES)


@pytest.mark.slow
def test_a_child_that_dies_is_reported(
    booster: bytes, rows: list[list[float | None]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards against silence: an interpreter that fails, or takes too long, is a BundleError with its words."""
    failing = tmp_path / "python"
    failing.write_text("#!/bin/sh\necho out of luck >&2\nkill -SEGV $$\n")
    failing.chmod(0o755)
    monkeypatch.setattr(fresh_process, "_early", {})  # none that another test has left
    with pytest.raises(BundleError, match=r"within 0\.01 seconds"):
        predict_in_fresh_process(booster, rows, V2_33FEATURES, time_limit_seconds=0.01)
    monkeypatch.setattr(sys, "executable", str(failing))
    with pytest.raises(BundleError, match=r"was killed by signal 11: .*out of luck"):
        predict_in_fresh_process(booster, rows, V2_33FEATURES)
