"""The predictor: what it loads, what it refuses, that it predicts what training does, and that swaps leave no gap."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import xgboost as xgb

from nba_ml.contract.errors import BundleError, ChannelError, NbaMlError, PublicationError, SettingsError
from nba_ml.contract.features import V2_33FEATURES
from nba_ml.contract.quantiles import QUANTILE_COLUMNS
from nba_ml.contract.systems import XGBOOST_V1
from nba_ml.data.tables import PREDICTIONS
from nba_ml.evaluation.predictions import make_predictions
from nba_ml.registry.channel import CHAMPION, ChannelModel, history_name
from nba_ml.registry.manifest import BundleNames
from nba_ml.registry.publication import publish
from nba_ml.registry.rollout_rules import serving_model
from nba_ml.serving import Prediction, Predictor
from nba_ml.serving.model import LoadedModel
from nba_ml.serving.rows import read_rows
from nba_ml.serving.watch import WatchStatus
from nba_ml.storage.cloud import CloudStore
from nba_ml.storage.directory import DirectoryStore
from nba_ml_tests.conftest import Trained, snapshot_of
from nba_ml_tests.registry.publication_machine import digest
from nba_ml_tests.serving.conftest import Published, bundle_with, lay_out, point

Row = Callable[..., dict[str, Any]]

load = partial(Predictor.load, try_apart=False)
"""Where a fresh process that loads the model first, a second or two of it, is not the subject."""


def serial_of(predictor: Predictor) -> int | None:
    return predictor.channel_state.serial if predictor.channel_state else None


def rows_of(records: list[Prediction]) -> list[dict[str, Any]]:
    """As a table has them: the quantiles in columns of their own."""
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


# --- where models are -------------------------------------------------------------------------------


def test_a_model_is_found_by_every_way_to_name_it(published: Published, row: Row) -> None:
    """Guards against an address that a user would try and that leads elsewhere, or nowhere."""
    root, first = published.root, published.first
    name = BundleNames.of(first.model_id).manifest
    bare = root.parent / "bare"
    shutil.copytree(root / "xgboost_v1", bare)
    expected = load(str(root), channel="champion").predict(row())
    assert (expected.model_version, expected.model_sha256) == (first.model_id, digest(first.booster))
    for predictor in (
        load(str(root), model_id=first.model_id),
        load(root.as_uri(), channel="champion"),
        load(str(root / name)),
        load((root / name).as_uri()),
        load(str(bare / f"{first.model_id}_manifest.json")),
        load(DirectoryStore(root), channel="champion"),
        load(os.path.relpath(root / name)),
    ):
        assert predictor.predict(row()) == expected
    assert load(str(root), model_id=published.second.model_id).predict(row()) != expected


def test_a_model_is_loaded_from_cloud_storage(published: Published, cloud_store: CloudStore, row: Row) -> None:
    """Guards `gs://`: the same bundle and channel, and the same predictions."""
    for name in published.store.names(""):
        cloud_store.create(name, (published.root / name).read_bytes())
    predictor = Predictor.load(cloud_store, channel="champion")
    assert predictor.predict(row()) == Predictor.load(str(published.root), channel="champion").predict(row())
    assert serial_of(predictor) == 1
    assert not predictor.refresh("champion")
    point(cloud_store, published.second)
    assert predictor.refresh("champion")
    assert (serial_of(predictor), predictor.model.model_id) == (2, published.second.model_id)


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        ({}, SettingsError, "names no model"),
        ({"channel": "champion", "model_id": "x_000000000000"}, SettingsError, "Leave one of them out"),
        ({"model_id": "../x_000000000000"}, SettingsError, "is not a model id"),
        ({"model_id": "xgboost_v1_33features_202112_000000000000"}, BundleError, "found none with that name"),
        ({"channel": "../champion"}, SettingsError, "is not a channel name"),
        ({"channel": "nobody"}, BundleError, "There is no channel nobody"),
    ],
)
def test_what_names_no_model(
    published: Published, arguments: dict[str, Any], error: type[Exception], said: str
) -> None:
    """Guards against a guess: whoever names nothing gets nothing."""
    with pytest.raises(error, match=said):
        load(str(published.root), **arguments)
    with pytest.raises(SettingsError, match="is not a supported root"):
        load("s3://bucket/prefix", channel="champion")
    with pytest.raises(SettingsError, match="'gs:/bucket/prefix' is not a valid Cloud Storage root"):
        load("gs:/bucket/prefix", channel="champion")  # a folder of that name would be empty, and no wonder
    with pytest.raises(SettingsError, match="leave out the channel"):
        load(published.manifest(published.first), channel="champion")


def test_a_pointer_that_was_removed_is_no_first_promotion(published: Published) -> None:
    """Guards a worker's log: 'promote one' is no answer where somebody removed the pointer of a year of champions."""
    store = DirectoryStore(published.root)
    found = store.read(CHAMPION)
    assert found is not None
    store.create(history_name(1), found.data)
    store.delete(CHAMPION)
    with pytest.raises(ChannelError, match="is missing, but its history goes up to serial 1"):
        load(str(published.root), channel="champion")


# --- what is refused --------------------------------------------------------------------------------


def refused(published: Published, said: str, **changes: bytes) -> None:
    """Write files over the published ones; loading by the channel is refused with these words."""
    for name, data in changes.items():
        path = {"manifest": BundleNames.of(published.first.model_id).manifest, "channel": CHAMPION}[name]
        (published.root / path).write_bytes(data)
    with pytest.raises(NbaMlError, match=said) as caught:
        load(str(published.root), channel="champion")
    assert "\n" not in str(caught.value)


def test_a_bundle_without_manifest(published: Published) -> None:
    """Guards the rule that a bundle without its last object is not there."""
    Path(published.manifest(published.first)).unlink()
    refused(published, "found none with that name")


def test_another_whole_manifest_than_the_channel_names(published: Published) -> None:
    """Guards against a bundle published anew under the same id with another verdict, by whoever can write there."""
    path = Path(published.manifest(published.first))
    publish(
        DirectoryStore(other := published.root.parent / "other"),
        replace(
            published.first,
            verdict=published.first.verdict.model_copy(update={"checks": published.first.verdict.checks[:1]}),
        ),
    )
    forged = (other / BundleNames.of(published.first.model_id).manifest).read_bytes()
    assert forged != path.read_bytes()
    assert load(str(other), model_id=published.first.model_id).model.model_id == published.first.model_id
    refused(published, "as the channel names it", manifest=forged)


def test_a_damaged_pointer(published: Published) -> None:
    """Guards every byte of the pointer: flipped or cut short, it points nowhere."""
    whole = (published.root / CHAMPION).read_bytes()
    tried = 0
    for at in range(len(whole)):
        for damaged in (whole[:at], whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]):
            (published.root / CHAMPION).write_bytes(damaged)
            with pytest.raises(ChannelError):
                load(str(published.root), channel="champion")
            tried += 1
    assert tried == 2 * len(whole)


def test_a_model_of_a_newer_xgboost(trained: Trained, tmp_path: Path) -> None:
    """Guards against parsing what this XGBoost may misread; the same release, or an older one, is read."""
    major, minor, patch = (int(part) for part in xgb.__version__.split(".")[:3])
    for version, good in (
        (f"{major}.{minor}.{patch}", True),
        (f"{major}.{minor - 1}.{patch + 7}", True),
        (f"{major}.{minor}.{patch + 1}", False),
        (f"{major + 1}.0.0rc1", False),
        ("", False),
        (None, False),
    ):
        bundle = bundle_with(trained.fitted.booster, trained.record, libraries={"xgboost": version})
        folder = tmp_path / str(version)
        publish(DirectoryStore(folder), bundle)
        if good:
            load(str(folder), model_id=bundle.model_id)
            continue
        with pytest.raises(BundleError, match="XGBoost"):
            load(str(folder), model_id=bundle.model_id)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"calibration": None, "distribution": None}, "calibration of its intervals"),
        ({"calibration": {"rows": 1}, "distribution": None}, "calibration of its intervals"),
        ({"distribution": {"rows": 1}}, "calibration of its intervals"),
        ({"system_id": ""}, "states its system_id"),
        ({"model_type": None}, "states its model_type"),
        ({"libraries": {}}, "states the XGBoost"),
        ({"parameters": {"objective": "reg:gamma"}}, "the record's objective, 'reg:gamma'; found 'reg:absoluteerror'"),
        ({"parameters": None}, "the record's objective, None"),
        ({"feature_version": "v3"}, "feature_version"),
        ({"reference_rows": []}, "reference rows"),
    ],
)
def test_a_record_that_lacks_what_serving_needs(
    trained: Trained, tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    """Guards against a fault that would show with the first request only."""
    bundle = bundle_with(trained.fitted.booster, trained.record, **change)
    publish(DirectoryStore(tmp_path), bundle)
    with pytest.raises(BundleError, match=said):
        load(str(tmp_path), model_id=bundle.model_id)


@pytest.mark.parametrize("change", [{"knots": (1.0, 2.0)}, {"levels": (0.5,)}, {"levels": (0.1, 0.9)}])
def test_a_calibration_that_does_not_fit_together(trained: Trained, tmp_path: Path, change: dict[str, Any]) -> None:
    """Guards against an interval that raises, or is infinite, with the first request."""
    distribution = {**trained.record.spread.model_dump(mode="json"), **change}
    bundle = bundle_with(trained.fitted.booster, trained.record, distribution=distribution)
    publish(DirectoryStore(tmp_path), bundle)
    with pytest.raises(BundleError, match="a calibration that"):
        load(str(tmp_path), model_id=bundle.model_id)


def test_an_infinite_interval_is_an_error(published: Published, row: Row) -> None:
    """Guards the answer: JSON has no infinity, and a serializer that writes null for it would hide the fault."""
    predictor = load(str(published.root), channel="champion", try_apart=False)
    model = predictor.model
    assert isinstance(model, LoadedModel)
    endless = replace(model, calibration=model.calibration.model_copy(update={"scale": (1e308, 1e308)}))
    with np.errstate(over="ignore", invalid="ignore"), pytest.raises(BundleError, match="is infinite"):
        endless.predict(read_rows(row()))


@pytest.mark.slow
def test_a_booster_that_predicts_otherwise_or_is_none(published: Published, trained: Trained, tmp_path: Path) -> None:
    """Guards the reference rows, and the parser: with every digest right, another model or a pickle is refused."""
    record = trained.record
    second = published.second.booster
    for booster, said in (
        (second, "points for reference row 0"),
        (pickle.dumps({"trees": []}), "XGBoost's JSON or UBJ"),
        (b'{"learner": {}}', "cannot load the model"),
        (second[: len(second) // 2], "cannot load the model"),
    ):
        sha = digest(booster)
        identity = f"{record.model_id[:-12]}{sha[:12]}"
        renamed = record.model_copy(update={"model_id": identity, "model_sha256": sha})
        bundle = bundle_with(booster, renamed)
        lay_out(tmp_path / sha, bundle)
        for try_apart in (True, False):
            with pytest.raises(BundleError, match=said):
                Predictor.load(str(tmp_path / sha), model_id=identity, try_apart=try_apart)


# --- what is predicted ------------------------------------------------------------------------------


@pytest.mark.slow
def test_ten_thousand_real_rows_as_the_predictions_asset_has_them(published: Published) -> None:
    """Guards train and serve against drifting apart: every column equal, bit for bit, one row or many at once."""
    predictor = load(str(published.root), channel="champion")
    seen = 0
    for month in ("2022-01", "2022-02", "2022-03"):
        snapshot = snapshot_of(month)
        expected = make_predictions(snapshot, published.model, month, XGBOOST_V1, threads=1).table
        rows = snapshot.table.select([*V2_33FEATURES.names, "player_lookup", "game_date", "game_id"])
        found = predictor.predict(rows)
        assert isinstance(found, list)
        assert rows_of(found) == with_none(expected)
        mappings = rows.to_pylist()
        assert predictor.predict(mappings) == found
        assert [predictor.predict(mapping) for mapping in mappings[:300]] == found[:300]
        seen += len(found)
    print(f"\n{seen:,} rows predicted as core.predictions does, bit for bit")
    assert seen >= 10_000


def test_lines_and_what_they_mean(published: Published, trained: Trained, row: Row, tmp_path: Path) -> None:
    """Guards the worker's words: OVER from 1.5 points on, UNDER alike, and NO_LINE with nothing made up.

    And that whoever has seen no line bets on none, however far away it is: its probability is not above break-even.
    """
    distribution = trained.record.spread.model_dump(mode="json") | {"line_trust": 1.0}
    sure = bundle_with(trained.fitted.booster, trained.record, distribution=distribution)
    lay_out(tmp_path / "sure", sure)
    point(DirectoryStore(tmp_path / "sure"), sure)
    doubtful = load(str(published.root), channel="champion")
    predictor = load(str(tmp_path / "sure"), channel="champion")
    none = predictor.predict(row(has_vegas_line=0, vegas_points_line=None))
    assert (none.recommendation, none.over_probability, none.line_margin) == ("NO_LINE", None, None)
    assert none.predicted_points is not None
    assert none.points_low is not None
    assert none.points_high is not None
    assert none.points_low <= none.predicted_points <= none.points_high
    low = predictor.predict(row(has_vegas_line=1, vegas_points_line=none.predicted_points / 2))
    assert low.recommendation == "OVER"
    assert low.over_probability is not None
    assert low.confidence_score == pytest.approx(100 * low.over_probability, abs=0.006)
    assert predictor.predict(row(has_vegas_line=1, vegas_points_line=60.0)).recommendation == "UNDER"
    passed = doubtful.predict(row(has_vegas_line=1, vegas_points_line=none.predicted_points / 2))
    assert (passed.recommendation, passed.line_margin, passed.model_points) == ("PASS", 0.0, low.model_points)
    assert passed.over_probability is not None
    assert passed.over_probability < 0.5238
    text = json.dumps(low.to_json(), allow_nan=False)
    assert set(json.loads(text)) == {*PREDICTIONS.names, "points_quantiles"} - set(QUANTILE_COLUMNS)


def test_no_rows_are_no_predictions(published: Published, unseen: pa.Table) -> None:
    """Guards an evening without games."""
    predictor = load(str(published.root), channel="champion")
    assert predictor.predict([]) == predictor.predict(unseen.slice(0, 0)) == []


@pytest.mark.slow
def test_importing_the_predictor_loads_nothing_heavy() -> None:
    """Guards what a worker must have and the time it takes to start: no Dagster, Arrow, pandas, Google or Starlette."""
    code = "import sys\nfrom nba_ml.serving import Predictor\nprint('\\n'.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300)
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert {"xgboost", "numpy", "pydantic"} <= loaded
    assert (
        loaded & {"dagster", "pyarrow", "pandas", "duckdb", "google", "starlette", "click", "rich", "matplotlib"}
        == set()
    )


# --- swaps ------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_swap_leaves_no_gap_and_mixes_nothing(published: Published, unseen: pa.Table) -> None:
    """Guards threads that predict while models are swapped: no error, and no record that is not one model's own."""
    rows = unseen.slice(600, 40).to_pylist()
    predictor = load(str(published.root), channel="champion")
    expected = {
        digest(bundle.booster): load(str(published.root), model_id=bundle.model_id).predict(rows)
        for bundle in (published.first, published.second)
    }
    stop, wrong, counts = threading.Event(), [], dict.fromkeys(expected, 0)

    def work() -> None:
        while not stop.is_set():
            found = predictor.predict(rows)
            if found != expected[found[0].model_sha256]:
                wrong.append(found)
            counts[found[0].model_sha256] += 1

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for bundle in (published.second, published.first, published.second):
        point(published.store, bundle)
        assert predictor.refresh("champion")
        assert predictor.model.model_id == bundle.model_id
    stop.set()
    for worker in workers:
        worker.join()
    assert wrong == []
    assert all(counts.values())


def test_a_rollout_serves_the_share_that_the_hash_gives(published: Published, unseen: pa.Table) -> None:
    """Guards a rollout: each player-game by the model that every other worker gives it, and nothing is scored twice."""
    rows = unseen.slice(600, 400).to_pylist()
    ours, theirs = (
        load(str(published.root), model_id=bundle.model_id).predict(rows)
        for bundle in (published.first, published.second)
    )
    predictor = load(str(published.root), channel="champion")
    champion, shares = predictor.model, []
    for share in (10, 50, 100, 0):
        state = point(published.store, published.first, challenger=published.second, share=share)
        assert predictor.refresh("champion") is (share in (10, 0))
        assert predictor.model is champion
        found = predictor.predict(rows)
        served = [serving_model(state, row["player_lookup"], row["game_date"]).model_id for row in rows]
        second = [model_id == published.second.model_id for model_id in served]
        assert found == [b if at else a for a, b, at in zip(ours, theirs, second, strict=True)]
        keyless = {name: value for name, value in rows[0].items() if name in V2_33FEATURES.names}
        assert predictor.predict(keyless).model_version == published.first.model_id
        shares.append(sum(second) / len(rows))
    assert shares[2:] == [1.0, 0.0]
    assert 0.05 < shares[0] < 0.15
    assert 0.4 < shares[1] < 0.6
    assert predictor.challenger is None


def test_a_rule_is_never_served_to_everybody(published: Published) -> None:
    """Guards the platform's oldest mistake: the mock at 100% is refused by name, and what serves goes on."""
    predictor = load(str(published.root), channel="champion")
    mock = ChannelModel(system_id="mock", model_id="mock", manifest_sha256=None)
    point(published.store, published.first, challenger=mock, share=0)
    assert not predictor.refresh("champion")
    point(published.store, published.first, challenger=mock, share=100)
    with pytest.raises(BundleError, match="gives mock a share of 100%"):
        predictor.refresh("champion")
    assert predictor.model.model_id == published.first.model_id
    assert predictor.challenger is None


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "nothing happened within a minute"
        time.sleep(0.01)


def test_a_channel_that_goes_back_is_not_followed(published: Published, row: Row) -> None:
    """Guards against a champion long replaced that serves again, unsaid: an old copy of the pointer, a stale read."""
    old = (published.root / CHAMPION).read_bytes()
    point(published.store, published.second)
    predictor = load(str(published.root), channel="champion")
    new = (published.root / CHAMPION).read_bytes()
    (published.root / CHAMPION).write_bytes(old)
    with pytest.raises(
        ChannelError, match=r"went back from serial 2 to 1 \(.*The newer state stays in use\. Restore the newest"
    ):
        predictor.refresh("champion")
    assert predictor.predict(row()).model_version == published.second.model_id
    (published.root / CHAMPION).write_bytes(new)
    assert predictor.refresh("champion") is False
    point(published.store, published.first)  # a rollback is a new state
    assert predictor.refresh("champion") is True
    assert serial_of(predictor) == 3
    (published.root / CHAMPION).with_name("canary.json").write_bytes(old)  # another channel counts for itself
    assert predictor.refresh("canary") is False
    assert serial_of(predictor) == 1


@pytest.mark.slow
def test_a_watch_swaps_survives_and_recovers(published: Published, row: Row) -> None:
    """Guards the unattended worker: a bad champion is not served, said, and forgotten once a good one is there."""
    said: list[WatchStatus] = []
    predictor = Predictor.load(str(published.root), model_id=published.first.model_id)
    with predictor.watch("champion", 0.02, tell=said.append) as watch:
        until(lambda: serial_of(predictor) == 1)
        manifest = Path(published.manifest(published.second))
        whole = manifest.read_bytes()
        point(published.store, published.second)
        until(lambda: serial_of(predictor) == 2)
        assert predictor.predict(row()).model_version == published.second.model_id

        state = (published.root / CHAMPION).read_bytes()
        (published.root / CHAMPION).write_bytes(state[:-9])
        until(lambda: watch.status.failures >= 2)
        assert "is not a channel of format 1" in (watch.status.failure or "")
        assert predictor.predict(row()).model_version == published.second.model_id

        (published.root / CHAMPION).write_bytes(state)
        until(lambda: watch.status.failure is None)
        manifest.write_bytes(whole[:100])  # what serves is in memory
        point(published.store, published.first)
        until(lambda: serial_of(predictor) == 3)
        point(published.store, published.second)
        until(lambda: watch.status.failure is not None)
        assert predictor.predict(row()).model_version == published.first.model_id
    assert not watch.alive
    assert any(status.failure for status in said)
    assert any(status.swapped_at and not status.failure for status in said)


def test_a_store_that_cannot_be_reached_leaves_the_model(published: Published, row: Row) -> None:
    """Guards against a worker that stops because Cloud Storage does."""

    class Down(DirectoryStore):
        down = False

        def read(self, name: str) -> Any:
            if self.down:
                raise PublicationError("could not be reached")
            return super().read(name)

    store = Down(published.root)
    predictor = load(store, channel="champion")
    expected = predictor.predict(row())
    store.down = True
    with pytest.raises(PublicationError):
        predictor.refresh("champion")
    assert predictor.predict(row()) == expected


@pytest.mark.slow
def test_a_new_model_that_kills_the_parser_kills_another_process(published: Published) -> None:
    """Guards the serving process itself: the new model is loaded by a fresh process before this one."""
    predictor = Predictor.load(str(published.root), channel="champion")
    point(published.store, published.second)
    failing = published.root.parent / "python"
    failing.write_text("#!/bin/sh\nkill -SEGV $$\n")
    failing.chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "executable", str(failing))
        with pytest.raises(BundleError, match="was killed by signal 11"):
            predictor.refresh("champion")
    assert predictor.model.model_id == published.first.model_id
    assert isinstance(predictor.model, LoadedModel)
    assert np.isfinite(predictor.model.calibration.scale).all()
