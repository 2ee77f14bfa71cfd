"""Published bundles of real models, for the serving tests."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest

from nba_ml.contract.digest import bytes_digest
from nba_ml.contract.features import V2_33FEATURES
from nba_ml.model.fitting import Hyperparameters, fit, predict
from nba_ml.model.record import ModelRecord
from nba_ml.model.values import TrainedModel
from nba_ml.registry.channel import CHAMPION, Channel, ChannelModel, Share
from nba_ml.registry.manifest import BundleNames, Manifest, ManifestObject
from nba_ml.registry.publication import Bundle, publish
from nba_ml.storage.directory import DirectoryStore
from nba_ml.storage.objects import ObjectStore
from nba_ml_tests.conftest import QUICK, Trained
from nba_ml_tests.registry.publication_machine import verdict_on

AT = datetime(2025, 7, 1, 12, tzinfo=UTC)


@dataclass(frozen=True)
class Published:
    """Two real models as they are published: `first` and `second`, of the same rows."""

    root: Path
    first: Bundle
    second: Bundle
    model: TrainedModel

    @property
    def store(self) -> DirectoryStore:
        return DirectoryStore(self.root)

    def manifest(self, bundle: Bundle) -> str:
        return str(self.root / BundleNames.of(bundle.model_id).manifest)


def bundle_with(booster: bytes, record: ModelRecord, **fields: Any) -> Bundle:
    """The bundle of a record, with fields of the record changed."""
    content = {**json.loads(record.to_bytes()), **fields}
    return Bundle(record.model_id, booster, json.dumps(content).encode(), verdict_on(booster))


def lay_out(root: Path, bundle: Bundle) -> None:
    """Write a bundle as a careful forger would, who need not ask the publisher: every digest is right."""
    names = BundleNames.of(bundle.model_id)
    objects = {names.booster: bundle.booster, names.record: bundle.record}
    manifest = Manifest(
        format_version=1,
        model_id=bundle.model_id,
        objects=tuple(
            ManifestObject(name=name.rpartition("/")[2], size=len(data), sha256=bytes_digest(data))
            for name, data in objects.items()
        ),
        verdict=bundle.verdict,
    )
    store = DirectoryStore(root)
    for name, data in {**objects, names.manifest: manifest.to_bytes()}.items():
        store.create(name, data)


def named(store: ObjectStore, bundle: Bundle) -> ChannelModel:
    """A published bundle as a channel names it."""
    manifest = store.read(BundleNames.of(bundle.model_id).manifest)
    assert manifest is not None
    sha256 = bytes_digest(manifest.data)
    return ChannelModel(system_id="xgboost_v1", model_id=bundle.model_id, manifest_sha256=sha256)


def point(
    store: ObjectStore, bundle: Bundle, *, challenger: Bundle | ChannelModel | None = None, share: Share = 0
) -> Channel:
    """Let the champion's pointer name a bundle, and a challenger, whatever is there."""
    champion = named(store, bundle)
    if isinstance(challenger, Bundle):
        challenger = named(store, challenger)
    found = store.read(CHAMPION)
    serial = 1 if found is None else Channel.from_bytes(found.data, "").serial + 1
    state = Channel(
        serial=serial,
        champion=champion,
        challenger=challenger,
        share=share,
        graded_from=AT.date() if challenger else None,
        kind="promote",
        reason="a test",
        moved_at=AT,
    )
    if found is None:
        store.create(CHAMPION, state.to_bytes())
    else:
        store.swap(CHAMPION, state.to_bytes(), found.generation)
    return state


def vector(rows: list[tuple[float | None, ...]]) -> npt.NDArray[np.float32]:
    """Reference rows as a matrix."""
    return np.array(rows, dtype=np.float32)


@pytest.fixture(scope="session")
def models(trained: Trained) -> tuple[Bundle, Bundle, TrainedModel]:
    """Bundles of two models of October to December 2021, and the first as training keeps it."""
    sides = trained.split.sides()
    train, stopping = (trained.samples.between(sides[n].first, sides[n].last) for n in ("train", "early_stopping"))
    params = Hyperparameters(**{**QUICK.model_dump(), "seed": 7})
    fitted = fit(train, stopping, params, V2_33FEATURES, threads=1)
    record = trained.record.model_copy(
        update={
            "model_id": f"{trained.record.model_id[:-12]}{bytes_digest(fitted.booster)[:12]}",
            "model_sha256": bytes_digest(fitted.booster),
            "reference_rows": tuple(
                row.model_copy(update={"prediction": float(predict(fitted.booster, vector([row.features]))[0])})
                for row in trained.record.reference_rows
            ),
        }
    )
    return (
        bundle_with(trained.fitted.booster, trained.record),
        bundle_with(fitted.booster, record),
        TrainedModel(trained.report, trained.fitted.booster),
    )


@pytest.fixture
def published(models: tuple[Bundle, Bundle, TrainedModel], tmp_path: Path) -> Published:
    """Both bundles in a directory of their own, the first of them the champion."""
    store = DirectoryStore(tmp_path / "root")
    for bundle in models[:2]:
        publish(store, bundle)
    point(store, models[0])
    return Published(tmp_path / "root", *models)


@pytest.fixture(scope="session")
def unseen(trained: Trained) -> pa.Table:
    """Real rows: features and keys, without the results."""
    rows = pa.concat_tables(trained.tables.values())
    return rows.select([*V2_33FEATURES.names, "player_lookup", "game_date", "game_id"])


@pytest.fixture(scope="session")
def row(unseen: pa.Table) -> Callable[..., dict[str, Any]]:
    """A real row as a mapping, with values changed."""
    real = unseen.slice(700, 1).to_pylist()[0]

    def changed(**values: Any) -> dict[str, Any]:
        return {**real, **values}

    return changed
