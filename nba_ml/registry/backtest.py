"""The backtest of an external model on stored rows that it was not trained on, required before the model serves."""

from __future__ import annotations

from collections.abc import Sequence

from nba_ml.contract.errors import ReleaseError
from nba_ml.contract.season import month_of
from nba_ml.registry.channel import ChannelModel
from nba_ml.registry.external import backtest_external
from nba_ml.registry.promotion_rules import Backtest
from nba_ml.registry.release_context import ReleaseContext
from nba_ml.registry.systems.interface import PredictionSystem
from nba_ml.registry.systems.loading import load_system


def backtest(context: ReleaseContext, system: PredictionSystem) -> Backtest:
    """Score an external model on all stored rows after its training data.

    Raises:
        BundleError: the model's output is infinite.
    """
    later = context.snapshots(month_of(system.extent.given_until), system.features)
    return backtest_external(system, list(later.values()), context.limits)


def require_evidence(context: ReleaseContext, model: ChannelModel, share: int, waived: Sequence[str] = ()) -> Backtest:
    """Backtest an external model that is to serve `share` percent, and require that it passes, but for a waiver.

    Raises:
        ReleaseError: a condition is not met. The message lists all conditions.
        BundleError: the model is incomplete or damaged, or its output is infinite.
        MissingExtraError: its learner is not installed.
    """
    result = backtest(context, load_system(context.objects, model, context.threads)).waive(waived)
    if not result.passed:
        raise ReleaseError(
            f"{model.model_id} may not serve {share}% of the player-games: it is an external model, which has no "
            f"verdict of the asset checks, and its backtest on stored rows failed. {result.summary}. To score and "
            f"grade it without serving, run `nba-ml rollout start {model.model_id} --share 0`."
        )
    return result
