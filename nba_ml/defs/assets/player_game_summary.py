"""`player_game_summary`: the month's box scores, validated, in the platform's form."""

from typing import Any

import dagster as dg

from nba_ml.data.table_digest import DigestedTable, table_digest
from nba_ml.data.tables import PLAYER_GAME_SUMMARY
from nba_ml.defs.assets.recording import OWNERS, column_schema, recorded
from nba_ml.sources.embedded import EmbeddedFeatureSource

CODE_VERSION = "1"


def build(months: dg.PartitionsDefinition) -> dg.AssetsDefinition:
    @dg.asset(
        partitions_def=months,
        group_name="feature_store",
        kinds={"parquet"},
        owners=OWNERS,
        code_version=CODE_VERSION,
        metadata={"dagster/column_schema": column_schema(PLAYER_GAME_SUMMARY)},
    )
    def player_game_summary(
        context: dg.AssetExecutionContext, feature_source: dg.ResourceParam[EmbeddedFeatureSource]
    ) -> dg.Output[Any]:
        """Box scores of the month, one row per player who appeared: target, and raw material of features.

        A file with a row that no box score can have is refused whole.
        """
        month = context.partition_key
        outside = {"source": feature_source.fingerprint(month)}
        table = feature_source.player_game_summary(month)
        return recorded(
            DigestedTable(table, table_digest(table)),
            code_version=CODE_VERSION,
            inputs={},
            outside=outside,
            metadata={
                "rows": table.num_rows,
                "dagster/partition_row_count": table.num_rows,
                "games": len(table.column("game_id").unique()),
                "players": len(table.column("player_lookup").unique()),
                "dates": len(table.column("game_date").unique()),
            },
        )

    return player_game_summary
