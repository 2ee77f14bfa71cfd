"""`feature_backfill`: a month's features, computed in BigQuery into the feature table."""

from dataclasses import replace

import dagster as dg

from nba_ml.contract.systems import XGBOOST_V1, System
from nba_ml.defs.assets.recording import OWNERS, cost_metadata
from nba_ml.defs.partitions import one_month
from nba_ml.defs.reasons import fails_with_its_reason
from nba_ml.sources.feature_backfill import BigQueryFeatureBackfill
from nba_ml.sources.job_costs import recorded_jobs
from nba_ml.sources.month_rows import FEATURES, SUMMARY


def build(months: dg.MonthlyPartitionsDefinition, system: System = XGBOOST_V1) -> dg.AssetsDefinition:
    observed = system.asset(FEATURES)

    @dg.asset(
        key=dg.AssetKey.from_user_string(system.asset("feature_backfill")),
        partitions_def=months,
        group_name=system.group("feature_store"),
        kinds={"bigquery"},
        owners=OWNERS,
        code_version="1",
        deps=[SUMMARY],
        description=f"A month's `{system.features.name}`, computed in BigQuery from its box scores and merged into "
        "NBA_ML_FEATURE_TABLE.\n\nThere only with NBA_ML_BIGQUERY_FEATURES=computed. Rows of other writers are not "
        f"changed, and rows that are as they should be are not written. Observe {observed} afterwards. No schedule "
        "runs it.",
    )
    @fails_with_its_reason
    def feature_backfill(
        context: dg.AssetExecutionContext, feature_backfill: dg.ResourceParam[BigQueryFeatureBackfill]
    ) -> dg.MaterializeResult[None]:
        month, backfill = one_month(context, months), replace(feature_backfill, version=system.features)
        backfill.require_affordable(month, backfill.estimate(month))
        with recorded_jobs() as jobs:
            done = backfill.write(month)
        return dg.MaterializeResult(
            metadata={
                "rows": done.rows,
                "dagster/partition_row_count": done.rows,
                "rows_changed": done.changed,
                "rows_of_other_writers": done.others,
                **cost_metadata(jobs),
            }
        )

    return feature_backfill
