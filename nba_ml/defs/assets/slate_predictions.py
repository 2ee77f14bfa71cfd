"""`slate_predictions`: a date's players scored by whoever the channel lets serve."""

from datetime import UTC, datetime
from typing import Any

import dagster as dg
import pandas as pd
from pydantic import Field

from nba_ml.contract.systems import XGBOOST_V1, System
from nba_ml.data.tables import REPLAYED, SLATE_PREDICTIONS
from nba_ml.defs.assets.recording import OWNERS, column_schema, cost_metadata, markdown_table, materialised
from nba_ml.defs.internals import silence_preview_warnings
from nba_ml.defs.partitions import month_keys
from nba_ml.defs.reasons import fails_with_its_reason
from nba_ml.defs.resources import ArtifactRoot, Compute, Store
from nba_ml.registry.signed_store import current_only
from nba_ml.slates.operations import Predicted, PredictionTable, Sent, SlateContext, predict_slate, send_slate
from nba_ml.slates.rows import SlateRows
from nba_ml.slates.slate import RECOMMENDATIONS, highest_edges, served_counts
from nba_ml.slates.store import SlateStore
from nba_ml.sources.job_costs import recorded_jobs

CODE_VERSION = "2"

_EDGE_COLUMNS = ["player_lookup", "recommendation", "predicted_points", "model_points", "current_points_line"]
_EDGE_COLUMNS += ["line_margin", "over_probability", "side"]


class SlateConfig(dg.Config):
    """Where a slate goes besides the store, and whose it is if no table says so."""

    to_bigquery: bool = Field(default=False, description="Also write it into NBA_ML_PREDICTION_TABLE.")
    games: str = Field(
        default="",
        description="The games of a date without results, if the embedded source has no schedule: BOS@NYK,LAL@DEN.",
    )


def days_of(months: dg.MonthlyPartitionsDefinition, *, scheduled: bool = False) -> dg.DailyPartitionsDefinition:
    """Every day of the months, to the end of the last; where they go on with the calendar, to today.

    `scheduled`: the source has a schedule, so that today may have games of which no month has a box score yet. July to
    September are left out, unless games were played in one of them.
    """
    whole = months.end is not None and not scheduled
    return dg.DailyPartitionsDefinition(
        start_date=f"{month_keys(months)[0]}-01",
        end_date=months.end if whole else None,
        end_offset=0 if whole else 1,  # Dagster's own last partition is the last day that is over
        exclusions=None if any(month[5:] in ("07", "08", "09") for month in month_keys(months)) else ["0 0 * 7-9 *"],
    )


def build(
    months: dg.MonthlyPartitionsDefinition, system: System = XGBOOST_V1, *, scheduled: bool = False
) -> dg.AssetsDefinition:
    with silence_preview_warnings():
        features = dg.AssetKey.from_user_string(system.asset("ml_feature_store_v2"))
        month_of_day = dg.TimeWindowPartitionMapping(allow_nonexistent_upstream_partitions=True)

    @dg.asset(
        partitions_def=days_of(months, scheduled=scheduled),
        group_name="release",
        kinds={"parquet"},
        owners=OWNERS,
        code_version=CODE_VERSION,
        deps=[
            dg.AssetDep(features, partition_mapping=month_of_day),
            "champion",
        ],
        metadata={"dagster/column_schema": column_schema(SLATE_PREDICTIONS)},
    )
    @fails_with_its_reason
    def slate_predictions(
        context: dg.AssetExecutionContext,
        config: SlateConfig,
        artifact_root: dg.ResourceParam[ArtifactRoot],
        store: dg.ResourceParam[Store],
        compute: dg.ResourceParam[Compute],
        slate_rows: dg.ResourceParam[SlateRows],
        prediction_table: dg.ResourceParam[PredictionTable],
    ) -> dg.MaterializeResult[None]:
        """The slate of a date, scored before its games by the champion and, on its share, the challenger.

        The other of the two is scored in shadow. Rows that break the feature contract are set aside with their
        reason. Every version is kept; the newest of those made before the games counts when it is graded.
        """
        slates = SlateStore(store.months().objects)
        slate_context = SlateContext(current_only(artifact_root.objects()), slate_rows, slates, compute.threads)
        day = datetime.fromisoformat(context.partition_key).date()
        with recorded_jobs() as jobs:
            done = predict_slate(slate_context, day, datetime.now(UTC), config.games)
            sent = _sent_facts(send_slate(prediction_table, slates, done.kept), done) if config.to_bigquery else {}
        return materialised(done.kept.slate.digest, {**_facts(done), **sent, **cost_metadata(jobs)})

    return slate_predictions


def _sent_facts(sent: Sent, done: Predicted) -> dict[str, Any]:
    active = done.kept if sent.current is None else sent.current[0]
    return {
        "bigquery_table": sent.written.table,
        "bigquery_rows": sent.written.rows,
        "bigquery_active_version": active.number,
    }


def _facts(done: Predicted) -> dict[str, Any]:
    slate, report = done.kept.slate, done.kept.slate.report
    recommended = {name: sum(counts.get(name, 0) for _, _, counts in served_counts(slate)) for name in RECOMMENDATIONS}
    facts: dict[str, Any] = {
        "rows": report.rows,
        "dagster/partition_row_count": slate.table.num_rows,
        "served": report.served,
        "shadow": report.shadow,
        "early_season": report.early_season,
        "set_aside": len(report.set_aside),
        **{f"served_by_{side}": sum(counts.values()) for side, _, counts in served_counts(slate)},
        **{f"recommended_{name.lower()}": count for name, count in recommended.items()},
        "champion": report.champion.model_version,
        "challenger": report.challenger.model_version if report.challenger else "none",
        "channel_serial": report.channel_serial,
        "version": done.kept.number,
        "counts": done.is_current,
        "made": slate.made,
        "replayed": slate.made == REPLAYED,
        "created_at": dg.MetadataValue.timestamp(slate.created_at),
        "dagster/uri": done.kept.uri,
        **({"made_from": list(done.notes)} if done.notes else {}),
    }
    edges = highest_edges(slate).select(_EDGE_COLUMNS).to_pandas()
    if len(edges):
        facts["highest_edges"] = markdown_table(edges)
    if report.set_aside:
        reasons = pd.DataFrame(report.set_aside_by_reason.items(), columns=["reason", "rows"])
        facts["set_aside_by_reason"] = markdown_table(reasons)
    return facts
