"""The way back: who serves, who served, and one command that lets an earlier champion serve again.

Beside `promotion` and `rollout`, which go forward, because this one has no time: it imports neither models nor tables,
and a rollback is done within the second. What belongs here: show, history, rollback, stop.
"""

from __future__ import annotations

from datetime import datetime
from itertools import chain

from nba_ml.contract.errors import ReleaseError
from nba_ml.registry.channel import (
    Channel,
    ChannelModel,
    newest_state_ahead,
    next_state,
    read_channel,
    read_history,
    read_state,
)
from nba_ml.registry.moves import Moved, why_not_carried_out
from nba_ml.registry.repeatable import move_from, starting_serial
from nba_ml.registry.states import put_aside, require_reason, stopped
from nba_ml.storage.objects import ObjectStore


def show(objects: ObjectStore) -> Channel | None:
    """The channel as workers see it; None before the first champion."""
    return read_channel(objects)


def unfinished(objects: ObjectStore, present: Channel) -> Channel | None:
    """The newest state of the history, if the pointer holds `present` and not that one; the next move goes there."""
    return newest_state_ahead(objects, present)


def history(objects: ObjectStore, newest: int | None = None) -> list[Channel]:
    """The channel's states, oldest first."""
    return read_history(objects, newest)


def why_stuck(objects: ObjectStore, present: Channel, ahead: Channel) -> str:
    """Why the next move cannot bring the pointer from `present` to the recorded `ahead`; '' if it can."""
    return why_not_carried_out(objects, present, ahead)


def rollback(
    objects: ObjectStore, at: datetime, reason: str, to: str | None = None, from_serial: int | None = None
) -> Moved:
    """Let an earlier champion serve again, alone, at once: a rollout that is under way ends with it.

    Only digests are looked at, no rows. The model that is left is set aside.

    Args:
        to: the id of an earlier champion; None is the one before, unless the champion was itself rolled back to.
        from_serial: the state to roll back from; None is the one that the pointer holds now.

    Raises:
        ReleaseError: there is no earlier champion, `to` never was one, the champion was rolled back to and `to` is
            None, or somebody else moved the channel meanwhile.
        BundleError: the model to go back to is missing or damaged.
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
            set_aside=put_aside(present, present.champion.model_id, but=target.model_id),
        )

    def is_ours(before: Channel | None, after: Channel) -> bool:
        if before is None or after.kind != "rollback":
            return False
        return after.champion.model_id == to if to else after.champion in before.earlier[:1]

    return move_from(objects, starting_serial(objects, from_serial), decide, is_ours)


def _require_not_rolled_back_to(objects: ObjectStore, present: Channel) -> None:
    """Pass silently if the champion came by a promotion or a rollout: a rollback asked for twice goes back once."""
    state = present
    while state.kind in ("rollout_start", "rollout_advance", "rollout_stop") and state.serial > 1:
        state = read_state(objects, state.serial - 1)
    if state.kind != "rollback":
        return
    further = f" `--to {present.earlier[0].model_id}` goes one further back." if present.earlier else ""
    raise ReleaseError(
        f"{present.champion.model_id} serves since the rollback of serial {state.serial} ({state.reason.rstrip('.')}). "
        f"If it must go too, name the model that is to serve: --to MODEL_ID.{further} `nba-ml champion history` lists "
        "those that served."
    )


def _earlier_champion(objects: ObjectStore, present: Channel, to: str | None) -> ChannelModel:
    if to is None:
        if not present.earlier:
            raise ReleaseError(
                f"No champion before {present.champion.model_id} is left to go back to. Name one of the history "
                "(`nba-ml champion history`) with --to."
            )
        return present.earlier[0]
    before = chain(present.earlier, (state.champion for state in reversed(read_history(objects))))
    for model in before:
        if model.model_id == to:
            return model
    raise ReleaseError(
        f"{to} never was the champion, so it cannot be rolled back to. `nba-ml champion history` lists those that "
        "were; `nba-ml champion promote` makes a new one."
    )


def rollout_stop(
    objects: ObjectStore, at: datetime, reason: str, *, forget: bool = False, from_serial: int | None = None
) -> Moved:
    """Take the challenger's share back to 0, at once. It stays in shadow unless it is forgotten.

    Args:
        from_serial: the state to start from; None is the one that the pointer holds now.

    Raises:
        ReleaseError: no challenger is named, or somebody else moved the channel meanwhile.
    """
    require_reason(reason)

    def decide(present: Channel | None) -> Channel | None:
        if present is None or present.challenger is None:
            raise ReleaseError("No rollout is under way, so there is nothing to stop.")
        if not present.rolling_out and not forget:
            return None
        state = stopped(present, at, reason, None)
        return state.model_copy(update={"challenger": None, "graded_from": None}) if forget else state

    def is_ours(_: Channel | None, after: Channel) -> bool:
        return after.kind == "rollout_stop" and (after.challenger is None) == forget

    return move_from(objects, starting_serial(objects, from_serial), decide, is_ours)
