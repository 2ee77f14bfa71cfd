"""Time, memory and digest by the number of rows: the chain from snapshots to a published model. Prints Markdown.

    python -m nba_ml_tests.benchmarks.rows [--rows 100000 1000000 3000000 10000000] [--rounds N] [--compare 1000000]

The rows are the shipped months, each so many times as are needed: the copies are other players, with noise on four
features of the teams. They go through the assets and their checks like any month's. With `--compare`, pages in files
and in memory are both trained, and their models compared. Each size runs in a process of its own.

All sizes have the same number of rounds, with a learning rate that needs few: a fit with early stopping grows other
numbers of trees from more rows, and the times would say that instead. Ten million rows then take some ten minutes.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from itertools import pairwise
from pathlib import Path

import dagster as dg
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nba_ml.contract.lineage import Inputs
from nba_ml.contract.season import season_months
from nba_ml.contract.systems import XGBOOST_V1, System
from nba_ml.data.snapshot import MonthRows
from nba_ml.data.stored import SNAPSHOT, SPLIT
from nba_ml.defs.build import build_defs
from nba_ml.defs.resources import open_store
from nba_ml.model.fitting import Hyperparameters
from nba_ml.model.stored import MODEL
from nba_ml.model.train import Memory, train
from nba_ml.registry.publication import list_published
from nba_ml.runner.home import open_instance, prepare_home
from nba_ml.runner.memory import release_memory
from nba_ml.settings import Settings
from nba_ml.sources.embedded import source_months
from nba_ml.sources.month_rows import StoredMonthRows
from nba_ml.storage.opening import open_objects
from nba_ml_tests.benchmarks.figures import Figure, keep
from nba_ml_tests.benchmarks.own_home import environment_of

REAL_ROWS = 102_162
"""Samples of the shipped months."""

NOISY = ("opponent_def_rating", "opponent_pace", "team_pace", "team_off_rating")

MOST_GB = 2 * 1024**3 / 1e9
"""Peak memory that any size may take."""

MOST_GROWTH = 1.1
"""The power of the number of rows with which the CPU time may grow between the two largest sizes; 1 is linear."""

CHAIN = ("train_split", "xgboost_model", "model_metadata", "gcs_artifact")


@dataclass(frozen=True)
class Copies(StoredMonthRows):
    """The stored months, each row `copies` times: as other players, and with noise."""

    copies: int = 1

    def read(self, month: str, system: System = XGBOOST_V1) -> tuple[MonthRows, Inputs]:
        rows, inputs = super().read(month, system)
        many = replace(
            rows,
            features=_many(
                rows.features, self.copies, [system.features.index(name) for name in NOISY], int(month[-2:])
            ),
            results=_many(rows.results, self.copies, [], 0),
            lines=None,
        )
        return many, {
            asset: {m: f"{self.copies} x {digest}" for m, digest in of.items()} for asset, of in inputs.items()
        }


def _many(table: pa.Table, copies: int, noisy: list[int], seed: int) -> pa.Table:
    return pa.concat_tables([_copy(table, number, noisy, seed) for number in range(copies)]).combine_chunks()


def _copy(table: pa.Table, number: int, noisy: list[int], seed: int) -> pa.Table:
    if not number:
        return table
    letters = chr(97 + number // 26) + chr(97 + number % 26)
    names = pc.binary_join_element_wise(table.column("player_lookup"), f"copy{letters}", "")
    table = table.set_column(table.column_names.index("player_lookup"), table.schema.field("player_lookup"), names)
    if not noisy:
        return table
    lists = table.column("features").combine_chunks()
    values = lists.flatten().to_numpy(zero_copy_only=False).reshape(len(lists), -1).copy()
    values[:, noisy] += np.random.default_rng([seed, number]).normal(0, 0.3, (len(values), len(noisy)))
    changed = pa.ListArray.from_arrays(lists.offsets, pa.array(values.ravel()))
    return table.set_column(table.column_names.index("features"), table.schema.field("features"), changed)


@dataclass(frozen=True)
class Stage:
    """Seconds on the wall and of the processor, and the most memory that the process had, in GB."""

    wall: float
    cpu: float
    peak: float


@dataclass
class Size:
    """A number of rows through the chain."""

    rows: int = 0
    stages: dict[str, Stage] = field(default_factory=dict)
    rounds: int = 0
    scratch_gb: float = 0.0
    published: list[str] = field(default_factory=list)
    digests: dict[str, str] = field(default_factory=dict)

    @property
    def cpu(self) -> float:
        """CPU seconds of all stages."""
        return sum(stage.cpu for stage in self.stages.values())

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Measure a block. The peak is the block's own, where the kernel lets a process reset it."""
        release_memory()
        Path("/proc/self/clear_refs").write_text("5")
        wall, cpu = time.perf_counter(), time.process_time()
        yield
        lines = Path("/proc/self/status").read_text().splitlines()
        peak = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024 / 1e9
        self.stages[name] = Stage(time.perf_counter() - wall, time.process_time() - cpu, peak)
        print(f"{self.rows:,} {name}: {self.stages[name]}", file=sys.stderr, flush=True)


def measure(base: Path, home: Path, rows: int, rounds: int, rate: float) -> Size:
    """The chain of all months' rows, in this process."""
    found = Size(rows)
    settings = Settings.from_environment(environment_of(home))
    prepare_home(settings)
    source = Copies(str(base / "store"), max(1, round(rows / REAL_ROWS)))
    defs = build_defs(settings, resource_overrides={"month_rows": source})
    available = source_months(settings.data)
    months, last = season_months(available[0], available[-1]), available[-1]
    config = {"num_boost_round": rounds, "learning_rate": rate}
    with open_instance(settings) as instance:

        def run(month: str, assets: Sequence[str]) -> None:
            job = defs.resolve_implicit_global_asset_job_def().get_subset(
                asset_selection=frozenset(map(dg.AssetKey, assets))
            )
            ops = {"xgboost_model": {"config": config}} if "xgboost_model" in assets else {}
            quiet = {"console": {"config": {"log_level": "CRITICAL"}}}
            job.execute_in_process(instance=instance, partition_key=month, run_config={"ops": ops, "loggers": quiet})
            release_memory()

        with found.stage("snapshots and their checks"):
            for month in months:
                run(month, [SNAPSHOT.name])
        for asset in CHAIN:
            with found.stage(asset):
                run(last, [asset])
    model = open_store(settings.store).load(MODEL, last)
    assert model is not None
    found.rows, found.rounds = model.report.split.rows, model.report.rounds_run or 0
    found.digests["assets"] = model.digest
    found.published = list_published(open_objects(settings.artifact_root))
    return found


def compare(home: Path, rows: int, rounds: int, rate: float) -> Size:
    """Trainings of the stored months of `measure`, with pages in files and in memory."""
    found = Size(rows)
    store = open_store(str(home / "store"))
    last = store.stored(SPLIT)[-1]
    split = store.require(SPLIT, [last])[last]
    parameters = Hyperparameters(num_boost_round=rounds, learning_rate=rate)
    for name, most in (("in files", 0), ("in memory", 10**9)):
        snapshots = store.one_by_one(SNAPSHOT, [ref.month for ref in split.snapshots])
        with found.stage(name):
            model = train(split, snapshots, parameters, XGBOOST_V1.features, memory=Memory(most, home / "scratch"))
        found.digests[name] = model.digest
    found.rows = split.rows
    return found


def _child(arguments: Sequence[str]) -> Size:
    text = subprocess.run(
        [sys.executable, "-m", "nba_ml_tests.benchmarks.rows", *arguments],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout
    values = json.loads(text.splitlines()[-1])
    values["stages"] = {name: Stage(**stage) for name, stage in values["stages"].items()}
    return Size(**values)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000, 1_000_000, 3_000_000, 10_000_000])
    parser.add_argument("--compare", type=int, nargs="*", default=[1_000_000], help="sizes to train in memory, too")
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--rate", type=float, default=0.2, help="learning rate: a large one, for few rounds")
    parser.add_argument("--home", type=Path, help="where the homes are; by default a folder that is removed")
    parser.add_argument("--child", choices=["measure", "compare"], help=argparse.SUPPRESS)
    chosen = parser.parse_args(arguments)
    if chosen.child:
        [rows], home = chosen.rows, chosen.home / f"rows_{chosen.rows[0]}"
        size = (
            measure(chosen.home / "base", home, rows, chosen.rounds, chosen.rate)
            if chosen.child == "measure"
            else compare(home, rows, chosen.rounds, chosen.rate)
        )
        print(json.dumps(asdict(size)))
        return
    folder = chosen.home or Path(tempfile.mkdtemp(prefix="nba_ml_rows_"))
    try:
        _print(folder, chosen)
    finally:
        if chosen.home is None:
            shutil.rmtree(folder)


def _print(folder: Path, chosen: argparse.Namespace) -> None:
    if not (folder / "base").exists():
        assets = ["backfill", "--only-missing", "--assets", "player_game_summary,ml_feature_store_v2"]
        ours = [sys.executable, "-c", "from nba_ml.cli.main import main; main()", *assets]
        subprocess.run(ours, check=True, env=environment_of(folder / "base"), stdout=subprocess.DEVNULL)
    print(
        "\n### Rows\n\n| rows | stage | wall, s | CPU, s | CPU, µs a row | peak, GB | |\n|---|---|---|---|---|---|---|"
    )
    sizes: list[Size] = []
    passed_on = ["--rounds", str(chosen.rounds), "--rate", str(chosen.rate), "--home", str(folder)]
    for rows in chosen.rows:
        size = _child(["--child", "measure", "--rows", str(rows), *passed_on])
        _lines(size)
        sizes.append(size)
        verdict = ", ".join(size.published) or "**not published**"
        print(f"| {size.rows:,} | {size.rounds} rounds | | | | | {verdict} |", flush=True)
        if rows in chosen.compare:
            both = _child(["--child", "compare", "--rows", str(rows), *passed_on])
            _lines(both)
            same = "the same bytes" if len({*both.digests.values(), *size.digests.values()}) == 1 else "**other bytes**"
            print(f"| {both.rows:,} | the three models | | | | | {same} |", flush=True)
        shutil.rmtree(folder / f"rows_{rows}")
    print(f"\nFixed: {chosen.rounds} rounds of each of both fits, learning rate {chosen.rate:g}, the shipped months.")
    _growth(sizes)


def _growth(sizes: Sequence[Size]) -> None:
    """How the CPU time grows from one size to the next, and the figures for the table."""
    print("\n| from | to | CPU s for each further million rows | power of the rows |\n|---|---|---|---|")
    power = further = 0.0
    for less, more in pairwise(sizes):
        before, further = further, (more.cpu - less.cpu) / (more.rows - less.rows) * 1e6
        power = math.log(more.cpu / less.cpu) / math.log(more.rows / less.rows)
        print(f"| {less.rows:,} | {more.rows:,} | {further:.1f} | {power:.2f} |", flush=True)
    largest = sizes[-1]
    peak = max(stage.peak for stage in largest.stages.values())
    figures = [Figure(f"peak memory of {largest.rows:,} rows", peak, MOST_GB, "GB")]
    if len(sizes) > 2:
        two = f"from {sizes[-2].rows:,} to {largest.rows:,}"
        figures.append(Figure(f"CPU grows with the rows {two}, as a power", power, MOST_GROWTH))
        figures.append(Figure(f"a further row {two} / one up to {sizes[-2].rows:,}, CPU", further / before))
    keep(figures)


def _lines(size: Size) -> None:
    for name, stage in size.stages.items():
        verdict = "" if stage.peak <= MOST_GB else "**above 2 GiB**"
        each = f"{stage.cpu / size.rows * 1e6:.1f} | {stage.peak:.2f}"
        print(f"| {size.rows:,} | {name} | {stage.wall:.1f} | {stage.cpu:.1f} | {each} | {verdict} |", flush=True)


if __name__ == "__main__":
    main()
