"""A home that an older version made: a check of today has never run on its months."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace

import dagster as dg
import pytest

from nba_ml.checks import registry
from nba_ml.checks.check import Check, Consequence, Finding
from nba_ml.contract.assets import MONTHLY_ASSETS
from nba_ml.registry.verdict import Override
from nba_ml.runner.backfill import MonthResult
from nba_ml.runner.session import open_session
from nba_ml_tests.cli.command import Home
from nba_ml_tests.limits import LENIENT
from nba_ml_tests.runner.conftest import THREE, settings_of

pytestmark = pytest.mark.slow

ADDED = "feature_store_snapshot.added_later"

Add = Callable[..., None]


@pytest.fixture
def add(monkeypatch: pytest.MonkeyPatch) -> Add:
    """Adds a check of the snapshot, which fails in one month, or in none."""

    def added(consequence: Consequence, fails_in: str = "") -> None:
        check = Check(
            asset="feature_store_snapshot",
            name="added_later",
            consequence=consequence,
            threshold="nothing odd",
            reason="It was found later that this can be wrong.",
            examine=lambda value, scene: Finding(
                passed=scene.month != fails_in, metric="odd rows", value=3, n=value.table.num_rows
            ),
        )
        monkeypatch.setattr(registry, "REGISTERED", tuple(_with(check, each) for each in registry.REGISTERED))

    return added


def _with(check: Check, asset: registry.MonthlyAsset) -> registry.MonthlyAsset:
    others = asset.checks
    if others is None or asset.stored.name != check.asset:
        return asset
    return replace(asset, checks=lambda limits: (*others(limits), check))


def rerun(home: Home) -> list[MonthResult]:
    with open_session(settings_of(home)) as session:
        return list(session.run(THREE, MONTHLY_ASSETS, only_missing=True))


def values(home: Home) -> dict[str, int]:
    """When each value of the store, and each published object, was written."""
    files = [*(home.root / "store").rglob("*"), *(home.root / "artifacts").rglob("*")]
    return {str(file): file.stat().st_mtime_ns for file in files if file.is_file()}


def test_it_runs_on_what_is_there(copied: Home, add: Add) -> None:
    """Guards an upgrade that trains all months again, to run one check on each."""
    before = values(copied)
    add(Consequence.STOPS_RUN)
    assert [(each.assets, each.checked, each.problems) for each in rerun(copied)] == [((), (ADDED,), ())] * 3
    assert values(copied) == before
    assert [each.checked for each in rerun(copied)] == [()] * 3, "once"


def test_where_it_stops_a_run_the_month_fails_as_if_made_anew(copied: Home, add: Add) -> None:
    """Guards a month left green that a run of today would stop: neither it nor a later one is gone on with."""
    add(Consequence.STOPS_RUN, fails_in=THREE[1])
    first, second = rerun(copied)
    assert (first.assets, first.problems) == ((), ())
    [problem] = second.problems
    assert problem.startswith("added_later on feature_store_snapshot: failed: Odd rows: 3, required: nothing odd.")
    with copied.instance() as instance:
        run = instance.get_run_by_id(str(second.run_id))
        assert run is not None
        assert run.status is dg.DagsterRunStatus.FAILURE
    with open_session(settings_of(copied)) as session:
        assert session.planner.out_of_date(THREE[1], MONTHLY_ASSETS)[0] == "feature_store_snapshot"
    first, again = rerun(copied)
    assert "feature_store_snapshot" in again.assets, "it is made anew, and the same check stops it"
    assert again.problems == second.problems


def test_where_it_blocks_publication_the_models_are_judged_again(copied: Home, add: Add) -> None:
    """Guards a published model that the publisher of today would refuse: that of the month, and all that learned from
    its rows."""
    add(Consequence.BLOCKS, fails_in=THREE[1])
    done = rerun(copied)
    assert [each.assets for each in done] == [(), ("gcs_artifact",), ("gcs_artifact",)]
    for each in done[1:]:
        assert each.refused is not None
        assert [(check.key, check.month) for check in each.refused.checks] == [(ADDED, THREE[1])]
    again = rerun(copied)
    assert [(each.assets, bool(each.refused)) for each in again] == [((), False), ((), True), ((), True)]


def test_what_was_published_knowingly_stays_published(copied: Home) -> None:
    """Guards months that fail under the limits of today: those were not the limits then, or a person accepted it."""
    home, asset = replace(copied, limits=LENIENT.model_copy(update={"min_gain": 9.0})), "xgboost_model"
    stricter = rerun(home)
    assert [each.assets for each in stricter] == [()] * 3
    failed = stricter[2].blocked
    assert f"{asset}.beats_season_average" in failed
    with open_session(settings_of(home)) as session:
        session.overrides = [Override(check=each, reason="Limits on trial, nobody is harmed.") for each in failed]
        [published] = session.run(THREE[2:], ["gcs_artifact"], only_missing=False)
    assert (published.problems, published.refused) == ((), None)
    index = home.root / "dagster/history/runs/index.db"
    with closing(sqlite3.connect(index)) as connection, connection:  # as if the checks had never run
        connection.execute("DELETE FROM asset_check_executions WHERE asset_key = ?", [dg.AssetKey(asset).to_string()])
    again = rerun(home)
    assert all(f"{asset}.beats_season_average" in each.checked for each in again)
    assert again[2].blocked == failed
    assert (again[1].assets, again[2].assets) == (("gcs_artifact",), ()), "nobody had accepted that of the month before"
