"""Which model serves a player-game during a rollout, and the rules for the next step.

A hash decides which of two models serves a player-game, so every worker gets the same answer without communication,
also when it scores the slate again. A player-game in the first 10% stays with the challenger at 50% and 100%.

Grading is in `promotion_rules`. Imports only what a prediction worker may import.
"""

from __future__ import annotations

import hashlib
from datetime import date
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict

from nba_ml.contract.errors import ReleaseError
from nba_ml.model.metrics import FEWEST_DAYS
from nba_ml.registry.channel import Channel, ChannelModel, Evidence, Share

if TYPE_CHECKING:
    from nba_ml.contract.thresholds import Thresholds

STEPS: tuple[Share, ...] = (10, 50, 100)
"""Percentages of the player-games that the challenger serves, after an optional shadow phase at 0. After the last step
it becomes the champion."""


def bucket_of(player_lookup: str, game_date: date) -> int:
    """The bucket of a player-game, 0 to 99: `int.from_bytes(sha256(b"lukadoncic|2025-01-15")[:8]) % 100`.

    The text is UTF-8 and the number big-endian. The modulo bias is below one in 10^17.
    """
    digest = hashlib.sha256(f"{player_lookup}|{game_date.isoformat()}".encode()).digest()
    return int.from_bytes(digest[:8], "big") % 100


def serving_model(channel: Channel, player_lookup: str, game_date: date) -> ChannelModel:
    """The model of a channel that serves a player-game. The other one is scored but not served."""
    if channel.challenger is not None and bucket_of(player_lookup, game_date) < channel.share:
        return channel.challenger
    return channel.champion


class Step(BaseModel):
    """What to do next in a rollout, and why."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    action: Literal["advance", "wait", "stop"]
    reason: str


def judge_step(evidence: Evidence | None, limits: Thresholds) -> Step:
    """Whether a challenger takes its next step, waits for more grades, or returns to a share of 0.

    With the paired gain (champion's error minus challenger's) and its 95% interval:
    - stop: the whole interval is below -margin (`rollout_margin`), so it is clearly worse; or its bias is out of bounds
      and further from 0 than the champion's;
    - advance: the whole interval is at or above -margin;
    - wait: there are fewer than `min_rows_per_step` rows or 5 dates, or the interval contains -margin.

    A challenger can be stopped before it has all its rows: with fewer rows the interval is wide, so an interval below
    -margin is conclusive.
    """
    rows, margin, bias = limits.min_rows_per_step, limits.rollout_margin, limits.bias
    if evidence is None:
        return Step(action="wait", reason=f"there are no graded rows yet; {rows:,} are needed")
    numbers = (
        f"gain {evidence.gain:+.3f} ({evidence.low:+.3f} to {evidence.high:+.3f}), bias {evidence.bias:+.2f} on "
        f"{evidence.rows:,} rows of {evidence.days} dates"
    )
    enough = evidence.rows >= rows and evidence.days >= FEWEST_DAYS
    if evidence.days >= FEWEST_DAYS and evidence.high < -margin:
        return Step(action="stop", reason=f"worse than the champion by more than {margin:.2f}: {numbers}")
    if not enough:
        return Step(action="wait", reason=f"{rows:,} rows on {FEWEST_DAYS} dates are needed: {numbers}")
    if evidence.biased(bias):
        allowed = f"{bias[0]:+.1f} to {bias[1]:+.1f}"
        return Step(
            action="stop",
            reason=f"its bias is outside {allowed}, the champion's is {evidence.champion_bias:+.2f}: {numbers}",
        )
    if evidence.low >= -margin:
        return Step(action="advance", reason=f"not worse than the champion by {margin:.2f}: {numbers}")
    return Step(action="wait", reason=f"not yet clear whether it is worse than the champion by {margin:.2f}: {numbers}")


def next_share(channel: Channel) -> Share | None:
    """The next share; None after the last step, when the challenger becomes the champion.

    Raises:
        ReleaseError: no rollout is in progress, or the challenger is a rule, which may never serve 100%.
    """
    if channel.challenger is None or not channel.rolling_out:
        raise ReleaseError("No rollout is in progress. `nba-ml rollout start MODEL_ID` starts one.")
    later = [step for step in STEPS if step > channel.share]
    following = later[0] if later else None
    if channel.challenger.manifest_sha256 is None and following in (None, 100):
        raise ReleaseError(
            f"{channel.challenger.model_id} is a rule for comparisons: it serves at most {channel.share}% and "
            "cannot become the champion. `nba-ml rollout stop` ends the rollout."
        )
    return following
