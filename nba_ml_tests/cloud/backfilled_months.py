"""Every shipped month's features, computed in BigQuery and by the embedded source: equal to the bit, or exit code 1.

Run it with `python -m nba_ml_tests.cloud.backfilled_months [VERSION] [FIRST LAST]`. A month takes half a minute in the
emulator, which translates every statement; so the suite has one month of it.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from nba_ml.contract.features import FEATURE_VERSIONS, V3_FEATURES
from nba_ml.contract.season import month_bounds, season_months
from nba_ml.data.box_scores import normalise_prop_lines
from nba_ml.data.features import compute_features
from nba_ml.data.tables import PROP_LINES
from nba_ml.settings import SAMPLE_DATA
from nba_ml_tests.cloud.bigquery import make_platform, running_emulator
from nba_ml_tests.cloud.feature_tables import differing_columns, make_backfill, stored_features
from nba_ml_tests.conftest import COMPUTED_AT, FIRST_MONTH, summary_of

LAST_MONTH = "2025-06"


def main(name: str = V3_FEATURES.name, first: str = FIRST_MONTH, last: str = LAST_MONTH) -> int:
    """0 if all are equal."""
    version, months = FEATURE_VERSIONS[name], season_months(first, last)
    summary = pa.concat_tables([summary_of(month) for month in season_months(FIRST_MONTH, last)])
    lines = normalise_prop_lines(pq.read_table(SAMPLE_DATA / "prop_lines"), "prop_lines").select(PROP_LINES.names)
    expected = compute_features(
        summary, lines, month_bounds(first)[0], month_bounds(last)[1], computed_at=COMPUTED_AT, version=version
    )
    rows = 0
    with tempfile.TemporaryDirectory() as folder, running_emulator(Path(folder)) as emulator:
        platform = make_platform(emulator)
        backfill = make_backfill(platform, summary, lines, version)
        for month in months:
            done = backfill.write(month)
            rows += done.rows
            print(f"{month}: {done.rows:,} rows", flush=True)
        differing = differing_columns(stored_features(platform, version, months[0], months[-1]), expected)
    result = f"differ in {', '.join(differing)}" if differing else "equal to the bit"
    print(f"{rows:,} rows of {len(months)} months compared: {result}")
    return 1 if differing or rows != expected.num_rows else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
