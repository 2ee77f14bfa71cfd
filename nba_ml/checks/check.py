"""Checks and their findings.

The rules are in the module of each asset. The Dagster check definitions are in `defs.checks`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from nba_ml.contract.digest import HasDigest
from nba_ml.contract.systems import XGBOOST_V1, System
from nba_ml.contract.thresholds import Thresholds
from nba_ml.model.metrics import Interval
from nba_ml.storage.objects import ObjectStore

if TYPE_CHECKING:
    import pyarrow as pa


class Severity(StrEnum):
    """A failed ERROR check fails CI. A failed WARN check is only reported."""

    ERROR = "ERROR"
    WARN = "WARN"


class Consequence(StrEnum):
    """The effect of a failure, most severe first.

    `STOPS_RUN`: the run computes nothing more from the value, and nothing based on it is published. `BLOCKS`: nothing
    based on the value is published. `FAILS_CI`: the published model must not be served. `WARNS`: reported only.
    """

    STOPS_RUN = "stops the run"
    BLOCKS = "blocks publication"
    FAILS_CI = "fails CI"
    WARNS = "warns"


@dataclass(frozen=True, slots=True)
class Finding:
    """A check's result: the `value` of `metric`, in `unit`, over `n` rows, the worst rows, and what to do next.

    A failure that `only_warns` is reported as a warning, whatever the check's own severity.
    """

    passed: bool
    metric: str
    value: float | int | str
    n: int
    next_step: str = ""
    interval: str = ""
    unit: str = ""
    only_warns: bool = False
    worst: Sequence[dict[str, Any]] = field(default_factory=tuple)


@dataclass(frozen=True, slots=True)
class CheckContext:
    """The month of a check, the limits, and access to other stored values.

    `months` are the partitions up to and including the month. `load(asset, month)` returns the stored value of
    another asset of the same `system`, by its plain name, or of another month. `results(month)` returns all results of
    a month (`tables.RESULTS`). Both return None if the value was never materialised. `artifacts()` opens the store of
    published models.
    """

    month: str
    limits: Thresholds
    months: Sequence[str]
    load: Callable[[str, str], HasDigest | None]
    results: Callable[[str], pa.Table | None]
    artifacts: Callable[[], ObjectStore]
    system: System = XGBOOST_V1


@dataclass(frozen=True, slots=True)
class Check:
    """A rule for the materialisations of an asset.

    Every result shows `threshold` (in words) and `reason`. `examine` gets the stored value and the context. It does not
    catch its own errors: a check that raises is an error, never a pass. Only systems with the feature that it `needs`
    have it.
    """

    asset: str
    name: str
    consequence: Consequence
    threshold: str
    reason: str
    examine: Callable[[Any, CheckContext], Finding]
    needs: str = ""

    @property
    def stops_run(self) -> bool:
        """Whether a failure stops the run."""
        return self.consequence is Consequence.STOPS_RUN

    @property
    def blocking(self) -> bool:
        """Whether a failure blocks publication."""
        return self.consequence in (Consequence.STOPS_RUN, Consequence.BLOCKS)

    @property
    def severity(self) -> Severity:
        """Severity of a failure in Dagster and CI."""
        return Severity.WARN if self.consequence is Consequence.WARNS else Severity.ERROR

    @property
    def key(self) -> str:
        """The name in reports and commands, for example `xgboost_model.validation_mae`."""
        return f"{self.asset}.{self.name}"


def shown(interval: Interval) -> str:
    """A 95% interval (bootstrap over days) as text."""
    return f"95% {interval.low:.3f} to {interval.high:.3f}"
