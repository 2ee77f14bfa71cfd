"""A published bundle of ours as a prediction system."""

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
from nba_ml.registry.manifest import BundleNames
from nba_ml.registry.reader import ReadBundle, read_bundle, reads_from
from nba_ml.registry.reference import load_booster, predict_loaded
from nba_ml.registry.systems.interface import Columns, Floats, TrainingExtent, matrix_of
from nba_ml.storage.objects import ObjectStore


def read_published(store: ObjectStore, model_id: str, manifest_sha256: str | None = None) -> ReadBundle:
    """A published bundle by its model's id, as `registry.reader.read_bundle` reads it.

    Args:
        manifest_sha256: of its manifest, where a channel names it.

    Raises:
        BundleError: there is no such bundle, a part is missing or damaged, or its verdict does not allow it.
    """
    try:
        manifest = BundleNames.of(model_id).manifest
    except PublicationError as error:
        raise BundleError(str(error)) from error
    objects = reads_from(store)

    def read(name: str) -> bytes | None:
        data = objects(name)
        if data is None and name == manifest:
            raise BundleError(
                f"{store.uri(manifest)} is missing: {model_id} was never published completely. Publish it, or take an "
                "id from `nba-ml champion history`."
            )
        return data

    return read_bundle(read, manifest, manifest_sha256)


def named_by(bundle: ReadBundle) -> ChannelModel:
    """How a channel names this bundle."""
    return ChannelModel(system_id=SYSTEM_ID, model_id=bundle.model_id, manifest_sha256=bundle.manifest_sha256)


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


def system_of(bundle: ReadBundle, threads: int | None = None) -> XGBoostSystem:
    """A bundle as a system: its record parsed, and its reference rows predicted in this process, to the last bit.

    Raises:
        BundleError: the record is not one of this version of nba_ml, XGBoost cannot load the booster, or the reference
            rows are predicted otherwise.
    """
    try:
        record = ModelRecord.model_validate(bundle.record)
    except ValidationError as error:
        raise BundleError(
            f"The record of {bundle.model_id} cannot be read by this version of nba_ml ({error.error_count()} fields, "
            f"the first {'.'.join(map(str, error.errors()[0]['loc']))}). Train and publish the month again."
        ) from error
    bundle.require_reproduced(predict_loaded(load_booster(bundle.booster, threads), bundle.rows))
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
