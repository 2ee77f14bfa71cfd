"""A bundle published by nba_ml as a prediction system."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pydantic import ValidationError

from nba_ml.contract.errors import BundleError, PublicationError
from nba_ml.contract.features import FEATURE_VERSIONS, FeatureVersion
from nba_ml.model.calibration import Calibration
from nba_ml.model.fitting import predict
from nba_ml.model.record import ModelRecord
from nba_ml.registry.channel import ChannelModel
from nba_ml.registry.manifest import BundleNames
from nba_ml.registry.reader import ReadBundle, read_bundle, reads_from
from nba_ml.registry.reference import load_booster, predict_loaded
from nba_ml.registry.systems.interface import Columns, Floats, TrainingExtent, matrix_of
from nba_ml.storage.objects import ObjectStore


def read_published(store: ObjectStore, model_id: str, manifest_sha256: str | None = None) -> ReadBundle:
    """Read a published bundle by its model id with `registry.reader.read_bundle`.

    Args:
        manifest_sha256: the expected digest of its manifest; None accepts any.

    Raises:
        BundleError: there is no such bundle, an object is missing or damaged, or its verdict does not allow it.
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


def channel_model_of(bundle: ReadBundle) -> ChannelModel:
    """This bundle as a channel names it; its folder is its system's."""
    system_id = bundle.manifest_name.partition("/")[0]
    return ChannelModel(system_id=system_id, model_id=bundle.model_id, manifest_sha256=bundle.manifest_sha256)


@dataclass(frozen=True, slots=True)
class XGBoostSystem:
    """A booster with its record.

    `held_out` is true for the booster that the record's metrics were measured with: it was fitted on the train side
    only, so the validation rows are new to it. The published booster may have been refitted on all rows.
    """

    record: ModelRecord
    booster: bytes
    held_out: bool
    threads: int | None = None

    @property
    def system_id(self) -> str:
        return self.record.system_id

    @property
    def version(self) -> str:
        return self.record.model_id

    @property
    def features(self) -> FeatureVersion:
        return FEATURE_VERSIONS[self.record.feature_version]

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
    def extent(self) -> TrainingExtent:
        """A train-side booster used rows up to the early-stopping side; a refitted one used all rows."""
        sides = self.record.split.sides()
        given = sides["validation"].last
        return TrainingExtent(fitted_until=sides["early_stopping"].last if self.held_out else given, given_until=given)

    @property
    def calibration(self) -> Calibration:
        return self.record.spread

    def predict(self, columns: Columns) -> Floats:
        """The booster's raw output (n,), in points."""
        return predict(self.booster, matrix_of(columns, self.features), self.threads).astype(np.float64)


def system_of(bundle: ReadBundle, threads: int | None = None) -> XGBoostSystem:
    """A bundle as a system. Its record is parsed, and its reference rows are predicted in this process.

    Raises:
        BundleError: this version of nba_ml cannot read the record, XGBoost cannot load the booster, or the predictions
            of the reference rows differ.
    """
    try:
        record = ModelRecord.model_validate(bundle.record)
    except ValidationError as error:
        raise BundleError(
            f"The record of {bundle.model_id} cannot be read by this version of nba_ml ({error.error_count()} fields, "
            f"the first {'.'.join(map(str, error.errors()[0]['loc']))}). Train and publish the month again."
        ) from error
    bundle.require_reproduced(
        predict_loaded(load_booster(bundle.booster, bundle.features, threads), bundle.rows, bundle.features)
    )
    return XGBoostSystem(record, bundle.booster, record.measured_sha256 == record.model_sha256, threads)
