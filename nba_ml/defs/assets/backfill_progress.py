"""`backfill_progress`: how far the feature backfill is, as a table and a picture."""

import base64
from collections import Counter

import dagster as dg

from nba_ml.data.progress import BackfillStatus, progress_table
from nba_ml.defs.assets.recording import OWNERS, cost_metadata, markdown_table
from nba_ml.defs.partitions import month_keys
from nba_ml.defs.reasons import fails_with_its_reason
from nba_ml.evaluation.pictures import coverage_heat_map
from nba_ml.sources.job_costs import recorded_jobs
from nba_ml.sources.month_rows import FEATURES, SUMMARY, MonthRowsSource

CODE_VERSION = "1"


def build(months: dg.MonthlyPartitionsDefinition) -> dg.AssetsDefinition:
    @dg.asset(
        group_name="feature_store",
        deps=[SUMMARY, FEATURES],
        kinds={"table"},
        owners=OWNERS,
        code_version=CODE_VERSION,
    )
    @fails_with_its_reason
    def backfill_progress(month_rows: dg.ResourceParam[MonthRowsSource]) -> dg.MaterializeResult[None]:
        """How far the feature backfill is: one row a month, what was played against what has features.

        A month is complete at 95% of its player-games, substantial at 80%. That a date has a row says
        nothing, and a game with features counts as not covered once its results are due and not there.
        """
        with recorded_jobs() as jobs:
            states = month_rows.progress(month_keys(months))
        counted = Counter(state.status for state in states)
        picture = base64.b64encode(coverage_heat_map(states)).decode()
        return dg.MaterializeResult(
            metadata={
                **{f"months_{status}": counted[status] for status in BackfillStatus},
                "player_games_covered": sum(state.covered for state in states),
                "player_games_played": sum(state.played.rows for state in states),
                "player_games_without_results": sum(state.missing_results for state in states),
                "duplicate_rows": sum(state.features.duplicates + state.played.duplicates for state in states),
                **cost_metadata(jobs),
                "calendar": dg.MetadataValue.md(f"![coverage by month](data:image/png;base64,{picture})"),
                "months": markdown_table(progress_table(states)),
            }
        )

    return backfill_progress
