"""How fast and how large: the features, the backfill of all months, the chain of the last. Prints Markdown.

    python -m nba_ml_tests.benchmarks.chain [--quick] [--months N] [--rounds N]

Each stage runs in a process of its own, so that its peak memory is its own, and through the code that
`nba-ml backfill` runs. "In nba_ml" is time inside this project's assets, checks and reading and writing of
values; "Dagster's own" is the rest of a run's wall time. The durations that Dagster gives its steps would not
do for that: they hold its mapping of partitions, its look-ups and its event log too.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from inspect import isgenerator
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar
from unittest import mock

import dagster as dg
import psutil
import pyarrow as pa
import xgboost as xgb
from dagster._core.execution.plan import compute_generator

from nba_ml.contract.assets import CHAIN
from nba_ml.contract.features import V2_33FEATURES, V3_FEATURES
from nba_ml.contract.season import month_bounds
from nba_ml.data.features import compute_features
from nba_ml.defs.io_manager import MonthStoreIOManager
from nba_ml.machine import return_memory
from nba_ml.runner.backfill import Backfill
from nba_ml.runner.session import open_session
from nba_ml.settings import Settings
from nba_ml.sources.embedded import EmbeddedFeatureSource, source_months
from nba_ml_tests.benchmarks.figures import Figure, keep
from nba_ml_tests.benchmarks.own_home import move_to
from nba_ml_tests.benchmarks.ratios import Seconds, Timer, bare_month, print_ratios

# The targets. 1 MB is a million bytes.
READ_SECONDS = 2.0
"""For a million rows of box scores: CPU."""
FEATURES_SECONDS = 4.0
"""Of both versions together."""
PEAK_MB = 500.0
DAGSTER_SECONDS = 1.5
BARE_FACTOR, BARE_EXTRA_SECONDS = 1.5, 2.0
"""A month's chain takes at most this many times a bare `xgboost.train` of the same matrix, and this much more."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Features:
    """The features of some months: CPU seconds to read the source, and what one query for each version took."""

    rows: int
    read: float
    queries: dict[str, Seconds]
    peak_mb: float


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a month's chain: seconds on the wall, in nba_ml by step, inside `xgboost.train`."""

    month: str
    wall: float
    steps: dict[str, float]
    train: float

    @property
    def own(self) -> float:
        return sum(self.steps.values())

    @property
    def dagster(self) -> float:
        return self.wall - self.own


@dataclass(frozen=True, slots=True)
class Runs:
    """Some runs in one warm process. `open`: seconds to load the graph and the instance; `bare`: trainings alone;
    `paired`: a whole month, and the bare script of it."""

    runs: list[Run]
    open: float
    peak_mb: float
    bare: list[float] = field(default_factory=list)
    paired: list[tuple[Seconds, Seconds]] = field(default_factory=list)

    def median(self, of: Callable[[Run], float]) -> float:
        return statistics.median(of(run) for run in self.runs)


def measure_features(months: Sequence[str]) -> Features:
    """Read every month of the source, then compute all features of each version in one call."""
    settings = Settings.from_environment()
    reads = []
    for _ in range(3):  # the first one imports
        source = EmbeddedFeatureSource(data=str(settings.data))
        with Timer() as read:
            summary = pa.concat_tables([source.player_game_summary(month).table for month in months])
        reads.append(read.taken.cpu)
    lines = pa.concat_tables([source.prop_lines(month) for month in months])
    span = month_bounds(months[0])[0], month_bounds(months[-1])[1]
    queries = {}
    for version in (V2_33FEATURES, V3_FEATURES):
        with Timer() as query:
            compute_features(
                summary, lines, *span, computed_at=datetime.now(UTC), version=version, threads=settings.threads
            )
        queries[version.name] = query.taken
    return Features(summary.num_rows, min(reads), queries, _peak_mb())


def measure_backfill(months: Sequence[str]) -> Runs:
    """The whole chain of every month, in order, into an empty home."""
    started = time.perf_counter()
    with _Stopwatch.running() as stopwatch, open_session(Settings.from_environment()) as backfill:
        opened = time.perf_counter() - started
        runs = [_run(backfill, month, stopwatch) for month in months]
        return Runs(runs, opened, _peak_mb())


def measure_chain(months: Sequence[str], rounds: int) -> Runs:
    """The chain of the last month, the months before being there, in turns with a bare training of its matrix and
    with a bare script.

    In turns, because the machine may not be this process's alone.
    """
    runs: list[Run] = []
    bare: list[float] = []
    paired: list[tuple[Seconds, Seconds]] = []
    settings, started = Settings.from_environment(), time.perf_counter()
    with _Stopwatch.running() as stopwatch, open_session(settings) as backfill:
        opened = time.perf_counter() - started
        _run(backfill, months[-1], stopwatch)  # the first run of a process pays for imports
        peak = _peak_mb()  # before the matrices are kept, and the bare training adds its own
        stopwatch.keep = True
        for _ in range(rounds):
            with Timer() as ours:
                runs.append(_run(backfill, months[-1], stopwatch))
            bare.append(stopwatch.train_again())
            stopwatch.reset()
            with Timer() as script:
                bare_month(Path(settings.store), months[-1], settings.threads or os.cpu_count() or 1)
            paired.append((ours.taken, script.taken))
    return Runs(runs, opened, peak, bare, paired)


def _run(backfill: Backfill, month: str, stopwatch: _Stopwatch) -> Run:
    """One month as `nba-ml backfill` runs it; a month that fails ends the benchmark."""
    stopwatch.reset()
    started = time.perf_counter()
    (result,) = backfill.run([month], CHAIN, only_missing=False)
    wall = time.perf_counter() - started
    if result.problems:
        raise RuntimeError(f"{month} failed: {'; '.join(result.problems)}")
    return Run(month, wall, dict(stopwatch.steps), stopwatch.train)


class _Stopwatch:
    """Seconds inside this project's functions by step, and inside `xgboost.train`."""

    def __init__(self) -> None:
        self._bare = xgb.train
        self.keep = False
        """Whether the arguments of each training are kept for `train_again`. The matrices of a month take 50 MB."""
        self.reset()

    @classmethod
    @contextmanager
    def running(cls) -> Iterator[_Stopwatch]:
        """Put the stopwatch around the one function that calls assets and checks, the IO manager, and training."""
        watch = cls()
        places = (
            (compute_generator, "invoke_compute_fn", watch._computing),
            (MonthStoreIOManager, "handle_output", watch._storing),
            (MonthStoreIOManager, "load_input", watch._storing),
            (xgb, "train", watch._training),
        )
        with ExitStack() as stack:
            for owner, name, timed in places:
                stack.enter_context(mock.patch.object(owner, name, timed(getattr(owner, name))))
            yield watch

    def reset(self) -> None:
        self.steps: defaultdict[str, float] = defaultdict(float)
        self.train = 0.0
        self._trainings: list[tuple[tuple[Any, ...], dict[str, Any]]] = []

    def train_again(self) -> float:
        """Seconds of `xgboost.train` alone, with the very arguments, matrices included, of the last run's: the booster
        that is measured, and the one that ships."""
        if not self._trainings:
            raise RuntimeError("The last run trained nothing, or kept nothing: measure more months, and set `keep`.")
        started = time.perf_counter()
        for args, kwargs in self._trainings:
            self._bare(*args, **kwargs)
        return time.perf_counter() - started

    @contextmanager
    def _in(self, step: str) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            self.steps[step] += time.perf_counter() - started

    def _computing(self, invoke: Callable[..., Any]) -> Callable[..., Any]:
        def timed(function: Callable[..., Any], context: Any, *args: Any, **kwargs: Any) -> Any:
            step = context.op_execution_context.op_def.name
            with self._in(step):
                result = invoke(function, context, *args, **kwargs)
            return self._results(result, step) if isgenerator(result) else result

        return timed

    def _results(self, results: Iterator[Any], step: str) -> Iterator[Any]:
        """What a check yields, timed while it computes, not while it waits for Dagster to store a result."""
        done = object()
        while True:
            with self._in(step):
                result = next(results, done)
            if result is done:
                return
            yield result

    def _storing(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def timed(manager: object, context: dg.InputContext | dg.OutputContext, *value: object) -> Any:
            with self._in(context.op_def.name):
                return method(manager, context, *value)

        return timed

    def _training(self, train: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any, **kwargs: Any) -> Any:
            if self.keep:
                self._trainings.append((args, kwargs))
            started = time.perf_counter()
            try:
                return train(*args, **kwargs)
            finally:
                self.train += time.perf_counter() - started

        return timed


def _peak_mb() -> float:
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
    started, before = time.perf_counter(), _others_seconds()
    with ProcessPoolExecutor(max_workers=1, mp_context=get_context("spawn")) as pool:
        figures = pool.submit(stage, *arguments).result()
    share = (_others_seconds() - before) / (time.perf_counter() - started) / (os.cpu_count() or 1)
    print(f"\nOther processes took {max(0.0, share):.0%} of the machine during what the table below reports.")
    return figures


def _others_seconds() -> float:
    """Processor seconds, over all cores, that all processes have used but this one's ended children."""
    machine, own = psutil.cpu_times(), os.times()
    return float(machine.user + machine.system - own.children_user - own.children_system)


def _table(title: str, rows: Sequence[Sequence[str]]) -> None:
    print(f"\n### {title}\n\n| what | measured | target | |\n|---|---|---|---|")
    for row in rows:
        print(f"| {' | '.join([*row, '', ''][:4])} |", flush=True)


def _against(value: float, target: float, unit: str) -> list[str]:
    """Figure, target, and whether the one keeps to the other."""
    return [f"{value:,.2f} {unit}", f"at most {target:,.2f} {unit}", "kept" if value <= target else "**missed**"]


def _report_features(figures: Features, months: int) -> None:
    _table(
        f"Features of {months} months, one query for each version ({figures.rows:,} rows)",
        [
            [
                "reading and validating the box scores, a million rows, CPU",
                *_against(figures.read / figures.rows * 1e6, READ_SECONDS, "s"),
            ],
            *(
                [f"the query of {version}", f"{taken.wall:.2f} s, {taken.cpu:.2f} s of CPU"]
                for version, taken in figures.queries.items()
            ),
            ["both queries", *_against(sum(each.wall for each in figures.queries.values()), FEATURES_SECONDS, "s")],
            ["peak memory", f"{figures.peak_mb:,.0f} MB"],
        ],
    )


def _report_backfill(figures: Runs) -> None:
    runs = figures.runs
    slowest, costliest = max(runs, key=lambda run: run.wall), max(runs, key=lambda run: run.dagster)
    _table(
        f"Backfill of {len(runs)} months: whole chain with its checks, one warm process",
        [
            ["total", f"{figures.open + sum(run.wall for run in runs):.1f} s"],
            ["loading the graph and the instance, once", f"{figures.open:.2f} s"],
            ["a month, median", f"{figures.median(lambda run: run.wall):.2f} s"],
            [f"a month, slowest ({slowest.month})", f"{slowest.wall:.2f} s"],
            ["in nba_ml, all months", f"{sum(run.own for run in runs):.1f} s"],
            ["of which `xgboost.train`", f"{sum(run.train for run in runs):.1f} s"],
            ["Dagster's own, all months", f"{sum(run.dagster for run in runs):.1f} s"],
            ["Dagster's own, a month, median", *_against(figures.median(lambda r: r.dagster), DAGSTER_SECONDS, "s")],
            [f"Dagster's own, most ({costliest.month})", *_against(costliest.dagster, DAGSTER_SECONDS, "s")],
            ["peak memory", *_against(figures.peak_mb, PEAK_MB, "MB")],
        ],
    )


def _report_chain(figures: Runs) -> None:
    wall, train = figures.median(lambda run: run.wall), figures.median(lambda run: run.train)
    bare = statistics.median(figures.bare)
    steps = {step: statistics.median(run.steps[step] for run in figures.runs) for step in figures.runs[0].steps}
    _table(
        f"Chain of {figures.runs[0].month}, the months before being there (median of {len(figures.runs)})",
        [
            *([step, f"{seconds:.2f} s"] for step, seconds in steps.items()),
            ["Dagster's own", *_against(figures.median(lambda run: run.dagster), DAGSTER_SECONDS, "s")],
            ["whole chain", *_against(wall, BARE_FACTOR * bare + BARE_EXTRA_SECONDS, "s")],
            ["of which inside `xgboost.train`", f"{train:.2f} s, {train / wall:.0%}"],
            ["bare `xgboost.train`, same matrices", f"{bare:.2f} s"],
            ["whole chain over bare", f"{wall / bare:.2f} x"],
            ["peak memory", *_against(figures.peak_mb, PEAK_MB, "MB")],
        ],
    )


def _keep(features: Features, backfill: Runs, chain: Runs) -> None:
    """The figures for the table of all parts."""
    both = sum(each.wall for each in features.queries.values())
    keep(
        [
            Figure("a million rows of box scores, CPU", features.read / features.rows * 1e6, READ_SECONDS, "s"),
            Figure("the features of both versions, all months", both, FEATURES_SECONDS, "s"),
            Figure("peak memory of the last month", chain.peak_mb, PEAK_MB, "MB"),
            Figure("peak memory of a backfill of all months", backfill.peak_mb, PEAK_MB, "MB"),
        ]
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the stages one after another, in a home of their own, and print their tables."""
    parser = argparse.ArgumentParser(prog="python -m nba_ml_tests.benchmarks.chain")
    parser.add_argument("--months", type=int, metavar="N", help="the first N months of the source; default: all")
    parser.add_argument("--quick", action="store_true", help="6 months unless --months is given, one round")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="rounds of the last month; default: 3")
    chosen = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="nba_ml_benchmark_") as home:
        move_to(Path(home))
        return_memory()  # the stages import Arrow before they open a session
        months = source_months(Settings.from_environment().data)[: chosen.months or (6 if chosen.quick else None)]
        versions = f"Python {sys.version.split()[0]}, Dagster {dg.__version__}, XGBoost {xgb.__version__}"
        print(f"{versions}, {os.cpu_count()} cores.")
        features = _in_fresh_process(measure_features, months)
        _report_features(features, len(months))
        backfill = _in_fresh_process(measure_backfill, months)
        _report_backfill(backfill)
        chain = _in_fresh_process(measure_chain, months, 1 if chosen.quick else max(1, chosen.rounds))
        _report_chain(chain)
        _keep(features, backfill, chain)
        whole = sum(run.wall for run in backfill.runs), sum(run.train for run in backfill.runs)
        print_ratios(chain.paired, whole, (months[0], months[-1]), 10 if chosen.quick else 30)


if __name__ == "__main__":
    main()
