"""`feature_backfill`: a month's features, computed in BigQuery into the feature table."""

import dagster as dg

from nba_ml.defs.assets.recording import OWNERS, cost_metadata
from nba_ml.defs.reasons import fails_with_its_reason
from nba_ml.sources.feature_backfill import BigQueryFeatureBackfill
from nba_ml.sources.job_costs import recorded_jobs
from nba_ml.sources.month_rows import SUMMARY


def build(months: dg.MonthlyPartitionsDefinition) -> dg.AssetsDefinition:
    @dg.asset(
        partitions_def=months,
        group_name="feature_store",
        kinds={"bigquery"},
        owners=OWNERS,
        code_version="1",
        deps=[SUMMARY],
    )
    @fails_with_its_reason
    def feature_backfill(
        context: dg.AssetExecutionContext, feature_backfill: dg.ResourceParam[BigQueryFeatureBackfill]
    ) -> dg.MaterializeResult[None]:
        """A month's features, computed in BigQuery from its box scores and merged into NBA_ML_FEATURE_TABLE.

        There only with NBA_ML_BIGQUERY_FEATURES=computed. Rows of other writers are not changed, and rows that are as
        they should be are not written. Observe ml_feature_store_v2 afterwards. No schedule runs it.
        """
        month = context.partition_key
        feature_backfill.require_affordable(month, feature_backfill.estimate(month))
        with recorded_jobs() as jobs:
            done = feature_backfill.write(month)
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
