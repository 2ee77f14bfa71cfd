"""`ml_feature_store_v2`: the feature backfill, from games strictly before each date."""

from datetime import UTC, datetime
from typing import Any

import dagster as dg
import numpy as np
import pyarrow as pa

from nba_ml.contract.features import NOT_IN_BOX_SCORES
from nba_ml.contract.season import month_bounds
from nba_ml.contract.systems import System
from nba_ml.data.features import compute_features, features_code_digest, match_lines
from nba_ml.data.lines import FeatureMonth, LineCounts
from nba_ml.data.reports import NO_REPORTS, StandingReports
from nba_ml.data.table_digest import DigestedTable, table_digest
from nba_ml.data.tables import ML_FEATURE_STORE_V2
from nba_ml.defs.assets.recording import OWNERS, column_schema, digests, lines_metadata, recorded
from nba_ml.defs.partitions import History, reads
from nba_ml.defs.reasons import fails_with_its_reason
from nba_ml.defs.resources import Compute
from nba_ml.sources.embedded import EmbeddedFeatureSource
from nba_ml.sources.month_rows import FEATURES

_WRITTEN_AT = ("created_at", "updated_at")


def build(months: dg.MonthlyPartitionsDefinition, system: System) -> dg.AssetsDefinition:
    version = system.features
    # Follows the SQL and the contract: an edited query makes every month out of date.
    code_version = f"2-{features_code_digest(version)[:12]}"
    absent = [name for name in NOT_IN_BOX_SCORES if name in version.names]

    @dg.asset(
        key=dg.AssetKey.from_user_string(system.asset(FEATURES)),
        partitions_def=months,
        group_name=system.group("feature_store"),
        kinds={"duckdb"},
        owners=OWNERS,
        code_version=code_version,
        ins={"player_game_summary": reads("player_game_summary", History.SO_FAR)},
        metadata={"dagster/column_schema": column_schema(ML_FEATURE_STORE_V2)},
        description=f"The feature store: {version.count} features per player-game (`{version.name}`), from "
        f"games strictly before the date. Box scores cannot give {', '.join(absent)}: those are NaN.",
    )
    @fails_with_its_reason
    def ml_feature_store_v2(
        context: dg.AssetExecutionContext,
        player_game_summary: dict[str, DigestedTable],
        feature_source: dg.ResourceParam[EmbeddedFeatureSource],
        compute: dg.ResourceParam[Compute],
    ) -> dg.Output[Any]:
        month = context.partition_key
        outside = {"lines": feature_source.lines_fingerprint(month)}
        history = pa.concat_tables([part.table for part in player_game_summary.values()])
        lines, late = feature_source.prop_lines(month), feature_source.late_lines(month)
        reports = None
        if version.reads_reports:
            outside["reports"] = feature_source.reports.fingerprint(month)
            reports = feature_source.reports.of_month(month, history)
        table = compute_features(
            history,
            lines,
            *month_bounds(month),
            computed_at=datetime.now(UTC),
            version=version,
            reports=NO_REPORTS if reports is None else reports.table,
            threads=compute.threads,
        )
        counts = LineCounts.of(match_lines(history, lines, *month_bounds(month)))
        quality = table.column("feature_quality_score").cast(pa.float64()).to_numpy()
        return recorded(
            FeatureMonth(
                table, table_digest(table, without=_WRITTEN_AT), counts, None if reports is None else reports.table
            ),
            code_version=code_version,
            inputs={"player_game_summary": digests(player_game_summary)},
            outside=outside,
            metadata={
                "rows": table.num_rows,
                "dagster/partition_row_count": table.num_rows,
                "mean_quality": round(float(np.mean(quality)), 2) if len(quality) else 0.0,
                "early_season_rows": table.column("early_season_flag").to_numpy().sum().item(),
                **lines_metadata(counts),
                **({"lines_after_tip_off": late} if late else {}),
                **(_reports_metadata(reports) if reports is not None else {}),
            },
        )

    return ml_feature_store_v2


def _reports_metadata(reports: StandingReports) -> dict[str, int]:
    return {
        "reports": reports.table.num_rows - reports.table["player_lookup"].null_count,
        "reports_after_the_cut_off": reports.late,
        "reports_of_no_known_team": reports.of_no_team,
    }
