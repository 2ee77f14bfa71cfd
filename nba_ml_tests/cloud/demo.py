"""The platform's clouds on this machine, to try: `make clouds`.

Starts both emulators on loopback and fills the tables with the months up to `--last`, and half of the features of
`--partial`; runs the chain on them, verifies what it published from another process, and serves Dagster's web UI until
Ctrl-C. Everything is thrown away afterwards.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from nba_ml.contract.season import season_months
from nba_ml.contract.systems import XGBOOST_V1
from nba_ml.registry.publication import list_published
from nba_ml.storage.cloud import open_cloud_store
from nba_ml_tests.cloud.bigquery import ENVIRONMENT, NOT_THERE, make_platform, running_emulator
from nba_ml_tests.cloud.gcs import NOT_INSTALLED, emulator_client, emulator_program, make_bucket, running_server
from nba_ml_tests.conftest import features_of, summary_of
from nba_ml_tests.processes import end_with_what_was_started

NBA_ML = Path(sys.executable).with_name("nba-ml")


@contextmanager
def clouds(last: str, partial: str, folder: Path) -> Iterator[dict[str, str]]:
    """Both emulators with the platform's data up to `last`, and half of `partial`; yields the settings."""
    with running_emulator(folder) as bigquery, running_server() as storage:
        platform = make_platform(bigquery)
        for month in season_months("2021-10", last):
            platform.load(features_of(month), summary_of(month))
        platform.load(features_of(partial).slice(0, features_of(partial).num_rows // 2), summary_of(partial))
        bucket = make_bucket(storage)
        yield {
            **platform.environment,
            "STORAGE_EMULATOR_HOST": storage,
            "NBA_ML_STORE": f"gs://{bucket}/store",
            "NBA_ML_ARTIFACT_ROOT": f"gs://{bucket}/models",
            "NBA_ML_HOME": str(folder / "home"),
        }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--last", default="2022-04", help="last month that is complete")
    parser.add_argument("--partial", default="2022-05", help="month that is half there")
    parser.add_argument("--port", default="3000", help="of the web UI")
    parser.add_argument("--no-ui", action="store_true", help="end after the chain")
    options = parser.parse_args()
    if not (ENVIRONMENT / ".ready").exists():
        print(NOT_THERE, file=sys.stderr)
        return 2
    if emulator_program() is None:
        print(NOT_INSTALLED, file=sys.stderr)
        return 2
    with (
        tempfile.TemporaryDirectory(prefix="nba_ml_clouds_") as folder,
        clouds(options.last, options.partial, Path(folder)) as settings,
    ):
        print("Settings:", *(f"  {name}={value}" for name, value in settings.items()), sep="\n", flush=True)
        for arguments in (["progress"], ["run", "--month", options.last]):
            if code := _run(arguments, settings):
                return code
        if code := _run(["verify", _newest_manifest(settings)], settings):
            return code
        if not options.no_ui:
            _run(["ui", "--port", options.port], settings)
    return 0


def _run(arguments: list[str], settings: Mapping[str, str]) -> int:
    print(f"$ nba-ml {' '.join(arguments)}", flush=True)
    process = subprocess.Popen([NBA_ML, *arguments], env={**os.environ, **settings})
    try:
        return process.wait()
    finally:  # a signal to this process alone: subprocess.run would kill the UI, and leave its servers
        process.terminate()
        process.wait()


def _newest_manifest(settings: Mapping[str, str]) -> str:
    client = emulator_client(settings["STORAGE_EMULATOR_HOST"])
    store = open_cloud_store(settings["NBA_ML_ARTIFACT_ROOT"], client)
    return store.uri(f"{XGBOOST_V1.id}/{list_published(store)[-1]}_manifest.json")


if __name__ == "__main__":
    end_with_what_was_started()
    try:
        code = main()
    except KeyboardInterrupt:
        code = 130
    sys.exit(code)
