"""Keys of every role, and what a process with some of them can do to a store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from nba_ml.contract.signing import ROLES, Role, Signing, key_text, parse_trusted
from nba_ml.registry.channel import Channel, ChannelModel, next_state
from nba_ml.registry.manifest import BundleNames
from nba_ml.registry.moves import move_channel
from nba_ml.registry.signatures import create_key
from nba_ml.registry.signed_store import SignedStore, with_signatures
from nba_ml.storage.objects import ObjectStore
from nba_ml_tests.registry.publication_machine import digest


@dataclass(frozen=True)
class KeyRing:
    """A private key of each role in a file, and the setting that trusts both."""

    files: Mapping[Role, Path]
    trusted: str

    @classmethod
    def made_in(cls, folder: Path) -> KeyRing:
        files = {role: folder / f"{role}.pem" for role in ROLES}
        return cls(files, ",".join(key_text(role, create_key(file)) for role, file in files.items()))

    def signing(self, *roles: Role, days: int = 30) -> Signing:
        return Signing(parse_trusted(self.trusted), {role: self.files[role] for role in roles}, days)

    def held_by(self, store: ObjectStore, *roles: Role, days: int = 30) -> SignedStore:
        """The store for a process that has the private keys of these roles."""
        found = with_signatures(store, self.signing(*roles, days=days))
        assert isinstance(found, SignedStore)
        return found


def as_named(store: ObjectStore, model_id: str) -> ChannelModel:
    """A published model as a channel names it, whoever signed it."""
    found = store.read(BundleNames.of(model_id).manifest)
    assert found is not None
    return ChannelModel(system_id="xgboost_v1", model_id=model_id, manifest_sha256=digest(found.data))


def serving(model: ChannelModel, present: Channel | None = None) -> Channel:
    """The state after the present one in which a model serves."""
    now = datetime.now(UTC)
    if present is None:
        return Channel(serial=1, champion=model, kind="promote", reason="the first", moved_at=now)
    return next_state(present, kind="promote", reason="the next", at=now, champion=model, earlier=())


def move_to(store: ObjectStore, model: ChannelModel) -> Channel:
    """Move the channel to a model, with all that a move verifies."""
    done = move_channel(store, lambda present: serving(model, present))
    assert done.moved
    assert done.channel is not None
    return done.channel
