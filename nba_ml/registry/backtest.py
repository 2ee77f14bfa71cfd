"""An external model on the stored rows that it was not given: the evidence without which it serves nobody."""

from __future__ import annotations

from nba_ml.contract.errors import ReleaseError
from nba_ml.contract.season import month_of
from nba_ml.registry.channel import ChannelModel
from nba_ml.registry.external import Backtest, backtest_external
from nba_ml.registry.release_context import ReleaseContext
from nba_ml.registry.systems.interface import PredictionSystem
from nba_ml.registry.systems.loading import load_system


def backtest(context: ReleaseContext, system: PredictionSystem) -> Backtest:
    """Score an external model on every stored row after the last game that it was given.

    Raises:
        BundleError: its output is infinite.
    """
    later = context.snapshots(month_of(system.seen.given))
    return backtest_external(system, list(later.values()), context.external)


def require_evidence(context: ReleaseContext, model: ChannelModel, share: int) -> Backtest:
    """The backtest of an external model that is to serve `share` percent, passed.

    Raises:
        ReleaseError: a condition is not met; all of them are listed.
        BundleError: the model is not whole, or its output is infinite.
        MissingExtraError: CatBoost is not installed.
    """
    found = backtest(context, load_system(context.objects, model, context.threads))
    if not found.passed:
        raise ReleaseError(
            f"{model.model_id} may not serve {share}% of the player-games, because no check of ours stands behind it "
            f"and its backtest on stored rows is not passed. {found.said}. `nba-ml rollout start {model.model_id} "
            "--share 0` scores and grades it without serving."
        )
    return found
