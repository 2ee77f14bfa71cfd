"""Slate operations: score and store a date, send a slate, and grade a month of stored slates.

Combines rows, models and stored versions. The current time is an argument. The rules are in `slates.slate` and
`slates.grades`, the terminal output in `cli.slate`. Does not import Dagster.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Protocol

from nba_ml.contract.errors import SettingsError, SlateError
from nba_ml.contract.features import FEATURE_VERSIONS, V2_33FEATURES, FeatureVersion
from nba_ml.contract.systems import system_of_features
from nba_ml.data.stored import SNAPSHOT
from nba_ml.registry.channel import Channel, read_channel
from nba_ml.registry.signed_store import SignedStore
from nba_ml.registry.systems.loading import features_of, load_system
from nba_ml.slates.grades import SlateGrades, grade_slates
from nba_ml.slates.prediction_rows import TableWrite
from nba_ml.slates.rows import SlateRows
from nba_ml.slates.slate import Slate, SlateSystems, score_slate
from nba_ml.slates.store import KeptSlate, SlateStore
from nba_ml.storage.months import MonthStore
from nba_ml.storage.objects import ObjectStore

if TYPE_CHECKING:
    import pyarrow as pa

    from nba_ml.slates.prediction_columns import TableReport


@dataclass(frozen=True, slots=True)
class SlateContext:
    """The published models, the feature rows, and the store of slates."""

    objects: ObjectStore
    rows: SlateRows
    slates: SlateStore
    threads: int | None = None


@dataclass(frozen=True, slots=True)
class Predicted:
    """A stored slate, and the version of its date that counts. `notes` say what the rows were made from."""

    kept: KeptSlate
    current: KeptSlate
    notes: tuple[str, ...] = ()

    @property
    def is_current(self) -> bool:
        """Whether the stored slate is the version that counts."""
        return self.current.number == self.kept.number


class PredictionTable(Protocol):
    """An external table of predictions (`slates.prediction_table`)."""

    def report(self) -> TableReport:
        """The table's columns against those of a slate. Raises SlateError if it cannot be read."""
        ...

    def write(self, kept: KeptSlate, *, is_current: bool, versions: Sequence[KeptSlate] = ()) -> TableWrite:
        """Write a stored slate once. If it `is_current`, its rows become the active rows of its date.

        `versions` are the stored versions of the date, for a table that cannot tell their rows from others.

        Raises SlateError if it cannot be written.
        """
        ...


@dataclass(frozen=True, slots=True)
class Sent:
    """Result of sending a slate. `current` is the version that counts and its result, if it is another version."""

    written: TableWrite
    current: tuple[KeptSlate, TableWrite] | None = None


_NO_TABLE = (
    "NBA_ML_SOURCE is 'embedded', so there is no BigQuery table of predictions. Set it to 'bigquery', and set "
    "NBA_ML_BIGQUERY_PROJECT and NBA_ML_PREDICTION_TABLE."
)


class NoPredictionTable:
    """Placeholder for homes with the embedded source, which have no table."""

    def report(self) -> TableReport:
        """Raises SettingsError."""
        raise SettingsError(_NO_TABLE)

    def write(  # as the protocol has it
        self,
        kept: KeptSlate,  # noqa: ARG002
        *,
        is_current: bool,  # noqa: ARG002
        versions: Sequence[KeptSlate] = (),  # noqa: ARG002
    ) -> TableWrite:
        """Raises SettingsError."""
        raise SettingsError(f"{_NO_TABLE} The slate is stored: then run the same command again.")


def predict_slate(context: SlateContext, day: date, at: datetime, games: str = "") -> Predicted:
    """Score a date's rows with the channel's models, and store the slate.

    The same rows and channel state give the same slate, which is not stored again. Otherwise this adds a version.
    Earlier versions stay. `slates.store.current_version` decides which one counts.

    Args:
        at: now, with its time zone.
        games: of a date without rows, 'BOS@NYK,LAL@DEN' (away@home); '' for those of the schedule.

    Raises:
        SlateError: the date has no rows and none can be made, it has rows and games are named, there is no champion, or
            a model was trained on the date's games.
        BundleError: the bundle of a model is incomplete or damaged.
        ChannelError: signatures are required, and the channel is at an older state than that of an earlier slate.
    """
    channel = read_channel(context.objects)
    # A signature proves who moved the channel there, not that it is still there: an old state is signed as well.
    signed = channel is not None and isinstance(context.objects, SignedStore)
    if channel is not None and signed:
        context.slates.require_no_older(channel)
    versions = _versions(context.objects, channel)
    # Reading rows waits for files, DuckDB or BigQuery, and loading models for XGBoost: neither needs the other.
    with ThreadPoolExecutor(1) as beside:
        loading = beside.submit(_channel_systems, context, day, channel)
        (rows, notes), *others = (_rows(context.rows, day, games, version) for version in versions)
        systems = loading.result()
    slate = score_slate(rows, systems, day, at, others[0][0] if others else None)
    if signed:
        context.slates.keep_state(systems.channel)
    kept = context.slates.keep(slate)
    return Predicted(kept, context.slates.current(day) or kept, notes)


def _channel_systems(context: SlateContext, day: date, channel: Channel | None) -> SlateSystems:
    if channel is None:
        raise SlateError(
            f"There is no champion yet, so no model can score the slate of {day}. Run `nba-ml champion promote` to "
            "promote the latest published model."
        )
    champion = load_system(context.objects, channel.champion, context.threads)
    challenger = load_system(context.objects, channel.challenger, context.threads) if channel.challenger else None
    return SlateSystems(channel, champion, challenger)


def _versions(objects: ObjectStore, channel: Channel | None) -> tuple[FeatureVersion, ...]:
    """The features that the champion reads and, if they are others, those of the challenger."""
    models = [model for model in (channel.champion, channel.challenger) if model] if channel else []
    return tuple(dict.fromkeys(features_of(objects, model) for model in models)) or (V2_33FEATURES,)


def _rows(rows: SlateRows, day: date, games: str, version: FeatureVersion) -> tuple[pa.Table, tuple[str, ...]]:
    """A date's rows with the features of a version, and what they were made from if they are not stored."""
    found = rows.read(day, version)
    if not found.num_rows:
        made = rows.upcoming(day, games, version)
        return made.rows, made.notes
    if games:
        raise SlateError(
            f"{day} has feature rows already, so its games are known. Leave out --games to score those rows."
        )
    return found, ()


def send_slate(table: PredictionTable, slates: SlateStore, kept: KeptSlate) -> Sent:
    """Write a stored slate to the table. Afterwards exactly the version that counts is active for its date.

    If another version counts, it is written first; otherwise the date could have no active rows. The version that
    counts is read again after the write, because a newer one may have been stored meanwhile.

    Raises:
        SlateError: a version of the date is damaged, or the table cannot take it. Earlier writes stay.
        SettingsError: there is no table, or there are no credentials.
    """
    day = kept.slate.report.game_date
    current, written = kept, None
    while (counts := slates.current(day) or kept).number != current.number or written is None:
        current, written = counts, table.write(counts, is_current=True, versions=slates.versions(day))
    if current.number == kept.number:
        return Sent(written)
    return Sent(table.write(kept, is_current=False), (current, written))


def grade_month_of_slates(months: MonthStore, slates: SlateStore, month: str) -> SlateGrades:
    """Grade a month's slates (the versions that count) with the results in its snapshot, and store the grades.

    Raises:
        SlateError: the month has no slates or no snapshot, or a slate is damaged.
    """
    days = slates.days(month)
    if not days:
        raise SlateError(
            f"There are no slates of {month} to grade. Make one with `nba-ml slate predict --date {month}-15`."
        )
    counting = [version.slate for day in days if (version := slates.current(day)) is not None]
    features = _newest_features(counting)
    snapshot = months.load(SNAPSHOT.of(system_of_features(features)), month)
    if snapshot is None:
        raise SlateError(
            f"There are {len(days)} slates of {month}, but the month has no snapshot with results yet. Run `nba-ml "
            f"backfill --from {month} --to {month} --assets feature_store_snapshot`."
        )
    grades = grade_slates(counting, snapshot, month, features)
    slates.save_grades(grades)
    return grades


def _newest_features(slates: Sequence[Slate]) -> FeatureVersion:
    """The latest of the versions that the slates were made from: its snapshot has the rows of the others too."""
    used = {name for slate in slates for name in slate.table.column("feature_version").unique().to_pylist()}
    return next((each for each in reversed(FEATURE_VERSIONS.values()) if each.name in used), V2_33FEATURES)
