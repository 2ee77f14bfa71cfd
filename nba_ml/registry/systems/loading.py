"""Load a prediction system by name. It is verified before it predicts."""

from __future__ import annotations

from nba_ml.contract.features import FeatureVersion
from nba_ml.contract.systems import SYSTEMS
from nba_ml.registry.channel import ChannelModel
from nba_ml.registry.learners.known import learner_of_model
from nba_ml.registry.systems.external import find_external_system
from nba_ml.registry.systems.interface import PredictionSystem
from nba_ml.registry.systems.registered import load_registered, registered_features, require_registered
from nba_ml.registry.systems.rules import RULES, Rule
from nba_ml.registry.systems.xgboost_v1 import channel_model_of, read_published, system_of
from nba_ml.storage.objects import ObjectStore


def find_model(store: ObjectStore, name: str) -> ChannelModel:
    """The model or rule with this name, as a channel names it. Its bundle is read and checked.

    Raises:
        BundleError: no such model is published, it is damaged, or its verdict does not allow it.
    """
    if name in RULES:
        return ChannelModel(system_id=name, model_id=name, manifest_sha256=None)
    if learner_of_model(name) is not None:
        return require_registered(store, name).model
    return channel_model_of(read_published(store, name))


def load_system(store: ObjectStore, model: ChannelModel, threads: int | None = None) -> PredictionSystem:
    """Load the system that a channel names and verify it, including its reference predictions.

    Raises:
        BundleError: it is missing or damaged, has another manifest than the channel names, or its predictions of the
            reference rows differ.
        MissingExtraError: it is a registered model, and its learner is not installed.
    """
    if model.system_id not in SYSTEMS:
        found = find_external_system(store, model)
        return found if isinstance(found, Rule) else load_registered(found, threads)
    return system_of(read_published(store, model.model_id, model.manifest_sha256), threads)


def features_of(store: ObjectStore, model: ChannelModel) -> FeatureVersion:
    """What a system that a channel names reads. A registered model's manifest says it; its file is not read.

    Raises:
        BundleError: the manifest is missing or damaged, or has another digest than the channel names.
    """
    if model.system_id in SYSTEMS:
        return SYSTEMS[model.system_id].features
    return registered_features(store, model) if model.is_external else RULES[model.system_id].features
