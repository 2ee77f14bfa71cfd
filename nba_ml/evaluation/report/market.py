"""The report's section about the market, and the words for a claim."""

from __future__ import annotations

from nba_ml.evaluation.market import METHODS, Compared, MarketResult, PricedBets, Probabilities
from nba_ml.evaluation.market_claim import Claim, Standing, claim
from nba_ml.evaluation.report.marks import count, signed
from nba_ml.evaluation.report.sections import Section
from nba_ml.evaluation.report.tables import Cell, Row, Table, WithInterval
from nba_ml.evaluation.scores import Estimate, Scores

TITLE = "Against the market"


def claim_in_words(claimed: Claim) -> str:
    """A clause about the model: `it is level with the market`."""
    if claimed.standing is Standing.UNKNOWN:
        return f"there are {Standing.UNKNOWN} how it compares with the market"
    return f"it is {claimed.standing}"


def market_section(result: MarketResult | None) -> Section:
    """The scores of the over probabilities, against the market where there are prices, and against a coin."""
    if result is None:
        return Section(TITLE, paragraphs=["No graded game had a betting line."])
    claimed, shown = claim(result), result.prices or result.lines
    clause, games = claim_in_words(claimed), f", of {count(shown.games, 'game')}" if shown else ""
    return Section(
        TITLE,
        paragraphs=[f"{clause[0].upper()}{clause[1:]}: {claimed.reason}.", *_bets(result.bets)],
        lead=f"Scores of the probability of going over the line, on the same rows for all{games}; lower is better, and "
        "a difference below 0 means that the model is better. Intervals are 95%, clustered by game. The market is the "
        "prices of both sides of the line without the margin, by three methods. Left out: "
        f"{count(result.pushes, 'row')} with a push, {count(result.whole_lines, 'row')} with a line at a whole number.",
        table=scores_table(shown) if shown else None,
        summary="All rows with a line, against a coin",
        details=[("", scores_table(result.lines))] if result.prices and result.lines else (),
    )


def scores_table(probabilities: Probabilities) -> Table:
    """The model, then every other forecaster of the same rows."""
    names = ["forecaster", "Brier score", "difference", "log loss", "difference in log loss"]
    names += ["slope", "intercept", "calibration error", "rows"]
    rows = [Row("model", _scores(probabilities.model, None), total=True)]
    for name, each in probabilities.others.items():
        rows.append(Row(f"market, {name}" if name in METHODS else name, _scores(each.scores, each)))
    return Table(names, rows)


def _scores(scores: Scores, compared: Compared | None) -> list[Cell]:
    return [
        f"{scores.brier:.4f}",
        estimate_cell(compared.brier) if compared else "-",
        f"{scores.log_loss:.4f}",
        estimate_cell(compared.log_loss) if compared else "-",
        "-" if scores.slope is None else f"{scores.slope:.2f}",
        "-" if scores.intercept is None else signed(scores.intercept, 2),
        f"{scores.calibration_error:.3f}",
        f"{scores.n:,}",
    ]


def estimate_cell(estimate: Estimate) -> Cell:
    """A difference of scores with its interval."""
    if estimate.low is None or estimate.high is None:
        return signed(estimate.value, 4)
    return WithInterval(signed(estimate.value, 4), f"{signed(estimate.low, 4)} to {signed(estimate.high, 4)}")


def _bets(bets: PricedBets | None) -> list[str]:
    if bets is None:
        return []
    rate = f"{_share(bets.hit_rate)} of them were right" if bets.hit_rate else "all of them were pushes"
    return [
        f"{count(bets.n, 'recommended bet')} had a price: {rate}, and a bet of one unit returned "
        f"{_share(bets.returned, '+.1%')}. At these prices, {bets.break_even:.1%} break even. Past results; no advice."
    ]


def _share(estimate: Estimate, form: str = ".1%") -> str:
    bounds = f" ({estimate.low:{form}} to {estimate.high:{form}})" if estimate.low is not None else ""
    return f"{estimate.value:{form}}{bounds}"
