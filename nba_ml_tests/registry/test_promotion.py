"""Promotions of real models, on real months."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import xgboost as xgb
from hypothesis import given
from hypothesis import strategies as st

from nba_ml.checks.registry import STORED
from nba_ml.contract.errors import BundleError, NotVerifiedError, ReleaseError
from nba_ml.contract.features import V2_33FEATURES
from nba_ml.data.snapshot import Snapshot
from nba_ml.registry.channel import read_channel, read_history
from nba_ml.registry.manifest import BundleNames
from nba_ml.registry.promotion import _measured, latest_published, promote
from nba_ml.registry.promotion_rules import compare_systems, held_out_rows, mixed_rows, out_of_time_rows, too_few
from nba_ml.registry.publication import Bundle, publish
from nba_ml.registry.release_context import ReleaseContext
from nba_ml.registry.systems.interface import TrainingExtent
from nba_ml.registry.systems.loading import find_model, load_system
from nba_ml.registry.systems.rules import RULES
from nba_ml.registry.systems.xgboost_v1 import XGBoostSystem
from nba_ml.storage.directory import DirectoryStore
from nba_ml_tests.conftest import snapshot_of
from nba_ml_tests.registry.places import Folder
from nba_ml_tests.registry.publication_machine import verdict_on
from nba_ml_tests.registry.stoppable import HookedStore
from nba_ml_tests.registry.test_channel import states
from nba_ml_tests.release_scene import (
    AT,
    LIMITS,
    SLOW_LEARNER,
    WHY,
    as_of,
    champion_of,
    changed,
    measured_file,
    model_of,
    publish_made,
    published_model,
    retrained,
    strict,
    trained_on,
)


def test_the_first_champion_needs_its_verdict_and_nothing_else(bench: ReleaseContext) -> None:
    """Guards against a new home that can never have a champion, for want of one to be compared with."""
    with pytest.raises(ReleaseError, match="No model is published"):
        promote(bench, AT)
    identity = published_model(bench.objects, "2021-12")
    done = promote(bench, AT)
    assert (done.moved, champion_of(bench)) == (True, identity)
    again = promote(bench, AT)
    assert (again.moved, again.message) == (False, f"{identity} is already the champion.")
    assert states(Folder(bench.objects.root)) == (1, 1)  # type: ignore[attr-defined]


def test_a_newer_model_that_is_not_worse_becomes_the_champion(bench: ReleaseContext) -> None:
    """Guards the monthly promotion, and that what it was decided by is in the history."""
    older = published_model(bench.objects, "2021-12")
    promote(bench, AT)
    newer = published_model(bench.objects, "2022-01")
    done = promote(bench, AT)
    assert done.moved, done.message
    assert champion_of(bench) == newer
    state = read_history(bench.objects)[-1]
    assert [model.model_id for model in state.earlier] == [older]
    assert state.evidence is not None
    assert (state.evidence.unseen, state.evidence.champion, state.evidence.candidate) == ("held_out", older, newer)
    assert state.evidence.rows > 1000
    assert state.evidence.low >= -LIMITS.promotion_margin
    assert state.waived == ()


def test_the_rows_of_a_comparison_are_new_to_both(bench: ReleaseContext) -> None:
    """Guards against the leak that matters: a candidate graded on games that it was fitted on."""
    pair = []
    for month in ("2021-12", "2022-01"):
        measured = _measured(bench, system_of_id(bench, published_model(bench.objects, month)))
        assert isinstance(measured, XGBoostSystem)
        pair.append(measured)
    tables = list(bench.snapshots("", V2_33FEATURES).values())
    rows = held_out_rows(pair[0], pair[1], tables)
    newest = max(model_of(month).record.split.sides()["early_stopping"].last for month in ("2021-12", "2022-01"))
    dates = rows.table.column("game_date").to_pylist()
    assert min(dates) == newest + timedelta(days=1)
    assert max(dates) == date(2022, 1, 31)
    for each in pair:  # the boosters compared are those that the records were measured by
        sides = each.record.split.sides()
        held = bench.snapshots("", V2_33FEATURES)
        validation = [
            t.filter(pa_between(t, sides["validation"].first, sides["validation"].last)) for t in held.values()
        ]
        columns = {n: np.concatenate([t.column(n).to_numpy() for t in validation]) for n in V2_33FEATURES.names}
        points = np.concatenate([t.column("points").to_numpy() for t in validation])
        mae = np.abs(each.predict(columns) - points).mean()
        assert mae == pytest.approx(each.record.metrics.validation.mae, abs=1e-5)
    assert out_of_time_rows(pair[0], pair[1], tables, 1) is None


def pa_between(table: Any, first: date, last: date) -> Any:
    return pc.and_(pc.greater_equal(table["game_date"], first), pc.less_equal(table["game_date"], last))


def test_later_games_are_preferred_and_are_later_than_all_either_was_given(bench: ReleaseContext) -> None:
    """Guards the better of the two comparisons: once there are games after both, those decide."""
    published_model(bench.objects, "2021-11")
    promote(bench, AT)
    published_model(bench.objects, "2021-12")
    promote(bench, AT)
    evidence = read_history(bench.objects)[-1].evidence
    assert evidence is not None
    assert (evidence.unseen, evidence.first, evidence.rows) == ("out_of_time", date(2022, 1, 1), 4901)


def test_the_paired_gain_is_that_of_the_two_errors(bench: ReleaseContext) -> None:
    """Guards the sign, the pairing and the population of the number that promotions hang on."""
    system = load_system(bench.objects, find_model(bench.objects, published_model(bench.objects, "2021-12")), 1)
    rows = out_of_time_rows(RULES["mock"], system, list(bench.snapshots("", V2_33FEATURES).values()), 1)
    assert rows is not None
    found = compare_systems(RULES["mock"], system, rows, 0.1)
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


def test_an_old_month_never_becomes_the_champion_by_itself(bench: ReleaseContext) -> None:
    """Guards against 'the latest file wins': a backfilled month is the newest file and the oldest data."""
    newest = published_model(bench.objects, "2022-01")
    promote(bench, AT)
    older = published_model(bench.objects, "2021-12")
    assert latest_published(bench) == newest
    assert promote(bench, AT).decision is None
    done = promote(bench, AT, older)
    assert not done.moved
    assert "it was trained on games up to 2021-12-31, the champion up to 2022-01-31" in done.message
    named = promote(bench, AT, older, reason=WHY)
    assert named.moved, named.message
    state = read_history(bench.objects)[-1]
    assert state.waived == ("newer",)
    assert state.reason.startswith(WHY)


def test_a_worse_model_is_not_promoted_though_it_is_newer(bench: ReleaseContext) -> None:
    """Guards against freshness for its own sake: the interval of the paired gain decides."""
    published_model(bench.objects, "2021-12")
    promote(bench, AT)
    worse = published_model(bench.objects, "2022-01", SLOW_LEARNER)
    done = promote(bench, AT)
    assert not done.moved
    assert done.candidate == worse
    assert "does not become the champion. Not met: grade: MAE" in done.message
    assert states(Folder(bench.objects.root)) == (1, 1)  # type: ignore[attr-defined]
    with pytest.raises(ReleaseError, match="is shorter than 10 characters"):
        promote(bench, AT, worse, waived=["grade"])
    assert not promote(bench, AT, worse, reason=WHY).moved
    assert promote(bench, AT, worse, reason=WHY, waived=["grade", "bias"]).moved
    assert "grade" in read_history(bench.objects)[-1].waived


def test_what_cannot_be_compared_is_not_promoted(bench: ReleaseContext) -> None:
    """Guards against a promotion on a handful of rows, and on none."""
    published_model(bench.objects, "2021-12")
    promote(bench, AT)
    published_model(bench.objects, "2022-01")
    done = promote(strict(bench, min_rows_to_promote=100_000), AT)
    assert not done.moved
    assert "a comparison needs 100,000 rows" in done.message


WEEKS = (date(2022, 1, 9), date(2022, 1, 16), date(2022, 1, 23), date(2022, 1, 31))
A_PLAYER = pc.field("player_lookup") != "lebronjames"


def system_of_id(bench: ReleaseContext, identity: str) -> XGBoostSystem:
    system = load_system(bench.objects, find_model(bench.objects, identity), 1)
    assert isinstance(system, XGBoostSystem)
    return system


@pytest.mark.slow
def test_the_champion_follows_a_running_month_week_by_week(bench: ReleaseContext) -> None:
    """Guards against a champion of a running month that no later model replaces: of the same month, as they all are."""
    retrained(bench, as_of(WEEKS[0]))
    promote(bench, AT)
    for before, last in pairwise(WEEKS):
        identity = retrained(bench, as_of(last))
        done = promote(bench, AT)
        assert done.moved, done.message
        assert champion_of(bench) == identity
        assert f"it was trained on games up to {last}, the champion up to {before}" in done.message
        evidence = read_history(bench.objects)[-1].evidence
        assert evidence is not None
        # Nothing is later than what the newest model was given, so the boosters of the train sides are compared.
        assert (evidence.unseen, evidence.last) == ("held_out", last)
        assert evidence.first > system_of_id(bench, identity).record.split.sides()["early_stopping"].last
    assert len(read_history(bench.objects)) == len(WEEKS)
    early = system_of_id(bench, read_history(bench.objects)[1].champion.model_id)
    assert early.extent.given_until == WEEKS[1]
    assert not promote(bench, AT, early.version).moved  # nor does the week before come back


@pytest.mark.slow
def test_a_model_of_the_same_games_is_not_newer(bench: ReleaseContext) -> None:
    """Guards against a champion that changes whenever somebody trains again."""
    retrained(bench, as_of(WEEKS[1]))
    promote(bench, AT)
    twin = publish_made(bench.objects, trained_on(changed_month(as_of(WEEKS[1]), "2021-12")))
    done = promote(bench, AT, twin)
    assert not done.moved
    assert f"it was trained on games up to {WEEKS[1]}, the champion up to {WEEKS[1]}" in done.message


def forget_measured(bench: ReleaseContext, identity: str) -> None:
    """The store as an earlier version left it: without the booster that the model's metrics were measured with."""
    objects = bench.months.objects
    assert isinstance(objects, DirectoryStore)
    (objects.root / measured_file(system_of_id(bench, identity).record)).unlink()


@pytest.mark.slow
def test_a_correction_of_old_rows_changes_no_comparison(bench: ReleaseContext, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards the second that a promotion may take: nothing is trained, whatever was corrected since."""
    retrained(bench, as_of(WEEKS[0]))
    promote(bench, AT)
    months = as_of(WEEKS[1])
    newer = retrained(bench, months)
    bench.months.save(STORED["feature_store_snapshot"], "2021-11", changed_month(months, "2021-11")["2021-11"])
    monkeypatch.delattr(xgb, "train")
    done = promote(bench, AT)
    assert done.moved, done.message
    assert "held out from both" in done.message
    assert champion_of(bench) == newer


@pytest.mark.slow
def test_a_champion_whose_measured_booster_is_not_stored_is_compared_as_it_serves(bench: ReleaseContext) -> None:
    """Guards against a champion of an earlier version that serves for ever.

    What is compared is the champion as it serves and the candidate's measured booster, on games new to both.
    """
    older = retrained(bench, as_of(WEEKS[0]))
    promote(bench, AT)
    forget_measured(bench, older)
    months = changed_month(as_of(WEEKS[-1]), "2021-11")
    newer = retrained(bench, months)
    done = promote(bench, AT)
    assert done.moved, done.message
    assert "after the champion's data and held out from the candidate" in done.message
    evidence = read_history(bench.objects)[-1].evidence
    assert evidence is not None
    assert (evidence.unseen, evidence.champion, evidence.candidate) == ("mixed", older, newer)
    champion, candidate = system_of_id(bench, older), system_of_id(bench, newer)
    measured = _measured(bench, candidate)
    assert measured is not None
    new_to_both = max(champion.extent.given_until, measured.extent.fitted_until)
    assert (
        new_to_both == measured.extent.fitted_until == date(2022, 1, 13)
    )  # what the champion was given ends four days before
    january = months["2022-01"].table
    rows = january.filter(pc.greater(january["game_date"], pa.scalar(new_to_both)))
    assert (evidence.first, evidence.rows) == (new_to_both + timedelta(days=1), rows.num_rows)
    columns = {name: rows.column(name).to_numpy().astype(float) for name in V2_33FEATURES.names}
    points = rows.column("points").to_numpy()
    for mae, system in ((evidence.champion_mae, champion), (evidence.candidate_mae, measured)):
        assert mae == pytest.approx(np.abs(np.round(system.predict(columns), 2) - points).mean(), abs=1e-4)


@pytest.mark.slow
def test_too_few_games_after_such_a_champion_promote_nobody_and_say_why(bench: ReleaseContext) -> None:
    """Guards against a promotion on a few days' luck."""
    older = retrained(bench, as_of(WEEKS[0]))
    promote(bench, AT)
    forget_measured(bench, older)
    retrained(bench, as_of(date(2022, 1, 12)))
    done = promote(bench, AT)
    assert not done.moved
    assert champion_of(bench) == older
    assert "only games after 2022-01-09, the end of its training data, are new to both" in done.message
    assert "a comparison needs 1,000 rows on 5 dates that are new to both, and there are 476 on 3" in done.message
    assert "Run `nba-ml run --month 2022-01`" in done.message


@pytest.mark.slow
def test_a_correction_to_held_out_games_is_no_hindrance(bench: ReleaseContext) -> None:
    """Guards against the lesser comparison where the better one can be made: both boosters, on all held-out games."""
    retrained(bench, as_of(WEEKS[0]))
    promote(bench, AT)
    retrained(bench, changed_month(as_of(WEEKS[-1]), "2022-01"))  # the champion's early stopping ended in December
    done = promote(bench, AT)
    assert done.moved, done.message
    assert "held out from both" in done.message


@pytest.mark.slow
def test_a_candidate_whose_measured_booster_is_not_stored_says_what_to_run(bench: ReleaseContext) -> None:
    """Guards a candidate that another store trained: there is nothing held out to compare it on."""
    older = retrained(bench, as_of(WEEKS[0]))
    promote(bench, AT)
    newer = retrained(bench, as_of(WEEKS[1]))
    forget_measured(bench, newer)
    done = promote(bench, AT)
    assert not done.moved
    assert f"does not have the booster that the metrics of {newer} were measured with" in done.message
    assert "Run `nba-ml run --month 2022-01`" in done.message
    assert champion_of(bench) == older


@given(
    until=st.dates(date(2022, 1, 1), date(2022, 1, 31)),
    back=st.integers(0, 40),
    fitted=st.dates(date(2021, 12, 20), date(2022, 1, 31)),
    fewest=st.integers(1, 4000),
)
def test_no_row_that_either_has_learnt_from_is_ever_compared_on(
    until: date, back: int, fitted: date, fewest: int
) -> None:
    """Guards the one promise of every comparison, whatever two systems have seen."""
    champion = replace(RULES["mock"], extent=TrainingExtent(until - timedelta(days=back), until))
    measured = replace(RULES["mock"], extent=TrainingExtent(fitted, date(2022, 1, 31)))
    tables = [snapshot_of("2021-12").table, snapshot_of("2022-01").table]
    every = pa.concat_tables(tables).column("game_date").to_pylist()
    mixed = mixed_rows(champion, measured, tables)
    assert mixed.table.column("game_date").to_pylist() == [day for day in every if day > until and day > fitted]
    held_out = held_out_rows(champion, measured, tables)
    last = max(champion.extent.fitted_until, fitted)
    assert held_out.table.column("game_date").to_pylist() == [day for day in every if day > last]
    assert out_of_time_rows(champion, measured, tables, fewest) is None
    days = mixed.table.column("game_date").to_pylist()
    assert (too_few(mixed, fewest) is None) is (len(days) >= fewest and len(set(days)) >= 5)


def changed_month(months: dict[str, Snapshot], month: str) -> dict[str, Snapshot]:
    """The months with one corrected: a player's games of it are gone."""
    corrected = changed(months[month], A_PLAYER)
    assert corrected.digest != months[month].digest
    return {**months, month: corrected}


def test_a_bundle_that_is_not_whole_or_not_allowed_is_not_promoted(bench: ReleaseContext, root: Path) -> None:
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
    with pytest.raises(BundleError, match="is not a valid model id"):
        promote(bench, AT, "../../etc/passwd")
    with pytest.raises(ReleaseError, match="cannot become the champion"):
        promote(bench, AT, "mock", reason=WHY)
    assert read_channel(bench.objects) is None
    made = model_of("2021-11")
    with pytest.raises(NotVerifiedError):  # such a bundle cannot even be published
        publish(bench.objects, Bundle(made.model_id, made.booster, made.record.to_bytes(), verdict_on(b"another")))


def test_a_lost_race_is_decided_again(bench: ReleaseContext) -> None:
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
    assert "it was trained on games up to 2021-12-31, the champion up to 2022-01-31" in done.message
    assert champion_of(bench) == newest
