"""How fast serving is: import, load and verify, one prediction, a slate, and the HTTP service under load.

    python -m nba_ml_tests.benchmarks.serving [--source ROOT_OR_MANIFEST [--channel C | --model ID]] [--seconds S]

Without a source it takes the newest model that this machine has published; where there is none it says so, and
measures nothing.

One core: XGBoost has one thread, and the service is bound to the first core, its clients to the last. Rows are real
ones, of the embedded data. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from typing import Any

import numpy as np
import psutil

from nba_ml.contract.features import V2_33FEATURES
from nba_ml.serving import Predictor
from nba_ml.serving.model import LoadedModel
from nba_ml.serving.rows import read_rows
from nba_ml.settings import Settings
from nba_ml.storage.opening import open_objects
from nba_ml_tests.benchmarks.clients import ask_at_once
from nba_ml_tests.benchmarks.figures import Figure, keep

SLATE = 450
CONNECTIONS = 4
MONTH = "2021-12"


@dataclass(frozen=True)
class Line:
    """A row of the table. `better` is 'under' or 'over' the target."""

    what: str
    found: float
    unit: str
    better: str
    target: float

    @property
    def met(self) -> bool:
        return self.found < self.target if self.better == "under" else self.found > self.target

    def markdown(self) -> str:
        verdict = "yes" if self.met else "**no**"
        return (
            f"| {self.what} | {self.found:,.2f} {self.unit} | {self.better} {self.target:,g} {self.unit} | {verdict} |"
        )


def milliseconds(
    call: Callable[[Any], object], arguments: list[Any], clock: Callable[[], float] = time.perf_counter
) -> list[float]:
    """How long each call took by the clock, after a warm-up."""
    for argument in arguments[:20]:
        call(argument)
    taken = []
    for argument in arguments:
        started = clock()
        call(argument)
        taken.append(1000 * (clock() - started))
    return taken


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def import_seconds() -> float:
    """The median of five fresh processes' word for it."""
    code = "import time; s = time.perf_counter(); from nba_ml.serving import Predictor; print(time.perf_counter() - s)"
    runs = [
        float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
        for _ in range(5)
    ]
    return statistics.median(runs)


def real_rows() -> list[dict[str, Any]]:
    """A month's samples by name."""
    from nba_ml_tests.conftest import snapshot_of

    names = [*V2_33FEATURES.names, "player_lookup", "game_date", "game_id"]
    rows: list[dict[str, Any]] = snapshot_of(MONTH).table.select(names).to_pylist()
    return [{name: None if value != value else value for name, value in row.items()} for row in rows]


@contextmanager
def service(arguments: list[str], core: int) -> Iterator[tuple[int, int]]:
    """`nba-ml serve` in a process of its own, bound to a core; gives the port and the process id."""
    command = [sys.executable, "-c", "from nba_ml.cli.serve import serve; serve()", "--port", "0", *arguments]
    # Its log goes where a container's does: through a pipe that somebody reads.
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    os.sched_setaffinity(process.pid, {core})
    assert process.stdout is not None
    port = 0
    while not port:
        line = process.stdout.readline()
        if not line:
            raise SystemExit("The service did not start.")
        port = json.loads(line).get("port", 0)
    reader = subprocess.Popen(["cat"], stdin=process.stdout, stdout=subprocess.DEVNULL)
    try:
        while True:
            try:
                HTTPConnection("127.0.0.1", port, timeout=5).request("GET", "/health")
                break
            except OSError:
                time.sleep(0.05)
        yield port, process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=60)
        reader.wait(timeout=60)


def newest_published() -> str | None:
    """The address of the newest model's manifest under NBA_ML_ARTIFACT_ROOT, None if nothing is published."""
    store = open_objects(Settings.from_environment().artifact_root)
    manifests = [name for name in store.names("xgboost_v1/") if name.endswith("_manifest.json")]
    return store.uri(max(manifests)) if manifests else None  # their names begin alike, and then have the month


def against_xgboost(predictor: Predictor, given: Mapping[str, list[Any]]) -> list[str]:
    """How many times XGBoost's own prediction from a ready matrix a prediction from named values takes, in CPU time."""
    model = predictor.model
    if not isinstance(model, LoadedModel):
        return []
    lines, figures = ["| what | divided by | ratio, CPU (median) |", "|---|---|---|"], []
    for what, rows in given.items():
        matrices = [read_rows(each, model.features).features.astype(np.float32) for each in rows]
        ours = statistics.median(milliseconds(predictor.predict, rows, time.thread_time))
        bare = statistics.median(milliseconds(model.booster.inplace_predict, matrices, time.thread_time))
        lines.append(f"| {what} | the same by `Booster.inplace_predict` | {ours / bare:.1f} |")
        figures.append(Figure(f"{what} / `Booster.inplace_predict`, CPU", ours / bare))
    keep(figures)
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--source")
    parser.add_argument("--channel")
    parser.add_argument("--model", dest="model_id")
    parser.add_argument("--seconds", type=float, default=5.0, help="of load on the service")
    options = parser.parse_args()
    if options.source is None and (newest := newest_published()) is None:
        print("\nNothing is published on this machine yet, so serving is not measured: make run, then again.")
        return
    options.source = options.source or newest
    cores = sorted(os.sched_getaffinity(0))
    named = {"channel": options.channel, "model_id": options.model_id}

    lines = [Line("import of nba_ml.serving, median of 5", import_seconds(), "s", "under", 1.0)]
    loads = milliseconds(lambda _: Predictor.load(options.source, **named), [None] * 9)
    lines.append(
        Line("load and verify from a directory, median of 9", statistics.median(loads) / 1000, "s", "under", 1)
    )

    predictor, rows = Predictor.load(options.source, **named), real_rows()
    ones = milliseconds(predictor.predict, rows[:3000])
    lines.append(Line("one prediction, median", statistics.median(ones), "ms", "under", 1.0))
    lines.append(Line("one prediction, 99th percentile", percentile(ones, 0.99), "ms", "under", 3.0))
    busy = milliseconds(predictor.predict, rows[:3000], time.thread_time)
    slates = [rows[start : start + SLATE] for start in range(0, len(rows) - SLATE, 50)]
    taken = milliseconds(predictor.predict, slates)
    lines.append(Line(f"a slate of {SLATE}, median", statistics.median(taken), "ms", "under", 20.0))

    ratios = against_xgboost(predictor, {"one prediction": rows[:1000], f"a slate of {SLATE}": slates})

    bodies = [json.dumps({**row, "game_date": str(row["game_date"])}) for row in rows[:500]]
    arguments = ["--source", options.source]
    arguments += ["--channel", options.channel] if options.channel else []
    arguments += ["--model", options.model_id] if options.model_id else []
    with service(arguments, cores[0]) as (port, pid):
        ask_at_once(CONNECTIONS, port, "/predict", bodies, 1.0)
        before = psutil.Process(pid).cpu_times()
        found = ask_at_once(CONNECTIONS, port, "/predict", bodies, options.seconds)
        after = psutil.Process(pid).cpu_times()
    answered = found.count
    lines.append(
        Line(
            f"the service, {CONNECTIONS} connections, single predictions", answered / options.seconds, "/s", "over", 500
        )
    )
    lines.append(Line(f"errors among {answered:,} answers", found.errors, "", "under", 1))

    record = predictor.model.record if isinstance(predictor.model, LoadedModel) else {"reference_rows": ()}
    print(f"\n{predictor.model.model_id}, {len(record['reference_rows'])} reference rows, one core\n")
    print("| what | found | target | met |\n|---|---|---|---|")
    print("\n".join(line.markdown() for line in lines))
    spent = after.user + after.system - before.user - before.system
    print(
        "\nOn a machine that is busy otherwise the clock on the wall says too much. Time on the processor alone: one "
        f"prediction {statistics.median(busy):.2f} ms at the median, {percentile(busy, 0.99):.2f} ms at the 99th "
        f"percentile; a request to the service {1000 * spent / answered:.2f} ms, so {answered / spent:,.0f} a second "
        "from one core."
    )
    print(
        f"\nA client of the service waited {found.percentile(0.5):.2f} ms at the median and "
        f"{found.percentile(0.99):.2f} ms at the 99th percentile, with {CONNECTIONS} at once."
    )
    print("\n".join(["", *ratios]))
    keep([Figure(line.what, line.found, line.target, line.unit) for line in lines if line.better == "under"])


if __name__ == "__main__":
    main()
