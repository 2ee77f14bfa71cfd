"""Checks of a booster: good enough to publish, and not too good to be true."""

from __future__ import annotations

import math
from collections.abc import Callable

from nba_ml.checks.check import Check, CheckContext, Consequence, Finding, shown
from nba_ml.contract.thresholds import Range, Thresholds
from nba_ml.model.calibration import Coverage
from nba_ml.model.metrics import Z_95, PredictionMetrics
from nba_ml.model.record import Judgement
from nba_ml.model.values import TrainedModel

ASSET = "xgboost_model"

BEATEN = {
    "season_average": "the season average",
    "last_10_average": "the average of the last 10 games",
    "mock": "the mock that production used before",
}
"""The baselines that a model must beat: name -> description."""

_Rule = Callable[[Judgement, CheckContext], Finding]


def _of_a_model(metric: str, rule: _Rule) -> Callable[[TrainedModel, CheckContext], Finding]:
    """Apply a rule to the model's evaluation. Passes if there is no model yet."""

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
            unit="points",
            n=judgement.validation.n,
            interval=shown(judgement.validation_mae_interval),
            next_step=next_step.format(month=context.month),
        )

    return rule


def _beats(baseline: str, limits: Thresholds) -> Check:
    baseline_name = BEATEN[baseline]
    metric = f"gain over {baseline_name}"

    def rule(judgement: Judgement, context: CheckContext) -> Finding:
        result = judgement.baselines.get(baseline)
        if result is None:
            return Finding(
                passed=False,
                metric=metric,
                value="not measured",
                n=0,
                next_step=f"{baseline_name.capitalize()} has no value on any validation row of {context.month}. Check "
                "the averages in the snapshots, which exist from a player's second game.",
            )
        rows = f"on the same {result.metrics.n:,} rows"
        outcome = (
            f"{baseline_name.capitalize()} is better by {-result.gain:.3f} points {rows}."
            if result.gain <= 0
            else f"The model is better by {result.gain:.3f} points {rows}, but that can be chance: the "
            f"interval begins at {result.gain_interval.low:.3f}."
        )
        return Finding(
            passed=result.gain_interval.low > context.limits.min_gain,
            metric=metric,
            value=result.gain,
            unit="points",
            n=result.metrics.n,
            interval=shown(result.gain_interval),
            next_step=f"{outcome} This is expected with few months of training data: backfill earlier months, or train "
            "a later one. With many months, compare both curves over the months.",
        )

    return _check(
        f"beats_{baseline}",
        Consequence.BLOCKS,
        metric,
        f"the gain's 95% interval over days lies above {limits.min_gain:g} points",
        f"Nobody needs a model that does not beat {baseline_name}.",
        rule,
    )


def _train_gap(judgement: Judgement, context: CheckContext) -> Finding:
    train, validation = judgement.train, judgement.validation
    return Finding(
        passed=validation.mae - train.mae <= context.limits.max_train_gap,
        metric="validation MAE minus train MAE",
        value=round(validation.mae - train.mae, 6),
        unit="points",
        n=validation.n,
        next_step=f"The MAE is {train.mae:.3f} points on the {train.n:,} training rows and {validation.mae:.3f} on new "
        "ones: the model overfits. Train on more months, or reduce the depth.",
    )


def _results_above_prediction(judgement: Judgement, context: CheckContext) -> Finding:
    low, high = context.limits.results_above_prediction
    above, equal = judgement.above_prediction, judgement.equal_to_prediction
    return Finding(
        # A result equal to the prediction may count for either side of a median.
        passed=above <= high and above + equal >= low,
        metric="share of results above the prediction",
        value=above,
        n=judgement.validation.n,
        next_step=f"The predictions are too {'low' if above > high else 'high'}: {above:.1%} of the results are above "
        f"them, and a median has 50%. Bets on {context.month}'s model would favour one side. Check the bias by "
        "tier, and whether validation has other kinds of games than training (playoffs, another season).",
    )


def _bias(judgement: Judgement, context: CheckContext) -> Finding:
    low, high = context.limits.bias
    validation = judgement.validation
    return Finding(
        passed=low <= validation.bias <= high,
        metric="mean of prediction minus result",
        value=validation.bias,
        unit="points",
        n=validation.n,
        next_step=f"The predictions are {abs(validation.bias):.2f} points too "
        f"{'low' if validation.bias < 0 else 'high'} on average. Points are skewed, so a median is a little below "
        "the mean, but not that much. Check tier_bias for the players that cause it.",
    )


def _tier_bias(judgement: Judgement, context: CheckContext) -> Finding:
    limit = context.limits.max_tier_bias
    significant = {name: _significant_bias(tier, judgement.validation) for name, tier in judgement.tiers.items()}
    ranked = sorted(judgement.tiers.items(), key=lambda item: -significant[item[0]])
    off = [name for name, _ in ranked if significant[name] > limit]
    return Finding(
        passed=not off,
        metric="largest bias of a season-average tier",
        value=ranked[0][1].bias if ranked else 0.0,
        unit="points",
        n=judgement.validation.n,
        worst=[{"tier": name, "bias": tier.bias, "rows": tier.n} for name, tier in ranked[:5]],
        next_step=f"Players of the tiers {' and '.join(off)} are mispriced by more than chance explains. "
        "Train on more months, or look for missing feature values of these players.",
    )


def _significant_bias(tier: PredictionMetrics, overall: PredictionMetrics) -> float:
    """The part of a tier's absolute bias that exceeds chance: the near end of its 95% interval."""
    # The spread of one to three rows is too small, so use at least that of all rows.
    spread = max(_spread(tier), _spread(overall))
    return abs(tier.bias) - Z_95 * spread / math.sqrt(tier.n)


def _spread(metrics: PredictionMetrics) -> float:
    """Standard deviation of the errors, in points."""
    return math.sqrt(max(metrics.rmse**2 - metrics.bias**2, 0.0))


def _predictions_in_range(judgement: Judgement, context: CheckContext) -> Finding:
    (low, high), overshoot = context.limits.prediction_range, context.limits.prediction_overshoot
    lowest, highest = judgement.lowest_prediction, judgement.highest_prediction
    return Finding(
        # NaN fails both comparisons.
        passed=low - overshoot <= lowest and highest <= high + overshoot,
        metric="lowest and highest prediction",
        value=f"{lowest:.2f} to {highest:.2f}",
        unit="points",
        n=judgement.validation.n,
        next_step="No player scores that. The booster was trained on other units, or the targets are not points: "
        f"check the targets of the snapshots up to {context.month}.",
    )


def _refit_agrees(judgement: Judgement, context: CheckContext) -> Finding:
    return Finding(
        passed=judgement.refit_distance <= context.limits.max_refit_distance,
        metric="mean absolute difference of the shipped and the measured booster's predictions",
        value=judgement.refit_distance,
        unit="points",
        n=judgement.validation.n,
        next_step="The booster fitted on all rows predicts differently from the one that was measured. Check how the "
        f"last dates up to {context.month} differ from earlier ones. To ship the measured booster, set `refit: false`.",
    )


def _interval_coverage(judgement: Judgement, context: CheckContext) -> Finding:
    overall = judgement.published_coverage.overall
    return Finding(
        passed=_covers(overall, context.limits.interval_coverage),
        metric="share of results inside the 80% interval",
        value=overall.inside,
        n=overall.n,
        next_step=f"{overall.below:.1%} of the results are below the interval and {overall.above:.1%} above it: the "
        "spread differs between the early-stopping and the validation dates. Probabilities and confidence scores are "
        "off by as much.",
    )


def _tier_coverage(judgement: Judgement, context: CheckContext) -> Finding:
    limits, nominal = context.limits.tier_coverage, judgement.published_coverage.overall.nominal
    ranked = sorted(
        judgement.published_coverage.tiers.items(), key=lambda item: _chance(item[1]) - abs(item[1].inside - nominal)
    )
    off = [name for name, tier in ranked if not _covers(tier, limits)]
    return Finding(
        passed=not off,
        metric="coverage of the 80% interval in the tier furthest from 80%",
        value=ranked[0][1].inside if ranked else nominal,
        n=judgement.validation.n,
        worst=[{"tier": name, "inside": tier.inside, "rows": tier.n} for name, tier in ranked[:5]],
        next_step=f"The intervals of players of the tiers {' and '.join(off)} are too narrow or too wide. Do not use "
        "their confidence scores for stakes.",
    )


def _covers(coverage: Coverage, limits: Range) -> bool:
    """Whether the coverage is within the limits, allowing for chance."""
    low, high = limits
    return low - _chance(coverage) <= coverage.inside <= high + _chance(coverage)


def _chance(coverage: Coverage) -> float:
    """How far chance alone moves the share: half of its 95% interval, normal approximation."""
    return Z_95 * math.sqrt(coverage.nominal * (1 - coverage.nominal) / coverage.n)


def checks(limits: Thresholds) -> tuple[Check, ...]:
    """The checks of this asset with the given limits."""
    low, high = limits.prediction_range
    return (
        _check(
            "predictions_in_range",
            Consequence.STOPS_RUN,
            "lowest and highest prediction",
            f"finite, and within {low:g} to {high:g} points (a tree may overshoot by {limits.prediction_overshoot:g})",
            "The prediction worker publishes nothing outside this range.",
            _predictions_in_range,
        ),
        _check(
            "validation_mae",
            Consequence.BLOCKS,
            "validation MAE",
            f"validation MAE at most {limits.max_validation_mae} points",
            "Every average of past points is better than that.",
            _validation_mae(
                holds=lambda mae: mae <= limits.max_validation_mae,
                next_step="Check the baselines, and the coverage of the months before {month}: with few months of "
                "training data a model overfits. Backfill earlier months, or train a later one.",
            ),
        ),
        _check(
            "validation_mae_good",
            Consequence.WARNS,
            "validation MAE",
            f"validation MAE at most {limits.good_validation_mae} points",
            "This configuration reaches it with several seasons of training data.",
            _validation_mae(
                holds=lambda mae: mae <= limits.good_validation_mae,
                next_step="Likely causes are few months of training data, or playoff games in validation. Compare with "
                "the season average on the same rows before you change anything for {month}.",
            ),
        ),
        _check(
            "not_too_good",
            Consequence.BLOCKS,
            "validation MAE",
            f"validation MAE not under {limits.leak_mae} points",
            "No leak-free model over all players has reached it: treat it as a leak until proven otherwise.",
            _validation_mae(
                holds=lambda mae: mae >= limits.leak_mae,
                next_step="A feature of {month} contains the results. Find the feature that stands out in the model's "
                "importance, and recompute it by hand for a few rows.",
            ),
        ),
        *(_beats(baseline, limits) for baseline in BEATEN),
        _check(
            "refit_agrees",
            Consequence.BLOCKS,
            "mean absolute difference of the shipped and the measured booster's predictions",
            f"at most {limits.max_refit_distance:g} points on the validation rows",
            "The shipped booster is refitted on all rows. The measured numbers apply only if it predicts alike.",
            _refit_agrees,
        ),
        _check(
            "results_above_prediction",
            Consequence.BLOCKS,
            "share of results above the prediction",
            "between {:.0%} and {:.0%} of the results lie above the prediction".format(
                *limits.results_above_prediction
            ),
            "Half of the results lie above a median. A retrained model with a better MAE once lost money "
            "by such a bias.",
            _results_above_prediction,
        ),
        _check(
            "bias",
            Consequence.WARNS,
            "mean of prediction minus result",
            "between {:+g} and {:+g} points".format(*limits.bias),
            "Points are skewed, so a median is below the mean: -0.73 and -0.41 in two unseen seasons.",
            _bias,
        ),
        _check(
            "tier_bias",
            Consequence.WARNS,
            "largest bias of a season-average tier",
            f"within {limits.max_tier_bias:g} points either way in each tier, as far as its 95% interval tells",
            "Opposite biases for stars and bench players can cancel out in the overall bias.",
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
            "Confidence scores and over probabilities come from the same calibration.",
            _interval_coverage,
        ),
        _check(
            "tier_coverage",
            Consequence.WARNS,
            "coverage of the 80% interval in the tier furthest from 80%",
            "between {:.0%} and {:.0%} in each tier, give or take the chance of so many rows (95%)".format(
                *limits.tier_coverage
            ),
            "An interval that is right on average can be too narrow for every star.",
            _tier_coverage,
        ),
    )
