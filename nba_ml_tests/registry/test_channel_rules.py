"""Rollbacks, repeated commands and the states of a channel, on bundles of any bytes: no model is trained."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from nba_ml.contract.errors import BundleError, ChannelError, PublicationError, ReleaseError
from nba_ml.registry.channel import (
    CHAMPION,
    EARLIER,
    SET_ASIDE,
    Channel,
    ChannelModel,
    Evidence,
    _recorded_serials,
    history_name,
    newest_state_ahead,
    next_state,
    read_channel,
    read_history,
    read_pointer,
    read_state,
    require_no_history,
)
from nba_ml.registry.moves import (
    SWAPS,
    MoveResult,
    UnfinishedMoveError,
    move_channel,
    require_model_intact,
    why_not_applied,
)
from nba_ml.registry.publication import publish
from nba_ml.registry.repeatable import describe_move, move_from, starting_serial
from nba_ml.registry.rollback import rollback, rollout_stop
from nba_ml.registry.states import add_set_aside, promoted_state, require_reason, stopped_state
from nba_ml.storage.directory import DirectoryStore
from nba_ml.storage.objects import GenerationMismatchError
from nba_ml_tests.registry.publication_machine import bundle_of, digest
from nba_ml_tests.registry.stoppable import HookedStore
from nba_ml_tests.registry.test_channel import EVIDENCE, MOCK, first, model

AT = datetime(2022, 2, 1, 12, tzinfo=UTC)
LATER = AT + timedelta(hours=1)
WHY = "a reason of a sentence"


@pytest.fixture
def store(tmp_path: Path) -> DirectoryStore:
    return DirectoryStore(tmp_path)


def published(store: DirectoryStore, booster: str) -> ChannelModel:
    done = publish(store, bundle_of(json.dumps({"learner": booster}).encode()))
    manifest = store.read(done.manifest.name)
    assert manifest is not None
    name = done.manifest.name.rpartition("/")[2].removesuffix("_manifest.json")
    return ChannelModel(system_id="xgboost_v1", model_id=name, manifest_sha256=digest(manifest.data))


def promote(store: DirectoryStore, champion: ChannelModel) -> MoveResult:
    def decide(present: Channel | None) -> Channel:
        if present is None:
            return Channel(serial=1, champion=champion, kind="promote", reason=WHY, moved_at=AT)
        return promoted_state(present, champion, AT, "promote", WHY, None, ())

    return move_channel(store, decide)


def challenge(store: DirectoryStore, challenger: ChannelModel, share: Any = 10) -> MoveResult:
    def decide(present: Channel | None) -> Channel:
        assert present is not None
        return next_state(
            present, kind="rollout_start", reason=WHY, at=AT, challenger=challenger, share=share, graded_from=AT.date()
        )

    return move_channel(store, decide)


@pytest.fixture
def three(store: DirectoryStore) -> tuple[ChannelModel, ChannelModel, ChannelModel]:
    """Three champions, one after the other."""
    models = tuple(published(store, f"booster {n}") for n in range(3))
    for each in models:
        assert promote(store, each).moved
    return models  # type: ignore[return-value]


Three = tuple[ChannelModel, ChannelModel, ChannelModel]


def champion(store: DirectoryStore) -> ChannelModel:
    state = read_channel(store)
    assert state is not None
    return state.champion


# --- rollback -------------------------------------------------------------------------------------------------


def test_a_rollback_makes_exactly_this_state(store: DirectoryStore, three: Three) -> None:
    challenge(store, published(store, "a challenger"))
    done = rollback(store, LATER, WHY)
    assert done.moved
    assert done.channel == read_channel(store)
    assert done.channel == Channel(
        serial=5,
        champion=three[1],
        earlier=three[:1],
        set_aside=(three[2].model_id,),
        kind="rollback",
        reason=WHY,
        moved_at=LATER,
    )
    assert (done.caught_up_to, done.already, done.later) == (None, None, None)


def test_a_model_rolled_back_to_is_not_set_aside_and_the_one_left_is(store: DirectoryStore, three: Three) -> None:
    """Guards against a champion that is also on the list of those that no promotion may bring back."""
    one, two, last = three
    rollback(store, AT, WHY, to=one.model_id)
    state = read_channel(store)
    assert state is not None
    assert (state.champion, state.earlier, state.set_aside) == (one, (), (last.model_id,))
    rollback(store, AT, WHY, to=last.model_id)
    state = read_channel(store)
    assert state is not None
    assert (state.champion, state.earlier, state.set_aside) == (last, (), (one.model_id,))
    rollback(store, AT, WHY, to=two.model_id)
    state = read_channel(store)
    assert state is not None
    assert (state.champion, state.set_aside) == (two, (last.model_id, one.model_id))


def test_a_champion_of_the_history_leaves_the_earlier_ones_as_they_are(store: DirectoryStore, three: Three) -> None:
    rollback(store, AT, WHY)
    rollback(store, AT, WHY, to=three[2].model_id)
    state = read_channel(store)
    assert state is not None
    assert (state.champion, state.earlier) == (three[2], three[:1])


def test_what_cannot_be_rolled_back_is_refused_and_moves_nothing(store: DirectoryStore) -> None:
    with pytest.raises(ReleaseError, match="no champion yet, so there is nothing to roll back"):
        rollback(store, AT, WHY)
    one = published(store, "one")
    promote(store, one)
    with pytest.raises(ReleaseError, match=f"no champion before {one.model_id} to return to"):
        rollback(store, AT, WHY)
    with pytest.raises(ReleaseError, match="shorter than"):
        rollback(store, AT, " short ")
    with pytest.raises(ReleaseError, match="another was never the champion"):
        rollback(store, AT, WHY, to="another")
    assert not rollback(store, AT, WHY, to=one.model_id).moved
    assert [state.serial for state in read_history(store)] == [1]


def test_a_second_rollback_must_name_its_model(store: DirectoryStore, three: Three) -> None:
    """Guards against two people who go back one step each, also where a rollout came in between."""
    rollback(store, AT, WHY)
    hint = f"since the rollback of serial 4 .*--to MODEL_ID. The one before it: --to {three[0].model_id}"
    with pytest.raises(ReleaseError, match=hint):
        rollback(store, AT, WHY)
    challenge(store, three[2])
    rollout_stop(store, AT, WHY)
    with pytest.raises(ReleaseError, match=hint):
        rollback(store, AT, WHY)
    promote(store, three[2])
    challenge(store, published(store, "a challenger"))
    assert rollback(store, AT, WHY).moved
    assert champion(store) == three[1]


def test_without_an_earlier_champion_the_hint_names_none(store: DirectoryStore, three: Three) -> None:
    rollback(store, AT, WHY, to=three[0].model_id)
    with pytest.raises(ReleaseError, match=r"--to MODEL_ID\. `nba-ml champion history`"):
        rollback(store, AT, WHY)


# --- the states that several commands make ---------------------------------------------------------------------


def test_a_promotion_makes_exactly_this_state() -> None:
    present = first(earlier=(model(2), model(3), model(4)), set_aside=("one", model(3).model_id, "two"))
    made = promoted_state(present, model(3), LATER, "rollout_finish", WHY, EVIDENCE, ("grade",))
    assert made == Channel(
        serial=2,
        champion=model(3),
        earlier=(model(1), model(2), model(4)),
        set_aside=("one", "two"),
        kind="rollout_finish",
        reason=WHY,
        evidence=EVIDENCE,
        waived=("grade",),
        moved_at=LATER,
    )
    again = promoted_state(
        present, model(1).model_copy(update={"manifest_sha256": "0" * 64}), AT, "promote", WHY, None, ()
    )
    assert again.earlier == (model(1), model(2), model(3), model(4))
    many = first(earlier=tuple(model(number) for number in range(3, 3 + EARLIER)))
    assert promoted_state(many, model(2), AT, "promote", WHY, None, ()).earlier == (model(1), *many.earlier[:-1])


@pytest.mark.parametrize(
    ("share", "aside", "promoted", "stays"),
    [(0, (), 3, True), (10, (), 3, False), (0, (), 2, False), (0, (model(2).model_id,), 3, False)],
    ids=["in shadow", "serving a share", "itself promoted", "stopped"],
)
def test_another_challenger_in_shadow_stays_there(
    share: Any, aside: tuple[str, ...], promoted: int, stays: bool
) -> None:
    present = first(challenger=model(2), share=share, graded_from=AT.date(), set_aside=aside)
    made = promoted_state(present, model(promoted), AT, "promote", WHY, None, ())
    assert (made.challenger, made.graded_from) == ((model(2), AT.date()) if stays else (None, None))
    assert made.share == 0


def test_what_is_set_aside_is_listed_once_and_newest_first() -> None:
    present = first(set_aside=("b", "c"))
    assert add_set_aside(present, "a") == ("a", "b", "c")
    assert add_set_aside(present, "c") == ("c", "b")
    assert add_set_aside(present, "") == ("b", "c")
    assert add_set_aside(present, "a", without="b") == ("a", "c")
    full = tuple(f"m{number}" for number in range(SET_ASIDE))
    assert add_set_aside(first(set_aside=full), "a") == ("a", *full[:-1])
    assert stopped_state(present, AT, WHY, EVIDENCE).set_aside == ("b", "c"), "there is no challenger"
    stopped = stopped_state(first(challenger=model(2), share=10, graded_from=AT.date()), LATER, WHY, EVIDENCE)
    assert (stopped.share, stopped.set_aside, stopped.evidence) == (0, (model(2).model_id,), EVIDENCE)
    assert (stopped.kind, stopped.reason, stopped.moved_at) == ("rollout_stop", WHY, LATER)


def test_a_reason_has_ten_characters() -> None:
    require_reason("0123456789")
    for short in ("012345678", "  012345678  ", ""):
        with pytest.raises(ReleaseError, match="shorter than 10 characters"):
            require_reason(short)


# --- stopping a rollout ---------------------------------------------------------------------------------------


def test_a_stopped_rollout_stays_in_shadow_unless_it_is_forgotten(store: DirectoryStore) -> None:
    one, other = published(store, "one"), published(store, "other")
    promote(store, one)
    with pytest.raises(ReleaseError, match="No rollout is in progress"):
        rollout_stop(store, AT, WHY)
    challenge(store, other)
    with pytest.raises(ReleaseError, match="shorter than"):
        rollout_stop(store, AT, "no")
    state = rollout_stop(store, LATER, WHY).channel
    assert state is not None
    assert (state.challenger, state.share, state.graded_from) == (other, 0, AT.date())
    assert (state.set_aside, state.kind, state.moved_at) == ((other.model_id,), "rollout_stop", LATER)
    assert not rollout_stop(store, AT, WHY).moved
    state = rollout_stop(store, AT, WHY, forget=True).channel
    assert state is not None
    assert (state.serial, state.challenger, state.graded_from) == (4, None, None)


def test_a_rollout_in_shadow_is_stopped_once(store: DirectoryStore) -> None:
    promote(store, published(store, "one"))
    challenge(store, published(store, "other"), share=0)
    assert rollout_stop(store, AT, WHY).moved
    assert not rollout_stop(store, AT, WHY).moved


# --- commands that are run again ------------------------------------------------------------------------------


def test_a_command_that_is_run_again_finds_its_own_move(store: DirectoryStore, three: Three) -> None:
    """Guards against a second rollback by somebody who did not see the answer to the first."""
    for to in (None, three[1].model_id):
        done = rollback(store, AT, WHY, to=to, from_serial=3)
        assert (done.moved, champion(store)) == (to is None, three[1])
    assert done.already == read_state(store, 4)
    with pytest.raises(ReleaseError, match=f"{three[1].model_id} serves now .serial 4, rollback of 2022-02-01"):
        rollback(store, AT, WHY, to=three[0].model_id, from_serial=3)
    challenge(store, three[2])
    stop = rollout_stop(store, AT, WHY)
    assert (stop.moved, stop.already) == (True, None)
    assert rollout_stop(store, AT, WHY, from_serial=5).already == read_state(store, 6)
    with pytest.raises(ReleaseError, match="Another command has moved"):
        rollout_stop(store, AT, WHY, from_serial=5, forget=True)
    with pytest.raises(ReleaseError, match="Another command has moved"):
        rollback(store, AT, WHY, from_serial=4)
    with pytest.raises(ReleaseError, match="Another command has moved"):  # a rollout began, of the champion named
        rollback(store, AT, WHY, to=three[1].model_id, from_serial=4)
    with pytest.raises(ReleaseError, match="Another command has moved"):
        rollout_stop(store, AT, WHY, from_serial=3)
    with pytest.raises(ReleaseError, match="Another command has moved"):  # a rollback ends a rollout, and is not a stop
        rollout_stop(store, AT, WHY, from_serial=3, forget=True)
    assert read_history(store)[-1].serial == 6


def test_a_serial_that_is_not_there_yet_is_refused(store: DirectoryStore) -> None:
    with pytest.raises(ReleaseError, match="no serial 4 to start from: the channel is empty: there is no champion"):
        rollback(store, AT, WHY, from_serial=4)
    promote(store, published(store, "one"))
    with pytest.raises(ReleaseError, match="no serial 2 to start from: the channel is at serial 1"):
        rollback(store, AT, WHY, from_serial=2)
    assert starting_serial(store, None) == 1
    assert starting_serial(store, 0) == 0


def test_a_first_move_is_found_again(store: DirectoryStore) -> None:
    """Guards a first promotion whose answer was lost: it began from serial 0, before which there is no state."""
    assert starting_serial(store, None) is None
    one = published(store, "one")
    state = Channel(serial=1, champion=one, kind="promote", reason=WHY, moved_at=AT)
    seen: list[Channel | None] = []

    def is_ours(before: Channel | None, after: Channel) -> bool:
        seen.append(before)
        return after.champion == one

    assert move_from(store, 0, lambda _: state, is_ours).moved
    again = move_from(store, 0, lambda _: state, is_ours)
    assert (again.moved, again.already, seen) == (False, state, [None])
    assert not move_from(store, None, lambda _: None, is_ours).moved


def test_an_outage_names_the_serial_to_try_again_from(store: DirectoryStore, three: Three) -> None:
    """Guards whoever tries again: without the serial, the second try would go back one champion further."""
    broken = Broken(store.root, "swap")
    with pytest.raises(UnfinishedMoveError) as failed:
        rollback(broken, AT, WHY)
    assert (failed.value.from_serial, failed.value.wanted) == (3, read_state(store, 4))
    assert champion(store) == three[2]
    assert rollback(store, AT, WHY, from_serial=3).already == read_state(store, 4)
    assert champion(store) == three[1]
    broken.failing = "read"
    with pytest.raises(PublicationError) as refused:
        move_from(broken, None, lambda _: None, lambda *_: True)
    assert not isinstance(refused.value, UnfinishedMoveError)
    with pytest.raises(UnfinishedMoveError) as failed:
        move_from(broken, 2, lambda _: None, lambda *_: True)
    assert (failed.value.from_serial, failed.value.wanted) == (2, None)


class Broken(DirectoryStore):
    """A store whose `failing` calls are refused."""

    def __init__(self, root: Path, failing: str) -> None:
        super().__init__(root)
        self.failing, self.calls = failing, list[str]()

    def _fail(self, call: str) -> None:
        self.calls.append(call)
        if call == self.failing:
            raise PublicationError("The store is out of order.")

    def read(self, name: str) -> Any:
        self._fail("read")
        return super().read(name)

    def create(self, name: str, data: bytes) -> str:
        self._fail("create")
        return super().create(name, data)

    def swap(self, name: str, data: bytes, generation: str) -> str:
        self._fail("swap")
        return super().swap(name, data, generation)


def test_a_move_in_words() -> None:
    plus_two = timezone(timedelta(hours=2))
    alone = first(reason="why not.", moved_at=datetime(2025, 7, 1, 1, 30, tzinfo=plus_two))
    name = model(1).model_id
    assert describe_move(alone) == f"promote of 2025-06-30 23:30 UTC, champion {name}: why not"
    both = first(challenger=model(2), share=10, graded_from=date(2022, 1, 5))
    assert f"champion {name}, challenger {model(2).model_id} at 10%: the first" in describe_move(both)


# --- the mechanics of a move ----------------------------------------------------------------------------------


def accepted(store: DirectoryStore, state: Channel) -> MoveResult:
    return move_channel(store, lambda _: state, verify=lambda *_: None)


def test_a_state_must_follow_the_one_before(store: DirectoryStore) -> None:
    with pytest.raises(ChannelError, match="after serial 0 must have serial 1, not 2"):
        accepted(store, first().model_copy(update={"serial": 2}))
    accepted(store, first())
    with pytest.raises(ChannelError, match="after serial 1 must have serial 2, not 1"):
        accepted(store, first())
    assert not move_channel(store, lambda _: None).moved


def test_only_models_in_a_new_role_are_verified(store: DirectoryStore) -> None:
    """Guards a move away from a damaged model, and one to it: what stays needs no proof, what comes does."""
    verified: list[ChannelModel] = []

    def move(state: Channel) -> None:
        verified.clear()
        move_channel(store, lambda _: state, verify=lambda _, each: verified.append(each))

    move(one := first())
    assert verified == [model(1)]
    move(two := next_state(one, kind="rollout_start", reason=WHY, at=AT, challenger=model(2), graded_from=AT.date()))
    assert verified == [model(2)]
    move(three := next_state(two, kind="rollout_advance", reason=WHY, at=AT, share=50))
    assert verified == []
    move(four := next_state(three, kind="rollout_start", reason=WHY, at=AT, challenger=MOCK))
    assert verified == [], "a rule has no manifest"
    move(next_state(four, kind="promote", reason=WHY, at=AT, champion=model(2), challenger=model(1)))
    assert verified == [model(2), model(1)]


def test_a_swap_is_tried_again_only_so_often(store: DirectoryStore) -> None:
    accepted(store, first())
    tries: list[str] = []

    class Contested(DirectoryStore):
        def swap(self, name: str, data: bytes, generation: str) -> str:  # noqa: ARG002 (as the store's)
            tries.append(name)
            raise GenerationMismatchError(name, name, generation, "another")

    with pytest.raises(UnfinishedMoveError, match=f"with an older state {SWAPS} times.*serial 2"):
        accepted(Contested(store.root), next_state(first(), kind="promote", reason=WHY, at=AT, champion=model(2)))
    assert tries == [CHAMPION] * 5
    broken = Broken(store.root, "swap")
    with pytest.raises(UnfinishedMoveError, match="out of order"):
        move_channel(broken, lambda _: None, verify=lambda *_: None)
    assert broken.calls.count("swap") == 1, "a store that refuses is not asked again"


def test_a_move_takes_five_requests(store: DirectoryStore) -> None:
    """Guards the second that a rollback may take: the pointer, the next state, and the pointer read back."""
    accepted(store, first())
    calls: list[str] = []

    def hook(method: str, perform: Callable[[], Any]) -> Any:
        calls.append(method)
        return perform()

    second = next_state(first(), kind="promote", reason=WHY, at=AT, champion=model(2))
    assert move_channel(HookedStore(store, hook), lambda _: second, verify=lambda *_: None).moved
    assert calls == ["read", "read", "create", "swap", "read"]


def test_a_pointer_that_moved_on_meanwhile_is_no_error(store: DirectoryStore) -> None:
    """Guards whoever is overtaken between its swap and its look: the move was made, and a later one after it."""
    accepted(store, first())
    second = next_state(first(), kind="promote", reason=WHY, at=AT, champion=model(2))
    third = next_state(second, kind="promote", reason=WHY, at=AT, champion=model(3))

    class Overtaken(DirectoryStore):
        def swap(self, name: str, data: bytes, generation: str) -> str:
            swapped = super().swap(name, data, generation)
            accepted(store, third)
            return swapped

    done = accepted(Overtaken(store.root), second)
    assert (done.moved, done.channel, done.later, done.serving) == (True, second, third, third)


def test_who_lost_a_race_decides_again(store: DirectoryStore) -> None:
    accepted(store, first())
    winner = next_state(first(), kind="promote", reason="faster", at=AT, champion=model(2))

    class Slow(DirectoryStore):
        def create(self, name: str, data: bytes) -> str:
            if newest_state_ahead(store, first()) is None:
                accepted(store, winner)
            return super().create(name, data)

    seen: list[Channel | None] = []

    def decide(present: Channel | None) -> Channel:
        assert present is not None
        seen.append(present)
        return next_state(present, kind="promote", reason=WHY, at=AT, champion=model(3))

    done = move_channel(Slow(store.root), decide, verify=lambda *_: None)
    assert done.moved
    assert seen == [first(), winner]
    assert read_channel(store) == done.channel == decide(winner)


def test_a_pointer_that_the_history_does_not_know_is_refused(store: DirectoryStore) -> None:
    accepted(store, first())

    class Meddled(DirectoryStore):
        def swap(self, name: str, data: bytes, generation: str) -> str:
            forged = Channel.from_bytes(data, "").model_copy(update={"reason": "forged"})
            return super().swap(name, forged.to_bytes(), generation)

    with pytest.raises(ChannelError, match="holds a state of serial 2 that differs from the one in its history"):
        accepted(Meddled(store.root), next_state(first(), kind="promote", reason=WHY, at=AT, champion=model(2)))


def test_an_outage_says_what_is_known(store: DirectoryStore) -> None:
    accepted(store, first())
    wanted = next_state(first(), kind="promote", reason=WHY, at=AT, champion=model(2))
    with pytest.raises(UnfinishedMoveError, match="not in the history, so nothing has changed") as failed:
        accepted(Broken(store.root, "create"), wanted)
    assert failed.value.wanted == wanted
    with pytest.raises(UnfinishedMoveError, match=r"recorded in the history as serial 2.*until then, .* serves"):
        accepted(Broken(store.root, "swap"), wanted)

    class Lost(DirectoryStore):
        """Writes, and loses the answer."""

        def create(self, name: str, data: bytes) -> str:
            super().create(name, data)
            raise PublicationError("no answer")

    after = next_state(wanted, kind="promote", reason=WHY, at=AT, champion=model(3))
    done = accepted(Lost(store.root), after)
    assert (done.moved, done.channel, done.later) == (True, after, None)
    assert done.caught_up_to == wanted
    assert f"serial 2, promote, in which {model(2).model_id} serves" in done.catch_up_note
    assert accepted(store, next_state(after, kind="promote", reason=WHY, at=AT, champion=model(4))).catch_up_note == ""


def test_what_serves_is_what_was_read_back_last() -> None:
    assert MoveResult(first(), True).serving == first()
    assert MoveResult(first(), True, later=first(2)).serving == first(2)


def test_a_recorded_state_whose_bundle_is_gone_holds_up_what_does_not_replace_it(store: DirectoryStore) -> None:
    """Guards against silence: whoever moves nothing, or is refused, is told why the recorded move is not applied."""
    accepted(store, first())
    gone = next_state(first(), kind="promote", reason=WHY, at=AT, champion=model(2))
    store.create(history_name(2), gone.to_bytes())
    with pytest.raises(BundleError, match=r"^Serial 2 of the history .promote, .* cannot be applied"):
        move_channel(store, lambda _: None)

    def refuse(present: Channel | None) -> Channel:
        assert present == gone, "decided on the newest state, applied or not"
        raise ReleaseError("It is too early.")

    with pytest.raises(ReleaseError, match=r"^It is too early\. Serial 2 of the history"):
        move_channel(store, refuse)
    assert read_pointer(store) == first()
    back = next_state(gone, kind="rollback", reason=WHY, at=AT, champion=model(1), earlier=())
    assert move_channel(store, lambda _: back).moved, "its champion serves already"
    with pytest.raises(ReleaseError, match=r"^It is too early\.$"):
        move_channel(store, lambda _: (_ for _ in ()).throw(ReleaseError("It is too early.")))


def test_a_state_that_cannot_be_carried_out_says_the_way_out(store: DirectoryStore) -> None:
    gone = next_state(first(), kind="promote", reason=WHY, at=AT, champion=model(2))
    assert f"champion rollback --to {model(1).model_id} --from-serial 2" in why_not_applied(store, first(), gone)
    assert "champion rollback --to MODEL_ID --from-serial 2" in why_not_applied(store, None, gone)
    rollout = next_state(first(), kind="rollout_start", reason=WHY, at=AT, challenger=model(2), graded_from=AT.date())
    found = why_not_applied(store, first(), rollout)
    assert "rollout stop --forget --from-serial 2" in found
    assert f"is unchanged: {model(1).model_id} serves (serial 1)" in found
    assert why_not_applied(store, first(), next_state(first(), kind="rollout_stop", reason=WHY, at=AT)) == ""
    with pytest.raises(ChannelError, match="no manifest"):
        require_model_intact(store, MOCK)


# --- reading and the form of a state --------------------------------------------------------------------------


def test_the_history_is_read_in_order_and_as_far_as_asked(store: DirectoryStore) -> None:
    assert read_history(store) == []
    assert read_pointer(store) is None
    assert read_channel(store) is None
    state = first()
    accepted(store, state)
    for number in (2, 3, 4):
        state = next_state(state, kind="promote", reason=WHY, at=AT, champion=model(number))
        accepted(store, state)
    store.write(history_name(1).replace("000001", "000000"), b"no state")
    store.write(history_name(1).replace("000001", "01"), b"no state")
    store.write(f"{history_name(1)}.bak", b"no state")
    assert [each.serial for each in read_history(store)] == [1, 2, 3, 4]
    assert [each.serial for each in read_history(store, 2)] == [3, 4]
    assert [each.serial for each in read_history(store, 1)] == [4]
    assert history_name(7) == "xgboost_v1/channels/history/000007.json"
    assert str(UnfinishedMoveError("what is known", state)) == "what is known"
    assert newest_state_ahead(store, state) is None
    assert newest_state_ahead(store, read_state(store, 2)) == state
    assert newest_state_ahead(store, None) == state
    store.delete(history_name(3))
    assert newest_state_ahead(store, read_state(store, 1)) == read_state(store, 2), "beyond a gap is no state"
    assert [each.serial for each in read_history(store)] == [1, 2, 4], "the pointer's state is one"
    with pytest.raises(ChannelError, match="is missing, and the history is append-only"):
        read_state(store, 3)
    store.delete(CHAMPION)
    assert [each.serial for each in read_history(store)] == [1, 2], "without a pointer, up to the first gap"
    store.write(history_name(3), state.to_bytes())
    with pytest.raises(ChannelError, match="contains the state of serial 4"):
        read_state(store, 3)


def test_serials_are_numbers_and_not_names(store: DirectoryStore) -> None:
    """Guards the end of a long history: as names, a million comes before 999,999."""
    for serial in (1_000_000, 999_999):
        store.write(history_name(serial), b"a state")
    assert _recorded_serials(store) == [999_999, 1_000_000]


def test_a_state_follows_itself_and_earlier_ones() -> None:
    """Guards against an old copy of the pointer, and against another state of the same serial."""
    before = first()
    after = next_state(before, kind="promote", reason=WHY, at=AT, champion=model(2))
    assert before.is_or_follows(before)
    assert after.is_or_follows(before)
    assert not before.is_or_follows(after)
    assert not after.is_or_follows(next_state(before, kind="promote", reason=WHY, at=AT, champion=model(3)))


def test_a_damaged_state_is_refused() -> None:
    """Guards against a flipped bit, bytes of another form, and content under the digest of other content."""
    data = first().to_bytes()
    assert Channel.from_bytes(data, "the uri") == first()
    other = data.replace(b'"promote"', b'"rollback"')
    for damaged in (other, data + b" ", data.replace(b"\n  ", b"\n "), data[:-1]):
        with pytest.raises(ChannelError, match=r"^the uri is damaged: its stated digest"):
            Channel.from_bytes(damaged, "the uri")
    for damaged in (b"", b"[]", b"{}", data[:-2], data.replace(b"champion", b"champagne", 1), b"[" * 100_000):
        with pytest.raises(ChannelError, match=r"^the uri is not a channel of format 1"):
            Channel.from_bytes(damaged, "the uri")


def test_a_pointer_that_was_removed_is_reported(store: DirectoryStore) -> None:
    require_no_history(store)
    accepted(store, first())
    store.delete(CHAMPION)
    with pytest.raises(ChannelError, match=f"goes up to serial 1, in which {model(1).model_id} serves"):
        read_channel(store)


@pytest.mark.parametrize(
    ("share", "challenger", "aside", "rolling"),
    [(0, None, (), False), (10, model(2), (), True), (0, model(2), (), True),
     (0, model(2), (model(2).model_id,), False), (10, model(2), (model(2).model_id,), True)],
)  # fmt: skip
def test_a_rollout_is_under_way(share: Any, challenger: Any, aside: tuple[str, ...], rolling: bool) -> None:
    dated = AT.date() if challenger else None
    assert first(share=share, challenger=challenger, graded_from=dated, set_aside=aside).rolling_out is rolling


@pytest.mark.parametrize(
    ("bias", "before", "biased"),
    [(-0.5, 0.0, False), (-0.51, 0.0, True), (0.5, 0.0, False), (0.51, 0.0, True), (0.51, -0.6, False),
     (0.51, 0.51, False), (-0.51, 0.5, True)],
)  # fmt: skip
def test_bias_counts_out_of_bounds_and_beyond_the_champions(bias: float, before: float, biased: bool) -> None:
    assert EVIDENCE.model_copy(update={"bias": bias, "champion_bias": before}).biased((-0.5, 0.5)) is biased


def test_limits_of_a_state() -> None:
    many = tuple(model(number) for number in range(2, 15))
    assert (EARLIER, SET_ASIDE) == (12, 100)
    assert len(first(earlier=many[:12]).earlier) == 12
    ids = tuple(f"m{number}" for number in range(101))
    assert len(first(set_aside=ids[:100]).set_aside) == 100
    challenged: dict[str, Any] = {"challenger": model(2), "graded_from": AT.date()}
    assert first(**challenged).challenger == model(2)
    for fields in (
        {"earlier": many},
        {"earlier": (model(1),)},
        {"set_aside": ids},
        {"graded_from": AT.date()},
        {"share": 10},
        {"challenger": model(2)},
        {**challenged, "challenger": model(1)},
        {"champion": MOCK},
        {"serials": 1},
        {"reason": ""},
    ):
        with pytest.raises(ValidationError):
            first(**fields)
    with pytest.raises(ValidationError):
        Channel(serial=0, champion=model(1), kind="promote", reason=WHY, moved_at=AT)
    for wrong in ({"rows": 0}, {"days": 0}, {"gain": float("nan")}, {"gains": 1.0}):
        with pytest.raises(ValidationError):
            Evidence(**{**EVIDENCE.model_dump(), **wrong})
    assert Evidence(**{**EVIDENCE.model_dump(), "rows": 1, "days": 1}).rows == 1
    with pytest.raises(ValidationError, match="frozen"):
        first().serial = 3
    assert ChannelModel(system_id="s", model_id="m" * 200, manifest_sha256="ab" * 32).is_external
    for name in ("m" * 201, "", "M", "1m", "a-b", "a/b", "a\n"):
        with pytest.raises(ValidationError):
            ChannelModel(system_id="s", model_id=name, manifest_sha256="ab" * 32)
    assert not model(1).is_external
    assert not MOCK.is_external
    assert (MOCK.is_mock, model(1).is_mock) == (True, False)
    assert first().to_bytes().endswith(b"}\n")
    assert first().to_bytes().startswith(b'{\n  "challenger": null,\n  "champion"')
    assert b"channel_sha256" in first().to_bytes()
    kept = next_state(first(evidence=EVIDENCE, waived=("grade",)), kind="promote", reason=WHY, at=AT)
    assert (kept.evidence, kept.waived, kept.serial) == (None, (), 2)
