"""The channel's next states that several operations share, and the reason that each of them must have.

Imports neither models nor tables, because `rollback` imports it.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from nba_ml.contract.errors import ReleaseError
from nba_ml.registry.channel import EARLIER, SET_ASIDE, Channel, ChannelModel, Evidence, next_state
from nba_ml.registry.verdict import SHORTEST_REASON


def promoted_state(
    present: Channel,
    model: ChannelModel,
    at: datetime,
    kind: Literal["promote", "rollout_finish"],
    reason: str,
    evidence: Evidence | None,
    waived: tuple[str, ...],
) -> Channel:
    """The state in which a model is the champion, and serves alone. A challenger in shadow that is not it stays so."""
    shadow = present.rolling_out and present.share == 0 and present.challenger != model
    before = (present.champion, *(each for each in present.earlier if each not in (model, present.champion)))
    return next_state(
        present,
        kind=kind,
        reason=reason,
        at=at,
        champion=model,
        challenger=present.challenger if shadow else None,
        share=0,
        graded_from=present.graded_from if shadow else None,
        earlier=before[:EARLIER],
        set_aside=tuple(each for each in present.set_aside if each != model.model_id),
        evidence=evidence,
        waived=waived,
    )


def stopped(present: Channel, at: datetime, reason: str, evidence: Evidence | None) -> Channel:
    """The state in which the challenger serves nobody, and is set aside."""
    challenger = present.challenger.model_id if present.challenger else ""
    return next_state(
        present,
        kind="rollout_stop",
        reason=reason,
        at=at,
        share=0,
        evidence=evidence,
        set_aside=put_aside(present, challenger),
    )


def put_aside(present: Channel, model_id: str, but: str = "") -> tuple[str, ...]:
    """The ids set aside, with one more and without `but`; the newest first, and as many as a state remembers."""
    return tuple(dict.fromkeys(each for each in (model_id, *present.set_aside) if each and each != but))[:SET_ASIDE]


def require_reason(reason: str) -> None:
    """Pass silently for a reason that somebody can make something of later.

    Raises:
        ReleaseError: it is too short for one.
    """
    if len(reason.strip()) < SHORTEST_REASON:
        raise ReleaseError(
            f"{reason!r} is no reason. It stays in the channel's history: say in a sentence why this is right."
        )
