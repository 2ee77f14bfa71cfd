"""What may be claimed about the model and the market: a written table, and the only place that applies it.

| claim | allowed if |
|---|---|
| too far ahead to be believed | the upper bound of the Brier difference is below -0.005 |
| not enough prices to say | fewer than 300 games or 3,000 prices, or nothing below holds |
| ahead of the market | the upper bound is below 0, and the calibration slope is 0.75 to 1.25 |
| level with the market | the upper bound is at most 0.001, and the slope is the same |
| behind the market | the lower bound is above 0 |

The first that holds counts. The difference is the model's Brier score minus the market's, with its 95% interval. For
ahead and level, the upper bound must hold without the model's best week too: one lucky week is no record.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from nba_ml.evaluation.market import Compared, MarketResult, Probabilities

FEWEST_GAMES, FEWEST_PRICES = 300, 3_000
"""A quarter of a season. With 3,000 prices the interval of a Brier difference is about +-0.002."""

LEVEL_MARGIN = 0.001
"""Brier points. The best public record for player points is 0.0008 behind the market."""

SLOPES = (0.75, 1.25)
"""Calibration slopes at which probabilities mean what they say."""

LEAK_MARGIN = 0.005
"""Brier points: no public record is ahead of the market at all. A model that knows the result is ahead by 0.02 and
more, and shows it in a few hundred prices."""


COIN_BRIER = 0.25


class Standing(StrEnum):
    """The claims. No other words describe the model and the market."""

    SUSPECT = "too far ahead of the market to be believed"
    UNKNOWN = "not enough prices to say"
    AHEAD = "ahead of the market"
    LEVEL = "level with the market"
    BEHIND = "behind the market"


@dataclass(frozen=True, slots=True)
class Claim:
    """A standing, and the numbers that decided it."""

    standing: Standing
    reason: str


def claim(result: MarketResult | None) -> Claim:
    """What may be claimed, by the table above."""
    prices = result.prices if result else None
    market = prices.market if prices else None
    if prices is None or market is None:
        return Claim(Standing.UNKNOWN, "no graded line has a price on both sides")
    high = market.brier.high
    if high is not None and high < -LEAK_MARGIN:
        return Claim(Standing.SUSPECT, f"{_shown(market)}, wholly below -{LEAK_MARGIN}: {_suspicion(market)}")
    if prices.games < FEWEST_GAMES or prices.model.n < FEWEST_PRICES:
        return Claim(
            Standing.UNKNOWN,
            f"{prices.model.n:,} prices of {prices.games:,} games; {FEWEST_PRICES:,} of {FEWEST_GAMES} are needed",
        )
    return _of_enough(prices, market)


def _of_enough(prices: Probabilities, market: Compared) -> Claim:
    low, high, slope = market.brier.low, market.brier.high, prices.model.slope
    if low is None or high is None:  # 300 games have an interval
        raise ValueError(f"{prices.games} games have no interval")
    found = f"{_shown(market)}, {prices.model.n:,} prices of {prices.games:,} games"
    rest = market.brier_high_without_best_week
    bound = np.inf if rest is None else max(high, rest)
    calibrated = slope is not None and SLOPES[0] <= slope <= SLOPES[1]
    if bound <= LEVEL_MARGIN and calibrated:
        return Claim(Standing.AHEAD if bound < 0 else Standing.LEVEL, found)
    if low > 0:
        return Claim(Standing.BEHIND, found)
    if high > LEVEL_MARGIN:
        return Claim(Standing.UNKNOWN, found)
    if calibrated:
        without = "there is only one week" if rest is None else f"without it the upper bound is {rest:+.4f}"
        return Claim(Standing.UNKNOWN, f"{found}; the week of {prices.best_week} decides: {without}")
    shown = "undefined" if slope is None else f"{slope:.2f}"
    return Claim(Standing.UNKNOWN, f"{found}; the calibration slope is {shown}, not {SLOPES[0]} to {SLOPES[1]}")


def _suspicion(market: Compared) -> str:
    if market.scores.brier > COIN_BRIER:
        return (
            f"the market's own score, {market.scores.brier:.4f}, is worse than a coin's, so look for prices of another "
            "line or of the other side"
        )
    return "look for a feature or a line that contains the result"


def _shown(market: Compared) -> str:
    value, low, high = market.brier.value, market.brier.low, market.brier.high
    bounds = f" ({_signed(low)} to {_signed(high)})" if low is not None and high is not None else ""
    return f"Brier difference {_signed(value)}{bounds}"


def _signed(value: float) -> str:
    """Four decimals with a sign; no minus before a zero."""
    return f"{round(value, 4) + 0.0:+.4f}"
