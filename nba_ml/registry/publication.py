"""Publishing a model: whole, verified, once, or not there.

A bundle is three objects: the booster, its record, and the manifest that names both with sizes and
digests (`registry.manifest`). It is created last and readers begin with it, so at whatever point a publisher
dies there is a whole bundle or none. Publishing again completes what was begun and changes nothing.

What belongs here: the order of the steps and what they refuse. What does not: how a store keeps its
promises (`resources`), how a model is checked (`registry.verdict`), how a reader verifies (`registry.reader`).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

from nba_ml.contract.digest import bytes_digest
from nba_ml.contract.errors import BundleError, PublicationConflictError, PublicationError
from nba_ml.contract.model_id import SYSTEM_ID
from nba_ml.registry.manifest import BundleNames, Manifest, ManifestObject, model_id_of_manifest
from nba_ml.registry.verdict import Verdict
from nba_ml.storage.objects import ObjectExistsError, ObjectStore, StoredObject

FREE_FIELD = "libraries"
"""The one field of a record that may differ between two trainings of the same booster: the versions
of the libraries. The same bytes retrained under a newer pandas must not turn a month red."""

_Requirement = Callable[[ObjectStore, str, bytes, bytes], None]
"""Raises PublicationConflictError unless the bytes found under a name agree with ours: (store, name, ours, found)."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """What is to be published: `booster` as XGBoost's JSON or UBJ, `record` as JSON that names it."""

    model_id: str
    booster: bytes
    record: bytes
    verdict: Verdict


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
    """A bundle that is whole in the store. `created` is False if its manifest had been there before."""

    model_id: str
    booster: PublishedObject
    record: PublishedObject
    manifest: PublishedObject
    created: bool


def publish(store: ObjectStore, bundle: Bundle) -> Published:
    """Put a bundle into the store: booster, record, and last the manifest, each read back and compared.

    Killed at any point, it is run again and completes. Called twice, or by several at once, one of them
    creates the bundle and all of them return it. An object that is there is never written over.

    The record that counts is the published one. One of the same booster that differs only in `libraries`, or says
    less than ours and nothing else, is taken as it lies in the store, also where an earlier publisher died before
    its manifest.

    Raises:
        NotVerifiedError: the verdict does not allow exactly this booster. Nothing was written.
        PublicationError: the bundle does not fit together, the store refuses, or it lost what it had taken.
        PublicationConflictError: an object of the bundle is there with other bytes.
    """
    digest = bytes_digest(bundle.booster)
    bundle.verdict.require(digest)
    names = BundleNames.of(bundle.model_id)
    _require_sound(bundle, digest)

    if (found := store.read(names.manifest)) is not None:
        return _already_published(store, bundle, names, found)
    booster = _put(store, names.booster, bundle.booster, _require_same)
    record = _put(store, names.record, bundle.record, _require_equivalent)
    manifest = _manifest(bundle, names, record.data).to_bytes()
    try:
        store.create(names.manifest, manifest)
    except ObjectExistsError:
        # Another publisher was faster. Its verdict may name other checks, so its bytes may differ by right.
        return _already_published(store, bundle, names, _read_back(store, names.manifest))
    found = _read_back(store, names.manifest)
    _require_same(store, names.manifest, manifest, found.data)
    return _published(store, bundle.model_id, names, booster, record, found, created=True)


def published(store: ObjectStore, model_id: str) -> Manifest | None:
    """The manifest of a published model, or None if there is no such bundle for any reader.

    Raises:
        BundleError: the manifest is damaged, or speaks for another model.
        PublicationError: `model_id` is not of the form of one.
    """
    name = BundleNames.of(model_id).manifest
    found = store.read(name)
    return None if found is None else _read_manifest(store, name, model_id, found.data)


def list_published(store: ObjectStore) -> list[str]:
    """The ids of all published models, sorted: within one feature count that is by month."""
    ids = map(model_id_of_manifest, store.names(f"{SYSTEM_ID}/"))
    return sorted(each for each in ids if each is not None)


def _require_sound(bundle: Bundle, digest: str) -> None:
    """The parts of the bundle speak of the same model, and the booster is of a form that may be published."""
    if not bundle.booster.startswith(b"{"):
        # XGBoost's JSON and UBJ both begin with a brace. No pickle does, of any protocol, and unpickling runs code.
        raise PublicationError(
            f"The booster of {bundle.model_id} is neither XGBoost's JSON nor UBJ: it begins with "
            f"{bundle.booster[:4]!r}. Save it with save_raw('json') or save_raw('ubj'); a pickle is never published."
        )
    if not bundle.model_id.endswith(digest[:12]):
        raise PublicationError(
            f"{bundle.model_id} is not the id of the booster given, whose sha256 begins with {digest[:12]}. "
            "Take the id from model_id() over the bytes that are published."
        )
    record = _fields(bundle.record)
    if record is None:
        raise PublicationError(f"The record of {bundle.model_id} is no JSON object. Materialise its metadata again.")
    for name, value in (("model_id", bundle.model_id), ("model_sha256", digest)):
        if record.get(name) != value:
            raise PublicationError(
                f"The record of {bundle.model_id} is of another model: its {name} is {record.get(name)!r}, not "
                f"{value!r}. Materialise the metadata of the model as it is now, then publish."
            )


def _already_published(store: ObjectStore, bundle: Bundle, names: BundleNames, found: StoredObject) -> Published:
    """Verify what is published against its own manifest, then ours against it; write nothing."""
    try:
        manifest = _read_manifest(store, names.manifest, bundle.model_id, found.data)
    except BundleError as error:
        ours = _manifest(bundle, names, bundle.record).to_bytes()
        raise PublicationConflictError(
            f"{error} Its sha256 is {bytes_digest(found.data)}; the manifest of the bundle to be published has "
            f"{bytes_digest(ours)}. Restore the object from a backup, or move the whole bundle away and publish again."
        ) from error
    booster, record = (_verified(store, names, stated) for stated in manifest.objects)
    _require_same(store, names.booster, bundle.booster, booster.data)
    _require_equivalent(store, names.record, bundle.record, record.data)
    return _published(store, bundle.model_id, names, booster, record, found, created=False)


def _put(store: ObjectStore, name: str, data: bytes, require_agreement: _Requirement) -> StoredObject:
    """Create the object, or find one there that agrees with it; in both cases as it was read back."""
    try:
        store.create(name, data)
        require: _Requirement = _require_same
    except ObjectExistsError:  # by an earlier publisher that died, or by one at work
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
    )


def _stated(name: str, data: bytes) -> ManifestObject:
    return ManifestObject(name=name.rpartition("/")[2], size=len(data), sha256=bytes_digest(data))


def _read_manifest(store: ObjectStore, name: str, model_id: str, data: bytes) -> Manifest:
    """The manifest, if it speaks for this model and for the two objects of this model, in their order."""
    uri = store.uri(name)
    manifest = Manifest.from_bytes(data, uri)
    names = BundleNames.of(model_id)
    stated = [f"{SYSTEM_ID}/{each.name}" for each in manifest.objects]
    if manifest.model_id != model_id or stated != [names.booster, names.record]:
        raise BundleError(
            f"{uri} is not the manifest of its name: it speaks for {manifest.model_id} with the objects "
            f"{', '.join(stated) or 'none'}; expected are {names.booster} and {names.record}. Do not load the bundle."
        )
    return manifest


def _verified(store: ObjectStore, names: BundleNames, stated: ManifestObject) -> StoredObject:
    """An object of a published bundle, if it is what its manifest states."""
    name = f"{SYSTEM_ID}/{stated.name}"
    found = store.read(name)
    if found is not None and (len(found.data), bytes_digest(found.data)) == (stated.size, stated.sha256):
        return found
    what = f"{len(found.data):,} bytes with sha256 {bytes_digest(found.data)}" if found else "no object"
    raise PublicationConflictError(
        f"The published bundle is damaged: {store.uri(names.manifest)} states {stated.size:,} bytes with sha256 "
        f"{stated.sha256} for {store.uri(name)}, and {what} was found. Restore the object from a backup, or move the "
        "whole bundle away and publish again."
    )


def _read_back(store: ObjectStore, name: str) -> StoredObject:
    found = store.read(name)
    if found is None:
        raise PublicationError(
            f"{store.uri(name)} was there a moment ago and cannot be read back. Something else removes objects from "
            "this store; find out what, then publish again."
        )
    return found


def _require_same(store: ObjectStore, name: str, ours: bytes, found: bytes) -> None:
    if ours != found:
        _conflict(store, name, ours, found, "other bytes")


def _require_equivalent(store: ObjectStore, name: str, ours: bytes, found: bytes) -> None:
    """The record found says of the booster what ours says, but for the libraries.

    Ours may say more: a later version of the code measures more, and contradicts nothing by that.
    """
    if ours == found:
        return
    mine, theirs = _fields(ours), _fields(found)
    if mine is None or theirs is None:
        _conflict(store, name, ours, found, "bytes that are no record")
    differing = _contradictions(mine, theirs)
    if differing:
        named = ", ".join(differing)
        _conflict(store, name, ours, found, f"another record of the same booster (it differs in {named})")


def _contradictions(mine: dict[str, Any], theirs: dict[str, Any], under: str = "") -> list[str]:
    """The fields of theirs that mine does not have, or has otherwise; fields within fields as `metrics.train`."""
    found: list[str] = []
    for field in sorted(theirs.keys() - ({FREE_FIELD} if not under else set())):
        here, there, name = mine.get(field, _ABSENT), theirs[field], f"{under}{field}"
        if isinstance(here, dict) and isinstance(there, dict):
            found += _contradictions(here, there, f"{name}.")
        elif _text(here) != _text(there):
            found.append(name)
    return found


_ABSENT = object()


def _conflict(store: ObjectStore, name: str, ours: bytes, found: bytes, what: str) -> NoReturn:
    raise PublicationConflictError(
        f"{store.uri(name)} holds {what}: sha256 {bytes_digest(found)} was found, {bytes_digest(ours)} was to be "
        "published. Nothing published is ever written over. If what is there is right, leave it; if not, "
        "move the objects of that model away, or publish under another root."
    )


def _published(
    store: ObjectStore,
    model_id: str,
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
        model_id=model_id,
        booster=described(names.booster, booster),
        record=described(names.record, record),
        manifest=described(names.manifest, manifest),
        created=created,
    )


def _fields(record: bytes) -> dict[str, Any] | None:
    """The fields of a record, or None if the bytes are no JSON object."""
    try:
        fields = json.loads(record, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return None
    return fields if isinstance(fields, dict) else None


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is no JSON")  # Python reads NaN and Infinity; other readers of the record do not


def _text(value: object) -> str:
    """A value as JSON, for comparison: to Python 1, 1.0 and True are equal, to a reader of the record they are not."""
    return json.dumps(value, sort_keys=True, default=repr)
