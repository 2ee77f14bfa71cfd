"""Find the systems that are not our own bundles: rules and registered models.

Imports only what a prediction worker may import.
"""

from __future__ import annotations

from nba_ml.contract.errors import BundleError
from nba_ml.registry.channel import ChannelModel
from nba_ml.registry.learners.known import LEARNERS
from nba_ml.registry.systems.registered import Registered, require_registered
from nba_ml.registry.systems.rules import RULES, Rule
from nba_ml.storage.objects import ObjectStore


def find_external_system(store: ObjectStore, model: ChannelModel) -> Rule | Registered:
    """The rule or the registered model that a channel names, verified against the named manifest.

    Raises:
        BundleError: it is missing or damaged, has another manifest than the channel names, or this version of nba_ml
            does not have its system.
    """
    if model.manifest_sha256 is None:
        return RULES[model.system_id]
    if model.system_id not in LEARNERS:
        raise BundleError(
            f"{model.model_id} is a model of {model.system_id}, a system that this version of nba_ml does not have. No "
            "other model replaces it. Update nba_ml here, or name another model."
        )
    return require_registered(store, model.model_id, model.manifest_sha256)
