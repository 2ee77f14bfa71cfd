"""A month read from BigQuery through a network that fails at every call, in every way, before and after.

Whatever happens, there are two ends: the month's own rows, or an error in words. Never other rows.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa
import pytest
from google.cloud.bigquery.table import RowIterator

from nba_ml.contract.errors import NbaMlError, SourceDataError
from nba_ml.contract.features import V2_33FEATURES
from nba_ml.data.snapshot import take_snapshot
from nba_ml.sources.bigquery import BigQueryFeatureSource
from nba_ml_tests.cloud.bigquery import PROJECT, BigQueryEmulator, Platform, make_platform
from nba_ml_tests.conftest import features_of, snapshot_of, summary_of
from nba_ml_tests.faults.proxy import KINDS, WHENS, Fault, FaultProxy, Kind, When, disturbed, undisturbed
from nba_ml_tests.faults.reader import UNREAD
from nba_ml_tests.faults.summary import PREFIX
from nba_ml_tests.faults.tcp import BreakingRelay

MONTH = "2022-06"
"""The finals: the fewest rows of any month, so the fastest to read a hundred times."""

PATIENCE = {"deadline_seconds": 240.0, "request_seconds": 60.0}
"""Far longer than the emulator needs for a call on a busy machine."""

IN_SILENCE = {**PATIENCE, "request_seconds": 2.0}
"""Short enough to wait for at every call; an undisturbed one that takes as long is asked again."""


@pytest.fixture(scope="module")
def platform(bigquery_emulator: BigQueryEmulator) -> Platform:
    made = make_platform(bigquery_emulator)
    made.load(features_of(MONTH), summary_of(MONTH))
    return made


@pytest.fixture(scope="module")
def proxy(bigquery_emulator: BigQueryEmulator) -> Iterator[FaultProxy]:
    with FaultProxy(f"http://{bigquery_emulator.rest}").running() as running:
        yield running


def digest(source: BigQueryFeatureSource) -> str:
    rows, _ = source.read(MONTH)
    return take_snapshot(rows, MONTH, V2_33FEATURES).digest


def nothing() -> None:
    """There is nothing to watch between the calls of something that only reads."""


@pytest.fixture(scope="module")
def calls(platform: Platform, proxy: FaultProxy) -> int:
    """How many REST calls an undisturbed snapshot makes."""
    with proxy.disturbing(undisturbed, nothing):
        assert digest(platform.source(endpoint=proxy.endpoint, **PATIENCE)) == snapshot_of(MONTH).digest
        return len(proxy.calls)


@pytest.mark.parametrize("when", WHENS)
@pytest.mark.parametrize("kind", KINDS)
def test_one_fault_at_every_call_changes_nothing(
    platform: Platform,
    proxy: FaultProxy,
    calls: int,
    kind: Kind,
    when: When,
    record_property: Callable[[str, object], None],
) -> None:
    """Guards against a month that is short of rows because an answer was: one fault passes, and nobody notices."""
    assert calls >= 2, "a job, and its results"
    made, patience = 0, IN_SILENCE if kind == "silence" else PATIENCE
    for number in range(calls):
        with proxy.disturbing(disturbed(Fault(kind, when), number), nothing):
            assert digest(platform.source(endpoint=proxy.endpoint, **patience)) == snapshot_of(MONTH).digest
            made += len(proxy.calls)
    record_property(f"{PREFIX}calls", made)
    record_property(f"{PREFIX}faults", calls)


@pytest.mark.parametrize("kind", KINDS)
def test_a_fault_that_lasts_ends_in_words(
    platform: Platform, proxy: FaultProxy, kind: Kind, record_property: Callable[[str, object], None]
) -> None:
    """Guards against a run that never ends, and against an error that nobody understands."""
    with proxy.disturbing(disturbed(Fault(kind, "before"), 0, None), nothing):
        source = platform.source(endpoint=proxy.endpoint, deadline_seconds=2.0, request_seconds=0.5)
        with pytest.raises(SourceDataError, match="did not answer within 2 s"):
            source.read(MONTH)
        record_property(f"{PREFIX}calls", len(proxy.calls))
        record_property(f"{PREFIX}faults", len(proxy.calls))


@pytest.mark.parametrize("passed", [0, 100, 3_000, 20_000])
def test_a_broken_stream_of_rows_is_read_again_whole(
    platform: Platform, bigquery_emulator: BigQueryEmulator, passed: int, record_property: Callable[[str, object], None]
) -> None:
    """Guards against the rows that came before the connection broke being taken for the month."""
    with BreakingRelay(bigquery_emulator.storage).running() as relay:
        relay.breaks = [passed, passed]  # one connection for each of the two queries
        found = digest(platform.source(storage_endpoint=relay.address, **PATIENCE))
        assert found == snapshot_of(MONTH).digest
        assert relay.broken in (1, 2), "the answer to the first may be shorter"
        record_property(f"{PREFIX}faults", relay.broken)


def test_a_stream_that_breaks_for_ever_ends_in_words(platform: Platform, bigquery_emulator: BigQueryEmulator) -> None:
    """Guards against half a month, and against waiting for ever for the other half."""
    broken = 0
    for seconds in (3.0, 12.0, 48.0):  # until the machine is fast enough to come as far as the rows
        with BreakingRelay(bigquery_emulator.storage).running() as relay:
            relay.breaks = [3_000] * 1000
            source = platform.source(storage_endpoint=relay.address, deadline_seconds=seconds, request_seconds=60.0)
            failure = ""
            try:
                # On a busy machine the rows may come with the answer to the query, which needs no stream.
                assert digest(source) == snapshot_of(MONTH).digest
            except NbaMlError as error:
                failure = str(error)
            assert not failure or "BigQuery, project" in failure
            broken = relay.broken
        if broken:
            break
    assert broken > 0, "how often within the deadline is the machine's affair"


def test_an_answer_that_lacks_rows_is_asked_for_again(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards against a stream that ends early without an error: the month would have fewer rows, and pass."""
    whole, lacking = RowIterator.to_arrow, [1, 20]

    def to_arrow(result: RowIterator, **options: Any) -> pa.Table:
        rows = whole(result, **options)
        return rows.slice(lacking.pop()) if lacking and rows.num_rows > 20 else rows

    monkeypatch.setattr(RowIterator, "to_arrow", to_arrow)
    assert digest(platform.source(**PATIENCE)) == snapshot_of(MONTH).digest
    assert not lacking


def test_a_process_ends_though_its_stream_of_rows_hangs(
    platform: Platform, bigquery_emulator: BigQueryEmulator
) -> None:
    """Guards against an error that is told by a process which then never ends: a run that stays 'running' for a day.

    The library reads each stream in a thread with no deadline, and a process waits for its threads.
    """
    where = [platform.features, platform.summary, MONTH]
    for seconds in ("4", "16", "64"):  # until the machine is fast enough to come as far as the rows
        with BreakingRelay(bigquery_emulator.storage, silently=True).running() as relay:
            relay.breaks = [20_000] * 1000
            reader = [
                sys.executable,
                "-m",
                "nba_ml_tests.faults.reader",
                PROJECT,
                bigquery_emulator.rest,
                relay.address,
            ]
            ended = subprocess.run(
                [*reader, *where, seconds], stdout=subprocess.PIPE, text=True, timeout=300, check=False
            )
        if relay.broken:
            break
    assert relay.broken, "it never came as far as the rows"
    assert ended.returncode == UNREAD
    assert f"did not answer within {seconds} s" in ended.stdout
