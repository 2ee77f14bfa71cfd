"""Rollouts of real challengers, on real months."""

from __future__ import annotations

from datetime import date

import pytest

from nba_ml.contract.errors import BundleError, ReleaseError
from nba_ml.registry.channel import read_history
from nba_ml.registry.promotion import promote
from nba_ml.registry.release_context import ReleaseContext
from nba_ml.registry.rollback import rollback, rollout_stop
from nba_ml.registry.rollout import rollout_advance, rollout_start, rollout_status
from nba_ml.storage.objects import ObjectStore
from nba_ml_tests.registry.places import Folder
from nba_ml_tests.registry.test_channel import states
from nba_ml_tests.release_scene import AT, SLOW_LEARNER, WHY, champion_of, published_model, strict

JANUARY = date(2022, 1, 1)


def test_a_good_challenger_goes_to_10_50_100_and_becomes_the_champion(
    bench: ReleaseContext, pair: tuple[str, str]
) -> None:
    """Guards the whole path: each step on games of its own, and a champion at the end that can be rolled back."""
    started = rollout_start(bench, pair[1], AT, WHY, graded_from=JANUARY, share=10, waived=("comparison",)).channel
    assert started is not None
    assert (started.share, started.kind) == (10, "rollout_start")
    shares, firsts = [], []
    for until in (date(2022, 1, 9), date(2022, 1, 17), date(2022, 1, 31)):
        status, moved = rollout_advance(bench, AT, until)
        assert status.step.action == "advance", status.step.reason
        assert moved.channel is not None
        assert status.evidence is not None
        assert status.evidence.last <= until
        firsts.append(status.evidence.first)
        shares.append(moved.channel.share)
    assert shares == [50, 100, 0]
    assert firsts == [JANUARY, date(2022, 1, 10), date(2022, 1, 18)]
    assert champion_of(bench) == pair[1]
    state = read_history(bench.objects)[-1]
    assert (state.kind, state.challenger) == ("rollout_finish", None)
    rollback(bench.objects, AT, WHY)
    assert champion_of(bench) == pair[0]


def test_a_step_waits_for_its_grades(bench: ReleaseContext, pair: tuple[str, str]) -> None:
    """Guards against advancing on a night's luck, and on games that a model was given."""
    rollout_start(bench, pair[1], AT, WHY, graded_from=date(2021, 12, 1), share=10, waived=("comparison",))
    before = rollout_status(bench, date(2021, 12, 31))
    assert (before.evidence, before.step.action) == (None, "wait")  # December is the challenger's own month
    status, moved = rollout_advance(bench, AT, date(2022, 1, 3))
    assert (status.step.action, moved.moved) == ("wait", False)
    assert "1,000 rows on 5 dates are needed" in status.step.reason
    assert states(Folder(bench.objects.root)) == (2, 2)  # type: ignore[attr-defined]


@pytest.mark.usefixtures("pair")
def test_a_bad_challenger_is_taken_back_to_0(bench: ReleaseContext) -> None:
    """Guards the slate: beyond doubt worse means nobody is served by it, and it does not come back by itself."""
    bad = published_model(bench.objects, "2021-12", SLOW_LEARNER)
    rollout_start(bench, bad, AT, WHY, graded_from=JANUARY, share=10, waived=("comparison",))
    status, moved = rollout_advance(bench, AT)
    assert status.step.action == "stop", status.step.reason
    assert moved.channel is not None
    assert (moved.channel.share, moved.channel.kind) == (0, "rollout_stop")
    assert moved.channel.set_aside == (bad,)
    with pytest.raises(ReleaseError, match="No rollout is in progress"):
        rollout_advance(bench, AT)
    assert rollout_status(bench).step.action == "stop"  # in shadow it is still graded
    assert not promote(strict(bench, promotion_margin=10.0), AT, bad).moved
    again = rollout_start(bench, bad, AT, WHY, share=10, waived=("comparison",)).channel  # a person may try again
    assert again is not None
    assert again.share == 10


@pytest.mark.usefixtures("pair")
def test_the_mock_may_serve_a_part_and_is_marked(bench: ReleaseContext) -> None:
    """Guards the A/B against the mock: it is named as the mock, is graded, and can never become the model."""
    state = rollout_start(bench, "mock", AT, WHY, graded_from=JANUARY, share=10).channel
    assert state is not None
    assert state.challenger is not None
    assert state.challenger.is_mock
    evidence = rollout_status(bench).evidence
    assert evidence is not None
    assert (evidence.candidate, evidence.rows) == ("mock", 4878)
    generous = strict(bench, rollout_margin=10.0)
    status, moved = rollout_advance(generous, AT, date(2022, 1, 15))
    assert (status.step.action, moved.channel and moved.channel.share) == ("advance", 50)
    with pytest.raises(ReleaseError, match="cannot become the champion"):
        rollout_advance(generous, AT)


def test_a_rollout_and_a_promotion_do_not_cross(bench: ReleaseContext, pair: tuple[str, str]) -> None:
    """Guards against a monthly promotion that ends a rollout without a word, and two rollouts at once."""
    rollout_start(bench, pair[1], AT, WHY, graded_from=JANUARY, share=10, waived=("comparison",))
    newest = published_model(bench.objects, "2022-01")
    done = promote(bench, AT)
    assert (done.moved, done.candidate) == (False, newest)
    assert "is being rolled out at 10%" in done.message
    with pytest.raises(ReleaseError, match="is being rolled out"):
        rollout_start(bench, newest, AT, WHY, share=10, waived=("comparison",))
    assert rollout_stop(bench.objects, AT, WHY).moved
    assert not rollout_stop(bench.objects, AT, WHY).moved
    assert rollout_stop(bench.objects, AT, WHY, forget=True).channel.challenger is None  # type: ignore[union-attr]
    assert rollout_start(bench, pair[1], AT, WHY, graded_from=JANUARY).channel.rolling_out  # type: ignore[union-attr]
    done = promote(bench, AT)  # nobody is served by a challenger in shadow
    assert done.moved
    assert done.decision is not None
    assert done.decision.conditions[0].detail == f"{pair[1]} is in shadow: its rollout ends with this promotion"


def test_a_rollback_ends_a_rollout(bench: ReleaseContext, three: tuple[str, str, str]) -> None:
    """Guards an incident: after a rollback one model serves everybody."""
    rollout_start(bench, "moving_average", AT, WHY, share=10)
    state = rollback(bench.objects, AT, WHY).channel
    assert state is not None
    assert (state.challenger, state.share, state.champion.model_id) == (None, 0, three[1])


def test_rollouts_that_make_no_sense_are_refused(bench: ReleaseContext, objects: ObjectStore) -> None:
    """Guards each precondition with its own words."""
    with pytest.raises(ReleaseError, match="no champion yet"):
        rollout_status(bench)
    with pytest.raises(ReleaseError, match="needs a champion"):
        rollout_start(bench, "mock", AT, WHY, share=10)
    champion = published_model(objects, "2021-11")
    promote(bench, AT)
    with pytest.raises(ReleaseError, match="is already the champion"):
        rollout_start(bench, champion, AT, WHY, share=10)
    for act in (lambda: rollout_advance(bench, AT), lambda: rollout_stop(objects, AT, WHY)):
        with pytest.raises(ReleaseError, match="No rollout is in progress"):
            act()
    with pytest.raises(BundleError, match="was never published completely"):
        rollout_start(bench, "xgboost_v1_33features_202201_000000000000", AT, WHY, share=10)
