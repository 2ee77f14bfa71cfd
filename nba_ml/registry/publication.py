"""Publishing a model: a bundle is published completely and verified, or not at all.

A bundle is a booster, its record, documents for people, and the manifest that names them with sizes and digests
(`registry.manifest`). The manifest is created last and readers start with it, so a publisher that dies at any point
leaves a complete bundle or none. Publishing again completes an interrupted publication and changes nothing else.

This module defines the steps and their order. `storage` gives the guarantees of the store, `registry.verdict` the
checks' verdict, and `registry.reader` verifies what is read.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

from nba_ml.contract.digest import bytes_digest, strict_json
from nba_ml.contract.errors import BundleError, PublicationConflictError, PublicationError
from nba_ml.contract.systems import SYSTEMS, System
from nba_ml.registry.manifest import BundleNames, Manifest, ManifestObject, model_id_of_manifest
from nba_ml.registry.verdict import Verdict
from nba_ml.storage.objects import ObjectExistsError, ObjectStore, StoredObject

FREE_FIELD = "libraries"
"""The only field of a record that may differ between two trainings of the same booster: the libraries' versions. The
same booster retrained with a newer pandas must not fail a month."""

_Requirement = Callable[[ObjectStore, str, bytes, bytes], None]
"""(store, name, ours, found): raises PublicationConflictError unless the found bytes agree with ours."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """A model to publish: `booster` is XGBoost's JSON or UBJ, `record` the JSON that describes it.

    `documents` is name -> bytes that no reader needs to predict: `model_card.md`, `provenance.json`.
    """

    model_id: str
    booster: bytes
    record: bytes
    verdict: Verdict
    documents: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PublishedObject:
    """An object as it was read back from the store; `size` in bytes."""

    name: str
    uri: str
    generation: str
    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class Published:
    """A complete bundle in the store. `created` is False if its manifest already existed.

    `documents` are as the manifest names them: in its folder.
    """

    model_id: str
    booster: PublishedObject
    record: PublishedObject
    manifest: PublishedObject
    documents: tuple[ManifestObject, ...]
    created: bool


def publish(store: ObjectStore, bundle: Bundle) -> Published:
    """Write a bundle to the store: booster, record, documents, and last the manifest. Each is read back and compared.

    After an interruption, call it again to complete the bundle. If it is called twice, or by several processes at once,
    one creates the bundle and all return it. Existing objects are never overwritten.

    The published record counts. A stored record of the same booster that differs only in `libraries`, or that lacks
    fields of ours, is kept, also if an earlier publisher died before the manifest.

    Raises:
        NotVerifiedError: the verdict does not allow this booster. Nothing was written.
        PublicationError: the bundle is inconsistent, the store rejects it, or an object that was written is missing.
        PublicationConflictError: an object of the bundle exists with other bytes.
    """
    digest = bytes_digest(bundle.booster)
    bundle.verdict.require(digest)
    names = BundleNames.of(bundle.model_id)
    _require_sound(bundle, digest)

    if (found := store.read(names.manifest)) is not None:
        return _already_published(store, bundle, names, found)
    booster = _put(store, names.booster, bundle.booster, _require_same)
    record = _put(store, names.record, bundle.record, _require_equivalent)
    for name, data in bundle.documents.items():
        _put(store, names.document(name, data), data, _require_same)
    stated = _manifest(bundle, names, record.data)
    manifest = stated.to_bytes()
    try:
        store.create(names.manifest, manifest)
    except ObjectExistsError:
        # Another publisher was faster. Its verdict may name other checks, so its bytes may legitimately differ.
        return _already_published(store, bundle, names, _read_back(store, names.manifest))
    found = _read_back(store, names.manifest)
    _require_same(store, names.manifest, manifest, found.data)
    return _published(store, stated, names, booster, record, found, created=True)


def published(store: ObjectStore, model_id: str) -> Manifest | None:
    """The manifest of a published model; None if the model is not published.

    Raises:
        BundleError: the manifest is damaged, or is that of another model.
        PublicationError: `model_id` is not a valid model id.
    """
    name = BundleNames.of(model_id).manifest
    found = store.read(name)
    return None if found is None else _read_manifest(store, name, model_id, found.data)


def list_published(store: ObjectStore, *systems: System) -> list[str]:
    """The ids of the published models of these systems (none named: of all), by system and, within it, by month."""
    names = (name for system in systems or SYSTEMS.values() for name in store.names(f"{system.id}/"))
    return sorted(each for each in map(model_id_of_manifest, names) if each is not None)


def _require_sound(bundle: Bundle, digest: str) -> None:
    """The parts of the bundle describe the same model, and the booster has a format that may be published."""
    if not bundle.booster.startswith(b"{"):
        # XGBoost's JSON and UBJ both begin with a brace. A pickle does not, and unpickling would run code.
        raise PublicationError(
            f"The booster of {bundle.model_id} is neither XGBoost's JSON nor UBJ: it begins with "
            f"{bundle.booster[:4]!r}. Save it with save_raw('json') or save_raw('ubj'); pickles are never published."
        )
    if not bundle.model_id.endswith(digest[:12]):
        raise PublicationError(
            f"{bundle.model_id} is not the id of this booster, whose sha256 begins with {digest[:12]}. Compute the id "
            "with model_id() from the bytes to publish."
        )
    record = _fields(bundle.record)
    if record is None:
        raise PublicationError(f"The record of {bundle.model_id} is not a JSON object. Materialise model_metadata.")
    for name, value in (("model_id", bundle.model_id), ("model_sha256", digest)):
        if record.get(name) != value:
            raise PublicationError(
                f"The record of {bundle.model_id} belongs to another model: its {name} is {record.get(name)!r}, not "
                f"{value!r}. Materialise model_metadata again, then publish."
            )


def _already_published(store: ObjectStore, bundle: Bundle, names: BundleNames, found: StoredObject) -> Published:
    """Verify the published bundle against its manifest, then ours against the published one. Writes nothing."""
    try:
        manifest = _read_manifest(store, names.manifest, bundle.model_id, found.data)
    except BundleError as error:
        ours = _manifest(bundle, names, bundle.record).to_bytes()
        raise PublicationConflictError(
            f"{error} Its sha256 is {bytes_digest(found.data)}; that of the manifest to publish is "
            f"{bytes_digest(ours)}. Restore the object from a backup, or move the whole bundle away and publish again."
        ) from error
    booster, record = (_verified(store, names, stated) for stated in manifest.objects)
    _require_same(store, names.booster, bundle.booster, booster.data)
    _require_equivalent(store, names.record, bundle.record, record.data)
    return _published(store, manifest, names, booster, record, found, created=False)


def _put(store: ObjectStore, name: str, data: bytes, require_agreement: _Requirement) -> StoredObject:
    """Create the object, or accept an existing one that agrees with it; returns the object that was read back."""
    try:
        store.create(name, data)
        require: _Requirement = _require_same
    except ObjectExistsError:  # from an interrupted publisher, or from one that is running
        require = require_agreement
    found = _read_back(store, name)
    require(store, name, data, found.data)
    return found


def _manifest(bundle: Bundle, names: BundleNames, record: bytes) -> Manifest:
    checks = sorted(bundle.verdict.checks, key=lambda check: (check.asset, check.month, check.check))
    return Manifest(
        format_version=1,
        model_id=bundle.model_id,
        objects=(_stated(names.booster, bundle.booster), _stated(names.record, record)),
        verdict=bundle.verdict.model_copy(update={"checks": tuple(checks)}),
        documents=tuple(_stated(names.document(name, data), data) for name, data in sorted(bundle.documents.items())),
    )


def _stated(name: str, data: bytes) -> ManifestObject:
    return ManifestObject(name=name.rpartition("/")[2], size=len(data), sha256=bytes_digest(data))


def _read_manifest(store: ObjectStore, name: str, model_id: str, data: bytes) -> Manifest:
    """The manifest, if it is that of this model and names the model's two objects in order."""
    uri = store.uri(name)
    manifest = Manifest.from_bytes(data, uri)
    names = BundleNames.of(model_id)
    stated = [f"{names.folder}{each.name}" for each in manifest.objects]
    if manifest.model_id != model_id or stated != [names.booster, names.record]:
        raise BundleError(
            f"{uri} does not match its name: it is the manifest of {manifest.model_id} with the objects "
            f"{', '.join(stated) or 'none'}; expected are {names.booster} and {names.record}. Do not load the bundle."
        )
    return manifest


def _verified(store: ObjectStore, names: BundleNames, stated: ManifestObject) -> StoredObject:
    """An object of a published bundle, if it matches its manifest."""
    name = f"{names.folder}{stated.name}"
    found = store.read(name)
    if found is not None and (len(found.data), bytes_digest(found.data)) == (stated.size, stated.sha256):
        return found
    what = f"{len(found.data):,} bytes with sha256 {bytes_digest(found.data)}" if found else "no object"
    raise PublicationConflictError(
        f"The published bundle is damaged: {store.uri(names.manifest)} states {stated.size:,} bytes with sha256 "
        f"{stated.sha256} for {store.uri(name)}, but {what} was found. Restore the object from a backup, or move the "
        "whole bundle away and publish again."
    )


def _read_back(store: ObjectStore, name: str) -> StoredObject:
    found = store.read(name)
    if found is None:
        raise PublicationError(
            f"{store.uri(name)} was just written but cannot be read back. Find out what removes objects from this "
            "store, then publish again."
        )
    return found


def _require_same(store: ObjectStore, name: str, ours: bytes, found: bytes) -> None:
    if ours != found:
        _conflict(store, name, ours, found, "other bytes")


def _require_equivalent(store: ObjectStore, name: str, ours: bytes, found: bytes) -> None:
    """Require that the stored record agrees with ours, except for the libraries.

    Ours may have more fields: a later version of the code measures more.
    """
    if ours == found:
        return
    mine, theirs = _fields(ours), _fields(found)
    if mine is None or theirs is None:
        _conflict(store, name, ours, found, "bytes that are not a record")
    if differing := ", ".join(_contradictions(mine, theirs)):
        _conflict(store, name, ours, found, f"another record of the same booster (it differs in {differing})")


def _contradictions(mine: dict[str, Any], theirs: dict[str, Any], under: str = "") -> list[str]:
    """The fields of theirs that are missing from mine or differ; nested fields as `metrics.train`."""
    found: list[str] = []
    for key in sorted(theirs.keys() - ({FREE_FIELD} if not under else set())):
        ours, stored, name = mine.get(key, _ABSENT), theirs[key], f"{under}{key}"
        if isinstance(ours, dict) and isinstance(stored, dict):
            found += _contradictions(ours, stored, f"{name}.")
        elif _text(ours) != _text(stored):
            found.append(name)
    return found


_ABSENT = object()


def _conflict(store: ObjectStore, name: str, ours: bytes, found: bytes, what: str) -> NoReturn:
    raise PublicationConflictError(
        f"{store.uri(name)} contains {what}: its sha256 is {bytes_digest(found)}, and {bytes_digest(ours)} was to be "
        "published. Published objects are never overwritten. If the stored object is wrong, move all objects of that "
        "model away, or publish to another root."
    )


def _published(
    store: ObjectStore,
    stated: Manifest,
    names: BundleNames,
    booster: StoredObject,
    record: StoredObject,
    manifest: StoredObject,
    *,
    created: bool,
) -> Published:
    def described(name: str, found: StoredObject) -> PublishedObject:
        return PublishedObject(name, store.uri(name), found.generation, bytes_digest(found.data), len(found.data))

    return Published(
        model_id=stated.model_id,
        booster=described(names.booster, booster),
        record=described(names.record, record),
        manifest=described(names.manifest, manifest),
        documents=stated.documents,
        created=created,
    )


def _fields(record: bytes) -> dict[str, Any] | None:
    """The fields of a record; None if the bytes are not a JSON object."""
    try:
        fields = strict_json(record)
    except (ValueError, RecursionError):
        return None
    return fields if isinstance(fields, dict) else None


def _text(value: object) -> str:
    """A value as JSON, for comparison: 1, 1.0 and True are equal in Python but differ in the record."""
    return json.dumps(value, sort_keys=True, default=repr)
