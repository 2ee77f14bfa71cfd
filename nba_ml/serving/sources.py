"""Where a predictor's model is: the manifest under a root, named outright, by a model id, or by a channel."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from nba_ml.contract.errors import BundleError, SettingsError
from nba_ml.registry.channel import CHAMPION, FOLDER, Channel, ChannelModel, require_no_history
from nba_ml.registry.reader import MODEL_ID
from nba_ml.registry.systems.catboost_v8 import SYSTEM_ID as CATBOOST
from nba_ml.registry.systems.catboost_v8 import require_registered
from nba_ml.storage.objects import ObjectStore
from nba_ml.storage.opening import open_objects

SYSTEM_FOLDER = "xgboost_v1"
"""The folder under the root that the models of our own system lie in."""

_CHANNEL = re.compile(r"[a-z][a-z0-9_-]{0,99}")
_MANIFEST_SUFFIX = "_manifest.json"


@dataclass(frozen=True, slots=True)
class ManifestRef:
    """A manifest: its name under the root and, where a channel names it, the sha256 of its bytes."""

    name: str
    sha256: str | None = None


Ref = ManifestRef | ChannelModel
"""A model of ours by its manifest, one of another system as a channel names it."""


@dataclass(frozen=True, slots=True)
class ModelSelection:
    """What a source names: the model that serves, and the channel with its state where a channel named it.

    `challenger` is there while it has a share of what is served. One that is scored in shadow only is not: whoever
    grades it scores it.
    """

    model: Ref
    challenger: Ref | None = None
    state: Channel | None = None
    channel: str | None = None


def locate(
    source: str | ObjectStore, *, channel: str | None = None, model_id: str | None = None
) -> tuple[ObjectStore, ModelSelection]:
    """The store and the model that a source means.

    Args:
        source: a root (directory, `file://`, `gs://bucket/prefix`, or a store that is open already) with a channel
            or a model id; or the address of a manifest, `.../<model_id>_manifest.json`, without either.

    Raises:
        SettingsError: the arguments name no model, or more than one, or the root cannot be used.
        BundleError: there is no such channel. A damaged pointer is a ChannelError.
    """
    if channel is not None and model_id is not None:
        raise SettingsError("A model is named by its channel or by its id, not by both: leave one of them out.")
    named = channel is not None or model_id is not None
    if isinstance(source, str) and source.endswith(_MANIFEST_SUFFIX):
        if named:
            raise SettingsError(
                f"{source} names one model already: leave out the channel and the model id, or give the root above it."
            )
        return _of_manifest(source)
    if not named:
        raise SettingsError(
            f"{source if isinstance(source, str) else 'The store'} names no model. Add the channel ('champion') or a "
            f"model id, or give a manifest's address, <root>/{SYSTEM_FOLDER}/<model_id>{_MANIFEST_SUFFIX}."
        )
    store = open_objects(source) if isinstance(source, str) else source
    if channel is not None:
        return store, read_named(store, channel)
    if model_id is None or not MODEL_ID.fullmatch(model_id):
        raise SettingsError(f"{model_id!r} is no model id. One reads xgboost_v1_33features_<YYYYMM>_<12 hex digits>.")
    return store, _of_model(store, model_id)


def _of_model(store: ObjectStore, model_id: str, folder: str = "") -> ModelSelection:
    """The model of an id; ours by its name alone, as nothing else says which manifest is meant."""
    if CATBOOST in (folder, model_id[: len(CATBOOST)]):
        return ModelSelection(require_registered(store, model_id).model)
    return ModelSelection(ManifestRef(f"{SYSTEM_FOLDER}/{model_id}{_MANIFEST_SUFFIX}"))


def _of_manifest(address: str) -> tuple[ObjectStore, ModelSelection]:
    """The root above the system's folder, where the channels are too; a bundle elsewhere is its own root."""
    folder, _, name = address.rpartition("/")
    root, _, last = folder.rpartition("/")
    if last in (SYSTEM_FOLDER, CATBOOST):
        store = open_objects(root or ("/" if folder.startswith("/") else "."))
        return store, _of_model(store, name.removesuffix(_MANIFEST_SUFFIX), last)
    return open_objects(folder or ("/" if address.startswith("/") else ".")), ModelSelection(ManifestRef(name))


def read_named(store: ObjectStore, channel: str) -> ModelSelection:
    """The models that a channel names: its champion, and its challenger while that has a share.

    Raises:
        SettingsError: no name of a channel.
        BundleError: there is no such channel, or it lets a rule serve everybody.
        ChannelError: the pointer is damaged, or the champion's is gone and its history is not.
    """
    if not _CHANNEL.fullmatch(channel):
        raise SettingsError(f"{channel!r} is no channel. A channel is a name in small letters, such as 'champion'.")
    name = f"{FOLDER}/{channel}.json"
    found = store.read(name)
    if found is None:
        if name == CHAMPION:
            require_no_history(store)
        raise BundleError(
            f"There is no channel {channel} at {store.uri(name)}, so nothing says which model serves. Promote one: "
            "`nba-ml champion promote`; or name a model by its id."
        )
    state = Channel.from_bytes(found.data, store.uri(name))
    challenger = state.challenger if state.share else None
    if challenger is not None and challenger.manifest_sha256 is None and state.share == 100:
        raise BundleError(
            f"{store.uri(name)} lets {challenger.model_id} serve everybody. It is a rule to compare a model with: it "
            "serves a part beside a champion, and never in its place. `nba-ml rollout stop` ends the comparison."
        )
    return ModelSelection(
        _of_channel(state.champion), None if challenger is None else _of_channel(challenger), state, channel
    )


def _of_channel(model: ChannelModel) -> Ref:
    return ManifestRef(model.manifest, model.manifest_sha256) if model.system_id == SYSTEM_FOLDER else model


@runtime_checkable
class _Remote(Protocol):
    """A store behind a network, which tries for minutes unless it is told not to."""

    def within(self, seconds: float) -> ObjectStore: ...


def within(store: ObjectStore, seconds: float) -> ObjectStore:
    """The same objects, with an answer or a failure in about so many seconds, where the store can be told so."""
    return store.within(seconds) if isinstance(store, _Remote) else store
