"""What a watch remembers and tells of its reads, on reads that the test decides about: no store and no model."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from nba_ml.contract.errors import BundleError
from nba_ml.serving import watch
from nba_ml.serving.watch import AGAIN_SECONDS, GRACE_SECONDS, Watch, WatchStatus

LOADED = datetime(2025, 1, 15, tzinfo=UTC)


class Reads:
    """Reads of a channel: each waits until the test says what becomes of it, and is then told or not."""

    def __init__(self) -> None:
        self.asked: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.outcomes: queue.SimpleQueue[bool | Exception] = queue.SimpleQueue()
        self.told: list[WatchStatus] = []

    def refresh(self, channel: str) -> bool:
        self.asked.put(channel)
        outcome = self.outcomes.get(timeout=60)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def end(self, outcome: bool | Exception) -> None:
        """End the read that is waiting, and wait for the next one: then this one has been told."""
        self.outcomes.put(outcome)
        assert self.asked.get(timeout=60) == "champion"


@pytest.fixture
def reads() -> Reads:
    return Reads()


@pytest.fixture
def watching(reads: Reads) -> Iterator[Watch]:
    begun = Watch(reads.refresh, "champion", 0.001, checked_at=LOADED, tell=reads.told.append)
    assert begun.status == WatchStatus("champion", 0.001, checked_at=LOADED)
    assert reads.asked.get(timeout=60) == "champion"
    assert begun.alive
    yield begun
    reads.outcomes.put(False)
    begun.stop(60)
    assert not begun.alive


def test_swaps_failures_and_recoveries_are_told_and_nothing_else(reads: Reads, watching: Watch) -> None:
    """Guards the log and `/health`: each change once, with how often it failed, and no line for each quiet read."""
    reads.end(False)
    quiet = watching.status
    assert (reads.told, quiet.swapped_at, quiet.failures) == ([], None, 0)
    assert quiet.checked_at is not None
    assert quiet.checked_at > LOADED
    reads.end(True)
    [swapped] = reads.told
    assert swapped == watching.status
    assert swapped.swapped_at == swapped.checked_at
    reads.end(BundleError("it is damaged."))
    reads.end(ValueError("a bug"))
    assert [(each.failure, each.failures, each.failures_ever) for each in reads.told[1:]] == [
        ("it is damaged.", 1, 1),
        ("ValueError: a bug", 2, 2),
    ]
    assert reads.told[-1].failed_at is not None
    assert reads.told[-1].checked_at == swapped.checked_at, "a read that failed is none"
    reads.end(False)
    well = reads.told[-1]
    assert (len(reads.told), well.failure, well.failed_at, well.failures, well.failures_ever) == (4, None, None, 0, 2)
    assert well.swapped_at == swapped.swapped_at
    reads.end(False)
    assert len(reads.told) == 4
    assert watching.alive


def test_nobody_needs_to_be_told(reads: Reads) -> None:
    reads.outcomes.put(True)
    with Watch(reads.refresh, "champion", 0.001, checked_at=LOADED) as begun:
        for _ in range(2):
            assert reads.asked.get(timeout=60) == "champion"
        assert begun.status.swapped_at is not None
        reads.outcomes.put(False)
    assert not begun.alive, "leaving it ends it"


@pytest.mark.parametrize(("seconds", "after_failure"), [(30.0, 30.0), (60.0, 60.0), (3_600.0, AGAIN_SECONDS)])
def test_after_a_failure_the_next_read_comes_within_a_minute(
    reads: Reads, seconds: float, after_failure: float
) -> None:
    with Watch(reads.refresh, "champion", seconds, checked_at=LOADED) as begun:
        assert begun.pause == seconds
        begun._failed("gone")
        assert begun.pause == after_failure
    assert AGAIN_SECONDS == 60


def test_a_read_is_overdue_after_two_intervals_and_ten_seconds(reads: Reads, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1_000.0]
    monkeypatch.setattr(watch, "monotonic", lambda: now[0])
    with Watch(reads.refresh, "champion", 100.0, checked_at=LOADED) as begun:
        now[0] += 210.0
        assert not begun.overdue
        now[0] += 0.001
        assert begun.overdue
        reads.outcomes.put(False)
        begun._check()
        assert not begun.overdue
        begun._failed("gone")
        now[0] += 210.001
        assert begun.overdue
    assert GRACE_SECONDS == 10
