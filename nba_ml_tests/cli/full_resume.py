"""The whole backfill, killed twice and resumed, against an uninterrupted one with another number of threads.

Run it with `python -m nba_ml_tests.cli.full_resume`. It takes minutes, so it is no test of the suite;
`test_resume` has the same on four months. It exits with 1 if anything differs.
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from pathlib import Path

from nba_ml.resources.feature_source import source_months
from nba_ml.settings import SAMPLE_DATA
from nba_ml_tests.cli.command import Home

SEED = 20220115


def backfill(home: Home, *options: str) -> float:
    """Run the backfill to its end; returns its seconds."""
    started = time.monotonic()
    ended = home.run("backfill", *options)
    if ended.returncode != 0:
        sys.exit(f"the backfill in {home.root} ended with {ended.returncode}: {ended.stderr}")
    return time.monotonic() - started


def kill_after(home: Home, months: int, seconds: float) -> str:
    """Start the backfill, kill it `seconds` after it reported the given number of months; returns the last month."""
    process = home.start("backfill", "--only-missing")
    assert process.stdout is not None
    last = "none"
    for _ in range(months):
        last = process.stdout.readline().partition(":")[0]
    time.sleep(seconds)
    process.kill()
    process.communicate()
    return last


def differences(one: dict, other: dict) -> list[object]:  # type: ignore[type-arg]
    """Keys that only one has, or that differ."""
    return sorted((key for key in one.keys() | other.keys() if one.get(key) != other.get(key)), key=str)


def main() -> int:
    chance = random.Random(SEED)
    months = source_months(SAMPLE_DATA)
    with tempfile.TemporaryDirectory(prefix="nba_ml_resume_") as folder:
        whole, killed = Home(Path(folder, "whole"), threads=1), Home(Path(folder, "killed"), threads=2)
        print(f"seed {SEED}, {len(months)} months, {months[0]} to {months[-1]}", flush=True)
        for kill in (1, 2):
            count, seconds = chance.randrange(5, 13), chance.uniform(0.0, 3.0)
            last = kill_after(killed, count, seconds)
            print(f"kill {kill}: SIGKILL {seconds:.2f} s after {last} was reported", flush=True)
        print(f"killed home, 2 threads: resumed and ended after {backfill(killed, '--only-missing'):.0f} s", flush=True)
        print(f"whole home, 1 thread: uninterrupted, {backfill(whole):.0f} s", flush=True)
        again = killed.run("backfill", "--only-missing").stdout.strip()
        print(f"once more with --only-missing: {again}", flush=True)

        compared = {
            "data versions": (whole.versions(), killed.versions()),
            "published files, byte for byte": (whole.files("artifacts"), killed.files("artifacts")),
            "stored files, byte for byte": (whole.stored(), killed.stored()),
        }
        models = [name for name in compared["published files, byte for byte"][0] if name.endswith("_manifest.json")]
        statuses = {home.root.name: dict.fromkeys(str(status) for status in home.runs()) for home in (whole, killed)}
    different = {what: differences(*both) for what, both in compared.items()}
    for what, both in compared.items():
        print(f"{what}: {len(both[0])} compared, {len(different[what])} differ {different[what][:5] or ''}")
    print(f"{len(models)} models published; run statuses { ({k: list(v) for k, v in statuses.items()}) }")
    unfinished = any("STARTED" in status or "STARTING" in status for each in statuses.values() for status in each)
    good = not any(different.values()) and not unfinished and again.startswith("0 month(s) run")
    print("SAME" if good else "DIFFERENT")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
