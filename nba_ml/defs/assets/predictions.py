"""`predictions`: the month as the model of the month before would have called it."""

from typing import Any

import dagster as dg
import pyarrow.compute as pc

from nba_ml.contract.systems import System
from nba_ml.data.snapshot import Snapshot
from nba_ml.data.tables import PREDICTIONS
from nba_ml.defs.assets.recording import OWNERS, column_schema, cost_metadata, digests, recorded
from nba_ml.defs.partitions import History, reads
from nba_ml.defs.reasons import fails_with_its_reason
from nba_ml.defs.resources import Compute, Store
from nba_ml.evaluation import stored
from nba_ml.evaluation.predictions import MonthPredictions, make_predictions
from nba_ml.model.values import TrainedModel
from nba_ml.sources.job_costs import recorded_jobs
from nba_ml.sources.month_prices import MonthPrices

CODE_VERSION = "3"


def build(months: dg.MonthlyPartitionsDefinition, system: System) -> dg.AssetsDefinition:
    models, snapshots = system.asset("xgboost_model"), system.asset("feature_store_snapshot")

    @dg.asset(
        key=dg.AssetKey.from_user_string(system.asset("predictions")),
        partitions_def=months,
        group_name=system.group("evaluation"),
        kinds={"parquet"},
        owners=OWNERS,
        code_version=CODE_VERSION,
        ins={"xgboost_model": reads(models, History.BEFORE), "feature_store_snapshot": reads(snapshots)},
        metadata={"dagster/column_schema": column_schema(PREDICTIONS)},
    )
    @fails_with_its_reason
    def predictions(
        context: dg.AssetExecutionContext,
        xgboost_model: dict[str, TrainedModel],
        feature_store_snapshot: Snapshot,
        compute: dg.ResourceParam[Compute],
        store: dg.ResourceParam[Store],
        line_prices: dg.ResourceParam[MonthPrices],
    ) -> dg.Output[Any]:
        """The month scored by the model of the month before, in the prediction worker's format.

        Points with two decimals, the 10-90% interval, the probability of going over the line, and what to
        do about it: at the price of the line, or at odds of -110 where it has none. The first month has no
        model before it, and no rows; nor has a month without samples.
        """
        month = context.partition_key
        # None before the first month; a month that should have been trained and was not is an error.
        model = next(iter(xgboost_model.values()), None)
        made = make_predictions(feature_store_snapshot, model, month, system, compute.threads)
        with recorded_jobs() as jobs:
            prices, outside = line_prices.read(month, made.table)
        made = made.at_prices(prices)
        return recorded(
            made,
            code_version=CODE_VERSION,
            inputs={
                models: digests(xgboost_model),
                snapshots: {month: feature_store_snapshot.digest},
            },
            outside=outside,
            metadata={
                **_facts(made),
                **cost_metadata(jobs),
                "dagster/uri": store.months().uri(stored.PREDICTIONS.of(system), month),
            },
        )

    return predictions


def _facts(made: MonthPredictions) -> dict[str, Any]:
    """What was predicted, in numbers, or why nothing was."""
    rows = made.table.num_rows
    facts: dict[str, Any] = {"rows": rows, "dagster/partition_row_count": rows}
    if made.model is None:
        return {**facts, "note": "no model of an earlier month, so no prediction"}
    facts |= {"model_version": made.model.model_version, "model_newest_month": made.model.newest_month}
    if not rows:
        return {**facts, "note": "no samples in this month: its rows are early season, or not played yet"}
    recommended = {
        entry["values"]: entry["counts"] for entry in made.table.column("recommendation").value_counts().to_pylist()
    }
    return {
        **facts,
        "mean_predicted_points": round(pc.mean(made.table.column("predicted_points")).as_py(), 4),
        "mean_confidence": round(pc.mean(made.table.column("confidence_score")).as_py(), 2),
        **{f"recommended_{name.lower()}": recommended.get(name, 0) for name in ("OVER", "UNDER", "PASS", "NO_LINE")},
    }
