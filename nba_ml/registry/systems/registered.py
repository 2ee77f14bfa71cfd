"""Registered models: files of CatBoost, XGBoost and LightGBM that nba_ml did not train, verified like our bundles.

A registered model is two objects in the folder of its system (`catboost_v8`, `xgboost_registered`,
`lightgbm_registered`): the file, and a manifest that is created last. The manifest states the file's size and digest,
its features, the dates of its training data, what it gets for missing values, and reference rows with their
predictions. Loading verifies all of these.

Imports only what a prediction worker may import: no Arrow, so none of the modules that keep the records of our own
models.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np

from nba_ml.contract.digest import bytes_digest, canonical_json
from nba_ml.contract.errors import BundleError, PublicationConflictError
from nba_ml.contract.features import FEATURE_VERSIONS, V2_33FEATURES, FeatureVersion
from nba_ml.contract.season import parse_month
from nba_ml.contract.text import printable
from nba_ml.model.calibration import Calibration
from nba_ml.registry.channel import ChannelModel
from nba_ml.registry.learners.interface import Learner, ParsedModel, Vectors, require_features
from nba_ml.registry.learners.known import LEARNERS, learner_of, learner_of_model
from nba_ml.registry.learners.missing import NAN, MissingPolicy
from nba_ml.registry.learners.process import FILE, predict_apart, predict_points
from nba_ml.registry.reader import Reader, read_manifest, reads_from, refuse
from nba_ml.registry.systems.interface import Columns, Floats, TrainingExtent, matrix_of
from nba_ml.registry.systems.registered_manifest import KnownRow, RegisteredManifest, StatedFile
from nba_ml.storage.objects import ObjectExistsError, ObjectStore


@dataclass(frozen=True, slots=True)
class Registered:
    """A registered model whose file matches its manifest."""

    model: ChannelModel
    manifest: RegisteredManifest
    data: bytes

    @property
    def learner(self) -> Learner:
        return LEARNERS[self.model.system_id]


def registered_id(
    data: bytes, extent: TrainingExtent, missing: MissingPolicy = NAN, version: FeatureVersion = V2_33FEATURES
) -> str:
    """The model id of a file: how many features, the month of the newest game in its data, and the start of a digest.

    The digest is that of the file, and with a policy that of both: the same file with another policy is another model.

    Raises:
        BundleError: it is not a model file.
        MonthError: that month is not a season month.
    """
    year, month = parse_month(extent.given_until.strftime("%Y-%m"))
    digest = bytes_digest(data + (canonical_json(missing.model_dump(mode="json")["rules"]) if missing.rules else b""))
    system = learner_of(data, FILE).system_id
    return f"{system}_{version.count}features_{year:04d}{month:02d}_{digest[:12]}"


def find_registered(
    store: ObjectStore,
    data: bytes,
    extent: TrainingExtent,
    missing: MissingPolicy = NAN,
    features: FeatureVersion | None = None,
) -> Registered | None:
    """The file's registration with the same dates and policy, and the features if given; None if there is none.

    Raises:
        BundleError: it is not a model file, or the registered model is damaged.
    """
    for version in [features] if features else FEATURE_VERSIONS.values():
        identity = registered_id(data, extent, missing, version)
        if store.read(_manifest(identity)) is not None:
            found = require_registered(store, identity)
            dates = TrainingExtent(found.manifest.fitted_until, found.manifest.given_until)
            return found if dates == extent and found.data == data else None
    return None


def version_of(model: ParsedModel, stated: FeatureVersion | None = None) -> FeatureVersion:
    """The feature version of a model: the one that a person stated, else the one that has its names.

    If none has, the one with as many features, for error messages; the first version if there is none.
    """
    if stated is not None:
        return stated
    named = [each for each in FEATURE_VERSIONS.values() if each.names == model.names]
    return (named or [each for each in FEATURE_VERSIONS.values() if each.count == model.columns] or [V2_33FEATURES])[0]


def register_file(
    store: ObjectStore,
    data: bytes,
    extent: TrainingExtent,
    reference: Sequence[tuple[str, date, Sequence[float]]],
    calibration: Calibration | None = None,
    *,
    missing: MissingPolicy = NAN,
    features: FeatureVersion | None = None,
    waived: Sequence[str] = (),
    reason: str = "",
) -> Registered:
    """Register a model file. Registering it again changes nothing.

    Args:
        data: a CatBoost `.cbm`, XGBoost's JSON or UBJ, or LightGBM's text.
        extent: the dates of its training data. Only its trainer knows them: with a date that is too early, it would be
            graded on games that it was trained on.
        reference: rows to predict now and whenever it is loaded: (player_lookup, date, values of its
            features, NaN for missing).
        calibration: for its interval; None for no interval.
        features: the columns of a model that has no names of its own.
        waived: the conditions of the target that a person waived, for the `reason`.

    Raises:
        BundleError: it is not a model file, or its features are not the contract's, by name and in order.
        MissingExtraError: its learner is not installed.
        PublicationConflictError: it is registered with another manifest.
    """
    learner = learner_of(data, FILE)
    model = learner.parse(data, FILE, 1)
    version = version_of(model, features)
    identity = registered_id(data, extent, missing, version)
    require_features(model, version, features is not None, FILE)
    vectors = np.array([row for _, _, row in reference], dtype=np.float32)
    predicted = predict_points(model, missing.fill(vectors, version), FILE)
    rows = tuple(
        KnownRow(
            player_lookup=player,
            game_date=day.isoformat(),
            features=tuple(None if np.isnan(value) else float(value) for value in vector),
            prediction=float(points),
        )
        for (player, day, _), vector, points in zip(reference, vectors, predicted, strict=True)
    )
    name = f"{identity}{learner.suffix_of(data)}"
    manifest = RegisteredManifest(
        model_id=identity,
        objects=(StatedFile(name=name, size=len(data), sha256=bytes_digest(data)),),
        feature_version=version.name,
        feature_names=version.names,
        names="embedded" if model.names else "given",
        missing=missing,
        target="points",
        waived=tuple(waived),
        reason=printable(reason),
        newest_month=extent.given_until.strftime("%Y-%m"),
        fitted_until=extent.fitted_until,
        given_until=extent.given_until,
        calibration=calibration,
        reference_rows=rows,
        library=learner.version,
    )
    _create(store, f"{learner.system_id}/{name}", data)
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
    found = read_registered(reads_from(store), _manifest(model_id), manifest_sha256)
    if found.model.model_id != model_id:
        refuse(_manifest(model_id), f"the manifest of {model_id}", f"one of {found.model.model_id}")
    return found


def read_registered(read: Reader, manifest_name: str, manifest_sha256: str | None = None) -> Registered:
    """As `require_registered`, for a manifest by its name.

    Raises:
        BundleError: as there.
    """
    sealed = read_manifest(read, manifest_name, manifest_sha256)
    manifest = RegisteredManifest.of(sealed)
    learner, version = learner_of_model(manifest.model_id), FEATURE_VERSIONS.get(manifest.feature_version)
    if learner is None or version is None or manifest.feature_names != version.names:
        expected = f"a model of {', '.join(LEARNERS)} with the features of {', '.join(FEATURE_VERSIONS)}"
        refuse(manifest_name, expected, f"{manifest.model_id} of {manifest.feature_version}")
    (data,) = sealed.read_objects(read)
    if learner_of(data, manifest.objects[0].name) is not learner:
        refuse(manifest_name, f"a file of {learner.title}", f"one that begins with {data[:4]!r}")
    model = ChannelModel(system_id=learner.system_id, model_id=manifest.model_id, manifest_sha256=sealed.sha256)
    return Registered(model, manifest, data)


def registered_features(store: ObjectStore, model: ChannelModel) -> FeatureVersion:
    """What a registered model reads, by its manifest alone.

    Raises:
        BundleError: it is missing or damaged, has another digest than the channel names, or another form.
    """
    name = _manifest(model.model_id)
    manifest = RegisteredManifest.of(read_manifest(reads_from(store), name, model.manifest_sha256))
    if manifest.feature_version not in FEATURE_VERSIONS:
        refuse(name, f"the features of {', '.join(FEATURE_VERSIONS)}", f"those of {manifest.feature_version}")
    return manifest.version


def _manifest(model_id: str) -> str:
    learner = learner_of_model(model_id)
    if learner is None:
        raise BundleError(f"{model_id!r} is not the id of a registered model: these begin with {', '.join(LEARNERS)}.")
    return f"{learner.system_id}/{model_id}_manifest.json"


@dataclass(frozen=True, slots=True)
class RegisteredSystem:
    """A verified registered model."""

    manifest: RegisteredManifest
    learner: Learner
    model: ParsedModel

    @property
    def system_id(self) -> str:
        return self.learner.system_id

    @property
    def model_type(self) -> str:
        return self.learner.model_type

    @property
    def version(self) -> str:
        return self.manifest.model_id

    @property
    def model_sha256(self) -> str:
        return self.manifest.objects[0].sha256

    @property
    def features(self) -> FeatureVersion:
        return self.manifest.version

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
        """The model's raw output (n,), in points, with missing values as its policy fills them."""
        return predict_points(self.model, self._vectors(columns), self.version)

    def contributions(self, columns: Columns) -> Floats:
        """What each feature contributes to the raw output, and last the base (n, features + 1), in points."""
        return np.asarray(self.model.contributions(self._vectors(columns)), dtype=np.float64)

    def _vectors(self, columns: Columns) -> Vectors:
        version = self.manifest.version
        return self.manifest.missing.fill(matrix_of(columns, version), version)


_TRIED: set[str] = set()
"""Digests of the files that a new process has loaded for this one."""


def load_registered(registered: Registered, threads: int | None = None, *, apart: bool = False) -> RegisteredSystem:
    """Load a registered model and check that it predicts its reference rows within a billionth of a point.

    Not exactly, unlike our own models: the order of summation in CatBoost and LightGBM depends on the processor.

    Args:
        threads: that it predicts with; None for all cores.
        apart: let a new process predict the reference rows first, which takes a second or two. Without it, that is done
            only for CatBoost's and LightGBM's files, whose structure cannot be inspected, and once in this process.

    Raises:
        BundleError: it cannot be loaded, its features are not the contract's, or its predictions differ.
        MissingExtraError: its learner is not installed.
    """
    manifest, learner = registered.manifest, registered.learner
    learner.load_library()
    sha256 = manifest.objects[0].sha256
    if apart or (learner.extra is not None and sha256 not in _TRIED):
        require_reproduced(manifest, predict_apart(registered.data, manifest.reference, manifest.model_id))
        _TRIED.add(sha256)
    model = learner.parse(registered.data, manifest.model_id, threads)
    require_features(model, manifest.version, manifest.names == "given", manifest.model_id)
    require_reproduced(manifest, predict_points(model, manifest.reference, manifest.model_id))
    return RegisteredSystem(manifest, learner, model)


def require_reproduced(manifest: RegisteredManifest, found: Floats) -> None:
    """Raise BundleError unless the predictions (n,) of the reference rows equal the registered ones to 1e-9 points."""
    expected = np.array([row.prediction for row in manifest.reference_rows])
    if len(found) != len(expected) or not np.allclose(found, expected, rtol=0, atol=1e-9):
        difference = np.abs(found - expected).max() if len(found) == len(expected) else np.nan
        raise BundleError(
            f"The predictions of {manifest.model_id} for its reference rows differ by up to {difference:.6f} points "
            f"from those registered with version {manifest.library} of its library. Do not load it; if it is correct, "
            "register it again in another root."
        )
