"""The published points of a prediction, and the recommendation for a line.

Imports only NumPy and the errors, because the prediction worker imports it.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from nba_ml.contract.errors import BundleError

LOWEST, HIGHEST = 0.0, 60.0
"""Bounds of the published points, both inclusive."""

EDGE = 1.5
"""Minimum points between the model's own number and the line for a bet."""

USUAL_ODDS = -110
"""Usual American odds of both sides of a line: risk 110 to win 100."""

OVER, UNDER, PASS, NO_LINE = "OVER", "UNDER", "PASS", "NO_LINE"

Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.str_]


def break_even(odds: npt.ArrayLike) -> Floats:
    """Probability of winning at which a bet at American odds breaks even, in the shape of the odds.

    At -110 it is 110 / 210, at +120 it is 100 / 220.

    Raises:
        ValueError: American odds are -100 or lower, or +100 or higher, and finite.
    """
    prices = np.asarray(odds, dtype=np.float64)
    wrong = ~(np.isfinite(prices) & (np.abs(prices) >= 100))
    if wrong.any():
        raise ValueError(f"American odds are -100 or lower, or +100 or higher: got {prices[wrong].flat[0]:g}.")
    return np.asarray(np.where(prices < 0, -prices, 100.0) / (100.0 + np.abs(prices)), dtype=np.float64)


_USUAL_BREAK_EVEN = break_even(USUAL_ODDS)


def american_odds(price: npt.ArrayLike) -> Floats:
    """American odds of decimal ones (what a bet of 1 returns, above 1), in the shape of the price; NaN stays NaN."""
    won = np.asarray(price, dtype=np.float64) - 1
    return np.asarray(np.where(won >= 1, 100 * won, -100 / won), dtype=np.float64)


def publish_points(raw: npt.NDArray[np.floating]) -> Floats:
    """A model's output (n,) as points with two decimals, within 0 and 60.

    Raises:
        BundleError: an output is not finite.
    """
    if not np.isfinite(raw).all():
        raise BundleError(
            f"The model predicts {raw[~np.isfinite(raw)][0]} points for {int((~np.isfinite(raw)).sum()):,} of "
            f"{len(raw):,} rows. It must not serve: run the asset checks of xgboost_model, and train it again."
        )
    points: Floats = np.minimum(np.maximum(raw.astype(np.float64).round(2), LOWEST), HIGHEST) + 0.0
    return points


def margin_over(points: Floats, line: Floats) -> Floats:
    """Published points minus the line, (n,); NaN without a line. Rounded, to remove binary noise."""
    margin: Floats = (points - line).round(6) + 0.0
    return margin


def recommend(points: Floats, line: Floats, probability: Floats, odds: npt.ArrayLike = USUAL_ODDS) -> Labels:
    """OVER, UNDER, PASS, or NO_LINE if the line is NaN; (n,). The only function that decides on a bet.

    A bet needs both: a model's number at least 1.5 away from the line, and a probability of that side above break-even.
    Exactly at break-even, or without a probability, it is PASS.

    Args:
        points, line: (n,), in points; the model's own number (`model_points`), and the line.
        probability: (n,), 0 to 1, that the predicted side wins; NaN if unknown. A push is not a win, so on a whole
            line the two sides' probabilities add up to less than 1, and a bet must be above break-even even if every
            push were lost. Use the published value, so that the recommendation can be recomputed from the record.
        odds: American odds of that side, one or (n,).

    Raises:
        ValueError: a probability beyond 0 and 1, or odds between -100 and +100.
    """
    if ((probability < 0) | (probability > 1)).any():
        raise ValueError(f"Probabilities lie within 0 and 1: got {np.nanmin(probability)} to {np.nanmax(probability)}.")
    margin = margin_over(points, line)
    # Rounded like the margin: 52.5 / 100 must equal a break-even of 0.525, despite differences in the last bits.
    needed = _USUAL_BREAK_EVEN if odds is USUAL_ODDS else break_even(odds)
    worth_it = (probability - needed).round(6) > 0
    bets = np.where(margin >= EDGE, OVER, np.where(margin <= -EDGE, UNDER, PASS))
    return np.where(np.isnan(margin), NO_LINE, np.where(worth_it, bets, PASS))


def recommend_at_prices(
    points: Floats, line: Floats, probability: Floats, over_price: Floats, under_price: Floats
) -> Labels:
    """`recommend` at the decimal price of the predicted side, or at the usual odds if it is NaN; all (n,)."""
    price = np.where(points >= line, over_price, under_price)
    return recommend(points, line, probability, np.where(np.isnan(price), USUAL_ODDS, american_odds(price)))
