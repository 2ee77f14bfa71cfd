"""The pointer to the published model that serves, and its history.

A channel is one small object, `channels/champion.json`: the champion, and during a rollout the challenger with its
share. A byte-for-byte copy of every state is kept in `channels/history/<serial>.json`. The history may be ahead of the
pointer, because a move is recorded before it is applied (`moves`).

This module defines a state and reads the pointer and the history. `moves` moves the pointer; `promotion` and `rollout`
choose the model. It imports only Pydantic and the standard library, because the prediction worker reads channels.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from datetime import date, datetime
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from nba_ml.contract.digest import bytes_digest, sealed_json
from nba_ml.contract.errors import ChannelError
from nba_ml.contract.systems import SYSTEMS
from nba_ml.contract.text import printable
from nba_ml.storage.objects import ObjectStore

FOLDER = "xgboost_v1/channels"
CHAMPION = f"{FOLDER}/champion.json"
"""The pointer's object name, relative to the store's root."""

HISTORY = f"{FOLDER}/history/"

RULES = ("mock", "moving_average")
"""Ids of the systems that are rules in nba_ml's code. They are not published and have no manifest."""

EARLIER = 12
"""Number of earlier champions in a state, so that a rollback reads one object. Covers more than a year of months."""

SET_ASIDE = 100
"""Number of set-aside models in a state."""

Share = Literal[0, 10, 50, 100]
Kind = Literal["promote", "rollback", "rollout_start", "rollout_advance", "rollout_finish", "rollout_stop"]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=200)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]

_FROZEN = ConfigDict(frozen=True, extra="forbid", protected_namespaces=(), allow_inf_nan=False)


class ChannelModel(BaseModel):
    """A model named by a channel: its system, its id, and the sha256 of its manifest.

    `manifest_sha256` is None for the systems in `RULES` only.
    """

    model_config = _FROZEN

    system_id: Name
    model_id: Name
    manifest_sha256: Sha256 | None

    @model_validator(mode="after")
    def _has_a_manifest_unless_a_rule(self) -> ChannelModel:
        if (self.manifest_sha256 is None) is not (self.system_id in RULES):
            raise ValueError(f"{self.model_id} of {self.system_id} needs a manifest: only {RULES} have none")
        return self

    @property
    def manifest(self) -> str:
        """The manifest's object name. Raises ChannelError for a rule, which has no manifest."""
        if self.manifest_sha256 is None:
            raise ChannelError(f"{self.model_id} is a rule in nba_ml's code and has no manifest to load.")
        return f"{self.system_id}/{self.model_id}_manifest.json"

    @property
    def is_external(self) -> bool:
        """Whether it is a registered model file, which has no verdict of the asset checks."""
        return self.system_id not in (*SYSTEMS, *RULES)

    @property
    def is_mock(self) -> bool:
        """Whether its predictions must be marked as mock predictions."""
        return self.system_id == "mock"


class Evidence(BaseModel):
    """Two systems compared on the same `rows`, on `days` dates, that neither was fitted on.

    `champion` is "season_average" in the backtest of an external model, and "production_..." for what a system of the
    platform predicted: then only the candidate is known not to have been fitted on the rows. `gain` is the champion's
    MAE minus the candidate's, and `low` and `high` its 95% interval (paired, bootstrap over days); above 0, the
    candidate is better. `bias` is the candidate's mean of prediction minus result, `champion_bias` the champion's. All
    are in points.

    `unseen` says why the rows are new to both systems:
    - `out_of_time`: the games are later than the data of both.
    - `held_out`: the games were held out from both train-side boosters, and these boosters are compared.
    - `mixed`: the games are later than the champion's data and held out from the candidate's train-side booster. The
      published champion is compared with that booster.
    """

    model_config = _FROZEN

    champion: Name
    candidate: Name
    unseen: Literal["out_of_time", "held_out", "mixed"]
    first: date
    last: date
    rows: int = Field(ge=1)
    days: int = Field(ge=1)
    champion_mae: float
    candidate_mae: float
    gain: float
    low: float
    high: float
    champion_bias: float
    bias: float
    margin: float

    def biased(self, bounds: tuple[float, float]) -> bool:
        """Whether the candidate's bias is out of bounds and further from 0 than the champion's on these rows.

        The rows themselves can be biased: in an April with rested stars, every model is off by 1.3 points.
        """
        low, high = bounds
        return not low <= self.bias <= high and abs(self.bias) > abs(self.champion_bias)


class Channel(BaseModel):
    """One state of a channel: the models that serve, and the move that led to it.

    `share` is the percentage of player-games that the challenger serves. A challenger with share 0 is in shadow: it is
    scored and graded but does not serve. `graded_from` is the first game date on which the current step of a rollout is
    judged. `earlier` are the previous champions, newest first, to which a rollback can return; a model that was rolled
    back is not among them. `set_aside` are the ids of models that were rolled back or whose rollout was stopped; they
    return only if a person names them. `moved_at` is the time according to the process that made the move.

    `beaten` compares the model of the move with what a system of the platform predicted, if one was named as the one to
    beat. It is left out of the bytes of all other states: readers of before there was such a thing refuse it.
    """

    model_config = _FROZEN

    format_version: Literal[1] = 1
    serial: int = Field(ge=1)
    champion: ChannelModel
    challenger: ChannelModel | None = None
    share: Share = 0
    graded_from: date | None = None
    earlier: tuple[ChannelModel, ...] = Field((), max_length=EARLIER)
    set_aside: tuple[Name, ...] = Field((), max_length=SET_ASIDE)
    kind: Kind
    reason: str = Field(min_length=1)
    evidence: Evidence | None = None
    beaten: Evidence | None = None
    waived: tuple[str, ...] = ()
    moved_at: AwareDatetime

    @model_validator(mode="after")
    def _fits_together(self) -> Channel:
        if self.champion.manifest_sha256 is None:
            raise ValueError(f"the champion must be a published model, and {self.champion.model_id} is a rule")
        if self.challenger is None and (self.share or self.graded_from):
            raise ValueError("there is a share but no challenger")
        if self.challenger is not None and self.graded_from is None:
            raise ValueError("the challenger has no graded_from date")
        if self.challenger == self.champion or self.champion in self.earlier:
            raise ValueError("the champion is named twice")
        return self

    @property
    def rolling_out(self) -> bool:
        """Whether a rollout is in progress: the challenger has a share, or is in shadow and was not stopped."""
        return self.challenger is not None and (self.share > 0 or self.challenger.model_id not in self.set_aside)

    def to_bytes(self) -> bytes:
        """Canonical JSON, with its own digest in `channel_sha256`."""
        content = self.model_dump(mode="json", exclude=None if self.beaten else {"beaten"})
        return sealed_json(content, "channel_sha256")

    @classmethod
    def from_bytes(cls, data: bytes, uri: str) -> Channel:
        """Parse a state that `to_bytes` wrote. `uri` is used in error messages.

        Raises:
            ChannelError: the bytes are not JSON, are in another format, or differ from the content's canonical form.
        """
        try:
            content = json.loads(data)
            claimed = content.pop("channel_sha256")
            channel = cls.model_validate(content)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ChannelError(
                f"{uri} is not a channel of format 1 ({len(data):,} bytes, sha256 {bytes_digest(data)}): "
                f"{' '.join(str(error).split())[:300]}. It is damaged or was not written by nba_ml. Restore it from "
                f"the newest object under {HISTORY}, which holds the same bytes."
            ) from error
        if channel.to_bytes() != data:
            raise ChannelError(
                f"{uri} is damaged: its stated digest {str(claimed)[:80]} does not match its content. "
                f"Restore it from the newest object under {HISTORY}, which holds the same bytes."
            )
        return channel

    def is_or_follows(self, last: Channel) -> bool:
        """Whether this is the state `last` or a later one. If not, an old copy or an unrecorded state was put back."""
        return self.serial > last.serial or self == last


def read_channel(store: ObjectStore) -> Channel | None:
    """The pointer's current state; None before the first champion.

    Raises:
        ChannelError: the pointer is damaged, or is missing although there is a history.
    """
    channel = read_pointer(store)
    if channel is None:
        require_no_history(store)
    return channel


def read_pointer(store: ObjectStore) -> Channel | None:
    """The pointer's current state, regardless of the history; None if there is no pointer.

    Raises:
        ChannelError: the pointer is damaged.
    """
    found = store.read(CHAMPION)
    return None if found is None else Channel.from_bytes(found.data, store.uri(CHAMPION))


def require_no_history(store: ObjectStore) -> None:
    """Require that there never was a champion. Readers call this when there is no pointer.

    Raises:
        ChannelError: there is a history: the pointer was removed, or the first move was interrupted.
    """
    newest = newest_state_ahead(store, None)
    if newest is None:
        return
    raise ChannelError(
        f"{store.uri(CHAMPION)} is missing, but its history goes up to serial {newest.serial}, in which "
        f"{newest.champion.model_id} serves: the pointer was removed, or the first move was interrupted. The next move "
        "restores the newest state first: run `nba-ml champion promote`, or `nba-ml champion rollback --reason ...` if "
        "that model must not serve. Then find out what removes objects from this store."
    )


def newest_state_ahead(store: ObjectStore, present: Channel | None) -> Channel | None:
    """The last state of the history if it is later than `present`, the pointer's state; None if the two agree.

    They differ briefly during every move, and for longer if a move was interrupted or an old pointer was restored. The
    history ends at the first gap in the serials: an object beyond a gap is not a state of this channel.

    Args:
        present: None if there is no pointer.

    Raises:
        ChannelError: that state is damaged, or its serial does not match its name.
    """
    last = 0 if present is None else present.serial
    if store.read(history_name(last + 1)) is None:
        return None
    return read_state(store, _end_of(_recorded_serials(store), last))


def read_history(store: ObjectStore, newest: int | None = None) -> list[Channel]:
    """All states, or the `newest` of them (1 or more), oldest first. The last may be ahead of the pointer.

    Objects in the history's folder are ignored if their names are not those of states, or if they lie beyond the first
    gap after the pointer's state (after the first state, if the pointer is missing or damaged).

    Raises:
        ChannelError: a state is damaged, or its serial does not match its name.
    """
    serials = _recorded_serials(store)
    try:
        present = read_pointer(store)
    except ChannelError:  # the history is what a person restores the pointer from
        present = None
    last = _end_of(serials, present.serial if present else min(serials, default=0))
    serials = [serial for serial in serials if serial <= last]
    return [read_state(store, serial) for serial in (serials if newest is None else serials[-newest:])]


def _end_of(serials: Collection[int], last: int) -> int:
    """The last serial before the first gap after `last`."""
    recorded = set(serials)
    while last + 1 in recorded:
        last += 1
    return last


def _recorded_serials(store: ObjectStore) -> list[int]:
    found = (re.fullmatch(r"([0-9]{6,18})\.json", name.removeprefix(HISTORY)) for name in store.names(HISTORY))
    serials = sorted(int(each[1]) for each in found if each)
    return [serial for serial in serials if serial >= 1]


def history_name(serial: int) -> str:
    """The object name of a serial's state, padded so that names sort like serials."""
    return f"{HISTORY}{serial:06d}.json"


def read_state(store: ObjectStore, serial: int) -> Channel:
    """The state of a serial in the history.

    Raises:
        ChannelError: the state is missing or damaged, or its serial does not match its name.
    """
    name = history_name(serial)
    found = store.read(name)
    if found is None:
        raise ChannelError(
            f"{store.uri(name)} is missing, and the history is append-only. Find out what removes objects from this "
            "store, then try again."
        )
    state = Channel.from_bytes(found.data, store.uri(name))
    if state.serial != serial:
        raise ChannelError(
            f"{store.uri(name)} contains the state of serial {state.serial}: it was copied or renamed. Restore it from "
            "a backup."
        )
    return state


_CARRIED_OVER = ("champion", "challenger", "share", "graded_from", "earlier", "set_aside")


def next_state(present: Channel, *, kind: Kind, reason: str, at: datetime, **changes: Any) -> Channel:
    """The state after `present`, with these changes. Evidence and waivers are never carried over."""
    kept = {name: getattr(present, name) for name in _CARRIED_OVER}
    return Channel(serial=present.serial + 1, kind=kind, reason=printable(reason), moved_at=at, **{**kept, **changes})
