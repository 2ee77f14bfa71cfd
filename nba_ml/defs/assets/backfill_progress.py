"""`backfill_progress`: how far the feature backfill is, as a table and a picture."""

import base64
from collections import Counter
from collections.abc import Sequence
from typing import Any

import dagster as dg

from nba_ml.contract.systems import XGBOOST_V1, System
from nba_ml.data.progress import BackfillStatus, MonthProgress, progress_table
from nba_ml.defs.assets.recording import OWNERS, cost_metadata, markdown_table
from nba_ml.defs.partitions import month_keys
from nba_ml.defs.reasons import fails_with_its_reason
from nba_ml.evaluation.pictures import coverage_heat_map
from nba_ml.sources.job_costs import recorded_jobs
from nba_ml.sources.month_rows import FEATURES, SUMMARY, MonthRowsSource

CODE_VERSION = "1"


def build(months: dg.MonthlyPartitionsDefinition, systems: Sequence[System] = (XGBOOST_V1,)) -> dg.AssetsDefinition:
    @dg.asset(
        group_name="feature_store",
        deps=[SUMMARY, *(dg.AssetKey.from_user_string(system.asset(FEATURES)) for system in systems)],
        kinds={"table"},
        owners=OWNERS,
        code_version=CODE_VERSION,
    )
    @fails_with_its_reason
    def backfill_progress(month_rows: dg.ResourceParam[MonthRowsSource]) -> dg.MaterializeResult[None]:
        """How far the feature backfill is: one row a month, what was played against what has features.

        A month is complete at 95% of its player-games, substantial at 80%. That a date has a row says
        nothing, and a game with features counts as not covered once its results are due and not there. With several
        systems, what begins with a system's id is of its features; the rest is of the first one's.
        """
        first, *others = systems
        with recorded_jobs() as jobs:
            states = {system: month_rows.progress(month_keys(months), system=system) for system in systems}
        return dg.MaterializeResult(
            metadata={
                **_facts(states[first]),
                **{f"{system.id}_{name}": fact for system in others for name, fact in _facts(states[system]).items()},
                **cost_metadata(jobs),
            }
        )

    return backfill_progress


def _facts(states: Sequence[MonthProgress]) -> dict[str, Any]:
    counted = Counter(state.status for state in states)
    picture = base64.b64encode(coverage_heat_map(states)).decode()
    return {
        **{f"months_{status}": counted[status] for status in BackfillStatus},
        "player_games_covered": sum(state.covered for state in states),
        "player_games_played": sum(state.played.rows for state in states),
        "player_games_without_results": sum(state.missing_results for state in states),
        "duplicate_rows": sum(state.features.duplicates + state.played.duplicates for state in states),
        "calendar": dg.MetadataValue.md(f"![coverage by month](data:image/png;base64,{picture})"),
        "months": markdown_table(progress_table(states)),
    }
