"""Next states of the channel that several operations share, and the check of their reasons.

Imports neither models nor tables, because `rollback` uses it.
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
    beaten: Evidence | None = None,
) -> Channel:
    """The state in which a model is the champion and serves alone. Another challenger in shadow stays in shadow."""
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
        beaten=beaten,
        waived=waived,
    )


def stopped_state(present: Channel, at: datetime, reason: str, evidence: Evidence | None) -> Channel:
    """The state in which the challenger has no share and is set aside."""
    challenger = present.challenger.model_id if present.challenger else ""
    return next_state(
        present,
        kind="rollout_stop",
        reason=reason,
        at=at,
        share=0,
        evidence=evidence,
        set_aside=add_set_aside(present, challenger),
    )


def add_set_aside(present: Channel, model_id: str, without: str = "") -> tuple[str, ...]:
    """The ids set aside, plus `model_id` and minus `without`, newest first, limited to `SET_ASIDE`."""
    ids = dict.fromkeys((model_id, *present.set_aside))
    return tuple(each for each in ids if each and each != without)[:SET_ASIDE]


def require_reason(reason: str) -> None:
    """Raise ReleaseError if a reason is too short."""
    if len(reason.strip()) < SHORTEST_REASON:
        raise ReleaseError(
            f"The reason {reason!r} is shorter than {SHORTEST_REASON} characters. It is kept in the channel's history: "
            "explain in a sentence why this is right."
        )
