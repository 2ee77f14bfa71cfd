"""The platform's CatBoost beside ours: a `.cbm` file over the same 33 features, registered and verified like a bundle.

A registered model is two objects in the folder `catboost_v8`: the file, and a manifest that is created last and
names the file with its size and digest, its features, how far its training looked, and reference rows with what it
predicted for them. Whoever loads it goes by that, and refuses everything else.

CatBoost is an optional extra: only predicting and registering need it. Imports what a prediction worker may import:
no Arrow, and so none of the modules that keep records of our own models.
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
"""The platform's name for the system, and the folder that its models lie in."""

EXTRA = "nba_ml[catboost]"
MAGIC = b"CBM1"
"""What CatBoost's own file format begins with, and no pickle does."""


_UNNAMED = tuple(str(position) for position in range(V2_33FEATURES.count))
"""What CatBoost calls the columns of a NumPy array."""

_NAME_THEM = (
    "It was trained on an array, whose columns have no names. Name them, without training again: `from catboost import "
    "CatBoostRegressor; from nba_ml.contract.features import V2_33FEATURES; model = "
    "CatBoostRegressor().load_model(FILE)`, `model.set_feature_names(list(V2_33FEATURES.names))`, "
    "`model.save_model(NEW_FILE, format='cbm')`. Do so only if its columns were the contract's in the contract's order"
)

_FROZEN = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class StatedFile(BaseModel):
    """The file as its manifest states it: size in bytes, sha256 in hex."""

    model_config = _FROZEN

    name: str
    size: int
    sha256: str


class KnownRow(BaseModel):
    """A row and what the model predicted for it when it was registered, in points; null is missing."""

    model_config = _FROZEN

    player_lookup: str
    game_date: str
    features: tuple[float | None, ...]
    prediction: float


class CatBoostManifest(BaseModel):
    """What makes a registered model exist. `seen` dates: see `interface.TrainingExtent`."""

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
            raise ValueError(f"seen until {self.fitted_until} and {self.given_until}, newest month {self.newest_month}")
        if self.objects[0].name != f"{self.model_id}.cbm":
            raise ValueError(f"{self.objects[0].name} is not the file of {self.model_id}")
        if not self.reference_rows:
            raise ValueError("no reference rows")
        return self

    def to_bytes(self) -> bytes:
        """Canonical JSON with its own digest, as the manifests of bundles have it."""
        content = self.model_dump(mode="json")
        return _canonical({**content, "manifest_sha256": _sha256(_canonical(content))})

    @classmethod
    def of(cls, read: ReadManifest) -> CatBoostManifest:
        """The content of a manifest that `to_bytes` wrote.

        Raises:
            BundleError: it is not one of a CatBoost model.
        """
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
    """A registered model whose file is what its manifest says."""

    model: ChannelModel
    manifest: CatBoostManifest
    data: bytes


def registered_id(data: bytes, seen: TrainingExtent) -> str:
    """What a file is registered as: the month of the newest game it was given, and the head of its digest.

    Raises:
        MonthError: that month holds no games.
    """
    year, month = parse_month(seen.given.strftime("%Y-%m"))
    return f"{SYSTEM_ID}_{V2_33FEATURES.count}features_{year:04d}{month:02d}_{_sha256(data)[:12]}"


def find_registered(store: ObjectStore, data: bytes, seen: TrainingExtent) -> Registered | None:
    """The file, if it is registered already, as having seen as much; None if it is not.

    Raises:
        BundleError: it is there and damaged.
    """
    identity = registered_id(data, seen)
    if store.read(_manifest(identity)) is None:
        return None
    found = require_registered(store, identity)
    same = TrainingExtent(found.manifest.fitted_until, found.manifest.given_until) == seen and found.data == data
    return found if same else None


def register_catboost(
    store: ObjectStore,
    data: bytes,
    seen: TrainingExtent,
    reference: Sequence[tuple[str, date, Sequence[float]]],
    calibration: Calibration | None = None,
) -> Registered:
    """Put a CatBoost model beside ours. Registered again, it changes nothing.

    Args:
        data: the `.cbm` file.
        seen: the last dates that its training looked at. Nobody but its trainer knows: a date too early would have
            it graded on games that it remembers.
        reference: rows to predict now and at every loading: (player_lookup, date, 33 values, NaN for missing).
        calibration: of its interval; None gives none.

    Raises:
        BundleError: it is no `.cbm`, or its features are not the contract's, by name and in order.
        MissingExtraError: CatBoost is not installed.
        PublicationConflictError: it is there with another manifest.
    """
    model = _loaded(data, "The file given")
    identity = registered_id(data, seen)
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
        newest_month=seen.given.strftime("%Y-%m"),
        fitted_until=seen.fitted,
        given_until=seen.given,
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
                f"{store.uri(name)} is there with other bytes than the ones to be registered. Nothing published is "
                "written over: leave it, or register under another root."
            ) from error


def require_registered(store: ObjectStore, model_id: str, manifest_sha256: str | None = None) -> Registered:
    """A registered model, as `registry.reader` reads it: its manifest, then its file by size and digest.

    Args:
        manifest_sha256: of its manifest, where a channel names it.

    Raises:
        BundleError: it is missing or damaged, or of other features.
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
    """A CatBoost model that was verified."""

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
    def seen(self) -> TrainingExtent:
        return TrainingExtent(self.manifest.fitted_until, self.manifest.given_until)

    @property
    def calibration(self) -> Calibration | None:
        return self.manifest.calibration

    def predict(self, columns: Columns) -> Floats:
        """Points (n,), as the model puts them out."""
        return _predict(self.model, matrix_of(columns, V2_33FEATURES), self.threads)


def predict_file(data: bytes, rows: Sequence[Sequence[float | None]], threads: int | None = None) -> list[float]:
    """Points for n feature vectors, None for missing, from the bytes of a `.cbm`.

    Raises:
        BundleError: it does not load, or its features are not the contract's.
        MissingExtraError: CatBoost is not installed.
    """
    vectors = np.array(rows, dtype=np.float32).reshape(len(rows), V2_33FEATURES.count)
    return [float(points) for points in _predict(_loaded(data, "The file given"), vectors, threads)]


def load_catboost(registered: Registered, threads: int | None = None) -> CatBoostSystem:
    """A registered model, loaded, with its reference rows predicted again: equal to a billionth of a point.

    Not to the last bit, as ours: CatBoost sums its trees in another order on another processor.

    Raises:
        BundleError: it does not load, its features are not the contract's, or it predicts something else.
        MissingExtraError: CatBoost is not installed.
    """
    manifest = registered.manifest
    model = _loaded(registered.data, manifest.model_id)
    rows = np.array([row.features for row in manifest.reference_rows], dtype=np.float32)
    require_reproduced(manifest, _predict(model, rows, threads))
    return CatBoostSystem(manifest, model, threads)


def require_reproduced(manifest: CatBoostManifest, found: Sequence[float] | Floats) -> None:
    """Pass silently where the reference rows (n,) were predicted as registered, to a billionth of a point.

    Raises:
        BundleError: one was not.
    """
    expected = np.array([row.prediction for row in manifest.reference_rows])
    if len(found) != len(expected) or not np.allclose(found, expected, rtol=0, atol=1e-9):
        apart = np.abs(np.asarray(found) - expected).max() if len(found) == len(expected) else np.nan
        raise BundleError(
            f"{manifest.model_id} predicts its reference rows up to {apart:.6f} points off what was registered with "
            f"CatBoost {manifest.catboost}. Do not load it; register it again if it is right."
        )


def _predict(model: Any, vectors: npt.NDArray[np.float32], threads: int | None) -> Floats:
    return np.asarray(model.predict(vectors, thread_count=threads or -1), dtype=np.float64)


def _loaded(data: bytes, what: str) -> Any:
    """The model in a `.cbm`, if it is one over the contract's features."""
    if not data.startswith(MAGIC):
        raise BundleError(
            f"{what} is no CatBoost model: it begins with {data[:4]!r}, a .cbm with {MAGIC!r}. Save it with "
            "save_model(path, format='cbm'); a pickle is never loaded."
        )
    catboost = _catboost()
    model = catboost.CatBoostRegressor()
    with tempfile.TemporaryDirectory() as folder:  # CatBoost checks a file's form, and of bytes in memory it does not
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
        advice = _NAME_THEM if names == _UNNAMED else "Train it on the contract's names in their order"
        raise BundleError(
            f"{what} is a model of other features: it has {len(names)}, and at position {at} "
            f"{names[at] if at < len(names) else 'none'!r} where {V2_33FEATURES.name} has {right!r}. "
            f"{advice}: with other columns it would predict nonsense without a word."
        )
    if model.get_cat_feature_indices():
        raise BundleError(f"{what} takes some of its features for categories; all of the contract's are numbers.")
    return model


def require_installed() -> None:
    """Pass silently where CatBoost is there.

    Raises:
        MissingExtraError: CatBoost is not installed.
    """
    _catboost()


def _catboost() -> Any:
    try:
        return import_module("catboost")
    except ModuleNotFoundError as error:
        if error.name != "catboost":
            raise  # it is there and lacks something of its own
        raise MissingExtraError(
            f"CatBoost is not installed, and a model of {SYSTEM_ID} was asked for: pip install '{EXTRA}'."
        ) from error
