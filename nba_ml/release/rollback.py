"""The way back: who serves, who served, and one command that lets an earlier champion serve again.

Beside `promotion` and `rollout`, which go forward, because this one has no time: it imports neither models nor tables,
and a rollback is done within the second. What belongs here: show, history, rollback, stop.
"""

from __future__ import annotations

from datetime import datetime

from nba_ml.core.channel import (
    Channel,
    ChannelModel,
    Moved,
    move_channel,
    newest_state_ahead,
    next_state,
    read_channel,
    read_history,
    read_pointer,
)
from nba_ml.core.errors import ReleaseError
from nba_ml.core.object_store import ObjectStore
from nba_ml.core.wholeness import require_still_whole
from nba_ml.release.states import put_aside, require_reason, stopped


def show(objects: ObjectStore) -> Channel | None:
    """The channel as workers see it; None before the first champion."""
    return read_channel(objects)


def unfinished(objects: ObjectStore, present: Channel) -> Channel | None:
    """The newest state of the history, if the pointer holds `present` and not that one; the next move goes there."""
    return newest_state_ahead(objects, present)


def history(objects: ObjectStore, newest: int | None = None) -> list[Channel]:
    """The channel's states, oldest first."""
    return read_history(objects, newest)


def rollback(objects: ObjectStore, at: datetime, reason: str, to: str | None = None) -> Moved:
    """Let an earlier champion serve again, alone, at once: a rollout that is under way ends with it.

    Only digests are looked at, no rows. The model that is left is set aside.

    Args:
        to: the id of an earlier champion; None is the one before.

    Raises:
        ReleaseError: there is no earlier champion, `to` never was one, or somebody else moved the channel to a third
            model meanwhile.
        BundleError: the model to go back to is not whole.
    """
    require_reason(reason)
    seen = read_pointer(objects)
    left: ChannelModel | None = seen.champion if seen else None  # what this person wants to get away from

    def decide(present: Channel | None) -> Channel | None:
        nonlocal left
        if present is None:
            raise ReleaseError("There is no champion yet, so there is nothing to roll back.")
        left = left or present.champion
        if present.champion != left:
            # Another move away from the same model was faster, or had died half-way and was finished just now. Going
            # back from there would be going back twice: to a model that this person never meant.
            if to in (None, present.champion.model_id) and present.kind == "rollback":
                return None
            raise ReleaseError(
                f"Somebody else moved the channel meanwhile: {present.champion.model_id} serves now ({present.kind}: "
                f"{present.reason}). Look at it with `nba-ml champion show`, and roll back again if it must go too."
            )
        if to == present.champion.model_id:
            return None
        target = _earlier_champion(objects, present, to)
        require_still_whole(objects, target)
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

    return move_channel(objects, decide)


def _earlier_champion(objects: ObjectStore, present: Channel, to: str | None) -> ChannelModel:
    if to is None:
        if not present.earlier:
            raise ReleaseError(
                f"No champion before {present.champion.model_id} is left to go back to. Name one of the history "
                "(`nba-ml champion history`) with --to."
            )
        return present.earlier[0]
    before = [*present.earlier, *(state.champion for state in reversed(read_history(objects)))]
    for model in before:
        if model.model_id == to:
            return model
    raise ReleaseError(
        f"{to} never was the champion, so it cannot be rolled back to. `nba-ml champion history` lists those that "
        "were; `nba-ml champion promote` makes a new one."
    )


def rollout_stop(objects: ObjectStore, at: datetime, reason: str, *, forget: bool = False) -> Moved:
    """Take the challenger's share back to 0, at once. It stays in shadow unless it is forgotten.

    Raises:
        ReleaseError: no challenger is named.
    """
    require_reason(reason)

    def decide(present: Channel | None) -> Channel | None:
        if present is None or present.challenger is None:
            raise ReleaseError("No rollout is under way, so there is nothing to stop.")
        if present.share == 0 and not forget:
            return None
        state = stopped(present, at, reason, None)
        return state.model_copy(update={"challenger": None, "graded_from": None}) if forget else state

    return move_channel(objects, decide)
