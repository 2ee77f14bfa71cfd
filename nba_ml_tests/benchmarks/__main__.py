"""All that `make bench` measures, part by part, and at the end one table of the figures that have a target.

    python -m nba_ml_tests.benchmarks [PART ...] [--small] [--mlserver PYTHON]

Each part is a program of its own, too: `python -m nba_ml_tests.benchmarks.PART --help`. `--small` takes minutes and
says only whether the parts work. One that fails is named at the end, after the others have run.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from nba_ml_tests.benchmarks.figures import FILE, kept
from nba_ml_tests.benchmarks.own_home import environment_of
from nba_ml_tests.benchmarks.serving import newest_published

PARTS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "chain": ((), ("--quick",)),
    "rows": ((), ("--rows", "100000", "200000", "--compare", "100000", "--rounds", "5")),
    "cluster": ((), ("--rows", "100000", "--rounds", "5")),
    "clouds": ((), ("--rows", "30000", "--runs", "1")),
    "serving": ((), ("--seconds", "1")),
    "servers": ((), ("--seconds", "1")),
}
"""Part -> its arguments, and those of `--small`."""

_SERVICE = ("serving", "servers")
"""They need a published model."""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m nba_ml_tests.benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)}; default: all")
    parser.add_argument("--small", action="store_true", help="few rows and rounds: whether the parts work")
    parser.add_argument("--mlserver", metavar="PYTHON", help="compare the service: `make mlserver`'s Python")
    parser.add_argument("--without", nargs="+", default=[], choices=PARTS, metavar="PART", help="parts to leave out")
    chosen = parser.parse_args(arguments)
    if unknown := [part for part in chosen.parts if part not in PARTS]:
        parser.error(f"no such part: {', '.join(unknown)}. There are {', '.join(PARTS)}.")
    parts = [part for part in PARTS if part in (chosen.parts or PARTS) and part not in chosen.without]
    with tempfile.TemporaryDirectory(prefix="nba_ml_bench_") as folder:
        figures = Path(folder) / "figures.jsonl"
        environ = {**os.environ, FILE: str(figures)}
        failed, published = [], newest_published() is not None
        for part in parts:
            if part in _SERVICE and not published:
                environ |= _publish(Path(folder) / "home")
                published = True
            given = [*PARTS[part][chosen.small]]
            given += ["--python", chosen.mlserver] if part == "servers" and chosen.mlserver else []
            print(f"\n## {part}\n", flush=True)
            started = time.perf_counter()
            ended = subprocess.run([sys.executable, "-m", f"nba_ml_tests.benchmarks.{part}", *given], env=environ)
            print(f"\n{part}: {time.perf_counter() - started:,.0f} s.", flush=True)
            failed += [part] if ended.returncode else []
        print("\n## Figures\n\n| what | measured | target |\n|---|---|---|")
        print("\n".join(each.markdown() for each in kept(figures)))
    if failed:
        print(f"\nFailed: {', '.join(failed)}. Its message is above.")
    return 1 if failed else 0


def _publish(home: Path) -> dict[str, str]:
    """Train and publish a model of the shipped data, below a folder; gives the settings that find it."""
    print("\nNothing is published on this machine: a model for the service is trained first.", flush=True)
    command = [sys.executable, "-c", "from nba_ml.cli.main import main; main()", "run"]
    subprocess.run(command, env=environment_of(home), stdout=subprocess.DEVNULL, check=True)
    return {"NBA_ML_HOME": str(home), "NBA_ML_ARTIFACT_ROOT": str(home / "artifacts")}


if __name__ == "__main__":
    sys.exit(main())
