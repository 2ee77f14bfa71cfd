"""The pointer that says which published model serves, and the states that it was ever in.

A channel is one small object, `channels/champion.json`: the champion, and while a rollout runs the challenger
with its share. Every state that it was ever in lies beside it, `channels/history/<serial>.json`, byte for byte.
The history may be ahead of the pointer: a move is recorded first and carried out then (`moves`).

What belongs here: the form of a state, and reading pointer and history. What does not: moving the pointer (`moves`),
which model deserves it (`promotion`, `rollout`). Imports Pydantic and the standard library only: the prediction worker
reads channels.
"""

from __future__ import annotations

import hashlib
import json
import re
from datetime import date, datetime
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from nba_ml.contract.errors import ChannelError
from nba_ml.storage.objects import ObjectStore

FOLDER = "xgboost_v1/channels"
CHAMPION = f"{FOLDER}/champion.json"
"""The pointer's name under the root."""

HISTORY = f"{FOLDER}/history/"

OURS = "xgboost_v1"
"""The system of the bundles that this package publishes, each with the verdict of its checks."""

RULES = ("mock", "moving_average")
"""Systems that are rules in this package's code and not published models: they have no manifest."""

EARLIER = 12
"""Earlier champions that a state remembers, so that a rollback reads one object: more than a year of months."""

SET_ASIDE = 100
"""Models set aside that a state remembers."""

Share = Literal[0, 10, 50, 100]
Kind = Literal["promote", "rollback", "rollout_start", "rollout_advance", "rollout_finish", "rollout_stop"]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=200)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]

_FROZEN = ConfigDict(frozen=True, extra="forbid", protected_namespaces=(), allow_inf_nan=False)


class ChannelModel(BaseModel):
    """A model that a channel names: its system, its id, and the sha256 of its manifest's bytes.

    `manifest_sha256` is None for the systems of `RULES`, and for those only.
    """

    model_config = _FROZEN

    system_id: Name
    model_id: Name
    manifest_sha256: Sha256 | None

    @model_validator(mode="after")
    def _has_a_manifest_unless_a_rule(self) -> ChannelModel:
        if (self.manifest_sha256 is None) is not (self.system_id in RULES):
            raise ValueError(f"{self.model_id} of {self.system_id} must have a manifest unless it is one of {RULES}")
        return self

    @property
    def manifest(self) -> str:
        """The name of its manifest under the root. Raises ChannelError for a rule, which has none."""
        if self.manifest_sha256 is None:
            raise ChannelError(f"{self.model_id} is a rule in the code of nba_ml and has no manifest to load.")
        return f"{self.system_id}/{self.model_id}_manifest.json"

    @property
    def is_external(self) -> bool:
        """Whether it is a registered model file, which no check of ours stands behind."""
        return self.system_id not in (OURS, *RULES)

    @property
    def is_mock(self) -> bool:
        """Whether what it predicts must be marked as the mock's."""
        return self.system_id == "mock"


class Evidence(BaseModel):
    """Two systems on the same `rows` of `days` dates, which neither was fitted on.

    `champion` is "season_average" where a registered model was compared with that, on stored rows, before it served.
    `gain` is the champion's MAE minus the candidate's, `low` and `high` its 95% interval (paired, bootstrap over
    days): above 0, the candidate is better. `bias` is the candidate's mean of prediction minus result, beside the
    champion's. All in points.
    `unseen` says how: games after everything that either was given (`out_of_time`); games held out from the boosters
    of the train sides (`held_out`), which are then the ones compared; or games after everything that the champion was
    given and held out from the candidate's booster of the train side (`mixed`), and these two compared.
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
        """Whether the candidate's bias is out of bounds, and further from 0 than the champion's on these rows.

        Rows have a bias of their own: in an April of rested stars every model is 1.3 points off.
        """
        low, high = bounds
        return not low <= self.bias <= high and abs(self.bias) > abs(self.champion_bias)


class Channel(BaseModel):
    """One state of a channel: who serves, and the move that made it so.

    `share` is the percentage of player-games that the challenger serves. 0 beside a challenger is shadow: it is
    scored and graded, and serves nobody. `earlier` are the champions before, newest first, as far as a rollback
    may go back: what was rolled back from is not among them. `set_aside` are the ids of models that were rolled back
    from or whose rollout was stopped: none of them comes back without a person's word. `graded_from` is the first
    game date that the present step of a rollout is judged on. `moved_at` is the mover's word for when.
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
    waived: tuple[str, ...] = ()
    moved_at: AwareDatetime

    @model_validator(mode="after")
    def _fits_together(self) -> Channel:
        if self.champion.manifest_sha256 is None:
            raise ValueError(f"the champion must be a published model, and {self.champion.model_id} is a rule")
        if self.challenger is None and (self.share or self.graded_from):
            raise ValueError("a share without a challenger")
        if self.challenger is not None and self.graded_from is None:
            raise ValueError("a challenger without a date from which it is graded")
        if self.challenger == self.champion or self.champion in self.earlier:
            raise ValueError("the champion is named a second time")
        return self

    @property
    def rolling_out(self) -> bool:
        """Whether a rollout is under way: the challenger has a share, or is in shadow and was not stopped."""
        return self.challenger is not None and (self.share > 0 or self.challenger.model_id not in self.set_aside)

    def to_bytes(self) -> bytes:
        """Canonical JSON: sorted keys, no NaN, a newline at the end.

        `channel_sha256` is added, the digest of the canonical JSON of all the rest, against a flipped bit.
        """
        content = self.model_dump(mode="json")
        return _canonical({**content, "channel_sha256": hashlib.sha256(_canonical(content)).hexdigest()})

    @classmethod
    def from_bytes(cls, data: bytes, uri: str) -> Channel:
        """The state that `to_bytes` wrote, byte for byte; `uri` goes into the message.

        Raises:
            ChannelError: not JSON, another format, or not exactly the bytes that its content has.
        """
        try:
            content = json.loads(data)
            claimed = content.pop("channel_sha256")
            channel = cls.model_validate(content)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ChannelError(
                f"{uri} is no channel of format 1 ({len(data):,} bytes, sha256 {hashlib.sha256(data).hexdigest()}): "
                f"{' '.join(str(error).split())[:300]}. It is damaged or was not written by nba_ml. Restore it from "
                f"the newest object under {HISTORY}, which holds the same bytes."
            ) from error
        if channel.to_bytes() != data:
            raise ChannelError(
                f"{uri} is damaged: it states the digest {str(claimed)[:80]}, and its content or its form has another. "
                f"Restore it from the newest object under {HISTORY}, which holds the same bytes."
            )
        return channel


def _canonical(content: dict[str, Any]) -> bytes:
    return (json.dumps(content, sort_keys=True, indent=2, allow_nan=False) + "\n").encode()


def read_channel(store: ObjectStore) -> Channel | None:
    """The state that the pointer holds; None before the first champion.

    Raises:
        ChannelError: the pointer is damaged, or is missing beside a history.
    """
    channel = read_pointer(store)
    if channel is None:
        require_no_history(store)
    return channel


def read_pointer(store: ObjectStore) -> Channel | None:
    """What the pointer holds, whatever the history says; None if there is no pointer.

    Raises:
        ChannelError: the pointer is damaged.
    """
    found = store.read(CHAMPION)
    return None if found is None else Channel.from_bytes(found.data, store.uri(CHAMPION))


def require_no_history(store: ObjectStore) -> None:
    """Pass silently where there never was a champion: what a reader asks who found no pointer.

    Raises:
        ChannelError: there is a history, so the pointer was removed, or its first mover died.
    """
    newest = newest_state_ahead(store, None)
    if newest is None:
        return
    raise ChannelError(
        f"{store.uri(CHAMPION)} is missing, and the history beside it goes up to serial {newest.serial}, in which "
        f"{newest.champion.model_id} serves: the pointer was removed, or whoever made the first died half-way. The "
        "next move puts the newest state back before anything else: `nba-ml champion promote`, or `nba-ml champion "
        "rollback --reason ...` if that model must go. Then find out what removes objects from this store."
    )


def newest_state_ahead(store: ObjectStore, present: Channel | None) -> Channel | None:
    """The last state of the history if it is after `present`, which the pointer holds; None if the two agree.

    They differ for a moment in every move, and for longer where a mover died or the pointer was set back. The end of
    the history is where the serials that follow the pointer's end: an object beyond a gap is no state of this channel.

    Args:
        present: None where there is no pointer.

    Raises:
        ChannelError: that state is damaged, or lies under another serial than its own.
    """
    last = 0 if present is None else present.serial
    if store.read(history_name(last + 1)) is None:
        return None
    recorded = set(_recorded_serials(store))
    while last + 1 in recorded:
        last += 1
    return read_state(store, last)


def read_history(store: ObjectStore, newest: int | None = None) -> list[Channel]:
    """Every state, or the `newest` of them (1 or more), oldest first. The last may be ahead of the pointer.

    Objects in the history's folder that are not named as a state is are left out.

    Raises:
        ChannelError: one of them is damaged, or lies under another serial than its own.
    """
    serials = _recorded_serials(store)
    return [read_state(store, serial) for serial in (serials if newest is None else serials[-newest:])]


def _recorded_serials(store: ObjectStore) -> list[int]:
    found = (re.fullmatch(r"([0-9]{6,18})\.json", name.removeprefix(HISTORY)) for name in store.names(HISTORY))
    serials = sorted(int(each[1]) for each in found if each)
    return [serial for serial in serials if serial >= 1]


def history_name(serial: int) -> str:
    """Where the state of a serial lies: padded, so that names sort as serials do."""
    return f"{HISTORY}{serial:06d}.json"


def read_state(store: ObjectStore, serial: int) -> Channel:
    """The state that the history has under a serial.

    Raises:
        ChannelError: it is missing or damaged, or is the state of another serial.
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
        raise ChannelError(f"{store.uri(name)} holds the state of serial {state.serial}: it was copied or renamed.")
    return state


_CARRIED_OVER = ("champion", "challenger", "share", "graded_from", "earlier", "set_aside")


def next_state(present: Channel, *, kind: Kind, reason: str, at: datetime, **changes: Any) -> Channel:
    """The state after `present`: the same but for what is given. Evidence and waivers are never carried over."""
    kept = {name: getattr(present, name) for name in _CARRIED_OVER}
    return Channel(serial=present.serial + 1, kind=kind, reason=reason, moved_at=at, **{**kept, **changes})
