"""`platform_grades`: what the platform's own systems predicted in a month, beside ours."""

from typing import Any

import dagster as dg

from nba_ml.defs.assets.recording import OWNERS, cost_metadata, markdown_table, materialised
from nba_ml.defs.partitions import one_month
from nba_ml.defs.reasons import fails_with_its_reason
from nba_ml.defs.resources import Store
from nba_ml.slates.platform import PlatformPredictions, grade_platform_months
from nba_ml.slates.platform_grades import PlatformReport, left_out_lines, paired_frame, platform_frame
from nba_ml.slates.store import SlateStore
from nba_ml.sources.job_costs import recorded_jobs

CODE_VERSION = "1"

OFF = (
    "NBA_ML_PLATFORM_SYSTEMS is not set, so nothing was read. Set it to the system_ids of the platform's systems in "
    "NBA_ML_PREDICTION_TABLE, with commas between them, and materialise the month again."
)


def build(months: dg.MonthlyPartitionsDefinition) -> dg.AssetsDefinition:
    @dg.asset(
        partitions_def=months,
        group_name="evaluation",
        kinds={"parquet", "bigquery"},
        owners=OWNERS,
        code_version=CODE_VERSION,
        deps=["prediction_grades", "feature_store_snapshot"],
    )
    @fails_with_its_reason
    def platform_grades(
        context: dg.AssetExecutionContext,
        store: dg.ResourceParam[Store],
        platform_predictions: dg.ResourceParam[PlatformPredictions],
    ) -> dg.MaterializeResult[None]:
        """What the platform's own systems predicted in a month, graded beside ours on the same player-games.

        The systems are those of NBA_ML_PLATFORM_SYSTEMS; off while that is empty. One query: of each player, game and
        system the newest active row counts. Placeholders (a line of exactly 20.0) and invalidated rows are left out
        and counted. A promotion or a rollout can name such a system as the one to beat.
        """
        if not platform_predictions.systems:
            return dg.MaterializeResult(metadata={"note": OFF})
        months_store, month = store.months(), one_month(context, months)
        with recorded_jobs() as jobs:
            grades = grade_platform_months(
                months_store,
                SlateStore(months_store.objects),
                platform_predictions,
                [month],
                platform_predictions.systems,
            )
        return materialised(grades.digest, {**_facts(grades.report), **cost_metadata(jobs)})

    return platform_grades


def _facts(report: PlatformReport) -> dict[str, Any]:
    graded = sum(grade.metrics.n for grade in report.grades if grade.metrics)
    facts: dict[str, Any] = {
        "rows": graded,
        "dagster/partition_row_count": graded,
        "systems": ", ".join(report.systems),
    }
    if report.grades:
        facts["grades"] = markdown_table(platform_frame(report))
    if report.paired:
        facts["compared"] = markdown_table(paired_frame(report))
    if notes := list(left_out_lines(report)):
        facts["left_out"] = notes
    return facts
