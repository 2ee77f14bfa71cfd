"""A command that moves the channel, made safe to run again after an outcome that nobody knows.

The swap may land while its answer is lost. So a command states the serial that it starts from (`--from-serial`): run
again, it finds its own move in the history, and does nothing. Imports neither models nor tables: `rollback` uses it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC

from nba_ml.contract.errors import NotVerifiedError, PublicationError, ReleaseError, SettingsError
from nba_ml.registry.channel import Channel, read_pointer, read_state
from nba_ml.registry.moves import Decide, Moved, UnfinishedMoveError, move_channel
from nba_ml.storage.objects import ObjectStore

IsOurs = Callable[[Channel | None, Channel], bool]
"""Whether a state is what the command makes of the one before it (None: it is the first)."""


def starting_serial(objects: ObjectStore, from_serial: int | None) -> int | None:
    """The serial that a person's command starts from: the one given, or what workers see now.

    None where there is no pointer: the command then starts from the end of the history, if there is one.

    Raises:
        ChannelError: the pointer is damaged.
    """
    if from_serial is not None:
        return from_serial
    seen = read_pointer(objects)
    return None if seen is None else seen.serial


def move_from(objects: ObjectStore, from_serial: int | None, decide: Decide, is_ours: IsOurs) -> Moved:
    """Move the channel from the state of a serial, once, however often this is asked for.

    Where the channel is past that serial, and the state after it is what this command makes of it, the move was made
    by an earlier run: nothing is done, and `Moved.already` is that state.

    Args:
        from_serial: 0 for a channel without a first state; None to decide on whatever state is the last, also where
            another mover was faster: for decisions that grades alone make.
        decide: as of `move_channel`.
        is_ours: tells the state that this command makes from another's.

    Raises:
        ReleaseError: the channel is not at that serial, and it was another command that moved it.
        UnfinishedMoveError: the store failed before it was known what came of the move.
    """
    already: Channel | None = None

    def decide_from(present: Channel | None) -> Channel | None:
        nonlocal already
        serial = present.serial if present else 0
        if from_serial is None or serial == from_serial:
            return decide(present)
        already = _made_before(objects, from_serial, present, is_ours)
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


def _made_before(objects: ObjectStore, start: int, present: Channel | None, is_ours: IsOurs) -> Channel:
    """The state after `start`, which an earlier run of the same command made.

    Raises:
        ReleaseError: another command made it, or the channel has not come to `start`.
    """
    if present is None or present.serial < start:
        at = f"at serial {present.serial}" if present else "empty: there is no champion yet"
        raise ReleaseError(f"There is no serial {start} to start from: the channel is {at}.")
    before = read_state(objects, start) if start else None
    after = read_state(objects, start + 1)
    if is_ours(before, after):
        return after
    raise ReleaseError(
        f"Somebody else moved the channel meanwhile: {present.champion.model_id} serves now (serial {present.serial}, "
        f"{described(present)}). This command started from serial {start}, and serial {start + 1} is not what it would "
        f"have made: {described(after)}. Nothing was done. Look at it with `nba-ml champion show`, and run the command "
        "again without --from-serial if it is still wanted."
    )


def described(state: Channel) -> str:
    """A move in half a sentence: its kind, its model, when and why."""
    challenger = f" beside it {state.challenger.model_id} at {state.share}%" if state.challenger else ""
    moment = f"{state.moved_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    return f"{state.kind} of {moment}, champion {state.champion.model_id}{challenger}: {state.reason.rstrip('.')}"
