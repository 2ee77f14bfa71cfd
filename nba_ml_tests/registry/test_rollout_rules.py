"""The assignment of a rollout, and what its steps need."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nba_ml.contract.errors import ReleaseError
from nba_ml.contract.thresholds import Thresholds
from nba_ml.registry.channel import Channel, ChannelModel, Evidence
from nba_ml.registry.rollout_rules import STEPS, bucket_of, judge_step, next_share, serving_model

AT = datetime(2025, 7, 1, 12, tzinfo=UTC)
LIMITS = Thresholds(min_rows_per_step=1000, rollout_margin=0.05, bias=(-1.2, 0.6))
CHAMPION = ChannelModel(system_id="xgboost_v1", model_id="xgboost_v1_old", manifest_sha256="0" * 64)
CHALLENGER = ChannelModel(system_id="xgboost_v1", model_id="xgboost_v1_new", manifest_sha256="1" * 64)
MOCK = ChannelModel(system_id="mock", model_id="mock", manifest_sha256=None)


def channel(share: int, challenger: ChannelModel | None = CHALLENGER) -> Channel:
    return Channel.model_validate(
        {
            "serial": 1,
            "champion": CHAMPION,
            "challenger": challenger,
            "share": share,
            "graded_from": AT.date() if challenger else None,
            "kind": "rollout_start",
            "reason": "a test",
            "moved_at": AT,
        }
    )


def evidence(**fields: Any) -> Evidence:
    given = {
        "champion": "a", "candidate": "b", "unseen": "out_of_time", "first": date(2025, 1, 1), "last": date(2025, 1, 9),
        "rows": 1500, "days": 9, "champion_mae": 4.6, "candidate_mae": 4.6, "gain": 0.0, "low": -0.02, "high": 0.02,
        "champion_bias": -0.4, "bias": -0.4, "margin": 0.05,
    }  # fmt: skip
    return Evidence.model_validate({**given, **fields})


@pytest.mark.parametrize(
    ("player", "day", "bucket"),
    [  # printf '%s' 'lukadoncic|2025-01-15' | sha256sum, the first 16 hex digits modulo 100 by bc
        ("lukadoncic", date(2025, 1, 15), 86),
        ("lebronjames", date(2025, 1, 15), 72),
        ("nikolajokic", date(2024, 12, 25), 55),
        ("stephencurry", date(2021, 10, 19), 73),
    ],
)
def test_buckets_are_those_of_sha256(player: str, day: date, bucket: int) -> None:
    """Guards a running rollout: another hash, in another release or worker, would deal the players anew."""
    assert bucket_of(player, day) == bucket


@pytest.mark.slow
def test_a_fresh_process_with_another_hash_seed_assigns_the_same() -> None:
    """Guards against Python's own hash, which differs from worker to worker."""
    code = (
        "import json; from datetime import date; from nba_ml.registry.rollout_rules import bucket_of;"
        "print(json.dumps([bucket_of(f'player{i}', date(2025, 1, 1 + i % 28)) for i in range(300)]))"
    )
    told = [
        json.loads(
            subprocess.run(
                [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, capture_output=True, check=True
            ).stdout
        )
        for seed in ("1", "2")
    ]
    here = [bucket_of(f"player{i}", date(2025, 1, 1 + i % 28)) for i in range(300)]
    assert told == [here, here]


def test_shares_come_out_and_grow_without_dealing_anew() -> None:
    """Guards against a share that is not the share, and against players who change sides as it grows."""
    games = [(f"player{i}", date(2025, 1, 1) + timedelta(days=d)) for i in range(200) for d in range(50)]
    served = {
        share: {game for game in games if serving_model(channel(share), *game) == CHALLENGER} for share in (0, *STEPS)
    }
    for share, got in served.items():
        assert abs(len(got) / len(games) - share / 100) < 0.02
    assert served[0] == set()
    assert served[10] < served[50] < served[100] == set(games)
    by_day = [len({g for g in served[50] if g[0] == f"player{i}"}) for i in range(200)]
    assert np.min(by_day) > 10  # a player is not on one side for ever


def test_without_a_challenger_the_champion_serves() -> None:
    """Guards against a worker that looks for a challenger that is not there."""
    assert serving_model(channel(0, None), "lukadoncic", AT.date()) == CHAMPION


@pytest.mark.parametrize(
    ("fields", "action"),
    [
        ({}, "advance"),
        ({"low": -0.05}, "advance"),
        ({"low": -0.06}, "wait"),
        ({"rows": 999}, "wait"),
        ({"days": 4}, "wait"),
        ({"low": -0.2, "high": -0.051}, "stop"),
        ({"low": -0.2, "high": -0.051, "rows": 300}, "stop"),
        ({"low": -0.2, "high": -0.051, "rows": 300, "days": 4}, "wait"),
        ({"low": -0.2, "high": -0.05}, "wait"),
        ({"bias": -1.3}, "stop"),
        ({"bias": 0.7}, "stop"),
        ({"bias": -1.3, "rows": 300}, "wait"),
        ({"bias": -1.3, "champion_bias": -1.31}, "advance"),  # an April: the champion is as far off
    ],
)
def test_a_step_is_taken_awaited_or_taken_back(fields: dict[str, Any], action: str) -> None:
    """Guards each bound: a step without its grades, and a bad challenger that goes on serving."""
    step = judge_step(evidence(**fields), LIMITS)
    assert step.action == action
    assert f"{fields.get('rows', 1500):,} rows" in step.reason


def test_without_a_grade_a_step_waits() -> None:
    """Guards against advancing on nothing."""
    assert judge_step(None, LIMITS).action == "wait"


@given(low=st.floats(-1, 1), width=st.floats(0, 1), rows=st.integers(1, 3000), days=st.integers(1, 20))
def test_no_challenger_advances_that_may_be_worse_than_the_margin(
    low: float, width: float, rows: int, days: int
) -> None:
    """Guards the promise in one line: advanced means enough rows and an interval above the margin, whatever else."""
    step = judge_step(evidence(low=low, high=low + width, rows=rows, days=days), LIMITS)
    assert (step.action == "advance") == (low >= -0.05 and rows >= 1000 and days >= 5)


def test_the_steps_are_0_10_50_100_and_champion() -> None:
    """Guards against a skipped step."""
    assert [next_share(channel(share)) for share in (0, *STEPS)] == [10, 50, 100, None]
    stopped = channel(0).model_copy(update={"set_aside": (CHALLENGER.model_id,)})
    for state in (stopped, channel(0, None)):
        assert not state.rolling_out
        with pytest.raises(ReleaseError, match="No rollout is in progress"):
            next_share(state)


def test_the_mock_never_serves_everybody() -> None:
    """Guards against a comparison with the mock that ends with the mock as the model."""
    assert next_share(channel(10, MOCK)) == 50
    with pytest.raises(ReleaseError, match="cannot become the champion"):
        next_share(channel(50, MOCK))
