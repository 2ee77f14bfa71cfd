"""Which distribution of a player's points is right: methods compared walk-forward, the shipped one confirmed once.

    python -m nba_ml_tests.benchmarks.distribution [--every N] [--threads N] [--output FILE]

Every N-th month's model, as shipped (refitted on all rows, with the spread learnt on the early-stopping rows of its
split), states the distribution of every result of the months that follow. Choosing looks at 2021-22 to 2023-24 only;
what ships is then looked at once on 2024-25. Writes its part of `accuracy.md`.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import xgboost as xgb
from scipy.optimize import minimize
from scipy.special import betainc, gammaln

from nba_ml.contract.features import V2_33FEATURES
from nba_ml.contract.quantiles import PUBLISHED_LEVELS
from nba_ml.model.calibration import HIGH, LOW, WIDE, calibrate, fit_distribution
from nba_ml.model.distribution import DistributionScores, score_rows
from nba_ml.model.fitting import Hyperparameters, Samples, fit, fit_all, predict
from nba_ml.model.metrics import interval_over_days
from nba_ml.model.recommendation import publish_points
from nba_ml.model.spread import MOST_POINTS, Spread
from nba_ml.model.tiers import TIER_NAMES, tier_of
from nba_ml.settings import Settings
from nba_ml.sources.embedded import EmbeddedFeatureSource, source_months
from nba_ml_tests.benchmarks.accuracy import CHOOSING_SEASONS, CONFIRMING_SEASON, REPORT, Months, Sides, write_part

Floats = npt.NDArray[np.float64]
Ends = tuple[Floats, Floats]

SEASON_AVERAGE = V2_33FEATURES.index("points_avg_season")
BEFORE, SHIPPED = "scale and shape (before)", "scale and shape, zeros apart (shipped)"
LARGE_TIER, MOST_OFF, MOST_VARIANCE_OFF = 1000, 0.015, 0.002
"""The targets: rows of a tier that counts, largest difference from the stated coverage, and that of the variance."""
HURDLE, BOOSTED, CORRECTED = "hurdle negative binomial", "boosted quantiles", "boosted quantiles, conformal (CQR)"


@dataclass(frozen=True, slots=True)
class Trained:
    """A month's model: published points and results of its early-stopping rows, and points of the rows that follow.

    `boosted` are a second booster's quantiles (n, 19) of both sets of rows; None where they are not compared.
    """

    held: Floats
    held_results: Floats
    held_lines: Floats
    new: Floats
    target: Samples
    boosted: tuple[Floats, Floats] | None


@dataclass(frozen=True, slots=True)
class Stated:
    """A method's distributions of the rows, the ends of its intervals, and the share of quantiles that cross."""

    spread: Spread
    narrow: Ends
    wide: Ends
    crossing: float = 0.0


def train(months: Months, seasons: Sequence[str], every: int, threads: int, *, boosted: bool) -> Iterator[Trained]:
    """The models of every N-th month of the seasons, each with the rows of the months that follow."""
    for trained, after in months.walk(months.of_seasons(seasons), every):
        sides, target, held = months.sides(trained), months.rows(after), months.sides(trained).early_stopping
        fitted = fit(sides.train, held, Hyperparameters(), V2_33FEATURES, threads)
        shipped = fit_all(sides.everything, fitted.best_iteration + 1, Hyperparameters(), V2_33FEATURES, threads)
        yield Trained(
            publish_points(predict(fitted.booster, held.features, threads)),
            held.points.astype(np.float64),
            held.features[:, V2_33FEATURES.index("vegas_points_line")].astype(np.float64),
            publish_points(predict(shipped, target.features, threads)),
            target,
            _boosted(sides, target, threads) if boosted else None,
        )
        print(f"  trained on {trained}: {len(target):,} rows", flush=True)


def _boosted(sides: Sides, target: Samples, threads: int) -> tuple[Floats, Floats]:
    """A second booster that predicts all 19 quantiles from all features."""
    names, held = list(V2_33FEATURES.names), sides.early_stopping
    parameters = {
        **Hyperparameters(max_depth=4, learning_rate=0.15, min_child_weight=30).booster_params(threads),
        "objective": "reg:quantileerror",
        "quantile_alpha": np.array(PUBLISHED_LEVELS),
        "eval_metric": "quantile",
        "max_bin": 64,
    }
    matrix = xgb.QuantileDMatrix(sides.train.features, label=sides.train.points, feature_names=names, max_bin=64)
    watched = xgb.QuantileDMatrix(held.features, label=held.points, feature_names=names, ref=matrix, max_bin=64)
    found = xgb.train(parameters, matrix, 150, evals=[(watched, "held")], early_stopping_rounds=12, verbose_eval=False)
    best = found[: found.best_iteration + 1]
    first, second = (np.asarray(best.inplace_predict(rows.features), dtype=np.float64) for rows in (held, target))
    return first, second


def _before(model: Trained) -> Stated:
    stated = calibrate(model.held, model.held_results).beliefs(model.new, np.full(len(model.new), np.nan))
    return Stated(Spread.published(stated.quantiles), stated.interval, stated.wide_interval)


def _shipped(model: Trained) -> Stated:
    stated = fit_distribution(model.held, model.held_results).beliefs(model.new, np.full(len(model.new), np.nan))
    return Stated(Spread.published(stated.quantiles), stated.interval, stated.wide_interval)


def _of_quantiles(quantiles: Floats) -> Stated:
    crossing = float((np.diff(quantiles, axis=1) < 0).mean())
    spread = Spread.published(np.sort(np.maximum(quantiles, 0.0), axis=1))
    return Stated(spread, spread.interval(HIGH - LOW), spread.interval(WIDE), crossing)


def _of_boosted(model: Trained) -> Stated:
    assert model.boosted is not None
    return _of_quantiles(model.boosted[1])


def _corrected(model: Trained) -> Stated:
    """Conformalised quantile regression (Romano, Patterson and Candes, 2019), level by level."""
    assert model.boosted is not None
    held, new = model.boosted
    moved = [
        np.quantile(model.held_results - held[:, i], level, method="weibull")
        for i, level in enumerate(PUBLISHED_LEVELS)
    ]
    return _of_quantiles(new + np.array(moved))


def _hurdle(model: Trained) -> Stated:
    """Zero points with a logistic probability of the prediction; else one more than a negative binomial."""

    def design(points: Floats) -> tuple[Floats, Floats]:
        at = np.maximum(points, 0.05)
        return np.stack([np.ones_like(at), np.sqrt(at), at], axis=1), np.log(at + 0.3)

    def parameters(w: Floats, x: Floats, log: Floats) -> tuple[Floats, Floats]:
        mean = np.clip(np.exp(w[0] + w[1] * log + w[2] * x[:, 1]), 1e-3, 90)
        return mean, np.clip(np.exp(w[3] + w[4] * log), 0.2, 500)

    (x, log), zero = design(model.held), model.held_results == 0
    b = minimize(
        lambda b: float((np.logaddexp(0, x @ b) - (x @ b) * zero).sum()), np.array([1.0, -1.0, 0.0]), method="BFGS"
    ).x
    more, x_more, log_more = model.held_results[~zero] - 1, x[~zero], log[~zero]

    def loss(w: Floats) -> float:
        mean, size = parameters(w, x_more, log_more)
        counted = gammaln(more + size) - gammaln(size) - gammaln(more + 1)
        return -float((counted + size * np.log(size / (size + mean)) + more * np.log(mean / (size + mean))).sum())

    start = np.array([0.0, 1.0, 0.0, 1.0, 0.3])
    w = minimize(loss, start, method="Nelder-Mead", options={"maxiter": 3000, "maxfev": 3000}).x
    x, log = design(model.new)
    mean, size = parameters(w, x, log)
    none = 1 / (1 + np.exp(-(x @ b)))[:, None]
    whole = np.arange(MOST_POINTS + 1.0)
    rest = betainc(size[:, None], whole[1:], (size / (size + mean))[:, None])
    at_most = np.concatenate([none, none + (1 - none) * rest], axis=1)
    ends = np.arange(-0.5, MOST_POINTS + 1)
    quantiles = [np.interp(PUBLISHED_LEVELS, np.concatenate([[0.0], row]), ends) for row in at_most]
    return _of_quantiles(np.array(quantiles))


METHODS: Mapping[str, Callable[[Trained], Stated]] = {
    BEFORE: _before,
    SHIPPED: _shipped,
    HURDLE: _hurdle,
    BOOSTED: _of_boosted,
    CORRECTED: _corrected,
}


@dataclass(frozen=True, slots=True)
class Rows:
    """Results with their dates, tiers, and the CRPS of the player's last ten games as a distribution; NaN for none."""

    points: Floats
    days: npt.NDArray[np.datetime64]
    tiers: npt.NDArray[np.str_]
    last_ten: Floats

    @classmethod
    def of(cls, models: Sequence[Trained], games: pa.Table) -> Rows:
        return cls(
            np.concatenate([model.target.points for model in models]).astype(np.float64),
            np.concatenate([model.target.dates for model in models]),
            tier_of(np.concatenate([model.target.features[:, SEASON_AVERAGE] for model in models])),
            np.concatenate([last_ten_crps(model.target, games) for model in models]),
        )

    def of_tier(self, name: str) -> npt.NDArray[np.bool_]:
        """The rows (n,) of a tier that have games before: 'all' for every tier."""
        return ~np.isnan(self.last_ten) & ((self.tiers == name) | (name == "all"))


def last_ten_crps(rows: Samples, games: pa.Table) -> Floats:
    """CRPS (n,) of the empirical distribution of each player's last ten games before the date; NaN without a game.

    Args:
        games: player_lookup, game_date and points of every game played.
    """
    frame = games.to_pandas(date_as_object=False).sort_values(["player_lookup", "game_date"])
    history = {
        player: (group["game_date"].to_numpy(), group["points"].to_numpy(np.float64))
        for player, group in frame.groupby("player_lookup")
    }
    found = np.full(len(rows), np.nan)
    for i, (player, day) in enumerate(zip(rows.keys.column("player_lookup").to_pylist(), rows.dates, strict=True)):
        dates, points = history[player]
        end = int(np.searchsorted(dates, day.astype(dates.dtype), side="left"))
        if end:
            last = points[max(0, end - 10) : end]
            apart = np.abs(last[:, None] - last).mean() / 2
            found[i] = np.abs(last - float(rows.points[i])).mean() - apart
    return found


def games_played() -> pa.Table:
    """player_lookup, game_date and points of all games of the configured source."""
    data = Settings.from_environment().data
    source = EmbeddedFeatureSource(data=str(data))
    tables = [source.player_game_summary(month).table for month in source_months(data)]
    return pa.concat_tables(tables).select(["player_lookup", "game_date", "points"])


@dataclass(frozen=True, slots=True)
class Scored:
    """A method's CRPS (n,), its scores over all rows, and by tier."""

    crps: Floats
    overall: DistributionScores
    tiers: dict[str, DistributionScores]
    crossing: float


def score(method: Callable[[Trained], Stated], models: Sequence[Trained], rows: Rows) -> Scored:
    """Score a method on the rows of all models."""
    stated = [method(model) for model in models]
    spread = Spread.published(np.concatenate([each.spread.quantiles for each in stated]))
    narrow, wide = (
        np.concatenate([np.stack(getattr(each, name), axis=1) for each in stated]) for name in ("narrow", "wide")
    )
    parts = (rows.points, narrow, wide, spread.crps(rows.points), spread.pit(rows.points))
    return Scored(
        parts[3],
        score_rows(*parts),
        {
            name: score_rows(*(part[rows.tiers == name] for part in parts))
            for name in TIER_NAMES
            if (rows.tiers == name).any()
        },
        float(np.mean([each.crossing for each in stated])),
    )


def methods_table(scored: Mapping[str, Scored], rows: Rows) -> str:
    """CRPS, its gain on the shipped method, PIT and crossing of each method, and its coverage by tier: 80% / 90%."""
    tiers = list(next(iter(scored.values())).tiers)
    gained = ["gain on the shipped", "95% interval"]
    heads = ["method", "CRPS", *gained, "PIT mean", "PIT variance", "crossing", "all", *tiers]
    lines = [_row(heads), _row(["---"] * len(heads))]
    for name, each in scored.items():
        shares = [
            f"{s.coverage_80.inside:.1%} / {s.coverage_90.inside:.1%}" for s in (each.overall, *each.tiers.values())
        ]
        gain = scored[SHIPPED].crps - each.crps
        interval = interval_over_days(gain, rows.days)
        gained = [f"{gain.mean():+.4f}", f"{interval.low:+.4f} to {interval.high:+.4f}"]
        gained = ["", ""] if name == SHIPPED else gained
        pit = [f"{each.overall.pit_mean:.3f}", f"{each.overall.pit_variance:.4f}"]
        lines.append(_row([name, f"{each.overall.crps:.4f}", *gained, *pit, f"{each.crossing:.2%}", *shares]))
    return "\n".join(lines)


def targets_table(scored: Mapping[str, Scored], rows: Rows) -> str:
    """Whether each method meets the targets: coverage and the gain on the last ten games in every tier of 1,000 rows or
    more, and the variance of the transform."""
    heads = ["method", "coverage", "tier furthest off", "better than the last ten", "PIT variance", "meets all"]
    lines = [_row(heads), _row(["---"] * len(heads))]
    for name, each in scored.items():
        large = {tier: s for tier, s in each.tiers.items() if s.n >= LARGE_TIER}
        off = {
            (tier, share): abs(inside - share)
            for tier, s in large.items()
            for share, inside in ((0.8, s.coverage_80.inside), (0.9, s.coverage_90.inside))
        }
        (tier, share), furthest = max(off.items(), key=lambda item: item[1])
        gains = {tier: (rows.last_ten - each.crps)[rows.of_tier(tier)] for tier in large}
        worst, low = min(
            ((tier, interval_over_days(gain, rows.days[rows.of_tier(tier)]).low) for tier, gain in gains.items()),
            key=lambda item: item[1],
        )
        met = [furthest <= MOST_OFF, low > 0, abs(each.overall.pit_variance - 1 / 12) <= MOST_VARIANCE_OFF]
        cells = [
            _yes(met[0]),
            f"{tier}, {share:.0%}: off by {furthest * 100:.1f} points",
            f"{_yes(met[1])}: at least {low:+.3f} ({worst})",
            f"{_yes(met[2])}: {each.overall.pit_variance:.4f}",
            _yes(all(met)),
        ]
        lines.append(_row([name, *cells]))
    return "\n".join(lines)


def _yes(met: bool) -> str:
    return "yes" if met else "no"


def last_ten_table(shipped: Scored, before: Scored, rows: Rows) -> str:
    """CRPS by tier of the shipped distribution, and its gain on the last ten games, on the rows that have any."""
    lines = [
        _row(["tier", "rows", "CRPS", "before", "last ten", "gain on the last ten", "95% interval", "PIT variance"])
    ]
    lines.append(_row(["---"] * 8))
    for name, scores in (("all", shipped.overall), *shipped.tiers.items()):
        chosen = rows.of_tier(name)
        gain = (rows.last_ten - shipped.crps)[chosen]
        interval = interval_over_days(gain, rows.days[chosen])
        means = (values[chosen].mean() for values in (shipped.crps, before.crps, rows.last_ten))
        cells = [name, f"{chosen.sum():,}", *(f"{mean:.4f}" for mean in means), f"{gain.mean():+.4f}"]
        lines.append(_row([*cells, f"{interval.low:+.4f} to {interval.high:+.4f}", f"{scores.pit_variance:.4f}"]))
    return "\n".join(lines)


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def report(choosing: Sequence[Trained], confirming: Sequence[Trained], games: pa.Table, every: int) -> str:
    """The generated part of the report."""
    chosen, confirmed = Rows.of(choosing, games), Rows.of(confirming, games)
    names = [name for name in METHODS if name not in (BOOSTED, CORRECTED) or choosing[0].boosted is not None]
    first = {name: score(METHODS[name], choosing, chosen) for name in names}
    second = {name: score(METHODS[name], confirming, confirmed) for name in (BEFORE, SHIPPED)}
    paragraphs = (
        "# Distribution: which quantiles",
        f"Written by `python -m nba_ml_tests.benchmarks.distribution --every {every}`. The model of every "
        f"{every} months, as shipped, states 19 quantiles of every result of the months that follow; its spread is "
        "learnt on its early-stopping rows. CRPS in points, lower is better. The variance of the probability integral "
        "transform is 0.0833 if the probabilities are right. `crossing`: pairs of neighbouring quantiles that fall. "
        "Then the share of results inside the 80% and the 90% interval, by tier of season average.",
        f"## Choosing: {', '.join(CHOOSING_SEASONS)}",
        f"{len(chosen.points):,} rows.",
        methods_table(first, chosen),
        "The targets: 80% and 90% coverage within 1.5 points in every tier of 1,000 rows or more, a CRPS better than "
        "that of the last ten games in each of these, at the low end of its 95% interval, and a variance of the "
        "transform of 0.0833 +- 0.002.",
        targets_table(first, chosen),
        "What decided, before the second season was looked at: coverage within 1.5 points in every tier of 1,000 rows, "
        "then the variance, then the CRPS, then simplicity. The shipped method, by tier:",
        last_ten_table(first[SHIPPED], first[BEFORE], chosen),
        f"## Confirming, once: {CONFIRMING_SEASON}",
        f"{len(confirmed.points):,} rows.",
        methods_table(second, confirmed),
        targets_table(second, confirmed),
        last_ten_table(second[SHIPPED], second[BEFORE], confirmed),
    )
    return "\n\n".join(paragraphs)


def main(arguments: Sequence[str] | None = None) -> None:
    """Compare on the seasons of choosing, confirm what ships, write."""
    parser = argparse.ArgumentParser(prog="python -m nba_ml_tests.benchmarks.distribution", description=__doc__)
    parser.add_argument("--every", type=int, default=3, metavar="N", help="train every N months; default: 3")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="threads of each training; default: 1")
    parser.add_argument("--output", type=Path, default=REPORT, metavar="FILE", help="default: %(default)s")
    options = parser.parse_args(arguments)
    started, every = time.perf_counter(), max(1, options.every)
    months = Months(options.threads)
    print("Choosing:", flush=True)
    choosing = [*train(months, CHOOSING_SEASONS, every, options.threads, boosted=True)]
    print("Confirming:", flush=True)
    confirming = [*train(months, [CONFIRMING_SEASON], every, options.threads, boosted=False)]
    write_part(options.output, "distribution", report(choosing, confirming, games_played(), every))
    print(f"Written to {options.output} after {(time.perf_counter() - started) / 60:.1f} minutes.")


if __name__ == "__main__":
    main()
