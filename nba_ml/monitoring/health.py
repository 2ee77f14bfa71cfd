"""Whether the release is alive: facts in, findings out. The clock is an argument, and so is everything else.

Retraining once died unnoticed when a schedule was deleted: nothing failed, so nothing was red. So what is looked at
here is not whether something failed but whether what ought to be there is there.

Days are counted where the games are, in New York. Days on which no new model can come of new games do not count:
after the Finals there are none until October, and October's are all early season but for a day or two.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

from nba_ml.contract.season import OFF_SEASON, month_bounds

HOME = ZoneInfo("America/New_York")

IDLE = (*OFF_SEASON, 10)
"""Months, as numbers, whose games teach nobody anything new."""

FINALS_OVER = 12
"""Day of June after which there may be no game: the Finals of 2022 to 2025 ended between the 12th and the 22nd."""

_NAMED_AT_MOST = 6


class Level(StrEnum):
    """`RED` is to be mended, `WARNING` to be looked at."""

    FINE = "fine"
    WARNING = "warning"
    RED = "red"


@dataclass(frozen=True, slots=True)
class FailedMonth:
    """The last attempt at an asset's month, which made nothing.

    `refused`: the publisher would not have the model, which is a verdict and no fault. `said` is the error.
    """

    month: str
    asset: str
    run_id: str
    said: str
    refused: bool = False


@dataclass(frozen=True, slots=True)
class ServingModel:
    """The champion: its id, the date of the newest row that it was given, and when it became the champion.

    `learnt_until` is None where its bundle cannot be read, and `unread` says why.
    """

    model_id: str
    learnt_until: date | None
    since: datetime
    unread: str = ""


@dataclass(frozen=True, slots=True)
class Release:
    """What is there.

    `months` are those that the source can have, in order, the running one among them if the source grows. `trained`
    is month -> when its model was last made; `published` the months whose model was published. Times have a zone.
    """

    months: Sequence[str]
    failed: Sequence[FailedMonth]
    trained: Mapping[str, datetime]
    published: Sequence[str]
    champion: ServingModel | None


@dataclass(frozen=True, slots=True)
class SchedulerState:
    """What is to keep the release alive.

    `heartbeats` is daemon -> when it was last heard of, for the daemons that this instance needs, None if never.
    `switches` is schedule or sensor -> whether it is on. `grows`: new months come to the source by themselves.
    """

    heartbeats: Mapping[str, datetime | None]
    switches: Mapping[str, bool]
    grows: bool


@dataclass(frozen=True, slots=True)
class HealthLimits:
    """Days: how old the champion's newest month may be, how late a month's training. Minutes: of a silent daemon."""

    champion_age: int
    retraining_delay: int
    silence: int


@dataclass(frozen=True, slots=True)
class HealthFinding:
    """What was found under a name. `worst` are the offenders, `next_step` is what to do unless all is fine."""

    name: str
    level: Level
    said: str
    next_step: str = ""
    worst: Sequence[dict[str, str]] = field(default_factory=tuple)


def no_month_left_failed(release: Release) -> HealthFinding:
    """Whether every month that was tried was made in the end.

    A refused month is passed over, as a backfill does, once a later one is published: its verdict is final and
    the months after it have more data. It is named, and does not warn for ever.
    """
    name = "no_month_left_failed"
    newest = max(release.published, default="")
    passed_over = sorted({f.month for f in release.failed if f.refused and f.month < newest})
    left = [f for f in release.failed if not (f.refused and f.month < newest)]
    aside = f" Refused, and passed over since: {_listed(passed_over)}." if passed_over else ""
    if not left:
        return HealthFinding(name, Level.FINE, f"No month was left failed.{aside}")
    months = sorted({f.month for f in left})
    first = min(left, key=lambda f: f.month)
    return HealthFinding(
        name,
        Level.RED,
        f"The last attempt at {_listed(months)} failed and was not made good. {first.asset} of {first.month}: "
        f"{first.said}{aside}",
        f"Open run {first.run_id[:8]} in the UI, mend what it names, then `nba-ml backfill --from {months[0]} --to "
        f"{months[-1]} --only-missing`, which goes on from there.",
        [{"month": f.month, "asset": f.asset, "run": f.run_id, "said": f.said} for f in left],
    )


def champion_not_too_old(release: Release, now: datetime, limits: HealthLimits) -> HealthFinding:
    """Whether the champion has learnt from games that are recent, as far as there were games since.

    Counted are days with games that teach something after the last date that it was given, whatever the month in its
    id, up to today, or up to the end of the source if that has ended.
    """
    name = "champion_not_too_old"
    if release.champion is None:
        return HealthFinding(
            name, Level.RED, "There is no champion, so nothing serves.", "Run `nba-ml champion promote`."
        )
    model = release.champion
    if model.learnt_until is None:
        return HealthFinding(
            name,
            Level.RED,
            f"How old {model.model_id} is cannot be told: {model.unread}",
            "A worker that starts now refuses it. `nba-ml champion rollback --reason ...` lets the one before serve.",
        )
    until = min(_day(now), month_bounds(release.months[-1])[1])
    age = playing_days(model.learnt_until, until)
    said = f"{model.model_id} has learnt from games up to {model.learnt_until}: {age} playing days ago"
    if age <= limits.champion_age:
        return HealthFinding(name, Level.FINE, f"{said}, at most {limits.champion_age} are allowed.")
    return HealthFinding(
        name,
        Level.RED,
        f"{said}, more than the {limits.champion_age} that are allowed.",
        "Look whether newer months are trained and published (`retraining_ran`), and why their models did not become "
        "the champion: the asset champion says so, and `nba-ml champion promote` proposes the latest again.",
    )


def retraining_ran(release: Release, now: datetime, limits: HealthLimits) -> HealthFinding:
    """Whether the newest month that is over was trained after its end: red if not, although nothing failed."""
    name, today = "retraining_ran", _day(now)
    due = [m for m in release.months if (today - month_bounds(m)[1]).days > limits.retraining_delay]
    if not due:
        return HealthFinding(name, Level.FINE, f"No month of the source is due yet; the first is {release.months[0]}.")
    month, ended = due[-1], month_bounds(due[-1])[1]
    # A later month's model has learnt from this one too.
    made = max((at for each, at in release.trained.items() if each >= month), default=None)
    if made is not None and _day(made) > ended:
        return HealthFinding(
            name, Level.FINE, f"{month} was trained after its end: the newest model was made on {_day(made)}."
        )
    when = f"was last trained on {_day(made)}, before it ended" if made else "was never trained"
    return HealthFinding(
        name,
        Level.RED,
        f"{month} ended {(today - ended).days} days ago and {when}. {limits.retraining_delay} days are allowed.",
        "Look on the UI's Automation page whether monthly_training or follow_backfill is on and ticks, and whether the "
        f"daemon runs. `nba-ml run --month {month}` trains it now.",
    )


def scheduler_runs(clockwork: SchedulerState, now: datetime, limits: HealthLimits) -> HealthFinding:
    """Whether the daemons that schedules and sensors hang on were heard of lately. Silent ones only matter if
    something is on that needs them."""
    name = "daemons"
    oldest = now - timedelta(minutes=limits.silence)
    silent = [daemon for daemon, heard in clockwork.heartbeats.items() if heard is None or heard < oldest]
    if not silent:
        return HealthFinding(name, Level.FINE, "Dagster's daemon is alive.")
    last = max((heard for heard in clockwork.heartbeats.values() if heard is not None), default=None)
    heard = f"was last heard of at {last:%Y-%m-%d %H:%M} UTC" if last else "was never heard of"
    on = [each for each, running in clockwork.switches.items() if running]
    return HealthFinding(
        name,
        Level.RED if on else Level.WARNING,
        f"Dagster's daemon {heard} ({_listed(silent)}). "
        + (f"{_listed(on)} are on and do not tick." if on else "Nothing is on that would need it."),
        "Start it: `nba-ml ui`, or `dagster-daemon run` in a deployment.",
        [{"daemon": daemon} for daemon in silent],
    )


def switched_on(clockwork: SchedulerState) -> HealthFinding:
    """Which schedules and sensors are off, and whether anything retrains by itself where new months come."""
    name = "switches"
    off = sorted(each for each, running in clockwork.switches.items() if not running)
    on = sorted(each for each, running in clockwork.switches.items() if running)
    said = f"On: {_listed(on) or 'none'}. Off: {_listed(off) or 'none'}."
    if clockwork.grows and not {"monthly_training", "follow_backfill"} & set(on):
        return HealthFinding(
            name,
            Level.WARNING,
            f"Nothing retrains by itself. {said}",
            "Turn monthly_training or follow_backfill on, on the UI's Automation page, unless something else runs "
            "`nba-ml run`.",
        )
    return HealthFinding(name, Level.FINE, said)


def playing_days(after: date, until: date) -> int:
    """Days after `after`, up to and including `until`, whose games teach something."""
    days = (date.fromordinal(n) for n in range(after.toordinal() + 1, until.toordinal() + 1))
    return sum(day.month not in IDLE and not (day.month == 6 and day.day > FINALS_OVER) for day in days)


def _day(moment: datetime) -> date:
    return moment.astimezone(HOME).date()


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_NAMED_AT_MOST])
    return shown if len(names) <= _NAMED_AT_MOST else f"{shown} and {len(names) - _NAMED_AT_MOST} more"
