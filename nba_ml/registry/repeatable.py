"""Commands that move the channel are safe to repeat if their outcome is unknown.

The store may apply a swap although its response is lost. So a command states the serial that it starts from
(`--from-serial`): if it is repeated, it finds its own move in the history and does nothing. Imports neither models nor
tables, because `rollback` uses it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC

from nba_ml.contract.errors import NotVerifiedError, PublicationError, ReleaseError, SettingsError
from nba_ml.registry.channel import Channel, read_pointer, read_state
from nba_ml.registry.moves import Decide, MoveResult, UnfinishedMoveError, move_channel
from nba_ml.storage.objects import ObjectStore

IsSameMove = Callable[[Channel | None, Channel], bool]
"""(previous state or None, state) -> whether the command would have made this state."""


def starting_serial(objects: ObjectStore, from_serial: int | None) -> int | None:
    """The serial that a person's command starts from: the given one, or the pointer's.

    None if there is no pointer; the command then starts from the end of the history, if there is one.

    Raises:
        ChannelError: the pointer is damaged.
    """
    if from_serial is not None:
        return from_serial
    pointer = read_pointer(objects)
    return None if pointer is None else pointer.serial


def move_from(objects: ObjectStore, from_serial: int | None, decide: Decide, is_same_move: IsSameMove) -> MoveResult:
    """Move the channel from the state of a serial, at most once, however often the command is repeated.

    If the channel is beyond that serial and the state after it is the one that this command makes, an earlier run made
    the move: nothing is done, and `MoveResult.already` is that state.

    Args:
        from_serial: 0 for a channel without a state; None to decide on the last state, also if another process was
            faster: for decisions that depend on grades alone.
        decide: as for `move_channel`.
        is_same_move: recognises the state that this command makes.

    Raises:
        ReleaseError: the channel is not at that serial, because another command moved it.
        UnfinishedMoveError: the store failed before the outcome of the move was known.
    """
    already: Channel | None = None

    def decide_from(present: Channel | None) -> Channel | None:
        nonlocal already
        serial = present.serial if present else 0
        if from_serial is None or serial == from_serial:
            return decide(present)
        already = _earlier_move(objects, from_serial, present, is_same_move)
        return None

    try:
        done = move_channel(objects, decide_from)
    except NotVerifiedError:
        raise
    except (PublicationError, SettingsError) as error:
        wanted = error.wanted if isinstance(error, UnfinishedMoveError) else None
        start = wanted.serial - 1 if wanted is not None else from_serial
        if start is None:
            raise
        raise UnfinishedMoveError(str(error), wanted, start) from error
    return replace(done, already=already)


def _earlier_move(objects: ObjectStore, start: int, present: Channel | None, is_same_move: IsSameMove) -> Channel:
    """The state after `start`, if an earlier run of the same command made it.

    Raises:
        ReleaseError: another command made it, or the channel has not reached `start`.
    """
    if present is None or present.serial < start:
        at = f"at serial {present.serial}" if present else "empty: there is no champion yet"
        raise ReleaseError(f"There is no serial {start} to start from: the channel is {at}.")
    before = read_state(objects, start) if start else None
    after = read_state(objects, start + 1)
    if is_same_move(before, after):
        return after
    raise ReleaseError(
        f"Another command has moved the channel: {present.champion.model_id} serves now (serial {present.serial}, "
        f"{describe_move(present)}). This command started from serial {start}, and serial {start + 1} was made by "
        f"another command: {describe_move(after)}. Nothing was done. Check with `nba-ml champion show`, and repeat the "
        "command without --from-serial if it is still wanted."
    )


def describe_move(state: Channel) -> str:
    """A move as text: its kind, time, models and reason."""
    challenger = f", challenger {state.challenger.model_id} at {state.share}%" if state.challenger else ""
    moment = f"{state.moved_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    return f"{state.kind} of {moment}, champion {state.champion.model_id}{challenger}: {state.reason.rstrip('.')}"
