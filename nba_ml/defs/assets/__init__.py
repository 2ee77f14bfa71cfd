"""The asset graph: one short module per asset. Each reads, calls a function of another room, and records.

`build_assets` makes fresh definitions over given months, so that a test can have its own.
"""

from collections.abc import Sequence

import dagster as dg

from nba_ml.contract.systems import XGBOOST_V1, System
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
    systems: Sequence[System] = (XGBOOST_V1,),
    *,
    external_feature_store: bool = False,
    computes_features: bool = False,
    scheduled: bool = False,
) -> list[dg.AssetsDefinition | dg.SourceAsset]:
    """All assets of the systems, partitioned by the given months.

    `limits` are those of the checks that the publisher demands.

    With `external_feature_store` the two assets of that group are observed, not computed, and there is also
    `platform_grades`; with `computes_features` each system has `feature_backfill`, which computes into the observed
    table.
    `scheduled` is as in `slate_predictions.days_of`.
    """
    first = systems[0]
    return [
        *(build_external(months, systems) if external_feature_store else [player_game_summary.build(months)]),
        *(each for system in systems for each in _chain(months, limits, system, external=external_feature_store)),
        backfill_progress.build(months, systems),
        walk_forward.build(months, systems),
        champion.build(limits, systems),
        rollout.build(limits, systems),
        slate_predictions.build(months, first, scheduled=scheduled),
        slate_grades.build(months, first),
        *([platform_grades.build(months)] if external_feature_store else []),
        *(_computed_in_bigquery(months, systems) if computes_features else []),
    ]


def _computed_in_bigquery(
    months: dg.MonthlyPartitionsDefinition, systems: Sequence[System]
) -> list[dg.AssetsDefinition]:
    from nba_ml.defs.assets import feature_backfill  # noqa: PLC0415 (imports sqlglot, a second of every start)

    return [feature_backfill.build(months, system) for system in systems]


def _chain(
    months: dg.MonthlyPartitionsDefinition, limits: Thresholds, system: System, *, external: bool
) -> list[dg.AssetsDefinition]:
    """A system's own assets: from its features to its published models and their grades."""
    return [
        *([] if external else [ml_feature_store_v2.build(months, system)]),
        feature_store_snapshot.build(months, system, external=external),
        *(module.build(months, system) for module in (train_split, xgboost_model, model_metadata)),
        gcs_artifact.build(months, system, limits),
        *(module.build(months, system) for module in (predictions, prediction_grades, challengers)),
    ]
