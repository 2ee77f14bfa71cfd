"""How long the emulator's datasets last."""

from __future__ import annotations

import pytest

from nba_ml_tests.cloud.bigquery import BigQueryEmulator
from nba_ml_tests.cloud.datasets import make_dataset


@pytest.fixture(scope="module")
def of_module(bigquery_emulator: BigQueryEmulator) -> str:
    return make_dataset(bigquery_emulator.client)


@pytest.fixture
def of_test(bigquery_emulator: BigQueryEmulator) -> str:
    return make_dataset(bigquery_emulator.client)


@pytest.mark.parametrize("time", ["first", "second"])
def test_a_dataset_is_gone_after_what_made_it(
    bigquery_emulator: BigQueryEmulator, of_module: str, of_test: str, time: str
) -> None:
    """Guards the time of all BigQuery tests: with those of earlier tests in it, the emulator gets slower and slower."""
    client = bigquery_emulator.client
    default = {each.dataset_id for each in client.list_datasets()} - {of_module, of_test}
    assert [name for name in default if name.startswith("d") and len(name) == len(of_test)] == [], time
    client.query_and_wait(f"CREATE TABLE {make_dataset(client)}.t (a INT64)")
