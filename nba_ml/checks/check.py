"""What a check is: a rule with its threshold and its reason, and what it found.

What does not belong here: the rules (each stands in the module of its asset) and Dagster's machinery
(`build`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from nba_ml.contract.digest import HasDigest
from nba_ml.contract.thresholds import Thresholds
from nba_ml.model.metrics import Interval
from nba_ml.storage.objects import ObjectStore

if TYPE_CHECKING:
    import pyarrow as pa


class Severity(StrEnum):
    """A failed ERROR turns CI red; a failed WARN is shown."""

    ERROR = "ERROR"
    WARN = "WARN"


class Consequence(StrEnum):
    """What a failure does, in words; the gravest first.

    `STOPS_RUN`: nothing more is computed from the value in the same run, because it would mean nothing, and nothing
    is published on it. `BLOCKS`: nothing is published on it. `FAILS_CI`: what is published already must not be
    served. `WARNS`: people are shown it.
    """

    STOPS_RUN = "stops the run"
    BLOCKS = "blocks publication"
    FAILS_CI = "fails CI"
    WARNS = "warns"


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check saw: `value` of `metric` over a population of `n`, the worst offenders, and what to do next."""

    passed: bool
    metric: str
    value: float | int | str
    n: int
    next_step: str = ""
    interval: str = ""
    worst: Sequence[dict[str, Any]] = field(default_factory=tuple)


@dataclass(frozen=True, slots=True)
class CheckContext:
    """Where a check stands: its month, the limits, and what lies around the value that it examines.

    `months` are the partitions up to and including the month. `load(asset, month)` is the stored value of
    another asset or month, `results(month)` everybody who played in it (`tables.RESULTS`); None if never made.
    `artifacts()` opens what is published.
    """

    month: str
    limits: Thresholds
    months: Sequence[str]
    load: Callable[[str, str], HasDigest | None]
    results: Callable[[str], pa.Table | None]
    artifacts: Callable[[], ObjectStore]


@dataclass(frozen=True, slots=True)
class Check:
    """A rule that a materialisation must keep.

    `threshold` in words and `reason` are shown with every result. `examine` gets the stored value of the asset and
    the scene. It never catches its own errors: a check that raises is an error, never a pass.
    """

    asset: str
    name: str
    consequence: Consequence
    threshold: str
    reason: str
    examine: Callable[[Any, CheckContext], Finding]

    @property
    def stops_run(self) -> bool:
        """Whether nothing is computed, in the same run, from a value that failed it."""
        return self.consequence is Consequence.STOPS_RUN

    @property
    def blocking(self) -> bool:
        """Whether nothing is published on a value that failed it."""
        return self.consequence in (Consequence.STOPS_RUN, Consequence.BLOCKS)

    @property
    def severity(self) -> Severity:
        """How Dagster and CI show a failure."""
        return Severity.WARN if self.consequence is Consequence.WARNS else Severity.ERROR

    @property
    def key(self) -> str:
        """How people and reports name it: `xgboost_model.validation_mae`."""
        return f"{self.asset}.{self.name}"


def shown(interval: Interval) -> str:
    """A bootstrap interval in words."""
    return f"{interval.low:.3f} to {interval.high:.3f} (95%, bootstrap over days)"
