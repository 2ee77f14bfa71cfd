"""Slates as operations: score a date and keep it, and grade a month of what was kept.

What belongs here: bringing rows, models and the kept versions together; the clock comes in as an argument. What does
not: the rules (`slates.slate`, `slates.grades`), words for a terminal (`cli.slate`). Imports no Dagster.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Protocol

from nba_ml.contract.errors import SettingsError, SlateError
from nba_ml.data.stored import SNAPSHOT
from nba_ml.registry.channel import read_channel
from nba_ml.registry.systems.loading import load_system
from nba_ml.slates.grades import SlateGrades, grade_slates
from nba_ml.slates.rows import SlateRows
from nba_ml.slates.slate import SlateSystems, require_rows, score_slate
from nba_ml.slates.store import KeptSlate, SlateStore
from nba_ml.storage.months import MonthStore
from nba_ml.storage.objects import ObjectStore

if TYPE_CHECKING:
    pass


@dataclass(frozen=True, slots=True)
class SlateContext:
    """What a slate is scored with: published models, the dates' rows, and the place where slates are kept."""

    objects: ObjectStore
    rows: SlateRows
    slates: SlateStore
    threads: int | None = None


@dataclass(frozen=True, slots=True)
class Predicted:
    """A kept slate, and the version of its date that counts."""

    kept: KeptSlate
    standing: KeptSlate

    @property
    def stands(self) -> bool:
        """Whether they are the same one."""
        return self.standing.number == self.kept.number


class PredictionTable(Protocol):
    """Where served predictions go besides the store (`slates.prediction_table`)."""

    def write(self, kept: KeptSlate, *, stands: bool) -> WriteResult:
        """Bring a kept slate there, once; if it `stands`, its rows are the active ones of its date from then on.

        Raises SlateError where it cannot.
        """
        ...


class WriteResult(Protocol):
    """What came of it: whose table, how many rows, whether they came just now, how many others are active no more."""

    @property
    def table(self) -> str: ...

    @property
    def rows(self) -> int: ...

    @property
    def loaded(self) -> bool: ...

    @property
    def retired(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Sent:
    """A slate that was sent: what came of it, and of the version that counts, `standing`, where that is another."""

    written: WriteResult
    standing: tuple[KeptSlate, WriteResult] | None = None


class NoPredictionTable:
    """The table of a home whose source is embedded: there is none."""

    def write(self, kept: KeptSlate, *, stands: bool) -> WriteResult:  # noqa: ARG002 (as the protocol has it)
        """Raises SettingsError."""
        raise SettingsError(
            "There is no BigQuery to write predictions to: NBA_ML_SOURCE is 'embedded'. Set it to 'bigquery', with "
            "NBA_ML_BIGQUERY_PROJECT and NBA_ML_PREDICTION_TABLE. The slate is kept: the same command then sends it."
        )


def predict_slate(context: SlateContext, day: date, at: datetime) -> Predicted:
    """Score a date's rows with what the channel names, and keep the slate.

    Again with the same rows and the same state of the channel, it is the same slate: nothing new is kept. Otherwise
    it is a further version; those before it stay, and which one counts is `slates.slate.standing_version`'s to say.

    Args:
        at: now, with its time zone.

    Raises:
        SlateError: the date has no rows, nothing serves, or a model has learnt from the date's games.
        BundleError: a model that the channel names is not whole.
    """
    rows = context.rows.read(day)
    if not rows.num_rows:
        require_rows(rows, day, context.rows.days_near(day))
    channel = read_channel(context.objects)
    if channel is None:
        raise SlateError(
            f"Nothing serves yet, so the slate of {day} has nobody to score it. `nba-ml champion promote` makes the "
            "latest published model the champion."
        )
    champion = load_system(context.objects, channel.champion, context.threads)
    challenger = load_system(context.objects, channel.challenger, context.threads) if channel.challenger else None
    kept = context.slates.keep(score_slate(rows, SlateSystems(channel, champion, challenger), day, at))
    return Predicted(kept, context.slates.standing(day) or kept)


def send_slate(table: PredictionTable, slates: SlateStore, kept: KeptSlate) -> Sent:
    """Bring a kept slate to the table. Of its date, exactly the version that counts is active there afterwards.

    That version goes first, where it is another one and was never sent: the date would else have no active row. Which
    one counts is looked at again once it is there, since somebody may have kept a newer one meanwhile.

    Raises:
        SlateError: a version of the date is damaged, or the table cannot take it. What was sent before it stays.
        SettingsError: there is no table, or no way to it.
    """
    day = kept.slate.report.game_date
    standing, written = kept, None
    while (counts := slates.standing(day) or kept).number != standing.number or written is None:
        standing, written = counts, table.write(counts, stands=True)
    if standing.number == kept.number:
        return Sent(written)
    return Sent(table.write(kept, stands=False), (standing, written))


def grade_month_of_slates(months: MonthStore, slates: SlateStore, month: str) -> SlateGrades:
    """Grade the versions that count of a month's slates against the results in its snapshot, and keep the grades.

    Raises:
        SlateError: no slate of the month was kept, it has no snapshot yet, or a slate is damaged.
    """
    days = slates.days(month)
    if not days:
        raise SlateError(
            f"No slate of {month} was kept, so there is nothing to grade: `nba-ml slate predict --date {month}-15` "
            "scores and keeps one."
        )
    snapshot = months.load(SNAPSHOT, month)
    if snapshot is None:
        raise SlateError(
            f"{len(days)} slates of {month} are kept, and its results are not there: the month has no snapshot yet. "
            f"`nba-ml backfill --from {month} --to {month} --assets feature_store_snapshot` takes one."
        )
    standing = [version.slate for day in days if (version := slates.standing(day)) is not None]
    grades = grade_slates(standing, snapshot, month)
    slates.save_grades(grades)
    return grades
