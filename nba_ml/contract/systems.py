"""The systems that are trained here: each has its features, its own chain of assets, and its own bundles.

The first system's assets and stored values have plain names (`train_split`); those of the others begin with the
system's id (`xgboost_v2/train_split`). The feature version is all that differs between two chains.
"""

from __future__ import annotations

from dataclasses import dataclass

from nba_ml.contract.features import V2_33FEATURES, V3_FEATURES, V4_FEATURES, FeatureVersion

SHARED_ASSETS = ("player_game_summary",)
"""Monthly assets that all systems read: the results do not depend on the features."""


@dataclass(frozen=True, slots=True)
class System:
    """A trained system. `id` is its id in predictions and channels, the folder of its bundles, and how its model ids
    begin. `prefix` begins the names of its assets: '' or `<id>/`.
    """

    id: str
    features: FeatureVersion
    prefix: str

    def group(self, name: str) -> str:
        """The group that shows its assets: `training` or `xgboost_v2_training`."""
        return f"{self.id}_{name}" if self.prefix else name

    def asset(self, name: str) -> str:
        """The name of this system's asset: `train_split` or `xgboost_v2/train_split`."""
        return name if name in SHARED_ASSETS else f"{self.prefix}{name}"


XGBOOST_V1 = System("xgboost_v1", V2_33FEATURES, prefix="")

XGBOOST_V2 = System("xgboost_v2", V3_FEATURES, prefix="xgboost_v2/")

XGBOOST_V3 = System("xgboost_v3", V4_FEATURES, prefix="xgboost_v3/")

SYSTEMS = {system.id: system for system in (XGBOOST_V1, XGBOOST_V2, XGBOOST_V3)}
"""Id -> system, the first one first."""


def system_of_asset(asset: str) -> System:
    """The system in whose chain an asset is; the first one's for a shared asset."""
    return next((each for each in SYSTEMS.values() if each.prefix and asset.startswith(each.prefix)), XGBOOST_V1)


def system_of_features(version: FeatureVersion) -> System:
    """The system in whose chain there are rows of a feature version.

    Raises:
        KeyError: there is none.
    """
    return {system.features.name: system for system in SYSTEMS.values()}[version.name]
