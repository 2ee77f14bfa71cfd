"""Promotion: a published model proposed as the champion, compared on games that neither has learnt from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache, partial

import pyarrow as pa
import pyarrow.compute as pc

from nba_ml.contract.errors import ReleaseError, StaleInputError
from nba_ml.contract.features import V2_33FEATURES
from nba_ml.contract.model_id import SYSTEM_ID
from nba_ml.contract.season import month_of
from nba_ml.registry.artifact import ARTIFACT
from nba_ml.registry.backtest import backtest
from nba_ml.registry.channel import Channel, Evidence
from nba_ml.registry.promotion_rules import (
    WAIVABLE,
    PromotionDecision,
    compare_systems,
    decide_promotion,
    held_out_rows,
    mixed_rows,
    out_of_time_rows,
    too_few,
)
from nba_ml.registry.publication import list_published
from nba_ml.registry.release_context import ReleaseContext
from nba_ml.registry.repeatable import described, move_from, starting_serial
from nba_ml.registry.states import promoted_state, require_reason
from nba_ml.registry.systems.interface import PredictionSystem
from nba_ml.registry.systems.loading import find_model, load_system
from nba_ml.registry.systems.xgboost_v1 import XGBoostSystem, measured_system

NAMED = ("newer", "not_set_aside")
"""What a person who names a model and gives a reason lets pass by that alone."""


@dataclass(frozen=True, slots=True)
class Promotion:
    """What came of a proposal. `decision` is None where the candidate is the champion already.

    `followed` says in a sentence that the pointer was behind its history and was brought forward first; '' if not.
    `already` is the state in which an earlier run of the same command promoted it. `serving` is what the pointer was
    last seen to hold.
    """

    candidate: str
    decision: PromotionDecision | None
    channel: Channel | None
    moved: bool
    followed: str = ""
    already: Channel | None = None
    serving: Channel | None = None

    @property
    def said(self) -> str:
        """The decision in words."""
        decided = self.decision.reason if self.decision else f"{self.candidate} is the champion already."
        if self.already is not None:
            decided = f"Done already: serial {self.already.serial} is the {described(self.already)}."
        if (
            self.serving is not None
            and self.serving.champion.model_id != self.candidate
            and (self.moved or self.already is not None)
        ):
            decided += f" The channel was moved on since: serial {self.serving.serial}, {described(self.serving)}."
        return f"{self.followed} {decided}".lstrip()


def promote(
    context: ReleaseContext,
    at: datetime,
    model_id: str | None = None,
    reason: str | None = None,
    waived: Sequence[str] = (),
    from_serial: int | None = None,
) -> Promotion:
    """Make a published or registered model the champion, if it is fit for it.

    Args:
        at: now, with its time zone.
        model_id: None proposes the latest published model.
        reason: a person's, for naming a model: it may then be older than the champion, or have been set aside.
        waived: further conditions to let pass (`registry.promotion_rules.WAIVABLE`); they need a reason.
        from_serial: the state to start from. None is the one that the pointer holds now where a person gives a reason,
            and else, where only grades decide, whatever state is the last.

    Raises:
        ReleaseError: nothing is published, a waiver without a reason or of what cannot be waived, or somebody else
            moved the channel meanwhile.
        BundleError: the candidate's bundle, or the champion's, is not whole.
        NotVerifiedError: the candidate's verdict does not allow it.
    """
    unknown = [name for name in waived if name not in WAIVABLE]
    if unknown:
        raise ReleaseError(f"{', '.join(unknown)} cannot be waived. What can: {', '.join(WAIVABLE)}.")
    if waived or reason is not None:
        require_reason(reason or "")
    let_pass = (*waived, *(NAMED if model_id and reason else ()))
    start = from_serial if reason is None else starting_serial(context.objects, from_serial)
    candidate = load_system(
        context.objects, find_model(context.objects, model_id or latest_published(context)), context.threads
    )
    model = find_model(context.objects, candidate.version)
    if model.manifest_sha256 is None:
        raise ReleaseError(f"{model.model_id} is a rule to compare with and never becomes the champion.")
    compared: dict[str, Evidence | str] = {}
    proof = cache(partial(backtest, context, candidate)) if model.is_external else None
    decision: PromotionDecision | None = None

    def decide(present: Channel | None) -> Channel | None:
        nonlocal decision
        decision = None
        if present is not None and present.champion == model:
            return None
        champion = load_system(context.objects, present.champion, context.threads) if present else None

        def compare() -> Evidence | str:
            if champion is None:
                return "there is nobody to compare it with"
            if champion.version not in compared:  # a race may be lost to a move that left the champion as it is
                compared[champion.version] = _compared(context, champion, candidate)
            return compared[champion.version]

        decision = decide_promotion(present, champion, candidate, compare, context.promotion, let_pass, proof)
        if not decision.promoted:
            return None
        said = f"{reason.strip().rstrip('.')}. {decision.reason}" if reason else decision.reason
        if present is None:
            return Channel(
                serial=1, champion=model, kind="promote", reason=said, evidence=decision.evidence, moved_at=at
            )
        return promoted_state(present, model, at, "promote", said, decision.evidence, decision.waived)

    def is_ours(_: Channel | None, after: Channel) -> bool:
        return after.kind == "promote" and after.champion == model

    done = move_from(context.objects, start, decide, is_ours)
    followed = done.said_of_following
    return Promotion(candidate.version, decision, done.channel, done.moved, followed, done.already, done.serving)


def latest_published(context: ReleaseContext) -> str:
    """The id of the published model of the newest month; where a month has several, the one that its asset names.

    Raises:
        ReleaseError: there is none, or nothing says which of several.
    """
    ids = list_published(context.objects)
    if not ids:
        raise ReleaseError(
            f"Nothing is published under {context.objects.uri(SYSTEM_ID)}, so there is nothing to promote. `nba-ml "
            "run` makes, checks and publishes a model."
        )
    newest = max(_month_in(each) for each in ids)
    of_month = [each for each in ids if _month_in(each) == newest]
    if len(of_month) == 1:
        return of_month[0]
    artifact = context.months.load(ARTIFACT, f"{newest[:4]}-{newest[4:]}")
    if artifact is not None and artifact.model_id in of_month:
        return artifact.model_id
    raise ReleaseError(
        f"{len(of_month)} models of {newest} are published ({', '.join(of_month)}), and the store does not say which "
        "is the month's. Name one."
    )


def _month_in(model_id: str) -> str:
    return model_id.split("_")[-2]


def _compared(context: ReleaseContext, champion: PredictionSystem, candidate: PredictionSystem) -> Evidence | str:
    """The first comparison of `registry.promotion_rules` that can be made, or why there is none."""
    limits = context.promotion
    later = context.snapshots(month_of(max(champion.seen.given, candidate.seen.given)))
    rows = out_of_time_rows(champion, candidate, list(later.values()), limits.rows)
    if rows is None:
        every = context.snapshots("")
        tables = list(every.values())
        try:
            candidate = _measured(candidate, every)
        except StaleInputError as error:
            return f"the booster that it was measured by cannot be made again: {str(error).rstrip('.')}"
        try:
            champion = _measured(champion, every)
            rows = held_out_rows(champion, candidate, tables)
        except StaleInputError:
            rows = mixed_rows(champion, candidate, tables)
            missing = too_few(rows, limits.rows)
            if missing is not None:
                return (
                    "rows that the champion was fitted on were corrected since, or XGBoost is another, so its "
                    f"measured booster cannot be made again, and only games after {champion.seen.given}, the last that "
                    f"it was given, are new to both: {missing}. Every week of games brings more, to this model and to "
                    "the next"
                )
    found = compare_systems(champion, candidate, rows, limits.margin, V2_33FEATURES)
    return found or "the store has no games that neither has learnt from"


def _measured(system: PredictionSystem, snapshots: Mapping[str, pa.Table]) -> PredictionSystem:
    """The booster that a published model was measured by, made again; another system is what it is.

    It owes itself to the rows up to early stopping, so only their months must be what they were: a running month that
    has grown since, and a correction to games that were held out, are no hindrance.

    Args:
        snapshots: month -> rows, all there are.

    Raises:
        StaleInputError: rows that it was fitted on are no longer what they were, or XGBoost makes other bytes of them.
    """
    if not isinstance(system, XGBoostSystem) or system.held_out:
        return system
    record, given = system.record, pa.scalar(system.seen.given, pa.date32())
    last = month_of(record.split.sides()["early_stopping"].last)
    needed = tuple(ref for ref in record.split.snapshots if ref.month <= last)
    split = record.split.model_copy(update={"snapshots": needed})
    rows = {month: table.filter(pc.less_equal(table["game_date"], given)) for month, table in snapshots.items()}
    measured = measured_system(replace(system, record=record.model_copy(update={"split": split})), rows)
    return replace(measured, record=record)
