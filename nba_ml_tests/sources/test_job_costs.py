"""What queries cost: as the job's statistics have it, and in parts that add up."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nba_ml.sources.job_costs import Cost, JobCost, record_job, recorded_jobs
from nba_ml_tests.cloud.scripted import ScriptedService


@pytest.mark.slow
def test_each_query_is_recorded_with_what_it_billed() -> None:
    """Guards against costs that are read before the job is over, and against a query that nobody counts."""
    with ScriptedService() as scripted, recorded_jobs() as jobs:
        scripted.finish_without_rows(bytes_billed=10_485_760, slot_millis=1_234)
        for label in ("month-rows", "observe-months"):
            assert scripted.connection().rows("SELECT 1", {}, label).num_rows == 0
        ids = [body["jobReference"]["jobId"] for body in scripted.requests]
    assert jobs == [
        JobCost(ids[0], "month-rows", 10_485_760, 1.234),
        JobCost(ids[1], "observe-months", 10_485_760, 1.234),
    ]
    assert Cost.of(jobs) == Cost(20_971_520, 2.468)


def test_a_job_belongs_to_the_innermost_block() -> None:
    """Guards against a query that is counted twice, or in the asset after its own."""
    one, other = (JobCost(name, "q", 1, 0.1) for name in "ab")
    with recorded_jobs() as outer:
        record_job(one)
        with recorded_jobs() as inner:
            record_job(other)
    record_job(one)  # nobody asks: not an error
    assert (outer, inner) == ([one], [other])


@given(st.integers(0, 2**50), st.integers(1, 80))
def test_shares_add_up(billed: int, n: int) -> None:
    """Guards against bytes lost or invented where one query tells of many months."""
    shares = Cost(billed, 1.5).shares(n)
    assert len(shares) == n
    assert sum(each.bytes_billed for each in shares) == billed
    assert max(each.bytes_billed for each in shares) - min(each.bytes_billed for each in shares) <= 1
