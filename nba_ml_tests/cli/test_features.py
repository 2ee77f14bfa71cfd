"""`nba-ml features`: what it refuses before it asks BigQuery anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from nba_ml_tests.cli.command import Home


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--from", "2022-06"), "Add --to-bigquery."),
        (("--to-bigquery",), "Give either --from, and --to for several months, or --date"),
        (("--to-bigquery", "--from", "2022-06", "--date", "2022-06-05"), "Give either --from, and --to"),
        (("--to-bigquery", "--date", "2022-06-05"), "--date needs --version: the rows of v2_33features say who plays"),
        (("--to-bigquery", "--from", "2022-06"), "Set it to 'bigquery' to compute features in BigQuery."),
        (("--to-bigquery", "--from", "2022-06", "--version", "v4_43features"), "'v4_43features' is not one of"),
    ],
    ids=["no target", "no months", "months and a date", "platform rows of a date", "embedded source", "with reports"],
)
def test_what_is_refused(tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    refused = Home(tmp_path / "home").run_here("features", *arguments)
    assert refused.returncode == 2
    assert said in " ".join(refused.stderr.split())


def test_months_in_the_wrong_order_are_refused(tmp_path: Path) -> None:
    settings = {"NBA_ML_SOURCE": "bigquery", "NBA_ML_BIGQUERY_PROJECT": "some-project"}
    home = Home(tmp_path / "home", settings=settings)
    refused = home.run_here("features", "--to-bigquery", "--from", "2022-06", "--to", "2022-05")
    assert refused.returncode == 2
    assert "--from 2022-06 is after --to 2022-05." in " ".join(refused.stderr.split())
