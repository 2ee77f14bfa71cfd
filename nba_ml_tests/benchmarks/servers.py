"""The service beside two others that serve the same booster, in turns: bare FastAPI, and MLServer's XGBoost runtime.

    python -m nba_ml_tests.benchmarks.servers [--python PYTHON] [--seconds S]

PYTHON is that of an environment that has both (`make mlserver`); without it only the service itself is measured. Each
server is one process on the first core, and 16 clients share the last one. Prints Markdown.

The others do less. FastAPI converts named values and answers with one number; MLServer takes a vector and gives one
number. The service validates each value, and answers with the distribution, the line and the recommendation.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from nba_ml.contract.features import V2_33FEATURES
from nba_ml.serving import Predictor
from nba_ml.serving.model import LoadedModel
from nba_ml_tests.benchmarks.clients import ask, ask_at_once
from nba_ml_tests.benchmarks.figures import Figure, keep
from nba_ml_tests.benchmarks.serving import newest_published, real_rows, service
from nba_ml_tests.ports import free_port

CONNECTIONS = 16
P99_MILLISECONDS = 15.0
STARTS_WITHIN = 60.0

_FASTAPI = """
import sys
from typing import Optional
import numpy as np, uvicorn, xgboost as xgb
from fastapi import FastAPI
booster = xgb.Booster(model_file=sys.argv[1])
booster.set_param({"nthread": 1})
names = booster.feature_names
app = FastAPI()

@app.post("/predict")
async def predict(row: dict[str, Optional[float]]) -> dict[str, float]:
    values = np.array([[row[name] for name in names]], dtype=np.float32)
    return {"points": float(booster.inplace_predict(values)[0])}

uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[2]), access_log=False, log_level="warning")
"""


@dataclass(frozen=True, slots=True)
class Load:
    """CPU milliseconds of a request, requests a second, and the 99th percentile of their milliseconds."""

    cpu: float
    rate: float
    p99: float


def measure(port: int, pid: int, path: str, bodies: list[str], seconds: float) -> Load:
    """Send the bodies over `CONNECTIONS` connections, after a second of warm-up. CPU is that of its children too."""
    ask_at_once(CONNECTIONS, port, path, bodies, 1.0)
    before = _cpu_seconds(pid)
    found = ask_at_once(CONNECTIONS, port, path, bodies, seconds)
    spent = _cpu_seconds(pid) - before
    if found.errors:
        raise SystemExit(f"{found.errors:,} of {found.count:,} answers on port {port} are errors.")
    return Load(1000 * spent / found.count, found.count / seconds, found.percentile(0.99))


def _cpu_seconds(pid: int) -> float:
    process = psutil.Process(pid)
    times = [each.cpu_times() for each in (process, *process.children(recursive=True))]
    return float(sum(each.user + each.system for each in times))


@contextmanager
def running(command: Sequence[str], folder: Path, port: int, path: str, body: str) -> Iterator[int]:
    """A server on the first core, from when it answers; gives the process id."""
    core = sorted(os.sched_getaffinity(0))[0]
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, env=_environ())
    os.sched_setaffinity(process.pid, {core})
    try:
        ends = time.monotonic() + STARTS_WITHIN
        while True:
            try:
                if ask(port, path, [body], 0.01).errors == 0:
                    break
            except OSError:
                pass
            if process.poll() is not None or time.monotonic() > ends:
                raise SystemExit(f"{command[0]} did not answer:\n{(folder / 'server.log').read_text()[-2000:]}")
            time.sleep(0.2)
        yield process.pid
    finally:
        children = psutil.Process(process.pid).children(recursive=True)
        process.terminate()
        process.wait(timeout=60)
        for each in children:
            if each.is_running():
                each.kill()


def _environ() -> dict[str, str]:
    """One thread, as the service's booster has."""
    return {**os.environ, "OMP_NUM_THREADS": "1"}


def bare_fastapi(python: str, folder: Path, rows: list[dict[str, Any]], seconds: float) -> Load:
    """A dozen lines around `inplace_predict`."""
    port = free_port()
    (folder / "app.py").write_text(_FASTAPI)
    bodies = [json.dumps({name: row[name] for name in V2_33FEATURES.names}) for row in rows]
    with running([python, "app.py", "model.json", str(port)], folder, port, "/predict", bodies[0]) as pid:
        return measure(port, pid, "/predict", bodies, seconds)


def mlserver(python: str, folder: Path, rows: list[dict[str, Any]], seconds: float) -> Load:
    """MLServer in one process, without the second one that it hands its predictions to by default."""
    port = free_port()
    settings = {
        "host": "127.0.0.1",
        "http_port": port,
        "grpc_port": free_port(),
        "metrics_port": free_port(),
        "parallel_workers": 0,
        "debug": False,
    }
    (folder / "settings.json").write_text(json.dumps(settings))
    model = {"name": "points", "implementation": "mlserver_xgboost.XGBoostModel", "parameters": {"uri": "model.json"}}
    (folder / "model-settings.json").write_text(json.dumps(model))
    bodies = [_inference_request(row) for row in rows]
    command, path = [str(Path(python).parent / "mlserver"), "start", "."], "/v2/models/points/infer"
    with running(command, folder, port, path, bodies[0]) as pid:
        return measure(port, pid, path, bodies, seconds)


def _inference_request(row: dict[str, Any]) -> str:
    """A row in the Open Inference Protocol, whose JSON has no missing values: they are 0, which costs as much."""
    values = [row[name] or 0.0 for name in V2_33FEATURES.names]
    part = {"name": "features", "shape": [1, len(values)], "datatype": "FP32", "data": values}
    return json.dumps({"inputs": [part]})


def main(arguments: Sequence[str] | None = None) -> None:
    """The servers in turns, and the ratios of their CPU time."""
    parser = argparse.ArgumentParser(prog="python -m nba_ml_tests.benchmarks.servers")
    parser.add_argument("--python", help="of an environment with FastAPI and MLServer: `make mlserver`")
    parser.add_argument("--seconds", type=float, default=5.0, help="of load on each; default: 5")
    chosen = parser.parse_args(arguments)
    if (source := newest_published()) is None:
        print("\nNothing is published on this machine yet, so the service is not compared: make run, then again.")
        return
    model = Predictor.load(source).model
    if not isinstance(model, LoadedModel):
        sys.exit(f"{model.model_id} has no booster.")
    rows = real_rows()[:500]
    found: dict[str, Load] = {}
    with service(["--source", source], sorted(os.sched_getaffinity(0))[0]) as (port, pid):
        bodies = [json.dumps({**row, "game_date": str(row["game_date"])}) for row in rows]
        found["the service"] = measure(port, pid, "/predict", bodies, chosen.seconds)
    for name, serve in {"bare FastAPI": bare_fastapi, "MLServer": mlserver}.items() if chosen.python else ():
        with tempfile.TemporaryDirectory() as folder:
            model.booster.save_model(Path(folder) / "model.json")
            found[name] = serve(str(Path(chosen.python).absolute()), Path(folder), rows, chosen.seconds)
    print(f"\n### Servers of one model, {CONNECTIONS} connections, one core\n")
    print("| server | CPU ms a request | the service's, divided by it | requests/s | 99th percentile, ms |")
    print("|---|---|---|---|---|")
    ours = found["the service"]
    targets = {"MLServer": 1.0}
    keep(
        [
            Figure("a request to the service, 99th percentile", ours.p99, P99_MILLISECONDS, "ms"),
            *(
                Figure(f"a request to the service / to {name}, CPU", ours.cpu / load.cpu, targets.get(name))
                for name, load in found.items()
                if load is not ours
            ),
        ]
    )
    for name, load in found.items():
        print(f"| {name} | {load.cpu:.2f} | {ours.cpu / load.cpu:.2f} | {load.rate:,.0f} | {load.p99:.1f} |")
    if chosen.python is None:
        print("\nFastAPI and MLServer are not measured: make bench MLSERVER=1.")
    print(f"\nTargets: at most 1.00 times MLServer's CPU, 99th percentile under {P99_MILLISECONDS:g} ms.")


if __name__ == "__main__":
    main()
