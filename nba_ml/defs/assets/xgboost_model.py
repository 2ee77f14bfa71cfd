"""`xgboost_model`: the booster trained on everything up to and including the month."""

import time
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
from pydantic import create_model

from nba_ml.contract.systems import System
from nba_ml.data.snapshot import Snapshot
from nba_ml.data.split import SplitManifest
from nba_ml.data.tables import snapshot_schema
from nba_ml.defs.assets.recording import OWNERS, in_parts, markdown_table, picture, recorded
from nba_ml.defs.partitions import History, reads
from nba_ml.defs.reasons import fails_with_its_reason
from nba_ml.defs.resources import Compute, Store
from nba_ml.evaluation.report.addresses import card_address, picture_address
from nba_ml.evaluation.report.charts import TITLES, misses_table, over_table, residual_table
from nba_ml.evaluation.report.tables import plain
from nba_ml.model.fitting import Hyperparameters
from nba_ml.model.record import TrainingReport
from nba_ml.model.summary import by_tier, comparison
from nba_ml.model.train import Memory, train
from nba_ml.registry.fresh_process import start_early
from nba_ml.storage.months import MonthByMonth

CODE_VERSION = "3"

TRAINING_POOL = "training"
"""Dagster's pool of the step that takes a machine's cores and memory, so that a limit can be set for it alone."""

# The launchpad's form is the hyperparameters, field for field.
TrainingConfig: Any = create_model(
    "TrainingConfig",
    __base__=dg.Config,
    **{name: (field.annotation, field) for name, field in Hyperparameters.model_fields.items()},  # type: ignore[call-overload]
)


def build(months: dg.MonthlyPartitionsDefinition, system: System) -> dg.AssetsDefinition:
    splits, snapshots = system.asset("train_split"), system.asset("feature_store_snapshot")
    columns = snapshot_schema(system.features).names  # without the parts beside the table

    @dg.asset(
        key=dg.AssetKey.from_user_string(system.asset("xgboost_model")),
        partitions_def=months,
        group_name=system.group("training"),
        kinds={"xgboost"},
        owners=OWNERS,
        code_version=CODE_VERSION,
        pool=TRAINING_POOL,
        ins={
            "train_split": reads(splits),
            "feature_store_snapshot": reads(snapshots, History.SO_FAR, *columns, one_by_one=True),
        },
    )
    @fails_with_its_reason
    def xgboost_model(
        context: dg.AssetExecutionContext,
        config: TrainingConfig,
        train_split: SplitManifest,
        feature_store_snapshot: Any,
        compute: dg.ResourceParam[Compute],
        store: dg.ResourceParam[Store],
    ) -> dg.Output[Any]:
        """XGBoost on absolute error, trained on every month so far.

        Fitted on the split's train side, stopped on its early-stopping side, cut to its best
        iteration and measured on validation; then fitted anew on all rows with as many trees, and that
        is what ships. The same rows give the same bytes, whatever the machine's threads. With NBA_ML_DASK the
        workers of a cluster fit, and their number decides the bytes.
        """
        parameters = Hyperparameters(**config.model_dump())
        started = time.perf_counter()
        history: MonthByMonth[Snapshot] = feature_store_snapshot
        memory = Memory(compute.rows_in_memory, Path(compute.scratch) if compute.scratch else None)
        engine = compute.engine(store.root, system)
        # The record's check predicts in a new process: it imports while this one measures the model.
        model = train(train_split, history, parameters, system.features, compute.threads, memory, engine, start_early)
        seconds = time.perf_counter() - started
        report = model.report
        return recorded(
            model,
            code_version=CODE_VERSION,
            inputs={
                splits: {context.partition_key: train_split.digest},
                snapshots: history.digests(),
            },
            outside={"parameters": parameters.digest},
            metadata={
                "rows": report.split.rows,
                "fit_seconds": round(seconds, 3),
                **_facts(report, system, context.partition_key),
            },
        )

    return xgboost_model


def _facts(report: TrainingReport, system: System, month: str) -> dict[str, Any]:
    """The numbers under stable keys, so that the UI can plot them over months."""
    judgement = report.judgement
    if judgement is None:
        return {"note": "no sample up to this month, so no model: every row so far is early season"}
    season = judgement.baselines.get("season_average")
    return {
        "validation_mae": judgement.validation.mae,
        "validation_mae_low": judgement.validation_mae_interval.low,
        "validation_mae_high": judgement.validation_mae_interval.high,
        "validation_bias": judgement.validation.bias,
        "results_above_prediction": judgement.above_prediction,
        "interval_coverage": judgement.published_coverage.overall.inside,
        "train_mae": judgement.train.mae,
        **({"season_mae": season.metrics.mae, "gain_over_season": season.gain} if season else {}),
        "best_iteration": report.best_iteration,
        "model_sha256": in_parts(report.model_sha256 or ""),
        "measured_sha256": in_parts(report.measured_sha256 or ""),
        "refit_distance": judgement.refit_distance,
        **({"trained_by": f"{report.engine.workers} workers of Dask"} if report.engine else {}),
        # The model's row has its error. Dagit cuts off what is wider than the page.
        "comparison": markdown_table(comparison(judgement).drop(columns="model's MAE")),
        **pictures(report, system, month),
    }


def pictures(report: TrainingReport, system: System, month: str) -> dict[str, Any]:
    """Pictures of a month's model with their numbers; each is short enough to be shown without a click."""
    judgement, diagnosis = report.judgement, report.diagnosis
    if judgement is None or diagnosis is None:
        return {}
    gain = [(name, round(share, 4)) for name, share in report.importance.items() if share > 0]
    frames = {
        "importance": pd.DataFrame(gain[:8], columns=["feature", "share of gain"]),
        "tiers": by_tier(judgement),
        "residuals": plain(residual_table(diagnosis)).drop(columns=["mean residual", "inside the interval"]),
        "interval": None,
        **({"over_probability": plain(over_table(diagnosis))} if diagnosis.over else {}),
    }
    misses = plain(misses_table(diagnosis.misses))
    misses["player"] += " " + misses.pop("date")
    del misses["missed by"]  # the page has no room for it beside the longest names
    return {
        **{name: picture(TITLES[name], picture_address(month, name, system), frame) for name, frame in frames.items()},
        "largest_misses": markdown_table(misses),
        "card": dg.MetadataValue.md(f"[The model card]({card_address(month, system)})"),
    }
