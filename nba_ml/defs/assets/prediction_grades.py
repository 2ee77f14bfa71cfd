"""`prediction_grades`: the month's predictions against what happened."""

from typing import Any

import dagster as dg

from nba_ml.contract.systems import System
from nba_ml.data.snapshot import Snapshot
from nba_ml.data.tables import PREDICTION_GRADES
from nba_ml.defs.assets.recording import OWNERS, column_schema, cost_metadata, markdown_table, market_facts, recorded
from nba_ml.defs.partitions import reads
from nba_ml.defs.reasons import fails_with_its_reason
from nba_ml.defs.resources import Store
from nba_ml.evaluation.grades import Breakdown, GradeReport, grade_month
from nba_ml.evaluation.predictions import MonthPredictions
from nba_ml.evaluation.stored import GRADES
from nba_ml.evaluation.walk_forward import summary_table
from nba_ml.sources.job_costs import recorded_jobs
from nba_ml.sources.month_prices import MonthPrices

CODE_VERSION = "3"


def build(months: dg.MonthlyPartitionsDefinition, system: System) -> dg.AssetsDefinition:
    predicted, snapshots = system.asset("predictions"), system.asset("feature_store_snapshot")

    @dg.asset(
        key=dg.AssetKey.from_user_string(system.asset("prediction_grades")),
        partitions_def=months,
        group_name=system.group("evaluation"),
        kinds={"parquet"},
        owners=OWNERS,
        code_version=CODE_VERSION,
        ins={"predictions": reads(predicted), "feature_store_snapshot": reads(snapshots)},
        metadata={"dagster/column_schema": column_schema(PREDICTION_GRADES)},
    )
    @fails_with_its_reason
    def prediction_grades(
        context: dg.AssetExecutionContext,
        predictions: MonthPredictions,
        feature_store_snapshot: Snapshot,
        store: dg.ResourceParam[Store],
        line_prices: dg.ResourceParam[MonthPrices],
    ) -> dg.Output[Any]:
        """The month's predictions graded against what happened: the only truth that no training has seen.

        Errors, gains on the averages and the mock on the same rows, bets against the line, coverage of the
        interval; whole, by tier, venue, rest and month of the season, with n and intervals. Over probabilities
        against a coin and, where lines have prices, the market. A player who did not play is void. A month that
        is not played yet has no row, and says so.
        """
        month = context.partition_key
        with recorded_jobs() as jobs:
            prices, outside = line_prices.read(month, predictions.table)
        graded = grade_month(predictions, feature_store_snapshot, month, system.features, prices)
        return recorded(
            graded,
            code_version=CODE_VERSION,
            inputs={
                predicted: {month: predictions.digest},
                snapshots: {month: feature_store_snapshot.digest},
            },
            outside=outside,
            metadata={
                **_facts(graded.report),
                **cost_metadata(jobs),
                "dagster/uri": store.months().uri(GRADES.of(system), month),
            },
        )

    return prediction_grades


def _facts(report: GradeReport) -> dict[str, Any]:
    """The numbers under stable keys, so that the UI can plot them over months, or why there is none."""
    facts: dict[str, Any] = {
        "rows": report.graded,
        "dagster/partition_row_count": report.graded,
        "void": report.void,
        "without_result": report.without_result,
    }
    if report.breakdown is None:
        return {**facts, "note": report.note}
    numbers = {**_numbers(report.breakdown), **market_facts(report.market), **_model_facts(report)}
    return {**facts, **numbers, **_tables(report.breakdown)}


def _numbers(breakdown: Breakdown) -> dict[str, Any]:
    overall = breakdown.overall
    season, line = overall.baselines.get("season_average"), overall.against_line
    facts: dict[str, Any] = {
        "mae": overall.metrics.mae,
        "mae_low": overall.mae_interval.low,
        "mae_high": overall.mae_interval.high,
        "rmse": overall.metrics.rmse,
        "bias": overall.metrics.bias,
        "within_3": overall.metrics.within_3,
        "within_5": overall.metrics.within_5,
        "interval_coverage": overall.coverage.inside,
    }
    if season is not None:
        facts |= {
            "season_mae": season.metrics.mae,
            "gain_over_season": season.gain,
            "gain_over_season_low": season.gain_interval.low,
            "gain_over_season_high": season.gain_interval.high,
        }
    if line is not None:
        if line.own is not None:
            facts["line_own_mae"] = line.own.metrics.mae
        facts |= {"line_rows": line.n, "line_mae": line.line.metrics.mae, "line_bias": line.bias, "pushes": line.pushes}
        if line.hit_rate is not None:
            rate = line.hit_rate
            facts |= {"bets": rate.n, "hit_rate": rate.share, "hit_rate_low": rate.low, "hit_rate_high": rate.high}
    return facts


def _model_facts(report: GradeReport) -> dict[str, Any]:
    if report.model is None:
        return {}
    return {"model_version": report.model.model_version, "promised_mae": report.model.validation.mae}


def _tables(breakdown: Breakdown) -> dict[str, Any]:
    return {
        "overall": markdown_table(summary_table({"all": breakdown.overall}, "rows")),
        **{
            f"by_{dimension.replace(' ', '_')}": markdown_table(summary_table(slices, dimension))
            for dimension, slices in breakdown.by.items()
        },
    }
