"""`xgboost_model`: the booster trained on everything up to and including the month."""

import time
from typing import Any

import dagster as dg
import pandas as pd
from pydantic import create_model

from nba_ml.contract.digest import json_digest
from nba_ml.contract.features import V2_33FEATURES
from nba_ml.data.snapshot import Snapshot
from nba_ml.data.split import SplitManifest
from nba_ml.defs.assets.recording import OWNERS, digests, markdown_table, recorded
from nba_ml.defs.io_manager import BY_MONTH
from nba_ml.defs.partitions import every_month_so_far
from nba_ml.defs.resources import Compute
from nba_ml.model.record import Judgement, TrainingReport, report_training
from nba_ml.model.training import Hyperparameters, fit, fit_all, gather
from nba_ml.model.values import TrainedModel

CODE_VERSION = "3"

# The launchpad's form is the hyperparameters, field for field: written once, in core.
TrainingConfig: Any = create_model(
    "TrainingConfig",
    __base__=dg.Config,
    **{name: (field.annotation, field) for name, field in Hyperparameters.model_fields.items()},  # type: ignore[call-overload]
)


def parameters_digest(parameters: Hyperparameters) -> str:
    """What the parameters add to the inputs of a model."""
    return json_digest(parameters.model_dump(mode="json"))


def build(months: dg.MonthlyPartitionsDefinition) -> dg.AssetsDefinition:
    @dg.asset(
        partitions_def=months,
        group_name="training",
        kinds={"xgboost"},
        owners=OWNERS,
        code_version=CODE_VERSION,
        ins={
            "feature_store_snapshot": dg.AssetIn(
                partition_mapping=every_month_so_far(months), metadata={BY_MONTH: True}
            ),
        },
    )
    def xgboost_model(
        context: dg.AssetExecutionContext,
        config: TrainingConfig,
        train_split: SplitManifest,
        feature_store_snapshot: dict[str, Snapshot],
        compute: dg.ResourceParam[Compute],
    ) -> dg.Output[Any]:
        """XGBoost on absolute error, trained on every month so far.

        Fitted on the split's train side, stopped on its early-stopping side, cut to its best
        iteration and measured on validation; then fitted anew on all rows with as many trees, and that
        is what ships. The same rows give the same bytes, whatever the machine's threads.
        """
        parameters = Hyperparameters(**config.model_dump())
        model, fit_seconds = _train(parameters, train_split, feature_store_snapshot, compute.threads)
        report = model.report
        return recorded(
            model,
            code_version=CODE_VERSION,
            inputs={
                "train_split": {context.partition_key: train_split.digest},
                "feature_store_snapshot": digests(feature_store_snapshot),
            },
            outside={"parameters": parameters_digest(parameters)},
            metadata={"rows": report.split.rows, "fit_seconds": round(fit_seconds, 3), **_facts(report)},
        )

    return xgboost_model


def _train(
    parameters: Hyperparameters, split: SplitManifest, snapshots: dict[str, Snapshot], threads: int | None
) -> tuple[TrainedModel, float]:
    """The model and the seconds that fitting took; no model while there is no sample."""
    if split.empty:
        report = TrainingReport(split=split, parameters=parameters, feature_version=V2_33FEATURES.name)
        return TrainedModel(report, None), 0.0
    samples = gather({month: snapshot.table for month, snapshot in snapshots.items()}, split, V2_33FEATURES)
    sides = split.sides()
    train, early_stopping = (samples.between(sides[n].first, sides[n].last) for n in ("train", "early_stopping"))
    started = time.perf_counter()
    fitted = fit(train, early_stopping, parameters, V2_33FEATURES, threads)
    rounds = fitted.best_iteration + 1
    shipped = fit_all(samples, rounds, parameters, V2_33FEATURES, threads) if parameters.refit else fitted.booster
    seconds = time.perf_counter() - started
    report = report_training(fitted, shipped, samples, split, parameters, V2_33FEATURES, threads)
    return TrainedModel(report, shipped), seconds


def _facts(report: TrainingReport) -> dict[str, Any]:
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
        "interval_coverage": judgement.coverage.overall.inside,
        "train_mae": judgement.train.mae,
        **({"season_mae": season.metrics.mae, "gain_over_season": season.gain} if season else {}),
        "best_iteration": report.best_iteration,
        "model_sha256": report.model_sha256,
        "measured_sha256": report.measured_sha256,
        "refit_distance": judgement.refit_distance,
        "comparison": markdown_table(comparison(judgement)),
        "tiers": markdown_table(by_tier(judgement)),
        "importance": markdown_table(
            pd.DataFrame(
                [(n, round(s, 4)) for n, s in report.importance.items() if s > 0], columns=["feature", "share of gain"]
            )
        ),
    }


def comparison(judgement: Judgement) -> pd.DataFrame:
    """The model and its baselines on the validation rows, one row each; the model's own MAE on the rows of each."""
    ours, interval = judgement.validation, judgement.validation_mae_interval
    rows: list[dict[str, Any]] = [
        {
            "predictor": "xgboost",
            "rows": ours.n,
            "MAE": ours.mae,
            "model's MAE": ours.mae,
            "95% interval": f"{interval.low:.3f} to {interval.high:.3f}",
        }
    ]
    for name, result in judgement.baselines.items():
        gain = result.gain_interval
        verb = "better" if result.gain >= 0 else "worse"
        low, high = (gain.low, gain.high) if result.gain >= 0 else (-gain.high, -gain.low)
        rows.append(
            {
                "predictor": name,
                "rows": result.metrics.n,
                "MAE": result.metrics.mae,
                "model's MAE": result.model_mae,
                "95% interval": f"model {verb} by {abs(result.gain):.3f} ({low:.3f} to {high:.3f})",
            }
        )
    return pd.DataFrame(rows).round(3)


def by_tier(judgement: Judgement) -> pd.DataFrame:
    """The validation rows by tier of season average: error, bias, and how much the 80% interval holds."""
    coverage = judgement.coverage.tiers
    rows = [
        {
            "season average": name,
            "rows": tier.n,
            "MAE": tier.mae,
            "bias": tier.bias,
            "in interval": coverage[name].inside,
        }
        for name, tier in judgement.tiers.items()
    ]
    return pd.DataFrame(rows).round(3)
