"""Whose turn it is to be answered, and to be closed: the rules of `Connections`, on connections that are made up.

`test_connections` has the same with sockets; here every pass of the event loop and every second is the test's.
"""

from __future__ import annotations

import ctypes
import resource
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from nba_ml.serving.http import connections, service
from nba_ml.serving.http.connections import MANY, Connections
from nba_ml.serving.http.limits import ACCEPTING_PASSES, SWEEP_SECONDS, TRIM_SECONDS, Limits

HTTP_PAGE = Path(__file__).parents[3] / "docs/pages/reference/http.md"


class Loop:
    """An event loop that goes on when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0
        self.soon: list[Callable[[], None]] = []
        self.later: list[tuple[float, Callable[[], None]]] = []

    def time(self) -> float:
        return self.now

    def call_soon(self, call: Callable[..., None], *given: Any) -> None:
        self.soon.append(lambda: call(*given))

    def call_later(self, seconds: float, call: Callable[..., None], *given: Any) -> None:
        self.later.append((seconds, lambda: call(*given)))

    def next_pass(self) -> None:
        due, self.soon = self.soon, []
        for call in due:
            call()

    def sweep(self) -> None:
        [(seconds, call)] = self.later
        self.later.clear()
        assert seconds == SWEEP_SECONDS
        call()


@dataclass(eq=False)
class Connection:
    """What `Connections` asks of one."""

    every: Connections
    loop: Loop
    address: str = "a"
    since: float = 0.0
    unread: int = 0
    waits: bool = True
    dropped: bool = False
    answered: list[str] = field(default_factory=list)
    times: list[float] = field(default_factory=list)

    def start(self, cycle: Any, app: Any) -> None:
        self.answered.append(f"{cycle.scope['path']} by {app}")

    def keep_time(self, now: float) -> None:
        self.times.append(now)

    def drop(self) -> None:
        self.every.closed(self)  # type: ignore[arg-type]
        self.dropped = True


class Scene:
    """Connections within these limits, and a loop."""

    def __init__(self, **limits: int) -> None:
        self.loop = Loop()
        self.every = Connections(replace(Limits(), **limits))

    def opens(self, address: str = "a", **state: Any) -> Connection:
        connection = Connection(self.every, self.loop, address, **state)
        self.every.opened(connection)  # type: ignore[arg-type]
        return connection

    def asks(self, connection: Connection, path: str = "/predict", *, gone: bool = False) -> None:
        cycle = SimpleNamespace(scope={"path": path}, disconnected=gone)
        self.every.start(connection, cycle, "the app")  # type: ignore[arg-type]


def test_one_request_is_answered_in_each_pass_and_health_at_once() -> None:
    """Guards a monitor: behind a thousand requests that arrived together, it would be told after all of them."""
    scene = Scene()
    one, other = scene.opens(), scene.opens()
    scene.every._accepted = False  # they came long ago
    for connection in (one, one, other):
        scene.asks(connection)
    scene.asks(other, gone=True)
    scene.asks(one)
    assert (one.answered, other.answered) == (["/predict by the app"], [])
    scene.asks(other, "/health")
    assert other.answered == ["/health by the app"]
    scene.loop.next_pass()
    assert (len(one.answered), len(other.answered)) == (2, 1)
    scene.loop.next_pass()
    assert (len(one.answered), len(other.answered)) == (2, 2)
    scene.loop.next_pass()
    assert len(one.answered) == 3, "whoever has gone takes no pass"
    scene.loop.next_pass()
    assert scene.loop.soon == []
    scene.asks(one)
    assert len(one.answered) == 4, "after a rest it begins again"


def test_new_connections_go_before_requests_but_not_without_end() -> None:
    """Guards both: the monitor's new connection, and whoever asked while others open one after the other."""
    scene = Scene()
    one = scene.opens()
    scene.asks(one)
    assert one.answered == []
    scene.loop.next_pass()
    assert len(one.answered) == 1, "no connection was accepted in that pass"
    for answers in (2, 3):  # the count begins again with each answer
        scene.loop.next_pass()
        scene.opens()
        scene.asks(one)
        for _ in range(ACCEPTING_PASSES - 1):
            scene.opens()
            scene.loop.next_pass()
        assert len(one.answered) == answers - 1
        scene.opens()
        scene.loop.next_pass()
        assert len(one.answered) == answers


def test_who_has_too_many_connections_loses_those_that_have_waited_longest() -> None:
    scene = Scene(client_connections=3, connections=4)
    old, young, working, older = (
        scene.opens(since=since, waits=waits) for since, waits in ((2, True), (3, True), (0, False), (1, True))
    )
    other = scene.opens("b", since=0)
    scene.loop.sweep()
    assert [each.dropped for each in (old, young, working, older)] == [False, False, False, True]
    assert young.times == [100.0]
    third = scene.opens("c", since=0)
    scene.loop.sweep()
    assert [each.dropped for each in (old, young, working)] == [True, False, False], "the client with the most"
    assert not other.dropped
    assert not third.dropped


def test_one_address_has_its_own_limit() -> None:
    """Guards the other clients, long before all connections are taken."""
    scene = Scene(client_connections=2)
    many = [scene.opens(since=since) for since in (3, 1, 2)]
    few = [scene.opens("b") for _ in range(2)]
    scene.loop.sweep()
    assert [each.dropped for each in (*many, *few)] == [False, True, False, False, False]


def test_of_too_many_connections_all_that_can_be_closed_are() -> None:
    scene = Scene(connections=2)
    clients = [scene.opens(str(number)) for number in range(5)]
    scene.loop.sweep()
    assert sum(client.dropped for client in clients) == 3
    busy = Scene(connections=1)
    for _ in range(3):
        busy.opens(waits=False)
    busy.loop.sweep()
    assert len(busy.every._open) == 3, "the service works for all of them"


def test_a_burst_is_stopped_at_once() -> None:
    scene = Scene(burst_connections=2)
    first, second = scene.opens(since=1), scene.opens(since=2)
    assert not first.dropped
    third = scene.opens(since=3)
    assert [first.dropped, second.dropped, third.dropped] == [True, False, False]


def test_answers_that_nobody_reads_are_given_up_longest_waiting_first() -> None:
    scene = Scene(unread_bytes=100)
    late, early, read, middle = (
        scene.opens(since=since, unread=unread) for since, unread in ((3, 60), (1, 60), (0, 0), (2, 40))
    )
    scene.loop.sweep()
    assert [each.dropped for each in (late, early, read, middle)] == [False, True, False, False]
    late.unread = 61
    scene.loop.sweep()
    assert [each.dropped for each in (late, read, middle)] == [False, False, True]


def test_the_sweep_ends_with_the_last_connection_and_begins_with_the_next() -> None:
    scene = Scene()
    one = scene.opens()
    scene.opens()
    scene.loop.sweep()
    for connection in list(scene.every._open):
        scene.every.closed(connection)
    scene.every.closed(one)  # type: ignore[arg-type] # twice is once
    scene.loop.sweep()
    assert scene.loop.later == []
    scene.opens()
    scene.loop.sweep()


def test_memory_is_given_back_after_a_flood_and_not_too_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards a container's memory limit; and the service, which a flood would make do nothing else."""
    given: list[float] = []
    scene = Scene()
    monkeypatch.setattr(connections, "_give_memory_back", lambda: given.append(scene.loop.now))
    scene.opens()
    scene.loop.sweep()
    assert given == [], "one connection is no flood"
    for _ in range(MANY - 1):
        scene.opens()
    scene.loop.sweep()
    assert given == []
    scene.opens()
    scene.loop.sweep()
    assert given == [100.0]
    assert TRIM_SECONDS == 5.0
    for now in (105.0, 105.1):
        scene.loop.now = now
        scene.loop.sweep()
    assert given == [100.0, 105.1]
    for connection in list(scene.every._open)[1:]:
        scene.every.closed(connection)
    scene.loop.now = 200.0
    scene.loop.sweep()
    assert given == [100.0, 105.1], "the flood has ended"
    scene.loop.now = 105.1
    for connection in list(scene.every._open):
        scene.every.closed(connection)
    scene.every.flooded = True
    scene.loop.sweep()
    assert given == [100.0, 105.1, 105.1], "nobody is left who could be held up"


def test_memory_is_given_back_where_the_system_can(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[int] = []
    for library in (SimpleNamespace(malloc_trim=kept.append), SimpleNamespace()):
        monkeypatch.setattr(ctypes, "CDLL", lambda _, library=library: library)
        connections._give_memory_back()
    assert kept == [0]


@pytest.mark.parametrize(
    ("soft", "hard", "allowed"),
    [
        (1_024, 4_000, (4_000, 4_000)),
        (1_024, 3_000, (3_000, 3_000)),
        (1_024, resource.RLIM_INFINITY, (4_000, resource.RLIM_INFINITY)),
        (4_000, 8_000, None),
        (5_000, 8_000, None),
        (resource.RLIM_INFINITY, resource.RLIM_INFINITY, None),
    ],
)
def test_a_process_may_open_as_many_files_as_it_may_have_connections(
    monkeypatch: pytest.MonkeyPatch, soft: int, hard: int, allowed: tuple[int, int] | None
) -> None:
    made: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (soft, hard))
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: made.append(limits))
    service._allow_connections(Limits())
    assert made == ([] if allowed is None else [allowed])


def test_the_documented_limits_are_the_services() -> None:
    limits, kib, mib = Limits(), 2**10, 2**20
    page = HTTP_PAGE.read_text(encoding="utf-8")
    for row in (
        f"| rows of a slate | {limits.rows:,} (",
        f"| bytes of the body | {limits.body_bytes / mib:g} MiB (",
        f"opening brackets) | {limits.values_per_row} for each row",
        f"headers and trailers | {limits.head_bytes / kib:g} KiB, and {limits.headers} fields |",
        f"| {limits.chunks:,}, with {limits.framing_bytes / kib:g} KiB of sizes",
        f"(pipelining) | {limits.pipelined} |",
        f"headers have arrived | {limits.head_seconds:g} |",
        f"body has arrived | {limits.body_seconds:g} |",
        f"read the response | {limits.write_seconds:g} |",
        f"two requests of a connection | {limits.idle_seconds:g} |",
        f"bodies over {limits.small_body_bytes / kib:g} KiB, of all clients at once | "
        f"{limits.large_bodies_bytes / mib:g} MiB, of one client {limits.large_bodies_bytes / mib / 2:g} MiB |",
        f"responses that nobody has read yet, of all clients | {limits.unread_bytes / mib:g} MiB |",
        f"bytes of a connection in the kernel, each way | {limits.kernel_bytes / kib:g} KiB |",
        f"slates waiting for a prediction | {limits.slates} |",
        f"with `?explain=1` | {limits.explained_rows}, and {limits.explaining} such requests waiting |",
        f"connections of one address | {limits.client_connections} (",
        f"connections of all addresses | {limits.connections:,}, and {limits.burst_connections:,} at any moment |",
    ):
        assert row in page, row
