"""Rollbacks between real models, and what races with them."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from nba_ml.contract.errors import BundleError, ReleaseError
from nba_ml.registry.channel import CHAMPION, Channel, history_name, read_channel, read_history
from nba_ml.registry.manifest import BundleNames
from nba_ml.registry.promotion import promote
from nba_ml.registry.release_context import ReleaseContext
from nba_ml.registry.rollback import rollback, rollout_stop
from nba_ml.registry.rollout import rollout_start
from nba_ml.registry.systems.loading import find_model
from nba_ml_tests.registry.places import Folder
from nba_ml_tests.registry.stoppable import HookedStore, Killed
from nba_ml_tests.registry.test_channel import states
from nba_ml_tests.release_scene import AT, SLOW_LEARNER, WHY, champion_of, published_model


@pytest.mark.slow
def test_rolling_back_goes_further_back_each_time(bench: ReleaseContext, three: tuple[str, str, str]) -> None:
    """Guards against the see-saw: a rollback never brings back by itself what was thrown out before."""
    first, second, third = three
    assert rollback(bench.objects, AT, WHY).moved
    assert champion_of(bench) == second
    assert rollback(bench.objects, AT, WHY, to=first).moved
    assert champion_of(bench) == first
    assert read_channel(bench.objects).set_aside == (second, third)  # type: ignore[union-attr]
    with pytest.raises(ReleaseError, match="is shorter than 10 characters"):
        rollback(bench.objects, AT, "oops")


@pytest.mark.usefixtures("three")
def test_rolling_back_is_quick(bench: ReleaseContext) -> None:
    """Guards the promise of an incident: what it reads does not grow with the history, and no row is scored."""
    asked: list[str] = []

    def count(what: str, perform: Callable[[], Any]) -> Any:
        asked.append(what)
        return perform()

    assert rollback(HookedStore(bench.objects, count), AT, WHY).moved
    # The pointer as the person sees it; the pointer and whether the history is ahead of it; the bundle; the move, and
    # the pointer read back.
    assert asked == ["read", *["read"] * 2, *["read"] * 3, "create", "swap", "read"]


def test_a_named_champion_can_be_gone_back_to_and_nothing_else(
    bench: ReleaseContext, three: tuple[str, str, str]
) -> None:
    """Guards against a rollback as a back door for models that never passed a promotion."""
    first, _, third = three
    assert rollback(bench.objects, AT, WHY, to=first).moved
    assert champion_of(bench) == first
    assert not rollback(bench.objects, AT, WHY, to=first).moved
    never = published_model(bench.objects, "2022-01", SLOW_LEARNER)
    for other in (never, "mock", "xgboost_v1_33features_202201_000000000000"):
        with pytest.raises(ReleaseError, match="was never the champion"):
            rollback(bench.objects, AT, WHY, to=other)
    assert rollback(bench.objects, AT, WHY, to=third).moved  # forward again, by name
    # Only what was left is set aside: the champion is not, though it was rolled back earlier.
    assert read_channel(bench.objects).set_aside == (first,)  # type: ignore[union-attr]


def test_a_model_rolled_back_from_does_not_come_back_by_itself(
    bench: ReleaseContext, three: tuple[str, str, str]
) -> None:
    """Guards against the scheduler that promotes at night what somebody threw out in the afternoon."""
    rollback(bench.objects, AT, WHY)
    done = promote(bench, AT)
    assert not done.moved
    assert "it was rolled back, or its rollout was stopped" in done.message
    assert promote(bench, AT, three[2], reason=WHY).moved
    assert three[2] not in read_channel(bench.objects).set_aside  # type: ignore[union-attr]


def test_a_rollback_to_a_damaged_bundle_is_refused(
    bench: ReleaseContext, root: Path, three: tuple[str, str, str]
) -> None:
    """Guards the pointer in the hour in which everything is wrong at once."""
    (root / BundleNames.of(three[1]).booster).write_bytes(b"{}")
    with pytest.raises(BundleError, match="cannot be trusted"):
        rollback(bench.objects, AT, WHY)
    assert champion_of(bench) == three[2]
    assert rollback(bench.objects, AT, WHY, to=three[0]).moved


def test_two_people_who_roll_back_at_once_go_back_once(bench: ReleaseContext, three: tuple[str, str, str]) -> None:
    """Guards an incident with two heroes: the second must not undo more than both meant to."""
    armed = [True]

    def faster(what: str, perform: Callable[[], Any]) -> Any:
        if what == "create" and armed:
            armed.clear()
            assert rollback(bench.objects, AT, WHY).moved
        return perform()

    assert not rollback(HookedStore(bench.objects, faster), AT, WHY).moved
    assert champion_of(bench) == three[1]


def test_a_rollback_that_lost_to_a_promotion_says_so(bench: ReleaseContext, three: tuple[str, str, str]) -> None:
    """Guards against rolling back a model that nobody has complained about."""
    armed = [True]
    rollback(bench.objects, AT, WHY)

    def faster(what: str, perform: Callable[[], Any]) -> Any:
        if what == "create" and armed:
            armed.clear()
            assert promote(bench, AT, three[2], reason=WHY).moved
        return perform()

    with pytest.raises(ReleaseError, match="Another command has moved the channel"):
        rollback(HookedStore(bench.objects, faster), AT, WHY, to=three[0])
    assert champion_of(bench) == three[2]


def killed_before_the_pointer_follows(bench: ReleaseContext) -> None:
    """A rollback that the history has, and the pointer has not."""

    def kill(what: str, perform: Callable[[], Any]) -> Any:
        if what == "swap":
            raise Killed
        return perform()

    with pytest.raises(Killed):
        rollback(HookedStore(bench.objects, kill), AT, WHY)


def test_a_rollback_that_died_half_way_is_finished_and_not_done_twice(
    bench: ReleaseContext, three: tuple[str, str, str]
) -> None:
    """Guards whoever tries again after a kill: they see the bad model serve still, and mean the one before it."""
    killed_before_the_pointer_follows(bench)
    assert champion_of(bench) == three[2]
    again = rollback(bench.objects, AT, WHY)
    assert (again.moved, again.caught_up_to) == (False, again.channel)
    assert champion_of(bench) == three[1]
    assert states(Folder(bench.objects.root)) == (4, 4)  # type: ignore[attr-defined]
    assert rollback(bench.objects, AT, WHY, to=three[0]).moved  # and now one further
    assert champion_of(bench) == three[0]


def test_a_promotion_finishes_a_rollback_that_died_half_way(bench: ReleaseContext, three: tuple[str, str, str]) -> None:
    """Guards against 'is already the champion' of a model that was rolled back from, and exit code 0."""
    killed_before_the_pointer_follows(bench)
    done = promote(bench, AT)
    assert not done.moved
    assert done.message.startswith("The pointer was behind its history")
    assert f"serial 4, rollback, in which {three[1]} serves" in done.message
    refused = f"{three[2]} does not become the champion. Not met: not_set_aside: it was rolled back, or its rollout was"
    assert refused in done.message
    assert champion_of(bench) == three[1]


def test_a_rollback_of_a_pointer_that_was_set_back_shows_who_serves_first(
    bench: ReleaseContext, three: tuple[str, str, str], root: Path
) -> None:
    """Guards against rolling back, from the newest state, a model that the person has not seen serve."""
    (root / CHAMPION).write_bytes((root / history_name(1)).read_bytes())
    assert champion_of(bench) == three[0]
    with pytest.raises(ReleaseError, match=rf"{three[2]} serves now .* The pointer was behind its history .* serial 3"):
        rollback(bench.objects, AT, WHY)
    assert champion_of(bench) == three[2]
    (root / CHAMPION).unlink()
    moved = rollback(bench.objects, AT, WHY)
    assert moved.moved
    assert moved.caught_up_to is not None
    assert champion_of(bench) == three[1]


def test_whatever_happens_at_once_the_pointer_names_a_whole_bundle(
    bench: ReleaseContext, three: tuple[str, str, str], root: Path
) -> None:
    """Guards the worker: promotions, rollbacks and rollouts race, and every state ever taken is one that can serve."""
    acts: list[Callable[[], object]] = [
        lambda: rollback(bench.objects, AT, WHY),
        lambda: promote(bench, AT, three[2], reason=WHY),
        lambda: rollout_start(bench, "mock", AT, WHY, share=10),
        lambda: rollout_stop(bench.objects, AT, WHY),
        lambda: promote(bench, AT, three[0], reason=WHY, waived=["grade", "bias"]),
    ]

    def attempt(act: Callable[[], object]) -> str:
        try:
            act()
        except ReleaseError:
            return "refused"
        return "done"

    refused = 0
    with ThreadPoolExecutor(3) as pool:
        for round_ in itertools.islice(itertools.permutations(acts, 3), 12):
            refused += list(pool.map(attempt, round_)).count("refused")
    serial, decided = states(Folder(root))
    assert serial == decided
    history = read_history(bench.objects)
    assert len(history) == serial
    for state in history:
        assert find_model(bench.objects, state.champion.model_id) == state.champion
        assert Channel.from_bytes(state.to_bytes(), CHAMPION) == state
    print(f"36 operations in races of 3: {serial - 3} moves, {refused} refused, the rest changed nothing")
