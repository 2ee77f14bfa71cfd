"""From a name to a prediction system: what a channel names, verified before it predicts anything."""

from __future__ import annotations

from nba_ml.contract.model_id import SYSTEM_ID as XGBOOST
from nba_ml.registry.channel import ChannelModel
from nba_ml.registry.systems.catboost_v8 import SYSTEM_ID as CATBOOST
from nba_ml.registry.systems.catboost_v8 import load_catboost, require_registered
from nba_ml.registry.systems.external import find_other
from nba_ml.registry.systems.interface import PredictionSystem
from nba_ml.registry.systems.rules import RULES, Rule
from nba_ml.registry.systems.xgboost_v1 import named_by, read_published, system_of
from nba_ml.storage.objects import ObjectStore


def find_model(store: ObjectStore, name: str) -> ChannelModel:
    """The model of an id, or the rule of a name, as a channel would name it, after its bundle was read.

    Raises:
        BundleError: nothing of that name is published, it is damaged, or its verdict does not allow it.
    """
    if name in RULES:
        return ChannelModel(system_id=name, model_id=name, manifest_sha256=None)
    if name.startswith(f"{CATBOOST}_"):
        return require_registered(store, name).model
    return named_by(read_published(store, name))


def load_system(store: ObjectStore, model: ChannelModel, threads: int | None = None) -> PredictionSystem:
    """The system that a channel names, verified down to its reference predictions.

    Raises:
        BundleError: it is missing or damaged, its manifest is not the one that the channel names, or it does not
            predict its reference rows.
        MissingExtraError: it is a CatBoost model, and CatBoost is not installed.
    """
    if model.system_id != XGBOOST:
        found = find_other(store, model)
        return found if isinstance(found, Rule) else load_catboost(found, threads)
    return system_of(read_published(store, model.model_id, model.manifest_sha256), threads)
