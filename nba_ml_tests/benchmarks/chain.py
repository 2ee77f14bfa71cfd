"""How fast and how large: the features, the chain of one month, the backfill of all months. Prints Markdown.

    python -m nba_ml_tests.benchmarks.chain [--months N] [--quick]

Every stage runs in a fresh process, so that its peak memory is its own. Nothing is measured twice
under one name: "in nba_ml" is time inside this project's functions (assets, checks, reading and
writing values), "Dagster's own" is the rest of the run's wall time. Durations of steps would not do
for that: a step also holds Dagster's mapping of partitions, its look-ups and its event log.
"""

from __future__ import annotations

import argparse
import functools
import os
import resource
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from inspect import isgeneratorfunction
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar
from unittest import mock

import dagster as dg
import psutil
import pyarrow as pa
import xgboost as xgb

from nba_ml.assets import CHAIN, TRAINING_ASSETS
from nba_ml.core.contract import V2_33FEATURES
from nba_ml.core.features import compute_features
from nba_ml.core.season import month_bounds
from nba_ml.core.snapshot import Snapshot
from nba_ml.core.split import SplitManifest
from nba_ml.core.training import Hyperparameters, gather
from nba_ml.core.values import HasDigest
from nba_ml.definitions import build_defs
from nba_ml.home import open_instance
from nba_ml.resources.feature_source import EmbeddedFeatureSource, source_months
from nba_ml.resources.io_manager import MonthStoreIOManager
from nba_ml.resources.store import Store
from nba_ml.settings import Settings

FEATURES_SECONDS = 10.0
"""Target: the features of all months in one query."""

BARE_FACTOR, BARE_EXTRA_SECONDS = 1.5, 2.0
"""Target: a month's chain takes at most this many times a bare xgboost.train of the same matrix, and this much more."""

PEAK_MB = 600.0
"""Target: peak resident memory of the process that runs the chain. 1 MB is a million bytes."""

DAGSTER_SECONDS = 1.5
"""Target: Dagster's own cost of one month's run of the whole chain with its checks."""

_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class FeatureFigures:
    """Seconds to read and validate the source, seconds of the one query over it, and what came out."""

    months: int
    rows: int
    read_seconds: float
    query_seconds: float
    peak_mb: float


@dataclass(frozen=True, slots=True)
class RunFigures:
    """One run of a month: seconds on the wall, of each step as Dagster measures it, and inside nba_ml by step."""

    month: str
    wall_seconds: float
    step_seconds: dict[str, float]
    own_seconds: dict[str, float]
    fit_seconds: float

    @property
    def dagster_seconds(self) -> float:
        return self.wall_seconds - sum(self.own_seconds.values())

    @property
    def outside_steps_seconds(self) -> float:
        return self.wall_seconds - sum(self.step_seconds.values())


@dataclass(frozen=True, slots=True)
class ChainFigures:
    """The last month's chain, some rounds of it, each beside a bare `xgboost.train` of the same matrix."""

    runs: list[RunFigures]
    bare_seconds: list[float]
    train_rows: int
    peak_mb: float


@dataclass(frozen=True, slots=True)
class BackfillFigures:
    """All months in one warm process. `open_seconds`: definitions and instance, once."""

    runs: list[RunFigures]
    open_seconds: float
    total_seconds: float
    peak_mb: float


def measure_features(settings: Settings, months: Sequence[str]) -> FeatureFigures:
    """Read every month of the source, then compute all its features in one call."""
    source = EmbeddedFeatureSource(data=str(settings.data))
    started = time.perf_counter()
    summary = pa.concat_tables([source.player_game_summary(month) for month in months])
    lines = pa.concat_tables([source.prop_lines(month) for month in months])
    read = time.perf_counter()
    first, last = month_bounds(months[0])[0], month_bounds(months[-1])[1]
    table = compute_features(summary, lines, first, last, computed_at=datetime.now(UTC), threads=settings.threads)
    queried = time.perf_counter()
    return FeatureFigures(len(months), table.num_rows, read - started, queried - read, peak_mb())


def measure_backfill(settings: Settings, months: Sequence[str]) -> BackfillFigures:
    """The whole chain of every month, in order, into an empty home."""
    started = time.perf_counter()
    with _Warm.opened(settings) as warm:
        opened = time.perf_counter() - started
        runs = [warm.run(month, CHAIN) for month in months]
    return BackfillFigures(runs, opened, time.perf_counter() - started, peak_mb())


def measure_chain(settings: Settings, months: Sequence[str], rounds: int) -> ChainFigures:
    """The whole chain of the last month in a warm process, in turns with a bare training of its matrix.

    The home must hold the months before. In turns, because the machine may not be this process's alone.
    """
    month = months[-1]
    runs: list[RunFigures] = []
    bare: list[float] = []
    peak = 0.0
    with _Warm.opened(settings) as warm:
        warm.run(months[0], CHAIN)  # the first run of a process pays for imports
        for _ in range(rounds):
            runs.append(warm.run(month, CHAIN))
            peak = peak or peak_mb()  # before the bare training adds its own
            seconds, rows = _train_bare(settings, months)
            bare.append(seconds)
    return ChainFigures(runs, bare, rows, peak)


def _train_bare(settings: Settings, months: Sequence[str]) -> tuple[float, int]:
    """Seconds of `xgboost.train` alone on the last month's stored split, the matrices being there; and its rows."""
    store = Store(root=str(settings.store)).months()
    split = store.load("train_split", months[-1])
    if not isinstance(split, SplitManifest) or split.empty:
        raise SystemExit(f"{months[-1]} has no sample to train on: measure more months than {len(months)}.")
    snapshots = {month: store.load("feature_store_snapshot", month) for month in months}
    samples = gather({m: s.table for m, s in snapshots.items() if isinstance(s, Snapshot)}, split, V2_33FEATURES)
    sides = split.sides()
    train, watched = (samples.between(sides[n].first, sides[n].last) for n in ("train", "early_stopping"))
    matrix = xgb.QuantileDMatrix(train.features, label=train.points)
    evaluation = xgb.QuantileDMatrix(watched.features, label=watched.points, ref=matrix)
    parameters = Hyperparameters()
    started = time.perf_counter()
    xgb.train(
        parameters.booster_params(settings.threads),
        matrix,
        num_boost_round=parameters.num_boost_round,
        evals=[(evaluation, "early_stopping")],
        early_stopping_rounds=parameters.early_stopping_rounds,
        verbose_eval=False,
    )
    return time.perf_counter() - started, len(train)


@dataclass
class _Stopwatch:
    """Seconds inside nba_ml's functions, by the step or the value they belong to."""

    seconds: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))

    def taken(self) -> dict[str, float]:
        """What was measured since the last call."""
        measured = dict(self.seconds)
        self.seconds.clear()
        return measured

    @contextmanager
    def measuring(self, name: str) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] += time.perf_counter() - started

    def timed(self, decorator: Callable[..., Any]) -> Callable[..., Any]:
        """A decorator of Dagster's that takes arguments, with the decorated function's time measured."""

        def with_arguments(**arguments: Any) -> Callable[[Callable[..., Any]], Any]:
            def decorate(function: Callable[..., Any]) -> Any:
                name = str(arguments.get("name", function.__name__))
                timed = (
                    self._generator(function, name) if isgeneratorfunction(function) else self._plain(function, name)
                )
                return decorator(**arguments)(timed)

            return decorate

        return with_arguments

    def _plain(self, function: Callable[..., Any], name: str) -> Callable[..., Any]:
        @functools.wraps(function)
        def measured(*args: Any, **kwargs: Any) -> Any:
            with self.measuring(name):
                return function(*args, **kwargs)

        return measured

    def _generator(self, function: Callable[..., Any], name: str) -> Callable[..., Any]:
        @functools.wraps(function)
        def measured(*args: Any, **kwargs: Any) -> Iterator[Any]:
            results = function(*args, **kwargs)
            done = object()
            while True:
                with self.measuring(name):  # not while it waits for Dagster to store what it yielded
                    result = next(results, done)
                if result is done:
                    return
                yield result

        return measured


class _TimedIOManager(MonthStoreIOManager):
    """The project's IO manager, with reading and writing measured."""

    def __init__(self, wrapped: MonthStoreIOManager, stopwatch: _Stopwatch) -> None:
        super().__init__(wrapped.store)
        self._stopwatch = stopwatch

    def handle_output(self, context: dg.OutputContext, obj: object) -> None:
        with self._stopwatch.measuring(context.step_key):
            super().handle_output(context, obj)

    def load_input(self, context: dg.InputContext) -> HasDigest | dict[str, HasDigest]:
        with self._stopwatch.measuring(context.step_context.step.key):
            return super().load_input(context)


@dataclass
class _Warm:
    """The definitions, instrumented, and an instance: what a process that loops over months holds on to."""

    defs: dg.Definitions
    instance: dg.DagsterInstance
    stopwatch: _Stopwatch
    jobs: dict[tuple[str, ...], dg.JobDefinition] = field(default_factory=dict)

    @classmethod
    @contextmanager
    def opened(cls, settings: Settings) -> Iterator[_Warm]:
        stopwatch = _Stopwatch()
        io_manager = _TimedIOManager(MonthStoreIOManager(Store(root=str(settings.store)).months()), stopwatch)
        with (
            mock.patch.object(dg, "asset", stopwatch.timed(dg.asset)),
            mock.patch.object(dg, "multi_asset_check", stopwatch.timed(dg.multi_asset_check)),
        ):
            defs = build_defs(settings, resource_overrides={"io_manager": io_manager})
        with open_instance(settings) as instance:
            yield cls(defs, instance, stopwatch)

    def run(self, month: str, assets: tuple[str, ...]) -> RunFigures:
        """One run of the assets and their checks, measured; a run that fails ends the benchmark."""
        if assets not in self.jobs:
            selection = frozenset(dg.AssetKey(asset) for asset in assets)
            self.jobs[assets] = self.defs.resolve_implicit_global_asset_job_def().get_subset(asset_selection=selection)
        self.stopwatch.taken()
        started = time.perf_counter()
        result = self.jobs[assets].execute_in_process(instance=self.instance, partition_key=month, run_config=_QUIET)
        wall = time.perf_counter() - started
        steps = {
            str(event.step_key): event.step_success_data.duration_ms / 1000
            for event in result.filter_events(lambda e: e.is_step_success)
        }
        fits = [m.metadata.get("fit_seconds") for m in result.asset_materializations_for_node("xgboost_model")]
        fit = sum(float(str(seconds.value)) for seconds in fits if seconds is not None)
        return RunFigures(month, wall, steps, self.stopwatch.taken(), fit)


def peak_mb() -> float:
    """Peak resident memory of this process so far, in MB.

    Linux's VmHWM belongs to the program that runs now; `ru_maxrss` also counts what the process was
    before it became this program, and is used where there is no /proc (macOS, in bytes there).
    """
    status = Path("/proc/self/status")
    if status.exists():
        (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024 / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def _in_fresh_process(stage: Callable[..., T], *arguments: object) -> T:
    """The stage's figures; prints how much of the machine others took meanwhile, as wall times suffer from it."""
    started, busy, ours = time.perf_counter(), _machine_seconds(), _children_seconds()
    with ProcessPoolExecutor(max_workers=1, mp_context=get_context("spawn")) as pool:
        figures = pool.submit(stage, *arguments).result()
    others = (_machine_seconds() - busy) - (_children_seconds() - ours)
    share = others / (time.perf_counter() - started) / (os.cpu_count() or 1)
    print(f"\nOther processes took {max(0.0, share):.0%} of the machine during what the tables below report.")
    return figures


def _machine_seconds() -> float:
    """Processor seconds that all processes have used, over all cores."""
    times = psutil.cpu_times()
    return float(times.user + times.system)


def _children_seconds() -> float:
    """Processor seconds of this process's ended children."""
    times = os.times()
    return times.children_user + times.children_system


def _table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    print(f"\n### {title}\n\n| {' | '.join(header)} |\n|{'---|' * len(header)}")
    for row in rows:
        print(f"| {' | '.join(row)} |")
    sys.stdout.flush()


def _against(value: float, target: float, unit: str) -> list[str]:
    """Figure, target, and whether the one keeps to the other."""
    return [f"{value:,.2f} {unit}", f"at most {target:,.2f} {unit}", "kept" if value <= target else "**missed**"]


def _report_features(figures: FeatureFigures) -> None:
    _table(
        f"Features of {figures.months} months in one query ({figures.rows:,} rows)",
        ("what", "measured", "target", ""),
        [
            ["reading and validating the source", f"{figures.read_seconds:.2f} s", "", ""],
            ["the query", *_against(figures.query_seconds, FEATURES_SECONDS, "s")],
            ["peak memory", *_against(figures.peak_mb, PEAK_MB, "MB")],
        ],
    )


def _report_backfill(figures: BackfillFigures) -> None:
    walls = [run.wall_seconds for run in figures.runs]
    own = [sum(run.own_seconds.values()) for run in figures.runs]
    dagster = [run.dagster_seconds for run in figures.runs]
    outside = [run.outside_steps_seconds for run in figures.runs]
    slowest = max(figures.runs, key=lambda run: run.wall_seconds)
    _table(
        f"Backfill of {len(walls)} months, whole chain with its checks, one warm process",
        ("what", "measured", "target", ""),
        [
            ["total", f"{figures.total_seconds:.1f} s", "", ""],
            ["definitions and instance, once", f"{figures.open_seconds:.2f} s", "", ""],
            ["a month, median", f"{statistics.median(walls):.2f} s", "", ""],
            [f"a month, slowest ({slowest.month})", f"{slowest.wall_seconds:.2f} s", "", ""],
            ["in nba_ml, all months", f"{sum(own):.1f} s", "", ""],
            ["of which XGBoost fits", f"{sum(run.fit_seconds for run in figures.runs):.1f} s", "", ""],
            ["Dagster's own, all months", f"{sum(dagster):.1f} s", "", ""],
            ["Dagster's own, a month, median", *_against(statistics.median(dagster), DAGSTER_SECONDS, "s")],
            ["Dagster's own, a month, most", *_against(max(dagster), DAGSTER_SECONDS, "s")],
            ["of which outside of any step, median", f"{statistics.median(outside):.2f} s", "", ""],
            ["peak memory", *_against(figures.peak_mb, PEAK_MB, "MB")],
        ],
    )
    _table(
        "Seconds by month",
        ("month", "wall", "in nba_ml", "XGBoost fit", "Dagster's own"),
        [
            [r.month, f"{r.wall_seconds:.2f}", f"{o:.2f}", f"{r.fit_seconds:.2f}", f"{r.dagster_seconds:.2f}"]
            for r, o in zip(figures.runs, own, strict=True)
        ],
    )


def _report_chain(figures: ChainFigures) -> None:
    wall = statistics.median(run.wall_seconds for run in figures.runs)
    bare = statistics.median(figures.bare_seconds)
    fit = statistics.median(run.fit_seconds for run in figures.runs)
    dagster = statistics.median(run.dagster_seconds for run in figures.runs)
    training = statistics.median(
        sum(s for step, s in run.step_seconds.items() if step.removesuffix("_checks") in TRAINING_ASSETS)
        for run in figures.runs
    )
    rounds = f"median of {len(figures.runs)}" if len(figures.runs) > 1 else "once"
    _table(
        f"Chain of {figures.runs[0].month}, the months before it there ({figures.train_rows:,} train rows, {rounds})",
        ("what", "measured", "target", ""),
        [
            ["bare `xgboost.train`, same matrix", f"{bare:.2f} s", "", ""],
            ["whole chain with its checks", *_against(wall, BARE_FACTOR * bare + BARE_EXTRA_SECONDS, "s")],
            ["whole chain over bare", f"{wall / bare:.2f} x", "", ""],
            ["from the split on, steps", f"{training:.2f} s", "", ""],
            ["XGBoost's matrices and training (`fit_seconds`)", f"{fit:.2f} s, {fit / wall:.0%} of the chain", "", ""],
            ["Dagster's own", *_against(dagster, DAGSTER_SECONDS, "s")],
            ["peak memory", *_against(figures.peak_mb, PEAK_MB, "MB")],
        ],
    )
    steps = figures.runs[0].step_seconds
    _table(
        "Seconds by step",
        ("step", "step, as Dagster measures it", "in nba_ml"),
        [
            [
                step,
                f"{statistics.median(run.step_seconds[step] for run in figures.runs):.2f}",
                f"{statistics.median(run.own_seconds.get(step, 0.0) for run in figures.runs):.2f}",
            ]
            for step in steps
        ],
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the stages one after another and print their tables."""
    parser = argparse.ArgumentParser(prog="python -m nba_ml_tests.benchmarks.chain")
    parser.add_argument("--months", type=int, metavar="N", help="the first N months of the source; default: all")
    parser.add_argument("--quick", action="store_true", help="6 months unless --months is given, no repetition")
    parser.add_argument(
        "--rounds", type=int, default=3, metavar="N", help="rounds of the last month's chain; default: 3"
    )
    chosen = parser.parse_args(arguments)
    passed_on = {name: os.environ[name] for name in ("NBA_ML_DATA", "NBA_ML_THREADS") if name in os.environ}
    with tempfile.TemporaryDirectory(prefix="nba_ml_benchmark_") as home:
        settings = Settings.from_environment({**passed_on, "NBA_ML_HOME": home})
        months = source_months(settings.data)[: chosen.months or (6 if chosen.quick else None)]
        print(
            f"Python {sys.version.split()[0]}, Dagster {dg.__version__}, XGBoost {xgb.__version__}, "
            f"{os.cpu_count()} cores."
        )
        _report_features(_in_fresh_process(measure_features, settings, months))
        _report_backfill(_in_fresh_process(measure_backfill, settings, months))
        _report_chain(_in_fresh_process(measure_chain, settings, months, 1 if chosen.quick else max(1, chosen.rounds)))


if __name__ == "__main__":
    main()
