"""How a channel moves: recorded first, carried out then, and reported only after it was read back.

A move creates the next state in the history and then lets the pointer follow:

1. read the pointer. If the history is ahead of it, a mover died before step 3, or somebody set the pointer back or
   removed it: verify the models of the newest state, and let the pointer follow to it first. Then decide on the state
   after it;
2. verify the models that are new in it, and create `history/<serial + 1>.json`. Of any number of movers one succeeds:
   this is the moment of the move;
3. swap the pointer, on the generation that was read, for those very bytes, and read it back.

Who finds the next state taken in step 2 lost a race: they begin again, so they do step 3 for the winner, who may be
dead, and decide against the new champion. Nobody decides against a state that is not the last, and neither a death nor
an old copy of the pointer leaves it behind once somebody moves.

A swap that is refused for its generation has one of two reasons. Another mover was faster: the pointer then holds this
state or a later one. Or something wrote the pointer anew (a copy, a key rotation, a restored backup): it then holds an
older state, and is swapped again on its new generation. So the pointer only ever moves forward.

A newest state whose models are missing or damaged is left where it is, and the pointer too. It can be passed over: the
state after it is decided and recorded like any other, and the pointer goes straight there.

What belongs here: the mechanics. What does not: the form of a state (`channel`), which model deserves it (`promotion`,
`rollout`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from nba_ml.contract.errors import BundleError, ChannelError, PublicationError, ReleaseError, SettingsError
from nba_ml.registry.channel import CHAMPION, Channel, ChannelModel, history_name, newest_state_ahead, read_state
from nba_ml.registry.reader import reads_from, require_intact
from nba_ml.storage.objects import GenerationMismatchError, ObjectExistsError, ObjectStore

SWAPS = 5
"""Times that one move swaps the pointer while something else keeps writing old states over it."""

_REFUSALS = (PublicationError, SettingsError)
"""What a store raises that refuses, cannot be reached, or no longer knows who asks."""

Decide = Callable[[Channel | None], Channel | None]
"""From the present state (None before the first) to the next, of the serial after it; None to leave it so."""

Verify = Callable[[ObjectStore, ChannelModel], None]
"""Raises BundleError for a model whose bundle is missing or damaged."""


def require_model_intact(store: ObjectStore, model: ChannelModel) -> None:
    """Pass silently where the model is, byte for byte, what the channel names.

    Raises:
        BundleError: a part of it is missing or damaged.
        ChannelError: it is a rule, which has no manifest.
    """
    require_intact(reads_from(store), model.manifest, model.manifest_sha256)


class UnfinishedMoveError(PublicationError):
    """The store failed in the middle of a move. The message says what is known of it, and who will carry it out.

    `wanted` is the state that the move was to make; None if the failure came before there was one. `from_serial` is
    the serial that the move started from, with which it can be asked for again; None if it had none yet.
    """

    def __init__(self, message: str, wanted: Channel | None, from_serial: int | None = None) -> None:
        super().__init__(message)
        self.wanted = wanted
        self.from_serial = from_serial


@dataclass(frozen=True, slots=True)
class Moved:
    """What came of a move. `moved` is False if the decision was to leave `channel` as it is.

    `followed` is the state that the pointer was brought to first, because the history was ahead of it; None if the
    pointer was where it belongs. `already` is the state in which an earlier run of the same command made this very
    move. `later` is what the pointer held when it was read back, if others had moved it on from `channel` by then.
    """

    channel: Channel | None
    moved: bool
    followed: Channel | None = None
    already: Channel | None = None
    later: Channel | None = None

    @property
    def serving(self) -> Channel | None:
        """What the pointer was last seen to hold."""
        return self.later or self.channel

    @property
    def said_of_following(self) -> str:
        """That the pointer was brought forward, in a sentence; '' if it was not."""
        return "" if self.followed is None else _brought_to(self.followed)


def _brought_to(state: Channel) -> str:
    return (
        "The pointer was behind its history (a move that died half-way or is under way, or an old copy of the pointer, "
        f"or none) and was first brought to the newest state, serial {state.serial}, a {state.kind}, in which "
        f"{state.champion.model_id} serves."
    )


@dataclass(frozen=True, slots=True)
class _Pointer:
    """What the pointer holds, and the generation to swap it on; both None if there is none."""

    state: Channel | None
    generation: str | None

    @classmethod
    def read(cls, store: ObjectStore) -> _Pointer:
        found = store.read(CHAMPION)
        if found is None:
            return cls(None, None)
        return cls(Channel.from_bytes(found.data, store.uri(CHAMPION)), found.generation)


def move_channel(store: ObjectStore, decide: Decide, verify: Verify = require_model_intact) -> Moved:
    """Bring the channel into the state that `decide` makes of the present one.

    Killed at any point it has moved or not, and whoever moves next finishes what was begun, whatever it decides then.
    `decide` is given the last state of the history, and is asked anew each time that another mover was faster, so it
    sees the champion that it would replace. What it raises passes through, and it moved nothing.

    Args:
        verify: what a model must pass before the pointer moves to it.

    Raises:
        ChannelError: the pointer or a state in the history is damaged, or `decide` gave a serial that does not follow.
        BundleError: a model of the next state, or of one that is recorded and not carried out, is missing or damaged.
        UnfinishedMoveError: the store failed, and the move may be recorded, or is recorded and not carried out.
        PublicationError: the store failed before anything was written.
    """
    followed: Channel | None = None
    while True:
        pointer = _Pointer.read(store)
        ahead = newest_state_ahead(store, pointer.state)
        stuck = "" if ahead is None else why_not_carried_out(store, pointer.state, ahead, verify)
        if ahead is not None and not stuck:
            followed = ahead
            try:
                _follow(store, ahead, pointer)
            except UnfinishedMoveError as error:
                raise UnfinishedMoveError(str(error), None) from error
            continue
        present = ahead or pointer.state
        wanted = _decided(decide, present, " ".join(filter(None, [stuck, _brought_to(followed) if followed else ""])))
        if wanted is None:
            if stuck:
                raise BundleError(stuck)
            return Moved(present, False, followed)
        serial = present.serial + 1 if present else 1
        if wanted.serial != serial:
            raise ChannelError(f"The state after serial {serial - 1} has serial {serial}, not {wanted.serial}.")
        _verify_new_models(store, pointer.state, wanted, verify)
        if not _record(store, wanted):
            continue
        held = _follow(store, wanted, pointer)
        return Moved(wanted, True, followed, later=None if held == wanted else held)


def why_not_carried_out(
    store: ObjectStore, held: Channel | None, ahead: Channel, verify: Verify = require_model_intact
) -> str:
    """Why the pointer, which holds `held`, cannot be brought to a recorded state, and the way out; '' if it can."""
    try:
        _verify_new_models(store, held, ahead, verify)
    except BundleError as error:
        return (
            f"Serial {ahead.serial} of the history, a {ahead.kind} in which {ahead.champion.model_id} serves, was "
            f"recorded and cannot be carried out: {error} The pointer was left as it is: {_serves(held)}. Restore the "
            f"bundle, and the next command carries it out; or pass over that state with `{_way_out(held, ahead)}`."
        )
    return ""


def _way_out(held: Channel | None, ahead: Channel) -> str:
    rest = f'--from-serial {ahead.serial} --reason "..."'
    if held is not None and held.champion == ahead.champion:
        return f"nba-ml rollout stop --forget {rest}"
    return f"nba-ml champion rollback --to {held.champion.model_id if held else 'MODEL_ID'} {rest}"


def _serves(held: Channel | None) -> str:
    return f"{held.champion.model_id} serves (serial {held.serial})" if held else "there is none, and nothing serves"


def _verify_new_models(store: ObjectStore, held: Channel | None, state: Channel, verify: Verify) -> None:
    """Verify each model that has another role than in what the pointer holds: a role that stays needs no new proof."""
    pairs = (
        (state.champion, held.champion if held else None),
        (state.challenger, held.challenger if held else None),
    )
    for model, before in pairs:
        if model is not None and model != before and model.manifest_sha256 is not None:
            verify(store, model)


def _decided(decide: Decide, present: Channel | None, beside: str) -> Channel | None:
    """What `decide` makes of the present state. `beside` is added to what it raises."""
    try:
        return decide(present)
    except (ReleaseError, BundleError) as error:
        if not beside:
            raise
        raise type(error)(f"{error} {beside}") from error


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
                f"{error} Whether the move was recorded, as serial {wanted.serial} of the history, is not known. If it "
                "was, the next command that moves the channel carries it out.",
                wanted,
            ) from error
        if found is None:
            raise UnfinishedMoveError(
                f"{error} The move is not in the history, so nothing has changed.", wanted
            ) from error
        return found.data == data
    return True


def _follow(store: ObjectStore, state: Channel, pointer: _Pointer) -> Channel:
    """Bring the pointer to a recorded state, and return what it was read back as holding: that state or a later one.

    Raises:
        UnfinishedMoveError: it could not be brought there, or it is not known whether it was.
        ChannelError: somebody put a state into the pointer that the history does not have.
    """
    refusal: PublicationError | SettingsError | None = None
    for _ in range(SWAPS):
        try:
            if pointer.generation is None:
                store.create(CHAMPION, state.to_bytes())
            else:
                store.swap(CHAMPION, state.to_bytes(), pointer.generation)
        except (ObjectExistsError, GenerationMismatchError):
            pass  # by another mover, or by something that is none: what it holds now tells
        except _REFUSALS as error:
            refusal = error
        try:
            pointer = _Pointer.read(store)
        except (*_REFUSALS, ChannelError) as error:
            raise _not_carried_out(
                refusal or error, state, "whether the pointer holds it already is not known"
            ) from error
        held = pointer.state
        if held is not None and held.serial >= state.serial:
            if held != state and held != read_state(store, held.serial):
                raise ChannelError(
                    f"{store.uri(CHAMPION)} holds a state of serial {held.serial} that is not the one in its history. "
                    f"Restore it from {store.uri(history_name(held.serial))}."
                )
            return held
        if refusal is not None:
            break
    cause = refusal or f"{store.uri(CHAMPION)} was written over with an older state {SWAPS} times by something else."
    raise _not_carried_out(cause, state, f"until then {_serves(pointer.state)}") from refusal


def _not_carried_out(cause: Exception | str, state: Channel, meanwhile: str) -> UnfinishedMoveError:
    return UnfinishedMoveError(
        f"{cause} The {state.kind} in which {state.champion.model_id} serves is recorded in the history as serial "
        f"{state.serial}, and the next command that moves the channel carries it out; {meanwhile}.",
        state,
    )
