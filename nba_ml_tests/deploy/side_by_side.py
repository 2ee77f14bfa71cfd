"""Months run at the same time, each in a process of its own, as pods do: one Dagster instance on Postgres, one store.

As a script it runs all months and prints how long that took, with the ids of the models:
`python -m nba_ml_tests.deploy.side_by_side HOME --at-once 4`.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from multiprocessing import get_context
from pathlib import Path

import dagster as dg
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.execution.api import execute_run_iterator

from nba_ml.defs import waiting
from nba_ml.defs.build import build_defs
from nba_ml.defs.partitions import month_keys, partitions_of
from nba_ml.registry.publication import list_published
from nba_ml.settings import Settings
from nba_ml.storage.opening import open_objects

DAGSTER_YAML = """\
telemetry:
  enabled: false
storage:
  postgres:
    postgres_url:
      env: DAGSTER_POSTGRES_URL
concurrency:
  pools:
    granularity: op
    default_limit: 1
"""
"""Trainings one at a time, everything else side by side."""


def write_dagster_yaml(home: Path) -> None:
    """Put the instance's settings into a new home."""
    (home / "dagster").mkdir(parents=True)
    (home / "dagster/dagster.yaml").write_text(DAGSTER_YAML)


def queue_runs(environ: Mapping[str, str], job: str, months: Sequence[str], status: dg.DagsterRunStatus) -> list[str]:
    """Create a run of the job for each month, as a backfill of the UI does; returns their ids."""
    settings = Settings.from_environment(environ)
    made = build_defs(settings).resolve_job_def(job)
    with dg.DagsterInstance.from_config(str(settings.dagster_home)) as instance:
        return [
            instance.create_run_for_job(
                made,
                status=status,
                tags={"dagster/partition": month},
                asset_selection={*made.asset_layer.executable_asset_keys},
            ).run_id
            for month in months
        ]


def execute(environ: Mapping[str, str], job: str, run_id: str, delay: float) -> bool:
    """Execute a run in this process, as a run's pod does, after so many seconds; returns whether it succeeded."""
    os.environ.update(environ)
    time.sleep(delay)
    waiting.WAIT_SECONDS = 1
    settings = Settings.from_environment(environ)
    made = build_defs(settings).resolve_job_def(job)
    with dg.DagsterInstance.from_config(str(settings.dagster_home)) as instance:
        run = instance.get_run_by_id(run_id)
        assert run is not None
        for _ in execute_run_iterator(InMemoryJob(made), run, instance):
            pass
        ended = instance.get_run_by_id(run_id)
        return ended is not None and ended.status is dg.DagsterRunStatus.SUCCESS


def run_months(
    environ: Mapping[str, str], job: str, months: Sequence[str], at_once: int, delay: float = 0
) -> list[bool]:
    """Run the job for the months, started in the given order, so many at once; returns which succeeded.

    `delay`: seconds between the starts.

    The runs exist before the first of them begins, as runs that a launcher has started.
    """
    runs = queue_runs(environ, job, months, dg.DagsterRunStatus.STARTING)
    context = get_context("forkserver")
    context.set_forkserver_preload([__name__, "xgboost", "duckdb", "dagster_postgres"])
    with ProcessPoolExecutor(at_once, mp_context=context, max_tasks_per_child=1) as pool:
        delays = (delay * at for at in range(len(runs)))
        return list(pool.map(execute, repeat(dict(environ)), repeat(job), runs, delays))


def main() -> None:
    from nba_ml_tests.deploy.postgres import running_postgres

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("home", type=Path)
    parser.add_argument("--at-once", type=int, default=4)
    options = parser.parse_args()
    write_dagster_yaml(options.home)
    with running_postgres() as url:
        environ = {**os.environ, "NBA_ML_HOME": str(options.home.absolute()), "DAGSTER_POSTGRES_URL": url}
        os.environ.update(environ)
        settings = Settings.from_environment(environ)
        months = month_keys(partitions_of(settings))
        started = time.monotonic()
        done = run_months(environ, "monthly_chain", months, options.at_once)
        print(f"{sum(done)} of {len(done)} months in {time.monotonic() - started:.0f} s, {options.at_once} at once")
        print(json.dumps(list_published(open_objects(settings.artifact_root)), indent=1, default=str))


if __name__ == "__main__":
    main()
