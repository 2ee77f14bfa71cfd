"""Signing what exists already: models and states from before signatures were required, and the channel anew.

Signing vouches for bytes that somebody else with access to the bucket may have written. So a person asks for it, looks
at the list, and each object is first verified as far as it can be.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from nba_ml.contract.digest import bytes_digest
from nba_ml.contract.errors import BundleError, ChannelError, PublicationError, ReleaseError
from nba_ml.contract.signing import KEY_FILES, Role, key_id
from nba_ml.registry.channel import CHAMPION, HISTORY, Channel, newest_state_ahead, read_channel
from nba_ml.registry.learners.known import learner_of_model
from nba_ml.registry.reader import reads_from, verify_bundle
from nba_ml.registry.repeatable import describe_move
from nba_ml.registry.signed_store import SignedStore
from nba_ml.registry.systems.registered import load_registered, read_registered

_MANIFEST = "_manifest.json"


@dataclass(frozen=True, slots=True)
class Unsigned:
    """An object to sign, with what it is for the person who vouches for it."""

    name: str
    data: bytes
    description: str


def signed_names(store: SignedStore) -> list[str]:
    """The names of all objects that need a signature: manifests, the channel's pointer, its history."""
    names = store.names("")
    return [name for name in names if name.endswith(_MANIFEST) or name == CHAMPION or name.startswith(HISTORY)]


def unsigned_models(store: SignedStore, model_ids: Sequence[str] | None) -> list[Unsigned]:
    """The models that this process's publisher's key has not signed, of all (None) or of those named.

    Each is verified, with its reference predictions in a new process.

    Raises:
        BundleError: a model is not there, incomplete or damaged.
        PublicationError: this process has no publisher's key.
    """
    manifests = {_model_of(name): name for name in signed_names(store) if name.endswith(_MANIFEST)}
    if unknown := [each for each in model_ids or () if each not in manifests]:
        raise BundleError(
            f"{', '.join(unknown)}: no model of that id is published or registered. `nba-ml models list` shows them."
        )
    wanted = sorted(manifests) if model_ids is None else model_ids
    return list(_not_ours(store, "publisher", [manifests[each] for each in wanted], _describe_model))


def unsigned_states(store: SignedStore) -> list[Unsigned]:
    """The states of the channel that this process's promoter's key has not signed, the pointer last.

    Raises:
        ChannelError: a state is damaged.
        PublicationError: this process has no promoter's key.
    """
    names = [name for name in signed_names(store) if not name.endswith(_MANIFEST)]
    names.sort(key=lambda name: (name == CHAMPION, name))
    return list(_not_ours(store, "promoter", names, _describe_state))


def _not_ours(
    store: SignedStore, role: Role, names: Sequence[str], describe: Callable[[SignedStore, str, bytes], str]
) -> Iterator[Unsigned]:
    if role not in store.signers:
        raise PublicationError(f"Only a {role} can sign these. Set {KEY_FILES[role]} to the file of the private key.")
    ours = key_id(store.signers[role].public)
    for name in names:
        found = store.inner.read(name)
        if found is None or _key_of(store, name) == ours:
            continue
        yield Unsigned(name, found.data, describe(store, name, found.data))


def _key_of(store: SignedStore, name: str) -> str | None:
    try:
        made = store.signature(name)
    except (BundleError, ChannelError):
        return None
    return made.key if made else None


def _model_of(manifest: str) -> str:
    return manifest.rpartition("/")[2].removesuffix(_MANIFEST)


def _describe_model(store: SignedStore, name: str, data: bytes) -> str:
    """Verify a model and describe it."""
    read = reads_from(store.inner)
    if learner_of_model(_model_of(name)) is None:
        verify_bundle(read, name, manifest_sha256=bytes_digest(data))
    else:
        load_registered(read_registered(read, name, bytes_digest(data)), apart=True)
    return f"{name}: verified, sha256 {bytes_digest(data)}"


def _describe_state(store: SignedStore, name: str, data: bytes) -> str:
    state = Channel.from_bytes(data, store.uri(name))
    return f"{name}: serial {state.serial}, {describe_move(state)}"


def renew_channel(store: SignedStore, at: datetime) -> Channel:
    """Sign the pointer's present state again, which must be signed already; returns it.

    Raises:
        ReleaseError: there is no champion yet, or the history is ahead of the pointer.
        ChannelError: the pointer is damaged or not signed.
        PublicationError: this process has no promoter's key.
    """
    state = read_channel(store)
    if state is None:
        raise ReleaseError("There is no champion yet, so there is no signature to renew.")
    ahead = newest_state_ahead(store, state)
    if ahead is not None:
        raise ReleaseError(
            f"The pointer is at serial {state.serial} and the history ends with {ahead.serial}: a move was "
            "interrupted, or an old copy was put back. Nothing was signed. The next move starts from the newest "
            "state: see `nba-ml champion show`."
        )
    store.sign(CHAMPION, state.to_bytes(), at)
    return state
