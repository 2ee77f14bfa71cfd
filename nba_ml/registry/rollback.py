"""Return to an earlier champion, or stop a rollout.

Separate from `promotion` and `rollout`, because it must be fast: it imports neither models nor tables, and a rollback
takes less than a second.
"""

from __future__ import annotations

from datetime import datetime
from itertools import chain

from nba_ml.contract.errors import ReleaseError
from nba_ml.registry.channel import Channel, ChannelModel, next_state, read_history, read_state
from nba_ml.registry.moves import MoveResult
from nba_ml.registry.repeatable import move_from, starting_serial
from nba_ml.registry.states import add_set_aside, require_reason, stopped_state
from nba_ml.storage.objects import ObjectStore


def rollback(
    objects: ObjectStore, at: datetime, reason: str, to: str | None = None, from_serial: int | None = None
) -> MoveResult:
    """Let an earlier champion serve again, alone and immediately. A rollout in progress ends.

    Only digests are verified, no rows are predicted. The replaced model is set aside.

    Args:
        to: the id of an earlier champion. None is the previous one, which is refused directly after a rollback.
        from_serial: the state to roll back from; None is the pointer's state.

    Raises:
        ReleaseError: there is no earlier champion, `to` was never one, `to` is None directly after a rollback, or the
            channel was moved meanwhile.
        BundleError: the model to return to is missing or damaged.
    """
    require_reason(reason)

    def decide(present: Channel | None) -> Channel | None:
        if present is None:
            raise ReleaseError("There is no champion yet, so there is nothing to roll back.")
        if to == present.champion.model_id:
            return None
        if to is None:
            _require_not_rolled_back_to(objects, present)
        target = _earlier_champion(objects, present, to)
        place = present.earlier.index(target) if target in present.earlier else -1
        return next_state(
            present,
            kind="rollback",
            reason=reason,
            at=at,
            champion=target,
            challenger=None,
            share=0,
            graded_from=None,
            earlier=present.earlier[place + 1 :],
            set_aside=add_set_aside(present, present.champion.model_id, without=target.model_id),
        )

    def is_same_move(before: Channel | None, after: Channel) -> bool:
        if before is None or after.kind != "rollback":
            return False
        return after.champion.model_id == to if to else after.champion in before.earlier[:1]

    return move_from(objects, starting_serial(objects, from_serial), decide, is_same_move)


def _require_not_rolled_back_to(objects: ObjectStore, present: Channel) -> None:
    """Require that the champion came from a promotion or a rollout: a repeated rollback must not go back twice."""
    state = present
    while state.kind in ("rollout_start", "rollout_advance", "rollout_stop") and state.serial > 1:
        state = read_state(objects, state.serial - 1)
    if state.kind != "rollback":
        return
    further = f" The one before it: --to {present.earlier[0].model_id}." if present.earlier else ""
    raise ReleaseError(
        f"{present.champion.model_id} has served since the rollback of serial {state.serial} "
        f"({state.reason.rstrip('.')}). To replace it too, name the model that is to serve: --to MODEL_ID.{further} "
        "`nba-ml champion history` lists the earlier champions."
    )


def _earlier_champion(objects: ObjectStore, present: Channel, to: str | None) -> ChannelModel:
    if to is None:
        if not present.earlier:
            raise ReleaseError(
                f"There is no champion before {present.champion.model_id} to return to. Name one from `nba-ml champion "
                "history` with --to."
            )
        return present.earlier[0]
    before = chain(present.earlier, (state.champion for state in reversed(read_history(objects))))
    for model in before:
        if model.model_id == to:
            return model
    raise ReleaseError(
        f"{to} was never the champion, so it cannot be rolled back to. `nba-ml champion history` lists the earlier "
        "champions; `nba-ml champion promote` makes a new one."
    )


def rollout_stop(
    objects: ObjectStore, at: datetime, reason: str, *, forget: bool = False, from_serial: int | None = None
) -> MoveResult:
    """Set the challenger's share to 0 immediately. It stays in shadow unless `forget` is true.

    Args:
        from_serial: the state to start from; None is the pointer's state.

    Raises:
        ReleaseError: there is no challenger, or the channel was moved meanwhile.
    """
    require_reason(reason)

    def decide(present: Channel | None) -> Channel | None:
        if present is None or present.challenger is None:
            raise ReleaseError("No rollout is in progress, so there is nothing to stop.")
        if not present.rolling_out and not forget:
            return None
        state = stopped_state(present, at, reason, None)
        return state.model_copy(update={"challenger": None, "graded_from": None}) if forget else state

    def is_same_move(_: Channel | None, after: Channel) -> bool:
        return after.kind == "rollout_stop" and (after.challenger is None) == forget

    return move_from(objects, starting_serial(objects, from_serial), decide, is_same_move)
