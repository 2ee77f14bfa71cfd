"""Our probabilities against the market's: prices made from a known truth, and what may be claimed of them."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq

from nba_ml.evaluation.market import (
    COIN,
    METHODS,
    MULTIPLICATIVE,
    POWER,
    SHIN,
    MarketResult,
    Probabilities,
    devigged,
    measure_market,
)
from nba_ml.evaluation.market_claim import (
    FEWEST_GAMES,
    FEWEST_PRICES,
    LEAK_MARGIN,
    LEVEL_MARGIN,
    SLOPES,
    Standing,
    claim,
)
from nba_ml.evaluation.report.market import market_section
from nba_ml.evaluation.scores import Floats
from nba_ml_tests.evaluation.test_scores import brier_score_loss, log_loss

PRICE = st.floats(1.005, 90)


def book(truth: Floats, margin: float = 0.0, shade: float = 0.0) -> tuple[Floats, Floats]:
    """Decimal prices of over and under: of these probabilities, moved towards over by `shade`, plus the margin."""
    over = np.clip(truth + shade, 0.02, 0.98)
    return 1 / (over * (1 + margin)), 1 / ((1 - over) * (1 + margin))


def season(
    model: Floats, truth: Floats, prices: tuple[Floats, Floats] | None, seed: int = 1, per_game: int = 10
) -> pd.DataFrame:
    """Graded rows of games, ten prices each and seven games a day, whose results follow the truth."""
    n = len(model)
    random, game = np.random.default_rng(seed), np.arange(n) // per_game
    over, under = prices or (np.full(n, np.nan), np.full(n, np.nan))
    day = pd.to_datetime([date(2023, 10, 30) + timedelta(days=int(each // 7)) for each in game])
    return pd.DataFrame(
        {
            "game_id": [f"g{each}" for each in game],
            "game_date": day,
            "current_points_line": 20.5,
            "points": np.where(random.random(n) < truth, 25.0, 15.0),
            "over_probability": model,
            "push_probability": np.nan,
            "over_price": over,
            "under_price": under,
            "recommendation": np.select([model * over > 1.05, (1 - model) * under > 1.05], ["OVER", "UNDER"], "PASS"),
        }
    )


def truths(n: int, seed: int = 5, spread: float = 0.4) -> Floats:
    return np.asarray(1 / (1 + np.exp(-np.random.default_rng(seed).normal(0, spread, n))))


def noisy(truth: Floats, spread: float, seed: int = 9) -> Floats:
    """The truth with an error in log odds."""
    error = np.random.default_rng(seed).normal(0, spread, len(truth))
    return np.asarray(1 / (1 + np.exp(-np.log(truth / (1 - truth)) - error)))


def measured(rows: pd.DataFrame) -> MarketResult:
    found = measure_market(rows)
    assert found is not None
    return found


def priced(rows: pd.DataFrame) -> Probabilities:
    found = measured(rows).prices
    assert found is not None
    return found


# --- the margin taken out ------------------------------------------------------------------------------------


def shin(over: float, under: float) -> float:
    """Shin's probability of over, by the share `z` of insiders under which both add up to 1, in the form of Jullien
    and Salanié (1994)."""
    raw = np.array([1 / over, 1 / under])

    def at(z: float) -> Floats:
        return (np.sqrt(z**2 + 4 * (1 - z) * raw**2 / raw.sum()) - z) / (2 * (1 - z))

    return float(at(brentq(lambda z: at(z).sum() - 1, 0, 1 - 1e-9, xtol=1e-14, rtol=1e-14))[0])


@given(PRICE, PRICE)
def test_probabilities_without_the_margin_are_those_of_the_definitions(over: float, under: float) -> None:
    """Guards against a method that only bears its name: Shin's and power by a root finder on their definitions."""
    found = {name: float(each[0]) for name, each in devigged(np.array([over]), np.array([under])).items()}
    assert tuple(found) == METHODS
    assert found[MULTIPLICATIVE] == pytest.approx(under / (over + under), abs=1e-12)
    assert all(0 <= each <= 1 for each in found.values())
    k = brentq(lambda k: over**-k + under**-k - 1, 1e-3, 1e4, xtol=1e-14, rtol=1e-14)
    assert found[POWER] == pytest.approx(over**-k, abs=1e-9)
    if 1 / over + 1 / under > 1.000001:
        assert found[SHIN] == pytest.approx(shin(over, under), abs=1e-6)


def test_a_fair_book_is_the_truth_by_every_method() -> None:
    """Guards against a method that takes out a margin that is not there."""
    truth = truths(50)
    for name, found in devigged(*book(truth)).items():
        np.testing.assert_allclose(found, truth, atol=1e-9, err_msg=name)


def test_the_margin_of_a_book_does_not_change_its_probabilities() -> None:
    """Guards against a market that looks worse the more it charges."""
    truth = truths(200)
    np.testing.assert_allclose(devigged(*book(truth, margin=0.07))[MULTIPLICATIVE], truth, atol=1e-12)
    for each in devigged(*book(np.full(3, 0.5), margin=0.07)).values():
        np.testing.assert_allclose(each, 0.5, atol=1e-12)


# --- the scores ----------------------------------------------------------------------------------------------


def test_every_score_is_that_of_an_independent_library_on_the_rows_that_count() -> None:
    """Guards against pushes, lines without prices or whole numbers among the rows, and against the wrong sign."""
    truth = truths(3000)
    rows = season(noisy(truth, 0.2), truth, book(truth, 0.05, 0.02))
    rows.loc[:99, "points"] = 20.5  # pushes, which a half line has not: as on a whole one with its push stored
    rows.loc[100:299, "current_points_line"] = 20.0
    rows.loc[300:399, "over_price"] = np.nan
    rows.loc[400:499, ["current_points_line", "over_probability"]] = np.nan
    found = measured(rows)
    assert (found.pushes, found.whole_lines) == (100, 200)
    assert found.lines is not None
    assert found.prices is not None
    assert (found.lines.model.n, found.prices.model.n, found.prices.games) == (2600, 2500, 250)
    counted = rows[500:]
    happened, stated = counted["points"] > 20.5, counted["over_probability"]
    market = (1 / counted["over_price"]) / (1 / counted["over_price"] + 1 / counted["under_price"])
    ours, theirs = found.prices.model, found.prices.others[MULTIPLICATIVE]
    assert ours.brier == pytest.approx(brier_score_loss(happened.to_numpy(), stated.to_numpy()), abs=1e-6)
    assert theirs.scores.brier == pytest.approx(brier_score_loss(happened.to_numpy(), market.to_numpy()), abs=1e-6)
    assert theirs.scores.log_loss == pytest.approx(log_loss(happened.to_numpy(), market.to_numpy()), abs=1e-6)
    assert theirs.brier.value == pytest.approx(ours.brier - theirs.scores.brier, abs=2e-6)
    assert theirs.log_loss.value == pytest.approx(ours.log_loss - theirs.scores.log_loss, abs=2e-6)
    coin = found.prices.others[COIN]
    assert (coin.scores.brier, coin.scores.log_loss) == (0.25, pytest.approx(np.log(2), abs=1e-6))
    assert found.prices.market == min((found.prices.others[m] for m in METHODS), key=lambda each: each.scores.brier)


def test_a_push_is_taken_out_of_the_probability_of_a_whole_line() -> None:
    """Guards against a model that looks too low on every whole line: prices are for over or under alone."""
    truth = truths(4000)
    rows = season(truth * 0.94, truth, book(truth)).assign(current_points_line=20.0)
    assert measured(rows).prices is None
    found = measured(rows.assign(push_probability=0.06))
    assert found.whole_lines == 0
    assert found.prices is not None
    assert found.prices.market is not None
    assert found.prices.market.brier.value == pytest.approx(0, abs=1e-9)


def test_without_prices_there_is_a_coin_and_no_market() -> None:
    """Guards against a comparison with prices that nobody had."""
    truth = truths(4000)
    found = measured(season(truth, truth, None))
    assert (found.prices, found.bets) == (None, None)
    assert found.lines is not None
    assert set(found.lines.others) == {COIN}
    assert (found.lines.others[COIN].brier.high or 0) < 0
    assert claim(found).standing is Standing.UNKNOWN
    nothing = season(truth, truth, None).assign(current_points_line=np.nan)
    assert measure_market(nothing) is None
    assert claim(None).standing is Standing.UNKNOWN


def test_bets_are_settled_at_their_own_prices() -> None:
    """Guards against a return at -110 for bets at other prices, and a push that loses its stake."""
    truth = np.full(4, 0.5)
    rows = season(truth, truth, (np.array([2.2, 1.8, 1.9, np.nan]), np.array([1.7, 2.4, 2.0, 2.0])))
    rows = rows.assign(
        recommendation=["OVER", "UNDER", "UNDER", "OVER"],
        points=[25.0, 25.0, 20.0, 25.0],
        current_points_line=[20.5, 20.5, 20.0, 20.5],
    )
    bets = measured(rows).bets
    assert bets is not None
    assert bets.hit_rate is not None
    assert (bets.n, bets.pushes, bets.hit_rate.value) == (3, 1, 0.5)
    assert bets.returned.value == pytest.approx((1.2 - 1 + 0) / 3, abs=1e-6)
    assert bets.break_even == pytest.approx((1 / 2.2 + 1 / 2.4 + 1 / 2.0) / 3, abs=1e-6)


def test_bets_against_a_shaded_book_return_what_the_truth_says() -> None:
    """Guards against a return that ignores the margin: the model knows the truth, and bets where it is worth it."""
    truth, shade = truths(40_000, spread=0.6), 0.08
    over, under = book(truth, 0.04, shade)
    found = measured(season(truth, truth, (over, under))).bets
    assert found is not None
    assert found.returned.low is not None
    assert found.returned.high is not None
    expected_over, expected_under = truth * over - 1, (1 - truth) * under - 1
    worth = np.where(expected_over > 0.05, expected_over, expected_under)
    expected = float(worth[worth > 0.05].mean())
    assert found.returned.low < expected < found.returned.high
    assert expected > 0.05


# --- the claim -----------------------------------------------------------------------------------------------

N = 20_000


def test_a_model_that_equals_a_fair_book_is_level_with_it() -> None:
    """Guards against a claim out of nothing, and against one that is never allowed."""
    truth = truths(N)
    assert claim(measured(season(noisy(truth, 0.02), truth, book(truth, 0.05)))).standing is Standing.LEVEL


def test_a_model_that_knows_less_than_the_book_is_behind_it() -> None:
    """Guards against 'level with the market' for a model that loses to it."""
    truth = truths(N)
    found = measured(season(noisy(truth, 0.35), truth, book(truth, 0.05)))
    assert claim(found).standing is Standing.BEHIND
    assert found.prices is not None
    assert found.prices.model.slope is not None
    assert found.prices.model.slope < 0.75


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_model_that_knows_the_truth_is_ahead_of_a_wrong_book(seed: int) -> None:
    """Guards against a policy under which nobody can ever be ahead."""
    truth = truths(N, seed)
    rows = season(truth, truth, book(noisy(truth, 0.2, seed), 0.05), seed)
    assert claim(measured(rows)).standing is Standing.AHEAD


def test_a_shaded_book_is_beaten_where_the_shade_is_large_enough_to_see() -> None:
    """Guards against a margin taken for a shade: the same shade with another margin is as far behind."""
    truth = truths(N)
    differences = []
    for margin in (0.02, 0.08):
        result = measured(season(truth, truth, book(truth, margin, 0.05)))
        assert claim(result).standing is Standing.AHEAD
        assert result.prices is not None
        differences.append(result.prices.others[MULTIPLICATIVE].brier.value)
    assert differences[0] == pytest.approx(differences[1], abs=1e-5)
    assert differences[0] == pytest.approx(-(0.05**2), abs=0.001)


def test_a_leaked_model_is_not_ahead_but_suspect_whatever_the_sample() -> None:
    """Guards against the best headline of all, for a model that has seen the result."""
    for n in (600, N):
        truth = truths(n)
        rows = season(truth, truth, book(truth, 0.05))
        went_over = rows["points"] > rows["current_points_line"]
        leaked = rows.assign(over_probability=np.where(went_over, 0.75 * truth + 0.25, 0.75 * truth))
        found = claim(measured(leaked))
        assert found.standing is Standing.SUSPECT
        assert "wholly below -0.005: look for a feature or a line that contains the result" in found.reason


def test_prices_of_the_other_side_are_suspected_instead_of_the_model() -> None:
    """Guards against a search for a leak where over and under were exchanged: such a market is worse than a coin."""
    truth = truths(N)
    found = claim(measured(season(truth, truth, book(1 - truth, 0.05))))
    assert found.standing is Standing.SUSPECT
    assert "is worse than a coin's, so look for prices of another line or of the other side" in found.reason


def test_a_small_sample_says_nothing_however_good_it_looks() -> None:
    """Guards against a good fortnight in a headline: 2,990 prices, or 290 games."""
    for n, per_game in ((2_990, 5), (5_800, 20)):
        truth = truths(n)
        rows = season(truth, truth, book(noisy(truth, 0.25), 0.05), per_game=per_game)
        found = claim(measured(rows))
        assert found.standing is Standing.UNKNOWN
        assert "3,000 of 300 are needed" in found.reason


def test_one_lucky_week_is_no_record() -> None:
    """Guards against a season's claim that a single week has earned: a book that was wrong once, and else is better."""
    truth = truths(6_000)
    book_of = truth.copy()
    week = slice(490 * 3, 490 * 4)  # 49 games of ten prices
    book_of[week] = np.where(truth[week] > 0.5, truth[week] - 0.25, truth[week] + 0.25)
    rows = season(noisy(truth, 0.15), truth, book(book_of, 0.05))
    result = measured(rows)
    assert result.prices is not None
    assert result.prices.market is not None
    assert result.prices.market.brier.high is not None
    assert result.prices.market.brier.high < 0  # the whole season alone would say ahead
    found = claim(result)
    assert found.standing is Standing.UNKNOWN
    assert "the week of 2023-11-20 decides" in found.reason


@pytest.mark.slow
@settings(max_examples=25)
@given(st.integers(0, 500))
def test_no_claim_goes_beyond_its_table(seed: int) -> None:
    """Guards against a claim that the numbers beside it do not allow."""
    random = np.random.default_rng(seed)
    truth = truths(int(random.integers(2_000, 8_000)), seed)
    model, wrong = (noisy(truth, random.uniform(0, 0.3), seed + i) for i in range(2))
    result = measured(season(model, truth, book(wrong, 0.05), seed))
    assert result.prices is not None
    market, n, games = result.prices.market, result.prices.model.n, result.prices.games
    assert market is not None
    standing, high, low = claim(result).standing, market.brier.high, market.brier.low
    assert high is not None
    assert low is not None
    if standing in (Standing.AHEAD, Standing.LEVEL):
        assert high < (0 if standing is Standing.AHEAD else 0.001000001)
        assert high >= -0.005
        assert 0.75 <= (result.prices.model.slope or 0) <= 1.25
    if standing is Standing.BEHIND:
        assert low > 0
    if standing not in (Standing.UNKNOWN, Standing.SUSPECT):
        assert n >= 3000
        assert games >= 300


def test_the_section_says_the_claim_first_and_shows_every_forecaster() -> None:
    """Guards against a report whose words go beyond its own table, and against a market shown by one method only."""
    truth = truths(6_000)
    result = measured(season(noisy(truth, 0.02), truth, book(truth, 0.05)))
    section = market_section(result)
    assert section.table is not None
    assert [row.name for row in section.table.rows] == ["model", *(f"market, {name}" for name in METHODS), COIN]
    assert section.paragraphs[0].startswith("It is level with the market: Brier difference ")
    assert section.paragraphs[0].endswith("6,000 prices of 600 games.")
    unpriced = market_section(measured(season(truth, truth, None)))
    assert unpriced.table is not None
    assert [row.name for row in unpriced.table.rows] == ["model", COIN]
    assert unpriced.paragraphs[0].startswith("There are not enough prices to say how it compares with the market")
    assert market_section(None).paragraphs == ["No graded game had a betting line."]


def test_the_page_about_the_claim_has_its_limits() -> None:
    """Guards against a written table that is not the one applied."""
    page = (Path(__file__).parents[2] / "docs" / "pages" / "explanation" / "market.md").read_text()
    slopes = f"the slope is {SLOPES[0]} to {SLOPES[1]}"
    for row in (
        f"| {Standing.SUSPECT} | the upper bound is below -{LEAK_MARGIN}:",
        f"| {Standing.UNKNOWN} | fewer than {FEWEST_GAMES} games or {FEWEST_PRICES:,} prices |",
        f"| {Standing.AHEAD} | the upper bound is below 0, and {slopes} |",
        f"| {Standing.LEVEL} | the upper bound is at most {LEVEL_MARGIN}, and {slopes} |",
        f"| {Standing.BEHIND} | the lower bound is above 0 |",
    ):
        assert row in page
