"""The platform's clouds on this machine, to try: `make clouds`.

Starts both emulators on loopback, fills the tables with the shipped months, all of them but the last season, of
which the backfill has done a part; runs the chain on them, verifies what it published, and serves Dagster's web
UI until Ctrl-C. Everything is thrown away afterwards.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nba_ml.core.season import season_months
from nba_ml_tests.cloud.bigquery import ENVIRONMENT, NOT_THERE, make_platform, running_emulator
from nba_ml_tests.cloud.gcs import NOT_INSTALLED, emulator_program, make_bucket, running_server
from nba_ml_tests.conftest import features_of, summary_of

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
        environment = {**os.environ, **settings}
        for arguments in (["progress"], ["run", "--month", options.last]):
            print(f"$ nba-ml {' '.join(arguments)}", flush=True)
            code = subprocess.run([NBA_ML, *arguments], env=environment, check=False).returncode
            if code:
                return code
        if not options.no_ui:
            subprocess.run([NBA_ML, "ui", "--port", options.port], env=environment, check=False)
    return 0


if __name__ == "__main__":
    try:
        code = main()
    except KeyboardInterrupt:
        code = 130
    sys.exit(code)
