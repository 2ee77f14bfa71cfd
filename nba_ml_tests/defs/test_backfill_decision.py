"""What the sensor asks for: snapshots before models, nothing twice, no storm, and never stuck for good."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from datetime import date

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from nba_ml.contract.season import season_months
from nba_ml.data.progress import BackfillStatus, MonthProgress, TableState
from nba_ml.defs.sensors.backfill_decision import (
    AskedRun,
    BackfillState,
    Followed,
    RunStatus,
    SensorDecision,
    Taken,
    decide,
)
from nba_ml_tests.profiles import examples

MONTHS = season_months("2021-10", "2022-06")
AT_MOST = 3


class Platform:
    """The months of a backfill, what was made from them, and the runs, by the key that Dagster knows them by."""

    def __init__(self, months: list[str] = MONTHS, *, every_later_month: bool = False) -> None:
        self.months = months
        self.every_later_month = every_later_month
        self.coverage = dict.fromkeys(months, 0)
        self.edits = dict.fromkeys(months, 0)
        self.taken: dict[str, Taken] = {}
        self.followed = Followed()
        self.runs: dict[str, AskedRun] = {}
        self.number = 0

    def wanted(self) -> dict[str, str]:
        return {m: f"{self.coverage[m]:03}-{self.edits[m]:05}-{m}" for m in self.months}

    def progress(self) -> list[MonthProgress]:
        played = TableState(100, 50, 10, 5, None, "p")
        return [
            MonthProgress(m, played, TableState(self.coverage[m], 50, 10, 5, None, "f"), self.coverage[m], 80.0)
            for m in self.months
        ]

    def seen(self) -> BackfillState:
        def found(keys: dict[str, str]) -> dict[str, AskedRun]:
            return {month: self.runs[key] for month, key in keys.items() if key in self.runs}

        return BackfillState(
            progress=self.progress(),
            wanted=self.wanted(),
            taken=dict(self.taken),
            snapshot_runs=found(self.snapshot_keys()),
            model_runs=found(self.model_keys()),
        )

    def snapshot_keys(self) -> dict[str, str]:
        return {month: f"snapshot-{key}" for month, key in self.followed.snapshot_keys().items()}

    def model_keys(self) -> dict[str, str]:
        return {month: f"model-{key}" for month, key in self.followed.model_keys().items()}

    def look(self, *, submitted: bool = True) -> SensorDecision:
        """One evaluation of the sensor; its runs are waiting in the queue then, unless they were not `submitted`."""
        seen = self.seen()
        decision = decide(seen, self.followed, at_most=AT_MOST, every_later_month=self.every_later_month)
        self.followed = Followed.model_validate_json(self.followed.after(decision, seen.taken).model_dump_json())
        keys = [self.snapshot_keys()[m] for m in decision.snapshots] + [self.model_keys()[m] for m in decision.models]
        assert not set(keys) & set(self.runs), "Dagster would drop the request: it knows the key"
        if submitted:
            self.runs |= {key: AskedRun(f"run of {key}", RunStatus.OPEN) for key in keys}
        return decision

    def take(self, month: str, run_id: str, *, stopped: bool = False) -> None:
        """A snapshot of the rows that are there."""
        self.number += 1
        self.taken[month] = Taken(self.wanted()[month], self.number, run_id, stopped)

    def run(self, *, failing: Collection[str] = (), checks_fail: bool = False) -> None:
        """Every run in the queue. Those of the failing months fail: before they took a snapshot, or in its checks."""
        for key, run in self.runs.items():
            if run.status is not RunStatus.OPEN:
                continue
            month = key.partition("-")[2][:7]
            failed = month in failing
            if key.startswith("snapshot") and (checks_fail or not failed):
                self.take(month, run.run_id, stopped=failed)
            self.runs[key] = AskedRun(run.run_id, RunStatus.FAILED if failed else RunStatus.DONE)


def settled(platform: Platform) -> list[SensorDecision]:
    """Look and run until nothing more is asked for."""
    platform.run()
    decisions = []
    for _ in range(100):
        decision = platform.look()
        decisions.append(decision)
        if decision.waiting:
            return decisions
        platform.run()
    raise AssertionError("it never comes to rest")


def test_a_month_gets_its_snapshot_when_it_is_substantial() -> None:
    """Guards against a snapshot of a month that is half there."""
    platform = Platform()
    platform.coverage["2021-10"] = 79
    assert platform.look() == SensorDecision(waiting="the first month is not substantial yet")
    platform.coverage["2021-10"] = 80
    assert list(platform.look().snapshots) == ["2021-10"]


def test_a_model_waits_for_every_snapshot_before_it() -> None:
    """Guards against training that starts before the snapshots that it needs, and fails on a hole."""
    platform = Platform()
    platform.coverage |= {"2021-10": 100, "2021-11": 100}
    asked = platform.look()
    assert list(asked.snapshots) == ["2021-10", "2021-11"]
    first, second = (f"{m} (run {platform.runs[key].run_id})" for m, key in platform.snapshot_keys().items())
    assert platform.look().waiting == f"the snapshot of {first}, {second} was asked for and is not there yet"
    platform.take("2021-10", "by hand")
    assert f"the snapshot of {first}, {second}" in platform.look().waiting, "its run is still to come"
    platform.run()
    assert list(platform.look().models) == ["2021-11"]
    assert platform.look().waiting == "nothing changed"


def test_a_hole_stops_the_models_and_not_the_snapshots() -> None:
    """Guards against a model trained around a month that the backfill has not reached."""
    platform = Platform()
    platform.coverage |= {"2021-10": 100, "2021-12": 100}
    decisions = settled(platform)
    assert [list(d.snapshots) for d in decisions if d.snapshots] == [["2021-10", "2021-12"]]
    assert [list(d.models) for d in decisions if d.models] == [["2021-10"]]
    assert decisions[-1].waiting.startswith("nothing changed; 2021-11 is a hole in the backfill")


def test_many_months_at_once_are_no_storm() -> None:
    """Guards against 36 runs in the queue because a backfill was loaded in one night."""
    platform = Platform(season_months("2021-10", "2025-06"))
    platform.coverage = dict.fromkeys(platform.months, 100)
    decisions = settled(platform)
    assert max(len(d.snapshots) for d in decisions) == AT_MOST
    assert [list(d.models) for d in decisions if d.models] == [["2025-06"]]


def test_a_substantial_month_is_taken_once_and_again_when_complete() -> None:
    """Guards against a run for every row that still comes in."""
    platform = Platform()
    platform.coverage["2021-10"] = 85
    settled(platform)
    platform.coverage["2021-10"] = 90
    [decision] = settled(platform)
    assert decision.waiting == (
        "2021-10 changed and is substantial (90.0%): its snapshot is taken again when the month is complete"
    )
    platform.coverage["2021-10"] = 95
    assert [list(d.snapshots) for d in settled(platform)] == [["2021-10"], [], []]


@pytest.mark.parametrize("month", ["2021-10", "2021-11"])
def test_a_month_that_lost_rows_is_reported(month: str) -> None:
    """Guards against 'nothing changed' where the sensor saw that half of a month is gone."""
    platform = Platform(["2021-10", "2021-11"])
    platform.coverage |= {"2021-10": 100, "2021-11": 100}
    settled(platform)
    platform.coverage[month] = 41
    *_, decision = settled(platform)  # without November, a model of October may be asked for first
    assert f"{month} changed and has too few rows now: 41 of 100 player-games are covered" in decision.waiting
    assert "nothing changed" not in decision.waiting


def test_a_complete_month_that_changes_is_taken_again() -> None:
    """Guards against a correction that never reaches the model."""
    platform = Platform()
    platform.coverage |= {"2021-10": 100, "2021-11": 100}
    settled(platform)
    platform.edits["2021-10"] += 1
    decisions = settled(platform)
    assert list(decisions[0].snapshots) == ["2021-10"]
    assert list(decisions[1].models) == ["2021-11"]


def test_all_later_models_on_request() -> None:
    """Guards against old months' models that stand on rows that were corrected since."""
    platform = Platform(every_later_month=True)
    platform.coverage |= dict.fromkeys(MONTHS[:5], 100)
    settled(platform)
    platform.edits[MONTHS[2]] += 1
    models = [month for decision in settled(platform) for month in decision.models]
    assert models == MONTHS[2:5]


def test_a_failed_snapshot_is_not_asked_for_until_its_rows_change() -> None:
    """Guards against a run every five minutes that fails every five minutes."""
    platform = Platform()
    platform.coverage["2021-10"] = 100
    assert list(platform.look().snapshots) == ["2021-10"]
    platform.run(failing=["2021-10"])
    decision = platform.look()
    run_id = platform.runs[platform.snapshot_keys()["2021-10"]].run_id
    assert decision.troubles == (
        f"the snapshot of 2021-10 failed (run {run_id}): fix the cause and materialise it by hand; until then no "
        "model of that month or a later one is asked for",
    )
    assert not decision.snapshots
    assert not decision.models
    platform.edits["2021-10"] += 1
    assert list(platform.look().snapshots) == ["2021-10"]


@pytest.mark.parametrize("coverage", [85, 100], ids=["substantial", "complete"])
def test_rows_that_come_in_before_the_run_do_not_leave_it_waiting(coverage: int) -> None:
    """Guards what was seen: the run took newer rows than were asked for, and no model was ever asked for again."""
    platform = Platform()
    platform.coverage |= {"2021-10": 100, "2021-11": coverage}
    asked = platform.look()
    platform.edits["2021-11"] += 1
    platform.run()
    assert platform.taken["2021-11"].inputs != asked.snapshots["2021-11"]
    assert list(platform.look().models) == ["2021-11"]
    platform.run()
    assert platform.look() == SensorDecision(waiting="nothing changed")


def test_a_snapshot_that_somebody_else_took_settles_a_request() -> None:
    """Guards against a sensor stuck for good because a schedule's run took a newer snapshot of the running month."""
    platform = Platform()
    platform.coverage |= {"2021-10": 100, "2021-11": 85}
    settled(platform)
    platform.edits["2021-11"] += 1
    platform.take("2021-11", "weekly training")
    platform.edits["2021-11"] += 1
    assert list(platform.look().models) == ["2021-11"]
    platform.run()
    platform.edits["2021-10"] += 1  # a correction of an earlier month
    decisions = settled(platform)
    assert [list(d.snapshots) for d in decisions if d.snapshots] == [["2021-10"]]
    assert [list(d.models) for d in decisions if d.models] == [["2021-11"]]


@pytest.mark.parametrize("checks_fail", [False, True], ids=["in the asset", "in its checks"])
@pytest.mark.parametrize("mended", ["by hand", "by later rows"])
def test_a_failed_snapshot_of_a_running_month_can_be_mended(mended: str, *, checks_fail: bool) -> None:
    """Guards against a running month that no later row and no person could bring back."""
    platform = Platform()
    platform.coverage |= {"2021-10": 100, "2021-11": 85}
    platform.look()
    platform.run(failing=["2021-11"], checks_fail=checks_fail)
    assert list(platform.look().models) == ["2021-10"], "the month before does not need it"
    platform.run()
    [trouble] = settled(platform)[-1].troubles
    assert "the snapshot of 2021-11" in trouble
    if mended == "by hand":
        platform.take("2021-11", "by hand")
    else:
        platform.edits["2021-11"] += 1
    decisions = settled(platform)
    assert [list(d.models) for d in decisions if d.models] == [["2021-11"]]
    assert decisions[-1] == SensorDecision(waiting="nothing changed")


def test_a_failed_correction_holds_up_what_stands_on_it_and_nothing_else() -> None:
    """Guards against models that the publisher can only refuse, and against an old month's in their place."""
    platform = Platform()
    platform.coverage |= {"2021-10": 100, "2021-11": 100, "2021-12": 85}
    settled(platform)
    platform.edits["2021-11"] += 1
    platform.look()
    platform.run(failing=["2021-11"])
    platform.coverage |= {"2021-12": 100, "2022-01": 85}
    decisions = settled(platform)
    assert [list(d.snapshots) for d in decisions if d.snapshots] == [["2021-12", "2022-01"]]
    assert not any(d.models for d in decisions)
    [trouble] = decisions[-1].troubles
    assert trouble.startswith("the snapshot of 2021-11 failed (run ")
    platform.take("2021-11", "by hand")
    assert [list(d.models) for d in settled(platform) if d.models] == [["2022-01"]]


def test_a_snapshot_that_a_check_stopped_is_not_trained_on() -> None:
    """Guards against a model of rows that a check refused, and against an old month's model in its place."""
    platform = Platform()
    platform.coverage |= dict.fromkeys(MONTHS[:4], 100)
    settled(platform)
    platform.edits[MONTHS[2]] += 1
    platform.edits[MONTHS[3]] += 1
    platform.look()
    platform.run(failing=[MONTHS[2]], checks_fail=True)
    [decision] = settled(platform)
    assert decision.waiting == "nothing changed"
    assert f"the snapshot of {MONTHS[2]} failed (run " in decision.troubles[0]
    platform.take(MONTHS[2], "somebody's", stopped=True)
    assert f"the snapshot of {MONTHS[2]} did not pass its checks (run somebody's)" in platform.look().troubles[0]
    platform.take(MONTHS[2], "by hand")
    assert [list(d.models) for d in settled(platform) if d.models] == [[MONTHS[3]]]


def test_one_run_of_a_month_at_a_time() -> None:
    """Guards against a run more at every look, while the queue stands still and rows come in."""
    platform = Platform()
    platform.coverage["2021-10"] = 100
    platform.look()
    for _ in range(3):
        platform.edits["2021-10"] += 1
        assert "was asked for and is not there yet" in platform.look().waiting
    platform.run()
    assert [list(d.models) for d in settled(platform) if d.models] == [["2021-10"]]


def test_a_request_without_a_run_is_made_again() -> None:
    """Guards against a month lost for good: Dagster drops what is left of a tick when the sensor is turned off."""
    platform = Platform()
    platform.coverage["2021-10"] = 100
    for kind in ("snapshots", "models"):
        before = getattr(platform.look(submitted=False), kind)
        assert before
        assert getattr(platform.look(), kind) == before
        platform.run()
    assert platform.look() == SensorDecision(waiting="nothing changed")


def test_rows_that_change_back_are_another_request() -> None:
    """Guards against a request that Dagster drops because the same rows were asked for before."""
    platform = Platform()
    platform.coverage["2021-10"] = 100
    settled(platform)
    for edits in (1, 0, 1):
        platform.edits["2021-10"] = edits
        assert list(settled(platform)[0].snapshots) == ["2021-10"]
        assert platform.taken["2021-10"].inputs == platform.wanted()["2021-10"]


def test_a_snapshot_that_is_gone_is_named() -> None:
    """Guards against the words 'not there yet' about what nobody is making."""
    platform = Platform()
    platform.coverage["2021-10"] = 100
    settled(platform)
    del platform.taken["2021-10"]
    [trouble] = settled(platform)[-1].troubles
    assert trouble.startswith("the snapshot of 2021-10 is gone: ")


def test_rows_that_changed_back_before_the_run_are_named() -> None:
    """Guards 'nothing changed' where the snapshot has other rows, and a run at every look if that never ends."""
    platform = Platform()
    platform.coverage["2021-10"] = 100
    platform.look()
    platform.edits["2021-10"] = 1
    platform.run()
    platform.edits["2021-10"] = 0
    decisions = settled(platform)
    assert [list(d.models) for d in decisions if d.models] == [["2021-10"]]
    assert not any(d.snapshots for d in decisions)
    assert decisions[-1].troubles[0].startswith("the snapshot of 2021-10 has other rows than are there now")


def test_a_failed_model_is_named_and_not_asked_for_again() -> None:
    """Guards against 'nothing changed' where the latest model failed, and against a run of it at every look."""
    platform = Platform()
    platform.coverage["2021-10"] = 100
    platform.look()
    platform.run()
    platform.look()
    platform.run(failing=["2021-10"])
    decision = platform.look()
    assert decision.waiting == "nothing changed"
    assert decision.troubles[0].startswith("the model of 2021-10 failed or was refused (run ")


def test_a_cursor_of_before_is_understood() -> None:
    """Guards an update of a deployment whose sensor is stuck: it goes on at its next look."""
    platform = Platform()
    platform.coverage |= {"2021-10": 100, "2021-11": 90}
    platform.followed = Followed.model_validate_json('{"snapshots": {"2021-10": "A", "2021-11": "K1"}, "models": {}}')
    platform.take("2021-10", "earlier")
    platform.take("2021-11", "earlier")
    for month, key in platform.snapshot_keys().items():
        assert key == f"snapshot-{month}-{platform.followed.snapshots[month]}"
        platform.runs[key] = AskedRun("earlier", RunStatus.DONE)
    assert list(platform.look().models) == ["2021-11"]


class Following(RuleBasedStateMachine):
    """A backfill that moves in any order, a sensor that looks at any moment, runs that may fail, people who help."""

    @initialize(every=st.booleans())
    def start(self, every: bool) -> None:
        self.platform = Platform(every_later_month=every)
        self.unmended: set[str] = set()
        self.helped: set[str] = set()

    @rule(month=st.sampled_from(MONTHS), coverage=st.integers(0, 100))
    def move(self, month: str, coverage: int) -> None:
        self.platform.coverage[month] = max(coverage, self.platform.coverage[month])

    @rule(month=st.sampled_from(MONTHS[:4]), coverage=st.sampled_from([85, 100]))
    def move_on(self, month: str, coverage: int) -> None:
        """The months before it too, so that there is more than a hole."""
        for each in MONTHS[: MONTHS.index(month) + 1]:
            self.move(each, coverage)

    @rule(month=st.sampled_from(MONTHS), by=st.sampled_from([-1, 1]))
    def edit(self, month: str, by: int) -> None:
        self.platform.edits[month] = max(0, self.platform.edits[month] + by)

    @rule(submitted=st.booleans())
    def look(self, submitted: bool) -> None:
        decision = self.platform.look(submitted=submitted)
        self.helped -= set(decision.snapshots)
        assert len(decision.snapshots) + len(decision.models) <= AT_MOST
        assert not (decision.snapshots and decision.models)
        for month in decision.models:
            there = [m.month for m in self.platform.progress() if m.month <= month]
            assert all(m in self.platform.taken for m in there), "a hole under a model"
            assert not any(self.platform.taken[m].stopped for m in there), "a stopped snapshot under a model"

    @rule(failing=st.sets(st.sampled_from(MONTHS)), checks_fail=st.booleans())
    def run(self, failing: set[str], checks_fail: bool) -> None:
        asked = {key[9:16] for key, run in self.platform.runs.items() if run.status is RunStatus.OPEN and key[0] == "s"}
        self.platform.run(failing=failing, checks_fail=checks_fail)
        self.unmended -= asked - failing
        self.unmended |= asked & failing if checks_fail else asked & failing - self.helped

    @rule(month=st.sampled_from(MONTHS), stopped=st.booleans())
    def take(self, month: str, stopped: bool) -> None:
        """A schedule, or a person."""
        self.platform.take(month, f"hand {self.platform.number}", stopped=stopped)
        self.helped.add(month)
        (self.unmended.add if stopped else self.unmended.discard)(month)

    @rule(month=st.sampled_from(MONTHS))
    def delete(self, month: str) -> None:
        """A run that is over, and the snapshot that it made with it."""
        key = self.platform.snapshot_keys().get(month, "")
        run = self.platform.runs.get(key)
        if run is None or run.status is RunStatus.OPEN:
            return
        del self.platform.runs[key]
        if month in self.platform.taken and self.platform.taken[month].run_id == run.run_id:
            del self.platform.taken[month]
        self.unmended.discard(month)
        if month in self.platform.taken and self.platform.taken[month].stopped:
            self.unmended.add(month)

    @rule()
    def come_to_rest(self) -> None:
        """Nothing moves and every run ends well: the model of the latest month is there, or it is said why not."""
        asked = len(self.platform.runs)
        self.run(set(), False)
        while not self.platform.look().waiting:
            assert len(self.platform.runs) < asked + 100, "it never comes to rest"
            self.run(set(), False)
        last, seen = self.platform.look(), self.platform.seen()
        changed = {m for m, taken in seen.taken.items() if taken.inputs != seen.wanted[m]}
        for m in seen.progress:
            assert (m.month in changed and not m.trainable) == (f"{m.month} changed and has too few" in last.waiting)
        if last.waiting.startswith("the first month is not substantial yet"):
            assert not seen.progress[0].trainable
            return
        assert ("nothing changed" in last.waiting) != (" changed and " in last.waiting)
        reached = [m.month for m in seen.progress if m.trainable]
        hole = reached != MONTHS[: len(reached)]
        assert hole == ("hole" in last.waiting)
        for month in seen.progress:
            if not month.trainable:
                continue
            trouble = " ".join(each for each in last.troubles if f" of {month.month} " in each)
            assert ("failed" in trouble or "checks" in trouble) == (month.month in self.unmended), trouble
            if not trouble:
                assert month.status is BackfillStatus.SUBSTANTIAL or month.month not in changed
        if not hole and not last.troubles:
            assert seen.model_runs[reached[-1]].status is RunStatus.DONE

    @invariant()
    def a_month_with_an_open_run_is_not_asked_for(self) -> None:
        if hasattr(self, "platform"):
            waiting = [k[:16] for k, run in self.platform.runs.items() if run.status is RunStatus.OPEN and k[0] == "s"]
            assert len(waiting) == len(set(waiting))


TestFollowing = Following.TestCase
TestFollowing.settings = settings(max_examples=examples(80), stateful_step_count=30)


def test_a_hole_says_that_its_results_are_missing() -> None:
    """Guards against "a hole in the backfill" where the backfill is done and the box scores are not there."""
    platform = Platform(["2021-10", "2021-11"])
    full, none = TableState(100, 50, 10, 5, None, "v"), TableState(0, 0, 0, 0, None, "")
    progress = [
        MonthProgress("2021-10", none, full, 0, 80.0, missing={date(2021, 10, 20): 100}),
        MonthProgress("2021-11", full, full, 100, 80.0),
    ]
    platform.coverage["2021-11"] = 100
    seen = replace(platform.seen(), progress=progress)
    taken = {"2021-11": Taken(platform.wanted()["2021-11"], 1, "r")}
    first = decide(replace(seen, taken=taken), Followed(), at_most=AT_MOST)
    assert first.waiting == (
        "the first month is not substantial yet (results missing: 2021-10-20 (100 player-games with features))"
    )
