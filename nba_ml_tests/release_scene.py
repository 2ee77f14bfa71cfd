"""Real models of the first months, published, with the snapshots they come from: what releases are tested on."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow.compute as pc

from nba_ml.checks.registry import STORED
from nba_ml.contract.digest import bytes_digest
from nba_ml.contract.features import V2_33FEATURES
from nba_ml.contract.season import month_of, season_months
from nba_ml.contract.systems import XGBOOST_V1
from nba_ml.contract.thresholds import Thresholds
from nba_ml.data.snapshot import Snapshot
from nba_ml.data.split import split_by_date
from nba_ml.data.table_digest import table_digest
from nba_ml.model.fitting import Hyperparameters
from nba_ml.model.record import ModelRecord, make_record
from nba_ml.model.train import train
from nba_ml.registry.artifact import Artifact
from nba_ml.registry.channel import read_channel
from nba_ml.registry.learners.catboost import CATBOOST
from nba_ml.registry.publication import Bundle, publish
from nba_ml.registry.release_context import ReleaseContext
from nba_ml.registry.systems.interface import TrainingExtent
from nba_ml.registry.systems.registered import registered_id
from nba_ml.registry.systems.registered_manifest import KnownRow, RegisteredManifest, StatedFile
from nba_ml.registry.verdict import CheckVerdict, Verdict
from nba_ml.storage.directory import DirectoryStore
from nba_ml.storage.months import MonthStore
from nba_ml.storage.objects import ObjectStore
from nba_ml_tests.conftest import FIRST_MONTH, QUICK, snapshot_of

AT = datetime(2022, 2, 1, 12, tzinfo=UTC)
WHY = "a reason of a sentence"
MONTHS = ("2021-10", "2021-11", "2021-12", "2022-01")
REFITTED = QUICK.model_copy(update={"refit": True})
"""As shipped: fitted anew on all rows, so that the published booster has no held-out rows of its own."""

SLOW_LEARNER = REFITTED.model_copy(update={"num_boost_round": 2, "learning_rate": 0.02})
"""Two timid steps: far worse than any other model."""

LIMITS = Thresholds(promotion_margin=0.2, rollout_margin=0.1, external_margin=0.2)
"""The first months' models, of 60 large steps, differ by more than the shipped margins allow, also from the season
average."""


@dataclass(frozen=True)
class Made:
    """A trained model with its record."""

    booster: bytes
    record: ModelRecord
    measured: bytes

    @property
    def model_id(self) -> str:
        return self.record.model_id


@cache
def model_of(month: str, parameters: Hyperparameters = REFITTED) -> Made:
    """The model of a month, as the asset trains it."""
    return trained_on({each: snapshot_of(each) for each in season_months(FIRST_MONTH, month)}, parameters)


def trained_on(snapshots: Mapping[str, Snapshot], parameters: Hyperparameters = REFITTED) -> Made:
    """A model of these months, as they are."""
    days = {month: snapshot.table.column("game_date").to_numpy() for month, snapshot in snapshots.items()}
    split = split_by_date({month: (snapshots[month].digest, days[month]) for month in snapshots})
    model = train(split, snapshots, parameters, V2_33FEATURES, threads=1)
    assert model.booster is not None
    return Made(model.booster, make_record(model.report, model.booster, XGBOOST_V1), model.measured or model.booster)


def published_model(objects: ObjectStore, month: str, parameters: Hyperparameters = REFITTED) -> str:
    """Publish the model of a month, with a verdict that it passed; its id."""
    return publish_made(objects, model_of(month, parameters))


def publish_made(objects: ObjectStore, made: Made) -> str:
    """Publish a model, with a verdict that it passed; its id.

    In a home, training has left the measured booster in the store beside the artifacts.
    """
    if isinstance(objects, DirectoryStore):
        DirectoryStore(objects.root.parent / "store").write(measured_file(made.record), made.measured)
    sha, month = made.record.model_sha256, made.record.newest_month
    check = CheckVerdict(asset="xgboost_model", check="mae", month=month, passed=True, subject=sha)
    verdict = Verdict(model_sha256=sha, checks=(check,))
    publish(objects, Bundle(made.model_id, made.booster, made.record.to_bytes(), verdict))
    return made.model_id


def measured_file(record: ModelRecord) -> str:
    """The name in the store of the booster that a record's metrics were measured with."""
    return f"boosters/{record.measured_sha256}.json"


def as_of(last: date) -> dict[str, Snapshot]:
    """The months up to a day, the running one with the games that were played by then."""
    months = {month: snapshot_of(month) for month in season_months(FIRST_MONTH, month_of(last))}
    return {month: changed(snapshot, pc.field("game_date") <= last) for month, snapshot in months.items()}


def changed(snapshot: Snapshot, keep: pc.Expression) -> Snapshot:
    """A month of which some rows are not there."""
    table = snapshot.table.filter(keep)
    return replace(snapshot, table=table, digest=table_digest(table))


def retrained(bench: ReleaseContext, months: Mapping[str, Snapshot]) -> str:
    """What a weekly training leaves: the months in the store as they are now, and their model published; its id."""
    for month, snapshot in months.items():
        bench.months.save(STORED["feature_store_snapshot"], month, snapshot)
    made = trained_on(months)
    bench.months.save(STORED["gcs_artifact"], made.record.newest_month, Artifact(model_id=made.model_id))
    return publish_made(bench.objects, made)


def registered_file(objects: ObjectStore, extent: TrainingExtent) -> str:
    """Put something beside our models as a CatBoost, whole by its digests, that nobody can load; its id."""
    data = b"CBM1 and nothing more"
    identity = registered_id(data, extent)
    row = KnownRow(player_lookup="a", game_date="2021-11-02", features=(None,) * V2_33FEATURES.count, prediction=9.0)
    manifest = RegisteredManifest(
        model_id=identity,
        objects=(StatedFile(name=f"{identity}.cbm", size=len(data), sha256=bytes_digest(data)),),
        feature_version=V2_33FEATURES.name,
        feature_names=V2_33FEATURES.names,
        newest_month=month_of(extent.given_until),
        fitted_until=extent.fitted_until,
        given_until=extent.given_until,
        calibration=None,
        reference_rows=(row,),
        library="1.2",
    )
    objects.create(f"{CATBOOST.system_id}/{identity}.cbm", data)
    objects.create(f"{CATBOOST.system_id}/{identity}_manifest.json", manifest.to_bytes())
    return identity


@cache
def stored_files(month: str) -> dict[str, bytes]:
    """What a store has of a month's snapshot, by name: written once, because compressing it takes longer than most of
    the tests that need it."""
    with tempfile.TemporaryDirectory() as folder:
        store = DirectoryStore(Path(folder))
        MonthStore(store).save(STORED["feature_store_snapshot"], month, snapshot_of(month))
        return {name: (Path(folder) / name).read_bytes() for name in store.names("")}


def bench_of(objects: ObjectStore, store: ObjectStore, *months: str, limits: Thresholds = LIMITS) -> ReleaseContext:
    """A bench whose store has the snapshots of the months, by default all four."""
    for month in months or MONTHS:
        for name, data in stored_files(month).items():
            store.write(name, data)
    return ReleaseContext(objects, MonthStore(store), limits, threads=1)


def champion_of(bench: ReleaseContext) -> str:
    """The id of the champion, which there must be."""
    channel = read_channel(bench.objects)
    assert channel is not None
    return channel.champion.model_id


def strict(bench: ReleaseContext, **limits: Any) -> ReleaseContext:
    """The bench under `LIMITS`, but for those given."""
    return replace(bench, limits=LIMITS.model_copy(update=limits))
