"""What to ask for when the feature backfill has moved on: the decision of the sensor, without a sensor.

Snapshots first, then training: a model is asked for only when every month up to its own has a snapshot that may be
trained on and none of them is being taken, so that no run of it can find a hole.

The snapshot that was last asked for is, for each month, in one of these states. They follow from its run and from the
snapshots that are there now, never from what was asked for: a run takes the rows that it finds, which may be newer.

    none     -> open      the month is substantial for the first time, or complete and changed
    open     -> settled   its run ended well, or is over and somebody took a snapshot since: a schedule, a person
    open     -> failed    its run failed or was cancelled, and nobody took one since
    failed   -> open      the month's rows changed: another request, with another key
    failed   -> settled   somebody took a snapshot by hand
    settled  -> open      the month is complete and changed again
    any      -> lost      its run is not there: deleted, or never submitted because the sensor was turned off meanwhile
    lost     -> open      asked for again, with the same key

While a month is open nothing else is asked for it, and models wait. While it is failed no model of it or of a later
month is asked for. An older snapshot does not serve meanwhile: the run that failed was to check it anew, so that the
publisher knows of no check on what is there, and would refuse the model. Other months' snapshots, and the models of the
months before, go on. So when nothing moves and no run is left, the sensor rests, and says why.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import takewhile

from pydantic import BaseModel

from nba_ml.contract.digest import json_digest
from nba_ml.data.progress import BackfillStatus, MonthProgress


class RunStatus(StrEnum):
    """Where a run is that was asked for."""

    OPEN = "open"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class AskedRun:
    """The run of a request. Cancelled is failed."""

    run_id: str
    status: RunStatus


@dataclass(frozen=True, slots=True)
class Taken:
    """The latest snapshot of a month: the digest of its inputs, a number that grows, and its run.

    `stopped`: a check that stops a run has failed on it. `stands_for`: the inputs that these very rows were first taken
    from. A snapshot that is taken again and comes out the same is no reason to train anew.
    """

    inputs: str
    number: int
    run_id: str
    stopped: bool = False
    stands_for: str = ""

    @property
    def rows_from(self) -> str:
        """What tells its rows from others."""
        return self.stands_for or self.inputs


@dataclass(frozen=True, slots=True)
class BackfillState:
    """What is there at a look.

    `progress` are all months, in order; `wanted` and `taken`, by month, the digest of the inputs that a snapshot would
    have now, and the latest snapshot; the runs those of the latest requests, by month, as far as they are there.
    """

    progress: Sequence[MonthProgress]
    wanted: Mapping[str, str]
    taken: Mapping[str, Taken]
    snapshot_runs: Mapping[str, AskedRun]
    model_runs: Mapping[str, AskedRun]


@dataclass(frozen=True, slots=True)
class SensorDecision:
    """Months to take a snapshot of, months to train, each with its digest; or, in words, what is waited for.

    `troubles`, in words: what failed and is not fixed, whether or not something else is asked for.
    """

    snapshots: Mapping[str, str] = field(default_factory=dict)
    models: Mapping[str, str] = field(default_factory=dict)
    waiting: str = ""
    troubles: Sequence[str] = ()


class Followed(BaseModel):
    """What was asked for so far: month -> the inputs of the snapshot, and of the model, that was asked for.

    `had`: month -> the number of the snapshot that was there when the month's was asked for; `stands_on`: month -> the
    number of the newest snapshot that was there for the model that was asked for. They keep a request for rows that
    changed and changed back from being taken for the earlier one.
    """

    snapshots: dict[str, str] = {}
    models: dict[str, str] = {}
    had: dict[str, int] = {}
    stands_on: dict[str, int] = {}

    def after(self, decision: SensorDecision, taken: Mapping[str, Taken]) -> Followed:
        """With what a decision asks for; `taken` as it was decided on."""
        had = {month: n for month, n in self.had.items() if month not in decision.snapshots}
        had |= {month: taken[month].number for month in decision.snapshots if month in taken}
        newest = {month: max(t.number for m, t in taken.items() if m <= month) for month in decision.models}
        return Followed(
            snapshots={**self.snapshots, **decision.snapshots},
            models={**self.models, **decision.models},
            had=had,
            stands_on={**self.stands_on, **newest},
        )

    def snapshot_keys(self) -> dict[str, str]:
        """Month -> key of its latest request."""
        return _keys(self.snapshots, self.had)

    def model_keys(self) -> dict[str, str]:
        """Month -> key of its latest request."""
        return _keys(self.models, self.stands_on)


def _keys(asked: Mapping[str, str], on_top_of: Mapping[str, int]) -> dict[str, str]:
    ends = {month: f"-{number}" for month, number in on_top_of.items()}
    return {month: f"{month}-{digest[:16]}{ends.get(month, '')}" for month, digest in asked.items()}


def decide(seen: BackfillState, followed: Followed, *, at_most: int, every_later_month: bool = False) -> SensorDecision:
    """What to ask for now.

    Args:
        seen: what is there.
        followed: what was asked for before. It is not changed.
        at_most: snapshots, or models, asked for at a time: 36 months that change at once are no storm.
        every_later_month: train all months from the first that changed, not only the latest.
    """
    months = {m.month: _Month.of(m, seen, followed) for m in seen.progress if m.trainable}
    troubles = tuple(trouble for month in months.values() if (trouble := month.trouble()))
    due = {name: month.wanted for name, month in months.items() if month.due}
    if due:
        return SensorDecision(snapshots=dict(list(due.items())[:at_most]), troubles=troubles)

    reached = list(takewhile(months.__contains__, (m.month for m in seen.progress)))
    waiting = list(_seen_and_left(seen, months))
    if not reached:
        why = "".join(map(_noted, seen.progress[:1]))
        first = f"the first month is not substantial yet{why}"
        return SensorDecision(waiting="; ".join([first, *waiting]), troubles=troubles)
    if taking := [name for name in reached if months[name].state is _State.OPEN]:
        named = ", ".join(f"{name} (run {seen.snapshot_runs[name].run_id})" for name in taking[:6])
        return SensorDecision(waiting=f"the snapshot of {named} was asked for and is not there yet", troubles=troubles)

    within_reach = list(takewhile(lambda name: months[name].usable, reached))
    windows = {
        name: json_digest([(earlier, seen.taken[earlier].rows_from) for earlier in within_reach[: i + 1]])
        for i, name in enumerate(within_reach)
    }
    candidates = windows if every_later_month else _latest(windows, reached, followed)
    models = {
        name: digest
        for name, digest in candidates.items()
        if followed.models.get(name) != digest or name not in seen.model_runs
    }
    if models:
        return SensorDecision(models=dict(list(models.items())[:at_most]), troubles=troubles)
    return SensorDecision(
        waiting="; ".join([*(waiting or ["nothing changed"]), *_hole(seen, reached)]),
        troubles=(*troubles, *_failed_model(list(candidates)[-1:], seen)),
    )


class _State(StrEnum):
    """Where the snapshot is that was last asked for."""

    NONE = "none"
    OPEN = "open"
    SETTLED = "settled"
    FAILED = "failed"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class _Month:
    """A month that may be trained on: what its snapshot would be, what it is, and what became of the last request."""

    name: str
    complete: bool
    wanted: str
    asked: str | None
    taken: Taken | None
    run: AskedRun | None
    state: _State

    @classmethod
    def of(cls, progress: MonthProgress, seen: BackfillState, followed: Followed) -> _Month:
        name = progress.month
        taken, run, asked = seen.taken.get(name), seen.snapshot_runs.get(name), followed.snapshots.get(name)
        return cls(
            name=name,
            complete=progress.status == BackfillStatus.COMPLETE,
            wanted=seen.wanted[name],
            asked=asked,
            taken=taken,
            run=run,
            state=_State.NONE if asked is None else _state(taken, run, followed.had.get(name)),
        )

    @property
    def usable(self) -> bool:
        """Whether a model of its latest snapshot could be published."""
        return self.taken is not None and not self.taken.stopped and self.state is not _State.FAILED

    @property
    def due(self) -> bool:
        """A complete month is due whenever it changed. A substantial one, which changes with every row that still
        comes in, only as long as it has no snapshot that may be trained on."""
        if self.state is _State.OPEN or (self.taken is not None and self.taken.inputs == self.wanted):
            return False
        if self.asked == self.wanted and self.state is not _State.LOST:
            return False
        return self.complete or not self.usable

    def trouble(self) -> str:
        """What failed and is not fixed, in words; empty if all is well or on its way."""
        if self.due or self.state is _State.OPEN:
            return ""
        if self.state is _State.FAILED and self.run is not None:
            what = f"failed (run {self.run.run_id})"
        elif self.taken is None:
            what = "is gone"
        elif self.taken.stopped:
            what = f"did not pass its checks (run {self.taken.run_id})"
        elif self.complete and self.taken.inputs != self.wanted:
            what = "has other rows than are there now, though these were asked for"
        else:
            return ""
        until = "the one that is there serves" if self.usable else "no model of that month or a later one is asked for"
        return f"the snapshot of {self.name} {what}: fix the cause and materialise it by hand; until then {until}"


def _state(taken: Taken | None, run: AskedRun | None, had: int | None) -> _State:
    """Of a request that was made on top of snapshot `had`."""
    anew = taken is not None and (had is None or taken.number > had)
    if run is None:
        return _State.SETTLED if anew else _State.LOST
    if run.status is not RunStatus.FAILED:
        return _State.OPEN if run.status is RunStatus.OPEN else _State.SETTLED
    # A snapshot that the failed run itself took, before one of its checks failed, does not count.
    retaken = anew and taken is not None and taken.run_id != run.run_id
    return _State.SETTLED if retaken else _State.FAILED


def _latest(windows: Mapping[str, str], reached: Sequence[str], followed: Followed) -> dict[str, str]:
    """The last month of the windows. A failed snapshot behind it is no reason to train a month that was left behind."""
    if not windows:
        return {}
    name = list(windows)[-1]
    left_behind = name != reached[-1] and any(later > name for later in followed.models)
    return {} if left_behind else {name: windows[name]}


def _hole(seen: BackfillState, reached: Sequence[str]) -> Iterator[str]:
    """Names the month that the later ones wait for, if there are later ones."""
    behind = seen.progress[len(reached) :]
    if any(month.trainable for month in behind):
        hole = f"{behind[0].month} is a hole in the backfill{_noted(behind[0])}"
        yield f"{hole}, and no later month is trained before it is filled"


def _noted(month: MonthProgress) -> str:
    """What is wrong with the month's rows, in brackets."""
    notes = "; ".join(month.notes())
    return f" ({notes})" if notes else ""


def _seen_and_left(seen: BackfillState, months: Mapping[str, _Month]) -> Iterator[str]:
    """Months whose rows changed since their snapshot although no snapshot is requested, and why."""
    for progress in seen.progress:
        name, taken = progress.month, seen.taken.get(progress.month)
        if taken is None or taken.inputs == seen.wanted[name]:
            continue
        if name not in months:
            yield (
                f"{name} changed and has too few rows now: {progress.covered:,} of {progress.expected:,} player-games "
                f"are covered{_noted(progress)}. Its last snapshot stays"
            )
        elif not months[name].complete and months[name].usable and months[name].state is not _State.OPEN:
            yield (
                f"{name} changed and is substantial ({progress.coverage:.1%}): its snapshot is taken again when the "
                "month is complete"
            )


def _failed_model(latest: Sequence[str], seen: BackfillState) -> Iterator[str]:
    """Names the run of the latest model if it failed."""
    for name in latest:
        run = seen.model_runs.get(name)
        if run is not None and run.status is RunStatus.FAILED:
            yield f"the model of {name} failed or was refused (run {run.run_id}): see there what to do"
