"""Ed25519 signatures of manifests and of states of the channel, detached: each is an object of its own.

A signature is over the role, the digest of the signed object, and when it was signed. A manifest names the digests of
everything else in its bundle, so its signature covers the bundle. `signed_store` says where signatures lie and when
they are checked.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nba_ml.contract.errors import SettingsError
from nba_ml.contract.limits import SIGNATURE_BYTES
from nba_ml.contract.reading import read_file
from nba_ml.contract.signing import KEY_FILES, TRUSTED_KEYS, Role, Signing, key_id, key_text

if TYPE_CHECKING:  # imported where it is used: a process without keys does without the 90 ms
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_CONTEXT = b"nba_ml signature 1\n"
"""Before what is signed, so that no signature of another program, or of a later format, is one of these."""

_OF_OTHERS = stat.S_IWGRP | stat.S_IRWXO


class SignatureError(Exception):
    """Why a signature does not count; the reason is half a sentence."""


@dataclass(frozen=True, slots=True)
class Signature:
    """A signature that was verified: by which key, and when it was made."""

    key: str
    signed_at: datetime


@dataclass(frozen=True, slots=True)
class Signer:
    """A private key with its role."""

    role: Role
    private: Ed25519PrivateKey
    public: bytes

    @classmethod
    def from_file(cls, path: Path, role: Role, signing: Signing) -> Signer:
        """The key in a file, PEM (PKCS #8) without a passphrase, as `nba-ml keys new` and OpenSSL write it.

        Raises:
            SettingsError: it cannot be read, is not such a key, is open to others, or is not a trusted key of the role.
        """
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415
        from cryptography.hazmat.primitives.serialization import load_pem_private_key  # noqa: PLC0415

        named = f"{KEY_FILES[role]} ({path})"
        try:
            found = path.stat()
            data = read_file(path, SIGNATURE_BYTES)
        except OSError as error:
            raise SettingsError(f"{named} cannot be read: {error.strerror or error}.") from error
        # A group may read a file of another owner: that is how Kubernetes mounts a secret for a user of its own.
        own = found.st_uid == os.geteuid()
        if found.st_mode & (_OF_OTHERS | (stat.S_IRGRP if own else 0)):
            raise SettingsError(f"{named} can be read or changed by others. Run: chmod 600 {path}")
        try:
            private = load_pem_private_key(data, password=None)
        except (ValueError, TypeError) as error:
            raise SettingsError(
                f"{named} is not a private key in PEM without a passphrase. Make one with `nba-ml keys new`."
            ) from error
        if not isinstance(private, Ed25519PrivateKey):
            raise SettingsError(f"{named} is not an Ed25519 key. Make one with `nba-ml keys new`.")
        public = private.public_key().public_bytes_raw()
        if public not in signing.trusted[role]:
            raise SettingsError(
                f"{named} belongs to {key_text(role, public)}, which {TRUSTED_KEYS} does not have: nobody would accept "
                "its signatures. Add it there, for the workers first."
            )
        return cls(role, private, public)

    def sign(self, data: bytes, at: datetime) -> bytes:
        """The signature of an object with these bytes, as its own object holds it."""
        fields = _signed_fields(self.role, data, at.astimezone(UTC).isoformat())
        signature = base64.b64encode(self.private.sign(_message(fields))).decode()
        content = {**fields, "format_version": 1, "key": key_id(self.public), "signature": signature}
        return (json.dumps(content, sort_keys=True, indent=2) + "\n").encode()


def verify(document: bytes, role: Role, data: bytes, trusted: Mapping[str, bytes]) -> Signature:
    """Verify the signature of an object with these bytes.

    Args:
        document: as `Signer.sign` returns it.
        trusted: the role's public keys by their ids.

    Raises:
        SignatureError: it is not a signature, is one of other bytes or of another role, its key is not trusted, or the
            key did not make it.
    """
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey  # noqa: PLC0415

    try:
        content = json.loads(document)
        stated = {name: content[name] for name in ("role", "sha256", "signed_at")}
        key, signed_at = str(content["key"]), datetime.fromisoformat(content["signed_at"])
        signature = base64.b64decode(content["signature"], validate=True)
        known = content["format_version"] == 1 and signed_at.tzinfo is not None
    except (ValueError, KeyError, TypeError, RecursionError, binascii.Error) as error:
        raise SignatureError("is damaged") from error
    if not known:
        raise SignatureError("has another format than 1")
    if stated != _signed_fields(role, data, content["signed_at"]):
        raise SignatureError(f"is one of other bytes, or not of a {role}")
    if key not in trusted:
        raise SignatureError(f"is by the key {key[:64]}, which is not a trusted key of a {role}")
    try:
        Ed25519PublicKey.from_public_bytes(trusted[key]).verify(signature, _message(stated))
    except InvalidSignature as error:
        raise SignatureError(f"was not made by the key {key}") from error
    return Signature(key, signed_at)


def _signed_fields(role: Role, data: bytes, signed_at: str) -> dict[str, Any]:
    return {"role": role, "sha256": hashlib.sha256(data).hexdigest(), "signed_at": signed_at}


def _message(fields: Mapping[str, Any]) -> bytes:
    return _CONTEXT + json.dumps(fields, sort_keys=True).encode()


def create_key(path: Path) -> bytes:
    """Write a new private key to a file that only its owner may read; returns the public key.

    Raises:
        SettingsError: the file exists or cannot be written.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import (  # noqa: PLC0415
        Encoding,
        NoEncryption,
        PrivateFormat,
    )

    private = Ed25519PrivateKey.generate()
    data = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(data)
    except FileExistsError as error:
        raise SettingsError(f"{path} exists, and a key is never overwritten. Name another file.") from error
    except OSError as error:
        raise SettingsError(f"{path} cannot be written: {error.strerror or error}.") from error
    return private.public_key().public_bytes_raw()
