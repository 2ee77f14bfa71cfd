"""Health rules of the release: facts in, findings out. The current time is an argument.

Retraining once stopped unnoticed when a schedule was deleted: nothing failed, so nothing was red. These rules
therefore check that expected results exist, not only that nothing failed.

Days are New York days. Days without new training rows do not count: there are no games from the Finals to October,
and nearly all October games are early season.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from enum import StrEnum

from nba_ml.contract.season import EARLY_SEASON_DAYS, month_bounds, season_on
from nba_ml.contract.thresholds import Thresholds
from nba_ml.contract.times import eastern_date

FINALS_OVER = 12
"""Day of June after which there may be no games. The Finals of 2022 to 2025 ended between the 12th and the 22nd."""

_NAMED_AT_MOST = 6

_SIGNATURE_NOTICE = timedelta(days=7)

_SILENCE = timedelta(minutes=30)
"""As Dagster itself: it calls a daemon unhealthy after this long without a heartbeat."""


class Level(StrEnum):
    """`RED` must be fixed; `WARNING` should be reviewed."""

    FINE = "fine"
    WARNING = "warning"
    RED = "red"


@dataclass(frozen=True, slots=True)
class FailedMonth:
    """A failed last attempt to materialise a month of an asset.

    `refused`: the publisher rejected the model because of its checks. `said` is the error message.
    """

    month: str
    asset: str
    run_id: str
    said: str
    refused: bool = False


@dataclass(frozen=True, slots=True)
class ServingModel:
    """The champion: its id, the date of its newest training row, and when it became the champion.

    `learnt_until` is None if its bundle cannot be read; `unread` is the reason.
    """

    model_id: str
    learnt_until: date | None
    since: datetime
    unread: str = ""


@dataclass(frozen=True, slots=True)
class Release:
    """The state of the release.

    `months` are the possible months of the source, in order, including the current one if the source grows. `trained`
    maps months to the time of their last training. `published` lists the months with a published model. Times have a
    time zone.
    """

    months: Sequence[str]
    failed: Sequence[FailedMonth]
    trained: Mapping[str, datetime]
    published: Sequence[str]
    champion: ServingModel | None


@dataclass(frozen=True, slots=True)
class SchedulerState:
    """The state of Dagster's automation.

    `heartbeats` maps each required daemon to its last heartbeat, or None. `switches` maps schedules and sensors to
    whether they are on. `grows` is whether the source gets new months.
    """

    heartbeats: Mapping[str, datetime | None]
    switches: Mapping[str, bool]
    grows: bool


@dataclass(frozen=True, slots=True)
class HealthFinding:
    """The result of a health rule. `worst` lists the causes. `next_step` is empty if all is fine."""

    name: str
    level: Level
    said: str
    next_step: str = ""
    worst: Sequence[dict[str, str]] = field(default_factory=tuple)


def no_month_left_failed(release: Release) -> HealthFinding:
    """Whether the last attempt at every month succeeded.

    A refused month is skipped, as in a backfill, once a later month is published: its verdict is final, and later
    months have more data. It is listed, but does not warn forever.
    """
    name = "no_month_left_failed"
    newest = max(release.published, default="")
    refused = {f.month: f.said for f in release.failed if f.refused and f.month < newest}
    skipped = sorted(refused)
    left = [f for f in release.failed if not (f.refused and f.month < newest)]
    suffix = f" Refused and skipped: {_listed(skipped)}." if skipped else ""
    if not left:
        named = [{"month": month, "said": refused[month]} for month in skipped]
        return HealthFinding(name, Level.FINE, f"No failed months.{suffix}", worst=named)
    months = sorted({f.month for f in left})
    first = min(left, key=lambda f: f.month)
    return HealthFinding(
        name,
        Level.RED,
        f"The last attempt at {_listed(months)} failed. {first.asset} of {first.month}: {first.said}{suffix}",
        f"Open run {first.run_id[:8]} in the UI and fix the cause. Then run `nba-ml backfill --from {months[0]} --to "
        f"{months[-1]} --only-missing`.",
        [{"month": f.month, "asset": f.asset, "run": f.run_id, "said": f.said} for f in left],
    )


def champion_not_too_old(release: Release, now: datetime, limits: Thresholds) -> HealthFinding:
    """Whether the champion was trained on recent games.

    Counts the playing days (`playing_days`) after its newest training row, whatever the month in its id, up to today or
    to the end of the source.
    """
    name = "champion_not_too_old"
    if release.champion is None:
        return HealthFinding(
            name, Level.RED, "There is no champion, so no model serves.", "Run `nba-ml champion promote`."
        )
    model = release.champion
    if model.learnt_until is None:
        return HealthFinding(
            name,
            Level.RED,
            f"The age of {model.model_id} is unknown: {model.unread}",
            "A worker that starts now rejects it. To serve the previous champion, run `nba-ml champion rollback "
            "--reason ...`.",
        )
    today, end = eastern_date(now), month_bounds(release.months[-1])[1]
    until = min(today, end)
    age = playing_days(model.learnt_until, until)
    trained = f"{model.model_id} was trained on games up to {model.learnt_until}, {age} playing days ago"
    said = f"{trained}. The limit is {limits.max_champion_age_days}.{_data_ended(end, today)}"
    if age <= limits.max_champion_age_days:
        return HealthFinding(name, Level.FINE, said)
    return HealthFinding(
        name,
        Level.RED,
        said,
        "Check whether newer months are trained and published (`retraining_ran`). The asset champion shows why their "
        "models were not promoted. `nba-ml champion promote` tries the latest model again.",
    )


def retraining_ran(release: Release, now: datetime, limits: Thresholds) -> HealthFinding:
    """Whether the last complete month was trained after its end. Red if not, even if nothing failed."""
    name, today = "retraining_ran", eastern_date(now)
    due = [m for m in release.months if (today - month_bounds(m)[1]).days > limits.max_retraining_delay_days]
    if not due:
        return HealthFinding(name, Level.FINE, f"No month of the source is due yet. The first is {release.months[0]}.")
    month, ended = due[-1], month_bounds(due[-1])[1]
    # A later month's model is trained on this month too.
    made = max((at for each, at in release.trained.items() if each >= month), default=None)
    if made is not None and eastern_date(made) > ended:
        return HealthFinding(
            name, Level.FINE, f"{month} was trained after its end. The latest training was on {eastern_date(made)}."
        )
    when = f"was last trained on {eastern_date(made)}, before it ended" if made else "was never trained"
    return HealthFinding(
        name,
        Level.RED,
        f"{month} ended {(today - ended).days} days ago and {when}. The limit is "
        f"{limits.max_retraining_delay_days} days.",
        "On the UI's Automation page, check that monthly_training or follow_backfill is on and ticks, and that the "
        f"daemon runs. To train now, run `nba-ml run --month {month}`.",
    )


def channel_signature(expires: datetime | None, now: datetime) -> HealthFinding:
    """Whether workers that start in a week still accept the channel's signature. `expires`: None without a channel."""
    name = "channel_signature"
    if expires is None:
        return HealthFinding(name, Level.FINE, "There is no channel to sign yet.")
    said = f"The channel's signature expires on {expires:%Y-%m-%d %H:%M} UTC."
    if now < expires - _SIGNATURE_NOTICE:
        return HealthFinding(name, Level.FINE, said)
    return HealthFinding(
        name,
        Level.WARNING if now < expires else Level.RED,
        f"{said} Workers that start after that refuse the channel.",
        "Check with `nba-ml champion show` that the state is the right one, then run `nba-ml keys renew` where the "
        "promoter's key is.",
    )


def scheduler_runs(scheduler: SchedulerState, now: datetime) -> HealthFinding:
    """Whether the daemons for schedules and sensors have recent heartbeats. Only a warning if all of these are off."""
    name = "daemons"
    oldest = now - _SILENCE
    silent = [daemon for daemon, seen in scheduler.heartbeats.items() if seen is None or seen < oldest]
    if not silent:
        return HealthFinding(name, Level.FINE, "Dagster's daemon is running.")
    last = max((seen for seen in scheduler.heartbeats.values() if seen is not None), default=None)
    since = f"has not sent a heartbeat since {last:%Y-%m-%d %H:%M} UTC" if last else "has never sent a heartbeat"
    on = [each for each, running in scheduler.switches.items() if running]
    return HealthFinding(
        name,
        Level.RED if on else Level.WARNING,
        f"Dagster's daemon {since} ({_listed(silent)}). "
        + (f"{_listed(on)} are on but do not tick." if on else "Nothing that needs it is on."),
        "Start it: `nba-ml ui`, or `dagster-daemon run` in a deployment.",
        [{"daemon": daemon} for daemon in silent],
    )


def switched_on(scheduler: SchedulerState) -> HealthFinding:
    """Which schedules and sensors are on, and whether a growing source is retrained automatically."""
    name = "switches"
    off = sorted(each for each, running in scheduler.switches.items() if not running)
    on = sorted(each for each, running in scheduler.switches.items() if running)
    listed = f"On: {_listed(on) or 'none'}. Off: {_listed(off) or 'none'}."
    if scheduler.grows and not {"monthly_training", "follow_backfill"} & set(on):
        return HealthFinding(
            name,
            Level.WARNING,
            f"Nothing retrains automatically. {listed}",
            "Turn on monthly_training or follow_backfill on the UI's Automation page, unless another scheduler runs "
            "`nba-ml run`.",
        )
    return HealthFinding(name, Level.FINE, listed)


def _data_ended(end: date, today: date) -> str:
    """A sentence if the source's last month ended so long ago that games are missing; '' if not."""
    missed = playing_days(end, today)
    if not missed:
        return ""
    return (
        f" The data end with {end:%Y-%m}, {(today - end).days} days ago: {missed} playing days are missing, and do not "
        "count. Add the newer months."
    )


def playing_days(after: date, until: date) -> int:
    """Number of days after `after`, up to and including `until`, that can have new training rows."""
    days = (date.fromordinal(n) for n in range(after.toordinal() + 1, until.toordinal() + 1))
    return sum(_has_training_rows(day) for day in days)


def _has_training_rows(day: date) -> bool:
    season = season_on(day)
    settled = season.opening + timedelta(days=EARLY_SEASON_DAYS)
    return day >= settled and season.has_games(day, day) and not (day.month == 6 and day.day > FINALS_OVER)


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_NAMED_AT_MOST])
    return shown if len(names) <= _NAMED_AT_MOST else f"{shown} and {len(names) - _NAMED_AT_MOST} more"
