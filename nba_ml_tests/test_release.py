"""Promotions, rollbacks and rollouts of real models, on real months."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nba_ml.core.channel import CHAMPION, Channel, read_channel, read_history
from nba_ml.core.contract import V2_33FEATURES
from nba_ml.core.errors import BundleError, NotVerifiedError, ReleaseError
from nba_ml.core.manifest import BundleNames
from nba_ml.core.object_store import ObjectStore
from nba_ml.core.promotion import compare_systems, held_out_rows, out_of_time_rows
from nba_ml.core.publication import Bundle, publish
from nba_ml.core.systems.loading import find_model, load_system
from nba_ml.core.systems.rules import RULES
from nba_ml.core.systems.xgboost_v1 import XGBoostSystem, measured_system
from nba_ml.release import (
    Bench,
    latest_published,
    promote,
    rollout_advance,
    rollout_start,
    rollout_status,
)
from nba_ml.resources.directory_store import DirectoryStore
from nba_ml.rollback import rollback, rollout_stop
from nba_ml_tests.conftest import snapshot_of
from nba_ml_tests.core.publication_machine import Folder, HookedStore
from nba_ml_tests.core.test_channel import states
from nba_ml_tests.release_scene import AT, LIMITS, SLOW_LEARNER, bench_of, model_of, published_model

WHY = "a reason of a sentence"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "artifacts"


@pytest.fixture
def objects(root: Path) -> ObjectStore:
    return DirectoryStore(root)


@pytest.fixture
def bench(objects: ObjectStore, tmp_path: Path) -> Bench:
    """All four months are there; nothing is published."""
    return bench_of(objects, DirectoryStore(tmp_path / "store"))


def champion_of(bench: Bench) -> str:
    channel = read_channel(bench.objects)
    assert channel is not None
    return channel.champion.model_id


def strict(bench: Bench, **limits: Any) -> Bench:
    return replace(bench, limits=LIMITS.model_copy(update=limits))


# -- promotion ---------------------------------------------------------------------------------------


def test_the_first_champion_needs_its_verdict_and_nothing_else(bench: Bench) -> None:
    """Guards against a new home that can never have a champion, for want of one to be compared with."""
    with pytest.raises(ReleaseError, match="Nothing is published"):
        promote(bench, AT)
    identity = published_model(bench.objects, "2021-12")
    done = promote(bench, AT)
    assert (done.moved, champion_of(bench)) == (True, identity)
    again = promote(bench, AT)
    assert (again.moved, again.said) == (False, f"{identity} is the champion already.")
    assert states(Folder(bench.objects.root)) == (1, 1)  # type: ignore[attr-defined]


def test_a_newer_model_that_is_not_worse_becomes_the_champion(bench: Bench) -> None:
    """Guards the monthly promotion, and that what it was decided by is in the history."""
    older = published_model(bench.objects, "2021-12")
    promote(bench, AT)
    newer = published_model(bench.objects, "2022-01")
    done = promote(bench, AT)
    assert done.moved, done.said
    assert champion_of(bench) == newer
    state = read_history(bench.objects)[-1]
    assert [model.model_id for model in state.earlier] == [older]
    assert state.evidence is not None
    assert (state.evidence.unseen, state.evidence.champion, state.evidence.candidate) == ("held_out", older, newer)
    assert state.evidence.rows > 1000
    assert state.evidence.low >= -LIMITS.promotion_margin
    assert state.waived == ()


def test_the_rows_of_a_comparison_are_new_to_both(bench: Bench) -> None:
    """Guards against the leak that matters: a candidate graded on games that it was fitted on."""
    pair = []
    for month in ("2021-12", "2022-01"):
        system = load_system(bench.objects, find_model(bench.objects, published_model(bench.objects, month)), 1)
        assert isinstance(system, XGBoostSystem)
        pair.append(measured_system(system, bench.snapshots("")))
    tables = list(bench.snapshots("").values())
    rows = held_out_rows(pair[0], pair[1], tables)
    newest = max(model_of(month).record.split.sides()["early_stopping"].last for month in ("2021-12", "2022-01"))
    dates = rows.table.column("game_date").to_pylist()
    assert min(dates) == newest + timedelta(days=1)
    assert max(dates) == date(2022, 1, 31)
    for each in pair:  # the boosters compared are those that the records were measured by
        sides = each.record.split.sides()
        held = bench.snapshots("")
        validation = [
            t.filter(pa_between(t, sides["validation"].first, sides["validation"].last)) for t in held.values()
        ]
        columns = {n: np.concatenate([t.column(n).to_numpy() for t in validation]) for n in V2_33FEATURES.names}
        points = np.concatenate([t.column("points").to_numpy() for t in validation])
        mae = np.abs(each.predict(columns) - points).mean()
        assert mae == pytest.approx(each.record.metrics.validation.mae, abs=1e-5)
    assert out_of_time_rows(pair[0], pair[1], tables, 1) is None


def pa_between(table: Any, first: date, last: date) -> Any:
    import pyarrow.compute as pc

    return pc.and_(pc.greater_equal(table["game_date"], first), pc.less_equal(table["game_date"], last))


def test_later_games_are_preferred_and_are_later_than_all_either_was_given(bench: Bench) -> None:
    """Guards the better of the two comparisons: once there are games after both, those decide."""
    published_model(bench.objects, "2021-11")
    promote(bench, AT)
    published_model(bench.objects, "2021-12")
    promote(bench, AT)
    evidence = read_history(bench.objects)[-1].evidence
    assert evidence is not None
    assert (evidence.unseen, evidence.first, evidence.rows) == ("out_of_time", date(2022, 1, 1), 4901)


def test_the_paired_gain_is_that_of_the_two_errors(bench: Bench) -> None:
    """Guards the sign, the pairing and the population of the number that promotions hang on."""
    system = load_system(bench.objects, find_model(bench.objects, published_model(bench.objects, "2021-12")), 1)
    rows = out_of_time_rows(RULES["mock"], system, list(bench.snapshots("").values()), 1)
    assert rows is not None
    found = compare_systems(RULES["mock"], system, rows, 0.1, V2_33FEATURES)
    assert found is not None
    table = snapshot_of("2022-01").table
    columns = {name: table.column(name).to_numpy() for name in V2_33FEATURES.names}
    points, mock = table.column("points").to_numpy(), RULES["mock"].predict(columns)
    there = ~np.isnan(mock)
    ours = np.clip(np.round(system.predict(columns), 2), 0, 60)
    expected = (np.abs(np.round(mock, 2) - points) - np.abs(ours - points))[there].mean()
    assert found.gain == pytest.approx(expected, abs=1e-6)
    assert found.gain > 0.1  # our model against the mock
    assert found.low < found.gain < found.high
    assert found.rows == there.sum() < len(points)


def test_an_old_month_never_becomes_the_champion_by_itself(bench: Bench) -> None:
    """Guards against 'the latest file wins': a backfilled month is the newest file and the oldest data."""
    newest = published_model(bench.objects, "2022-01")
    promote(bench, AT)
    older = published_model(bench.objects, "2021-12")
    assert latest_published(bench) == newest
    assert promote(bench, AT).decision is None
    done = promote(bench, AT, older)
    assert not done.moved
    assert "its newest month is 2021-12, the champion's 2022-01" in done.said
    named = promote(bench, AT, older, reason=WHY)
    assert named.moved, named.said
    state = read_history(bench.objects)[-1]
    assert state.waived == ("newer",)
    assert state.reason.startswith(WHY)


def test_a_worse_model_is_not_promoted_though_it_is_newer(bench: Bench) -> None:
    """Guards against freshness for its own sake: the interval of the paired gain decides."""
    published_model(bench.objects, "2021-12")
    promote(bench, AT)
    worse = published_model(bench.objects, "2022-01", SLOW_LEARNER)
    done = promote(bench, AT)
    assert not done.moved
    assert done.candidate == worse
    assert "does not become the champion: MAE" in done.said
    assert states(Folder(bench.objects.root)) == (1, 1)  # type: ignore[attr-defined]
    with pytest.raises(ReleaseError, match="is no reason"):
        promote(bench, AT, worse, waived=["grade"])
    assert not promote(bench, AT, worse, reason=WHY).moved
    assert promote(bench, AT, worse, reason=WHY, waived=["grade", "bias"]).moved
    assert "grade" in read_history(bench.objects)[-1].waived


def test_what_cannot_be_compared_is_not_promoted(bench: Bench) -> None:
    """Guards against a promotion on a handful of rows, and on none."""
    published_model(bench.objects, "2021-12")
    promote(bench, AT)
    published_model(bench.objects, "2022-01")
    done = promote(strict(bench, min_rows_to_promote=100_000), AT)
    assert not done.moved
    assert "a comparison needs 100,000 rows" in done.said


def test_a_bundle_that_is_not_whole_or_not_allowed_is_not_promoted(bench: Bench, root: Path) -> None:
    """Guards the pointer against a model that no worker could load, whatever a person says."""
    identity = published_model(bench.objects, "2021-12")
    names = BundleNames.of(identity)
    for name in (names.booster, names.record, names.manifest):
        good = (root / name).read_bytes()
        (root / name).write_bytes(good[:-2] + b"\n\n")
        with pytest.raises(BundleError):
            promote(bench, AT, identity, reason=WHY, waived=["grade"])
        (root / name).unlink()
        with pytest.raises(BundleError):
            promote(bench, AT, identity, reason=WHY, waived=["grade"])
        (root / name).write_bytes(good)
    with pytest.raises(BundleError, match="no model id"):
        promote(bench, AT, "../../etc/passwd")
    with pytest.raises(ReleaseError, match="never becomes the champion"):
        promote(bench, AT, "mock", reason=WHY)
    assert read_channel(bench.objects) is None
    made = model_of("2021-11")
    with pytest.raises(NotVerifiedError):  # such a bundle cannot even be published
        publish(bench.objects, Bundle(made.model_id, made.booster, made.record.to_bytes(), verdict_of_another()))


def verdict_of_another() -> Any:
    from nba_ml_tests.core.publication_machine import verdict_on

    return verdict_on(b"another")


def test_a_lost_race_is_decided_again(bench: Bench) -> None:
    """Guards against a promotion that was right against the old champion and is wrong against the new one."""
    published_model(bench.objects, "2021-11")
    promote(bench, AT)
    middle = published_model(bench.objects, "2021-12")
    newest = published_model(bench.objects, "2022-01")
    armed = [True]

    def faster(what: str, perform: Callable[[], Any]) -> Any:
        if what == "create" and armed.pop() if armed else False:
            assert promote(bench, AT, newest).moved
        return perform()

    done = promote(replace(bench, objects=HookedStore(bench.objects, faster)), AT, middle)
    assert not done.moved
    assert "its newest month is 2021-12, the champion's 2022-01" in done.said
    assert champion_of(bench) == newest


# -- rollback ----------------------------------------------------------------------------------------


@pytest.fixture
def three(bench: Bench) -> tuple[str, str, str]:
    """Three champions, one after the other."""
    ids = tuple(published_model(bench.objects, month) for month in ("2021-11", "2021-12", "2022-01"))
    for identity in ids:
        assert promote(bench, AT, identity).moved
    return ids  # type: ignore[return-value]


def test_rolling_back_goes_further_back_each_time(bench: Bench, three: tuple[str, str, str]) -> None:
    """Guards against the see-saw: a second rollback must not bring back what the first one threw out."""
    first, second, third = three
    assert rollback(bench.objects, AT, WHY).moved
    assert champion_of(bench) == second
    assert rollback(bench.objects, AT, WHY).moved
    assert champion_of(bench) == first
    with pytest.raises(ReleaseError, match="left to go back to"):
        rollback(bench.objects, AT, WHY)
    assert read_channel(bench.objects).set_aside == (second, third)  # type: ignore[union-attr]
    with pytest.raises(ReleaseError, match="is no reason"):
        rollback(bench.objects, AT, "oops")


@pytest.mark.usefixtures("three")
def test_rolling_back_is_quick(bench: Bench) -> None:
    """Guards the promise of an incident: what it reads does not grow with the history, and no row is scored."""
    asked: list[str] = []

    def count(what: str, perform: Callable[[], Any]) -> Any:
        asked.append(what)
        return perform()

    began = time.perf_counter()
    assert rollback(HookedStore(bench.objects, count), AT, WHY).moved
    print(f"rolled back in {1000 * (time.perf_counter() - began):.1f} ms, {len(asked)} calls")
    assert asked == ["read", "read", "read", "read", "create", "swap"]


def test_a_named_champion_can_be_gone_back_to_and_nothing_else(bench: Bench, three: tuple[str, str, str]) -> None:
    """Guards against a rollback as a back door for models that never passed a promotion."""
    first, _, third = three
    assert rollback(bench.objects, AT, WHY, to=first).moved
    assert champion_of(bench) == first
    assert not rollback(bench.objects, AT, WHY, to=first).moved
    never = published_model(bench.objects, "2022-01", SLOW_LEARNER)
    for other in (never, "mock", "xgboost_v1_33features_202201_000000000000"):
        with pytest.raises(ReleaseError, match="never was the champion"):
            rollback(bench.objects, AT, WHY, to=other)
    assert rollback(bench.objects, AT, WHY, to=third).moved  # forward again, by name


def test_a_model_rolled_back_from_does_not_come_back_by_itself(bench: Bench, three: tuple[str, str, str]) -> None:
    """Guards against the scheduler that promotes at night what somebody threw out in the afternoon."""
    rollback(bench.objects, AT, WHY)
    done = promote(bench, AT)
    assert not done.moved
    assert "rolled back from before" in done.said
    assert promote(bench, AT, three[2], reason=WHY).moved
    assert three[2] not in read_channel(bench.objects).set_aside  # type: ignore[union-attr]


def test_a_rollback_to_a_damaged_bundle_is_refused(bench: Bench, root: Path, three: tuple[str, str, str]) -> None:
    """Guards the pointer in the hour in which everything is wrong at once."""
    (root / BundleNames.of(three[1]).booster).write_bytes(b"{}")
    with pytest.raises(BundleError, match="damaged"):
        rollback(bench.objects, AT, WHY)
    assert champion_of(bench) == three[2]
    assert rollback(bench.objects, AT, WHY, to=three[0]).moved


def test_two_people_who_roll_back_at_once_go_back_once(bench: Bench, three: tuple[str, str, str]) -> None:
    """Guards an incident with two heroes: the second must not undo more than both meant to."""
    armed = [True]

    def faster(what: str, perform: Callable[[], Any]) -> Any:
        if what == "create" and armed:
            armed.clear()
            assert rollback(bench.objects, AT, WHY).moved
        return perform()

    assert not rollback(HookedStore(bench.objects, faster), AT, WHY).moved
    assert champion_of(bench) == three[1]


def test_a_rollback_that_lost_to_a_promotion_says_so(bench: Bench, three: tuple[str, str, str]) -> None:
    """Guards against rolling back a model that nobody has complained about."""
    armed = [True]
    rollback(bench.objects, AT, WHY)

    def faster(what: str, perform: Callable[[], Any]) -> Any:
        if what == "create" and armed:
            armed.clear()
            assert promote(bench, AT, three[2], reason=WHY).moved
        return perform()

    with pytest.raises(ReleaseError, match="Somebody else moved the channel meanwhile"):
        rollback(HookedStore(bench.objects, faster), AT, WHY)
    assert champion_of(bench) == three[2]


# -- rollout -----------------------------------------------------------------------------------------


@pytest.fixture
def pair(bench: Bench) -> tuple[str, str]:
    """A champion of November and a published challenger of December; January is new to both."""
    champion, challenger = (published_model(bench.objects, month) for month in ("2021-11", "2021-12"))
    promote(bench, AT, champion)
    return champion, challenger


JANUARY = date(2022, 1, 1)


def test_a_good_challenger_goes_to_10_50_100_and_becomes_the_champion(bench: Bench, pair: tuple[str, str]) -> None:
    """Guards the whole path: each step on games of its own, and a champion at the end that can be rolled back."""
    started = rollout_start(bench.objects, pair[1], AT, WHY, graded_from=JANUARY)
    assert (started.share, started.kind) == (10, "rollout_start")
    shares, firsts = [], []
    for until in (date(2022, 1, 9), date(2022, 1, 17), date(2022, 1, 31)):
        status, moved = rollout_advance(bench, AT, until)
        assert status.step.action == "advance", status.step.said
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


def test_a_step_waits_for_its_grades(bench: Bench, pair: tuple[str, str]) -> None:
    """Guards against advancing on a night's luck, and on games that a model was given."""
    rollout_start(bench.objects, pair[1], AT, WHY, graded_from=date(2021, 12, 1))
    before = rollout_status(bench, date(2021, 12, 31))
    assert (before.evidence, before.step.action) == (None, "wait")  # December is the challenger's own month
    status, moved = rollout_advance(bench, AT, date(2022, 1, 3))
    assert (status.step.action, moved.moved) == ("wait", False)
    assert "1,000 rows on 5 dates are needed" in status.step.said
    assert states(Folder(bench.objects.root)) == (2, 2)  # type: ignore[attr-defined]


@pytest.mark.usefixtures("pair")
def test_a_bad_challenger_is_taken_back_to_0(bench: Bench) -> None:
    """Guards the slate: beyond doubt worse means nobody is served by it, and it does not come back by itself."""
    bad = published_model(bench.objects, "2021-12", SLOW_LEARNER)
    rollout_start(bench.objects, bad, AT, WHY, graded_from=JANUARY)
    status, moved = rollout_advance(bench, AT)
    assert status.step.action == "stop", status.step.said
    assert moved.channel is not None
    assert (moved.channel.share, moved.channel.kind) == (0, "rollout_stop")
    assert moved.channel.set_aside == (bad,)
    with pytest.raises(ReleaseError, match="No rollout is under way"):
        rollout_advance(bench, AT)
    assert rollout_status(bench).step.action == "stop"  # in shadow it is still graded
    assert not promote(strict(bench, promotion_margin=10.0), AT, bad).moved
    assert rollout_start(bench.objects, bad, AT, WHY).share == 10  # a person may try again


@pytest.mark.usefixtures("pair")
def test_the_mock_may_serve_a_part_and_is_marked(bench: Bench) -> None:
    """Guards the A/B against the mock: it is named as the mock, is graded, and can never become the model."""
    state = rollout_start(bench.objects, "mock", AT, WHY, graded_from=JANUARY)
    assert state.challenger is not None
    assert state.challenger.is_mock
    evidence = rollout_status(bench).evidence
    assert evidence is not None
    assert (evidence.candidate, evidence.rows) == ("mock", 4878)
    generous = strict(bench, rollout_margin=10.0)
    status, moved = rollout_advance(generous, AT, date(2022, 1, 15))
    assert (status.step.action, moved.channel and moved.channel.share) == ("advance", 50)
    with pytest.raises(ReleaseError, match="never becomes the champion"):
        rollout_advance(generous, AT)


def test_a_rollout_and_a_promotion_do_not_cross(bench: Bench, pair: tuple[str, str]) -> None:
    """Guards against a monthly promotion that ends a rollout without a word, and two rollouts at once."""
    rollout_start(bench.objects, pair[1], AT, WHY, graded_from=JANUARY)
    newest = published_model(bench.objects, "2022-01")
    done = promote(bench, AT)
    assert (done.moved, done.candidate) == (False, newest)
    assert "is being rolled out at 10%" in done.said
    with pytest.raises(ReleaseError, match="is being rolled out"):
        rollout_start(bench.objects, newest, AT, WHY)
    assert rollout_stop(bench.objects, AT, WHY).moved
    assert not rollout_stop(bench.objects, AT, WHY).moved
    assert rollout_stop(bench.objects, AT, WHY, forget=True).channel.challenger is None  # type: ignore[union-attr]
    assert promote(bench, AT).moved


def test_a_rollback_ends_a_rollout(bench: Bench, three: tuple[str, str, str]) -> None:
    """Guards an incident: after a rollback one model serves everybody."""
    rollout_start(bench.objects, "moving_average", AT, WHY)
    state = rollback(bench.objects, AT, WHY).channel
    assert state is not None
    assert (state.challenger, state.share, state.champion.model_id) == (None, 0, three[1])


def test_rollouts_that_make_no_sense_are_refused(bench: Bench, objects: ObjectStore) -> None:
    """Guards each precondition with its own words."""
    with pytest.raises(ReleaseError, match="no champion yet"):
        rollout_status(bench)
    with pytest.raises(ReleaseError, match="needs a champion"):
        rollout_start(objects, "mock", AT, WHY)
    champion = published_model(objects, "2021-11")
    promote(bench, AT)
    with pytest.raises(ReleaseError, match="is the champion"):
        rollout_start(objects, champion, AT, WHY)
    for act in (lambda: rollout_advance(bench, AT), lambda: rollout_stop(objects, AT, WHY)):
        with pytest.raises(ReleaseError, match="No rollout is under way"):
            act()
    with pytest.raises(BundleError, match="was never published whole"):
        rollout_start(objects, "xgboost_v1_33features_202201_000000000000", AT, WHY)


def test_whatever_happens_at_once_the_pointer_names_a_whole_bundle(
    bench: Bench, three: tuple[str, str, str], root: Path
) -> None:
    """Guards the worker: promotions, rollbacks and rollouts race, and every state ever taken is one that can serve."""
    acts: list[Callable[[], object]] = [
        lambda: rollback(bench.objects, AT, WHY),
        lambda: promote(bench, AT, three[2], reason=WHY),
        lambda: rollout_start(bench.objects, "mock", AT, WHY),
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
