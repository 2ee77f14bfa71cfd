"""The asset graph: one short module per asset. Each reads, calls `core`, and records.

`build_assets` makes fresh definitions over given months, so that a test can have its own.
"""

import dagster as dg

from nba_ml.assets import (
    feature_store_snapshot,
    gcs_artifact,
    ml_feature_store_v2,
    model_metadata,
    player_game_summary,
    train_split,
    xgboost_model,
)

FEATURE_ASSETS = ("player_game_summary", "ml_feature_store_v2", "feature_store_snapshot")
"""What a month's rows go through."""

TRAINING_ASSETS = ("train_split", "xgboost_model", "model_metadata", "gcs_artifact")
"""What a month's model goes through."""

CHAIN = FEATURE_ASSETS + TRAINING_ASSETS
"""The whole chain, in order."""


def build_assets(months: dg.MonthlyPartitionsDefinition) -> list[dg.AssetsDefinition]:
    """All assets, partitioned by the given months."""
    modules = (
        player_game_summary,
        ml_feature_store_v2,
        feature_store_snapshot,
        train_split,
        xgboost_model,
        model_metadata,
        gcs_artifact,
    )
    return [module.build(months) for module in modules]
