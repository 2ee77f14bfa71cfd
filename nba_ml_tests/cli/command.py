"""The command, in a process of its own or in this one, and what it left in a home.

What belongs here: starting `nba-ml` with an environment of known settings only, and reading the home
afterwards the way Dagster's UI and a reader of the published files would.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import chdir, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import dagster as dg
from click.testing import CliRunner

from nba_ml.cli.main import main
from nba_ml.contract.assets import MONTHLY_ASSETS
from nba_ml.contract.systems import XGBOOST_V1
from nba_ml.contract.thresholds import Thresholds
from nba_ml.settings import SAMPLE_DATA
from nba_ml_tests.limits import LENIENT, written
from nba_ml_tests.processes import heed_signals

NBA_ML = Path(sys.executable).with_name("nba-ml")
"""The console script of the environment that runs the tests."""

Versions = dict[tuple[str, str], str]
"""(asset, month) -> data version of its latest materialisation."""


@dataclass(frozen=True)
class Home:
    """A home and the settings that go with it. `limits` are those of the checks (None: the shipped ones)."""

    root: Path
    data: Path = SAMPLE_DATA
    threads: int = 1
    limits: Thresholds | None = LENIENT
    settings: Mapping[str, str] = field(default_factory=dict)

    def environment(self) -> dict[str, str]:
        """The tests' own environment without any setting of nba_ml or Dagster, and with this home's."""
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("NBA_ML_", "DAGSTER_"))}
        # One chain is enough for most tests, and half the time; `test_systems` has both.
        ours: dict[str, object] = {"NBA_ML_HOME": self.root, "NBA_ML_DATA": self.data, "NBA_ML_THREADS": self.threads}
        ours["NBA_ML_SYSTEMS"] = XGBOOST_V1.id
        if self.limits is not None:
            ours["NBA_ML_THRESHOLDS"] = written(self.limits)
        return {**inherited, **{k: str(v) for k, v in ours.items()}, **self.settings}

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start the command, in a session of its own."""
        return subprocess.Popen(
            [NBA_ML, *arguments],
            env=self.environment(),
            cwd=self.root.parent,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            preexec_fn=heed_signals,
        )

    def run(self, *arguments: str, limit: float | None = 600) -> subprocess.CompletedProcess[str]:
        """Run the command to its end, for `limit` seconds at most (None: however long it takes)."""
        process = self.start(*arguments)
        try:
            out, err = process.communicate(timeout=limit)
        finally:
            process.kill()
        return subprocess.CompletedProcess(arguments, process.returncode, out, err)

    def run_here(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the command in this process, which imports Dagster once for all: for its words, files and exit code.

        What a process of its own shows beside that (signals, tracebacks, imports, what libraries write when they are
        first loaded) needs `run`. An exception that leaves the command is raised.
        """
        ours = self.environment()
        others = dict.fromkeys(os.environ.keys() - ours.keys())
        with chdir(self.root.parent):
            ended = CliRunner().invoke(main, arguments, env={**others, **ours}, prog_name="nba-ml")
        if ended.exception is not None and not isinstance(ended.exception, SystemExit):
            raise ended.exception
        return subprocess.CompletedProcess(arguments, ended.exit_code, ended.stdout, ended.stderr)

    @contextmanager
    def instance(self) -> Iterator[dg.DagsterInstance]:
        """Dagster's instance of the home, as the UI opens it."""
        with dg.DagsterInstance.from_config(str(self.root / "dagster")) as instance:
            yield instance

    def versions(self) -> Versions:
        """The data versions, read through the instance."""
        found: Versions = {}
        with self.instance() as instance:
            for asset in MONTHLY_ASSETS:
                records = instance.fetch_materializations(dg.AssetKey(asset), limit=5000).records
                for record in records:  # newest first
                    event, month = record.asset_materialization, record.partition_key
                    assert event is not None
                    assert month is not None
                    found.setdefault((asset, month), (event.tags or {})["dagster/data_version"])
        return found

    def runs(self) -> list[dg.DagsterRunStatus]:
        """The status of every run of the instance."""
        with self.instance() as instance:
            return [run.status for run in instance.get_runs()]

    def files(self, folder: str) -> dict[str, bytes]:
        """Every file in a folder of the home that a reader may see, by its relative path: hidden ones are staging."""
        base = self.root / folder
        shown = [file for file in sorted(base.rglob("[!.]*")) if file.is_file()]
        return {str(file.relative_to(base)): file.read_bytes() for file in shown}

    def stored(self) -> dict[str, bytes]:
        """The store's files as they would be in any home.

        Left out is the feature store, whose rows carry the time they were written at, and out of the published
        models' addresses goes the home.
        """
        files = {k: v for k, v in self.files("store").items() if not k.startswith("ml_feature_store_v2/")}
        root = self.root.as_uri().encode()
        return {k: v.replace(root, b"") if k.startswith("gcs_artifact/") else v for k, v in files.items()}
