"""Which features the second version is made of: compared walk-forward, chosen on three seasons, confirmed on one.

    python -m nba_ml_tests.benchmarks.accuracy_features {choose,confirm,out,unreported} [--every N] [--threads N]

Every set of features is trained by the shipped recipe (the rounds of early stopping, refitted on all rows) on the split
of all months before a season, and again after every N months of it, and scores the months up to the next training. Each
is compared with the first version's features on the rows that both predict, which leaves out a season's first
fortnight; that is a column of its own. `choose` looks at 2022-23 and 2023-24 only. `confirm` looks at 2024-25, once.
`out` says what the third version's reports of who is out are worth on 2023-24, and how it does without them. There are
none of 2024-25: `unreported` compares the third version with the second there, once.
The rule, fixed before: a group of candidates joins the second version if it gains at least 0.005 on it, with an
interval above 0. Less does not pay for its columns.
Each writes its part of `accuracy.md`, after every set: what was stopped has its table so far.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import xgboost as xgb

from nba_ml.contract.features import REPORTED, V2_33FEATURES, V3_FEATURES, V4_FEATURES, Feature, FeatureVersion
from nba_ml.contract.season import EARLY_SEASON_DAYS, month_bounds, season_of
from nba_ml.data.features import compute_features
from nba_ml.data.split import split_by_date
from nba_ml.model.challengers import CHALLENGERS, Predictor
from nba_ml.model.fitting import Hyperparameters, Samples, fit, fit_all, load, predict
from nba_ml.model.metrics import interval_over_days
from nba_ml.settings import Settings
from nba_ml.sources.embedded import EmbeddedFeatureSource, source_months
from nba_ml_tests.benchmarks.accuracy import CHOOSING_SEASONS, CONFIRMING_SEASON, REPORT, write_part
from nba_ml_tests.benchmarks.candidates import GROUPS, candidates

SCORED = {
    "choose": CHOOSING_SEASONS[1:],
    "confirm": (CONFIRMING_SEASON,),
    "out": CHOOSING_SEASONS[2:],
    "unreported": (CONFIRMING_SEASON,),
}
"""The first season is only trained on: before its second month, the first version has no rows."""

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Learn = Callable[[dict[str, Samples], Samples, FeatureVersion, int], Predictor]


class Rows:
    """Every player-game of the configured source with a result, and every column that a set may use."""

    def __init__(self, threads: int) -> None:
        data = Settings.from_environment().data
        source, months = EmbeddedFeatureSource(data=str(data)), source_months(data)
        summary = pa.concat_tables([source.player_game_summary(month).table for month in months])
        lines = pa.concat_tables([source.prop_lines(month) for month in months])
        span = month_bounds(months[0])[0], month_bounds(months[-1])[1]
        reports = pa.concat_tables([source.reports.of_month(month, summary).table for month in months])
        made = compute_features(
            summary, lines, *span, computed_at=datetime.now(UTC), version=V4_FEATURES, reports=reports, threads=threads
        )
        vectors = made["features"].combine_chunks().flatten().to_numpy().reshape(made.num_rows, -1)
        frame = pd.DataFrame(vectors, columns=V4_FEATURES.names)
        frame.insert(0, "player_lookup", made["player_lookup"].to_pylist())
        frame.insert(1, "game_date", made["game_date"].to_numpy())
        results = summary.select(["player_lookup", "game_date", "game_id", "season", "points", "minutes_played"])
        key = ["player_lookup", "game_date"]
        frame = frame.merge(results.to_pandas(date_as_object=False), on=key, validate="one_to_one")
        frame = frame.merge(candidates(summary), on=key, validate="one_to_one")
        for name in REPORTED:
            frame[f"{name} never"], frame[f"{name} always"] = np.nan, frame[name]
        opening = frame.groupby("season")["game_date"].transform("min")
        frame["early"] = frame.game_date < opening + timedelta(days=EARLY_SEASON_DAYS)
        self.frame = frame[frame.minutes_played > 0].sort_values(key[::-1], ignore_index=True)
        self.days = self.frame.game_date.to_numpy().astype("datetime64[D]")
        self.months = np.array(self.days.astype("datetime64[M]").astype(str))

    def samples(self, names: Sequence[str], keep: Mask) -> Samples:
        rows = self.frame[keep]
        keys = pa.Table.from_pandas(rows[["player_lookup", "game_date", "game_id"]], preserve_index=False)
        return Samples(
            features=rows[list(names)].to_numpy(np.float32),
            points=rows.points.to_numpy(np.float32),
            dates=self.days[keep],
            keys=keys,
        )

    def walk(self, seasons: Sequence[str], every: int) -> list[tuple[str, list[str]]]:
        """(the last month to train on, the months to score): at most `every` months of a season."""
        known = sorted(set(self.months))
        walk = []
        for season in seasons:
            scored = [month for month in known if season_of(month) == season]
            for start in range(0, len(scored), every):
                walk.append((known[known.index(scored[start]) - 1], scored[start : start + every]))
        return walk


def _shipped(sides: dict[str, Samples], everything: Samples, version: FeatureVersion, threads: int) -> Predictor:
    """The project's recipe: median loss, the rounds of early stopping, refitted on all rows."""
    parameters = Hyperparameters()
    found = fit(sides["train"], sides["early_stopping"], parameters, version, threads)
    booster = load(fit_all(everything, found.best_iteration + 1, parameters, version, threads), threads)
    return lambda features: predict(booster, features).astype(np.float64)


def _challenger(name: str) -> Learn:
    return lambda sides, _, version, threads: CHALLENGERS[name](
        sides["train"], sides["early_stopping"], version, threads
    )


@dataclass(frozen=True, slots=True)
class Trial:
    """A set of features and how to learn from them. `early` says whether a season's first fortnight is in training."""

    what: str
    names: tuple[str, ...]
    early: bool = True
    learn: Learn = _shipped
    scored: tuple[str, ...] = ()
    """What the features hold when it predicts, if not what they held in training."""


FIRST, SECOND = "first version", "second version"
_SECOND_ONLY = V3_FEATURES.names[V2_33FEATURES.count :]
_ABSENCES = ("absent_points", "absent_plays")
CHOOSING: Mapping[str, Trial] = {
    FIRST: Trial("the 33", V2_33FEATURES.names, early=False),
    SECOND: Trial(f"the 33 and {', '.join(_SECOND_ONLY)}", V3_FEATURES.names),
    "early rows left out": Trial(
        "the same, trained without a season's first fortnight", V3_FEATURES.names, early=False
    ),
    **{
        f"with {group}": Trial(f"the second version and {', '.join(names)}", (*V3_FEATURES.names, *names))
        for group, names in GROUPS.items()
    },
    "without absences": Trial(
        f"the second version less {' and '.join(_ABSENCES)}",
        tuple(name for name in V3_FEATURES.names if name not in _ABSENCES),
    ),
}
CONFIRMING: Mapping[str, Trial] = {
    FIRST: CHOOSING[FIRST],
    SECOND: CHOOSING[SECOND],
    "LightGBM, first version": Trial("LightGBM on the 33", V2_33FEATURES.names, False, _challenger("lightgbm")),
    "CatBoost, first version": Trial("CatBoost on the 33", V2_33FEATURES.names, False, _challenger("catboost")),
}


THIRD = "third version"
_THIRD = f"the second version and {' and '.join(REPORTED)}, each row learned with and without reports"
_UNREPORTED = (*V3_FEATURES.names, *(f"{name} never" for name in REPORTED))
OUT: Mapping[str, Trial] = {
    SECOND: CHOOSING[SECOND],
    THIRD: Trial(_THIRD, V4_FEATURES.names),
    f"{THIRD}, nothing reported": Trial("the same models, without reports", V4_FEATURES.names, scored=_UNREPORTED),
    "learned with reports alone, nothing reported": Trial(
        "what it would be if each row were learned once",
        # Under another name, of which training does not know that it comes from reports.
        (*V3_FEATURES.names, *(f"{name} always" for name in REPORTED)),
        scored=_UNREPORTED,
    ),
}
UNREPORTED: Mapping[str, Trial] = {
    SECOND: CHOOSING[SECOND],
    f"{THIRD}, nothing reported": Trial(_THIRD, V4_FEATURES.names),
}


TRIALS = {"choose": CHOOSING, "confirm": CONFIRMING, "out": OUT, "unreported": UNREPORTED}


def predictions(rows: Rows, trial: Trial, walk: Sequence[tuple[str, list[str]]], learned: list[Predictor]) -> Floats:
    """Predicted points of every scored row, in order. `learned` has a model for each step of the walk."""
    steps = zip(learned, walk, strict=True)
    return np.concatenate(
        [
            predictor(rows.samples(trial.scored or trial.names, np.isin(rows.months, scored)).features)
            for predictor, (_, scored) in steps
        ]
    )


def learn(rows: Rows, trial: Trial, walk: Sequence[tuple[str, list[str]]], threads: int) -> list[Predictor]:
    """The set's model before each step of the walk."""
    version = FeatureVersion("trial", tuple(Feature(name, "", "", 0, 0, "", "") for name in trial.names))
    usable = ~rows.frame.early.to_numpy() | trial.early
    made = []
    for month, _ in walk:
        everything = rows.samples(trial.names, usable & (rows.months <= month))
        by_month = everything.dates.astype("datetime64[M]")
        split = split_by_date({str(each): ("", everything.dates[by_month == each]) for each in np.unique(by_month)})
        made.append(trial.learn(everything.sides(split), everything, version, threads))
    return made


@dataclass(frozen=True, slots=True)
class Scored:
    """Absolute errors of a set on the rows that both versions predict, with their days, and its MAE on early rows."""

    errors: Floats
    days: npt.NDArray[np.datetime64]
    early_mae: float | None


def table(trials: Mapping[str, Trial], results: Mapping[str, Scored], reference: str) -> str:
    """One row per set: its MAE and its gain on the reference with a 95% interval over days."""
    lines = [
        f"| set | what | features | MAE | gain on the {reference} | 95% interval | first fortnights |",
        "|---|---|---|---|---|---|---|",
    ]
    base = results[reference].errors if reference in results else None
    for name, scored in results.items():
        gain = interval = ""
        if base is not None and name != reference:
            found = interval_over_days(base - scored.errors, scored.days)
            gain, interval = f"{(base - scored.errors).mean():+.4f}", f"{found.low:+.4f} to {found.high:+.4f}"
        early = "" if scored.early_mae is None else f"{scored.early_mae:.4f}"
        trial = trials[name]
        cells = (name, trial.what, str(len(trial.names)), f"{scored.errors.mean():.4f}", gain, interval, early)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


HEADINGS = {
    "choose": "Features, choosing",
    "confirm": "Features, confirming once",
    "out": "Features, who is out tonight",
    "unreported": "Features, without reports of who is out",
}


def run(step: str, rows: Rows, every: int, threads: int, output: Path) -> None:
    """Measure the step's sets and write its part of the report after each of them."""
    trials, seasons = (
        {"choose": CHOOSING, "confirm": CONFIRMING, "out": OUT, "unreported": UNREPORTED}[step],
        SCORED[step],
    )
    walk = rows.walk(seasons, every)
    scored_rows = np.isin(rows.months, [month for _, months in walk for month in months])
    frame, days = rows.frame[scored_rows], rows.days[scored_rows]
    early, points = frame.early.to_numpy(), frame.points.to_numpy(np.float64)
    average = frame.points_avg_season.to_numpy()
    known = early & ~np.isnan(average)
    results: dict[str, Scored] = {}
    learned: dict[Trial, list[Predictor]] = {}
    for name, trial in trials.items():
        started = time.perf_counter()
        recipe = replace(trial, what="", scored=())
        learned[recipe] = learned.get(recipe) or learn(rows, trial, walk, threads)
        errors = np.abs(predictions(rows, trial, walk, learned[recipe]) - points)
        results[name] = Scored(
            errors[~early], days[~early], float(errors[early].mean()) if trial.early and early.any() else None
        )
        print(f"  {name}: MAE {results[name].errors.mean():.4f}, {time.perf_counter() - started:.0f} s", flush=True)
        paragraphs = [
            f"# {HEADINGS[step]}: {', '.join(seasons)}",
            f"Written by `python -m nba_ml_tests.benchmarks.accuracy_features {step} --every {every}`; XGBoost "
            f"{xgb.__version__}. {(~early).sum():,} rows from {days[~early][0]} to {days[-1]}, all that both predict. "
            f"Trained before a season and every {every} months of it. {early.sum():,} more rows are of a season's "
            f"first fortnight, which only the second version predicts; on {known.sum():,} of them, which have a season "
            f"average, that average has an MAE of {np.abs(average - points)[known].mean():.4f}.",
        ]
        if FIRST in results:
            paragraphs.append(table(trials, results, FIRST))
        if SECOND in results:
            others = {key: value for key, value in results.items() if key != FIRST or step == "confirm"}
            paragraphs += ["The same rows, compared with the second version:", table(trials, others, SECOND)]
        write_part(output, f"features, {step}", "\n\n".join(paragraphs))


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure one step."""
    parser = argparse.ArgumentParser(prog="python -m nba_ml_tests.benchmarks.accuracy_features", description=__doc__)
    parser.add_argument("step", choices=tuple(SCORED))
    parser.add_argument(
        "--every", type=int, default=9, metavar="N", help="months of a season between trainings; default: 9"
    )
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="threads of each training; default: 1")
    parser.add_argument("--output", type=Path, default=REPORT, metavar="FILE", help="default: %(default)s")
    options = parser.parse_args(arguments)
    run(options.step, Rows(options.threads), options.every, options.threads, options.output)


if __name__ == "__main__":
    main()
