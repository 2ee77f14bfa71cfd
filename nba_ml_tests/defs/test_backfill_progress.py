"""The asset `backfill_progress`, over the embedded data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dagster as dg

from nba_ml.defs.build import build_defs
from nba_ml.settings import Settings


def test_each_system_has_its_progress(tmp_path: Path) -> None:
    """Guards a second system whose features are missing, under a calendar that is green because the first has its own.

    The months of the second were not shown at all.
    """
    defs = build_defs(Settings.from_environment({"NBA_ML_HOME": str(tmp_path)}))
    assets = [each for each in defs.assets or () if isinstance(each, dg.AssetsDefinition)]
    resources = dict(defs.resources or {})
    first = ["player_game_summary", "ml_feature_store_v2"]
    assert dg.materialize(assets, selection=first, partition_key="2021-10", resources=resources).success
    result = dg.materialize(assets, selection=["backfill_progress"], resources=resources)
    [event] = result.asset_materializations_for_node("backfill_progress")
    shown: dict[str, Any] = {name: each.value for name, each in event.metadata.items()}
    assert (shown["months_complete"], shown["months_missing"]) == (1, 35)
    assert (shown["xgboost_v2_months_complete"], shown["xgboost_v2_months_missing"]) == (0, 36)
    assert shown["player_games_covered"] == shown["xgboost_v2_player_games_played"] > 1_000
    assert shown["xgboost_v2_player_games_covered"] == 0
    assert str(shown["xgboost_v2_calendar"]).startswith("![coverage by month](data:image/png;base64,")
