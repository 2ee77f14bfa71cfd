"""A rollout forward: a challenger gets its share, is graded, and takes its steps.

What does not belong here: taking it back at once (`rollback`), which must not wait for models to be loaded.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from functools import cache, partial
from typing import Literal

from nba_ml.contract.errors import ReleaseError
from nba_ml.contract.features import V2_33FEATURES
from nba_ml.contract.season import month_of
from nba_ml.registry.backtest import backtest, require_evidence
from nba_ml.registry.channel import Channel, Evidence, next_state, read_channel
from nba_ml.registry.external import Backtest
from nba_ml.registry.moves import Moved
from nba_ml.registry.promotion_rules import compare_systems, rows_later_than
from nba_ml.registry.release_context import ReleaseContext
from nba_ml.registry.repeatable import move_from, starting_serial
from nba_ml.registry.rollout_rules import Step, judge_step, next_share
from nba_ml.registry.states import promoted_state, require_reason, stopped
from nba_ml.registry.systems.loading import find_model, load_system

FirstShare = Literal[0, 10]
"""What a rollout may begin with: in shadow, or at the first step."""


def rollout_start(
    context: ReleaseContext,
    challenger: str,
    at: datetime,
    reason: str,
    graded_from: date | None = None,
    from_serial: int | None = None,
    share: FirstShare = 0,
) -> Moved:
    """Begin a rollout: in shadow, where the challenger is scored and graded and serves nobody, or at the first step.

    Args:
        challenger: the id of a published or registered model, or a rule ('mock', 'moving_average').
        graded_from: the first game date it is judged on; None is the day of `at`.
        from_serial: the state to start from; None is the one that the pointer holds now.
        share: 10 needs evidence: the verdict of a bundle of ours, the backtest of a registered model. A challenger
            that is in shadow may be given it without waiting for its grades.

    Raises:
        ReleaseError: there is no champion, another rollout is under way, the challenger is the champion, an external
            model has no evidence for a share, or somebody else moved the channel meanwhile.
        BundleError: the challenger is not whole.
    """
    require_reason(reason)
    model = find_model(context.objects, challenger)
    prove = cache(partial(require_evidence, context, model, share))

    def decide(present: Channel | None) -> Channel | None:
        if present is None:
            raise ReleaseError("A rollout needs a champion to be compared with: `nba-ml champion promote` first.")
        shadow = present.share == 0 and present.challenger == model and share > 0
        if present.rolling_out and present.challenger is not None and not shadow:
            raise ReleaseError(
                f"{present.challenger.model_id} is being rolled out at {present.share}%. `nba-ml rollout advance` or "
                "`stop` it before another one starts."
            )
        if present.champion == model:
            raise ReleaseError(f"{model.model_id} is the champion: it serves everybody already.")
        proof = prove() if model.is_external and share > 0 else None
        return next_state(
            present,
            kind="rollout_start",
            reason=reason if proof is None else f"{reason.strip().rstrip('.')}. {proof.said}.",
            at=at,
            evidence=proof and proof.evidence,
            challenger=model,
            share=share,
            graded_from=graded_from or at.date(),
            set_aside=tuple(each for each in present.set_aside if each != model.model_id),
        )

    def is_ours(_: Channel | None, after: Channel) -> bool:
        same = (after.kind, after.challenger, after.share) == ("rollout_start", model, share)
        return same and graded_from in (None, after.graded_from)

    return move_from(context.objects, starting_serial(context.objects, from_serial), decide, is_ours)


@dataclass(frozen=True, slots=True)
class RolloutStatus:
    """How a rollout stands: the present state, what the grades since the last step say, and what they mean.

    `backtest` is that of an external challenger on all stored rows that it was not given; None for any other.
    """

    channel: Channel
    evidence: Evidence | None
    step: Step
    backtest: Backtest | None = None


def rollout_status(context: ReleaseContext, until: date | None = None) -> RolloutStatus:
    """Grade champion and challenger on the games since the last step, up to `until` (inclusive; None is all).

    Both are scored on every one of these games, whoever served it.

    Raises:
        ReleaseError: there is no challenger.
        BundleError: one of the two is not whole.
    """
    present = read_channel(context.objects)
    if present is None:
        raise ReleaseError("There is no champion yet, and so no rollout.")
    return _status(context, present, until)


def _status(context: ReleaseContext, present: Channel, until: date | None) -> RolloutStatus:
    if present.challenger is None or present.graded_from is None:
        raise ReleaseError("No challenger is named. `nba-ml rollout start MODEL_ID` begins a rollout.")
    champion, challenger = (
        load_system(context.objects, each, context.threads) for each in (present.champion, present.challenger)
    )
    tables = context.snapshots(month_of(present.graded_from))
    margin = context.limits.rollout_margin
    rows = rows_later_than(champion, challenger, list(tables.values()), present.graded_from, until or date.max)
    evidence = compare_systems(champion, challenger, rows, margin, V2_33FEATURES)
    step = judge_step(evidence, context.limits.min_rows_per_step, margin, context.limits.bias)
    proof = backtest(context, challenger) if present.challenger.is_external else None
    return RolloutStatus(present, evidence, step if proof is None else _proven(step, proof, present), proof)


def _proven(step: Step, proof: Backtest, present: Channel) -> Step:
    """A step of an external challenger, which has no share without evidence from stored rows.

    Without it a challenger in shadow waits, and one that serves goes back to 0. Where rows alone are missing, a share
    that was given on evidence stays: the store of this machine lacks months, and the model is what it was.
    """
    if proof.passed or step.action == "stop":
        return step.model_copy(update={"said": f"{step.said}. On stored rows: {proof.said}"})
    without = f"no share without evidence from stored rows. {proof.said}"
    stays = present.share == 0 or (proof.too_few and present.evidence is not None)
    return Step(action="wait" if stays else "stop", said=f"{without}. Beside the champion: {step.said}")


def rollout_advance(
    context: ReleaseContext, at: datetime, until: date | None = None, from_serial: int | None = None
) -> tuple[RolloutStatus, Moved]:
    """Take the next step if the grades allow it, go back to a share of 0 if they forbid it, else leave it.

    An external challenger needs its backtest besides, at every step.

    The next step is judged on games after those of this one. After 100% the challenger is the champion.

    Args:
        from_serial: the state to start from; None is whatever state is the last.

    Returns:
        How the rollout stood, by the history if an earlier run from the same serial took the step; and the move.

    Raises:
        ReleaseError: no rollout is under way, or a rule would come to serve everybody.
        BundleError: one of the two is not whole.
    """
    status: RolloutStatus | None = None

    def decide(present: Channel | None) -> Channel | None:
        nonlocal status
        if present is None:
            raise ReleaseError("There is no champion yet, and so no rollout.")
        if not present.rolling_out:
            next_share(present)  # says that there is none
        status = _status(context, present, until)
        evidence, challenger = status.evidence, present.challenger
        if status.step.action == "stop":
            return stopped(present, at, status.step.said, evidence)
        if status.step.action == "wait" or evidence is None or challenger is None:
            return None
        share = next_share(present)
        if share is None:
            return promoted_state(present, challenger, at, "rollout_finish", status.step.said, evidence, ())
        return next_state(
            present,
            kind="rollout_advance",
            reason=status.step.said,
            at=at,
            share=share,
            graded_from=date.fromordinal(evidence.last.toordinal() + 1),
            evidence=evidence,
        )

    def is_ours(_: Channel | None, after: Channel) -> bool:
        graded = after.kind == "rollout_stop" and after.evidence is not None
        return graded or after.kind in ("rollout_advance", "rollout_finish")

    moved = move_from(context.objects, from_serial, decide, is_ours)
    if moved.already is not None:
        state = moved.already
        step = Step(action="stop" if state.kind == "rollout_stop" else "advance", said=state.reason.rstrip("."))
        status = RolloutStatus(state, state.evidence, step)
    if status is None:
        raise ReleaseError("No rollout is under way.")
    return status, moved
