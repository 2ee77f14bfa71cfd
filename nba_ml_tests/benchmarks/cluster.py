"""Two workers of a Dask cluster against one process: `python -m nba_ml_tests.benchmarks.cluster [--rows N ...]`.

The shipped months are repeated, with other players and a little noise. Both sides read them from the same store and fit
the two boosters of a training: one process with two threads, and two workers with one thread each, on one machine. So
the workers gain nothing from a second machine's cores or memory, and what is measured is what they cost. Prints
Markdown; ratios are of one run.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.compute as pc

from nba_ml.contract.features import V2_33FEATURES
from nba_ml.contract.season import month_bounds
from nba_ml.contract.systems import XGBOOST_V1
from nba_ml.data.features import compute_features
from nba_ml.data.snapshot import REJECTS_SCHEMA, MonthRows, Snapshot, SnapshotCounts, take_snapshot
from nba_ml.data.split import SplitManifest, split_by_date
from nba_ml.data.stored import SNAPSHOT
from nba_ml.data.table_digest import table_digest
from nba_ml.data.tables import PROP_LINES, RESULTS
from nba_ml.model.dask_training import DaskEngine
from nba_ml.model.fitting import Hyperparameters, fit, fit_all, gather
from nba_ml.settings import SAMPLE_DATA
from nba_ml.sources.embedded import source_months
from nba_ml.storage.months import MonthStore
from nba_ml.storage.opening import open_objects
from nba_ml_tests.benchmarks.figures import Figure, keep
from nba_ml_tests.conftest import COMPUTED_AT, summary_of
from nba_ml_tests.model.dask_cluster import Cluster, running_cluster
from nba_ml_tests.processes import end_with_what_was_started

ROWS = (100_000, 1_000_000, 3_000_000)
ROUNDS = 50
"""Trees of each booster: enough that a round counts for more than reading the rows."""

NOISE = 0.01
WORKERS = 2


@dataclass(frozen=True, slots=True)
class Taken:
    """Seconds on the wall, CPU seconds, and the peak of each process in bytes."""

    wall: float
    cpu: float
    peaks: tuple[int, ...]


def parameters(rounds: int) -> Hyperparameters:
    """Without early stopping, so that both sides grow as many trees."""
    return Hyperparameters(num_boost_round=rounds, early_stopping_rounds=rounds)


def repeated(table: pa.Table, times: int) -> pa.Table:
    """A month's rows so many times, each time for other players and with noise in the features, in canonical order."""
    whole = pa.concat_tables([table] * times)
    copies = np.repeat(np.arange(times), len(table))
    draws = np.random.default_rng(times)
    columns = {name: whole.column(name) for name in whole.column_names}
    players = whole.column("player_lookup").to_pylist()
    columns["player_lookup"] = pa.array([f"{name}{copy}" for name, copy in zip(players, copies, strict=True)])
    for name in V2_33FEATURES.names:
        values = whole.column(name).to_numpy()
        columns[name] = pa.array(values * (1 + NOISE * draws.standard_normal(len(values))), from_pandas=False)
    made = pa.table(columns).cast(table.schema)
    return made.sort_by([("game_date", "ascending"), ("player_lookup", "ascending")])


def shipped_snapshots() -> dict[str, pa.Table]:
    """The samples of all shipped months, without lines; their features in one query."""
    names = source_months(SAMPLE_DATA)
    summary = pa.concat_tables([summary_of(month) for month in names])
    (first, _), (_, last) = month_bounds(names[0]), month_bounds(names[-1])
    features = compute_features(summary, PROP_LINES.empty_table(), first, last, computed_at=COMPUTED_AT)

    def of(table: pa.Table, month: str) -> pa.Table:
        begins, ends = (pa.scalar(day, pa.date32()) for day in month_bounds(month))
        days = table.column("game_date")
        return table.filter(pc.and_(pc.greater_equal(days, begins), pc.less_equal(days, ends)))

    rows = {month: MonthRows.of_tables(of(features, month), summary_of(month), V2_33FEATURES) for month in names}
    return {month: take_snapshot(each, month, V2_33FEATURES).table for month, each in rows.items()}


def fill_store(root: Path, rows: int) -> SplitManifest:
    """Write the snapshots of about so many rows, and return their split."""
    months = MonthStore(open_objects(str(root)))
    tables = shipped_snapshots()
    times = max(1, round(rows / sum(map(len, tables.values()))))
    dates = {}
    for month, table in tables.items():
        many = repeated(table, times) if times > 1 else table
        digest = table_digest(many)
        counts = SnapshotCounts(len(many), 0, 0, 0, len(many), len(many))
        months.save(
            SNAPSHOT, month, Snapshot(many, REJECTS_SCHEMA.empty_table(), RESULTS.empty_table(), counts, digest)
        )
        dates[month] = (digest, many.column("game_date").to_numpy())
    return split_by_date(dates)


def in_one_process(root: Path, split: SplitManifest, rounds: int, threads: int) -> Taken:
    """Both boosters in this process: meant for a new one."""
    import resource

    started, cpu = time.perf_counter(), time.process_time()
    tables = MonthStore(open_objects(str(root))).require(SNAPSHOT, [ref.month for ref in split.snapshots])
    samples = gather({month: each.table for month, each in tables.items()}, split, V2_33FEATURES)
    del tables
    sides = samples.sides(split)
    fitted = fit(sides["train"], sides["early_stopping"], parameters(rounds), V2_33FEATURES, threads)
    fit_all(samples, fitted.best_iteration + 1, parameters(rounds), V2_33FEATURES, threads)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return Taken(time.perf_counter() - started, time.process_time() - cpu, (peak,))


def on_workers(cluster: Cluster, root: Path, split: SplitManifest, rounds: int) -> Taken:
    """The same on a cluster's workers. The CPU seconds are theirs."""
    processes = [psutil.Process(each.pid) for each in cluster.workers]

    def spent() -> float:
        return sum(sum(each.cpu_times()[:2]) for each in processes)

    started, cpu = time.perf_counter(), spent()
    DaskEngine(cluster.address, str(root), XGBOOST_V1).fit(split, parameters(rounds))
    wall = time.perf_counter() - started
    return Taken(wall, spent() - cpu, tuple(_peak(each.pid) for each in processes))


def _peak(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def measure(rows: int, rounds: int, folder: Path) -> None:
    """Print a row of the table, and keep its ratio."""
    store = folder / "store"
    split = fill_store(store, rows)
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        alone = pool.submit(in_one_process, store, split, rounds, WORKERS).result()
    logs = folder / "cluster"
    logs.mkdir()
    with running_cluster(logs, WORKERS) as cluster:
        ours = on_workers(cluster, store, split, rounds)
    mb = " and ".join(f"{peak / 1e6:,.0f}" for peak in ours.peaks)
    print(
        f"| {split.rows:,} | {alone.wall:.1f} s | {ours.wall:.1f} s | {ours.wall / alone.wall:.2f} "
        f"| {ours.cpu / alone.cpu:.2f} | {alone.peaks[0] / 1e6:,.0f} MB | {mb} MB |",
        flush=True,
    )
    keep([Figure(f"a fit of {split.rows:,} rows on {WORKERS} workers / in one process, wall", ours.wall / alone.wall)])


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=list(ROWS))
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    given = parser.parse_args(arguments)
    end_with_what_was_started()
    print(
        f"Two boosters of {given.rounds} trees; one process with {WORKERS} threads, {WORKERS} workers of one thread.\n"
    )
    print("| rows | one process | workers | wall, ratio | CPU, ratio | peak of one process | peak of each worker |")
    print("|---|---|---|---|---|---|---|")
    for rows in given.rows:
        with tempfile.TemporaryDirectory(prefix="nba_ml_cluster_") as folder:
            measure(rows, given.rounds, Path(folder))


if __name__ == "__main__":
    main()
