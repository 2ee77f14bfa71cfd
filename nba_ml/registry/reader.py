"""The one reader of published models: everything is checked before a library parses a byte of one.

Each depth is a step of the next:

- `read_manifest`: the manifest's form, its own digest, and the one that a channel names;
- `require_intact`: and its objects are there, with the size and sha256 that it states. A rollback needs no more;
- `read_bundle`: and, for a bundle of ours, its verdict, its record and the record's reference rows;
- `verify_bundle`: and a fresh process predicts those rows as recorded.

Promotion, rollback, checks, health, `nba-ml verify` and the predictor all read through it. It shares no code with the
publisher, so that a mistake there is found here, and needs neither pydantic, nor NumPy, nor a store: one function that
reads a name.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from nba_ml.contract.errors import BundleError
from nba_ml.contract.features import V2_33FEATURES
from nba_ml.registry.fresh_process import TIME_LIMIT_SECONDS, predict_in_fresh_process

if TYPE_CHECKING:  # the reader needs no store: whoever has one may read through it
    from nba_ml.storage.objects import ObjectStore

FORMAT_VERSION = 1
"""The manifest format that this reader knows."""

MODEL_ID = re.compile(r"[A-Za-z0-9_]+_[0-9a-f]{12}")
"""What a model is called: anything, and the first 12 hex digits of the sha256 of its booster."""

Reader = Callable[[str], bytes | None]
"""Gives the bytes of an object by its name, None if there is none."""


def reads_from(store: ObjectStore) -> Reader:
    """A reader of the objects in a store."""

    def read(name: str) -> bytes | None:
        found = store.read(name)
        return found.data if found else None

    return read


_MANIFEST_NAME = re.compile(rf"(?P<folder>(?:[^/]+/)*)(?P<model_id>{MODEL_ID.pattern})_manifest\.json")


@dataclass(frozen=True, slots=True)
class _Stated:
    """An object as the manifest states it. `size` is whatever JSON held there: only the right number equals it."""

    name: str
    size: object
    sha256: str


@dataclass(frozen=True, slots=True)
class ReadManifest:
    """A manifest whose own digest holds. `sha256` is of its bytes, `content` is without its own digest."""

    name: str
    sha256: str
    content: dict[str, Any]
    objects: tuple[_Stated, ...]

    @property
    def folder(self) -> str:
        """'' or a path that ends in '/': its objects lie in the same folder."""
        return self.name[: self.name.rfind("/") + 1]

    def require_objects(self, names: Sequence[str]) -> None:
        """Pass silently where it states these objects, in this order, and no other.

        Raises:
            BundleError: it does not.
        """
        found = [each.name for each in self.objects]
        if found != list(names):
            refuse(self.name, f"the objects {list(names)}", repr(found))

    def read_objects(self, read: Reader) -> list[bytes]:
        """The bytes of its objects, of the size and sha256 that it states.

        Raises:
            BundleError: one is missing or damaged.
        """
        return [_verified(_read(read, self.folder + each.name), self.folder, each) for each in self.objects]


@dataclass(frozen=True, slots=True)
class ReadBundle:
    """A bundle whose bytes are those that were published. Whether they predict as recorded is still to be seen.

    `rows` (n of 33 numbers, None for missing) are the record's reference rows, `predictions` (n,) what training
    recorded for them, in points.
    """

    manifest_name: str
    manifest_sha256: str
    model_id: str
    model_sha256: str
    feature_version: str
    booster: bytes
    record: dict[str, Any]
    rows: list[list[float | None]]
    predictions: list[float]

    def require_reproduced(self, predicted: Sequence[float]) -> None:
        """Pass silently where the reference rows were predicted as recorded, to the last bit.

        Raises:
            BundleError: one was not.
        """
        for index, (expected, found) in enumerate(zip(self.predictions, predicted, strict=True)):
            if expected != found:
                refuse(
                    self.manifest_name,
                    f"{expected!r} points for reference row {index}, as the record of {self.model_id} says",
                    repr(found),
                )


@dataclass(frozen=True, slots=True)
class VerifiedBundle:
    """A bundle that may serve. `booster` is what was verified: load these bytes, do not read them again."""

    model_id: str
    model_sha256: str
    feature_version: str
    booster: bytes
    record: dict[str, Any]
    reference_rows: int


def verify_bundle(
    read: Reader,
    manifest_name: str,
    *,
    manifest_sha256: str | None = None,
    time_limit_seconds: float = TIME_LIMIT_SECONDS,
) -> VerifiedBundle:
    """Verify a published bundle from its manifest to its predictions.

    What `read_bundle` checks, and then the record's reference rows, predicted in a fresh process, equal to the
    last bit.

    Args:
        manifest_sha256: of the manifest, where somebody recorded it.
        time_limit_seconds: for the fresh process.

    Raises:
        BundleError: anything is missing, damaged, or not as stated.
    """
    bundle = read_bundle(read, manifest_name, manifest_sha256)
    bundle.require_reproduced(
        predict_in_fresh_process(bundle.booster, bundle.rows, time_limit_seconds=time_limit_seconds)
    )
    return VerifiedBundle(
        bundle.model_id,
        bundle.model_sha256,
        bundle.feature_version,
        bundle.booster,
        bundle.record,
        len(bundle.rows),
    )


def require_intact(read: Reader, manifest_name: str, manifest_sha256: str | None) -> None:
    """Pass silently where a model of any system is as it was when a channel named it, by digests alone.

    A channel names a manifest by its sha256, and everything else about that manifest was verified when it was named
    first. So no model is parsed and no row predicted: a rollback has no time for more.

    Raises:
        BundleError: the manifest is missing or another, or one of its objects is missing or damaged.
    """
    read_manifest(read, manifest_name, manifest_sha256).read_objects(read)


def read_manifest(read: Reader, manifest_name: str, manifest_sha256: str | None = None) -> ReadManifest:
    """Read the manifest of a model of any system: its form, its own digest, and names within its own folder.

    Args:
        manifest_sha256: of its bytes, where a channel or a publisher names it; None takes the one that is there.

    Raises:
        BundleError: it is missing or damaged, or another.
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
    """Read a published bundle and check everything that can be checked before XGBoost parses a byte.

    In this order: the manifest's form, its own digest, its verdict and the names in it; size and sha256 of
    the objects; the booster's first byte; the record's model, feature version, feature names and reference rows.

    Args:
        read: gives the bytes of an object by its name, None if there is none. What it raises passes through.
        manifest_name: e.g. `xgboost_v1/<model_id>_manifest.json`; the objects lie in the same folder.
        manifest_sha256: of the manifest, where a channel or a publisher names it.

    Raises:
        BundleError: anything is missing, damaged, or not as stated.
    """
    match = _MANIFEST_NAME.fullmatch(manifest_name)
    if match is None:
        refuse(manifest_name, "a name that ends in <model_id>_manifest.json", repr(manifest_name))
    model_id = match["model_id"]
    manifest = read_manifest(read, manifest_name, manifest_sha256)
    if manifest.content.get("model_id") != model_id:
        refuse(manifest_name, f"the manifest of {model_id}", f"one of {manifest.content.get('model_id')!r}")
    manifest.require_objects([f"{model_id}.json", f"{model_id}_metadata.json"])
    model_sha256 = manifest.objects[0].sha256
    if not model_sha256.startswith(model_id[-12:]):
        refuse(manifest_name, f"a booster with a sha256 that begins with {model_id[-12:]}", model_sha256)
    _require_passed(manifest.content, manifest_name, model_sha256)

    booster, record_bytes = manifest.read_objects(read)
    booster_name, record_name = (manifest.folder + each.name for each in manifest.objects)
    if not booster.startswith(b"{"):  # as no pickle does
        refuse(booster_name, "XGBoost's JSON or UBJ, which begin with '{'", repr(booster[:4]))

    record = _json_object(record_bytes, record_name)
    rows, predictions = _record_content(record, record_name, model_id, model_sha256)
    return ReadBundle(
        manifest_name, manifest.sha256, model_id, model_sha256, V2_33FEATURES.name, booster, record, rows, predictions
    )


def refuse(name: str, expected: str, found: str) -> NoReturn:
    """Say which object of a bundle is not as expected.

    Raises:
        BundleError: always.
    """
    raise BundleError(
        f"The bundle cannot be trusted. {name}: expected {_brief(expected)}; found {_brief(found)}. Do not load it: "
        "restore it from where it was published, or publish the model again under another root."
    )


def _brief(text: str) -> str:
    """What a damaged object says goes into the message, but not at any length."""
    return text if len(text) <= 400 else f"{text[:400]}..."


def _read(read: Callable[[str], bytes | None], name: str) -> bytes:
    data = read(name)
    if data is None:
        refuse(name, "an object", "none of that name")
    return data


def _json_object(data: bytes, name: str) -> dict[str, Any]:
    """A JSON object in the strict sense: Python would read NaN and Infinity too."""
    try:
        content = json.loads(data, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        refuse(name, "JSON", f"{len(data):,} bytes that are not ({error})")
    if not isinstance(content, dict):
        refuse(name, "a JSON object", f"a {type(content).__name__}")
    return content


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is no JSON")


def _manifest(data: bytes, name: str) -> dict[str, Any]:
    """The manifest's content, if it is of the known format and its own digest holds for its very bytes."""
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


def _stated_objects(manifest: dict[str, Any], name: str) -> tuple[_Stated, ...]:
    """The objects that the manifest states, all of them in its own folder."""
    objects = manifest.get("objects")
    if not isinstance(objects, list) or not all(isinstance(each, dict) for each in objects):
        refuse(name, "a list of objects", repr(objects))
    for each in objects:
        path = str(each.get("name"))
        if "/" in path or "\\" in path or path.startswith("."):
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
    """The blocking checks have all passed for this booster, or a person overrode them by name, with a reason."""
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
    failed = [each for each in checks if not _passed(each, overridden)]
    if failed:
        refuse(name, f"{len(checks)} blocking checks passed", f"{len(failed)} not passed, the first {failed[0]!r}")


def _passed(check: object, overridden: set[str]) -> bool:
    """Whether an entry of the verdict lets a reader load the model."""
    if not isinstance(check, dict):
        return False
    named = f"{check.get('asset')}.{check.get('check')}"
    return check.get("passed") is True or (named in overridden and check.get("final") is False)


def _record_content(
    record: dict[str, Any], name: str, model_id: str, model_sha256: str
) -> tuple[list[list[float | None]], list[float]]:
    """The reference rows and what training predicted for them, from a record of this model and this contract."""
    expected = {
        "model_id": model_id,
        "model_sha256": model_sha256,
        "feature_version": V2_33FEATURES.name,
        "feature_names": list(V2_33FEATURES.names),
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
        # What the 33 values may be is `predict_rows`' to say; it refuses all but finite numbers and null.
        if not isinstance(features, list) or len(features) != V2_33FEATURES.count:
            refuse(name, f"{V2_33FEATURES.count} features in reference row {index}", repr(features))
        if not isinstance(prediction, float):
            refuse(name, f"a prediction for reference row {index}", repr(prediction))
        rows.append(features)
        predictions.append(prediction)
    return rows, predictions
