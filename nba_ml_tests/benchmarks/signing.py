"""What signatures cost: the check when a model is loaded, and a request to the service with and without them.

    python -m nba_ml_tests.benchmarks.signing [--source MANIFEST] [--before CHECKOUT] [--requests N]

Copies the newest model that this machine has published, signs the copy with new keys, and starts services side by side:
without signatures, with them and, with --before, one of another checkout (`git worktree add`). They are asked in turn,
so that other work on the machine falls on all alike. Prints a Markdown table; the exit code is 1 where a target is
missed.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from nba_ml.registry.channel import CHAMPION
from nba_ml.registry.manifest import model_id_of_manifest
from nba_ml.storage.directory import DirectoryStore
from nba_ml.storage.objects import ObjectStore
from nba_ml_tests.benchmarks.serving import newest_published, real_rows
from nba_ml_tests.ports import free_port
from nba_ml_tests.registry.signing import KeyRing, as_named, serving

CHECK_MILLISECONDS = 20
LATENCY_RATIO = 1.10
BLOCK = 25


@contextmanager
def service(root: Path, settings: Mapping[str, str], checkout: Path) -> Iterator[HTTPConnection]:
    """A service on the root's champion, with the code of a checkout; gives a connection to it."""
    port = free_port()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("NBA_ML_")}
    process = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "from nba_ml.cli.serve import serve; serve()",
            "--source",
            str(root),
            "--port",
            str(port),
        ],
        env={**environment, **settings, "PYTHONPATH": str(checkout)},
        cwd=checkout,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        for _ in range(600):
            with suppress(OSError, HTTPException):
                connection.request("GET", "/health")
                connection.getresponse().read()
                break
            connection.close()
            time.sleep(0.2)
        else:
            raise SystemExit(f"The service of {checkout} did not start.")
        yield connection
    finally:
        connection.close()
        process.terminate()
        process.wait(timeout=60)


def ask(connection: HTTPConnection, body: bytes) -> float:
    """Milliseconds of a request for one prediction."""
    started = time.perf_counter()
    connection.request("POST", "/predict", body, {"content-type": "application/json"})
    answer = connection.getresponse()
    answer.read()
    assert answer.status == 200
    return 1_000 * (time.perf_counter() - started)


def cpu_milliseconds(call: Callable[[], object], times: int = 200) -> float:
    """The median of this process's own time, which other work on the machine does not add to."""
    found = []
    for _ in range(times):
        started = time.process_time()
        call()
        found.append(1_000 * (time.process_time() - started))
    return statistics.median(found)


def signed_copy(manifest: str, folder: Path) -> tuple[Path, KeyRing]:
    """A root with the bundle and a channel that names it, both signed."""
    source, root = Path(manifest.removeprefix("file://")), folder / "root"
    name = f"{source.parent.name}/{source.name}"
    model_id = model_id_of_manifest(name)
    assert model_id is not None, f"{manifest} is not the manifest of a published model"
    (root / source.parent.name).mkdir(parents=True)
    for file in source.parent.glob(f"{model_id}*"):
        (root / source.parent.name / file.name).write_bytes(file.read_bytes())
    ring = KeyRing.made_in(folder)
    owner = ring.held_by(DirectoryStore(root), "publisher", "promoter")
    owner.sign(name, (root / name).read_bytes())
    owner.create(CHAMPION, serving(as_named(owner, model_id)).to_bytes())
    return root, ring


def main() -> int:
    """Measure, print the table, and say whether the targets are met."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--source", help="a manifest; default: of the newest model published on this machine")
    parser.add_argument("--before", type=Path, help="another checkout, whose service is asked too")
    parser.add_argument("--requests", type=int, default=1_000)
    options = parser.parse_args()
    source = options.source or newest_published()
    if source is None:
        print("\nNothing is published on this machine yet, so signatures are not measured: make run, then again.")
        return 0
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        root, ring = signed_copy(source, Path(folder))
        plain, signed = DirectoryStore(root), ring.held_by(DirectoryStore(root))
        manifest = next(name for name in plain.names("") if name.endswith("_manifest.json"))

        def read(store: ObjectStore) -> float:
            return cpu_milliseconds(lambda: [store.read(name) for name in (CHAMPION, manifest)])

        check = read(signed) - read(plain)
        here, trusted = Path(__file__).parents[2], {"NBA_ML_TRUSTED_KEYS": ring.trusted}
        services = {"without signatures": (here, {}), "with signatures": (here, trusted)}
        if options.before is not None:
            services["before"] = (options.before.absolute(), {})
        connections = {
            name: stack.enter_context(service(root, settings, checkout))
            for name, (checkout, settings) in services.items()
        }
        row = real_rows()[700]
        body = json.dumps({**row, "game_date": str(row["game_date"])}).encode()
        times: dict[str, list[float]] = {name: [] for name in connections}
        for _ in range(0, options.requests, BLOCK):
            for name, connection in connections.items():
                times[name] += [ask(connection, body) for _ in range(BLOCK)]
    medians = {name: statistics.median(found) for name, found in times.items()}
    base = medians.get("before", medians["without signatures"])
    ratio = medians["with signatures"] / base
    print(f"\n{datetime.now(UTC):%Y-%m-%d}, {options.requests:,} requests of each service, in turn\n")
    print("| what | found | target |\n|---|---|---|")
    print(f"| check of both signatures, processor time | {check:.2f} ms | under {CHECK_MILLISECONDS} ms |")
    for name, value in medians.items():
        print(f"| a request, median: {name} | {value:.2f} ms | |")
    against = "before" if "before" in medians else "without"
    print(f"| with signatures, as a multiple of {against} | {ratio:.3f} | under {LATENCY_RATIO} |")
    return 0 if check < CHECK_MILLISECONDS and ratio < LATENCY_RATIO else 1


if __name__ == "__main__":
    sys.exit(main())
