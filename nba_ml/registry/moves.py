"""Moving a channel: a move is recorded, then applied, and reported only after it was read back.

A move creates the next state in the history and then advances the pointer:

1. Read the pointer. If the history is ahead of it, a move was interrupted before step 3, or the pointer was removed or
   replaced by an old copy: verify the models of the newest state and advance the pointer to it. Then decide.
2. Verify the models that are new in the next state, and create `history/<serial + 1>.json`. If several processes try,
   exactly one succeeds; this decides the move.
3. Swap the pointer on the generation that was read, and read it back.

A process that finds the next state taken in step 2 lost a race. It starts again: it applies the winner's move, in case
the winner died, and decides against the new champion. So decisions are always based on the last state, and neither an
interrupted process nor an old copy of the pointer undoes a recorded move.

A swap fails on its generation for one of two reasons. Either another process was faster: the pointer then holds this
state or a later one. Or something else rewrote the pointer (a copy, a key rotation, a restored backup): it then holds
an older state and is swapped again on its new generation. So the pointer only moves forward.

If the models of the newest state are missing or damaged, that state is not applied. It can be skipped: the next state
is decided and recorded as usual, and the pointer is swapped directly to it.

`channel` defines the states; `promotion` and `rollout` choose the model.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from nba_ml.contract.errors import BundleError, ChannelError, PublicationError, ReleaseError, SettingsError
from nba_ml.registry.channel import CHAMPION, Channel, ChannelModel, history_name, newest_state_ahead, read_state
from nba_ml.registry.reader import reads_from, require_intact
from nba_ml.storage.objects import GenerationMismatchError, ObjectExistsError, ObjectStore

SWAPS = 5
"""Maximum swaps per move if something else keeps overwriting the pointer with old states."""

_REFUSALS = (PublicationError, SettingsError)
"""What a store raises if it rejects a request, cannot be reached, or no longer accepts the credentials."""

Decide = Callable[[Channel | None], Channel | None]
"""Current state (None before the first) -> next state, with the following serial; None for no move."""

Verify = Callable[[ObjectStore, ChannelModel], None]
"""Raises BundleError for a model whose bundle is missing or damaged."""


def require_model_intact(store: ObjectStore, model: ChannelModel) -> None:
    """Require that the model's objects are the ones that the channel names.

    Raises:
        BundleError: an object is missing or damaged.
        ChannelError: the model is a rule, which has no manifest.
    """
    require_intact(reads_from(store), model.manifest, model.manifest_sha256)


class UnfinishedMoveError(PublicationError):
    """The store failed during a move. The message says what is known, and when the move will be applied.

    `wanted` is the state to be reached; None if the store failed before that was decided. `from_serial` is the serial
    to repeat the command with; None if it is not known.
    """

    def __init__(self, message: str, wanted: Channel | None, from_serial: int | None = None) -> None:
        super().__init__(message)
        self.wanted = wanted
        self.from_serial = from_serial


@dataclass(frozen=True, slots=True)
class MoveResult:
    """The result of a move. `moved` is False if the decision was not to move.

    `caught_up_to` is the state that the pointer was first advanced to because the history was ahead of it; None if it
    was not. `already` is the state in which an earlier run of the same command made this move. `later` is the pointer's
    state when it was read back, if other processes had moved it beyond `channel` by then.
    """

    channel: Channel | None
    moved: bool
    caught_up_to: Channel | None = None
    already: Channel | None = None
    later: Channel | None = None

    @property
    def serving(self) -> Channel | None:
        """The pointer's state when it was last read."""
        return self.later or self.channel

    @property
    def catch_up_note(self) -> str:
        """A sentence if the pointer was first advanced to the newest state; '' if it was not."""
        return "" if self.caught_up_to is None else _catch_up_sentence(self.caught_up_to)


def _catch_up_sentence(state: Channel) -> str:
    return (
        "The pointer was behind its history (a move was interrupted or in progress, or the pointer was removed or "
        f"replaced by an old copy). It was first advanced to the newest state: serial {state.serial}, {state.kind}, in "
        f"which {state.champion.model_id} serves."
    )


@dataclass(frozen=True, slots=True)
class _Pointer:
    """The pointer's state, and the generation to swap it on; both None if there is no pointer."""

    state: Channel | None
    generation: str | None

    @classmethod
    def read(cls, store: ObjectStore) -> _Pointer:
        found = store.read(CHAMPION)
        if found is None:
            return cls(None, None)
        return cls(Channel.from_bytes(found.data, store.uri(CHAMPION)), found.generation)


def move_channel(store: ObjectStore, decide: Decide, verify: Verify = require_model_intact) -> MoveResult:
    """Move the channel to the state that `decide` returns.

    If the process is killed, the move was either made or not; a recorded move is applied by the next one. `decide` gets
    the last state of the history, and is called again whenever another process was faster. Its errors are passed on,
    without a move.

    Args:
        verify: checks a model before the pointer moves to it.

    Raises:
        ChannelError: the pointer or a state is damaged, or `decide` returned a state with a wrong serial.
        BundleError: a model of the next state, or of a recorded but unapplied state, is missing or damaged.
        UnfinishedMoveError: the store failed, and the move may be recorded, or is recorded but not applied.
        PublicationError: the store failed before anything was written.
    """
    caught_up_to: Channel | None = None
    while True:
        pointer = _Pointer.read(store)
        ahead = newest_state_ahead(store, pointer.state)
        stuck = "" if ahead is None else why_not_applied(store, pointer.state, ahead, verify)
        if ahead is not None and not stuck:
            caught_up_to = ahead
            try:
                _advance_pointer(store, ahead, pointer)
            except UnfinishedMoveError as error:
                raise UnfinishedMoveError(str(error), None) from error
            continue
        present = ahead or pointer.state
        note = " ".join(filter(None, [stuck, _catch_up_sentence(caught_up_to) if caught_up_to else ""]))
        wanted = _decide(decide, present, note)
        if wanted is None:
            if stuck:
                raise BundleError(stuck)
            return MoveResult(present, False, caught_up_to)
        serial = present.serial + 1 if present else 1
        if wanted.serial != serial:
            raise ChannelError(f"The state after serial {serial - 1} must have serial {serial}, not {wanted.serial}.")
        _verify_new_models(store, pointer.state, wanted, verify)
        if not _record(store, wanted):
            continue
        held = _advance_pointer(store, wanted, pointer)
        return MoveResult(wanted, True, caught_up_to, later=None if held == wanted else held)


def why_not_applied(
    store: ObjectStore, held: Channel | None, ahead: Channel, verify: Verify = require_model_intact
) -> str:
    """Why the pointer cannot move from `held` to a recorded state, and what to do; '' if it can."""
    try:
        _verify_new_models(store, held, ahead, verify)
    except BundleError as error:
        return (
            f"Serial {ahead.serial} of the history ({ahead.kind}, {ahead.champion.model_id} serves) was recorded but "
            f"cannot be applied: {error} The pointer is unchanged: {_serving(held)}. Restore the bundle, and the next "
            f"command applies it; or skip that state with `{_command_to_skip(held, ahead)}`."
        )
    return ""


def _command_to_skip(held: Channel | None, ahead: Channel) -> str:
    rest = f'--from-serial {ahead.serial} --reason "..."'
    if held is not None and held.champion == ahead.champion:
        return f"nba-ml rollout stop --forget {rest}"
    return f"nba-ml champion rollback --to {held.champion.model_id if held else 'MODEL_ID'} {rest}"


def _serving(held: Channel | None) -> str:
    return f"{held.champion.model_id} serves (serial {held.serial})" if held else "there is none, so nothing serves"


def _verify_new_models(store: ObjectStore, held: Channel | None, state: Channel, verify: Verify) -> None:
    """Verify each model whose role differs from that in the pointer's state; the others were verified before."""
    pairs = (
        (state.champion, held.champion if held else None),
        (state.challenger, held.challenger if held else None),
    )
    for model, before in pairs:
        if model is not None and model != before and model.manifest_sha256 is not None:
            verify(store, model)


def _decide(decide: Decide, present: Channel | None, note: str) -> Channel | None:
    """Call `decide`; `note` is appended to its error messages."""
    try:
        return decide(present)
    except (ReleaseError, BundleError) as error:
        if not note:
            raise
        raise type(error)(f"{error} {note}") from error


def _record(store: ObjectStore, wanted: Channel) -> bool:
    """Create the state in the history. False if another mover was faster."""
    name, data = history_name(wanted.serial), wanted.to_bytes()
    try:
        store.create(name, data)
    except ObjectExistsError:
        return False
    except _REFUSALS as error:
        try:
            found = store.read(name)
        except _REFUSALS:
            raise UnfinishedMoveError(
                f"{error} It is not known whether the move was recorded as serial {wanted.serial} of the history. If "
                "it was, the next command that moves the channel applies it.",
                wanted,
            ) from error
        if found is None:
            raise UnfinishedMoveError(
                f"{error} The move is not in the history, so nothing has changed.", wanted
            ) from error
        return found.data == data
    return True


def _advance_pointer(store: ObjectStore, state: Channel, pointer: _Pointer) -> Channel:
    """Advance the pointer to a recorded state; returns the state that was read back, which may be a later one.

    Raises:
        UnfinishedMoveError: the pointer could not be advanced, or it is not known whether it was.
        ChannelError: the pointer holds a state that is not in the history.
    """
    refusal: PublicationError | SettingsError | None = None
    for _ in range(SWAPS):
        try:
            if pointer.generation is None:
                store.create(CHAMPION, state.to_bytes())
            else:
                store.swap(CHAMPION, state.to_bytes(), pointer.generation)
        except (ObjectExistsError, GenerationMismatchError):
            pass  # by another move or by something else: the next read shows which
        except _REFUSALS as error:
            refusal = error
        try:
            pointer = _Pointer.read(store)
        except (*_REFUSALS, ChannelError) as error:
            raise _not_applied(refusal or error, state, "it is not known whether the pointer holds it") from error
        held = pointer.state
        if held is not None and held.serial >= state.serial:
            if held != state and held != read_state(store, held.serial):
                raise ChannelError(
                    f"{store.uri(CHAMPION)} holds a state of serial {held.serial} that differs from the one in its "
                    f"history. Restore it from {store.uri(history_name(held.serial))}."
                )
            return held
        if refusal is not None:
            break
    cause = refusal or f"Something else overwrote {store.uri(CHAMPION)} with an older state {SWAPS} times."
    raise _not_applied(cause, state, f"until then, {_serving(pointer.state)}") from refusal


def _not_applied(cause: Exception | str, state: Channel, meanwhile: str) -> UnfinishedMoveError:
    return UnfinishedMoveError(
        f"{cause} The move ({state.kind}, {state.champion.model_id} serves) is recorded in the history as serial "
        f"{state.serial}, and the next command that moves the channel applies it; {meanwhile}.",
        state,
    )
