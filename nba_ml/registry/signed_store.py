"""What is published, with the signatures that the settings require: nothing unsigned is read, and what is written is
signed.

It is the store itself that checks, so that no reader can forget to: the predictor, promotions, rollouts, rollbacks,
checks and `nba-ml verify` all read a manifest before anything that it names, and a channel before any manifest.

- The signature of `<folder>/<model_id>_manifest.json`, by a publisher, is `<folder>/<model_id>_signature_<12 hex>.json`
  beside it, so that it is copied with its bundle.
- The signature of a state of the channel, by a promoter, is `channels/signatures/<sha256>.json`. The pointer holds the
  same bytes as its state in the history, and so has the same signature.

The digest in the name is that of the signed bytes, and the signature is written before them. So a process that dies
leaves no object without its signature, and of two that write different bytes under one name each has its own.

The pointer itself cannot say when it was last known to be current. The signature does: a pointer whose signature is
older than the settings allow is not served (`current_only`), since it may be an old copy that was put back. Whoever has
the promoter's key renews the signature (`renew`), which changes no byte of the channel.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Protocol, runtime_checkable

from nba_ml.contract.digest import bytes_digest
from nba_ml.contract.errors import BundleError, ChannelError, PublicationError
from nba_ml.contract.signing import KEY_FILES, SIGNATURE_DAYS, TRUSTED_KEYS, Role, Signing, key_id
from nba_ml.registry.signatures import Signature, SignatureError, Signer, verify
from nba_ml.storage.objects import GenerationMismatchError, ObjectExistsError, ObjectStore, StoredObject
from nba_ml.storage.opening import open_objects

_STATE = re.compile(r"(?P<folder>(?:.*/)?channels/)(?P<history>history/)?[^/]+\.json")
_MANIFEST = re.compile(r"(?P<stem>(?:.*/)?[^/]+)_manifest\.json")

_CLOCKS = timedelta(days=1)
"""How far the clocks of signer and reader may differ."""

_SWAPS = 5


@dataclass(frozen=True, slots=True)
class _Signed:
    """An object that needs a signature: whose, the signature's name, and whether it is a channel's pointer."""

    role: Role
    signature: str
    pointer: bool

    @classmethod
    def of(cls, name: str, data: bytes) -> _Signed | None:
        digest = bytes_digest(data)
        # States first: a publisher's signature must not count for anything under channels/.
        if state := _STATE.fullmatch(name):
            return cls("promoter", f"{state['folder']}signatures/{digest}.json", state["history"] is None)
        if manifest := _MANIFEST.fullmatch(name):
            return cls("publisher", f"{manifest['stem']}_signature_{digest[:12]}.json", False)
        return None


@runtime_checkable
class _Remote(Protocol):
    def within(self, seconds: float) -> ObjectStore: ...


@dataclass(frozen=True, slots=True)
class SignedStore:
    """An object store (`storage.objects.ObjectStore`) that returns no unsigned manifest or state of a channel.

    `read` raises BundleError for a manifest, and ChannelError for a state, without a signature of a trusted key.
    `create` and `swap` sign; without the private key of the role they write nothing and raise PublicationError.
    `current` is whether a pointer's signature may not be older than the settings allow.
    """

    inner: ObjectStore
    trusted: Mapping[Role, Mapping[str, bytes]]
    signers: Mapping[Role, Signer]
    days: int
    current: bool = False

    def uri(self, name: str) -> str:
        return self.inner.uri(name)

    def names(self, prefix: str) -> list[str]:
        return self.inner.names(prefix)

    def read(self, name: str) -> StoredObject | None:
        found = self.inner.read(name)
        if found is None:
            return None
        signed = _Signed.of(name, found.data)
        if signed is not None:
            made = self._verified(signed, name, found.data)
            if signed.pointer and self.current:
                self._require_current(name, made)
        return found

    def create(self, name: str, data: bytes) -> str:
        self._sign(name, data)
        return self.inner.create(name, data)

    def swap(self, name: str, data: bytes, generation: str) -> str:
        self._sign(name, data)
        return self.inner.swap(name, data, generation)

    def write(self, name: str, data: bytes) -> None:
        self._sign(name, data)
        self.inner.write(name, data)

    def delete(self, name: str) -> None:
        self.inner.delete(name)

    def within(self, seconds: float) -> SignedStore:
        """The same, with an answer or a failure within about `seconds`, if the store supports that."""
        return replace(self, inner=self.inner.within(seconds)) if isinstance(self.inner, _Remote) else self

    def signature(self, name: str) -> Signature | None:
        """The signature of an object that may have one; None if there is no such object.

        Raises:
            BundleError: it has none that counts; ChannelError for a channel.
        """
        found = self.inner.read(name)
        signed = None if found is None else _Signed.of(name, found.data)
        return None if signed is None or found is None else self._verified(signed, name, found.data)

    def expires(self, name: str) -> datetime | None:
        """Until when, in UTC, a channel's pointer is served; None if there is none.

        Raises:
            ChannelError: it has no signature that counts.
        """
        made = self.signature(name)
        return None if made is None else made.signed_at.astimezone(UTC) + timedelta(days=self.days)

    def sign(self, name: str, data: bytes, at: datetime | None = None) -> None:
        """Sign an object that exists with these bytes; an earlier signature is replaced.

        The caller vouches for the bytes.

        Raises:
            PublicationError: this process has no private key of the role, or the store rejects it.
        """
        signed = _Signed.of(name, data)
        if signed is not None:
            self._put(signed.signature, self._signer(signed.role, name).sign(data, at or datetime.now(UTC)))

    def _sign(self, name: str, data: bytes) -> None:
        """Before an object is written. What needs no signature needs the key of its folder's role all the same: without
        one, publishing would leave half a bundle."""
        signed = _Signed.of(name, data)
        if signed is None:
            self._signer("publisher", name)
        elif signed.role == "publisher" and self._has_signature(signed, name, data):
            return  # published before: nothing changes, so that a publisher needs no right to replace objects
        else:
            self.sign(name, data)

    def _has_signature(self, signed: _Signed, name: str, data: bytes) -> bool:
        self._signer(signed.role, name)
        with suppress(BundleError):
            self._verified(signed, name, data)
            return True
        return False

    def _signer(self, role: Role, name: str) -> Signer:
        signer = self.signers.get(role)
        if signer is None:
            raise PublicationError(
                f"{self.uri(name)} cannot be written: {TRUSTED_KEYS} requires signatures, and this process has no "
                f"{role}'s key. Set {KEY_FILES[role]} to its file."
            )
        return signer

    def _verified(self, signed: _Signed, name: str, data: bytes) -> Signature:
        document = self.inner.read(signed.signature)
        try:
            if document is None:
                raise SignatureError("does not exist")
            return verify(document.data, signed.role, data, self.trusted[signed.role])
        except SignatureError as error:
            text = (
                f"{self.uri(name)} is not signed by a trusted {signed.role}: its signature, "
                f"{self.uri(signed.signature)}, {error}. {TRUSTED_KEYS} requires one."
            )
            if signed.role == "promoter":
                raise ChannelError(
                    f"{text} Do not follow the channel: find out who wrote it. If its states are right, "
                    "`nba-ml keys sign --channel` signs them."
                ) from error
            raise BundleError(
                f"{text} Do not load it: find out who wrote it. If it is right, `nba-ml keys sign MODEL_ID` signs it."
            ) from error

    def _require_current(self, name: str, made: Signature) -> None:
        age = datetime.now(UTC) - made.signed_at
        if -_CLOCKS <= age <= timedelta(days=self.days):
            return
        when = f"{made.signed_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
        raise ChannelError(
            f"The signature of {self.uri(name)} was made at {when}, {age.total_seconds() / 86_400:.1f} days ago; at "
            f"most {self.days} days are accepted ({SIGNATURE_DAYS}). The channel may be an old copy that was put back. "
            "If `nba-ml champion show` shows what should serve, `nba-ml keys renew` renews its signature."
        )

    def _put(self, name: str, data: bytes) -> None:
        """Write a signature over whatever has its name: somebody without a key may have put anything there."""
        for _ in range(_SWAPS):
            try:
                self.inner.create(name, data)
                return
            except ObjectExistsError:
                found = self.inner.read(name)
            if found is None:
                continue
            with suppress(GenerationMismatchError):
                self.inner.swap(name, data, found.generation)
                return
        raise PublicationError(
            f"{self.uri(name)} was changed by something else {_SWAPS} times while it was written. Find out what else "
            "writes signatures there, then try again."
        )


def open_published(root: str, signing: Signing | None) -> ObjectStore:
    """The objects under an artifact root, with the signatures that the settings require. Makes no request yet.

    Raises:
        SettingsError: the root or the file of a private key cannot be used.
    """
    return with_signatures(open_objects(root), signing)


def with_signatures(store: ObjectStore, signing: Signing | None) -> ObjectStore:
    """The store, with the signatures that the settings require; as it is if there are none.

    Raises:
        SettingsError: the file of a private key cannot be used.
    """
    if signing is None or isinstance(store, SignedStore):
        return store
    return SignedStore(
        store,
        {role: {key_id(each): each for each in keys} for role, keys in signing.trusted.items()},
        {role: Signer.from_file(path, role, signing) for role, path in signing.key_files.items()},
        signing.days,
    )


def current_only(store: ObjectStore) -> ObjectStore:
    """The same objects for a process that serves: an expired pointer is an error. Who moves the channel reads it."""
    return replace(store, current=True) if isinstance(store, SignedStore) else store
