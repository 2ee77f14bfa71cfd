"""Every shipped month through BigQuery and through the embedded source: equal digests, or exit code 1.

Run it with `python -m nba_ml_tests.cloud.all_months`. It takes minutes, so the suite has four months of it.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from nba_ml.contract.features import V2_33FEATURES
from nba_ml.contract.season import season_months
from nba_ml.data.snapshot import take_snapshot
from nba_ml_tests.cloud.bigquery import make_platform, running_emulator
from nba_ml_tests.conftest import features_of, snapshot_of, summary_of


def main() -> int:
    """0 if all are equal."""
    months = season_months("2021-10", "2025-06")
    differing = []
    with tempfile.TemporaryDirectory() as folder, running_emulator(Path(folder)) as emulator:
        platform = make_platform(emulator)
        for month in months:
            platform.load(features_of(month), summary_of(month))
        for month in months:
            rows, _ = platform.source().read(month)
            found = take_snapshot(rows, month, V2_33FEATURES)
            if (found.digest, found.counts) != (snapshot_of(month).digest, snapshot_of(month).counts):
                differing.append(month)
    print(f"{len(months)} months compared, {len(differing)} differ {differing or ''}")
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
