"""Our over probabilities against those of the market and of a coin, and bets at the prices of the market.

The market's probabilities are those of the prices of both sides of the same line, without the bookmaker's margin.
`market_claim` decides what may be said of the result.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict, Field

from nba_ml.data.tables import PRICES
from nba_ml.evaluation.scores import (
    Estimate,
    Floats,
    Scores,
    Truth,
    log_losses,
    mean_by_game,
    score,
    squared_errors,
)
from nba_ml.model.recommendation import OVER, UNDER

COIN = "coin"
MULTIPLICATIVE, POWER, SHIN = "multiplicative", "power", "Shin"
METHODS = (MULTIPLICATIVE, POWER, SHIN)
"""How the margin is taken out of two prices."""

_NEWTON_STEPS = 40
"""Twelve are enough for prices of 1.001 and 100."""

_WEEKDAY_OF_EPOCH = 3
"""1970-01-01 was a Thursday; a week begins on Monday."""

_SCORED = (
    *("game_date", "game_id", "points", "current_points_line", "recommendation"),
    *("over_probability", "push_probability", *PRICES),
)

_FROZEN = ConfigDict(frozen=True, extra="forbid")


class Compared(BaseModel):
    """Another forecaster on the same rows. The differences are the model's score minus its own: below 0 the model is
    better. `brier_high_without_best_week` is the upper bound of the Brier difference without the week that is best for
    the model; None if the rest has no interval."""

    model_config = _FROZEN

    scores: Scores
    brier: Estimate
    log_loss: Estimate
    brier_high_without_best_week: float | None


class Probabilities(BaseModel):
    """The model's probabilities of going over, and others' on the same rows: `coin` and the market by method."""

    model_config = _FROZEN

    games: int
    model: Scores
    others: dict[str, Compared]
    best_week: str = Field(description="Monday of the model's best week against the market, or else the coin")

    @property
    def market(self) -> Compared | None:
        """The market by the method that scores best on these rows, so that the choice never flatters the model."""
        methods = [self.others[name] for name in METHODS if name in self.others]
        return min(methods, key=lambda each: each.scores.brier, default=None)


class PricedBets(BaseModel):
    """The recommended bets whose side has a price, each of one unit.

    `hit_rate` is right / (right + wrong), None if every bet was a push. `returned` is what a bet won on average, its
    stake not included; a push returns 0. `break_even` is the mean of 1 / price: the hit rate at which bets of these
    prices lose nothing, if they are right equally often at every price.
    """

    model_config = _FROZEN

    n: int
    pushes: int
    hit_rate: Estimate | None
    returned: Estimate
    break_even: float


class MarketResult(BaseModel):
    """The over probabilities of graded rows with a line.

    `lines` has all of them, against a coin. `prices` has those with a price on both sides, against the market too.
    Pushes are in neither. `whole_lines` counts lines at a whole number that are in neither because the probability of a
    push was not stored, as in older predictions: prices are for over or under, with the stake returned on a push.
    """

    model_config = _FROZEN

    pushes: int
    whole_lines: int
    lines: Probabilities | None
    prices: Probabilities | None
    bets: PricedBets | None


def devigged(over_price: Floats, under_price: Floats) -> Mapping[str, Floats]:
    """Method -> the market's probability of over (n,), given that it is no push, from decimal prices (n,) above 1.

    Multiplicative: 1 / price, over their sum. Power: (1 / price) ** k, with the k for which they add up to 1. Shin
    (The Economic Journal 103 (1993)) explains the margin by insiders; for two outcomes it takes half of the margin from
    each side (Clarke, Kovalchik and Ingram, American Journal of Sports Science 5 (2017)).
    """
    over, under = 1 / np.asarray(over_price, dtype=np.float64), 1 / np.asarray(under_price, dtype=np.float64)
    return {
        MULTIPLICATIVE: over / (over + under),
        POWER: over ** _power(over, under),
        SHIN: (over - under + 1) / 2,
    }


def _power(over: Floats, under: Floats) -> Floats:
    """The k (n,) for which over ** k + under ** k is 1.

    The sum is convex and falls with k, so Newton's method rises to it from a start where the sum is 1 or more.
    """
    logs = np.log(over), np.log(under)
    k: Floats = np.log(0.5) / np.minimum(*logs)
    for _ in range(_NEWTON_STEPS):
        powers = np.exp(k * logs[0]), np.exp(k * logs[1])
        k = k - (powers[0] + powers[1] - 1) / (powers[0] * logs[0] + powers[1] * logs[1])
    return k


def break_even_of(bets: int, result: MarketResult | None, usual: float) -> float:
    """The hit rate at which `bets` lose nothing: those with a price at theirs, the others at that of the usual odds."""
    priced = result.bets if result else None
    return usual if priced is None else usual + (priced.break_even - usual) * priced.n / bets


def market_rows(tables: Iterable[pa.Table]) -> pd.DataFrame:
    """The rows of `tables.PREDICTION_GRADES` that have a line, with the columns that are scored."""
    lined: list[pd.DataFrame] = [
        table.select(_SCORED)
        .filter(pc.invert(pc.is_nan(table.column("current_points_line"))))
        .to_pandas(date_as_object=False)
        for table in tables
    ]
    return pd.concat(lined, ignore_index=True)


def measure_market(rows: pd.DataFrame) -> MarketResult | None:
    """Score the rows of `tables.PREDICTION_GRADES` that have a line; None if none has."""
    rows = rows[rows["current_points_line"].notna()]
    if rows.empty:
        return None
    rows = rows.assign(stated=_over_unless_push(rows))
    points, line = rows["points"], rows["current_points_line"]
    unknown = rows["stated"].isna() & (line % 1 == 0)
    scored = rows[rows["stated"].notna() & (points != line)]
    priced = scored[list(PRICES)].notna().all(axis=1)
    return MarketResult(
        pushes=int((points == line).sum()),
        whole_lines=int(unknown.sum()),
        lines=_probabilities(scored, {}),
        prices=_probabilities(
            scored[priced], devigged(*(scored.loc[priced, name].to_numpy(np.float64) for name in PRICES))
        ),
        bets=_bets(rows),
    )


def _over_unless_push(rows: pd.DataFrame) -> pd.Series:
    """The model's probability of over, given that the result is not a push; NaN where that is unknown."""
    impossible = pd.Series(np.where(rows["current_points_line"] % 1 == 0, np.nan, 0.0), rows.index)
    over: pd.Series = rows["over_probability"] / (1 - rows["push_probability"].fillna(impossible))
    return over


def _probabilities(rows: pd.DataFrame, market: Mapping[str, Floats]) -> Probabilities | None:
    if rows.empty:
        return None
    stated = rows["stated"].to_numpy(np.float64)
    happened = (rows["points"] > rows["current_points_line"]).to_numpy()
    games = rows["game_id"].to_numpy(np.str_)
    days = rows["game_date"].to_numpy().astype("datetime64[D]")
    weeks = days - (days.astype(np.int64) + _WEEKDAY_OF_EPOCH) % 7
    others = {**market, COIN: np.full(len(rows), 0.5)}
    hardest = min(market or others, key=lambda name: float(squared_errors(others[name], happened).mean()))
    difference = squared_errors(stated, happened) - squared_errors(others[hardest], happened)
    names, index = np.unique(weeks, return_inverse=True)
    best = names[np.bincount(index, weights=difference).argmin()]
    return Probabilities(
        games=len(np.unique(games)),
        model=score(stated, happened),
        others={name: _compared(stated, each, happened, games, weeks != best) for name, each in others.items()},
        best_week=str(best),
    )


def _compared(stated: Floats, other: Floats, happened: Truth, games: npt.NDArray[np.str_], rest: Truth) -> Compared:
    difference = squared_errors(stated, happened) - squared_errors(other, happened)
    return Compared(
        scores=score(other, happened),
        brier=mean_by_game(difference, games),
        log_loss=mean_by_game(log_losses(stated, happened) - log_losses(other, happened), games),
        brier_high_without_best_week=mean_by_game(difference[rest], games[rest]).high if rest.any() else None,
    )


def _bets(rows: pd.DataFrame) -> PricedBets | None:
    """Bets by the recommendation of each row, at the price of its side."""
    over = rows["recommendation"] == OVER
    price = rows[PRICES[0]].where(over, rows[PRICES[1]])
    rows = rows.assign(price=price)[(over | (rows["recommendation"] == UNDER)) & price.notna()]
    if rows.empty:
        return None
    games, stake_back = rows["game_id"].to_numpy(np.str_), (rows["points"] == rows["current_points_line"]).to_numpy()
    right = ((rows["points"] > rows["current_points_line"]) == (rows["recommendation"] == OVER)).to_numpy()
    price_of = rows["price"].to_numpy(np.float64)
    won = np.where(stake_back, 0.0, np.where(right, price_of - 1, -1.0))
    judged = ~stake_back
    return PricedBets(
        n=len(rows),
        pushes=int(stake_back.sum()),
        hit_rate=mean_by_game(right[judged].astype(np.float64), games[judged]) if judged.any() else None,
        returned=mean_by_game(won, games),
        break_even=round(float((1 / price_of).mean()), 6),
    )
