"""`challengers`: other learners on the month's split, beside the model."""

from typing import Any

import dagster as dg
import pandas as pd

from nba_ml.contract.errors import SplitError
from nba_ml.contract.limits import PAGED_ROWS
from nba_ml.contract.systems import System
from nba_ml.data.snapshot import Snapshot
from nba_ml.data.split import SplitManifest
from nba_ml.data.tables import snapshot_schema
from nba_ml.defs.assets.recording import OWNERS, markdown_table, recorded
from nba_ml.defs.partitions import History, reads
from nba_ml.defs.reasons import fails_with_its_reason
from nba_ml.defs.resources import Compute
from nba_ml.model.challengers import ChallengerReport, measure_challengers
from nba_ml.model.fitting import fit, gather
from nba_ml.model.summary import gain_in_words
from nba_ml.model.train import SnapshotTables, by_pages
from nba_ml.model.values import TrainedModel
from nba_ml.storage.months import MonthByMonth

CODE_VERSION = "1"


def build(months: dg.MonthlyPartitionsDefinition, system: System) -> dg.AssetsDefinition:
    splits, models, snapshots = map(system.asset, ("train_split", "xgboost_model", "feature_store_snapshot"))
    columns = snapshot_schema(system.features).names  # without the parts beside the table

    @dg.asset(
        key=dg.AssetKey.from_user_string(system.asset("challengers")),
        partitions_def=months,
        group_name=system.group("evaluation"),
        kinds={"json"},
        owners=OWNERS,
        code_version=CODE_VERSION,
        ins={
            "train_split": reads(splits),
            "xgboost_model": reads(models),
            "feature_store_snapshot": reads(snapshots, History.SO_FAR, *columns, one_by_one=True),
        },
    )
    @fails_with_its_reason
    def challengers(
        context: dg.AssetExecutionContext,
        train_split: SplitManifest,
        xgboost_model: TrainedModel,
        feature_store_snapshot: Any,
        compute: dg.ResourceParam[Compute],
    ) -> dg.Output[Any]:
        """Ridge regression, LightGBM and CatBoost on the same split, measured on the same validation rows.

        The latter two where the extra `nba_ml[challengers]` is installed. Nothing is published of them: they
        tell whether the model's score is the rows' doing or the learner's.
        """
        history: MonthByMonth[Snapshot] = feature_store_snapshot
        if train_split.empty:
            report = ChallengerReport(results={})
        else:
            if by_pages(train_split, system.features):
                raise SplitError(
                    f"Challengers are trained in memory, on at most {PAGED_ROWS:,} rows; {context.partition_key} has "
                    f"{train_split.rows:,}. Compare them on an earlier month."
                )
            samples = gather(SnapshotTables(history), train_split, system.features)
            # Not the booster that is shipped: it has seen the validation rows, and they have not.
            sides = train_split.sides()
            train, stopping = (samples.between(sides[n].first, sides[n].last) for n in ("train", "early_stopping"))
            parameters = xgboost_model.report.parameters
            fitted = fit(train, stopping, parameters, system.features, compute.threads)
            report = measure_challengers(samples, train_split, fitted.booster, system.features, compute.threads)
        return recorded(
            report,
            code_version=CODE_VERSION,
            inputs={
                splits: {context.partition_key: train_split.digest},
                models: {context.partition_key: xgboost_model.digest},
                snapshots: history.digests(),
            },
            metadata={
                **{f"{name}_mae": result.metrics.mae for name, result in report.results.items()},
                **{f"gain_over_{name}": result.gain for name, result in report.results.items()},
                "not_installed": ", ".join(report.not_installed) or "none",
                **({"comparison": markdown_table(_comparison(report))} if report.results else {}),
            },
        )

    return challengers


def _comparison(report: ChallengerReport) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "challenger": name,
                "rows": result.metrics.n,
                "MAE": round(result.metrics.mae, 3),
                "xgboost's MAE": round(result.model_mae, 3),
                "95% interval": gain_in_words(result),
            }
            for name, result in report.results.items()
        ]
    )
