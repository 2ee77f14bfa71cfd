"""What the page says in words: the headline, the verdict, where the model loses, and what bets would have made."""

from __future__ import annotations

from nba_ml.contract.thresholds import BREAK_EVEN
from nba_ml.evaluation.grades import Proportion, Slice
from nba_ml.evaluation.report.marks import count, has_season, signed
from nba_ml.evaluation.walk_forward import WalkForward


def headline(overall: Slice) -> str:
    """Whether the model beats the season average, as far as the interval of the gain tells."""
    season = overall.baselines.get("season_average")
    if season is None:
        return f"The model is {overall.metrics.mae:.2f} points off on games it had not seen"
    if season.gain_interval.low > 0:
        return "The model beats the season average on games it had not seen"
    if season.gain_interval.high < 0:
        return "The model loses to the season average on games it had not seen"
    return "The model cannot be told apart from the season average on games it had not seen"


def verdict(walk: WalkForward, overall: Slice) -> str:
    """The one paragraph that is read if nothing else is."""
    months = walk.measured
    said = (
        f"Over {count(len(months), 'month')} and {overall.metrics.n:,} predictions it was {overall.metrics.mae:.2f} "
        f"points off on average"
    )
    season = overall.baselines.get("season_average")
    if season is None:
        return f"{said}. No season average was there to compare it with."
    gains = [each.overall.baselines["season_average"] for each in months.values() if has_season(each.overall)]
    clearly = sum(gain.gain_interval.low > 0 for gain in gains)
    lost = sum(gain.gain_interval.high < 0 for gain in gains)
    verdict = (
        f"{said}, the season average {season.metrics.mae:.2f}: better by {season.gain:.3f} points "
        f"({season.gain_interval.low:.3f} to {season.gain_interval.high:.3f}). Of the {count(len(gains), 'month')} it "
        f"was clearly better in {clearly}, clearly worse in {lost}, and in {len(gains) - clearly - lost} the month "
        f"alone cannot tell."
    )
    return " ".join([verdict, *_losses(walk)])


def _losses(walk: WalkForward) -> list[str]:
    """Where the model is clearly not the better one, said as plainly as where it is."""
    if walk.overall is None:
        return []
    against, tiers = walk.overall.overall.against_line, walk.overall.by["tier"]
    said = [
        f"It loses to the season average for players of {name} points a game ({signed(season.gain)})."
        for name, each in tiers.items()
        if (season := each.baselines.get("season_average")) is not None and season.gain_interval.high < 0
    ]
    if against is not None and against.line.gain_interval.high < 0:
        said.append(
            f"On the {against.n:,} predictions with a betting line, the line was the better one: "
            f"{against.line.metrics.mae:.2f} against {against.line.model_mae:.2f}."
        )
    return said


def odds_in_words(rate: Proportion | None) -> str:
    """The hit rate held against break-even at the usual odds, with its interval; None is no bet."""
    if rate is None:
        return "There were lines, and no bet: no prediction was far enough from its line and likely enough to win."
    share = f"{rate.share:.1%}, 95% interval {rate.low:.1%} to {rate.high:.1%}"
    said = f"{rate.hits:,} of {rate.n:,} bets were right: {share}."
    if rate.low > BREAK_EVEN:
        return f"{said} That is above the {BREAK_EVEN:.1%} at which bets at -110 break even."
    if rate.high < BREAK_EVEN:
        return (
            f"{said} That is below the {BREAK_EVEN:.1%} at which bets at -110 break even: they would have lost money."
        )
    return f"{said} From the {BREAK_EVEN:.1%} at which bets at -110 break even it cannot be told apart."
