"""Promotion: a published model becomes the champion if it does well on games that neither model was trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from functools import cache

import pyarrow as pa

from nba_ml.contract.errors import ReleaseError
from nba_ml.contract.model_id import month_of_model
from nba_ml.contract.season import month_of
from nba_ml.contract.systems import SYSTEMS, XGBOOST_V1, System
from nba_ml.contract.text import printable
from nba_ml.model.metrics import FEWEST_DAYS
from nba_ml.model.stored import measured_booster
from nba_ml.registry.artifact import ARTIFACT
from nba_ml.registry.channel import Channel, Evidence, newest_state_ahead, read_pointer
from nba_ml.registry.external import CONDITIONS, backtest, require_one_waiver
from nba_ml.registry.moves import MoveResult
from nba_ml.registry.production import beating, compare_production
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
from nba_ml.registry.repeatable import describe_move, move_from, starting_serial
from nba_ml.registry.states import promoted_state, require_reason
from nba_ml.registry.systems.interface import PredictionSystem
from nba_ml.registry.systems.loading import find_model, load_system
from nba_ml.registry.systems.xgboost_v1 import XGBoostSystem

WAIVED_BY_NAMING = ("newer", "not_set_aside")
"""The conditions that are waived if a person names a model and gives a reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Promotion(MoveResult):
    """The result of a proposal. `decision` is None if the candidate is already the champion."""

    candidate: str
    decision: PromotionDecision | None

    @property
    def message(self) -> str:
        """The decision and its reason."""
        text = self.decision.reason if self.decision else f"{self.candidate} is already the champion."
        if self.already is not None:
            text = f"Already done: serial {self.already.serial} is the {describe_move(self.already)}."
        if (
            self.serving is not None
            and self.serving.champion.model_id != self.candidate
            and (self.moved or self.already is not None)
        ):
            text += f" The channel has moved since: serial {self.serving.serial}, {describe_move(self.serving)}."
        return f"{self.catch_up_note} {text}".lstrip()


def promote(
    context: ReleaseContext,
    at: datetime,
    model_id: str | None = None,
    reason: str | None = None,
    waived: Sequence[str] = (),
    from_serial: int | None = None,
    beat: str | None = None,
) -> Promotion:
    """Make a published or registered model the champion if it meets the conditions.

    Args:
        at: the current time, with its time zone.
        model_id: None is the latest published model of the system that serves, of xgboost_v1 without a champion.
        reason: a person's reason for naming a model. The model may then be older than the champion or set aside.
        waived: further conditions to waive (`registry.promotion_rules.WAIVABLE`, and one of those of
            `registry.external`); requires a reason.
        from_serial: the state to start from. None is the pointer's state if there is a reason, else the last state.
        beat: the id of a system of the platform whose kept predictions (`registry.production`) it must beat, too.

    Raises:
        ReleaseError: nothing is published, a waiver is invalid or has no reason, nothing is kept of the system to beat,
            or the channel was moved meanwhile.
        BundleError: the candidate's or the champion's bundle is incomplete or damaged.
        NotVerifiedError: the candidate's verdict does not allow it.
    """
    _require_waivable(waived)
    if waived or reason is not None:
        require_reason(reason or "")
    waivers = (*waived, *(WAIVED_BY_NAMING if model_id is not None and reason else ()))
    start = from_serial if reason is None else starting_serial(context.objects, from_serial)
    name = _latest_of_the_serving(context) if model_id is None else model_id
    candidate = load_system(context.objects, find_model(context.objects, name), context.threads)
    model = find_model(context.objects, candidate.version)
    if model.manifest_sha256 is None:
        raise ReleaseError(
            f"{model.model_id} is a rule for comparisons and cannot become the champion. Name a published model."
        )
    compared: dict[str, Evidence | str] = {}
    proof = cache(lambda: backtest(context, candidate).waive(waived)) if model.is_external else None
    against = None if beat is None else cache(lambda: _against_production(context, candidate, beat))
    decision: PromotionDecision | None = None

    def decide(present: Channel | None) -> Channel | None:
        nonlocal decision
        decision = None
        if present is not None and present.champion == model:
            return None
        champion = load_system(context.objects, present.champion, context.threads) if present else None

        def compare() -> Evidence | str:
            if champion is None:
                return "there is no champion to compare it with"
            if champion.version not in compared:  # a race may be lost to a move that does not change the champion
                compared[champion.version] = _compare(context, champion, candidate)
            return compared[champion.version]

        decision = decide_promotion(present, champion, candidate, compare, context.limits, waivers, proof)
        if against is not None and decision.promoted:
            decision = beating(decision, against(), context.limits.min_rows_to_promote)
        if not decision.promoted:
            return None
        text = f"{reason.strip().rstrip('.')}. {decision.reason}" if reason else decision.reason
        if present is None:
            return Channel(
                serial=1, champion=model, kind="promote", reason=printable(text), evidence=decision.evidence,
                beaten=decision.beaten, waived=decision.waived, moved_at=at,
            )  # fmt: skip
        return promoted_state(present, model, at, "promote", text, decision.evidence, decision.waived, decision.beaten)

    def is_same_move(_: Channel | None, after: Channel) -> bool:
        return after.kind == "promote" and after.champion == model

    done = move_from(context.objects, start, decide, is_same_move)
    return Promotion(
        done.channel, done.moved, done.caught_up_to, done.already, done.later,
        candidate=candidate.version, decision=decision,
    )  # fmt: skip


def _require_waivable(waived: Sequence[str]) -> None:
    unknown = [name for name in waived if name not in (*WAIVABLE, *CONDITIONS)]
    if unknown:
        raise ReleaseError(
            f"{', '.join(unknown)} cannot be waived. Only these can: {', '.join(WAIVABLE)}; and of a registered model "
            f"one of {', '.join(CONDITIONS)}."
        )
    require_one_waiver(waived)


def serving_system(present: Channel | None, otherwise: System = XGBOOST_V1) -> System:
    """The system whose latest model is proposed: the champion's, if it is one that is trained here."""
    return SYSTEMS.get(present.champion.system_id, otherwise) if present else otherwise


def _latest_of_the_serving(context: ReleaseContext) -> str:
    pointer = read_pointer(context.objects)  # the move restores one that is missing or old
    return latest_published(context, serving_system(newest_state_ahead(context.objects, pointer) or pointer))


def latest_published(context: ReleaseContext, system: System = XGBOOST_V1) -> str:
    """The id of a system's newest published model; if its month has several, the one that `gcs_artifact` names.

    Raises:
        ReleaseError: no model is published, or it is not known which of several to take.
    """
    ids = list_published(context.objects, system)
    if not ids:
        raise ReleaseError(
            f"No model is published in {context.objects.uri(system.id)}. Run `nba-ml run` to train, check and "
            "publish one."
        )
    months = {each: month_of_model(each) or "" for each in ids}
    newest = max(months.values())
    of_month = [each for each, month in months.items() if month == newest]
    if len(of_month) == 1:
        return of_month[0]
    artifact = context.months.load(ARTIFACT.of(system), newest)
    if artifact is not None and artifact.model_id in of_month:
        return artifact.model_id
    raise ReleaseError(
        f"{len(of_month)} models of {newest} are published ({', '.join(of_month)}), and gcs_artifact of that month "
        "names none of them. Name one."
    )


def _compare(context: ReleaseContext, champion: PredictionSystem, candidate: PredictionSystem) -> Evidence | str:
    """The first possible comparison of those in `registry.promotion_rules`, or why not. Nothing is trained."""
    limits = context.limits

    def since(day: date) -> list[pa.Table]:
        return list(context.snapshots(month_of(day), champion, candidate).values())

    last = max(champion.extent.given_until, candidate.extent.given_until)
    rows = out_of_time_rows(champion, candidate, since(last), limits.min_rows_to_promote)
    if rows is None:
        measured, theirs = _measured(context, candidate), _measured(context, champion)
        if measured is None:
            return f"{_not_stored(candidate)}, or wait for {limits.min_rows_to_promote:,} rows of games after {last}"
        candidate = measured
        if theirs is not None:
            champion = theirs
            fitted = max(champion.extent.fitted_until, candidate.extent.fitted_until)
            rows = held_out_rows(champion, candidate, since(fitted))
        else:
            fitted = max(champion.extent.given_until, candidate.extent.fitted_until)
            rows = mixed_rows(champion, candidate, since(fitted))
            missing = too_few(rows, limits.min_rows_to_promote)
            if missing is not None:
                return (
                    f"{_not_stored(champion)}. Without it, only games after {champion.extent.given_until}, the end of "
                    f"its training data, are new to both: {missing}"
                )
    evidence = compare_systems(champion, candidate, rows, limits.promotion_margin)
    return evidence or "the store has no games that are new to both"


def _against_production(context: ReleaseContext, candidate: PredictionSystem, system_id: str) -> Evidence | str:
    """The candidate against what a system predicted: the published model on games after its data if there are enough,
    else the booster that its metrics were measured with on games after those used to fit or stop it."""
    limits = context.limits
    later = candidate.extent.given_until + timedelta(days=1)
    found = compare_production(context, system_id, candidate, "out_of_time", later, margin=limits.promotion_margin)
    if isinstance(found, Evidence) and found.rows >= limits.min_rows_to_promote and found.days >= FEWEST_DAYS:
        return found
    measured = _measured(context, candidate)
    if measured is None or measured.extent.fitted_until == candidate.extent.given_until:
        return found
    held_out = measured.extent.fitted_until + timedelta(days=1)
    return compare_production(context, system_id, measured, "held_out", held_out, margin=limits.promotion_margin)


def _measured(context: ReleaseContext, system: PredictionSystem) -> PredictionSystem | None:
    """The booster that a published model's metrics were measured with, which training stored; None if it is not there.

    Other systems, and a model that is that booster itself, are returned as they are.
    """
    if not isinstance(system, XGBoostSystem) or system.held_out:
        return system
    booster = measured_booster(context.months, system.record)
    return None if booster is None else replace(system, booster=booster, held_out=True)


def _not_stored(system: PredictionSystem) -> str:
    return (
        f"the store does not have the booster that the metrics of {system.version} were measured with: another store "
        f"or an earlier version trained it. Run `nba-ml run --month {system.newest_month}`, which trains that month "
        "again and keeps it"
    )
