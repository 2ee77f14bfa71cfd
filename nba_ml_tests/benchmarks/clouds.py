"""What the clouds cost, on emulators: `python -m nba_ml_tests.benchmarks.clouds`. Prints a Markdown table.

The emulators' own speed is most of every figure, so each stands beside the bare transfer of the same bytes,
measured in the same run.
"""

from __future__ import annotations

import argparse
import secrets
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import date
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nba_ml.contract.features import V2_33FEATURES
from nba_ml.contract.season import month_bounds, season_months
from nba_ml.data.features import compute_features
from nba_ml.data.snapshot import take_snapshot
from nba_ml.data.tables import PROP_LINES
from nba_ml.registry.publication import publish
from nba_ml.storage.cloud import CloudStore
from nba_ml_tests.benchmarks.figures import Figure, keep
from nba_ml_tests.cloud.bigquery import PROJECT, BigQueryEmulator, Platform, make_platform, running_emulator
from nba_ml_tests.cloud.feature_tables import differing_columns, make_backfill, stored_features
from nba_ml_tests.cloud.gcs import emulator_client, make_bucket, running_server
from nba_ml_tests.conftest import COMPUTED_AT, features_of, summary_of
from nba_ml_tests.registry.publication_machine import bundle_of

ROWS = 150_000
MONTH = "2022-01"
RUNS = 5

BARE_READ = 1.9
"""Seconds that a bare read of 150,000 rows of 33 floats took on two cores, when the target was set at twice that."""


def one_big_month(size: int) -> tuple[pa.Table, pa.Table]:
    """So many rows of all months, moved into one: each player gets another name for each month that he came from."""
    features: list[pa.Table] = []
    summaries: list[pa.Table] = []
    months = season_months("2021-10", "2025-06")
    for i, month in enumerate([*months, *months]):
        letters = chr(ord("a") + i // 26) + chr(ord("a") + i % 26)
        for source, target in ((features_of(month), features), (summary_of(month), summaries)):
            if source.num_rows:
                target.append(_moved(source, letters))
    rows = pa.concat_tables(features).slice(0, size)
    results = pa.concat_tables(summaries).slice(0, size)
    not_early = pa.array([False] * rows.num_rows)
    at = rows.schema.get_field_index("early_season_flag")
    return rows.set_column(at, rows.schema.field(at), not_early), results


def _moved(table: pa.Table, letters: str) -> pa.Table:
    days = np.array([f"{MONTH}-{day:02d}" for day in pc.day(table.column("game_date")).to_pylist()], "datetime64[D]")
    columns = {
        "game_date": pa.array(days, pa.date32()),
        "player_lookup": pc.binary_join_element_wise(table.column("player_lookup"), letters, ""),
    }
    for name, column in columns.items():
        at = table.schema.get_field_index(name)
        table = table.set_column(at, table.schema.field(at), column)
    return table


def bare_read(platform: Platform, *, names: bool = False) -> int:
    """The keys and vectors of the month: the plainest query that has them, through the Storage Read API.

    With the rows' own names of their features, which whoever trusts a vector has to look at, it is the plainest
    query that has what a snapshot is made of; the snapshot's compares the names where they are.
    """
    columns = "player_lookup, game_date, game_id, features, feature_version, updated_at"
    if names:
        columns += ", feature_names"
    rows = platform.emulator.connection().rows(
        f"SELECT {columns} FROM `{PROJECT}.{platform.features}` WHERE game_date >= @first",
        {"first": date(2022, 1, 1)},
        "benchmark",
    )
    return int(rows.num_rows)


def seconds(act: Callable[[], object]) -> float:
    started = time.perf_counter()
    act()
    return time.perf_counter() - started


def seconds_of_features(emulator: BigQueryEmulator) -> tuple[float, float]:
    """Seconds for a month's features in the emulator and in DuckDB, from the same box scores."""
    last = "2021-12"
    summary = pa.concat_tables([summary_of(month) for month in season_months("2021-10", last)])
    lines = PROP_LINES.empty_table()
    platform = make_platform(emulator)
    backfill = make_backfill(platform, summary, lines)
    there = seconds(lambda: backfill.write(last))
    found: list[pa.Table] = []
    here = seconds(lambda: found.append(compute_features(summary, lines, *month_bounds(last), computed_at=COMPUTED_AT)))
    assert differing_columns(stored_features(platform, V2_33FEATURES, last, last), found[0]) == []
    return there, here


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m nba_ml_tests.benchmarks.clouds")
    parser.add_argument("--rows", type=int, default=ROWS, help=f"of the month that is read; default: {ROWS:,}")
    parser.add_argument("--runs", type=int, default=RUNS, help=f"of which the median is taken; default: {RUNS}")
    chosen = parser.parse_args(arguments)
    size: int = chosen.rows
    with tempfile.TemporaryDirectory() as folder, running_emulator(Path(folder)) as bigquery, running_server() as gcs:
        platform = make_platform(bigquery)
        platform.load(*one_big_month(size))
        source = platform.source()

        def read() -> None:
            source.read(MONTH)

        def snapshot() -> None:
            rows, _ = source.read(MONTH)
            counts = take_snapshot(rows, MONTH, V2_33FEATURES).counts
            assert counts.samples + counts.without_result + counts.rejected == size, counts

        def plain() -> None:
            bare_read(platform)

        def plain_with_names() -> None:
            bare_read(platform, names=True)

        acts = (plain, plain_with_names, read, snapshot)
        rounds = [[seconds(act) for act in acts] for _ in range(chosen.runs)]
        assert bare_read(platform) == size
        bare, named, joined, taken = (statistics.median(times) for times in zip(*rounds, strict=True))
        of_bare, of_named, of_joined = (statistics.median(each[3] / each[i] for each in rounds) for i in range(3))
        observed = statistics.median(seconds(lambda: source.progress([MONTH])) for _ in range(chosen.runs))

        there, here = seconds_of_features(bigquery)
        store = CloudStore(make_bucket(gcs), "models", emulator_client(gcs))
        boosters = [b"{" + secrets.token_bytes(3_000_000) + b"}" for _ in range(chosen.runs)]
        published = statistics.median(seconds(partial(publish, store, bundle_of(b))) for b in boosters)

    keep(
        [
            Figure("a snapshot from BigQuery's emulator / its query", of_joined),
            Figure("a month's features, emulator / DuckDB", there / here),
            Figure("publishing a bundle of 3 MB", published, 0.5, "s"),
        ]
    )
    print(f"\nMedians of {chosen.runs} runs.\n")
    print("| what | measured | target |\n|---|---|---|")
    print(f"| a bare query of {size:,} rows of 33 floats over the Storage Read API | {bare:.2f} s | |")
    print(f"| the same with their 33 names | {named:.2f} s | |")
    print(f"| the snapshot's own query (join, names, fingerprint) over the same API | {joined:.2f} s | |")
    print(
        f"| its rows into a snapshot | {taken:.2f} s: {of_joined:.2f} times its query, {of_named:.2f} times the bare "
        f"one with names, {of_bare:.2f} times the one without | at most {2 * BARE_READ:.1f} s |"
    )
    print(f"| one month's observation, {size:,} rows | {observed:.2f} s, one query, no feature | |")
    print(
        f"| one month's features, equal to the bit | {there:.1f} s in the emulator, most of it translation; "
        f"{here:.1f} s in DuckDB | |"
    )
    print(f"| publishing a bundle of 3 MB | {published:.3f} s | under 0.5 s |")


if __name__ == "__main__":
    main()
