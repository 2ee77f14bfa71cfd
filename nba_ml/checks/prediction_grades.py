"""Checks of a month's grades: whether the model is as accurate as its validation. They only warn.

One month is a small sample, and a tier of it smaller. A share fails only if its whole 95% Wilson interval is outside
the range, so noise alone warns in fewer than one month in twenty.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain

from nba_ml.checks.check import Check, CheckContext, Consequence, Finding, shown
from nba_ml.contract.thresholds import Range, Thresholds
from nba_ml.evaluation.grades import Breakdown, GradedMonth, LineResult, Proportion, proportion
from nba_ml.evaluation.market import break_even_of, market_rows, measure_market
from nba_ml.evaluation.market_claim import LEAK_MARGIN, Standing, claim
from nba_ml.model.calibration import Coverage

ASSET = "prediction_grades"


def _mae_as_promised(graded: GradedMonth, context: CheckContext) -> Finding:
    breakdown, model = graded.report.breakdown, graded.report.model
    metric = "MAE relative to the model's validation MAE"
    if breakdown is None or model is None:
        return _nothing(metric, graded)
    overall, promised = breakdown.overall, model.validation.mae
    drift = overall.metrics.mae / promised - 1
    passed = abs(drift) <= context.limits.max_grade_drift
    return Finding(
        passed=passed,
        metric=metric,
        value=f"{drift:+.1%} ({overall.metrics.mae:.3f} against {promised:.3f})",
        n=overall.metrics.n,
        interval=shown(overall.mae_interval),
        worst=() if passed else _furthest_off(graded),
        next_step=f"If the interval of the MAE contains {promised:.3f}, {context.month} had few or unusual games: wait "
        "for the next month. If it is above, look for features that changed in feature_store_snapshot. If it is below, "
        "look for a feature that contains the result.",
    )


def _bias_against_line(graded: GradedMonth, context: CheckContext) -> Finding:
    metric, line = "mean of the model's own number minus line", _line_of(graded)
    if line is None:
        return _no_line(metric, graded)
    passed = abs(line.bias) <= context.limits.max_line_bias
    return Finding(
        passed=passed,
        metric=metric,
        value=line.bias,
        n=line.n,
        interval=f"{line.over:,} recommended over, {line.under:,} under",
        worst=() if passed else _tier_biases(graded.report.breakdown),
        next_step="Nearly every bet would be on one side. Do not use this model's recommendations. Compare its bias "
        "with the previous model's, and train it again.",
    )


def _hit_rate(graded: GradedMonth, context: CheckContext) -> Finding:
    metric, line = "hit rate of the bets", _line_of(graded)
    if line is None:
        return _no_line(metric, graded)
    rate = line.hit_rate
    if rate is None:
        return Finding(passed=True, metric=metric, value=f"no bet on {line.n:,} lines, {line.pushes} push", n=0)
    limit = context.limits.break_even_hit_rate
    needed = break_even_of(line.over + line.under, graded.report.market, limit)
    return Finding(
        passed=rate.high >= needed,
        metric=metric,
        value=rate.share,
        n=rate.n,
        interval=_wilson(rate) + (f"; at the prices of these bets {needed:.2%} break even" if needed != limit else ""),
        next_step="Bets on these recommendations lost money, and not only by chance. Do not bet on them. Collect more "
        "months of lines before you decide: it takes about 9,000 bets to distinguish 53.4% from 52.4%.",
    )


def _interval_coverage(graded: GradedMonth, context: CheckContext) -> Finding:
    metric = "share of results inside the 80% interval"
    breakdown = graded.report.breakdown
    if breakdown is None:
        return _nothing(metric, graded)
    coverage = breakdown.overall.coverage
    passed = _may_lie_in(coverage, context.limits.interval_coverage)
    return Finding(
        passed=passed,
        metric=metric,
        value=coverage.inside,
        n=coverage.n,
        interval=_wilson_of(coverage),
        worst=() if passed else [{"below": coverage.below, "above": coverage.above}],
        next_step="The spread of results differs from that on the calibration days. If it persists for a second "
        "month, train on the newer months.",
    )


def _tier_coverage(graded: GradedMonth, context: CheckContext) -> Finding:
    metric = "tiers whose 80% interval does not contain 80%"
    breakdown = graded.report.breakdown
    if breakdown is None:
        return _nothing(metric, graded)
    tiers = {name: each.coverage for name, each in breakdown.by["tier"].items()}
    wrong = {name: each for name, each in tiers.items() if not _may_lie_in(each, context.limits.tier_coverage)}
    return Finding(
        passed=not wrong,
        metric=metric,
        value=len(wrong),
        n=breakdown.overall.metrics.n,
        interval="; ".join(f"{name}: {each.inside:.1%} of {each.n:,}" for name, each in tiers.items()),
        worst=_worst_first(wrong),
        next_step="Confidence scores are wrong for the players of these tiers. If it persists for a second month, "
        "train on the newer months.",
    )


def _market_claim(graded: GradedMonth, context: CheckContext) -> Finding:
    """Over all graded months so far: a month alone never has the games that a claim needs."""
    metric, market = "what may be said about the model and the market", graded.report.market
    if graded.report.breakdown is None:
        return _nothing(metric, graded)
    if market is not None and market.prices is not None:
        earlier = (context.load(ASSET, month) for month in context.months if month < context.month)
        known = (each.table for each in chain(earlier, [graded]) if isinstance(each, GradedMonth))
        market = measure_market(market_rows(known))
    claimed = claim(market)
    return Finding(
        passed=claimed.standing is not Standing.SUSPECT,
        metric=metric,
        value=str(claimed.standing),
        n=market.prices.model.n if market and market.prices else 0,
        interval=claimed.reason,
        next_step="Nobody is that far ahead of the prices. Look for a feature that contains the result, for lines or "
        "prices captured after tip-off, and for results that changed.",
    )


def _may_lie_in(coverage: Coverage, limits: Range) -> bool:
    """Whether the share's interval overlaps the range."""
    share = _proportion(coverage)
    return share.low <= limits[1] and share.high >= limits[0]


def _proportion(coverage: Coverage) -> Proportion:
    share = proportion(round(coverage.inside * coverage.n), coverage.n)
    if share is None:
        raise ValueError("coverage of no rows")
    return share


def _wilson(share: Proportion) -> str:
    return f"{share.low:.3f} to {share.high:.3f} (95%, Wilson)"


def _wilson_of(coverage: Coverage) -> str:
    return _wilson(_proportion(coverage))


def _furthest_off(graded: GradedMonth) -> list[dict[str, object]]:
    """The five predictions with the largest error."""
    columns = ["player_lookup", "game_date", "predicted_points", "points"]
    order = [("absolute_error", "descending"), ("player_lookup", "ascending")]
    rows: list[dict[str, object]] = graded.table.sort_by(order).slice(0, 5).select(columns).to_pylist()
    return [{**row, "game_date": str(row["game_date"])} for row in rows]


def _worst_first(tiers: Mapping[str, Coverage]) -> list[dict[str, object]]:
    order = sorted(tiers.items(), key=lambda item: -abs(item[1].inside - item[1].nominal))
    return [
        {"tier": name, "n": each.n, "inside": each.inside, "95% interval": _wilson_of(each)} for name, each in order
    ]


def _line_of(graded: GradedMonth) -> LineResult | None:
    breakdown = graded.report.breakdown
    return breakdown.overall.against_line if breakdown else None


def _tier_biases(breakdown: Breakdown | None) -> list[dict[str, object]]:
    tiers = {name: each.against_line for name, each in breakdown.by["tier"].items()} if breakdown else {}
    ranked = sorted(((n, line) for n, line in tiers.items() if line is not None), key=lambda item: -abs(item[1].bias))
    return [{"tier": name, "n": line.n, "bias": line.bias} for name, line in ranked]


def _nothing(metric: str, graded: GradedMonth) -> Finding:
    return Finding(passed=True, metric=metric, value=f"nothing graded: {graded.report.note}", n=0)


def _no_line(metric: str, graded: GradedMonth) -> Finding:
    if graded.report.breakdown is None:
        return _nothing(metric, graded)
    return Finding(passed=True, metric=metric, value="no lines", n=0)


def checks(limits: Thresholds) -> tuple[Check, ...]:
    """The checks of this asset with the given limits."""
    overall, tier = limits.interval_coverage, limits.tier_coverage
    rules = (
        (
            "mae_as_promised",
            f"MAE within {limits.max_grade_drift:.0%} of the validation MAE of the model that predicted",
            "Validation predicts the error on future days. A month far above it means that something changed; far "
            "below it means a leak.",
            _mae_as_promised,
        ),
        (
            "bias_against_line",
            f"mean of the model's own number minus line within +-{limits.max_line_bias} points",
            "A retrained model with a better MAE once lost money because its bias put the bets on one side.",
            _bias_against_line,
        ),
        (
            "hit_rate",
            f"the 95% Wilson interval of the hit rate reaches {limits.break_even_hit_rate:.2%}",
            "Below it, bets at the usual odds of -110 lose money. Bets with a price need the share of that price.",
            _hit_rate,
        ),
        (
            "interval_coverage",
            f"coverage of the 10-90% interval between {overall[0]:.0%} and {overall[1]:.0%}, give or take its own 95% "
            "Wilson interval",
            "confidence_score and over_probability come from the same calibration.",
            _interval_coverage,
        ),
        (
            "interval_coverage_by_tier",
            f"coverage in each tier of season average between {tier[0]:.0%} and {tier[1]:.0%}, give or take its own "
            "95% Wilson interval",
            "An interval that is right on average but wrong for stars is wrong where most bets are.",
            _tier_coverage,
        ),
        (
            "market_claim",
            f"the Brier score is not below the market's by more than {LEAK_MARGIN} at the upper bound of the "
            "difference, over all graded months so far",
            "Behind, level with or ahead of the market is a claim that needs a number of prices, and a model that is "
            "far ahead of them has seen the result.",
            _market_claim,
        ),
    )
    return tuple(
        Check(ASSET, name, Consequence.WARNS, threshold, reason, examine) for name, threshold, reason, examine in rules
    )
