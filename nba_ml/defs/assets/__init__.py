"""The asset graph: one short module per asset. Each reads, calls `core`, and records.

`build_assets` makes fresh definitions over given months, so that a test can have its own.
"""

import dagster as dg

from nba_ml.contract.thresholds import Thresholds
from nba_ml.defs.assets import (
    backfill_progress,
    challengers,
    champion,
    feature_store_snapshot,
    gcs_artifact,
    ml_feature_store_v2,
    model_metadata,
    platform_grades,
    player_game_summary,
    prediction_grades,
    predictions,
    rollout,
    slate_grades,
    slate_predictions,
    train_split,
    walk_forward,
    xgboost_model,
)
from nba_ml.defs.assets.external import build_external


def build_assets(
    months: dg.MonthlyPartitionsDefinition,
    limits: Thresholds,
    *,
    external_feature_store: bool = False,
    scheduled: bool = False,
) -> list[dg.AssetsDefinition | dg.SourceAsset]:
    """All assets, partitioned by the given months; `limits` are those of the checks that the publisher demands.

    With `external_feature_store` the two assets of that group are observed, not computed, and there is also
    `platform_grades`. `scheduled` is as in `slate_predictions.days_of`.
    """
    training = (train_split, xgboost_model, model_metadata)
    feature_store = (
        build_external(months)
        if external_feature_store
        else [player_game_summary.build(months), ml_feature_store_v2.build(months)]
    )
    return [
        *feature_store,
        backfill_progress.build(months),
        feature_store_snapshot.build(months, external=external_feature_store),
        *(module.build(months) for module in training),
        gcs_artifact.build(months, limits),
        *(module.build(months) for module in (predictions, prediction_grades, challengers, walk_forward)),
        champion.build(limits),
        rollout.build(limits),
        slate_predictions.build(months, scheduled=scheduled),
        slate_grades.build(months),
        *([platform_grades.build(months)] if external_feature_store else []),
    ]
