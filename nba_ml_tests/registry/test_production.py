"""A system of the platform as the one to beat: what it predicted, against a real candidate on real games."""

from __future__ import annotations

from datetime import date, timedelta

import pyarrow as pa
import pytest

from nba_ml.contract.errors import ReleaseError
from nba_ml.registry.channel import Channel, Evidence, read_channel
from nba_ml.registry.production import beats_production, keep_production, production_name
from nba_ml.registry.promotion import promote
from nba_ml.registry.release_context import ReleaseContext
from nba_ml.registry.rollout import rollout_advance, rollout_start, rollout_status
from nba_ml_tests.conftest import snapshot_of
from nba_ml_tests.registry.test_channel import first
from nba_ml_tests.release_scene import AT, WHY, model_of, published_model

JANUARY = "2022-01"
SYSTEM = "CatBoost-v8"


def predicted(
    bench: ReleaseContext, off: float, made: str = "ahead", system: str = SYSTEM, month: str = JANUARY
) -> None:
    """The system predicted every result of the month, but for so many points."""
    table = snapshot_of(month).table
    rows = table.select(["player_lookup", "game_date"])
    rows = rows.append_column("predicted_points", pa.array(table.column("points").to_numpy() + off))
    keep_production(
        bench.months.objects, month, system, rows.append_column("made", pa.array([made] * rows.num_rows, pa.string()))
    )


def test_the_first_champion_may_have_to_beat_production(bench: ReleaseContext) -> None:
    """Guards the reason for it: a platform that serves already does not change to a model that is worse."""
    identity = published_model(bench.objects, "2021-12")
    predicted(bench, 1.0)
    refused = promote(bench, AT, beat=SYSTEM)
    assert (refused.moved, read_channel(bench.objects)) == (False, None)
    assert "Not met: beats_production: MAE" in refused.message
    predicted(bench, 9.0)
    done = promote(bench, AT, beat=SYSTEM)
    assert done.moved, done.message
    state = read_channel(bench.objects)
    assert state is not None
    assert state.beaten is not None
    assert state.evidence is None, "there is no champion to compare it with"
    assert (state.beaten.champion, state.beaten.candidate) == ("production_catboost_v8", identity)
    rows = snapshot_of(JANUARY).table
    assert (state.beaten.unseen, state.beaten.rows) == ("out_of_time", rows.num_rows)
    assert (state.beaten.champion_mae, state.beaten.champion_bias) == (9.0, 9.0)
    assert state.beaten.gain == pytest.approx(9.0 - state.beaten.candidate_mae, abs=1e-5)
    assert state.beaten.last == max(rows.column("game_date").to_pylist())
    assert "of production_catboost_v8 on" in state.reason


@pytest.mark.slow
def test_a_new_model_is_held_to_games_that_it_was_not_fitted_on(bench: ReleaseContext) -> None:
    """Guards against a candidate that beats production on its own training rows."""
    promote(bench, AT, published_model(bench.objects, "2021-12"), WHY)
    newer = published_model(bench.objects, JANUARY)
    predicted(bench, 9.0)
    done = promote(bench, AT, beat=SYSTEM)
    assert done.moved, done.message
    assert done.channel is not None
    assert done.channel.evidence is not None
    assert done.channel.beaten is not None
    fitted = model_of(JANUARY).record.split.sides()["early_stopping"].last
    assert (done.channel.beaten.unseen, done.channel.beaten.first) == ("held_out", fitted + timedelta(days=1))
    assert done.channel.beaten.candidate == done.channel.evidence.candidate == newer


def test_what_is_not_known_beats_nobody(bench: ReleaseContext) -> None:
    """Guards against a condition that passes for want of rows, and against replayed predictions as the bar."""
    published_model(bench.objects, "2021-12")
    with pytest.raises(ReleaseError, match=f"Nothing is kept of what {SYSTEM} predicted. Run `nba-ml grades"):
        promote(bench, AT, beat=SYSTEM)
    predicted(bench, 9.0, month="2021-11")  # games that the candidate was fitted on
    predicted(bench, 9.0, made="replayed")
    done = promote(bench, AT, beat=SYSTEM)
    assert not done.moved
    held_out = model_of("2021-12").record.split.sides()["validation"].first
    assert f"no prediction of {SYSTEM} from {held_out} on is kept" in done.message
    assert read_channel(bench.objects) is None


@pytest.mark.parametrize(
    ("gain", "low", "rows", "days", "met"),
    [
        (0.1, -0.05, 1000, 5, True),
        (0.1, -0.06, 1000, 5, False),
        (0.0, 0.0, 1000, 5, False),
        (-0.01, -0.02, 1000, 5, False),
        (0.1, 0.05, 999, 5, False),
        (0.1, 0.05, 1000, 4, False),
    ],
)
def test_the_limits_of_the_condition(gain: float, low: float, rows: int, days: int, met: bool) -> None:
    """Guards its edges: better, not worse than the margin at the interval's low end, on enough rows and days."""
    evidence = Evidence(
        champion="production_x", candidate="c", unseen="out_of_time", first=date(2022, 1, 1), last=date(2022, 1, 9),
        rows=rows, days=days, champion_mae=5.0, candidate_mae=5.0 - gain, gain=gain, low=low, high=0.2,
        champion_bias=0.0, bias=0.0, margin=0.05,
    )  # fmt: skip
    assert beats_production(evidence, 1000).met is met


def test_a_rollout_waits_until_production_is_beaten(bench: ReleaseContext, pair: tuple[str, str]) -> None:
    """Guards every step: the start at 10%, and each advance, on the games of the step."""
    start = {"graded_from": date(2022, 1, 1), "waived": ("comparison",)}
    with pytest.raises(ReleaseError, match=f"in shadow need not beat {SYSTEM}"):
        rollout_start(bench, pair[1], AT, WHY, beat=SYSTEM)
    predicted(bench, 1.0)
    with pytest.raises(ReleaseError, match=f"may not begin at 10%: it must beat {SYSTEM}. MAE"):
        rollout_start(bench, pair[1], AT, WHY, share=10, beat=SYSTEM, **start)  # type: ignore[arg-type]
    predicted(bench, 9.0, system="other")
    started = rollout_start(bench, pair[1], AT, WHY, share=10, beat="other", **start).channel  # type: ignore[arg-type]
    assert started is not None
    assert started.beaten is not None
    until = date(2022, 1, 9)
    status, moved = rollout_advance(bench, AT, until, beat=SYSTEM)
    assert (status.step.action, moved.moved) == ("wait", False)
    assert f"Against {SYSTEM}: MAE" in status.step.reason
    assert rollout_status(bench, until).step.action == "advance", "the champion it would beat"
    status, moved = rollout_advance(bench, AT, until, beat="other")
    assert moved.channel is not None
    assert (status.step.action, moved.channel.share) == ("advance", 50)
    assert moved.channel.beaten == status.beaten
    assert status.beaten is not None
    assert (status.beaten.first, status.beaten.champion) == (date(2022, 1, 1), "production_other")
    assert status.beaten.last <= until


def test_a_state_without_it_has_the_bytes_of_before() -> None:
    """Guards workers and histories of earlier versions, which refuse a field that they do not know."""
    assert b"beaten" not in first().to_bytes()
    numbers = ("champion_mae", "candidate_mae", "gain", "low", "high", "champion_bias", "bias", "margin")
    evidence = Evidence(
        champion="production_x",
        candidate="c",
        unseen="held_out",
        first=date(2022, 1, 1),
        last=date(2022, 1, 2),
        rows=1,
        days=1,
        **dict.fromkeys(numbers, 1.0),
    )
    state = first(beaten=evidence)
    assert Channel.from_bytes(state.to_bytes(), "x") == state


def test_its_name_in_evidence() -> None:
    """Guards against a model of ours and a system of the platform with one name."""
    assert [production_name(each) for each in ("xgboost_v1", "CatBoost-v8.1")] == [
        "production_xgboost_v1",
        "production_catboost_v8_1",
    ]
