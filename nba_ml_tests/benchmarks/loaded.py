"""Training on a busy machine against the same on its own: `python -m nba_ml_tests.benchmarks.loaded [--rounds N]`.

CPU seconds and wall seconds of a fit in a fresh process, alone and beside busy processes; and the same where OpenMP's
threads spin, which is what it does unless told otherwise. Prints Markdown. At best on a machine without other work.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

CPU_FACTOR = 1.3
"""Beside busy processes a fit takes at most this many times the CPU seconds that it takes alone."""

_FIT = """
import sys, time
import nba_ml
import numpy as np, xgboost as xgb
from nba_ml.model.fitting import Hyperparameters
from nba_ml.machine import available_cores
draws = np.random.default_rng(42)
features = draws.normal(size=(80_000, 33)).astype(np.float32)
points = features[:, :5].sum(axis=1) + draws.normal(size=len(features))
threads = max(2, available_cores())
matrix = xgb.QuantileDMatrix(features, label=points, nthread=threads)
wall, cpu = time.perf_counter(), time.process_time()
xgb.train(Hyperparameters().booster_params(threads), matrix, num_boost_round=int(sys.argv[1]))
print(time.process_time() - cpu, time.perf_counter() - wall)
"""


@contextmanager
def busy(processes: int) -> Iterator[None]:
    """So many processes that do nothing but take a core, as long as the block lasts and this process lives."""
    spin = f"import os\nwhile os.getppid() == {os.getpid()}: pass"
    started = [subprocess.Popen([sys.executable, "-c", spin]) for _ in range(processes)]
    try:
        yield
    finally:
        for each in started:
            each.kill()
            each.wait()


def fit_seconds(rounds: int, **environ: str) -> tuple[float, float]:
    """CPU and wall seconds of a fit in a fresh process."""
    ours = {name: value for name, value in os.environ.items() if name not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")}
    said = subprocess.run(
        [sys.executable, "-c", _FIT, str(rounds)], env={**ours, **environ}, capture_output=True, text=True, check=True
    )
    cpu, wall = said.stdout.split()
    return float(cpu), float(wall)


def main(arguments: Sequence[str] | None = None) -> None:
    """Four fits, and what the load made of them."""
    parser = argparse.ArgumentParser(prog="python -m nba_ml_tests.benchmarks.loaded")
    parser.add_argument("--rounds", type=int, default=30, metavar="N", help="boosting rounds of a fit; default: 30")
    parser.add_argument("--busy", type=int, default=12, metavar="N", help="busy processes beside it; default: 12")
    chosen = parser.parse_args(arguments)
    # 300,000 is libgomp's own default.
    ways = {"as nba_ml sets it": {}, "as OpenMP does by default": {"GOMP_SPINCOUNT": "300000"}}
    print("| threads wait | alone, CPU s | alone, wall s | loaded, CPU s | loaded, wall s | CPU, loaded / alone |")
    print("|---|---|---|---|---|---|")
    for name, environ in ways.items():
        alone = fit_seconds(chosen.rounds, **environ)
        with busy(chosen.busy):
            loaded = fit_seconds(chosen.rounds, **environ)
        numbers = " | ".join(f"{each:.1f}" for each in (*alone, *loaded))
        print(f"| {name} | {numbers} | {loaded[0] / alone[0]:.2f} (target: {CPU_FACTOR}) |", flush=True)


if __name__ == "__main__":
    main()
