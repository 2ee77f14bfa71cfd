"""What BigQuery billed for the queries of a block of code, one record per job.

An asset's queries are several calls deep, behind interfaces that the embedded source has too. So the connections report
each job here, and whoever wants to know collects them. Imports none of Google's libraries.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class JobCost:
    """A finished query. `bytes_billed` is 0 for a cached result; `slot_seconds` is the computing time of all slots."""

    job_id: str
    query: str
    bytes_billed: int
    slot_seconds: float


@dataclass(frozen=True, slots=True)
class Cost:
    """A sum of jobs' costs."""

    bytes_billed: int = 0
    slot_seconds: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.bytes_billed + other.bytes_billed, round(self.slot_seconds + other.slot_seconds, 3))

    @classmethod
    def of(cls, jobs: Iterable[JobCost]) -> Cost:
        """The sum of these jobs."""
        return sum((cls(job.bytes_billed, job.slot_seconds) for job in jobs), cls())

    @property
    def megabytes(self) -> float:
        """Bytes billed, in MB."""
        return self.bytes_billed / 1_000_000

    def __str__(self) -> str:
        return f"{self.megabytes:,.1f} MB billed, {self.slot_seconds:,.1f} slot seconds"

    def shares(self, n: int) -> list[Cost]:
        """The cost in `n` nearly equal parts, which add up to it: bytes exactly, slot time to n milliseconds."""
        each, left = divmod(self.bytes_billed, n) if n else (0, 0)
        return [Cost(each + (i < left), round(self.slot_seconds / n, 3)) for i in range(n)]


_collected: ContextVar[list[JobCost] | None] = ContextVar("nba_ml_bigquery_jobs", default=None)


@contextmanager
def recorded_jobs() -> Iterator[list[JobCost]]:
    """The jobs that finish in the block, in order. An inner block keeps its jobs to itself."""
    jobs: list[JobCost] = []
    token = _collected.set(jobs)
    try:
        yield jobs
    finally:
        _collected.reset(token)


def record_job(job: JobCost) -> None:
    """Report a finished job to the innermost `recorded_jobs`, if there is one."""
    jobs = _collected.get()
    if jobs is not None:
        jobs.append(job)
