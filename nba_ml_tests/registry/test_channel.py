"""The channel: a pointer that moves one serial at a time, whoever dies and whoever comes second."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from pydantic import ValidationError

from nba_ml.contract.errors import BundleError, ChannelError, PublicationError, ReleaseError
from nba_ml.contract.model_id import model_id
from nba_ml.contract.systems import XGBOOST_V1
from nba_ml.registry.channel import (
    CHAMPION,
    HISTORY,
    RULES,
    Channel,
    ChannelModel,
    Evidence,
    history_name,
    newest_state_ahead,
    next_state,
    read_channel,
    read_history,
    read_pointer,
)
from nba_ml.registry.manifest import BundleNames
from nba_ml.registry.moves import Decide, MoveResult, UnfinishedMoveError, Verify
from nba_ml.registry.moves import move_channel as move_verified_channel
from nba_ml.storage.objects import ObjectStore
from nba_ml_tests.profiles import examples
from nba_ml_tests.registry.places import Home, MakeHome, Place
from nba_ml_tests.registry.stoppable import HookedStore, InterleavedUsers, Killed, Order, Outage, SteppedUser, dying_at

AT = datetime(2025, 7, 1, 12, tzinfo=UTC)
SHA = "0" * 63


def model(number: int) -> ChannelModel:
    return ChannelModel(
        system_id="xgboost_v1",
        model_id=model_id(XGBOOST_V1, "2022-01", str(number).encode()),
        manifest_sha256=f"{SHA}{number % 10}",
    )


MOCK = ChannelModel(system_id="mock", model_id="mock", manifest_sha256=None)
EVIDENCE = Evidence(
    champion=model(1).model_id,
    candidate=model(2).model_id,
    unseen="held_out",
    first=date(2022, 1, 1),
    last=date(2022, 1, 31),
    rows=4901,
    days=31,
    champion_mae=4.7,
    candidate_mae=4.6,
    gain=0.1,
    low=0.05,
    high=0.15,
    champion_bias=-0.4,
    bias=-0.3,
    margin=0.05,
)


def first(number: int = 1, **fields: Any) -> Channel:
    given = {"champion": model(number), "kind": "promote", "reason": "the first", "moved_at": AT, **fields}
    return Channel(serial=1, **given)


def promoting(number: int, author: str = "somebody") -> Callable[[Channel | None], Channel | None]:
    """Decides for a model, unless it serves already."""

    def decide(present: Channel | None) -> Channel | None:
        if present is None:
            return first(number, reason=author)
        if present.champion == model(number):
            return None
        return next_state(present, kind="promote", reason=author, at=AT, champion=model(number), earlier=())

    return decide


def move_channel(store: ObjectStore, decide: Decide) -> MoveResult:
    """A move between models that have no bundles here: every one of them is taken to be whole."""
    return move_verified_channel(store, decide, verify=lambda *_: None)


def without(*numbers: int) -> Verify:
    """Verifies all models but these."""
    gone = [model(number) for number in numbers]

    def verify(_: ObjectStore, named: ChannelModel) -> None:
        if named in gone:
            raise BundleError(f"{named.model_id} is missing.")

    return verify


def states(place: Place) -> tuple[int, int]:
    """The serials of the pointer and of the history, 0 for none; an AssertionError for what may never be seen.

    Reads JSON by itself, and shares no code with what writes it. The history is listed after the pointer was read.
    """
    names = place.names()
    pointer = place.read(CHAMPION) if CHAMPION in names else None
    serial = 0 if pointer is None else int(json.loads(pointer)["serial"])
    history = [name for name in place.names() if name.startswith(HISTORY)]
    serials = [json.loads(place.read(name))["serial"] for name in history]
    assert serials == list(range(1, len(history) + 1)), "the history has a gap, or an order of its own"
    assert serial <= len(history), "the pointer holds what the history does not"
    if pointer is not None:
        assert place.read(history[serial - 1]) == pointer, "the pointer differs from its entry in the history"
    return serial, len(history)


# -- the form of a state -----------------------------------------------------------------------------


def test_the_names_are_those_of_the_published_bundles() -> None:
    """Guards the pointer against naming a folder where no bundle lies: the publisher's names are another module's."""
    assert CHAMPION.startswith(f"{XGBOOST_V1.id}/channels/")
    assert model(1).manifest == BundleNames.of(model(1).model_id).manifest
    with pytest.raises(ChannelError, match="no manifest to load"):
        _ = MOCK.manifest


def test_a_state_goes_through_its_bytes_and_back() -> None:
    """Guards against a field that is lost on the way, and against bytes that depend on who wrote them."""
    state = Channel(
        serial=7,
        champion=model(1),
        challenger=model(2),
        share=50,
        graded_from=date(2022, 1, 5),
        earlier=(model(3), model(4)),
        kind="rollout_advance",
        reason="1,200 rows: ja, Dončić",
        evidence=EVIDENCE,
        waived=("newer",),
        moved_at=datetime(2025, 7, 1, 14, 0, 0, 123456, tzinfo=timezone(timedelta(hours=2))),
    )
    data = state.to_bytes()
    assert Channel.from_bytes(data, "x") == state
    assert Channel.from_bytes(data, "x").to_bytes() == data
    assert json.loads(data)["challenger"]["model_id"] == model(2).model_id


@settings(max_examples=examples(400), deadline=None)
@given(data=st.data())
def test_a_state_with_any_bit_flipped_or_any_part_lost_is_refused(data: st.DataObject) -> None:
    """Guards every worker against a damaged pointer: no flipped bit, no cut and no insertion is taken for a state."""
    good = first(evidence=EVIDENCE, challenger=model(2), share=10, graded_from=date(2022, 1, 5)).to_bytes()
    at = data.draw(st.integers(0, len(good) - 1))
    how = data.draw(st.sampled_from(["flip", "cut", "insert", "drop"]))
    damaged = {
        "flip": good[:at] + bytes([good[at] ^ (1 << data.draw(st.integers(0, 7)))]) + good[at + 1 :],
        "cut": good[:at],
        "insert": good[:at] + b" " + good[at:],
        "drop": good[:at] + good[at + 1 :],
    }[how]
    with pytest.raises(ChannelError, match="uri://x"):
        Channel.from_bytes(damaged, "uri://x")


@pytest.mark.parametrize("data", [b"", b"null", b"[]", b"{}", b"[" * 100_000, b"\x80\x04pickle", b'{"serial": NaN}'])
def test_what_is_no_state_is_refused(data: bytes) -> None:
    """Guards against a worker that dies of a TypeError, or follows a pointer to nothing."""
    with pytest.raises(ChannelError, match="not a channel of format 1"):
        Channel.from_bytes(data, "x")


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"champion": MOCK}, "must be a published model"),
        ({"share": 10}, "no challenger"),
        ({"share": 20, "challenger": model(2), "graded_from": AT.date()}, "share"),
        ({"challenger": model(2)}, "has no graded_from date"),
        ({"challenger": model(1), "graded_from": AT.date()}, "named twice"),
        ({"earlier": (model(1),)}, "named twice"),
        ({"moved_at": datetime(2025, 7, 1)}, "timezone"),
        ({"reason": ""}, "reason"),
    ],
)
def test_a_state_that_contradicts_itself_cannot_be_made(fields: dict[str, Any], said: str) -> None:
    """Guards against a state that leaves open who serves, and against the mock as a champion."""
    with pytest.raises(ValidationError, match=said):
        first(**fields)


@pytest.mark.parametrize("name", ["../secrets", "a/b", "", "A", "a b", "x" * 201])
def test_a_model_cannot_be_named_out_of_its_folder(name: str) -> None:
    """Guards against a pointer that makes a worker read a path of somebody's choice."""
    for fields in ({"system_id": name, "model_id": "m"}, {"system_id": "s", "model_id": name}):
        with pytest.raises(ValidationError):
            ChannelModel(**fields, manifest_sha256=f"{SHA}1")
    assert len(RULES) == 2
    with pytest.raises(ValidationError, match="needs a manifest"):
        ChannelModel(system_id="xgboost_v1", model_id="m", manifest_sha256=None)


@pytest.mark.slow
def test_a_reader_of_channels_is_light() -> None:
    """Guards the prediction worker's start: it reads a channel without pandas, Arrow, XGBoost or Dagster."""
    code = "import sys, nba_ml.registry.channel; print(sorted({n.partition('.')[0] for n in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(json.loads(done.stdout.replace("'", '"')))
    assert "pydantic" in loaded
    assert not loaded & {"pandas", "pyarrow", "numpy", "xgboost", "dagster", "google", "duckdb"}


# -- one mover ---------------------------------------------------------------------------------------


def test_moves_are_kept_one_after_the_other(make_home: MakeHome) -> None:
    """Guards the history: each state stays, byte for byte, and the pointer is the last of them."""
    home = make_home()
    assert read_channel(home.store) is None
    assert read_history(home.store) == []
    for number in (1, 2, 3):
        assert move_channel(home.store, promoting(number)).moved
        assert states(home.place) == (number, number)
    again = move_channel(home.store, promoting(3))
    assert again == MoveResult(read_channel(home.store), False)
    assert [state.champion for state in read_history(home.store)] == [model(1), model(2), model(3)]
    assert [state.serial for state in read_history(home.store, newest=2)] == [2, 3]


def test_a_refused_move_moves_nothing(make_home: MakeHome) -> None:
    """Guards against a decision that fails after something was written."""
    home = make_home()

    def refuse(_: Channel | None) -> Channel | None:
        raise ReleaseError("not so")

    with pytest.raises(ReleaseError):
        move_channel(home.store, refuse)
    with pytest.raises(ChannelError, match="must have serial 1, not 2"):
        move_channel(home.store, lambda _: first().model_copy(update={"serial": 2}))
    assert states(home.place) == (0, 0)


def test_a_damaged_pointer_or_history_stops_the_mover(make_home: MakeHome) -> None:
    """Guards against a mover that builds on damage, or puts a stranger's object into the pointer."""
    home = make_home()
    move_channel(home.store, promoting(1))
    good = home.place.read(CHAMPION)
    home.place.put(CHAMPION, good[:-1])
    for act in (lambda: read_channel(home.store), lambda: move_channel(home.store, promoting(2))):
        with pytest.raises(ChannelError, match=r"not a channel|damaged"):
            act()
    home.place.put(CHAMPION, good)
    home.place.put(history_name(2), good)
    with pytest.raises(ChannelError, match="contains the state of serial 1"):
        move_channel(home.store, promoting(2))
    assert home.place.read(CHAMPION) == good


# -- movers that die ---------------------------------------------------------------------------------


@pytest.mark.parametrize("begun", [False, True])
def test_an_unfinished_move_is_finished_by_one_that_moves_nothing(make_home: MakeHome, begun: bool) -> None:
    """Guards against a rollback that the history shows as done and no worker ever follows, since all who come agree."""
    home = make_home()
    if begun:
        move_channel(home.store, promoting(1))
    with pytest.raises(Killed):
        move_channel(dying_at(home.store, 3, "die before"), promoting(2))
    assert states(home.place) == (int(begun), 1 + begun)
    left = move_channel(home.store, promoting(2))  # it serves already, by the history
    assert (left.moved, left.caught_up_to) == (False, left.channel)
    assert states(home.place) == (1 + begun, 1 + begun)


@pytest.mark.parametrize("order", ["die before", "die after"])
@pytest.mark.parametrize("begun", [False, True])
def test_a_mover_may_die_at_any_call(make_home: MakeHome, order: Order, begun: bool) -> None:
    """Guards every point between history and pointer: the next mover finishes what was begun, and moves on from there.

    A move counts from the moment that the history has it, so a dead mover's decision is never lost or overwritten.
    """
    for call in range(10):
        home = make_home()
        if begun:
            move_channel(home.store, promoting(1))
        before = states(home.place)[1]
        try:
            move_channel(dying_at(home.store, call, order), promoting(2))
            break
        except Killed:
            pass
        _, decided = states(home.place)
        seen: list[Channel | None] = []

        def third(present: Channel | None, seen: list[Channel | None] = seen) -> Channel | None:
            seen.append(present)
            return promoting(3)(present)

        assert move_channel(home.store, third).moved
        assert states(home.place) == (decided + 1, decided + 1)
        assert [state.champion for state in read_history(home.store)] == (
            [model(1)] * begun + [model(2)] * (decided - before) + [model(3)]
        )
        if decided > before:  # it was decided against the dead mover's champion, which the pointer had got by then
            assert seen[-1] is not None
            assert seen[-1].champion == model(2)
    assert call == 5  # read the pointer, look for a state after it, create, swap, read the pointer back


# -- a pointer that is behind its history ------------------------------------------------------------


def set_back(home: Home, states_made: int, to: int) -> None:
    """Make so many states, and put the pointer back to the serial `to`; 0 removes it."""
    for number in range(states_made):
        move_channel(home.store, promoting(1 + number % 2))
    if to:
        home.place.put(CHAMPION, home.place.read(history_name(to)))
    else:
        home.place.remove(CHAMPION)


def leaves_it(_: Channel | None) -> Channel | None:
    return None


@pytest.mark.parametrize("to", [0, 1, 3, 6])
def test_a_pointer_that_was_set_back_is_brought_to_the_end_of_its_history_first(make_home: MakeHome, to: int) -> None:
    """Guards against an old copy of the pointer that stays, or moves one old state at a time; and against silence."""
    home = make_home()
    set_back(home, 7, to)
    seen: list[Channel | None] = []

    def look(present: Channel | None) -> Channel | None:
        seen.append(present)
        return None

    moved = move_channel(home.store, look)
    last = read_history(home.store)[-1]
    assert seen == [last]
    assert moved == MoveResult(last, False, caught_up_to=last)
    assert "was first advanced to the newest state: serial 7, promote, in which" in moved.catch_up_note
    assert states(home.place) == (7, 7)
    again = move_channel(home.store, promoting(3))
    assert (again.moved, again.caught_up_to, again.catch_up_note) == (True, None, "")
    assert states(home.place) == (8, 8)


@pytest.mark.parametrize("to", [0, 3])
def test_a_refusal_says_that_the_pointer_was_brought_forward(make_home: MakeHome, to: int) -> None:
    """Guards whoever is refused for a state that they have not seen: the message names it."""
    home = make_home()
    set_back(home, 4, to)

    def refuse(_: Channel | None) -> Channel | None:
        raise ReleaseError("not so.")

    with pytest.raises(ReleaseError, match=r"^not so\. The pointer was behind its history .* serial 4"):
        move_channel(home.store, refuse)
    assert states(home.place) == (4, 4)


def test_a_missing_pointer_beside_a_history_is_no_new_beginning(make_home: MakeHome) -> None:
    """Guards against 'there is no champion yet' where there were seven, and serial 1 once more."""
    home = make_home()
    assert (read_channel(home.store), read_pointer(home.store)) == (None, None)
    set_back(home, 7, 0)
    with pytest.raises(ChannelError, match=r"champion\.json is missing, but its history goes up to serial 7"):
        read_channel(home.store)
    assert read_pointer(home.store) is None
    move_channel(home.store, leaves_it)
    assert read_channel(home.store) == read_history(home.store)[-1]


def test_a_state_ahead_of_the_pointer_is_seen(make_home: MakeHome) -> None:
    """Guards the word that a person gets who looks at an old pointer, and against crying wolf at every other."""
    home = make_home()
    set_back(home, 4, 4)
    state = read_channel(home.store)
    assert state is not None
    assert newest_state_ahead(home.store, state) is None
    set_back(home, 0, 2)
    state = read_channel(home.store)
    assert state is not None
    assert newest_state_ahead(home.store, state) == read_history(home.store)[-1]


@pytest.mark.parametrize("to", [0, 2])
@pytest.mark.parametrize("when", ["history listed", "before the write"])
def test_who_follows_late_moves_nothing_back(make_home: MakeHome, to: int, when: str) -> None:
    """Guards the moment between seeing the end of the history and writing it: others have moved on by then."""
    home = make_home()
    set_back(home, 4, to)
    serials, armed = [to], [True]

    def others() -> None:
        while armed:
            armed.pop()
            for number in (3, 4):
                assert move_channel(home.store, promoting(number)).moved
            serials.append(states(home.place)[0])

    def hook(what: str, perform: Callable[[], Any]) -> Any:
        if when == "before the write" and what in ("create", "swap"):
            others()
        try:
            return perform()
        finally:
            serials.append(states(home.place)[0])
            if when == "history listed" and what == "names":
                others()

    assert move_channel(HookedStore(home.store, hook), promoting(5)).moved
    assert states(home.place) == (7, 7)
    assert serials == sorted(serials), "the pointer moved back"
    assert set(serials) == {to, 6, 7}
    assert [state.champion for state in read_history(home.store)[3:]] == [model(2), model(3), model(4), model(5)]


# -- several movers ----------------------------------------------------------------------------------


@pytest.mark.parametrize("movers", [2, 3])
def test_movers_at_once(make_home: MakeHome, movers: int, record_property: Callable[[str, object], None]) -> None:
    """Guards the race: no two movers get one serial, none is lost, each decided against the champion it replaced."""
    races, lost = 6, 0
    for _ in range(races):
        home = make_home()
        asked = itertools.count()
        barrier = threading.Barrier(movers)

        def mover(
            number: int, home: Home = home, barrier: threading.Barrier = barrier, asked: Any = asked
        ) -> MoveResult:
            def decide(present: Channel | None) -> Channel | None:
                next(asked)
                if present is None:
                    return first(number)
                return next_state(
                    present, kind="promote", reason=present.champion.model_id, at=AT, champion=model(number)
                )

            barrier.wait()
            return move_channel(home.store, decide)

        with ThreadPoolExecutor(movers) as pool:
            moved = list(pool.map(mover, range(movers)))
        assert states(home.place) == (movers, movers)
        assert sorted(each.channel.serial for each in moved if each.channel) == list(range(1, movers + 1))
        history = read_history(home.store)
        assert [state.reason for state in history[1:]] == [state.champion.model_id for state in history[:-1]]
        lost += next(asked) - movers
    record_property("races", races)
    print(f"{movers} movers, {races} races: {lost} lost and decided again")


class SteppedMover(SteppedUser):
    """A mover, one store call at a time."""

    def __init__(self, store: ObjectStore, number: int, author: str, verify: Verify) -> None:
        self.number, self.author, self.verify = number, author, verify
        self.result: MoveResult | None = None
        super().__init__(store)

    def work(self, store: ObjectStore) -> None:
        with suppress(PublicationError, BundleError):  # its command ends with an error, and it was told of nothing done
            self.result = move_verified_channel(store, promoting(self.number, self.author), self.verify)


class InterleavedMovers(InterleavedUsers):
    """Movers of one channel, one store call at a time, some of them killed."""

    make_home: MakeHome
    verify: Verify = staticmethod(lambda *_: None)

    @initialize()
    def open_store(self) -> None:
        home = type(self).make_home()
        self.store, self.place = home.store, home.place
        self.serial = self.decided = self.started = 0
        self.history: dict[str, bytes] = {}

    @precondition(lambda self: len(self.running) < 4)
    @rule(number=st.integers(1, 3))
    def start(self, number: int) -> None:
        self.started += 1
        self.running.append(SteppedMover(self.store, number, f"mover {self.started}", self.verify))

    @invariant()
    def all_is_well(self) -> None:
        """The pointer moves forward only, is never more than one behind, and nothing in the history changes."""
        if not hasattr(self, "place"):
            return
        serial, decided = states(self.place)
        assert self.serial <= serial, "the pointer moved back"
        self.not_far_apart(serial, decided)
        assert self.decided <= decided, "the history was cut"
        now = {name: self.place.read(name) for name in self.place.names() if name.startswith(HISTORY)}
        assert self.history.items() <= now.items(), "the history was changed"
        self.serial, self.decided, self.history = serial, decided, now

    def not_far_apart(self, serial: int, decided: int) -> None:
        assert decided <= serial + 1, "more than one move was decided before the pointer followed"

    def retire(self, user: SteppedMover) -> None:
        if user.ended and user.result is not None and user.result.moved and user.result.channel is not None:
            assert states(self.place)[0] >= user.result.channel.serial, "it was told that it serves, and it does not"
        super().retire(user)

    def teardown(self) -> None:
        if not hasattr(self, "place"):
            return
        for mover in self.running:
            while not mover.ended:
                mover.step()
        self.all_is_well()
        move_verified_channel(self.store, promoting(9, "the last"), self.verify)
        self.all_is_well()
        assert self.serial == self.decided, "a later mover left the pointer behind"
        told = [mover.result.channel for mover in [*self.ended, *self.running] if mover.result and mover.result.moved]
        by_serial = {state.serial: state for state in read_history(self.store)}
        assert len({state.serial for state in told if state}) == len(told), "two movers got one serial"
        for state in told:
            assert state is not None
            assert by_serial[state.serial] == state, "a mover was told that it moved, and the history has another's"
        for before, after in itertools.pairwise(by_serial.values()):
            assert before.champion != after.champion, "a mover did not decide against the champion it replaced"


class MoversOfAPointerSetBack(InterleavedMovers):
    """The same, begun with a history of four states and a pointer at an earlier one, or none."""

    @initialize(to=st.integers(0, 3))
    def open_store(self, to: int) -> None:
        home = type(self).make_home()
        set_back(home, 4, to)
        self.store, self.place = home.store, home.place
        self.to, self.serial, self.decided, self.started = to, to, 4, 0
        self.history: dict[str, bytes] = {}

    def not_far_apart(self, serial: int, decided: int) -> None:
        if serial == self.to:
            assert decided == 4, "a move was decided before the pointer was where it belongs"
        else:
            assert serial >= 4, "the pointer was left in the middle of an old history"
            assert decided <= serial + 1, "more than one move was decided before the pointer followed"


class DisturbedMovers(InterleavedMovers):
    """The same, where answers are lost, something else writes the pointer, and a dead mover's model is gone."""

    verify = staticmethod(without(3))

    @initialize()
    def open_store(self) -> None:
        home = type(self).make_home()
        for number in (1, 2):
            move_channel(home.store, promoting(number))
        with suppress(Killed):
            move_channel(dying_at(home.store, 3, "die before"), promoting(3))
        self.store, self.place = home.store, home.place
        self.serial, self.decided, self.started = 2, 3, 0
        self.history: dict[str, bytes] = {}

    @precondition(lambda self: self.running)
    @rule(who=st.integers(0, 3))
    def lose_an_answer(self, who: int) -> None:
        user = self.running[who % len(self.running)]
        user.step("lose the answer")
        self.retire(user)

    @rule(back=st.integers(0, 3))
    def write_the_pointer(self, back: int) -> None:
        """The same bytes once more, or an older state that may serve."""
        serial = max(1, self.serial - back)
        if serial == 3:  # the one that nobody may carry out
            return
        self.place.put(CHAMPION, self.place.read(history_name(serial)))
        self.serial = serial

    @rule(number=st.integers(1, 2), calls=st.integers(1, 8), back=st.integers(1, 3))
    def write_the_pointer_during_a_move(self, number: int, calls: int, back: int) -> None:
        """From beginning to end, since chance alone rarely writes between a mover's read and its swap."""
        self.start(number)
        mover = self.running[-1]
        for call in range(16):
            if mover.ended:  # before anything else wrote: what it was told is looked at now
                break
            if call == calls:
                self.write_the_pointer(back)
            mover.step()
            self.all_is_well()
        self.retire(mover)

    @invariant()
    def all_is_well(self) -> None:
        super().all_is_well()
        if hasattr(self, "place"):
            assert json.loads(self.place.read(CHAMPION))["champion"]["model_id"] != model(3).model_id

    def not_far_apart(self, serial: int, decided: int) -> None:
        """It may be: states are recorded that nobody carried out, and the pointer was set back."""


@pytest.mark.slow
@pytest.mark.parametrize("machine", [InterleavedMovers, MoversOfAPointerSetBack, DisturbedMovers])
def test_interleaved_movers(
    make_home: MakeHome, request: pytest.FixtureRequest, machine: type[InterleavedMovers]
) -> None:
    """Guards against any order of several movers' steps and deaths that one mover alone does not show."""
    over_this_store = type("OverThisStore", (machine,), {"make_home": staticmethod(make_home)})
    run_state_machine_as_test(
        over_this_store,
        settings=settings(
            # The steps are the same over both; over the network they take longer.
            max_examples=examples(60 if "directory" in request.node.name else 15),
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


# -- pointers that something else writes -------------------------------------------------------------


def rewriting(home: Home, what: str, times: int) -> HookedStore:
    """A store whose pointer is written by something else right before the swap, that many times."""
    left = [times]

    def hook(call: str, perform: Callable[[], Any]) -> Any:
        if call == "swap" and left[0]:
            left[0] -= 1
            old = home.place.read(CHAMPION) if what == "the same bytes" else home.place.read(history_name(1 + left[0]))
            home.place.put(CHAMPION, old)
        return perform()

    return HookedStore(home.store, hook)


@pytest.mark.parametrize("what", ["the same bytes", "an older state"])
@pytest.mark.parametrize("times", [1, 2])
def test_a_pointer_that_something_else_wrote_is_swapped_again(make_home: MakeHome, what: str, times: int) -> None:
    """Guards against 'serves now' where a key rotation or a copy of the bucket took the swap's generation away."""
    home = make_home()
    for number in (1, 2, 3):
        move_channel(home.store, promoting(number))
    moved = move_channel(rewriting(home, what, times), promoting(4))
    assert (moved.moved, moved.later) == (True, None)
    assert read_pointer(home.store) == moved.channel
    assert states(home.place) == (4, 4)


def test_a_pointer_that_is_written_over_for_ever_is_reported(make_home: MakeHome) -> None:
    """Guards against a loop without an end, and against success: the model does not serve."""
    home = make_home()
    for number in range(1, 9):
        move_channel(home.store, promoting(number))
    with pytest.raises(UnfinishedMoveError, match=r"serial 9, and the next command .* applies it; until then"):
        move_channel(rewriting(home, "an older state", 7), promoting(9))
    assert move_channel(home.store, leaves_it).caught_up_to is not None
    assert states(home.place) == (9, 9)


@pytest.mark.parametrize("landed", [True, False])
@pytest.mark.parametrize("write", [0, 1])
def test_an_outage_in_a_move_is_told_as_what_it_is(make_home: MakeHome, write: int, landed: bool) -> None:
    """Guards both words of an error: whether the move is recorded, and who carries it out."""
    home = make_home()
    move_channel(home.store, promoting(1))
    outage = Outage(home.store, write, landed=landed)
    known = (
        "is recorded in the history as serial 2"
        if write
        else "It is not known whether the move was recorded as serial 2"
    )
    with pytest.raises(UnfinishedMoveError, match=known) as caught:
        move_channel(outage.store, promoting(2))
    assert caught.value.wanted is not None
    outage.over()
    move_channel(outage.store, leaves_it)
    serial = 2 if write or landed else 1
    assert states(home.place) == (serial, serial)


@pytest.mark.parametrize("write", [0, 1])
def test_a_lost_answer_alone_is_no_failure(make_home: MakeHome, write: int) -> None:
    """Guards against an error for a move that reading back shows as made."""
    home = make_home()
    move_channel(home.store, promoting(1))
    outage = Outage(home.store, write)

    def once(_: str, perform: Callable[[], Any]) -> Any:
        try:
            return perform()
        except PublicationError:
            outage.over()
            raise

    assert move_channel(HookedStore(outage.store, once), promoting(2)).moved
    assert states(home.place) == (2, 2)


# -- models that are gone ----------------------------------------------------------------------------


def test_the_pointer_never_moves_to_a_model_that_is_gone(make_home: MakeHome) -> None:
    """Guards workers: a dead mover's state is carried out only while its model is there; and a way past it exists."""
    home = make_home()
    move_channel(home.store, promoting(1))
    with pytest.raises(BundleError, match="is missing"):
        move_verified_channel(home.store, promoting(2), without(2))
    assert states(home.place) == (1, 1)
    with pytest.raises(Killed):
        move_channel(dying_at(home.store, 3, "die before"), promoting(2))
    for decide in (leaves_it, promoting(2)):
        with pytest.raises(BundleError, match=r"Serial 2 .* cannot be applied: .*--to .* --from-serial 2 --reason"):
            move_verified_channel(home.store, decide, without(2))
    assert states(home.place) == (1, 2)
    passed = move_verified_channel(home.store, promoting(1), without(2))
    assert (passed.moved, passed.caught_up_to) == (True, None)
    assert states(home.place) == (3, 3)
    assert [state.champion for state in read_history(home.store)] == [model(1), model(2), model(1)]


def test_a_model_that_is_restored_is_carried_out(make_home: MakeHome) -> None:
    """Guards against a recorded move that is lost because its bundle was away for an hour."""
    home = make_home()
    move_channel(home.store, promoting(1))
    with pytest.raises(Killed):
        move_channel(dying_at(home.store, 3, "die before"), promoting(2))
    with pytest.raises(BundleError):
        move_verified_channel(home.store, leaves_it, without(2))
    assert move_verified_channel(home.store, leaves_it, without()).caught_up_to is not None
    assert states(home.place) == (2, 2)


# -- objects that are no states ----------------------------------------------------------------------


def test_stray_objects_beside_the_history_move_nothing(make_home: MakeHome) -> None:
    """Guards every command against a copy, an editor's file and a state from elsewhere that lie in the folder."""
    home = make_home()
    for number in (1, 2):
        move_channel(home.store, promoting(number))
    for name in ("000002.json.bak", "000002 (1).json", "readme.txt", "000000.json", "x/000003.json"):
        home.place.put(f"{HISTORY}{name}", b"garbage")
    home.place.put(history_name(40), first(3).to_bytes())
    state = read_pointer(home.store)
    assert state is not None
    assert newest_state_ahead(home.store, state) is None
    home.place.put(CHAMPION, home.place.read(history_name(1)))
    moved = move_channel(home.store, promoting(3))
    assert moved.channel is not None
    assert moved.channel.serial == 3
    assert [each.serial for each in read_history(home.store)] == [1, 2, 3]
    assert [each.serial for each in read_history(home.store, newest=2)] == [2, 3]
    home.place.put(CHAMPION, b"damaged")
    assert [each.serial for each in read_history(home.store)] == [1, 2, 3]
    home.place.remove(CHAMPION)
    assert [each.serial for each in read_history(home.store)] == [1, 2, 3]


def test_a_state_by_somebody_who_cannot_move_the_pointer_is_reported(make_home: MakeHome) -> None:
    """Guards what holds without signatures: readers never follow it, and no move applies it without a word."""
    home = make_home()
    for number in (1, 2):
        move_channel(home.store, promoting(number))
    home.place.put(history_name(3), first(3, reason="planted").model_copy(update={"serial": 3}).to_bytes())
    state = read_channel(home.store)
    assert state is not None
    assert state.champion == model(2)
    ahead = newest_state_ahead(home.store, state)
    assert ahead is not None
    assert (ahead.serial, ahead.reason) == (3, "planted")
    with pytest.raises(BundleError, match=r"Serial 3 .* cannot be applied: .*--from-serial 3 --reason"):
        move_verified_channel(home.store, leaves_it, without(3))
    assert states(home.place) == (2, 3)
    applied = move_channel(home.store, leaves_it)
    assert f"serial 3, promote, in which {model(3).model_id} serves" in applied.catch_up_note
