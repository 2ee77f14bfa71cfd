"""Damage at every place of a bundle, through the loader that a worker calls: nothing is accepted that should not be."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nba_ml.contract.digest import bytes_digest
from nba_ml.contract.errors import BundleError
from nba_ml.contract.features import V2_33FEATURES
from nba_ml.model.record import ModelRecord
from nba_ml.model.values import TrainedModel
from nba_ml.registry.fresh_process import predict_in_fresh_process
from nba_ml.registry.manifest import BundleNames
from nba_ml.registry.publication import Bundle
from nba_ml.registry.reader import read_bundle
from nba_ml.serving import Predictor
from nba_ml.serving.model import load_model
from nba_ml.storage.directory import DirectoryStore
from nba_ml_tests.conftest import Trained
from nba_ml_tests.faults.summary import PREFIX
from nba_ml_tests.profiles import examples
from nba_ml_tests.serving.conftest import bundle_with, lay_out

pytestmark = pytest.mark.slow

Objects = dict[str, bytes]
Record = Callable[[str, object], None]


@pytest.fixture(scope="module")
def whole(models: tuple[Bundle, Bundle, TrainedModel], tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Objects]:
    """The manifest's name and the objects of a bundle that loads."""
    root = tmp_path_factory.mktemp("whole")
    lay_out(root, models[0])
    store = DirectoryStore(root)
    objects = {name: (root / name).read_bytes() for name in store.names("")}
    name = BundleNames.of(models[0].model_id).manifest
    assert load_model(objects.get, name).model_id == models[0].model_id
    return name, objects


def refused(objects: Objects, name: str) -> None:
    with pytest.raises(BundleError):
        load_model(objects.get, name)


def test_a_sweep_of_flips_and_cuts(whole: tuple[str, Objects], record_property: Record) -> None:
    """Guards every byte of the manifest, and some of every stretch of booster and record: flipped, or cut there."""
    name, objects = whole
    source, tried = random.Random(5), 0
    for which, data in objects.items():
        places = range(len(data)) if which == name else sorted(source.sample(range(len(data)), 250))
        for at in places:
            flipped = data[:at] + bytes([data[at] ^ (1 << source.randrange(8))]) + data[at + 1 :]
            for damaged in (flipped, data[:at]):
                refused({**objects, which: damaged}, name)
                tried += 1
    record_property(f"{PREFIX}bundles with a byte flipped or cut short, none loaded", tried)


def test_any_damage_at_all(whole: tuple[str, Objects], record_property: Record) -> None:
    """Guards against damage of another shape: bytes put in, taken out or replaced, anywhere in any object."""
    name, objects = whole
    tried = 0

    @settings(max_examples=examples(300))
    @given(data=st.data())
    def check(data: st.DataObject) -> None:
        nonlocal tried
        which = data.draw(st.sampled_from(sorted(objects)))
        old = objects[which]
        at = data.draw(st.integers(0, len(old)))
        new = old[:at] + data.draw(st.binary(max_size=8)) + old[at + data.draw(st.integers(0, 8)) :]
        if new != old:
            refused({**objects, which: new}, name)
            tried += 1

    check()
    record_property(f"{PREFIX}bundles with other damage, none loaded", tried)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)

NEEDED = (
    "model_id",
    "model_sha256",
    "feature_version",
    "feature_names",
    "system_id",
    "model_type",
    "newest_month",
    "calibration",
    "distribution",
    "reference_rows",
    "libraries",
)


def test_a_record_of_anything_with_every_digest_right(
    trained: Trained, tmp_path_factory: pytest.TempPathFactory, record_property: Record
) -> None:
    """Guards what comes after the digests: a record of whatever JSON is refused, or serves as the same model does."""
    tried, record = 0, trained.record
    root = tmp_path_factory.mktemp("forged")

    @settings(max_examples=examples(150))
    @given(field=st.sampled_from(NEEDED), value=anything)
    def check(field: str, value: Any) -> None:
        nonlocal tried
        tried += 1
        folder = root / str(tried)
        lay_out(folder, bundle_with(trained.fitted.booster, record, **{field: value}))
        name = BundleNames.of(record.model_id).manifest
        try:
            model = load_model(lambda wanted: (folder / wanted).read_bytes(), name)
        except BundleError:
            return
        if field == "distribution" and value is None:
            return  # a record of before there was one
        # These three name what the platform calls it, and nothing follows from them.
        assert field in ("system_id", "model_type", "newest_month")
        assert isinstance(value, str)
        assert value
        assert model.model_sha256 == record.model_sha256

    check()
    record_property(f"{PREFIX}forged records, none misread", tried)


def test_numbers_of_a_calibration_that_cannot_be(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Guards the interval: numbers of any size, and lists of any length, load only if what they give is finite."""
    record: ModelRecord = trained.record
    root = tmp_path_factory.mktemp("calibrations")
    assert record.distribution is not None
    whole = record.distribution.model_dump(mode="json")
    count = 0

    @settings(max_examples=examples(60))
    @given(field=st.sampled_from(["scale", "levels", "knots"]), values=st.lists(st.floats(-1e6, 1e6), max_size=5))
    def check(field: str, values: list[float]) -> None:
        nonlocal count
        count += 1
        folder = root / str(count)
        changed = json.loads(json.dumps({**whole, field: values}))
        lay_out(folder, bundle_with(trained.fitted.booster, record, distribution=changed))
        try:
            load_model(lambda name: (folder / name).read_bytes(), BundleNames.of(record.model_id).manifest)
        except BundleError:
            return
        assert field == "scale" or (field == "knots" and len(values) == len(whole["knots"]))

    check()


def forged(trained: Trained, root: Path, booster: bytes) -> tuple[Path, str]:
    """Another booster under its own right name and digests, with a record that is the real one's."""
    sha = bytes_digest(booster)
    identity = f"{trained.record.model_id[:-12]}{sha[:12]}"
    record = trained.record.model_copy(update={"model_id": identity, "model_sha256": sha})
    lay_out(root / identity, bundle_with(booster, record))
    return root / identity, identity


def test_a_forged_booster_that_kills_the_parser(trained: Trained, tmp_path: Path) -> None:
    """Guards the worker's own process: XGBoost would follow a tree's child far out of its memory."""
    content = json.loads(trained.fitted.booster)
    for tree in content["learner"]["gradient_booster"]["model"]["trees"]:
        tree["left_children"][0] = tree["right_children"][0] = 1_000_000_000
    root, identity = forged(trained, tmp_path, json.dumps(content).encode())
    with pytest.raises(BundleError, match="a child that is not in the tree"):
        Predictor.load(str(root), model_id=identity)


def test_forged_boosters_of_text_that_is_none(trained: Trained, tmp_path: Path) -> None:
    """Guards the type of the error: XGBoost hands damaged text on, and Python cannot decode it."""
    for old, new in ((b'"points_avg_last_5"', b'"points_avg_last_\xb0"'), (b'"reg:absoluteerror"', b'"reg:\xff"')):
        root, identity = forged(trained, tmp_path, trained.fitted.booster.replace(old, new))
        for try_apart in (True, False):
            with pytest.raises(BundleError):
                Predictor.load(str(root), model_id=identity, try_apart=try_apart)


def test_forged_boosters(trained: Trained, tmp_path: Path, record_property: Record) -> None:
    """Guards against bytes changed in a booster with every digest right: refused, or it predicts as recorded."""
    source, tried = random.Random(11), 0
    for _ in range(12):
        changed = bytearray(trained.fitted.booster)
        for _ in range(source.choice((1, 3, 20))):
            changed[source.randrange(len(changed))] = source.choice(b'0123456789-,.[]{}"e\xff')
        changed[0] = ord("{")
        root, identity = forged(trained, tmp_path, bytes(changed))
        tried += 1
        bundle = read_bundle(lambda name, root=root: (root / name).read_bytes(), BundleNames.of(identity).manifest)  # type: ignore[misc]
        # In the fresh process alone: what that lets through may still predict nonsense on other rows.
        with suppress(BundleError):
            bundle.require_reproduced(predict_in_fresh_process(bundle.booster, bundle.rows, V2_33FEATURES))
    record_property(f"{PREFIX}forged boosters, no crash of the caller", tried)
