"""The only reader of published models: everything is checked before a library parses a byte.

Each function includes the checks of the one before:
- `read_manifest`: the manifest's form, its own digest, and the digest given by a channel;
- `require_intact`: the objects exist with the size and sha256 stated in the manifest. Enough for a rollback;
- `read_bundle`: for one of our bundles, the verdict, the record and the record's reference rows;
- `verify_bundle`: a new process predicts those rows as recorded.

Promotion, rollback, checks, health, `nba-ml verify` and the predictor all use it. It shares no code with the publisher,
so that it detects the publisher's bugs. It needs neither Pydantic nor NumPy nor a store, only a function that reads an
object by name.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from nba_ml.contract.digest import strict_json
from nba_ml.contract.errors import BundleError
from nba_ml.contract.features import FEATURE_VERSIONS, V2_33FEATURES, FeatureVersion
from nba_ml.contract.model_id import system_of_model
from nba_ml.registry.fresh_process import TIME_LIMIT_SECONDS, predict_in_fresh_process

if TYPE_CHECKING:  # the reader does not need a store
    from nba_ml.storage.objects import ObjectStore

FORMAT_VERSION = 1
"""The manifest format that this reader supports."""

MODEL_ID = re.compile(r"[A-Za-z0-9_]+_[0-9a-f]{12}")
"""A model id: any name, then the first 12 hex digits of its booster's sha256."""

REGISTERED = ("catboost_v8_", "xgboost_registered_", "lightgbm_registered_")
"""How the names of a registered model's objects begin. There is nothing to publish again for these."""

Reader = Callable[[str], bytes | None]
"""Object name -> its bytes, or None if it does not exist."""


def reads_from(store: ObjectStore) -> Reader:
    """A reader of the objects in a store."""

    def read(name: str) -> bytes | None:
        found = store.read(name)
        return found.data if found else None

    return read


_MANIFEST_NAME = re.compile(rf"(?P<folder>(?:[^/]+/)*)(?P<model_id>{MODEL_ID.pattern})_manifest\.json")


@dataclass(frozen=True, slots=True)
class _Stated:
    """An object as stated in a manifest. `size` is any JSON value: only the right number equals it."""

    name: str
    size: object
    sha256: str


@dataclass(frozen=True, slots=True)
class ReadManifest:
    """A manifest whose own digest is correct. `sha256` is that of its bytes; `content` excludes its own digest."""

    name: str
    sha256: str
    content: dict[str, Any]
    objects: tuple[_Stated, ...]

    @property
    def folder(self) -> str:
        """The folder of the manifest and its objects: '' or a path that ends in '/'."""
        return self.name[: self.name.rfind("/") + 1]

    def read_objects(self, read: Reader) -> list[bytes]:
        """Read its objects and check their sizes and digests.

        Raises:
            BundleError: an object is missing or damaged.
        """
        return [_verified(_read(read, self.folder + each.name), self.folder, each) for each in self.objects]

    def read_documents(self, read: Reader) -> dict[str, bytes]:
        """By name, what the manifest names beside the model: the model card and the provenance, verified.

        Loading a model does not need them, and manifests of earlier versions name none.

        Raises:
            BundleError: a document is missing or damaged.
        """
        documents = _stated_objects(self.content, self.name, "documents") if "documents" in self.content else ()
        return {each.name: _verified(_read(read, self.folder + each.name), self.folder, each) for each in documents}


@dataclass(frozen=True, slots=True)
class ReadBundle:
    """A bundle with the bytes that were published. Load `booster`, the verified bytes; do not read them again.

    `rows` (n vectors of `features`, None for missing) are the record's reference rows, `predictions` (n,) the points
    that training recorded for them, which `verify_bundle` alone has predicted again.
    """

    manifest_name: str
    manifest_sha256: str
    model_id: str
    model_sha256: str
    features: FeatureVersion
    booster: bytes
    record: dict[str, Any]
    rows: list[list[float | None]]
    predictions: list[float]

    def require_reproduced(self, predicted: Sequence[float]) -> None:
        """Raise BundleError unless the predictions of the reference rows equal the recorded ones exactly."""
        for index, (expected, found) in enumerate(zip(self.predictions, predicted, strict=True)):
            if expected != found:
                refuse(
                    self.manifest_name,
                    f"{expected!r} points for reference row {index}, as in the record of {self.model_id}",
                    repr(found),
                )


def verify_bundle(
    read: Reader,
    manifest_name: str,
    *,
    manifest_sha256: str | None = None,
    time_limit_seconds: float = TIME_LIMIT_SECONDS,
) -> ReadBundle:
    """Verify a published bundle from its manifest to its predictions.

    Checks what `read_bundle` checks, and that a new process predicts the record's reference rows exactly as recorded.

    Args:
        manifest_sha256: the expected digest of the manifest; None accepts any.
        time_limit_seconds: for the new process.

    Raises:
        BundleError: something is missing, damaged, or not as stated.
    """
    bundle = read_bundle(read, manifest_name, manifest_sha256)
    bundle.require_reproduced(
        predict_in_fresh_process(bundle.booster, bundle.rows, bundle.features, time_limit_seconds=time_limit_seconds)
    )
    return bundle


def require_intact(read: Reader, manifest_name: str, manifest_sha256: str | None) -> None:
    """Require, by digests alone, that a model of any system has not changed since a channel named it.

    A channel names a manifest by its sha256, and everything else was verified when it was first named. So no model is
    parsed and no row predicted, which keeps a rollback fast.

    Raises:
        BundleError: the manifest is missing or differs, or an object is missing or damaged.
    """
    read_manifest(read, manifest_name, manifest_sha256).read_objects(read)


def read_manifest(read: Reader, manifest_name: str, manifest_sha256: str | None = None) -> ReadManifest:
    """Read the manifest of a model of any system; checks its form, its own digest, and that names stay in its folder.

    Args:
        manifest_sha256: the expected digest of its bytes; None accepts any.

    Raises:
        BundleError: it is missing or damaged, or has another digest.
    """
    data = _read(read, manifest_name)
    digest = hashlib.sha256(data).hexdigest()
    if manifest_sha256 not in (None, digest):
        refuse(manifest_name, f"the manifest of sha256 {manifest_sha256}, as the channel names it", digest)
    manifest = _manifest(data, manifest_name)
    objects = _stated_objects(manifest, manifest_name)
    content = {key: value for key, value in manifest.items() if key != "manifest_sha256"}
    return ReadManifest(manifest_name, digest, content, objects)


def read_bundle(read: Reader, manifest_name: str, manifest_sha256: str | None = None) -> ReadBundle:
    """Read a published bundle and check all that can be checked before XGBoost parses a byte.

    In this order: the manifest's form, digest, verdict and names; size and sha256 of the objects; the booster's first
    byte; the record's model, feature version, feature names and reference rows.

    Args:
        read: its errors are passed on.
        manifest_name: e.g. `xgboost_v1/<model_id>_manifest.json`; the objects are in the same folder.
        manifest_sha256: the expected digest of the manifest; None accepts any.

    Raises:
        BundleError: something is missing, damaged, or not as stated.
    """
    match = _MANIFEST_NAME.fullmatch(manifest_name)
    if match is None:
        refuse(manifest_name, "a name that ends in <model_id>_manifest.json", repr(manifest_name))
    model_id = match["model_id"]
    manifest = read_manifest(read, manifest_name, manifest_sha256)
    if manifest.content.get("model_id") != model_id:
        refuse(manifest_name, f"the manifest of {model_id}", f"one of {manifest.content.get('model_id')!r}")
    names, found = [f"{model_id}.json", f"{model_id}_metadata.json"], [each.name for each in manifest.objects]
    if found != names:
        refuse(manifest_name, f"the objects {names}", repr(found))
    model_sha256 = manifest.objects[0].sha256
    if not model_sha256.startswith(model_id[-12:]):
        refuse(manifest_name, f"a booster with a sha256 that begins with {model_id[-12:]}", model_sha256)
    _require_passed(manifest.content, manifest_name, model_sha256)

    booster, record_bytes = manifest.read_objects(read)
    booster_name, record_name = (manifest.folder + each.name for each in manifest.objects)
    if not booster.startswith(b"{"):  # a pickle never does
        refuse(booster_name, "XGBoost's JSON or UBJ, which begin with '{'", repr(booster[:4]))

    record = _json_object(record_bytes, record_name)
    version = _version_of(record, model_id)
    rows, predictions = _record_content(record, record_name, model_id, model_sha256, version)
    return ReadBundle(
        manifest_name, manifest.sha256, model_id, model_sha256, version, booster, record, rows, predictions
    )


def refuse(name: str, expected: str, found: str) -> NoReturn:
    """Raise a BundleError about the object of a bundle that is not as expected."""
    raise BundleError(
        f"The bundle cannot be trusted. {name}: expected {_brief(expected)}; found {_brief(found)}. Do not load it. "
        f"{_remedy(name)}"
    )


def _remedy(name: str) -> str:
    if name.rpartition("/")[2].startswith(REGISTERED):
        return "Restore both objects from a copy, or register the model file again in another root."
    return "Restore it from where it was published, or publish the model again to another root."


def _brief(text: str) -> str:
    """Content of a damaged object for an error message, cut to 400 characters."""
    return text if len(text) <= 400 else f"{text[:400]}..."


def _read(read: Callable[[str], bytes | None], name: str) -> bytes:
    data = read(name)
    if data is None:
        refuse(name, "an object", "none with that name")
    return data


def _json_object(data: bytes, name: str) -> dict[str, Any]:
    """A JSON object in the strict sense: without NaN and Infinity, which Python accepts."""
    try:
        content = strict_json(data)
    except (ValueError, RecursionError) as error:
        refuse(name, "JSON", f"{len(data):,} bytes that are not JSON ({error})")
    if not isinstance(content, dict):
        refuse(name, "a JSON object", f"a {type(content).__name__}")
    return content


def _manifest(data: bytes, name: str) -> dict[str, Any]:
    """The manifest's content, if its format is supported and its own digest is correct for exactly these bytes."""
    manifest = _json_object(data, name)
    if manifest.get("format_version") != FORMAT_VERSION:
        refuse(name, f"manifest format {FORMAT_VERSION}", f"{manifest.get('format_version')!r}")
    content = {key: value for key, value in manifest.items() if key != "manifest_sha256"}
    digest = hashlib.sha256(_canonical(content)).hexdigest()
    if manifest.get("manifest_sha256") != digest:
        refuse(name, f"content of sha256 {manifest.get('manifest_sha256')!r}", digest)
    if _canonical(manifest) != data:
        refuse(name, "canonical JSON", "the same content in other bytes")
    return manifest


def _canonical(content: dict[str, Any]) -> bytes:
    return (json.dumps(content, sort_keys=True, indent=2) + "\n").encode()


def _stated_objects(manifest: dict[str, Any], name: str, field: str = "objects") -> tuple[_Stated, ...]:
    """The objects that the manifest names, which must be in its own folder."""
    objects = manifest.get(field)
    if not isinstance(objects, list) or not all(isinstance(each, dict) for each in objects):
        refuse(name, f"a list of {field}", repr(objects))
    for each in objects:
        path = str(each.get("name"))
        if not path or "/" in path or "\\" in path or path.startswith("."):
            refuse(name, "objects in the manifest's own folder", repr(path))
    return tuple(_Stated(str(each.get("name")), each.get("size"), str(each.get("sha256"))) for each in objects)


def _verified(data: bytes, folder: str, stated: _Stated) -> bytes:
    if len(data) != stated.size:
        refuse(folder + stated.name, f"{stated.size!r} bytes", f"{len(data)}")
    found = hashlib.sha256(data).hexdigest()
    if found != stated.sha256:
        refuse(folder + stated.name, f"sha256 {stated.sha256}", found)
    return data


def _require_passed(manifest: dict[str, Any], name: str, model_sha256: str) -> None:
    """All blocking checks passed for this booster, or a person overrode them by name with a reason."""
    verdict = manifest.get("verdict")
    verdict = verdict if isinstance(verdict, dict) else {}
    if verdict.get("model_sha256") != model_sha256:
        refuse(name, f"a verdict on the model {model_sha256}", f"one on {verdict.get('model_sha256')!r}")
    checks = verdict.get("checks")
    if not isinstance(checks, list) or not checks:
        refuse(name, "a verdict with the blocking checks", "none")
    stated = verdict.get("overrides")
    overridden = {
        each["check"]
        for each in (stated if isinstance(stated, list) else [])
        if isinstance(each, dict) and isinstance(each.get("check"), str) and each.get("reason")
    }
    failed = [each for each in checks if not (isinstance(each, dict) and _passed(each, overridden))]
    if failed:
        refuse(name, f"{len(checks)} blocking checks passed", f"{len(failed)} not passed, the first {failed[0]!r}")


def _passed(check: dict[str, Any], overridden: set[str]) -> bool:
    """Whether an entry of the verdict allows loading the model."""
    named = f"{check.get('asset')}.{check.get('check')}"
    return check.get("passed") is True or (named in overridden and check.get("final") is False)


def _version_of(record: dict[str, Any], model_id: str) -> FeatureVersion:
    """The version that the record must have: its system's; under an id of another form, a known one that it names."""
    system = system_of_model(model_id)
    if system is not None:
        return system.features
    stated = record.get("feature_version")
    return FEATURE_VERSIONS.get(stated, V2_33FEATURES) if isinstance(stated, str) else V2_33FEATURES


def _record_content(
    record: dict[str, Any], name: str, model_id: str, model_sha256: str, version: FeatureVersion
) -> tuple[list[list[float | None]], list[float]]:
    """The reference rows and their recorded predictions, from a record that must match this model and the contract."""
    expected = {
        "model_id": model_id,
        "model_sha256": model_sha256,
        "feature_version": version.name,
        "feature_names": list(version.names),
    }
    for field, value in expected.items():
        if record.get(field) != value:
            refuse(name, f"{field} {value!r}", repr(record.get(field)))
    references = record.get("reference_rows")
    if not isinstance(references, list) or not references:
        refuse(name, "reference rows", repr(references))
    rows: list[list[float | None]] = []
    predictions: list[float] = []
    for index, reference in enumerate(references):
        fields = reference if isinstance(reference, dict) else {}
        features, prediction = fields.get("features"), fields.get("prediction")
        # The values are checked by `predict_rows`, which accepts only finite numbers and null.
        if not isinstance(features, list) or len(features) != version.count:
            refuse(name, f"{version.count} features in reference row {index}", repr(features))
        if not isinstance(prediction, float):
            refuse(name, f"a prediction for reference row {index}", repr(prediction))
        rows.append(features)
        predictions.append(prediction)
    return rows, predictions
