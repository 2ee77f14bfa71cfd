"""Whether a model that a channel has named is still there, byte for byte.

A channel names a manifest by its sha256, and what that manifest says was looked at when the channel first named it.
So to go back to it, digests are enough: no model is parsed, no row predicted, and nothing heavy imported. A rollback
has no time for more.
"""

from __future__ import annotations

import hashlib
import json

from nba_ml.contract.errors import BundleError
from nba_ml.registry.channel import ChannelModel
from nba_ml.storage.objects import ObjectStore


def require_still_whole(store: ObjectStore, model: ChannelModel) -> None:
    """Pass silently if the manifest is the one that the channel names, and its objects are what it states.

    Raises:
        BundleError: a part is missing, or has other bytes; names it.
        ChannelError: the model is a rule, which has no manifest.
    """
    manifest = _bytes(store, model.manifest, None, model.manifest_sha256)
    folder = model.manifest.rpartition("/")[0]
    for stated in json.loads(manifest)["objects"]:
        _bytes(store, f"{folder}/{stated['name']}", stated["size"], stated["sha256"])


def _bytes(store: ObjectStore, name: str, size: int | None, sha256: str | None) -> bytes:
    found = store.read(name)
    if found is None:
        raise BundleError(f"{store.uri(name)} is missing: the model cannot serve. Restore it, or choose another model.")
    digest = hashlib.sha256(found.data).hexdigest()
    if digest != sha256 or size not in (None, len(found.data)):
        raise BundleError(
            f"{store.uri(name)} is damaged or was replaced: its sha256 is {digest}, and {sha256} was named. "
            "Restore it, or choose another model."
        )
    return found.data
