"""Rollouts: a challenger gets a share, is graded, and advances step by step.

Stopping a rollout is in `rollback`, because it must not wait for models to be loaded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cache, partial
from typing import Literal

from nba_ml.contract.errors import ReleaseError
from nba_ml.contract.season import month_of
from nba_ml.registry.channel import Channel, ChannelModel, Evidence, next_state, read_channel
from nba_ml.registry.comparisons import require_comparison
from nba_ml.registry.external import CONDITIONS, backtest, require_evidence
from nba_ml.registry.moves import MoveResult
from nba_ml.registry.production import beats_production, compare_production
from nba_ml.registry.promotion_rules import (
    Backtest,
    compare_systems,
    describe_evidence,
    later_rows,
)
from nba_ml.registry.release_context import ReleaseContext
from nba_ml.registry.repeatable import move_from, starting_serial
from nba_ml.registry.rollout_rules import Step, judge_step, next_share
from nba_ml.registry.states import promoted_state, require_reason, stopped_state
from nba_ml.registry.systems.interface import PredictionSystem
from nba_ml.registry.systems.loading import find_model, load_system

FirstShare = Literal[0, 10]
"""First share of a rollout: 0 (shadow), or the first step."""

COMPARISON = "comparison"
WAIVABLE_AT_START = (COMPARISON, *CONDITIONS)
"""What a rollout needs to begin at 10%. A person may waive one, with a reason; it stays waived in later steps."""


def _waived(present: Channel) -> tuple[str, ...]:
    """What was waived for the rollout in progress."""
    return present.waived if present.kind in ("rollout_start", "rollout_advance") else ()


def rollout_start(
    context: ReleaseContext,
    challenger: str,
    at: datetime,
    reason: str,
    graded_from: date | None = None,
    from_serial: int | None = None,
    share: FirstShare = 0,
    waived: Sequence[str] = (),
    beat: str | None = None,
) -> MoveResult:
    """Start a rollout in shadow (scored and graded, not served) or at the first step.

    Args:
        challenger: the id of a published or registered model, or a rule ('mock', 'moving_average').
        graded_from: the first game date that it is judged on; None is the date of `at`.
        from_serial: the state to start from; None is the pointer's state.
        share: 10 needs a kept comparison with the champion (`registry.comparisons`), and of a registered model also
            its backtest. A challenger in shadow may get it without waiting for its grades. A rule needs neither: it is
            there to be compared with.
        waived: one condition that 10 does not need (`WAIVABLE_AT_START`), for the given reason.
        beat: the id of a system of the platform whose kept predictions it must beat before it gets 10.

    Raises:
        ReleaseError: there is no champion, another rollout is in progress, the challenger is the champion, the evidence
            for a share is missing, a waiver is invalid, or the channel was moved meanwhile.
        BundleError: the challenger is incomplete or damaged.
    """
    require_reason(reason)
    if len(waived) > 1 or not set(waived) <= set(WAIVABLE_AT_START):
        raise ReleaseError(
            f"{', '.join(waived)} cannot be waived: at the start of a rollout, one of {', '.join(WAIVABLE_AT_START)} "
            "can."
        )
    if beat is not None and share == 0:
        raise ReleaseError(
            f"A challenger in shadow need not beat {beat}. Name it with a share of 10, or in an advance."
        )
    model = find_model(context.objects, challenger)
    production = cache(lambda: None if beat is None else _require_beaten(context, model, beat))
    prove = cache(partial(require_evidence, context, model, share, waived))

    def decide(present: Channel | None) -> Channel | None:
        if present is None:
            raise ReleaseError("A rollout needs a champion to compare with. Run `nba-ml champion promote` first.")
        shadow = present.share == 0 and present.challenger == model and share > 0
        if present.rolling_out and present.challenger is not None and not shadow:
            raise ReleaseError(
                f"{present.challenger.model_id} is being rolled out at {present.share}%. Run `nba-ml rollout advance` "
                "or `nba-ml rollout stop` before you start another rollout."
            )
        if present.champion == model:
            raise ReleaseError(f"{model.model_id} is already the champion. Name another model.")
        proof = prove() if model.is_external and share > 0 else None
        compared = None
        if share > 0 and model.manifest_sha256 is not None and COMPARISON not in waived:
            compared = require_comparison(context, present.champion, model)
        found = [proof.summary] if proof else []
        found += [f"Compared with the champion: {describe_evidence(compared)}"] if compared else []
        beaten = production()
        found += [beats_production(beaten, context.limits.min_rows_per_step).detail] if beaten else []
        return next_state(
            present,
            kind="rollout_start",
            reason=". ".join([reason.strip().rstrip("."), *found]) + "." if found else reason,
            at=at,
            waived=tuple(waived),
            evidence=proof.evidence if proof else compared,
            beaten=beaten,
            challenger=model,
            share=share,
            graded_from=graded_from or at.date(),
            set_aside=tuple(each for each in present.set_aside if each != model.model_id),
        )

    def is_same_move(_: Channel | None, after: Channel) -> bool:
        same = (after.kind, after.challenger, after.share) == ("rollout_start", model, share)
        return same and graded_from in (None, after.graded_from)

    return move_from(context.objects, starting_serial(context.objects, from_serial), decide, is_same_move)


def _require_beaten(context: ReleaseContext, model: ChannelModel, beat: str) -> Evidence:
    """A challenger's comparison with what a system predicted after its data. Raises ReleaseError if not better."""
    system = load_system(context.objects, model, context.threads)
    found = _against_production(context, system, beat, date.min, None)
    condition = beats_production(found, context.limits.min_rows_per_step)
    if isinstance(found, str) or not condition.met:
        raise ReleaseError(f"{model.model_id} may not begin at 10%: it must beat {beat}. {condition.detail}.")
    return found


def _against_production(
    context: ReleaseContext, challenger: PredictionSystem, beat: str, first: date, until: date | None
) -> Evidence | str:
    after = max(first, challenger.extent.given_until + timedelta(days=1))
    margin = context.limits.rollout_margin
    return compare_production(context, beat, challenger, "out_of_time", after, until or date.max, margin)


@dataclass(frozen=True, slots=True)
class RolloutStatus:
    """The status of a rollout: the current state, the grades since the last step, and the resulting step.

    `backtest` is that of an external challenger; None for any other. `beaten` is the challenger's comparison with the
    system of the platform that was named to be beaten.
    """

    channel: Channel
    evidence: Evidence | None
    step: Step
    backtest: Backtest | None = None
    beaten: Evidence | None = None


def rollout_status(context: ReleaseContext, until: date | None = None, beat: str | None = None) -> RolloutStatus:
    """Grade champion and challenger on the games since the last step, up to `until` (inclusive; None is all).

    Both are scored on all these games, whichever model served them.

    Raises:
        ReleaseError: there is no challenger.
        BundleError: one of the two is incomplete or damaged.
    """
    present = read_channel(context.objects)
    if present is None:
        raise ReleaseError("There is no champion yet, so there is no rollout.")
    return _status(context, present, until, beat)


def _status(context: ReleaseContext, present: Channel, until: date | None, beat: str | None) -> RolloutStatus:
    if present.challenger is None or present.graded_from is None:
        raise ReleaseError("There is no challenger. `nba-ml rollout start MODEL_ID` starts a rollout.")
    champion, challenger = (
        load_system(context.objects, each, context.threads) for each in (present.champion, present.challenger)
    )
    tables = context.snapshots(month_of(present.graded_from), champion, challenger)
    margin = context.limits.rollout_margin
    rows = later_rows(champion, challenger, list(tables.values()), present.graded_from, until or date.max)
    evidence = compare_systems(champion, challenger, rows, margin)
    step = judge_step(evidence, context.limits)
    proof = backtest(context, challenger).waive(_waived(present)) if present.challenger.is_external else None
    step = step if proof is None else _with_backtest(step, proof, present)
    if beat is None:
        return RolloutStatus(present, evidence, step, proof)
    found = _against_production(context, challenger, beat, present.graded_from, until)
    beats = beats_production(found, context.limits.min_rows_per_step)
    action = step.action if beats.met or step.action == "stop" else "wait"
    step = Step(action=action, reason=f"{step.reason}. Against {beat}: {beats.detail}")
    return RolloutStatus(present, evidence, step, proof, found if isinstance(found, Evidence) else None)


def _with_backtest(step: Step, proof: Backtest, present: Channel) -> Step:
    """The step of an external challenger, which needs a passed backtest for any share.

    Without it, a challenger in shadow waits, and one that serves returns to 0. If the backtest only lacks rows, a share
    that was given on evidence stays: this machine's store lacks months, and the model has not changed.
    """
    if proof.passed or step.action == "stop":
        return step.model_copy(update={"reason": f"{step.reason}. On stored rows: {proof.summary}"})
    failed = f"the backtest on stored rows is not passed. {proof.summary}"
    stays = present.share == 0 or (proof.too_few and present.evidence is not None)
    return Step(action="wait" if stays else "stop", reason=f"{failed}. Compared with the champion: {step.reason}")


def rollout_advance(
    context: ReleaseContext,
    at: datetime,
    until: date | None = None,
    from_serial: int | None = None,
    beat: str | None = None,
) -> tuple[RolloutStatus, MoveResult]:
    """Take the next step if the grades allow it, return to a share of 0 if they are bad, or else wait.

    An external challenger must also pass its backtest at every step.

    The next step is judged on later games than this one. After 100% the challenger becomes the champion.

    Args:
        from_serial: the state to start from; None is the last state.
        beat: the id of a system of the platform whose kept predictions of these games the challenger must beat. If it
            does not, it waits.

    Returns:
        The status (from the history if an earlier run from the same serial took the step) and the move.

    Raises:
        ReleaseError: no rollout is in progress, or a rule would become the champion.
        BundleError: one of the two is incomplete or damaged.
    """
    status: RolloutStatus | None = None

    def decide(present: Channel | None) -> Channel | None:
        nonlocal status
        if present is None:
            raise ReleaseError("There is no champion yet, so there is no rollout.")
        if not present.rolling_out:
            next_share(present)  # raises
        status = _status(context, present, until, beat)
        evidence, challenger = status.evidence, present.challenger
        if status.step.action == "stop":
            return stopped_state(present, at, status.step.reason, evidence)
        if status.step.action == "wait" or evidence is None or challenger is None:
            return None
        share = next_share(present)
        if share is None:
            return promoted_state(
                present, challenger, at, "rollout_finish", status.step.reason, evidence, _waived(present), status.beaten
            )
        return next_state(
            present,
            kind="rollout_advance",
            reason=status.step.reason,
            at=at,
            waived=_waived(present),
            share=share,
            graded_from=date.fromordinal(evidence.last.toordinal() + 1),
            evidence=evidence,
            beaten=status.beaten,
        )

    def is_same_move(_: Channel | None, after: Channel) -> bool:
        graded = after.kind == "rollout_stop" and after.evidence is not None
        return graded or after.kind in ("rollout_advance", "rollout_finish")

    moved = move_from(context.objects, from_serial, decide, is_same_move)
    if moved.already is not None:
        state = moved.already
        step = Step(action="stop" if state.kind == "rollout_stop" else "advance", reason=state.reason.rstrip("."))
        status = RolloutStatus(state, state.evidence, step)
    if status is None:
        raise ReleaseError("No rollout is in progress.")
    return status, moved
