"""What the sensor asks for: snapshots before models, nothing twice, no storm."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from nba_ml.core.follow import Decision, Followed, decide
from nba_ml.core.progress import MonthProgress, TableState
from nba_ml.core.season import season_months

MONTHS = season_months("2021-10", "2022-06")
AT_MOST = 3


class Platform:
    """The months of a backfill, and what was made from them."""

    def __init__(self, months: list[str] = MONTHS, *, every_later_month: bool = False) -> None:
        self.months = months
        self.every_later_month = every_later_month
        self.coverage = dict.fromkeys(months, 0)
        self.edits = dict.fromkeys(months, 0)
        self.taken: dict[str, str] = {}
        self.followed = Followed()
        self.asked: list[tuple[str, str, str]] = []

    def wanted(self) -> dict[str, str]:
        return {m: f"{m}-{self.coverage[m]}-{self.edits[m]}" for m in self.months}

    def progress(self) -> list[MonthProgress]:
        played = TableState(100, 50, 10, 5, None, "p")
        return [
            MonthProgress(m, played, TableState(self.coverage[m], 50, 10, 5, None, "f"), self.coverage[m], 80.0)
            for m in self.months
        ]

    def look(self) -> Decision:
        """One evaluation of the sensor."""
        decision = decide(
            self.progress(),
            self.wanted(),
            self.taken,
            self.followed,
            at_most=AT_MOST,
            every_later_month=self.every_later_month,
        )
        self.asked += [("snapshot", m, key) for m, key in decision.snapshots.items()]
        self.asked += [("model", m, key) for m, key in decision.models.items()]
        self.followed = Followed(
            snapshots={**self.followed.snapshots, **decision.snapshots},
            models={**self.followed.models, **decision.models},
        )
        return decision

    def run(self, decision: Decision) -> None:
        """The runs that were asked for, all successful."""
        self.taken.update({month: self.wanted()[month] for month in decision.snapshots})


def settled(platform: Platform) -> list[Decision]:
    """Look and run until nothing more is asked for."""
    decisions = []
    for _ in range(100):
        decision = platform.look()
        decisions.append(decision)
        if decision.waiting:
            return decisions
        platform.run(decision)
    raise AssertionError("it never comes to rest")


def test_a_month_gets_its_snapshot_when_it_is_substantial() -> None:
    """Guards against a snapshot of a month that is half there."""
    platform = Platform()
    platform.coverage["2021-10"] = 79
    assert platform.look() == Decision(waiting="the first month is not substantial yet")
    platform.coverage["2021-10"] = 80
    assert list(platform.look().snapshots) == ["2021-10"]


def test_a_model_waits_for_every_snapshot_before_it() -> None:
    """Guards against training that starts before the snapshots that it needs, and fails on a hole."""
    platform = Platform()
    platform.coverage |= {"2021-10": 100, "2021-11": 100}
    asked = platform.look()
    assert list(asked.snapshots) == ["2021-10", "2021-11"]
    assert platform.look().waiting == "the snapshot of 2021-10, 2021-11 was asked for and is not there yet"
    platform.taken["2021-10"] = platform.wanted()["2021-10"]
    assert platform.look().waiting == "the snapshot of 2021-11 was asked for and is not there yet"
    platform.run(asked)
    assert list(platform.look().models) == ["2021-11"]
    assert platform.look().waiting == "nothing changed"


def test_a_hole_stops_the_models_and_not_the_snapshots() -> None:
    """Guards against a model trained around a month that the backfill has not reached."""
    platform = Platform()
    platform.coverage |= {"2021-10": 100, "2021-12": 100}
    decisions = settled(platform)
    assert [list(d.snapshots) for d in decisions if d.snapshots] == [["2021-10", "2021-12"]]
    assert [list(d.models) for d in decisions if d.models] == [["2021-10"]]


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
    assert settled(platform) == [Decision(waiting="nothing changed")]
    platform.coverage["2021-10"] = 95
    assert [list(d.snapshots) for d in settled(platform)] == [["2021-10"], [], []]


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
    assert list(platform.look().snapshots) == ["2021-10"]  # and its run fails: nothing is taken
    assert platform.look().waiting.startswith("the snapshot of 2021-10 was asked for")
    platform.edits["2021-10"] += 1
    assert list(platform.look().snapshots) == ["2021-10"]


class Following(RuleBasedStateMachine):
    """A backfill that moves in any order, with a sensor that looks at any moment and runs that may fail."""

    @initialize(every=st.booleans())
    def start(self, every: bool) -> None:
        self.platform = Platform(every_later_month=every)
        self.open: list[Decision] = []

    @rule(month=st.sampled_from(MONTHS), coverage=st.integers(0, 100))
    def move(self, month: str, coverage: int) -> None:
        self.platform.coverage[month] = max(coverage, self.platform.coverage[month])

    @rule(month=st.sampled_from(MONTHS))
    def edit(self, month: str) -> None:
        self.platform.edits[month] += 1

    @rule()
    def look(self) -> None:
        before = len(self.platform.asked)
        decision = self.platform.look()
        new = self.platform.asked[before:]
        assert len(new) <= AT_MOST
        assert not (decision.snapshots and decision.models)
        for month in decision.models:
            there = [m.month for m in self.platform.progress() if m.month <= month]
            assert all(m in self.platform.taken for m in there), "a hole under a model"
        self.open.append(decision)

    @rule(ok=st.booleans())
    def run(self, ok: bool) -> None:
        while self.open:
            decision = self.open.pop(0)
            if ok:
                self.platform.run(decision)

    @invariant()
    def nothing_is_asked_for_twice(self) -> None:
        if hasattr(self, "platform"):
            assert len(self.platform.asked) == len(set(self.platform.asked))


TestFollowing = Following.TestCase
TestFollowing.settings = settings(max_examples=60, stateful_step_count=30)
