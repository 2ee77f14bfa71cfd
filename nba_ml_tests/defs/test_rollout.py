"""`rollout` through Dagster: a challenger that takes its steps, waits, or is taken back, and what the UI shows."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

from nba_ml.checks.registry import STORED
from nba_ml.contract.thresholds import Thresholds
from nba_ml.registry.channel import Channel, read_channel
from nba_ml.registry.promotion import promote
from nba_ml.registry.release_context import ReleaseContext
from nba_ml.registry.rollback import rollout_stop
from nba_ml.registry.rollout import rollout_advance, rollout_start
from nba_ml_tests.conftest import snapshot_of
from nba_ml_tests.defs.test_chain import Home, failure, opened
from nba_ml_tests.release_scene import AT, LIMITS, MONTHS, SLOW_LEARNER, WHY, bench_of, published_model

pytestmark = pytest.mark.slow

JANUARY = date(2022, 1, 1)


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    """The snapshots of four months, under limits that models of few steps can keep."""
    with opened(tmp_path / "home", limits=LIMITS) as home:
        for month in MONTHS:
            home.months.save(STORED["feature_store_snapshot"], month, snapshot_of(month))
        yield home


def champion_of_month(home: Home, month: str = "2021-11") -> str:
    """Publish the model of a month and make it the champion."""
    model_id = published_model(home.artifacts, month)
    promote(bench_of(home.artifacts, home.months.objects), AT, model_id)
    return model_id


def bench_in(home: Home) -> ReleaseContext:
    return ReleaseContext(home.artifacts, home.months, home.settings.thresholds, threads=1)


def state(home: Home) -> Channel:
    found = read_channel(home.artifacts)
    assert found is not None
    return found


def test_no_rollout_is_no_failure_and_says_so(home: Home) -> None:
    """Guards against a schedule that is red on every evening without a rollout."""
    found = home.facts("rollout")
    assert (found["action"], found["moved"]) == ("none", False)
    assert found["decision"] == "there is no champion yet, and so no rollout"
    champion = champion_of_month(home)
    found = home.facts("rollout")
    assert (found["action"], found["champion"], found["challenger"], found["serial"]) == ("none", champion, "none", 1)
    assert found["decision"] == "no rollout is under way"
    rollout_start(
        bench_in(home), published_model(home.artifacts, "2021-12"), AT, WHY, JANUARY, share=10, waived=("comparison",)
    )
    rollout_stop(home.artifacts, AT, "the line-up data was wrong")
    found = home.facts("rollout")
    assert found["decision"] == "the rollout was stopped: the line-up data was wrong"
    assert state(home).serial == 3


def test_a_step_is_taken_on_its_grades_and_the_next_one_waits_for_its_own(home: Home) -> None:
    """Guards against a challenger that runs through its steps on the same games."""
    champion_of_month(home)
    challenger = published_model(home.artifacts, "2021-12")
    rollout_start(bench_in(home), challenger, AT, WHY, JANUARY, share=10, waived=("comparison",))
    found = home.facts("rollout")
    assert (found["action"], found["moved"], found["challenger"], found["challenger_share"]) == (
        ("advance", True, challenger, 50)
    )
    assert found["compared_rows"] == 4901
    assert found["graded_from"] == "2022-02-01"
    assert isinstance(found["gain_over_champion"], float)
    assert "| unseen" in str(found["evidence"])
    again = home.facts("rollout")
    assert (again["action"], again["moved"], again["challenger_share"]) == ("wait", False, 50)
    assert again["decision"] == "there are no graded rows yet; 1,000 are needed"
    assert state(home).serial == 3


def test_a_bad_challenger_is_taken_back_and_the_run_says_why(home: Home) -> None:
    """Guards the slate: the step that nobody watches must go down as well as up."""
    champion = champion_of_month(home)
    bad = published_model(home.artifacts, "2021-12", SLOW_LEARNER)
    rollout_start(bench_in(home), bad, AT, WHY, JANUARY, share=10, waived=("comparison",))
    found = home.facts("rollout")
    assert (found["action"], found["moved"], found["champion"], found["challenger_share"]) == (
        ("stop", True, champion, 0)
    )
    assert str(found["decision"]).startswith("worse than the champion by more than")
    assert state(home).set_aside == (bad,)
    assert home.facts("rollout")["action"] == "none"


def test_a_rule_beside_the_champion_stays_at_its_last_step(tmp_path: Path) -> None:
    """Guards the A/B against the mock: marked as such, never everybody's, and its last step is no red run."""
    with opened(tmp_path / "wide", limits=Thresholds(rollout_margin=9.0, bias=(-9.0, 9.0))) as home:
        for month in MONTHS:
            home.months.save(STORED["feature_store_snapshot"], month, snapshot_of(month))
        champion_of_month(home)
        rollout_start(bench_in(home), "mock", AT, WHY, date(2021, 12, 1), share=10)
        bench = bench_of(home.artifacts, home.months.objects, limits=home.settings.thresholds)
        rollout_advance(bench, AT, until=date(2021, 12, 31))
        assert state(home).share == 50
        found = home.facts("rollout")
        assert (found["action"], found["moved"], found["challenger_share"]) == ("wait", False, 50)
        assert (found["challenger"], found["challenger_is_the_mock"]) == ("mock", True)
        assert "mock is a rule for comparisons" in str(found["decision"])


def test_a_challenger_whose_bundle_is_damaged_is_a_failure(home: Home) -> None:
    """Guards against a green run over a challenger that no worker can load."""
    champion_of_month(home)
    challenger = published_model(home.artifacts, "2021-12")
    rollout_start(bench_in(home), challenger, AT, WHY, JANUARY, share=10, waived=("comparison",))
    (home.artifacts.root / f"xgboost_v1/{challenger}.json").write_bytes(b"{}")
    result = home.make("rollout")
    assert not result.success
    assert "bytes; found 2." in failure(result, "rollout")
    assert state(home).share == 10
