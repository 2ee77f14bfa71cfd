"""Every command that moves the pointer, through a lost answer and an outage, and then the same command again.

On a directory and on Cloud Storage. The bucket is looked at after every call that reached the server: the pointer only
moves forward, and holds what the history has. However a command ends, and however often it is run again, be it from its
serial or as it was typed, the channel has moved once.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import pytest

from nba_ml.contract.errors import PublicationError, ReleaseError
from nba_ml.registry.channel import read_channel, read_history
from nba_ml.registry.moves import MoveResult, UnfinishedMoveError, require_model_intact
from nba_ml.registry.promotion import Promotion, promote
from nba_ml.registry.publication import list_published
from nba_ml.registry.release_context import ReleaseContext
from nba_ml.registry.rollback import rollback, rollout_stop
from nba_ml.registry.rollout import rollout_advance, rollout_start
from nba_ml.storage.cloud import CloudStore
from nba_ml.storage.directory import DirectoryStore
from nba_ml.storage.objects import ObjectStore
from nba_ml_tests.cloud.gcs import BucketView, emulator_client, make_bucket
from nba_ml_tests.faults.proxy import KINDS, WHENS, Call, Fault, FaultProxy, Kind, Plan, When
from nba_ml_tests.faults.summary import PREFIX
from nba_ml_tests.registry.places import Folder, Place, contents
from nba_ml_tests.registry.stoppable import Outage
from nba_ml_tests.registry.test_channel import states
from nba_ml_tests.release_scene import AT, WHY, bench_of, published_model

Record = Callable[[str, object], None]
Act = Callable[[ReleaseContext, list[str], int | None], MoveResult | Promotion]
"""A command on a bench with three published models, from a serial or, with None, as it was typed."""

UNTIL = (date(2022, 1, 9), date(2022, 1, 17), date(2022, 1, 31))


def started(bench: ReleaseContext, ids: list[str], serial: int | None) -> MoveResult:
    return rollout_start(bench, ids[1], AT, WHY, date(2022, 1, 1), serial, share=10, waived=("comparison",))


def advanced(step: int) -> Act:
    return lambda bench, _, serial: rollout_advance(bench, AT, UNTIL[step], serial)[1]


@dataclass(frozen=True)
class Command:
    """A command, the scene that it is run on, what it makes (kind and share), and whether it loads models.

    An asset knows no serial: it is run again as it is.
    """

    act: Act
    scene: str
    makes: tuple[str, int]
    heavy: bool = False
    is_asset: bool = False


COMMANDS = {
    "champion promote, the first": Command(
        lambda bench, ids, serial: promote(bench, AT, ids[0], from_serial=serial), "published", ("promote", 0), True
    ),
    "champion promote": Command(
        lambda bench, ids, serial: promote(bench, AT, ids[2], from_serial=serial), "one", ("promote", 0), True
    ),
    "champion promote --reason": Command(
        lambda bench, ids, serial: promote(bench, AT, ids[1], WHY, ["grade", "bias"], serial),
        "one",
        ("promote", 0),
        True,
    ),
    "champion rollback": Command(
        lambda bench, _, serial: rollback(bench.objects, AT, WHY, None, serial), "three", ("rollback", 0)
    ),
    "champion rollback --to": Command(
        lambda bench, ids, serial: rollback(bench.objects, AT, WHY, ids[0], serial), "three", ("rollback", 0)
    ),
    "rollout start": Command(started, "one", ("rollout_start", 10)),
    "rollout advance": Command(advanced(0), "at 10%", ("rollout_advance", 50), True),
    "rollout advance, the last": Command(advanced(2), "at 100%", ("rollout_finish", 0), True),
    "rollout stop": Command(
        lambda bench, _, serial: rollout_stop(bench.objects, AT, WHY, from_serial=serial),
        "at 100%",
        ("rollout_stop", 0),
    ),
    "rollout stop --forget": Command(
        lambda bench, _, serial: rollout_stop(bench.objects, AT, WHY, forget=True, from_serial=serial),
        "at 100%",
        ("rollout_stop", 0),
    ),
    "the asset champion": Command(lambda bench, _, __: promote(bench, AT), "one", ("promote", 0), True, True),
    "the asset rollout": Command(
        lambda bench, _, __: rollout_advance(bench, AT)[1], "at 10%", ("rollout_advance", 50), True, True
    ),
}


@dataclass(frozen=True)
class Stage:
    """Where the commands are tried: a bench whose models lie elsewhere for each trial, and the scenes to begin with."""

    bench: ReleaseContext
    ids: list[str]
    scenes: dict[str, dict[str, bytes]]

    def run(self, command: Command, objects: ObjectStore, serial: int | None) -> MoveResult | Promotion:
        return command.act(replace(self.bench, objects=objects), self.ids, serial)

    def set_up(self, command: Command, place: Place) -> int:
        """Put the command's scene there; the serial that it begins with."""
        for name, data in self.scenes[command.scene].items():
            place.put(name, data)
        return states(place)[1]


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Stage:
    root = tmp_path_factory.mktemp("stage")
    store, place = DirectoryStore(root / "artifacts"), Folder(root / "artifacts")
    bench = bench_of(store, DirectoryStore(root / "store"))
    for month in ("2021-11", "2021-12", "2022-01"):
        published_model(store, month)
    ids, scenes = list_published(store), {"published": contents(place)}
    promote(bench, AT, ids[0])
    scenes["one"] = contents(place)
    started(bench, ids, None)
    scenes["at 10%"] = contents(place)
    for step in (0, 1):
        advanced(step)(bench, ids, None)
    scenes["at 100%"] = contents(place)
    three = DirectoryStore(root / "three")
    for name, data in scenes["one"].items():
        three.create(name, data)
    for identity in ids[1:]:
        assert promote(replace(bench, objects=three), AT, identity).moved
    return Stage(bench, ids, scenes | {"three": contents(Folder(root / "three"))})


def run_again(
    stage: Stage, command: Command, objects: ObjectStore, place: Place, serial: int | None, began: int
) -> None:
    """Run the command twice more, and see that the channel has moved once: from where it began, as it was asked to."""
    for _ in range(2):
        try:
            done = stage.run(command, objects, serial)
        except ReleaseError:
            assert serial is None, "only a command as it was typed may be refused: it began before, or is done"
        else:
            assert serial is None or command.is_asset or done.moved or done.already is not None
        assert states(place) == (began + 1, began + 1)
    state = read_channel(objects)
    assert state is not None
    assert (state.kind, state.share) == command.makes
    assert [each.serial for each in read_history(objects)] == list(range(1, began + 2))
    for model in filter(None, (state.champion, state.challenger)):
        require_model_intact(objects, model)


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_on_a_directory(stage: Stage, name: str, tmp_path: Path, record_property: Record) -> None:
    """Guards whoever does what a message says: the answer of a write is lost, then all is, then the same again."""
    command, numbers = COMMANDS[name], itertools.count()
    for write, landed, exact in itertools.product((0, 1), (False, True), (False, True)):
        root = tmp_path / str(next(numbers))
        store, place = DirectoryStore(root), Folder(root)
        began = stage.set_up(command, place)
        outage = Outage(store, write, landed=landed)
        with pytest.raises(UnfinishedMoveError) as caught:
            stage.run(command, outage.store, None)
        assert caught.value.from_serial == began
        run_again(stage, command, store, place, began if exact else None, began)
    runs = next(numbers)
    record_property(f"{PREFIX}runs", runs)
    record_property(f"{PREFIX}faults", runs)


class Watch:
    """Looks at the channel after every call: it raises AssertionError for what no reader may ever see."""

    def __init__(self, place: Place) -> None:
        self._place, self._pointer = place, states(place)[0]

    def __call__(self) -> None:
        pointer, history = states(self._place)
        assert self._pointer <= pointer, f"the pointer moved back from {self._pointer} to {pointer}"
        assert history <= pointer + 1, "a move was decided before the last one was carried out"
        self._pointer = pointer


def losing(write: int, fault: Fault) -> Plan:
    """The fault at the n-th write, counted from 0, and from then on no answer at all."""
    seen, out = itertools.count(), [False]

    def plan(call: Call) -> Fault | None:
        if out[0]:
            return Fault("reset", "before")
        out[0] = call.method == "POST" and next(seen) == write
        return fault if out[0] else None

    return plan


@pytest.fixture(scope="module")
def proxy(gcs_endpoint: str) -> Iterator[FaultProxy]:
    with FaultProxy(gcs_endpoint).running() as running:
        yield running


@pytest.mark.parametrize("name", COMMANDS)
def test_on_cloud_storage(
    stage: Stage, gcs_endpoint: str, proxy: FaultProxy, name: str, record_property: Record
) -> None:
    """Guards the same where answers are really lost. Commands that load models meet the kinds of fault in turn."""
    command, bucket, arrived, injected = COMMANDS[name], make_bucket(gcs_endpoint), proxy.arrived, proxy.injected
    kinds = itertools.cycle(KINDS)
    cases: list[tuple[int, When, Kind]] = [
        (write, when, kind)
        for write, when in itertools.product((0, 1), WHENS)
        for kind in ((next(kinds),) if command.heavy else KINDS)
    ]
    for number, (write, when, kind) in enumerate(cases):
        place = BucketView(gcs_endpoint, bucket, str(number))
        began = stage.set_up(command, place)
        store = CloudStore(bucket, str(number), emulator_client(gcs_endpoint))
        # Long enough for any other answer of a busy machine: only the lost one may be given up.
        patience = 1.0 if kind == "silence" else 30.0
        unlucky = CloudStore(bucket, str(number), emulator_client(proxy.endpoint), 0.1, patience, first_pause=0.005)
        watch = Watch(BucketView(gcs_endpoint, bucket, str(number)))
        with proxy.disturbing(losing(write, Fault(kind, when)), watch), pytest.raises(UnfinishedMoveError) as caught:
            stage.run(command, unlucky, None)
        assert proxy.violations == []
        assert caught.value.from_serial == began
        run_again(stage, command, store, place, began if number % 2 else None, began)
        watch()
    record_property(f"{PREFIX}runs", len(cases))
    record_property(f"{PREFIX}calls", proxy.arrived - arrived)
    record_property(f"{PREFIX}faults", proxy.injected - injected)


@pytest.mark.parametrize("name", [name for name, command in COMMANDS.items() if not command.heavy])
@pytest.mark.parametrize("when", WHENS)
def test_an_outage_from_any_call_on(
    stage: Stage, gcs_endpoint: str, proxy: FaultProxy, name: str, when: When, record_property: Record
) -> None:
    """Guards the calls between the writes: whatever answers were missing, the same command again moves once."""
    command, bucket, arrived, injected = COMMANDS[name], make_bucket(gcs_endpoint), proxy.arrived, proxy.injected
    for number in itertools.count():
        place = BucketView(gcs_endpoint, bucket, str(number))
        began = stage.set_up(command, place)
        store = CloudStore(bucket, str(number), emulator_client(gcs_endpoint))
        unlucky = CloudStore(bucket, str(number), emulator_client(proxy.endpoint), 0.1, 30.0, first_pause=0.005)
        serial = None

        def plan(call: Call, first: int = number) -> Fault | None:
            return None if call.number < first else Fault("503", when if call.number == first else "before")

        with proxy.disturbing(plan, Watch(BucketView(gcs_endpoint, bucket, str(number)))):
            try:
                stage.run(command, unlucky, None)
            except UnfinishedMoveError as error:
                serial = error.from_serial
            except PublicationError:
                assert states(place) == (began, began), "it was not told that something may have moved"
            else:
                break
        assert proxy.violations == []
        run_again(stage, command, store, place, serial, began)
    assert number > 5
    record_property(f"{PREFIX}runs", number)
    record_property(f"{PREFIX}calls", proxy.arrived - arrived)
    record_property(f"{PREFIX}faults", proxy.injected - injected)
