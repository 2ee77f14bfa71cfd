"""The asset graph: one short module per asset. Each reads, calls `core`, and records.

`build_assets` makes fresh definitions over given months, so that a test can have its own.
"""

import dagster as dg

from nba_ml.assets import (
    backfill_progress,
    feature_store_snapshot,
    gcs_artifact,
    ml_feature_store_v2,
    model_metadata,
    player_game_summary,
    train_split,
    xgboost_model,
)
from nba_ml.assets.external import build_external

FEATURE_ASSETS = ("player_game_summary", "ml_feature_store_v2", "feature_store_snapshot")
"""What a month's rows go through."""

TRAINING_ASSETS = ("train_split", "xgboost_model", "model_metadata", "gcs_artifact")
"""What a month's model goes through."""

CHAIN = FEATURE_ASSETS + TRAINING_ASSETS
"""The whole chain, in order."""


def build_assets(
    months: dg.MonthlyPartitionsDefinition, *, external_feature_store: bool = False
) -> list[dg.AssetsDefinition | dg.SourceAsset]:
    """All assets, partitioned by the given months.

    With `external_feature_store` the two assets of that group are observed, not computed.
    """
    training = (feature_store_snapshot, train_split, xgboost_model, model_metadata, gcs_artifact)
    feature_store = (
        build_external(months)
        if external_feature_store
        else [player_game_summary.build(months), ml_feature_store_v2.build(months)]
    )
    return [*feature_store, backfill_progress.build(months), *(module.build(months) for module in training)]
