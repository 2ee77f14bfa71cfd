"""Datasets of the BigQuery emulator, dropped after the test or with the fixture that made them.

The emulator looks through all of its tables at every statement: with the tables of 75 tests in it, `SELECT 1` takes ten
times as long. The hooks are for a conftest to import.
"""

from __future__ import annotations

import secrets
from collections.abc import Generator
from functools import partial

import pytest
from google.cloud import bigquery

_made: list[tuple[bigquery.Client, str]] = []
"""What the test or the fixture that runs now has made so far."""


def make_dataset(client: bigquery.Client) -> str:
    """The name of a new, empty dataset."""
    name = f"d{secrets.token_hex(6)}"
    client.create_dataset(name)
    _made.append((client, name))
    return name


def _drop(datasets: list[tuple[bigquery.Client, str]]) -> None:
    for client, name in datasets:
        client.delete_dataset(name, delete_contents=True, not_found_ok=True)


def _taken(before: int) -> list[tuple[bigquery.Client, str]]:
    """Those made since there were so many."""
    new = _made[before:]
    del _made[before:]
    return new


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(fixturedef: pytest.FixtureDef[object]) -> Generator[None, object, object]:
    """What a fixture makes lasts as long as the fixture."""
    before = len(_made)
    try:
        return (yield)
    finally:
        if new := _taken(before):
            fixturedef.addfinalizer(partial(_drop, new))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None, object, object]:
    """What a test itself makes is gone after it."""
    before = len(_made)
    try:
        return (yield)
    finally:
        _drop(_taken(before))
