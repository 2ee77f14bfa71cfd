"""`slate_grades`: what was served in a month, against what happened."""

from typing import Any

import dagster as dg

from nba_ml.contract.systems import XGBOOST_V1, System
from nba_ml.data.tables import SLATE_GRADES
from nba_ml.defs.assets.recording import OWNERS, column_schema, markdown_table, market_facts, materialised
from nba_ml.defs.internals import silence_preview_warnings
from nba_ml.defs.partitions import one_month
from nba_ml.defs.reasons import fails_with_its_reason
from nba_ml.defs.resources import Store
from nba_ml.slates.grades import SlateGradeReport, compared_frame, grades_frame
from nba_ml.slates.operations import grade_month_of_slates
from nba_ml.slates.store import SlateStore

CODE_VERSION = "1"


def build(months: dg.MonthlyPartitionsDefinition, system: System = XGBOOST_V1) -> dg.AssetsDefinition:
    with silence_preview_warnings():
        days_of_month = dg.TimeWindowPartitionMapping(allow_nonexistent_upstream_partitions=True)

    @dg.asset(
        partitions_def=months,
        group_name="release",
        kinds={"parquet"},
        owners=OWNERS,
        code_version=CODE_VERSION,
        deps=[
            dg.AssetDep("slate_predictions", partition_mapping=days_of_month),
            dg.AssetKey.from_user_string(system.asset("feature_store_snapshot")),
        ],
        metadata={"dagster/column_schema": column_schema(SLATE_GRADES)},
    )
    @fails_with_its_reason
    def slate_grades(context: dg.AssetExecutionContext, store: dg.ResourceParam[Store]) -> dg.MaterializeResult[None]:
        """The slates of a month, as they were kept, graded against its results.

        Champion and challenger, served and in shadow, apart; what was made before tip-off apart from what was
        replayed, and from what may have been. A player who did not play is void. A date without results yet waits.
        """
        slates, month = SlateStore(store.months().objects), one_month(context, months)
        grades = grade_month_of_slates(store.months(), slates, month)
        return materialised(grades.digest, {**_facts(grades.report), "dagster/uri": slates.grades_uri(month)})

    return slate_grades


def _facts(report: SlateGradeReport) -> dict[str, Any]:
    graded = sum(grade.metrics.n for grade in report.grades if grade.metrics)
    facts: dict[str, Any] = {
        "rows": graded,
        "dagster/partition_row_count": graded,
        "dates": report.dates,
        "replayed_dates": report.replayed_dates,
        "tip_off_unknown_dates": report.unknown_dates,
        "waiting_dates": len(report.waiting),
    }
    if report.note:
        return {**facts, "note": report.note}
    for grade in report.served:
        made = grade.made.replace("-", "_").replace(" ", "_")
        facts[f"void_{made}"] = grade.void
        if grade.metrics is not None:
            facts[f"mae_{made}"] = grade.metrics.mae
        if grade.hit_rate is not None:
            facts |= {f"hit_rate_{made}": grade.hit_rate.share, f"bets_{made}": grade.hit_rate.n}
        facts |= {f"{name}_{made}": value for name, value in market_facts(grade.market).items()}
    facts["grades"] = markdown_table(grades_frame(report))
    if report.compared:
        facts["compared"] = markdown_table(compared_frame(report))
    return facts
