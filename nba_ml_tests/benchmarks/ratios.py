"""Against what a person would do by hand: the figures as ratios, which a busy machine changes less than seconds.

`chain` prints the table at its end. CPU seconds, of all threads and child processes, but for the bare script, which is
measured on the wall as well.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import xgboost as xgb

from nba_ml.contract.assets import CHAIN
from nba_ml.contract.features import V2_33FEATURES
from nba_ml.model.fitting import Hyperparameters
from nba_ml_tests.benchmarks.figures import Figure, keep
from nba_ml_tests.benchmarks.loaded import CPU_FACTOR, busy, fit_seconds

MONTH_FACTOR = 1.5
"""A warm month takes at most this many times the bare script; a backfill as many times the sum of its trainings."""

BUSY_PROCESSES = 12


@dataclass(frozen=True, slots=True)
class Seconds:
    """CPU seconds of all threads, and seconds on the wall."""

    cpu: float
    wall: float


class Timer:
    """Seconds of this process while a block lasts: `with Timer() as timer: ...; timer.taken`."""

    def __enter__(self) -> Timer:
        self._cpu, self._wall = time.process_time(), time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        self.taken = Seconds(time.process_time() - self._cpu, time.perf_counter() - self._wall)


def bare_month(store: Path, month: str, threads: int) -> None:
    """What a person would write: read the rows so far, cut them by date, fit twice as the chain does, save the model.

    Without digests, checks, calibration, record, publication or Dagster.
    """
    files = sorted(file for file in (store / "feature_store_snapshot").glob("????-??.parquet") if file.stem <= month)
    table = pa.concat_tables([pq.read_table(file).replace_schema_metadata(None) for file in files])
    names = list(V2_33FEATURES.names)
    features = np.column_stack([table[name].to_numpy() for name in names]).astype(np.float32)
    points, dates = table["points"].to_numpy().astype(np.float32), table["game_date"].to_numpy()
    stops, validates = np.quantile(dates.astype("datetime64[D]").astype(int), [0.7, 0.8], method="nearest")
    day = dates.astype("datetime64[D]").astype(int)
    train, stopping = day < stops, (day >= stops) & (day < validates)
    recipe = Hyperparameters()
    params = recipe.booster_params(threads)
    fitted = xgb.QuantileDMatrix(features[train], label=points[train], feature_names=names, nthread=threads)
    watched = xgb.QuantileDMatrix(features[stopping], label=points[stopping], ref=fitted, nthread=threads)
    watched.feature_names = names
    booster = xgb.train(
        params,
        fitted,
        num_boost_round=recipe.num_boost_round,
        evals=[(watched, "stopping")],
        early_stopping_rounds=recipe.early_stopping_rounds,
        verbose_eval=False,
    )
    everything = xgb.QuantileDMatrix(features, label=points, feature_names=names, nthread=threads)
    shipped = xgb.train(params, everything, num_boost_round=booster.best_iteration + 1, verbose_eval=False)
    with tempfile.TemporaryDirectory() as folder:
        shipped.save_model(Path(folder) / "model.json")


def command_seconds(*arguments: str) -> float:
    """CPU seconds of a Python process with these arguments, with its children."""
    before = _children_seconds()
    ended = subprocess.run([sys.executable, *arguments], stdout=subprocess.PIPE, text=True)
    # A rerun whose last month's model was refused ends with 1, too.
    if ended.returncode and "0 month(s) run" not in ended.stdout:
        raise RuntimeError(f"{arguments} ended with {ended.returncode}: {ended.stdout[-500:]}")
    return _children_seconds() - before


def _children_seconds() -> float:
    """Of CPU, of the child processes that have ended. `os.times` counts hundredths, as long as `pass` takes."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


_NO_OP = "a rerun with nothing to do / `import dagster, pandas`"
NO_OP_SECONDS = 2.5

_NBA_ML = ("-c", "from nba_ml.cli.main import main; main()")
_COMMANDS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    _NO_OP: (
        (*_NBA_ML, "backfill", "--only-missing", "--assets", ",".join(CHAIN), "--from", "{first}", "--to", "{last}"),
        ("-c", "import dagster, pandas"),
    ),
    "`nba-ml --help` / `python -c pass`": ((*_NBA_ML, "--help"), ("-c", "pass")),
    "`import nba_ml.serving` / `import xgboost`": (
        ("-c", "import nba_ml.serving.predictor"),
        ("-c", "import xgboost"),
    ),
}


def print_ratios(
    months: Sequence[tuple[Seconds, Seconds]], backfill: tuple[float, float], span: tuple[str, str], rounds: int
) -> None:
    """The table of ratios, one line as soon as it is measured.

    Args:
        months: a warm month and the bare script, in turns.
        backfill: seconds of a backfill, and of its trainings alone.
        span: its first and its last month.
        rounds: boosting rounds of the fit beside busy processes.
    """
    print("\n### Ratios\n\n| what | ratio | target |\n|---|---|---|")
    for name in ("cpu", "wall"):
        ratio = np.median([getattr(ours, name) / getattr(bare, name) for ours, bare in months])
        unit = "CPU" if name == "cpu" else "on the wall"
        _line(f"a warm month / a bare script, {unit} (median of {len(months)}, in turns)", float(ratio), MONTH_FACTOR)
    _line("a backfill / the sum of its trainings, on the wall", backfill[0] / backfill[1], MONTH_FACTOR)
    for what, (command, bare) in _COMMANDS.items():
        ours = [{"{first}": span[0], "{last}": span[1]}.get(each, each) for each in command]
        command_seconds(*ours)  # the first start compiles, and reads from the disk
        taken = command_seconds(*ours)
        _line(f"{what}, CPU", taken / command_seconds(*bare))
        if what == _NO_OP:
            _line("the rerun's CPU seconds, of this machine", taken, NO_OP_SECONDS)
    alone, _ = fit_seconds(rounds)
    with busy(BUSY_PROCESSES):
        loaded, _ = fit_seconds(rounds)
    _line(f"a fit beside {BUSY_PROCESSES} busy processes / alone, CPU", loaded / alone, CPU_FACTOR)


def _line(what: str, ratio: float, target: float | None = None) -> None:
    figure = Figure(what, ratio, target)
    keep([figure])
    print(figure.markdown(), flush=True)
