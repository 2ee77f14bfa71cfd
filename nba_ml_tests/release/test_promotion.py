"""Promotions of real models, on real months."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nba_ml.core.channel import read_channel, read_history
from nba_ml.core.contract import V2_33FEATURES
from nba_ml.core.errors import BundleError, NotVerifiedError, ReleaseError
from nba_ml.core.manifest import BundleNames
from nba_ml.core.promotion import compare_systems, held_out_rows, out_of_time_rows
from nba_ml.core.publication import Bundle, publish
from nba_ml.core.systems.loading import find_model, load_system
from nba_ml.core.systems.rules import RULES
from nba_ml.core.systems.xgboost_v1 import XGBoostSystem, measured_system
from nba_ml.release.bench import Bench
from nba_ml.release.promotion import latest_published, promote
from nba_ml_tests.conftest import snapshot_of
from nba_ml_tests.core.places import Folder
from nba_ml_tests.core.publication_machine import verdict_on
from nba_ml_tests.core.stoppable import HookedStore
from nba_ml_tests.core.test_channel import states
from nba_ml_tests.release_scene import AT, LIMITS, SLOW_LEARNER, WHY, champion_of, model_of, published_model, strict


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
        publish(bench.objects, Bundle(made.model_id, made.booster, made.record.to_bytes(), verdict_on(b"another")))


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
