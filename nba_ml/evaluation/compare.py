"""Compare several systems on one month in shadow, to choose a challenger for a rollout."""

from __future__ import annotations

from collections.abc import Sequence

from nba_ml.contract.errors import ReleaseError
from nba_ml.data.stored import SNAPSHOT
from nba_ml.evaluation.shadow import ShadowGrades, grade_systems, shadow_predictions
from nba_ml.registry.comparisons import keep_comparison
from nba_ml.registry.external import backtest
from nba_ml.registry.promotion_rules import Backtest
from nba_ml.registry.release_context import ReleaseContext
from nba_ml.registry.systems.loading import find_model, load_system


def backtests(context: ReleaseContext, names: Sequence[str]) -> list[Backtest]:
    """Backtest each external system on all stored rows that it was not trained on.

    Raises:
        BundleError: a bundle is incomplete or damaged.
    """
    models = [find_model(context.objects, name) for name in names]
    return [
        backtest(context, load_system(context.objects, model, context.threads)) for model in models if model.is_external
    ]


def shadow_month(context: ReleaseContext, month: str, names: Sequence[str]) -> ShadowGrades:
    """Score a month with several systems and grade them on the same rows, relative to the first.

    The comparison of each model with the first is kept: it is the evidence for a rollout that begins at 10%.

    Raises:
        ReleaseError: the month has no samples, or a system was trained on games of the month or later.
        BundleError: a bundle is incomplete or damaged.
    """
    snapshot = context.months.load(SNAPSHOT, month)
    if snapshot is None or not snapshot.table.num_rows:
        raise ReleaseError(
            f"The store has no samples of {month}. Run `nba-ml backfill --from {month} --to {month}` first."
        )
    systems = [load_system(context.objects, find_model(context.objects, name), context.threads) for name in names]
    first = snapshot.table.column("game_date")[0].as_py()  # a snapshot is in date order
    for system in systems:
        if system.extent.given_until >= first:
            raise ReleaseError(
                f"{system.version} was trained on games up to {system.extent.given_until}, but the first game of "
                f"{month} is on {first}: it has already seen the results. Choose a later month or an earlier model."
            )
    rows = context.snapshots(month, *systems).get(month)
    if rows is None:
        raise ReleaseError(
            f"The store does not have the rows of {month} for all of the systems. Name the systems in NBA_ML_SYSTEMS, "
            f"run `nba-ml backfill --from {month} --to {month} --assets ml_feature_store_v2,feature_store_snapshot`, "
            "then compare them again."
        )
    graded = grade_systems(shadow_predictions(systems, rows), snapshot)
    for system in systems[1:]:
        if systems[0].newest_month and system.newest_month:  # a rule is never the champion, and needs no evidence
            keep_comparison(context, systems[0], system, rows)
    return graded
