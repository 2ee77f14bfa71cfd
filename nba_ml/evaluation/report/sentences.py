"""The sentences of the page: headline, summary, where the model is worse, and the result of bets."""

from __future__ import annotations

from nba_ml.contract.thresholds import BREAK_EVEN
from nba_ml.evaluation.grades import Proportion, Slice
from nba_ml.evaluation.report.marks import count, has_season, signed
from nba_ml.evaluation.walk_forward import WalkForward
from nba_ml.model.comparison import BaselineResult
from nba_ml.model.recommendation import USUAL_ODDS


def headline(overall: Slice) -> str:
    """Whether the model beats the season average, judged by the interval of its gain."""
    season = overall.baselines.get("season_average")
    if season is None:
        return f"The model's mean error is {overall.metrics.mae:.2f} points on unseen games"
    if season.gain_interval.low > 0:
        return "The model beats the season average on unseen games"
    if season.gain_interval.high < 0:
        return "The model loses to the season average on unseen games"
    return "The model is not significantly different from the season average on unseen games"


def verdict(walk: WalkForward, overall: Slice) -> str:
    """The summary paragraph."""
    months = walk.measured
    error = (
        f"Over {count(len(months), 'month')} and {overall.metrics.n:,} predictions its mean absolute error was "
        f"{overall.metrics.mae:.2f} points"
    )
    season = overall.baselines.get("season_average")
    if season is None:
        return f"{error}. There was no season average to compare with."
    gains = [each.overall.baselines["season_average"] for each in months.values() if has_season(each.overall)]
    clearly = sum(gain.gain_interval.low > 0 for gain in gains)
    lost = sum(gain.gain_interval.high < 0 for gain in gains)
    summary = (
        f"{error}, the season average's {season.metrics.mae:.2f}: {compared_in_words(season)}. "
        f"Of {count(len(gains), 'month')} it was significantly better in {clearly}, "
        f"significantly worse in {lost}, and not significantly different in {len(gains) - clearly - lost}."
    )
    return " ".join([summary, *_losses(walk)])


def compared_in_words(result: BaselineResult) -> str:
    """`better by 0.124 points (0.111 to 0.138)`; the direction only where the interval is on one side of zero."""
    gain, low, high = result.gain, result.gain_interval.low, result.gain_interval.high
    if low > 0:
        return f"better by {gain:.3f} points ({low:.3f} to {high:.3f})"
    if high < 0:
        return f"worse by {-gain:.3f} points ({-high:.3f} to {-low:.3f})"
    return f"not significantly different (gain {signed(gain)} points, {signed(low)} to {signed(high)})"


def _losses(walk: WalkForward) -> list[str]:
    """Where the model is significantly worse."""
    if walk.overall is None:
        return []
    against, tiers = walk.overall.overall.against_line, walk.overall.by["tier"]
    losses = [
        f"It loses to the season average for players of {name} points a game ({signed(season.gain)})."
        for name, each in tiers.items()
        if (season := each.baselines.get("season_average")) is not None and season.gain_interval.high < 0
    ]
    if against is not None and against.line.gain_interval.high < 0:
        losses.append(
            f"On the {against.n:,} predictions with a betting line, the line was better: "
            f"{against.line.metrics.mae:.2f} against {against.line.model_mae:.2f}."
        )
    return losses


def odds_in_words(rate: Proportion | None, needed: float) -> str:
    """The hit rate compared with `needed`, at which the bets break even; None means no bets."""
    if rate is None:
        return "There were lines but no bets: no prediction was far enough from its line and likely enough to win."
    share = f"{rate.share:.1%}, 95% interval {rate.low:.1%} to {rate.high:.1%}"
    hits = f"{rate.hits:,} of {rate.n:,} bets were right: {share}."
    usual = needed == BREAK_EVEN
    against = f"the {needed:.1%} at which bets at {USUAL_ODDS if usual else 'these prices'} break even"
    if rate.low > needed:
        return f"{hits} That is above {against}."
    if rate.high < needed:
        return f"{hits} That is below {against}{': they would have lost money' if usual else ''}."
    return f"{hits} That is not significantly different from {against}."
