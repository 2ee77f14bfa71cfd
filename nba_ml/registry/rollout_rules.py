"""Giving a challenger a share of the slate, a step at a time, and taking it back.

Which of two models serves a player-game is decided by a hash, so every worker, without asking anybody, comes to the
same answer, today and when it scores the slate again. Who is in the first 10% stays in at 50 and at 100.

What belongs here: the assignment, and what a step needs. What does not: predicting and grading (`promotion`),
moving the pointer (`channel`). Imports what a prediction worker may import.
"""

from __future__ import annotations

import hashlib
from datetime import date
from typing import Literal

from pydantic import BaseModel, ConfigDict

from nba_ml.contract.errors import ReleaseError
from nba_ml.registry.channel import Channel, ChannelModel, Evidence, Share

STEPS: tuple[Share, ...] = (10, 50, 100)
"""Percent of the player-games that the challenger serves, step by step, after a shadow at 0 if it began with one.

After the last it is the champion.
"""

FEWEST_DAYS = 5
"""Game dates that a step is judged on: an interval over fewer days is made of too few draws."""


def bucket_of(player_lookup: str, game_date: date) -> int:
    """The bucket of a player-game, 0 to 99: the first 8 bytes of the sha256 of 'player_lookup|YYYY-MM-DD', modulo 100.

    Of the UTF-8 bytes, read as one big-endian number: `int.from_bytes(sha256(b"lukadoncic|2025-01-15")[:8]) % 100`.
    The remainder favours no bucket by more than one in 10^17.
    """
    digest = hashlib.sha256(f"{player_lookup}|{game_date.isoformat()}".encode()).digest()
    return int.from_bytes(digest[:8], "big") % 100


def serving_model(channel: Channel, player_lookup: str, game_date: date) -> ChannelModel:
    """Which model of a channel serves a player-game. The other one is scored beside it, and not served."""
    if channel.challenger is not None and bucket_of(player_lookup, game_date) < channel.share:
        return channel.challenger
    return channel.champion


class Step(BaseModel):
    """What the grades so far mean for the present step, and why in words."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    action: Literal["advance", "wait", "stop"]
    said: str


def judge_step(evidence: Evidence | None, rows: int, margin: float, bias: tuple[float, float]) -> Step:
    """Whether a challenger may take its next step, waits for more grades, or goes back to a share of 0.

    With the paired gain (champion's error minus challenger's) and its 95% interval:

    - stop: the whole interval is below -margin, so it is worse beyond doubt; or its bias is out of bounds, and
      the champion's is not as bad;
    - advance: the whole interval is at or above -margin;
    - wait: fewer than `rows` rows or 5 dates, or an interval on both sides of -margin: nobody can tell yet.

    A challenger is also stopped before it has all its rows: on fewer rows the interval is wide, and one that lies
    wholly below -margin all the same says enough.
    """
    if evidence is None:
        return Step(action="wait", said=f"no graded row yet, {rows:,} are needed")
    numbers = (
        f"gain {evidence.gain:+.3f} ({evidence.low:+.3f} to {evidence.high:+.3f}), bias {evidence.bias:+.2f} on "
        f"{evidence.rows:,} rows of {evidence.days} dates"
    )
    enough = evidence.rows >= rows and evidence.days >= FEWEST_DAYS
    if evidence.days >= FEWEST_DAYS and evidence.high < -margin:
        return Step(action="stop", said=f"worse than the champion by more than {margin:.2f}: {numbers}")
    if not enough:
        return Step(action="wait", said=f"{rows:,} rows on {FEWEST_DAYS} dates are needed: {numbers}")
    if evidence.biased(bias):
        allowed = f"{bias[0]:+.1f} to {bias[1]:+.1f}"
        return Step(
            action="stop",
            said=f"its bias is not within {allowed}, nor the champion's {evidence.champion_bias:+.2f}: {numbers}",
        )
    if evidence.low >= -margin:
        return Step(action="advance", said=f"not worse than the champion by {margin:.2f}: {numbers}")
    return Step(action="wait", said=f"cannot be told from the champion to {margin:.2f} yet: {numbers}")


def next_share(channel: Channel) -> Share | None:
    """The share after the present one; None after the last, when the challenger becomes the champion.

    Raises:
        ReleaseError: no rollout is under way; or the challenger is a rule, which may serve a part and never all.
    """
    if channel.challenger is None or not channel.rolling_out:
        raise ReleaseError("No rollout is under way. `nba-ml rollout start MODEL_ID` begins one.")
    later = [step for step in STEPS if step > channel.share]
    following = later[0] if later else None
    if channel.challenger.manifest_sha256 is None and following in (None, 100):
        raise ReleaseError(
            f"{channel.challenger.model_id} is a rule that the champion is compared with: it serves at most "
            f"{channel.share}% and never becomes the champion. `nba-ml rollout stop` ends the comparison."
        )
    return following
