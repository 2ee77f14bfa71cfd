"""`nba-ml features`: what it refuses before it asks BigQuery anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from nba_ml_tests.cli.command import Home


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--from", "2022-06"), "Add --to-bigquery."),
        (("--to-bigquery", "--from", "2022-06"), "Set it to 'bigquery' to compute features in BigQuery."),
        (("--to-bigquery", "--from", "2022-06", "--version", "v9"), "'v9' is not one of"),
    ],
    ids=["no target", "embedded source", "unknown version"],
)
def test_what_is_refused(tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    refused = Home(tmp_path / "home").run_here("features", *arguments)
    assert refused.returncode == 2
    assert said in " ".join(refused.stderr.split())
