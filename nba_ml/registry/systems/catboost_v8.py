"""The platform's CatBoost models: `.cbm` files with the same 33 features, registered and verified like our bundles.

A registered model is two objects in the folder `catboost_v8`: the file, and a manifest that is created last. The
manifest states the file's size and digest, its features, the dates of its training data, and reference rows with their
predictions. Loading verifies all of these.

CatBoost is an optional extra, needed only to predict and to register. Imports only what a prediction worker may import:
no Arrow, so none of the modules that keep the records of our own models.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from nba_ml.contract.errors import BundleError, MissingExtraError, PublicationConflictError
from nba_ml.contract.features import V2_33FEATURES
from nba_ml.contract.season import parse_month
from nba_ml.model.uncertainty import Calibration
from nba_ml.registry.channel import ChannelModel
from nba_ml.registry.reader import ReadManifest, read_manifest, reads_from, refuse
from nba_ml.registry.systems.interface import Columns, Floats, TrainingExtent, matrix_of
from nba_ml.storage.objects import ObjectExistsError, ObjectStore

SYSTEM_ID = "catboost_v8"
"""The platform's name for the system, and the folder of its models."""

EXTRA = "nba_ml[catboost]"
MAGIC = b"CBM1"
"""The first bytes of CatBoost's file format; a pickle never starts with them."""


_ARRAY_NAMES = tuple(str(position) for position in range(V2_33FEATURES.count))
"""CatBoost's names for the columns of a NumPy array."""
_HOW_TO_NAME = (
    "It was trained on an array, whose columns have no names. If the columns were the contract's in the contract's "
    "order, name them without training again: `from catboost import CatBoostRegressor; from nba_ml.contract.features "
    "import V2_33FEATURES; model = CatBoostRegressor().load_model(FILE)`, "
    "`model.set_feature_names(list(V2_33FEATURES.names))`, `model.save_model(NEW_FILE, format='cbm')`"
)

_FROZEN = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class StatedFile(BaseModel):
    """A file as stated in a manifest: size in bytes, sha256 in hex."""

    model_config = _FROZEN

    name: str
    size: int
    sha256: str


class KnownRow(BaseModel):
    """A reference row and the points predicted for it at registration; null is missing."""

    model_config = _FROZEN

    player_lookup: str
    game_date: str
    features: tuple[float | None, ...]
    prediction: float


class CatBoostManifest(BaseModel):
    """The object that makes a registered model exist. For the dates see `interface.TrainingExtent`."""

    model_config = _FROZEN

    format_version: Literal[1] = 1
    model_id: str
    objects: tuple[StatedFile]
    feature_version: str
    feature_names: tuple[str, ...]
    newest_month: str
    fitted_until: date
    given_until: date
    calibration: Calibration | None
    reference_rows: tuple[KnownRow, ...]
    catboost: str

    @model_validator(mode="after")
    def _fits_together(self) -> CatBoostManifest:
        if self.fitted_until > self.given_until or self.given_until.strftime("%Y-%m") != self.newest_month:
            raise ValueError(
                f"fitted until {self.fitted_until}, given until {self.given_until}, newest month {self.newest_month}"
            )
        if self.objects[0].name != f"{self.model_id}.cbm":
            raise ValueError(f"{self.objects[0].name} is not the file of {self.model_id}")
        if not self.reference_rows:
            raise ValueError("no reference rows")
        return self

    def to_bytes(self) -> bytes:
        """Canonical JSON with its own digest, like the manifests of bundles."""
        content = self.model_dump(mode="json")
        return _canonical({**content, "manifest_sha256": _sha256(_canonical(content))})

    @classmethod
    def of(cls, read: ReadManifest) -> CatBoostManifest:
        """Parse the content of a manifest; raises BundleError if it is not that of a CatBoost model."""
        try:
            return cls.model_validate(read.content)
        except ValidationError as error:
            refuse(read.name, "the manifest of a CatBoost model", " ".join(str(error).split()))


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _canonical(content: dict[str, Any]) -> bytes:
    return (json.dumps(content, sort_keys=True, indent=2, allow_nan=False) + "\n").encode()


@dataclass(frozen=True, slots=True)
class Registered:
    """A registered model whose file matches its manifest."""

    model: ChannelModel
    manifest: CatBoostManifest
    data: bytes


def registered_id(data: bytes, extent: TrainingExtent) -> str:
    """The model id of a file: the month of the newest game in its data, and the start of its digest.

    Raises:
        MonthError: that month is not a season month.
    """
    year, month = parse_month(extent.given_until.strftime("%Y-%m"))
    return f"{SYSTEM_ID}_{V2_33FEATURES.count}features_{year:04d}{month:02d}_{_sha256(data)[:12]}"


def find_registered(store: ObjectStore, data: bytes, extent: TrainingExtent) -> Registered | None:
    """The file's registration with the same dates; None if there is none.

    Raises:
        BundleError: the registered model is damaged.
    """
    identity = registered_id(data, extent)
    if store.read(_manifest(identity)) is None:
        return None
    found = require_registered(store, identity)
    same = TrainingExtent(found.manifest.fitted_until, found.manifest.given_until) == extent and found.data == data
    return found if same else None


def register_catboost(
    store: ObjectStore,
    data: bytes,
    extent: TrainingExtent,
    reference: Sequence[tuple[str, date, Sequence[float]]],
    calibration: Calibration | None = None,
) -> Registered:
    """Register a CatBoost model. Registering it again changes nothing.

    Args:
        data: the `.cbm` file.
        extent: the dates of its training data. Only its trainer knows them: with a date that is too early, it would be
            graded on games that it was trained on.
        reference: rows to predict now and whenever it is loaded: (player_lookup, date, 33 values, NaN for missing).
        calibration: for its interval; None for no interval.

    Raises:
        BundleError: it is not a `.cbm` file, or its features are not the contract's, by name and in order.
        MissingExtraError: CatBoost is not installed.
        PublicationConflictError: it is registered with another manifest.
    """
    model = _load(data, "The file given")
    identity = registered_id(data, extent)
    vectors = np.array([row for _, _, row in reference], dtype=np.float32)
    predicted = model.predict(vectors)
    rows = tuple(
        KnownRow(
            player_lookup=player,
            game_date=day.isoformat(),
            features=tuple(None if np.isnan(value) else float(value) for value in vector),
            prediction=float(points),
        )
        for (player, day, _), vector, points in zip(reference, vectors, predicted, strict=True)
    )
    manifest = CatBoostManifest(
        model_id=identity,
        objects=(StatedFile(name=f"{identity}.cbm", size=len(data), sha256=_sha256(data)),),
        feature_version=V2_33FEATURES.name,
        feature_names=V2_33FEATURES.names,
        newest_month=extent.given_until.strftime("%Y-%m"),
        fitted_until=extent.fitted_until,
        given_until=extent.given_until,
        calibration=calibration,
        reference_rows=rows,
        catboost=str(_catboost().__version__),
    )
    _create(store, _file(identity), data)
    _create(store, _manifest(identity), manifest.to_bytes())
    return require_registered(store, identity)


def _create(store: ObjectStore, name: str, data: bytes) -> None:
    try:
        store.create(name, data)
    except ObjectExistsError as error:
        found = store.read(name)
        if found is None or found.data != data:
            raise PublicationConflictError(
                f"{store.uri(name)} exists with other bytes than the ones to register. Published objects are never "
                "overwritten: keep it, or register in another root."
            ) from error


def require_registered(store: ObjectStore, model_id: str, manifest_sha256: str | None = None) -> Registered:
    """Read a registered model with `registry.reader`: its manifest, then its file, checked by size and digest.

    Args:
        manifest_sha256: the expected digest of its manifest; None accepts any.

    Raises:
        BundleError: it is missing or damaged, or has other features.
    """
    read, name = reads_from(store), _manifest(model_id)
    sealed = read_manifest(read, name, manifest_sha256)
    manifest = CatBoostManifest.of(sealed)
    found = (manifest.model_id, manifest.feature_version, manifest.feature_names)
    if found != (model_id, V2_33FEATURES.name, V2_33FEATURES.names):
        expected = f"the manifest of {model_id} of {V2_33FEATURES.name}"
        refuse(name, expected, f"one of {manifest.model_id} of {manifest.feature_version}")
    (data,) = sealed.read_objects(read)
    model = ChannelModel(system_id=SYSTEM_ID, model_id=model_id, manifest_sha256=sealed.sha256)
    return Registered(model, manifest, data)


def _file(model_id: str) -> str:
    return f"{SYSTEM_ID}/{model_id}.cbm"


def _manifest(model_id: str) -> str:
    return f"{SYSTEM_ID}/{model_id}_manifest.json"


@dataclass(frozen=True, slots=True)
class CatBoostSystem:
    """A verified CatBoost model."""

    manifest: CatBoostManifest
    model: Any
    threads: int | None = None
    model_type: str = "catboost"

    @property
    def system_id(self) -> str:
        return SYSTEM_ID

    @property
    def version(self) -> str:
        return self.manifest.model_id

    @property
    def model_sha256(self) -> str:
        return self.manifest.objects[0].sha256

    @property
    def newest_month(self) -> str:
        return self.manifest.newest_month

    @property
    def extent(self) -> TrainingExtent:
        return TrainingExtent(self.manifest.fitted_until, self.manifest.given_until)

    @property
    def calibration(self) -> Calibration | None:
        return self.manifest.calibration

    def predict(self, columns: Columns) -> Floats:
        """The model's raw output (n,), in points."""
        return _predict(self.model, matrix_of(columns, V2_33FEATURES), self.threads)


def predict_file(data: bytes, rows: Sequence[Sequence[float | None]], threads: int | None = None) -> list[float]:
    """Predict points for n feature vectors (None for missing) with the bytes of a `.cbm` file.

    Raises:
        BundleError: it cannot be loaded, or its features are not the contract's.
        MissingExtraError: CatBoost is not installed.
    """
    vectors = np.array(rows, dtype=np.float32).reshape(len(rows), V2_33FEATURES.count)
    return [float(points) for points in _predict(_load(data, "The file given"), vectors, threads)]


def load_catboost(registered: Registered, threads: int | None = None) -> CatBoostSystem:
    """Load a registered model and check that it predicts its reference rows within a billionth of a point.

    Not exactly, unlike our own models: CatBoost's order of summation depends on the processor.

    Raises:
        BundleError: it cannot be loaded, its features are not the contract's, or its predictions differ.
        MissingExtraError: CatBoost is not installed.
    """
    manifest = registered.manifest
    model = _load(registered.data, manifest.model_id)
    rows = np.array([row.features for row in manifest.reference_rows], dtype=np.float32)
    require_reproduced(manifest, _predict(model, rows, threads))
    return CatBoostSystem(manifest, model, threads)


def require_reproduced(manifest: CatBoostManifest, found: Sequence[float] | Floats) -> None:
    """Raise BundleError unless the predictions (n,) of the reference rows equal the registered ones to 1e-9 points."""
    expected = np.array([row.prediction for row in manifest.reference_rows])
    if len(found) != len(expected) or not np.allclose(found, expected, rtol=0, atol=1e-9):
        difference = np.abs(np.asarray(found) - expected).max() if len(found) == len(expected) else np.nan
        raise BundleError(
            f"The predictions of {manifest.model_id} for its reference rows differ by up to {difference:.6f} points "
            f"from those registered with CatBoost {manifest.catboost}. Do not load it; if it is correct, register it "
            "again."
        )


def _predict(model: Any, vectors: npt.NDArray[np.float32], threads: int | None) -> Floats:
    return np.asarray(model.predict(vectors, thread_count=threads or -1), dtype=np.float64)


def _load(data: bytes, what: str) -> Any:
    """Load the model in a `.cbm` file and check that its features are the contract's."""
    if not data.startswith(MAGIC):
        raise BundleError(
            f"{what} is not a CatBoost model: it begins with {data[:4]!r}, a .cbm file with {MAGIC!r}. Save it with "
            "save_model(path, format='cbm'); pickles are never loaded."
        )
    catboost = _catboost()
    model = catboost.CatBoostRegressor()
    with tempfile.TemporaryDirectory() as folder:  # CatBoost validates the format of a file but not of bytes in memory
        path = Path(folder) / "model.cbm"
        path.write_bytes(data)
        try:
            model.load_model(str(path), format="cbm")
        except catboost.CatBoostError as error:
            raise BundleError(f"{what} cannot be loaded by CatBoost {catboost.__version__}: {error}") from error
    names = tuple(model.feature_names_ or ())
    if names != V2_33FEATURES.names:
        pairs = zip(range(V2_33FEATURES.count), V2_33FEATURES.names, strict=True)
        at, right = next(
            ((i, name) for i, name in pairs if i >= len(names) or names[i] != name), (V2_33FEATURES.count, "no more")
        )
        advice = _HOW_TO_NAME if names == _ARRAY_NAMES else "Train it with the contract's names in the contract's order"
        raise BundleError(
            f"{what} has other features: {len(names)} of them, and at position {at} "
            f"{names[at] if at < len(names) else 'none'!r} where {V2_33FEATURES.name} has {right!r}. {advice}; with "
            "other columns its predictions would be silently wrong."
        )
    if model.get_cat_feature_indices():
        raise BundleError(
            f"{what} treats some features as categories, but all features of the contract are numbers. Train it "
            "without categorical features."
        )
    return model


def require_installed() -> None:
    """Raise MissingExtraError if CatBoost is not installed."""
    _catboost()


def _catboost() -> Any:
    try:
        return import_module("catboost")
    except ModuleNotFoundError as error:
        if error.name != "catboost":
            raise  # CatBoost is installed but lacks a dependency
        raise MissingExtraError(
            f"A {SYSTEM_ID} model was requested, but CatBoost is not installed. Run pip install '{EXTRA}'."
        ) from error
