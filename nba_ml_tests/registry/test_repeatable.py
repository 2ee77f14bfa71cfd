"""Commands that are run again after an outcome that nobody knows, and states whose bundles are gone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from nba_ml.contract.errors import BundleError, ReleaseError
from nba_ml.registry.channel import read_channel, read_history
from nba_ml.registry.manifest import BundleNames
from nba_ml.registry.moves import UnfinishedMoveError
from nba_ml.registry.promotion import promote
from nba_ml.registry.release_context import ReleaseContext
from nba_ml.registry.rollback import rollback, rollout_stop
from nba_ml.registry.rollout import rollout_start
from nba_ml.storage.objects import ObjectStore
from nba_ml_tests.registry.places import Folder
from nba_ml_tests.registry.stoppable import Outage
from nba_ml_tests.registry.test_channel import states
from nba_ml_tests.release_scene import AT, WHY, champion_of


def left_half_way(objects: ObjectStore, act: Callable[[ObjectStore], Any]) -> None:
    """A move that the history has, and the pointer has not."""
    with pytest.raises(UnfinishedMoveError):
        act(Outage(objects, 1, landed=False).store)


@pytest.mark.slow
def test_a_serial_that_others_moved_on_from_is_refused(bench: ReleaseContext, three: tuple[str, str, str]) -> None:
    """Guards against a command that was meant for another state: who moved it, when and why is said."""
    assert promote(bench, AT, three[0], reason=WHY, waived=["grade", "bias"]).moved
    for act in (
        lambda: rollback(bench.objects, AT, WHY, from_serial=3),
        lambda: rollout_start(bench, "mock", AT, WHY, from_serial=3, share=10),
        lambda: rollout_stop(bench.objects, AT, WHY, from_serial=3),
        lambda: promote(bench, AT, three[1], WHY, from_serial=3),
    ):
        with pytest.raises(ReleaseError, match=rf"has moved the channel: {three[0]} serves now \(serial 4, prom"):
            act()
    with pytest.raises(ReleaseError, match="There is no serial 9 to start from: the channel is at serial 4"):
        rollback(bench.objects, AT, WHY, from_serial=9)
    assert read_history(bench.objects)[-1].serial == 4


def test_a_rollout_after_a_rollback_does_not_hide_it(bench: ReleaseContext, three: tuple[str, str, str]) -> None:
    """Guards against going back twice because a rollout was started and stopped in between."""
    rollback(bench.objects, AT, WHY)
    rollout_start(bench, "mock", AT, WHY, date(2022, 1, 1), share=10)
    rollout_stop(bench.objects, AT, WHY)
    with pytest.raises(ReleaseError, match=rf"since the rollback of serial 4 .*--to {three[0]}"):
        rollback(bench.objects, AT, WHY)
    assert rollback(bench.objects, AT, WHY, to=three[0]).moved


def test_a_recorded_champion_whose_bundle_is_gone_is_passed_over(
    bench: ReleaseContext, three: tuple[str, str, str], root: Path
) -> None:
    """Guards the healthy pointer: it stays where it is, and goes straight to the next good state."""
    left_half_way(bench.objects, lambda store: rollback(store, AT, WHY, to=three[0]))
    (root / BundleNames.of(three[0]).booster).unlink()
    out = rf"cannot be applied: .* an object; found.*champion rollback --to {three[2]} --from-serial 4 --reason"
    for act in (
        lambda: rollback(bench.objects, AT, WHY),
        lambda: rollout_start(bench, "mock", AT, WHY, share=10),
        lambda: promote(bench, AT),
    ):
        with pytest.raises((BundleError, ReleaseError), match=out):
            act()
        assert champion_of(bench) == three[2]
    done = rollback(bench.objects, AT, WHY, to=three[2], from_serial=4)
    assert done.moved
    assert champion_of(bench) == three[2]
    assert states(Folder(root)) == (5, 5)
    assert [state.champion.model_id for state in read_history(bench.objects)] == [*three, three[0], three[2]]
    assert rollback(bench.objects, AT, WHY, to=three[1]).moved


def test_a_recorded_challenger_whose_bundle_is_gone_is_forgotten(
    bench: ReleaseContext, pair: tuple[str, str], root: Path
) -> None:
    """Guards against a rollout that nobody can start, stop or pass over."""
    left_half_way(bench.objects, lambda store: rollout_start(replace(bench, objects=store), pair[1], AT, WHY))
    (root / BundleNames.of(pair[1]).booster).write_bytes(b"{}")
    with pytest.raises((BundleError, ReleaseError), match="`nba-ml rollout stop --forget --from-serial 2 --reason"):
        rollback(bench.objects, AT, WHY)
    assert read_history(bench.objects)[-1].serial == 2
    assert rollout_stop(bench.objects, AT, WHY, forget=True, from_serial=2).moved
    state = read_channel(bench.objects)
    assert state is not None
    assert (state.serial, state.champion.model_id, state.challenger) == (3, pair[0], None)
