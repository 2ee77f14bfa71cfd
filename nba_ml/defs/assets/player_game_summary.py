"""`player_game_summary`: the month's box scores, validated, in the platform's form."""

from typing import Any

import dagster as dg

from nba_ml.data.games import SummaryMonth
from nba_ml.data.table_digest import table_digest
from nba_ml.data.tables import PLAYER_GAME_SUMMARY
from nba_ml.defs.assets.recording import OWNERS, column_schema, markdown_table, recorded
from nba_ml.defs.partitions import one_month
from nba_ml.defs.reasons import fails_with_its_reason
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
    @fails_with_its_reason
    def player_game_summary(
        context: dg.AssetExecutionContext, feature_source: dg.ResourceParam[EmbeddedFeatureSource]
    ) -> dg.Output[Any]:
        """Box scores of the month, one row per player who appeared: target, and raw material of features.

        Preseason and All-Star games, and games without a result yet, are set aside. A game that contradicts itself or
        another month's file is refused. A file with a row that no box score can have is refused as a whole.
        """
        month = one_month(context, months)
        outside = {"source": feature_source.fingerprint(month)}
        games = feature_source.player_game_summary(month)
        warning = feature_source.starts_mid_season(month)
        if warning:
            context.log.warning(warning)
        table = games.table
        return recorded(
            SummaryMonth(table, table_digest(table), games.refused, outside["source"]),
            code_version=CODE_VERSION,
            inputs={},
            outside=outside,
            metadata={
                "rows": table.num_rows,
                "dagster/partition_row_count": table.num_rows,
                "games": len(table.column("game_id").unique()),
                "players": len(table.column("player_lookup").unique()),
                "dates": len(table.column("game_date").unique()),
                "zero_minute_rows": games.zero_minutes,
                "games_refused": games.refused.num_rows,
                "games_set_aside": sum(games.set_aside.values()),
                "games_without_result": games.unplayed,
                **({"refused_games": markdown_table(games.refused.to_pandas())} if games.refused.num_rows else {}),
                **({"set_aside_by_type": dict(games.set_aside)} if games.set_aside else {}),
                **({"game_ids_padded": games.padded_ids} if games.padded_ids else {}),
                **({"respelled_players": list(games.respelled)} if games.respelled else {}),
                **({"starts_mid_season": warning} if warning else {}),
            },
        )

    return player_game_summary
