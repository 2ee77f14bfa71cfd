"""Promote and roll out: the operations that take a model forward on the channel of an artifact root.

Each reads the channel, decides, and moves it (`core.channel.move_channel`); the clock comes in as an argument.
What belongs here: reading models and months, and putting a decision into the pointer's next state. What does not:
the conditions themselves (`core.promotion`, `core.rollout`), the way back (`rollback`), words for a terminal
(`commands.release`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nba_ml.checks.thresholds import Thresholds
from nba_ml.core.channel import (
    EARLIER,
    Channel,
    ChannelModel,
    Evidence,
    Moved,
    move_channel,
    next_state,
    read_channel,
)
from nba_ml.core.contract import V2_33FEATURES
from nba_ml.core.errors import ReleaseError, StaleInputError
from nba_ml.core.manifest import SYSTEM_ID
from nba_ml.core.object_store import ObjectStore
from nba_ml.core.promotion import (
    WAIVABLE,
    Decision,
    ReleaseLimits,
    compare_systems,
    decide_promotion,
    held_out_rows,
    out_of_time_rows,
    rows_later_than,
)
from nba_ml.core.publication import list_published
from nba_ml.core.recommendation import publish_points
from nba_ml.core.rollout import STEPS, Step, judge_step, next_share
from nba_ml.core.season import month_of
from nba_ml.core.snapshot import Snapshot
from nba_ml.core.systems.catboost_v8 import find_registered, predict_file, register_catboost
from nba_ml.core.systems.interface import PredictionSystem, Seen, columns_of, matrix_of
from nba_ml.core.systems.loading import find_model, load_system
from nba_ml.core.systems.shadow import ShadowGrades, grade_systems, shadow_predictions
from nba_ml.core.systems.xgboost_v1 import XGBoostSystem, measured_system
from nba_ml.core.tables import snapshot_schema
from nba_ml.core.uncertainty import Calibration, calibrate
from nba_ml.core.values import Artifact
from nba_ml.resources.month_store import MonthStore
from nba_ml.rollback import require_reason, stopped_state

SNAPSHOTS = "feature_store_snapshot"

NAMED = ("newer", "not_set_aside")
"""What a person who names a model and gives a reason lets pass by that alone."""


@dataclass(frozen=True, slots=True)
class Bench:
    """Where models and graded months are, and what candidates are held to."""

    objects: ObjectStore
    months: MonthStore
    limits: Thresholds
    threads: int | None = None

    @property
    def promotion(self) -> ReleaseLimits:
        return ReleaseLimits(self.limits.promotion_margin, self.limits.min_rows_to_promote, self.limits.bias)

    def snapshots(self, first: str, last: str = "9999-12") -> dict[str, pa.Table]:
        """The snapshots in the store of the months from `first` to `last`: month -> rows."""
        names = self.months.objects.names(f"{SNAPSHOTS}/")
        stored = sorted(name.removeprefix(f"{SNAPSHOTS}/").removesuffix(".parquet") for name in names)
        wanted = [month for month in stored if "." not in month and first <= month <= last]
        columns = snapshot_schema(V2_33FEATURES).names  # all of them, and not the rejects and results beside
        loaded = {month: self.months.load(SNAPSHOTS, month, columns) for month in wanted}
        return {month: value.table for month, value in loaded.items() if isinstance(value, Snapshot)}


@dataclass(frozen=True, slots=True)
class Promotion:
    """What came of a proposal. `decision` is None where the candidate is the champion already."""

    candidate: str
    decision: Decision | None
    channel: Channel | None
    moved: bool

    @property
    def said(self) -> str:
        return self.decision.reason if self.decision else f"{self.candidate} is the champion already."


def promote(
    bench: Bench,
    at: datetime,
    model_id: str | None = None,
    reason: str | None = None,
    waived: Sequence[str] = (),
) -> Promotion:
    """Make a published model the champion, if it is fit for it.

    Args:
        at: now, with its time zone.
        model_id: None proposes the latest published model.
        reason: a person's, for naming a model: it may then be older than the champion, or have been set aside.
        waived: further conditions to let pass (`core.promotion.WAIVABLE`); they need a reason.

    Raises:
        ReleaseError: nothing is published, or a waiver without a reason or of what cannot be waived.
        BundleError: the candidate's bundle, or the champion's, is not whole.
        NotVerifiedError: the candidate's verdict does not allow it.
    """
    unknown = [name for name in waived if name not in WAIVABLE]
    if unknown:
        raise ReleaseError(f"{', '.join(unknown)} cannot be waived. What can: {', '.join(WAIVABLE)}.")
    if waived or reason is not None:
        require_reason(reason or "")
    let_pass = (*waived, *(NAMED if model_id and reason else ()))
    candidate = load_system(
        bench.objects, find_model(bench.objects, model_id or latest_published(bench)), bench.threads
    )
    model = find_model(bench.objects, candidate.version)
    if model.manifest_sha256 is None:
        raise ReleaseError(f"{model.model_id} is a rule to compare with and never becomes the champion.")
    compared: dict[str, Evidence | str] = {}
    decision: Decision | None = None

    def decide(present: Channel | None) -> Channel | None:
        nonlocal decision
        decision = None
        if present is not None and present.champion == model:
            return None
        champion = load_system(bench.objects, present.champion, bench.threads) if present else None

        def compare() -> Evidence | str:
            if champion is None:
                return "there is nobody to compare it with"
            if champion.version not in compared:  # a race may be lost to a move that left the champion as it is
                compared[champion.version] = _compared(bench, champion, candidate)
            return compared[champion.version]

        decision = decide_promotion(present, champion, candidate, compare, bench.promotion, let_pass)
        if not decision.promoted:
            return None
        said = f"{reason.strip().rstrip('.')}. {decision.reason}" if reason else decision.reason
        if present is None:
            return Channel(serial=1, champion=model, kind="promote", reason=said, moved_at=at)
        return _crowned(present, model, at, "promote", said, decision.evidence, decision.waived)

    done = move_channel(bench.objects, decide)
    return Promotion(candidate.version, decision, done.channel, done.moved)


def latest_published(bench: Bench) -> str:
    """The id of the published model of the newest month; where a month has several, the one that its asset names.

    Raises:
        ReleaseError: there is none, or nothing says which of several.
    """
    ids = list_published(bench.objects)
    if not ids:
        raise ReleaseError(
            f"Nothing is published under {bench.objects.uri(SYSTEM_ID)}, so there is nothing to promote. `nba-ml run` "
            "makes, checks and publishes a model."
        )
    newest = max(_month_in(each) for each in ids)
    of_month = [each for each in ids if _month_in(each) == newest]
    if len(of_month) == 1:
        return of_month[0]
    artifact = bench.months.load("gcs_artifact", f"{newest[:4]}-{newest[4:]}")
    if isinstance(artifact, Artifact) and artifact.model_id in of_month:
        return artifact.model_id
    raise ReleaseError(
        f"{len(of_month)} models of {newest} are published ({', '.join(of_month)}), and the store does not say which "
        "is the month's. Name one."
    )


def _month_in(model_id: str) -> str:
    return model_id.split("_")[-2]


def _compared(bench: Bench, champion: PredictionSystem, candidate: PredictionSystem) -> Evidence | str:
    """The comparison on rows that neither has learnt from, or why there is none."""
    limits = bench.promotion
    later = bench.snapshots(month_of(max(champion.seen.given, candidate.seen.given)))
    rows = out_of_time_rows(champion, candidate, list(later.values()), limits.rows)
    if rows is None:
        every = bench.snapshots("")
        try:
            champion, candidate = (
                measured_system(each, every) if isinstance(each, XGBoostSystem) else each
                for each in (champion, candidate)
            )
        except StaleInputError as error:
            return str(error).rstrip(".")
        rows = held_out_rows(champion, candidate, list(every.values()))
    found = compare_systems(champion, candidate, rows, limits.margin, V2_33FEATURES)
    return found or "the store has no games that neither has learnt from"


def rollout_start(
    objects: ObjectStore, challenger: str, at: datetime, reason: str, graded_from: date | None = None
) -> Channel:
    """Give a challenger the first step's share.

    Args:
        challenger: the id of a published or registered model, or a rule ('mock', 'moving_average').
        graded_from: the first game date it is judged on; None is the day of `at`.

    Raises:
        ReleaseError: there is no champion, another rollout is under way, or the challenger is the champion.
        BundleError: the challenger is not whole.
    """
    require_reason(reason)
    model = find_model(objects, challenger)

    def decide(present: Channel | None) -> Channel | None:
        if present is None:
            raise ReleaseError("A rollout needs a champion to be compared with: `nba-ml champion promote` first.")
        if present.share > 0 and present.challenger is not None:
            raise ReleaseError(
                f"{present.challenger.model_id} is being rolled out at {present.share}%. `nba-ml rollout advance` or "
                "`stop` it before another one starts."
            )
        if present.champion == model:
            raise ReleaseError(f"{model.model_id} is the champion: it serves everybody already.")
        return next_state(
            present,
            kind="rollout_start",
            reason=reason,
            at=at,
            challenger=model,
            share=STEPS[0],
            graded_from=graded_from or at.date(),
            set_aside=tuple(each for each in present.set_aside if each != model.model_id),
        )

    return _required(move_channel(objects, decide))


@dataclass(frozen=True, slots=True)
class RolloutStatus:
    """How a rollout stands: the present state, what the grades since the last step say, and what they mean."""

    channel: Channel
    evidence: Evidence | None
    step: Step


def rollout_status(bench: Bench, until: date | None = None) -> RolloutStatus:
    """Grade champion and challenger on the games since the last step, up to `until` (inclusive; None is all).

    Both are scored on every one of these games, whoever served it.

    Raises:
        ReleaseError: there is no challenger.
        BundleError: one of the two is not whole.
    """
    present = read_channel(bench.objects)
    if present is None:
        raise ReleaseError("There is no champion yet, and so no rollout.")
    return _status(bench, present, until)


def _status(bench: Bench, present: Channel, until: date | None) -> RolloutStatus:
    if present.challenger is None or present.graded_from is None:
        raise ReleaseError("No challenger is named. `nba-ml rollout start MODEL_ID` begins a rollout.")
    champion, challenger = (
        load_system(bench.objects, each, bench.threads) for each in (present.champion, present.challenger)
    )
    tables = bench.snapshots(month_of(present.graded_from))
    margin = bench.limits.rollout_margin
    rows = rows_later_than(champion, challenger, list(tables.values()), present.graded_from, until or date.max)
    evidence = compare_systems(champion, challenger, rows, margin, V2_33FEATURES)
    return RolloutStatus(
        present, evidence, judge_step(evidence, bench.limits.min_rows_per_step, margin, bench.limits.bias)
    )


def rollout_advance(bench: Bench, at: datetime, until: date | None = None) -> tuple[RolloutStatus, Moved]:
    """Take the next step if the grades allow it, go back to a share of 0 if they forbid it, else leave it.

    The next step is judged on games after those of this one. After 100% the challenger is the champion.

    Raises:
        ReleaseError: no rollout is under way, or a rule would come to serve everybody.
        BundleError: one of the two is not whole.
    """
    status: RolloutStatus | None = None

    def decide(present: Channel | None) -> Channel | None:
        nonlocal status
        if present is None:
            raise ReleaseError("There is no champion yet, and so no rollout.")
        if present.share == 0:
            next_share(present)  # says that there is none
        status = _status(bench, present, until)
        evidence, challenger = status.evidence, present.challenger
        if status.step.action == "wait" or evidence is None or challenger is None:
            return None
        if status.step.action == "stop":
            return stopped_state(present, at, status.step.said, evidence)
        share = next_share(present)
        if share is None:
            return _crowned(present, challenger, at, "rollout_finish", status.step.said, evidence, ())
        return next_state(
            present,
            kind="rollout_advance",
            reason=status.step.said,
            at=at,
            share=share,
            graded_from=date.fromordinal(evidence.last.toordinal() + 1),
            evidence=evidence,
        )

    moved = move_channel(bench.objects, decide)
    if status is None:
        raise ReleaseError("No rollout is under way.")
    return status, moved


def _crowned(
    present: Channel,
    model: ChannelModel,
    at: datetime,
    kind: Literal["promote", "rollout_finish"],
    reason: str,
    evidence: Evidence | None,
    waived: tuple[str, ...],
) -> Channel:
    """The state in which a model is the champion, and serves alone."""
    before = (present.champion, *(each for each in present.earlier if each not in (model, present.champion)))
    return next_state(
        present,
        kind=kind,
        reason=reason,
        at=at,
        champion=model,
        challenger=None,
        share=0,
        graded_from=None,
        earlier=before[:EARLIER],
        set_aside=tuple(each for each in present.set_aside if each != model.model_id),
        evidence=evidence,
        waived=waived,
    )


def _required(moved: Moved) -> Channel:
    if moved.channel is None:
        raise ReleaseError("The channel is empty.")
    return moved.channel


REFERENCE_ROWS = 20
"""Rows that a registered model must predict again, as many as our own bundles have."""

CALIBRATION_ROWS = 500
"""Held-out rows that an interval is learnt from, at least: its ends are quantiles of a tenth of them."""


def register(bench: Bench, data: bytes, seen: Seen) -> ChannelModel:
    """Put a CatBoost file beside ours: from then on it can be scored in shadow and rolled out like a model of ours.

    Registered again, though the store may have more months by then, it is what it was.

    Its reference rows are spread over the newest snapshot in the store. Its interval is learnt from rows that its
    trainer held out: after what it was fitted on, and no later than what it was given, so that games it will be graded
    on teach it nothing. With fewer than 500 such rows in the store it has no interval, and no probability.

    Args:
        data: the `.cbm` file.
        seen: the last dates that its training looked at, by its trainer's word.

    Raises:
        ReleaseError: the store has no snapshot with samples.
        BundleError: it is no CatBoost model of the contract's features.
        MissingExtraError: CatBoost is not installed.
    """
    known = find_registered(bench.objects, data, seen)
    if known is not None:
        return known.model
    filled = [table for table in bench.snapshots("").values() if table.num_rows]
    if not filled:
        raise ReleaseError("The store has no rows to take reference rows from: `nba-ml backfill` makes some.")
    rows = filled[-1]
    chosen = np.unique(np.linspace(0, rows.num_rows - 1, REFERENCE_ROWS).round().astype(int))
    taken = rows.take(pa.array(chosen))
    vectors = matrix_of(columns_of(taken, V2_33FEATURES), V2_33FEATURES)
    players, days = (taken.column(name).to_pylist() for name in ("player_lookup", "game_date"))
    reference = list(zip(players, days, vectors.tolist(), strict=True))
    return register_catboost(bench.objects, data, seen, reference, _held_out_calibration(filled, data, seen)).model


def _held_out_calibration(tables: Sequence[pa.Table], data: bytes, seen: Seen) -> Calibration | None:
    """How far results spread around a CatBoost's predictions on the rows that its trainer held out."""
    rows = pa.concat_tables(tables)
    days = rows.column("game_date")
    rows = rows.filter(pc.and_(pc.greater(days, pa.scalar(seen.fitted)), pc.less_equal(days, pa.scalar(seen.given))))
    if rows.num_rows < CALIBRATION_ROWS:
        return None
    columns = columns_of(rows, V2_33FEATURES)
    predicted = publish_points(np.array(predict_file(data, matrix_of(columns, V2_33FEATURES).tolist())))
    return calibrate(predicted, rows.column("points").to_numpy(), columns["vegas_points_line"])


def shadow_month(bench: Bench, month: str, names: Sequence[str]) -> ShadowGrades:
    """Score a month with several systems, and grade them on the same rows; the first is what others are held against.

    Raises:
        ReleaseError: the month has no snapshot with samples, or one of the systems was given games of it or later.
        BundleError: one of them is not whole.
    """
    snapshot = bench.months.load(SNAPSHOTS, month)
    if not isinstance(snapshot, Snapshot) or not snapshot.table.num_rows:
        raise ReleaseError(f"The store has no samples of {month}. `nba-ml backfill --from {month} --to {month}` first.")
    systems = [load_system(bench.objects, find_model(bench.objects, name), bench.threads) for name in names]
    first = snapshot.table.column("game_date")[0].as_py()  # a snapshot is in date order
    for system in systems:
        if system.seen.given >= first:
            raise ReleaseError(
                f"{system.version} was given games up to {system.seen.given}, and {month} begins on {first}: what it "
                "says of that month would be memories. Choose a later month, or an earlier model."
            )
    return grade_systems(shadow_predictions(systems, snapshot.table), snapshot)
