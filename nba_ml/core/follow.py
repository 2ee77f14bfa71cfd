"""What to ask for when the feature backfill has moved on: the decision of the sensor, without a sensor.

Snapshots first, then training: a model is asked for only when the snapshot of every month up to its own is
settled, so that no run of it can find a hole. Asking twice for the same thing has the same key.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pydantic import BaseModel

from nba_ml.core.digest import json_digest
from nba_ml.core.progress import MonthProgress, Status


class Followed(BaseModel):
    """What was asked for so far: month -> the inputs of the snapshot, and of the model, that was asked for."""

    snapshots: dict[str, str] = {}
    models: dict[str, str] = {}


@dataclass(frozen=True, slots=True)
class Decision:
    """Months to take a snapshot of, months to train, each with its key; or, in words, what is waited for."""

    snapshots: Mapping[str, str] = field(default_factory=dict)
    models: Mapping[str, str] = field(default_factory=dict)
    waiting: str = ""


def decide(
    progress: Sequence[MonthProgress],
    wanted: Mapping[str, str],
    taken: Mapping[str, str],
    followed: Followed,
    *,
    at_most: int,
    every_later_month: bool = False,
) -> Decision:
    """What to ask for now.

    Args:
        progress: every month, in order.
        wanted: month -> digest of the inputs that its snapshot would have now.
        taken: month -> digest of the inputs that its latest snapshot has.
        followed: what was asked for before. It is not changed.
        at_most: snapshots, or models, asked for at a time: 36 months that change at once are no storm.
        every_later_month: train all months from the first that changed, not only the latest.
    """
    due = {
        m.month: wanted[m.month]
        for m in progress
        if m.trainable and followed.snapshots.get(m.month) != wanted[m.month] and _due(m, wanted, taken, followed)
    }
    if due:
        return Decision(snapshots=dict(list(due.items())[:at_most]))

    reached = _without_a_hole(progress)
    if not reached:
        return Decision(waiting="the first month is not substantial yet")
    unsettled = [m.month for m in reached if m.month not in taken or _pending(m.month, taken, followed)]
    if unsettled:
        return Decision(waiting=f"the snapshot of {', '.join(unsettled[:6])} was asked for and is not there yet")

    windows = {
        m.month: json_digest([(earlier.month, taken[earlier.month]) for earlier in reached[: i + 1]])
        for i, m in enumerate(reached)
    }
    candidates = windows if every_later_month else {reached[-1].month: windows[reached[-1].month]}
    models = {month: key for month, key in candidates.items() if followed.models.get(month) != key}
    if not models:
        return Decision(waiting="nothing changed")
    return Decision(models=dict(list(models.items())[:at_most]))


def _due(month: MonthProgress, wanted: Mapping[str, str], taken: Mapping[str, str], followed: Followed) -> bool:
    """A complete month is due whenever it changed. A substantial one, which changes with every row that still
    comes in, only the first time."""
    if taken.get(month.month) == wanted[month.month]:
        return False
    first_time = month.month not in taken and month.month not in followed.snapshots
    return month.status == Status.COMPLETE or first_time


def _pending(month: str, taken: Mapping[str, str], followed: Followed) -> bool:
    asked = followed.snapshots.get(month)
    return asked is not None and asked != taken[month]


def _without_a_hole(progress: Sequence[MonthProgress]) -> list[MonthProgress]:
    """The months from the first on that can be trained on without leaving one out."""
    reached: list[MonthProgress] = []
    for month in progress:
        if not month.trainable:
            break
        reached.append(month)
    return reached
