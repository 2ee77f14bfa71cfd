"""Where a predictor's model is: a manifest under a root, given by its address, a model id or a channel."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from nba_ml.contract.errors import BundleError, SettingsError
from nba_ml.contract.model_id import system_of_model
from nba_ml.contract.signing import Signing
from nba_ml.contract.systems import SYSTEMS, XGBOOST_V1
from nba_ml.registry.channel import CHAMPION, FOLDER, Channel, ChannelModel, require_no_history
from nba_ml.registry.learners.known import LEARNERS, learner_of_model
from nba_ml.registry.reader import MODEL_ID
from nba_ml.registry.signed_store import current_only, open_published, with_signatures
from nba_ml.registry.systems.registered import require_registered
from nba_ml.storage.objects import ObjectStore
from nba_ml.storage.opening import signing_of_worker

_CHANNEL = re.compile(r"[a-z][a-z0-9_-]{0,99}")
_MANIFEST_SUFFIX = "_manifest.json"


@dataclass(frozen=True, slots=True)
class ManifestRef:
    """A manifest: its name under the root and, where a channel names it, the sha256 of its bytes."""

    name: str
    sha256: str | None = None


Ref = ManifestRef | ChannelModel
"""Our own model by its manifest; a model of another system as a channel names it."""


@dataclass(frozen=True, slots=True)
class ModelSelection:
    """The models that a source names, and the channel with its state if a channel named them.

    `challenger` is set while it serves a share. It is None for one that is only scored in shadow, which the grading
    does.
    """

    model: Ref
    challenger: Ref | None = None
    state: Channel | None = None
    channel: str | None = None

    @property
    def pointer(self) -> str | None:
        """The name of the channel's object; None if no channel named the models."""
        return None if self.channel is None else pointer_of(self.channel)


def pointer_of(channel: str) -> str:
    """The name of a channel's object under the root."""
    return f"{FOLDER}/{channel}.json"


def locate(
    source: str | ObjectStore, *, channel: str | None = None, model_id: str | None = None
) -> tuple[ObjectStore, ModelSelection]:
    """The store and the models that a source names. Signatures are checked as the environment says.

    Args:
        source: a root (directory, `file://`, `gs://bucket/prefix`, or an open store) with a channel
            or a model id; or the address of a manifest, `.../<model_id>_manifest.json`, without either.

    Raises:
        SettingsError: the arguments name no model, or more than one, or the root cannot be used.
        BundleError: there is no such channel. A damaged pointer is a ChannelError.
    """
    if channel is not None and model_id is not None:
        raise SettingsError("Both a channel and a model id are given. Leave one of them out.")
    named, signing = channel is not None or model_id is not None, signing_of_worker()
    if isinstance(source, str) and source.endswith(_MANIFEST_SUFFIX):
        if named:
            raise SettingsError(
                f"{source} names one model already: leave out the channel and the model id, or give the root above it."
            )
        return _of_manifest(source, signing)
    if not named:
        raise SettingsError(
            f"{source if isinstance(source, str) else 'The store'} names no model. Add the channel ('champion') or a "
            f"model id, or give a manifest's address, <root>/xgboost_v1/<model_id>{_MANIFEST_SUFFIX}."
        )
    opened = open_published(source, signing) if isinstance(source, str) else with_signatures(source, signing)
    store = current_only(opened)
    if channel is not None:
        return store, read_named(store, channel)
    if model_id is None or not MODEL_ID.fullmatch(model_id):
        raise SettingsError(
            f"{model_id!r} is not a model id. A model id is xgboost_v1_33features_<YYYYMM>_<12 hex digits>."
        )
    return store, _of_model(store, model_id)


def _of_model(store: ObjectStore, model_id: str, folder: str = "") -> ModelSelection:
    """The model of an id; for our own models the manifest follows from the id."""
    if folder in LEARNERS or learner_of_model(model_id) is not None:
        return ModelSelection(require_registered(store, model_id).model)
    system = system_of_model(model_id) or SYSTEMS.get(folder, XGBOOST_V1)
    return ModelSelection(ManifestRef(f"{system.id}/{model_id}{_MANIFEST_SUFFIX}"))


def _of_manifest(address: str, signing: Signing | None) -> tuple[ObjectStore, ModelSelection]:
    """The root above the system's folder, which also has the channels; for a bundle elsewhere, its folder."""
    folder, _, name = address.rpartition("/")
    root, _, last = folder.rpartition("/")
    if last in (*SYSTEMS, *LEARNERS):
        store = open_published(root or ("/" if folder.startswith("/") else "."), signing)
        return store, _of_model(store, name.removesuffix(_MANIFEST_SUFFIX), last)
    store = open_published(folder or ("/" if address.startswith("/") else "."), signing)
    return store, ModelSelection(ManifestRef(name))


def read_named(store: ObjectStore, channel: str) -> ModelSelection:
    """The models that a channel names: its champion, and its challenger while that serves a share.

    Raises:
        SettingsError: the name is not valid for a channel.
        BundleError: the channel does not exist, or it gives a rule a share of 100%.
        ChannelError: the pointer is damaged, or missing although its history exists.
    """
    if not _CHANNEL.fullmatch(channel):
        raise SettingsError(
            f"{channel!r} is not a channel name. Use lower-case letters, digits, _ and -, such as 'champion'."
        )
    name = pointer_of(channel)
    found = store.read(name)
    if found is None:
        if name == CHAMPION:
            require_no_history(store)
        raise BundleError(
            f"There is no channel {channel} at {store.uri(name)}. Promote a model with `nba-ml champion promote`, "
            "or give a model id."
        )
    state = Channel.from_bytes(found.data, store.uri(name))
    challenger = state.challenger if state.share else None
    if challenger is not None and challenger.manifest_sha256 is None and state.share == 100:
        raise BundleError(
            f"{store.uri(name)} gives {challenger.model_id} a share of 100%. It is a rule for comparison and may serve "
            "only a part beside a champion. End the comparison with `nba-ml rollout stop`."
        )
    return ModelSelection(
        _of_channel(state.champion), None if challenger is None else _of_channel(challenger), state, channel
    )


def _of_channel(model: ChannelModel) -> Ref:
    return ManifestRef(model.manifest, model.manifest_sha256) if model.system_id in SYSTEMS else model


@runtime_checkable
class _Remote(Protocol):
    """A store behind a network, which retries for minutes by default."""

    def within(self, seconds: float) -> ObjectStore: ...


def within(store: ObjectStore, seconds: float) -> ObjectStore:
    """The same objects, with an answer or a failure within about `seconds`, if the store supports that."""
    return store.within(seconds) if isinstance(store, _Remote) else store
