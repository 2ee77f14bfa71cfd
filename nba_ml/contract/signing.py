"""Which signatures the settings require: the public keys that are pinned, and the files of private keys."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from nba_ml.contract.errors import SettingsError

Role = Literal["publisher", "promoter"]
"""A publisher signs the manifests of models, a promoter the states of the channel."""

ROLES: tuple[Role, ...] = get_args(Role)

TRUSTED_KEYS = "NBA_ML_TRUSTED_KEYS"
SIGNATURE_DAYS = "NBA_ML_SIGNATURE_DAYS"
KEY_FILES: Mapping[Role, str] = {"publisher": "NBA_ML_PUBLISHER_KEY", "promoter": "NBA_ML_PROMOTER_KEY"}
"""The settings."""

DAYS = 30
"""Default of `NBA_ML_SIGNATURE_DAYS`."""

_MOST_DAYS = 3650
_KEY_BYTES = 32

SIGNATURES_OFF = f"Signatures are not checked: {TRUSTED_KEYS} is not set."
"""What commands say about a root whose signatures are not checked."""


@dataclass(frozen=True, slots=True)
class Signing:
    """Whose signatures are required, and what this process signs with.

    `trusted` are the Ed25519 public keys of each role, 32 bytes each, and `key_files` the files of the private keys
    that this process has. A channel whose signature is older than `days` is not served.
    """

    trusted: Mapping[Role, tuple[bytes, ...]]
    key_files: Mapping[Role, Path]
    days: int = DAYS

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Signing | None:
        """The settings of signatures; None if no key is trusted, so that none is required.

        Raises:
            SettingsError: a value is invalid, or a private key is given and no public key is trusted.
        """
        text, days = environ.get(TRUSTED_KEYS) or "", environ.get(SIGNATURE_DAYS)
        files = {role: Path(value).expanduser() for role in ROLES if (value := environ.get(KEY_FILES[role]))}
        if not text.strip():
            if files:
                named = ", ".join(KEY_FILES[role] for role in files)
                raise SettingsError(
                    f"{named} is set and {TRUSTED_KEYS} is not: what is signed would not be checked. "
                    "`nba-ml keys new` prints the value that belongs to a key."
                )
            return None
        if days and not (days.isdecimal() and 1 <= int(days) <= _MOST_DAYS):
            raise SettingsError(f"{SIGNATURE_DAYS} is '{days}'. Give a number of days, 1 to {_MOST_DAYS:,}.")
        return cls(parse_trusted(text), files, int(days) if days else DAYS)


def parse_trusted(text: str) -> Mapping[Role, tuple[bytes, ...]]:
    """The public keys of each role in `publisher:KEY,promoter:KEY,...`.

    Raises:
        SettingsError: an entry is invalid, a role has no key, or a key has both roles.
    """
    found: dict[Role, list[bytes]] = {role: [] for role in ROLES}
    for each in filter(None, map(str.strip, text.split(","))):
        name, _, key = each.partition(":")
        role = next((role for role in ROLES if role == name.strip()), None)
        try:
            raw = base64.b64decode(key.strip(), validate=True)
        except (binascii.Error, ValueError):
            raw = b""
        if role is None or len(raw) != _KEY_BYTES:
            raise SettingsError(
                f"{TRUSTED_KEYS} has the entry '{each}'. Give publisher:KEY and promoter:KEY with commas between them, "
                "as `nba-ml keys new` prints them; a role may have several keys."
            )
        found[role].append(raw)
    if missing := [role for role in ROLES if not found[role]]:
        raise SettingsError(
            f"{TRUSTED_KEYS} has no key of a {' or a '.join(missing)}. Both roles need one: a publisher signs models, "
            "a promoter the channel. `nba-ml keys new` makes one."
        )
    if set(found["publisher"]) & set(found["promoter"]):
        raise SettingsError(
            f"{TRUSTED_KEYS} gives one key both roles, so that whoever publishes could also promote. Make a key for "
            "each with `nba-ml keys new`."
        )
    return {role: tuple(dict.fromkeys(keys)) for role, keys in found.items()}


def key_text(role: Role, public: bytes) -> str:
    """A public key as `NBA_ML_TRUSTED_KEYS` takes it."""
    return f"{role}:{base64.b64encode(public).decode()}"


def key_id(public: bytes) -> str:
    """How signatures and messages name a key: the first 16 hex digits of its sha256."""
    return hashlib.sha256(public).hexdigest()[:16]
