"""Checks of a booster: is it good enough to be anybody's model, and not better than anybody's can be."""

from __future__ import annotations

import math
from collections.abc import Callable

from nba_ml.checks.check import Check, CheckContext, Consequence, Finding, shown
from nba_ml.contract.thresholds import Range, Thresholds
from nba_ml.model.metrics import Z_95, PredictionMetrics
from nba_ml.model.record import Judgement
from nba_ml.model.uncertainty import Coverage
from nba_ml.model.values import TrainedModel

ASSET = "xgboost_model"

BEATEN = {
    "season_average": "the season average",
    "last_10_average": "the average of the last 10 games",
    "mock": "the mock that production used before",
}
"""The baselines that a model has to beat, as people call them."""

_Rule = Callable[[Judgement, CheckContext], Finding]


def _of_a_model(metric: str, rule: _Rule) -> Callable[[TrainedModel, CheckContext], Finding]:
    """A rule about what a model was judged to be; while there is no model it has nothing to say."""

    def examine(model: TrainedModel, context: CheckContext) -> Finding:
        judgement = model.report.judgement
        if judgement is None:
            return Finding(passed=True, metric=metric, value="no model yet", n=0)
        return rule(judgement, context)

    return examine


def _check(name: str, consequence: Consequence, metric: str, threshold: str, reason: str, rule: _Rule) -> Check:
    return Check(
        asset=ASSET,
        name=name,
        consequence=consequence,
        threshold=threshold,
        reason=reason,
        examine=_of_a_model(metric, rule),
    )


def _validation_mae(*, holds: Callable[[float], bool], next_step: str) -> _Rule:
    def rule(judgement: Judgement, context: CheckContext) -> Finding:
        return Finding(
            passed=holds(judgement.validation.mae),
            metric="validation MAE",
            value=judgement.validation.mae,
            n=judgement.validation.n,
            interval=shown(judgement.validation_mae_interval),
            next_step=next_step.format(month=context.month),
        )

    return rule


def _beats(baseline: str, limits: Thresholds) -> Check:
    called = BEATEN[baseline]
    metric = f"points of MAE by which the model is better than {called}"

    def rule(judgement: Judgement, context: CheckContext) -> Finding:
        result = judgement.baselines.get(baseline)
        if result is None:
            return Finding(
                passed=False,
                metric=metric,
                value="not measured",
                n=0,
                next_step=f"{called.capitalize()} has no value on any validation row of {context.month}: look at the "
                "snapshots' averages, which should be there from a player's second game on.",
            )
        rows = f"on the same {result.metrics.n:,} rows"
        outcome = (
            f"{called.capitalize()} is better by {-result.gain:.3f} points {rows}."
            if result.gain <= 0
            else f"The model is better by {result.gain:.3f} points {rows}, but so small a gain can be luck: the "
            f"interval is {shown(result.gain_interval)}."
        )
        return Finding(
            passed=result.gain_interval.low > context.limits.min_gain,
            metric=metric,
            value=result.gain,
            n=result.metrics.n,
            interval=shown(result.gain_interval),
            next_step=f"{outcome} With few months in training that is to be expected: backfill earlier months, or "
            "train a later one. If there are many, compare the months' curves of both.",
        )

    return _check(
        f"beats_{baseline}",
        Consequence.BLOCKS,
        metric,
        f"the gain's 95% interval over days lies above {limits.min_gain:g} points",
        "Whoever has no model has this for nothing: a model that does not beat it must not ship.",
        rule,
    )


def _train_gap(judgement: Judgement, context: CheckContext) -> Finding:
    train, validation = judgement.train, judgement.validation
    return Finding(
        passed=validation.mae - train.mae <= context.limits.max_train_gap,
        metric="validation MAE minus train MAE",
        value=round(validation.mae - train.mae, 6),
        n=validation.n,
        next_step=f"{train.mae:.3f} points on {train.n:,} rows that it was trained on, {validation.mae:.3f} on new "
        "ones: the model has learnt its rows by heart. Give it more months, or a smaller depth.",
    )


def _results_above_prediction(judgement: Judgement, context: CheckContext) -> Finding:
    low, high = context.limits.results_above_prediction
    above, equal = judgement.above_prediction, judgement.equal_to_prediction
    return Finding(
        # Results equal to the prediction lie on neither side: of a median they may count for either.
        passed=above <= high and above + equal >= low,
        metric="share of results above the prediction",
        value=above,
        n=judgement.validation.n,
        next_step=f"The predictions lie too {'low' if above > high else 'high'}: {above:.1%} of the results are above "
        f"them, where a median has half. Bets on {context.month}'s model would lean to one side. Look at the bias by "
        "tier, and whether validation holds games of another kind than training (playoffs, another season).",
    )


def _bias(judgement: Judgement, context: CheckContext) -> Finding:
    low, high = context.limits.bias
    validation = judgement.validation
    return Finding(
        passed=low <= validation.bias <= high,
        metric="mean of prediction minus result",
        value=validation.bias,
        n=validation.n,
        next_step=f"The predictions are {abs(validation.bias):.2f} points too "
        f"{'low' if validation.bias < 0 else 'high'} on average. Points are skewed, so a median lies a little below "
        "the mean, but not that far.",
    )


def _tier_bias(judgement: Judgement, context: CheckContext) -> Finding:
    limit = context.limits.max_tier_bias
    sure = {name: _sure_bias(tier, judgement.validation) for name, tier in judgement.tiers.items()}
    ranked = sorted(judgement.tiers.items(), key=lambda item: -sure[item[0]])
    off = [name for name, _ in ranked if sure[name] > limit]
    return Finding(
        passed=not off,
        metric="bias of the tier of season average that is farthest off",
        value=ranked[0][1].bias if ranked else 0.0,
        n=judgement.validation.n,
        worst=[{"tier": name, "bias": tier.bias, "rows": tier.n} for name, tier in ranked[:5]],
        next_step=f"Players of the tiers {' and '.join(off)} are priced wrongly by more than their rows explain. "
        "Give the model more months, or look at what these players lack in the features.",
    )


def _sure_bias(tier: PredictionMetrics, everybody: PredictionMetrics) -> float:
    """The size of a tier's bias less what the chance of its rows explains: the near end of its 95% interval."""
    # One row has no spread of its own, and two or three too little: never less than that of all rows.
    spread = max(_spread(tier), _spread(everybody))
    return abs(tier.bias) - Z_95 * spread / math.sqrt(tier.n)


def _spread(metrics: PredictionMetrics) -> float:
    """Standard deviation of the errors, in points."""
    return math.sqrt(max(metrics.rmse**2 - metrics.bias**2, 0.0))


def _predictions_in_range(judgement: Judgement, context: CheckContext) -> Finding:
    (low, high), overshoot = context.limits.prediction_range, context.limits.prediction_overshoot
    lowest, highest = judgement.lowest_prediction, judgement.highest_prediction
    return Finding(
        # A NaN is in no range.
        passed=low - overshoot <= lowest and highest <= high + overshoot,
        metric="lowest and highest prediction",
        value=f"{lowest:.2f} to {highest:.2f}",
        n=judgement.validation.n,
        next_step="No player scores that. The booster was trained on other units, or on targets that are no points: "
        f"look at the targets of the snapshots up to {context.month}.",
    )


def _refit_agrees(judgement: Judgement, context: CheckContext) -> Finding:
    return Finding(
        passed=judgement.refit_distance <= context.limits.max_refit_distance,
        metric="mean distance of the shipped booster's predictions from the measured one's",
        value=judgement.refit_distance,
        n=judgement.validation.n,
        next_step="The numbers were measured on a booster of the train side, and what would ship predicts otherwise: "
        f"look at what the last dates up to {context.month} have that those before have not. `refit: false` ships the "
        "measured one.",
    )


def _interval_coverage(judgement: Judgement, context: CheckContext) -> Finding:
    overall = judgement.coverage.overall
    return Finding(
        passed=_covers(overall, context.limits.interval_coverage),
        metric="share of results inside the 80% interval",
        value=overall.inside,
        n=overall.n,
        next_step=f"{overall.below:.1%} of the results lie below the interval and {overall.above:.1%} above it: the "
        "spread on the early-stopping dates was another one than on the validation dates. Probabilities and "
        "confidence scores are off by as much.",
    )


def _tier_coverage(judgement: Judgement, context: CheckContext) -> Finding:
    limits, nominal = context.limits.tier_coverage, judgement.coverage.overall.nominal
    ranked = sorted(judgement.coverage.tiers.items(), key=lambda item: _chance(item[1]) - abs(item[1].inside - nominal))
    off = [name for name, tier in ranked if not _covers(tier, limits)]
    return Finding(
        passed=not off,
        metric="coverage of the 80% interval in the tier that is farthest from it",
        value=ranked[0][1].inside if ranked else nominal,
        n=judgement.validation.n,
        worst=[{"tier": name, "inside": tier.inside, "rows": tier.n} for name, tier in ranked[:5]],
        next_step=f"The intervals of players of the tiers {' and '.join(off)} are too narrow or too wide. Do not stake "
        "by their confidence scores.",
    )


def _covers(coverage: Coverage, limits: Range) -> bool:
    """Whether the coverage may lie within the limits, given its rows."""
    low, high = limits
    return low - _chance(coverage) <= coverage.inside <= high + _chance(coverage)


def _chance(coverage: Coverage) -> float:
    """How far a share of so many rows lies from its expectation by chance: 95%, normal approximation."""
    return Z_95 * math.sqrt(coverage.nominal * (1 - coverage.nominal) / coverage.n)


def checks(limits: Thresholds) -> tuple[Check, ...]:
    """The checks of this asset, under the given limits."""
    low, high = limits.prediction_range
    return (
        _check(
            "predictions_in_range",
            Consequence.STOPS_RUN,
            "lowest and highest prediction",
            f"finite, and within {low:g} to {high:g} points (a tree may overshoot by {limits.prediction_overshoot:g})",
            "The prediction worker publishes nothing outside of that.",
            _predictions_in_range,
        ),
        _check(
            "validation_mae",
            Consequence.BLOCKS,
            "validation MAE",
            f"validation MAE at most {limits.max_validation_mae} points",
            "Every average of past points does better than that.",
            _validation_mae(
                holds=lambda mae: mae <= limits.max_validation_mae,
                next_step="Look at the baselines beside it and at the coverage of the months before {month}: with few "
                "months in training a model overfits. Backfill earlier months, or train a later one.",
            ),
        ),
        _check(
            "validation_mae_good",
            Consequence.WARNS,
            "validation MAE",
            f"validation MAE at most {limits.good_validation_mae} points",
            "What this recipe reaches with several seasons in training.",
            _validation_mae(
                holds=lambda mae: mae <= limits.good_validation_mae,
                next_step="Few months in training explain that, and so does a validation that reaches into the "
                "playoffs. Compare with the season average on the same rows before changing anything for {month}.",
            ),
        ),
        _check(
            "not_too_good",
            Consequence.BLOCKS,
            "validation MAE",
            f"validation MAE not under {limits.leak_mae} points",
            "Over all players no honest model was ever measured there: it is a leak until proven otherwise.",
            _validation_mae(
                holds=lambda mae: mae >= limits.leak_mae,
                next_step="Something in the features of {month} knows the results. Look at the model's importance: the "
                "feature that stands out is the one to recompute by hand for a few rows.",
            ),
        ),
        *(_beats(baseline, limits) for baseline in BEATEN),
        _check(
            "refit_agrees",
            Consequence.BLOCKS,
            "mean distance of the shipped booster's predictions from the measured one's",
            f"at most {limits.max_refit_distance:g} points on the validation rows",
            "What ships was fitted anew on all rows; the numbers speak for it only as long as it predicts alike.",
            _refit_agrees,
        ),
        _check(
            "results_above_prediction",
            Consequence.BLOCKS,
            "share of results above the prediction",
            "between {:.0%} and {:.0%} of the results lie above the prediction".format(
                *limits.results_above_prediction
            ),
            "A median halves the results. A retrain with a better MAE once lost money through such a lean.",
            _results_above_prediction,
        ),
        _check(
            "bias",
            Consequence.WARNS,
            "mean of prediction minus result",
            "between {:+g} and {:+g} points".format(*limits.bias),
            "Points are skewed, so a median lies below the mean: -0.73 and -0.41 on two unseen seasons.",
            _bias,
        ),
        _check(
            "tier_bias",
            Consequence.WARNS,
            "bias of the tier of season average that is farthest off",
            f"within {limits.max_tier_bias:g} points either way in each tier, as far as its 95% interval tells",
            "Stars and bench players can be wrong in opposite ways behind a mean of nothing.",
            _tier_bias,
        ),
        _check(
            "train_gap",
            Consequence.WARNS,
            "validation MAE minus train MAE",
            f"at most {limits.max_train_gap:g} points",
            "A wide gap is overfitting.",
            _train_gap,
        ),
        _check(
            "interval_coverage",
            Consequence.WARNS,
            "share of results inside the 80% interval",
            "between {:.0%} and {:.0%}, give or take the chance of so many rows (95%)".format(
                *limits.interval_coverage
            ),
            "Confidence scores and probabilities of going over a line are read off this interval.",
            _interval_coverage,
        ),
        _check(
            "tier_coverage",
            Consequence.WARNS,
            "coverage of the 80% interval in the tier that is farthest from it",
            "between {:.0%} and {:.0%} in each tier, give or take the chance of so many rows (95%)".format(
                *limits.tier_coverage
            ),
            "An interval that is right on average can be too narrow for every star.",
            _tier_coverage,
        ),
    )
