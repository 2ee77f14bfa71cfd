"""The whole backfill, killed twice and resumed, against an uninterrupted one with another number of threads.

Run it with `python -m nba_ml_tests.cli.full_resume`. It takes minutes, so it is no test of the suite;
`test_resume` has the same on four months. It exits with 1 if anything differs.
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from nba_ml.settings import SAMPLE_DATA
from nba_ml.sources.embedded import source_months
from nba_ml_tests.cli.command import Home

SEED = 20220115


def kill_after(home: Home, months: int, seconds: float) -> str:
    """Start the backfill, kill it `seconds` after it reported the given number of months; returns the last month."""
    process = home.start("backfill", "--only-missing")
    assert process.stdout is not None
    last = "none"
    while months:
        before, colon, _ = process.stdout.readline().partition(": ")
        if colon and " " not in before:  # neither a warning nor a refusal: the month is done
            last, months = before, months - 1
    time.sleep(seconds)
    process.kill()
    process.communicate()
    return last


def compare(whole: Home, killed: Home) -> bool:
    """Print what was compared and what differs; says whether nothing does."""
    both: dict[str, tuple[Mapping[Any, str | bytes], Mapping[Any, str | bytes]]] = {
        "data versions": (whole.versions(), killed.versions()),
        "published files, byte for byte": (whole.files("artifacts"), killed.files("artifacts")),
        "stored files, byte for byte": (whole.stored(), killed.stored()),
    }
    good = True
    for what, (one, other) in both.items():
        differing = sorted((key for key in one.keys() | other.keys() if one.get(key) != other.get(key)), key=str)
        print(f"{what}: {len(one)} compared, {len(differing)} differ {differing[:5] or ''}")
        good = good and not differing and len(one) > 0
    models = {
        name.removesuffix("_manifest.json") for name in whole.files("artifacts") if name.endswith("_manifest.json")
    }
    print(f"{len(models)} models published, the last {max(models, key=lambda name: name.split('_')[-2])}")
    for home in (whole, killed):
        statuses = Counter(status.value for status in home.runs())
        print(f"runs of the {home.root.name} home: {dict(statuses)}")
        good = good and set(statuses) <= {"SUCCESS", "FAILURE"}
    return good


def main() -> int:
    """The whole story; 0 if both homes hold the same."""
    chance = random.Random(SEED)
    months = source_months(SAMPLE_DATA)
    with tempfile.TemporaryDirectory(prefix="nba_ml_resume_") as folder:
        whole, killed = (
            Home(Path(folder, name), threads=threads, limits=None) for name, threads in (("whole", 1), ("killed", 2))
        )
        print(f"seed {SEED}, {len(months)} months, {months[0]} to {months[-1]}", flush=True)
        started = time.monotonic()
        with ThreadPoolExecutor() as pool:  # beside each other: either keeps one core busy for most of the time
            uninterrupted = pool.submit(whole.run, "backfill", limit=None)
            for kill in (1, 2):
                count, seconds = chance.randrange(5, 13), chance.uniform(0.0, 3.0)
                last = kill_after(killed, count, seconds)
                print(f"kill {kill}: SIGKILL {seconds:.2f} s after {last} was reported", flush=True)
            resumed = killed.run("backfill", "--only-missing", limit=None)
            ended = {"killed home, 2 threads": resumed, "whole home, 1 thread": uninterrupted.result()}
        for which, process in ended.items():
            if process.returncode != 0:
                sys.exit(f"the backfill of the {which}, ended with {process.returncode}: {process.stderr}")
            print(f"{which}: {process.stdout.splitlines()[-1]}")
        print(f"both ended after {time.monotonic() - started:.0f} s", flush=True)
        again = killed.run("backfill", "--only-missing", limit=None).stdout.splitlines()[-1]
        print(f"killed home once more with --only-missing: {again}", flush=True)
        good = compare(whole, killed) and again.startswith("0 month(s) run")
    print("SAME" if good else "DIFFERENT")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
