"""Which recipe predicts the next months best: compared walk-forward, chosen on three seasons, confirmed on one.

    python -m nba_ml_tests.benchmarks.accuracy [--every N] [--threads N] [--output FILE]

A variant is trained on every N-th month's split (of all months up to it) and scores the months that follow, up
to the next training. Choosing looks at 2021-22 to 2023-24 only. What it chooses, by a rule written down before,
is compared once on 2024-25, beside the split recipe. Everything tried is in the table, winners or not.
Writes its part of `accuracy.md`; the intervals of `benchmarks/uncertainty.py` are the other part.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import xgboost as xgb

from nba_ml.contract.errors import MissingExtraError
from nba_ml.contract.features import V2_33FEATURES
from nba_ml.contract.season import month_bounds, season_of
from nba_ml.data.features import compute_features
from nba_ml.data.snapshot import MonthRows, take_snapshot
from nba_ml.data.split import SplitManifest, split_by_date
from nba_ml.model.challengers import CHALLENGERS, Predictor
from nba_ml.model.fitting import Hyperparameters, Matrix, Samples, fit, gather, predict
from nba_ml.model.metrics import interval_over_days
from nba_ml.settings import Settings
from nba_ml.sources.embedded import EmbeddedFeatureSource, source_months

REPORT = Path(__file__).with_name("accuracy.md")
CHOOSING_SEASONS = ("2021-22", "2022-23", "2023-24")
CONFIRMING_SEASON = "2024-25"
SPLIT = "split recipe"
LEARNERS = {"ridge": "ridge regression", "lightgbm": "LightGBM", "catboost": "CatBoost"}
HALF_LIFE_DAYS = 365.0
LINE_FEATURES = ("vegas_points_line", "vegas_opening_line", "vegas_line_move", "has_vegas_line")

Floats = npt.NDArray[np.float64]
Weigh = Callable[[npt.NDArray[np.datetime64]], Floats]
Learn = Callable[["Sides", int | None], Predictor]


@dataclass(frozen=True, slots=True)
class Sides:
    """The three sides of a split, and all of its rows."""

    train: Samples
    early_stopping: Samples
    validation: Samples
    everything: Samples


class Months:
    """The samples of every month of the configured source, and the split as of each month."""

    def __init__(self, threads: int | None) -> None:
        data = Settings.from_environment().data
        source, months = EmbeddedFeatureSource(data=str(data)), source_months(data)
        summaries = {month: source.player_game_summary(month).table for month in months}
        lines = pa.concat_tables([source.prop_lines(month) for month in months])
        span = month_bounds(months[0])[0], month_bounds(months[-1])[1]
        everything = pa.concat_tables(summaries.values())
        features = compute_features(everything, lines, *span, computed_at=datetime.now(UTC), threads=threads)
        days = features.column("game_date").to_numpy()
        self._tables: dict[str, pa.Table] = {}
        self._snapshots: dict[str, tuple[str, npt.NDArray[np.datetime64]]] = {}
        for month, summary in summaries.items():
            first, last = (np.datetime64(day) for day in month_bounds(month))
            start, stop = np.searchsorted(days, first, side="left"), np.searchsorted(days, last, side="right")
            rows = MonthRows.of_tables(features.slice(start, stop - start), summary, V2_33FEATURES)
            snapshot = take_snapshot(rows, month, V2_33FEATURES)
            if snapshot.table.num_rows:
                self._tables[month] = snapshot.table
                self._snapshots[month] = (snapshot.digest, snapshot.table.column("game_date").to_numpy())
        self.names = list(self._tables)
        self._samples = gather(self._tables, self.split(self.names[-1]), V2_33FEATURES)

    def split(self, month: str) -> SplitManifest:
        """The split of all months up to `month`."""
        return split_by_date({name: self._snapshots[name] for name in self.names if name <= month})

    def sides(self, month: str) -> Sides:
        """The rows of that split, by side."""
        split = self.split(month)
        parts = {name: self._samples.between(side.first, side.last) for name, side in split.sides().items()}
        whole = self._samples.between(parts["train"].dates[0].item(), parts["validation"].dates[-1].item())
        return Sides(**parts, everything=whole)

    def rows(self, months: Sequence[str]) -> Samples:
        """The rows of consecutive months."""
        return self._samples.between(month_bounds(months[0])[0], month_bounds(months[-1])[1])

    def of_seasons(self, seasons: Sequence[str]) -> list[str]:
        """The months of those seasons that hold samples and follow a month that does."""
        return [month for month in self.names[1:] if season_of(month) in seasons]

    def walk(self, months: Sequence[str], every: int) -> Iterator[tuple[str, list[str]]]:
        """(the month to train on, the months to score): the month before, then at most `every` of `months`."""
        for start in range(0, len(months), every):
            yield self.names[self.names.index(months[start]) - 1], list(months[start : start + every])


def _recipe(**changes: object) -> Learn:
    """The split recipe with other hyperparameters."""
    parameters = Hyperparameters(**changes)

    def learn(sides: Sides, threads: int | None) -> Predictor:
        booster = fit(sides.train, sides.early_stopping, parameters, V2_33FEATURES, threads).booster
        return lambda features: predict(booster, features, threads).astype(np.float64)

    return learn


def _refit(*, more_rounds: bool = False, validation: bool = True, **changes: object) -> Learn:
    """Find the best iteration as the split does, then train anew, so many rounds, on more rows than the train side."""
    parameters = Hyperparameters(**changes)

    def learn(sides: Sides, threads: int | None) -> Predictor:
        rounds = fit(sides.train, sides.early_stopping, parameters, V2_33FEATURES, threads).best_iteration + 1
        last = sides.validation if validation else sides.early_stopping
        rows = sides.everything.between(sides.train.dates[0].item(), last.dates[-1].item())
        if more_rounds:
            rounds = round(rounds * len(rows) / len(sides.train))
        return _trained(rows, parameters, rounds, threads)

    return learn


def _half_life(sides: Sides, threads: int | None) -> Predictor:
    """Rows weigh half as much for every year of age."""
    parameters = Hyperparameters()
    age = (sides.train.dates[-1] - sides.train.dates).astype("timedelta64[D]").astype(np.float64)
    matrix = _matrix(sides.train, threads, weight=0.5 ** (age / HALF_LIFE_DAYS))
    booster = xgb.train(
        parameters.booster_params(threads),
        matrix,
        num_boost_round=parameters.num_boost_round,
        evals=[(_matrix(sides.early_stopping, threads, ref=matrix), "early_stopping")],
        early_stopping_rounds=parameters.early_stopping_rounds,
        verbose_eval=False,
    )
    return _predictor(booster[: booster.best_iteration + 1])


def _no_lines(sides: Sides, threads: int | None) -> Predictor:
    """No betting line, in training or in prediction."""
    blind = Sides(**{name: _without_lines(getattr(sides, name)) for name in Sides.__slots__})
    predictor = _recipe()(blind, threads)
    return lambda features: predictor(_blinded(features))


def _without_lines(rows: Samples) -> Samples:
    return Samples(features=_blinded(rows.features), points=rows.points, dates=rows.dates, keys=rows.keys)


def _blinded(features: Matrix) -> Matrix:
    blind = features.copy()
    for name in LINE_FEATURES:
        blind[:, V2_33FEATURES.index(name)] = 0.0 if name == "has_vegas_line" else np.nan
    return blind


def _challenger(name: str) -> Learn:
    fit_challenger = CHALLENGERS[name]
    return lambda sides, threads: fit_challenger(sides.train, sides.early_stopping, V2_33FEATURES, threads)


def _trained(rows: Samples, parameters: Hyperparameters, rounds: int, threads: int | None) -> Predictor:
    params = parameters.booster_params(threads)
    return _predictor(xgb.train(params, _matrix(rows, threads), num_boost_round=rounds, verbose_eval=False))


def _matrix(
    rows: Samples, threads: int | None, weight: Floats | None = None, ref: xgb.QuantileDMatrix | None = None
) -> xgb.QuantileDMatrix:
    names = list(V2_33FEATURES.names)
    return xgb.QuantileDMatrix(
        rows.features, label=rows.points, weight=weight, feature_names=names, ref=ref, nthread=threads
    )


def _predictor(booster: xgb.Booster) -> Predictor:
    return lambda features: np.asarray(booster.inplace_predict(features, missing=np.nan), dtype=np.float64)


REFIT = "refit on all rows"
VARIANTS: Mapping[str, tuple[str, Learn]] = {
    SPLIT: ("train side only, cut to the best iteration of early stopping", _recipe()),
    "squared error": ("objective `reg:squarederror`", _recipe(objective="reg:squarederror")),
    REFIT: ("the rounds of the best iteration, trained anew on all three sides", _refit()),
    "refit, more rounds": ("the same, rounds in proportion to the rows", _refit(more_rounds=True)),
    "refit without validation": ("on train and early stopping only", _refit(validation=False)),
    "depth 4": ("`max_depth` 4", _recipe(max_depth=4)),
    "depth 4, refit": ("`max_depth` 4, refit on all rows", _refit(max_depth=4)),
    "depth 8": ("`max_depth` 8", _recipe(max_depth=8)),
    "rate 0.05": ("`learning_rate` 0.05", _recipe(learning_rate=0.05)),
    "min_child_weight 30": ("`min_child_weight` 30", _recipe(min_child_weight=30)),
    "half-life of a year": ("a row weighs half for every year of age", _half_life),
    "no lines": ("features 25 to 28 empty; the first lines are of November 2024", _no_lines),
    **{title: (f"the challenger `{name}`", _challenger(name)) for name, title in LEARNERS.items()},
}
"""Name -> what it changes, and how to learn it. The challengers are for comparison: what ships is XGBoost."""


@dataclass(frozen=True, slots=True)
class Scored:
    """Absolute errors (n,) of a variant and of the split recipe on the same rows, with their days."""

    errors: Floats
    split: Floats
    days: npt.NDArray[np.datetime64]
    seconds: float

    @property
    def mae(self) -> float:
        return float(self.errors.mean())

    @property
    def gain(self) -> Floats:
        """Above 0, the variant is better than the split recipe."""
        return self.split - self.errors


def compare(months: Months, names: Sequence[str], scored: Sequence[str], every: int, threads: int) -> dict[str, Scored]:
    """Score the variants walk-forward on `scored` months; a challenger that is not installed is left out."""
    walk = list(months.walk(scored, every))
    targets = [months.rows(after) for _, after in walk]
    days = np.concatenate([target.dates for target in targets])
    results: dict[str, Scored] = {}
    for name in names:
        started, errors = time.perf_counter(), []
        try:
            for (month, _), target in zip(walk, targets, strict=True):
                predicted = VARIANTS[name][1](months.sides(month), threads)(target.features)
                errors.append(np.abs(predicted - target.points))
        except MissingExtraError as error:
            print(f"  {name}: left out. {error}", flush=True)
            continue
        joined, seconds = np.concatenate(errors), time.perf_counter() - started
        split = results[SPLIT].errors if results else joined
        results[name] = Scored(joined, split, days, seconds)
        print(
            f"  {name}: MAE {results[name].mae:.4f}, gain {results[name].gain.mean():+.4f}, {seconds:.0f} s", flush=True
        )
    return results


def choose(results: Mapping[str, Scored]) -> str:
    """The rule, written before any number was seen: of the XGBoost variants whose gain has an interval above zero,
    the one with the largest gain; the split recipe, if there is none."""
    ours = {name: scored for name, scored in results.items() if name not in {SPLIT, *LEARNERS.values()}}
    better = [name for name, scored in ours.items() if interval_over_days(scored.gain, scored.days).low > 0]
    return max(better, key=lambda name: float(ours[name].gain.mean()), default=SPLIT)


def verdicts(chosen: str, confirming: Mapping[str, Scored]) -> str:
    """Whether what was chosen, and the refit, also gain on the season that nothing was chosen on."""
    sentences = []
    for name in dict.fromkeys([chosen, REFIT]):
        interval = interval_over_days(confirming[name].gain, confirming[name].days)
        outcome = "confirmed" if interval.low > 0 else "not confirmed, its interval does not lie above 0"
        if name != SPLIT:
            sentences.append(f"**{name}**: {outcome}.")
    return " ".join(sentences)


def table(results: Mapping[str, Scored]) -> str:
    """One row per variant: what it is, its MAE, and its gain on the split recipe with a 95% interval over days."""
    lines = ["| variant | what it changes | MAE | gain on the split recipe | 95% interval |", "|---|---|---|---|---|"]
    for name, scored in results.items():
        interval = interval_over_days(scored.gain, scored.days)
        gain = (
            ["", ""]
            if name == SPLIT
            else [f"{scored.gain.mean():+.4f}", f"{interval.low:+.4f} to {interval.high:+.4f}"]
        )
        lines.append(f"| {name} | {VARIANTS[name][0]} | {scored.mae:.4f} | {' | '.join(gain)} |")
    return "\n".join(lines)


def write_part(path: Path, name: str, text: str) -> None:
    """Put `text` in the report as the part `name`, and leave its other parts as they are."""
    start, end = f"<!-- generated: {name} -->", f"<!-- end: {name} -->"
    part = f"{start}\n{text.strip()}\n{end}\n"
    old = path.read_text() if path.exists() else ""
    before, found, rest = old.partition(start)
    after = rest.partition(end)[2].removeprefix("\n")
    path.write_text(f"{before}{part}{after}" if found else f"{old}\n{part}".lstrip("\n"))


def report(
    chosen: str, choosing: Mapping[str, Scored], confirming: Mapping[str, Scored], every: int, versions: str
) -> str:
    """The generated part of the report."""
    first, last = (scored := choosing[SPLIT]).days[0], scored.days[-1]
    held, missing = confirming[SPLIT], [title for title in LEARNERS.values() if title not in choosing]
    rhythm = "every month" if every == 1 else f"every {every} months, each model scoring the {every} months that follow"
    left_out = f" Not installed, so not compared: {', '.join(missing)}." if missing else ""
    paragraphs = (
        "# Accuracy: what was tried",
        f"Written by `python -m nba_ml_tests.benchmarks.accuracy --every {every}`; {versions}. Walk-forward, trained "
        f"{rhythm}, on the split of all months up to then. Mean absolute error in points, all players. A gain above 0 "
        "is better than the split recipe on the same rows; its 95% interval resamples whole days. The split recipe is "
        "what the reported numbers are measured on; what ships is its refit on all rows." + left_out,
        f"## Choosing: {', '.join(CHOOSING_SEASONS)}",
        f"{len(scored.errors):,} rows from {first} to {last}.",
        table(choosing),
        "The rule, fixed before: of the XGBoost variants whose interval lies above zero, the one with the largest "
        f"gain. It chose: **{chosen}**.",
        f"## Confirming, once: {CONFIRMING_SEASON}",
        f"{len(held.errors):,} rows from {held.days[0]} to {held.days[-1]}. The refit and the removal of the lines are "
        "shown whatever the choice: the first because shipping it is a question of its own, the second because there "
        "are no lines in the seasons of choosing (a gain of exactly 0 says that no train side has reached them yet: "
        "only a refit sees them). The other learners are for information. Nothing was chosen here.",
        table(confirming),
        verdicts(chosen, confirming),
    )
    return "\n\n".join(paragraphs)


def main(arguments: Sequence[str] | None = None) -> None:
    """Compare, choose, confirm, write."""
    parser = argparse.ArgumentParser(prog="python -m nba_ml_tests.benchmarks.accuracy", description=__doc__)
    parser.add_argument("--every", type=int, default=3, metavar="N", help="train every N months; default: 3")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="threads of each training; default: 1")
    parser.add_argument("--output", type=Path, default=REPORT, metavar="FILE", help="default: %(default)s")
    options = parser.parse_args(arguments)
    started = time.perf_counter()
    months = Months(options.threads)
    print(
        f"{len(months.names)} months with samples, read in {time.perf_counter() - started:.0f} s. Choosing:", flush=True
    )
    choosing = compare(
        months, list(VARIANTS), months.of_seasons(CHOOSING_SEASONS), max(1, options.every), options.threads
    )
    chosen = choose(choosing)
    print(f"Chosen: {chosen}. Confirming:", flush=True)
    shown = [n for n in VARIANTS if n in {SPLIT, chosen, REFIT, "no lines", *LEARNERS.values()} and n in choosing]
    confirming = compare(months, shown, months.of_seasons([CONFIRMING_SEASON]), max(1, options.every), options.threads)
    versions = f"XGBoost {xgb.__version__}, NumPy {np.__version__}"
    write_part(options.output, "accuracy", report(chosen, choosing, confirming, max(1, options.every), versions))
    print(f"Written to {options.output} after {(time.perf_counter() - started) / 60:.1f} minutes.")


if __name__ == "__main__":
    main()
