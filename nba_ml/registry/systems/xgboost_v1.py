"""A published bundle of ours as a prediction system, and the look that makes sure it is whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
from pydantic import ValidationError

from nba_ml.contract.digest import bytes_digest
from nba_ml.contract.errors import BundleError, PublicationError, StaleInputError
from nba_ml.contract.features import V2_33FEATURES
from nba_ml.contract.model_id import SYSTEM_ID
from nba_ml.model.record import ModelRecord
from nba_ml.model.training import fit, gather, predict
from nba_ml.model.uncertainty import Calibration
from nba_ml.registry.channel import ChannelModel
from nba_ml.registry.manifest import BundleNames, Manifest
from nba_ml.registry.systems.interface import Columns, Floats, TrainingExtent, matrix_of
from nba_ml.storage.objects import ObjectStore


@dataclass(frozen=True, slots=True)
class WholeBundle:
    """A bundle whose objects are what its manifest says, and whose verdict allows exactly this booster."""

    model: ChannelModel
    booster: bytes
    record: bytes


def require_whole(store: ObjectStore, model_id: str) -> WholeBundle:
    """A published bundle, if it is there whole: manifest, its verdict, sizes and digests.

    Raises:
        BundleError: there is no such bundle, or a part is missing or damaged.
        NotVerifiedError: the verdict does not allow this booster.
    """
    try:
        names = BundleNames.of(model_id)
    except PublicationError as error:
        raise BundleError(str(error)) from error
    found = store.read(names.manifest)
    if found is None:
        raise BundleError(
            f"{store.uri(names.manifest)} is not there: {model_id} was never published whole. Publish it, or take an "
            "id from `nba-ml champion history`."
        )
    manifest = Manifest.from_bytes(found.data, store.uri(names.manifest))
    stated = {f"{SYSTEM_ID}/{each.name}": (each.size, each.sha256) for each in manifest.objects}
    if manifest.model_id != model_id or list(stated) != [names.booster, names.record]:
        raise BundleError(f"{store.uri(names.manifest)} is the manifest of another model. Do not load the bundle.")
    booster, record = (_stated_object(store, name, *stated[name]) for name in (names.booster, names.record))
    manifest.verdict.require(bytes_digest(booster))
    return WholeBundle(
        ChannelModel(system_id=SYSTEM_ID, model_id=model_id, manifest_sha256=bytes_digest(found.data)), booster, record
    )


def _stated_object(store: ObjectStore, name: str, size: int, sha256: str) -> bytes:
    found = store.read(name)
    if found is None or (len(found.data), bytes_digest(found.data)) != (size, sha256):
        what = "is missing" if found is None else "is damaged"
        raise BundleError(
            f"{store.uri(name)} {what}: its manifest states {size:,} bytes of sha256 {sha256}. Restore it, or publish "
            "the model again under another root."
        )
    return found.data


@dataclass(frozen=True, slots=True)
class XGBoostSystem:
    """A booster with its record.

    `held_out` is true of the booster that the record's numbers were measured on: fitted on the train side alone, so
    the validation rows are new to it. What is published may have been fitted anew on all rows.
    """

    record: ModelRecord
    booster: bytes
    held_out: bool
    threads: int | None = None

    @property
    def system_id(self) -> str:
        return SYSTEM_ID

    @property
    def version(self) -> str:
        return self.record.model_id

    @property
    def model_type(self) -> str:
        return self.record.model_type

    @property
    def model_sha256(self) -> str:
        return self.record.model_sha256

    @property
    def newest_month(self) -> str:
        return self.record.newest_month

    @property
    def seen(self) -> TrainingExtent:
        """A booster of the train side was stopped on early stopping; one of all rows has learnt from the last one."""
        sides = self.record.split.sides()
        given = sides["validation"].last
        return TrainingExtent(fitted=sides["early_stopping"].last if self.held_out else given, given=given)

    @property
    def calibration(self) -> Calibration:
        return self.record.calibration

    def predict(self, columns: Columns) -> Floats:
        """Points (n,), as the booster puts them out."""
        return predict(self.booster, matrix_of(columns, V2_33FEATURES), self.threads).astype(np.float64)


def system_of(bundle: WholeBundle, threads: int | None = None) -> XGBoostSystem:
    """A whole bundle as a system: its record read, and its reference rows predicted again.

    Raises:
        BundleError: the record is not one of this version of nba_ml, is of other features or of another booster, or
            its reference rows predict something else.
    """
    model_id = bundle.model.model_id
    try:
        record = ModelRecord.model_validate_json(bundle.record)
    except ValidationError as error:
        raise BundleError(
            f"The record of {model_id} cannot be read by this version of nba_ml ({error.error_count()} fields, the "
            f"first {'.'.join(map(str, error.errors()[0]['loc']))}). Train and publish the month again."
        ) from error
    stated = (record.model_id, record.model_sha256, record.feature_version, record.feature_names)
    if stated != (model_id, bytes_digest(bundle.booster), V2_33FEATURES.name, V2_33FEATURES.names):
        raise BundleError(
            f"The record published with {model_id} is of {record.model_id} with features {record.feature_version}. Do "
            f"not load it: this version of nba_ml knows {V2_33FEATURES.name}."
        )
    rows = np.array([reference.features for reference in record.reference_rows], dtype=np.float32)
    expected = np.array([reference.prediction for reference in record.reference_rows], dtype=np.float32)
    if not np.array_equal(predict(bundle.booster, rows, threads), expected):
        raise BundleError(
            f"{model_id} does not predict its own reference rows: XGBoost here and XGBoost there differ, or the record "
            "is not this booster's. Do not load it; run `nba-ml verify` on its manifest."
        )
    return XGBoostSystem(record, bundle.booster, record.measured_sha256 == record.model_sha256, threads)


def measured_system(system: XGBoostSystem, tables: Mapping[str, pa.Table]) -> XGBoostSystem:
    """The booster that the record's numbers speak of, as a system: fitted again from the same rows, to the same bytes.

    Args:
        tables: month -> snapshot rows, whole, of all the months of the record's split.

    Raises:
        StaleInputError: the snapshots are no longer those of the split, or the fit gives other bytes.
    """
    if system.held_out:
        return system
    record = system.record
    sides = gather(tables, record.split, V2_33FEATURES).sides(record.split)
    fitted = fit(sides["train"], sides["early_stopping"], record.parameters, V2_33FEATURES, system.threads).booster
    if bytes_digest(fitted) != record.measured_sha256:
        raise StaleInputError(
            f"The booster that {record.model_id} was measured by cannot be made again: its sha256 was "
            f"{record.measured_sha256}, and the same rows now give {bytes_digest(fitted)}. XGBoost here and there "
            "differ. Train the month again with this one, or wait for games that neither model was given."
        )
    return replace(system, booster=fitted, held_out=True)
