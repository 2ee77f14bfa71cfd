"""What a check is: a rule with its threshold and its reason, and what it found.

What does not belong here: the rules (each stands in the module of its asset) and Dagster's machinery
(`build`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Severity(StrEnum):
    """A failed ERROR turns CI red; a failed WARN is shown."""

    ERROR = "ERROR"
    WARN = "WARN"


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
class Check:
    """A rule that a materialisation must keep.

    `threshold` in words and `reason` are shown with every result. `examine` gets the stored value of
    the asset and the month. It never catches its own errors: a check that raises is an error, never a pass.
    """

    asset: str
    name: str
    severity: Severity
    blocking: bool
    threshold: str
    reason: str
    examine: Callable[[Any, str], Finding]
