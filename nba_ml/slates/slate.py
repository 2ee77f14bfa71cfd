"""Slates: the feature rows of a date, scored before its games by the channel's models.

One system serves each row. If there is a challenger, the other system scores the row in shadow: it has another `role`
and is never served. A row that breaks the contract is set aside with its reason. Early-season rows are counted.
Neither is predicted.

Storage, and which version of a slate counts, is in `slates.store`, grading in `slates.grades`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict

from nba_ml.contract.digest import json_digest
from nba_ml.contract.errors import SlateError
from nba_ml.contract.features import FeatureVersion
from nba_ml.contract.times import eastern_midnight, eastern_noon
from nba_ml.data.feature_rows import validate_rows
from nba_ml.data.table_digest import table_digest
from nba_ml.data.tables import FEATURE_ROWS, GAME_FACTS, PRICES, REPLAYED, SEPARATE_PRICES, SLATE_PREDICTIONS
from nba_ml.evaluation.predictions import prices_to_store, recommended_at
from nba_ml.evaluation.shadow import shadow_predictions
from nba_ml.model.recommendation import NO_LINE, OVER, PASS, UNDER
from nba_ml.registry.channel import Channel
from nba_ml.registry.rollout_rules import serving_model
from nba_ml.registry.systems.interface import PredictionSystem

SERVED, SHADOW = "served", "shadow"
AHEAD: Final = "ahead"
UNKNOWN: Final = "tip-off unknown"
Made = Literal["ahead", "tip-off unknown", "replayed"]
CHAMPION, CHALLENGER = "champion", "challenger"

Side = Literal["champion", "challenger"]

_FROZEN = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class SetAside(BaseModel):
    """A row that was not predicted, and why."""

    model_config = _FROZEN

    player_lookup: str
    game_id: str
    reason: str


class Scorer(BaseModel):
    """A system that scored. `model_sha256` is '' for a rule."""

    model_config = _FROZEN

    system_id: str
    model_version: str
    model_sha256: str

    @classmethod
    def of(cls, system: PredictionSystem) -> Scorer:
        return cls(system_id=system.system_id, model_version=system.version, model_sha256=system.model_sha256)


class SlateReport(BaseModel):
    """Counts of a date's `rows`: each is served, early season, or set aside. `shadow` rows are additional."""

    model_config = _FROZEN

    game_date: date
    channel_serial: int
    champion: Scorer
    challenger: Scorer | None
    share: int
    rows: int
    served: int
    shadow: int
    early_season: int
    set_aside: tuple[SetAside, ...]

    @property
    def set_aside_by_reason(self) -> dict[str, int]:
        """Reason -> number of rows, most frequent first."""
        return dict(Counter(each.reason for each in self.set_aside).most_common())


@dataclass(frozen=True, slots=True)
class Slate:
    """A scored slate, in `tables.SLATE_PREDICTIONS`.

    `digest` covers everything except `created_at`: the same rows and channel state give the same digest. Of
    `tables.GAME_FACTS`, columns that are null are left out: slates of older versions lack them.
    """

    table: pa.Table
    report: SlateReport
    created_at: datetime
    digest: str

    @classmethod
    def of(cls, table: pa.Table, report: SlateReport, created_at: datetime) -> Slate:
        """Build the slate with the digest of the rows and the report."""
        unknown = [name for name in GAME_FACTS if table.column(name).null_count == table.num_rows]
        content = {
            "rows": table_digest(table, without=("created_at", *unknown)),
            "report": report.model_dump(mode="json"),
        }
        return cls(table, report, created_at, json_digest(content))

    @property
    def served(self) -> pa.Table:
        """The served rows, one per player."""
        return self.table.filter(pc.equal(self.table.column("role"), SERVED))

    @property
    def made(self) -> Made:
        """How its rows were made (`made`), by the one that counts least: ahead only if all of them were."""
        day, tip_offs = self.report.game_date, self.table.column("tip_off").unique().to_pylist() or [None]
        found = {made(self.created_at, day, tip_off) for tip_off in tip_offs}
        return REPLAYED if REPLAYED in found else UNKNOWN if UNKNOWN in found else AHEAD

    @property
    def ahead(self) -> bool:
        """Whether all of it was made before the games."""
        return self.made == AHEAD


@dataclass(frozen=True, slots=True)
class SlateSystems:
    """A channel state, and its systems."""

    channel: Channel
    champion: PredictionSystem
    challenger: PredictionSystem | None

    def by_side(self) -> dict[Side, PredictionSystem]:
        sides: dict[Side, PredictionSystem] = {"champion": self.champion}
        return sides if self.challenger is None else {**sides, "challenger": self.challenger}


def score_slate(
    rows: pa.Table,
    systems: SlateSystems,
    day: date,
    created_at: datetime,
    challenger_rows: pa.Table | None = None,
) -> Slate:
    """Score the rows of a date. The result does not depend on their order.

    Of rows with the same key, the newest `updated_at` counts. Values are made canonical and validated as in a snapshot.
    If the serving system cannot predict a player (a rule, before his first game), he is set aside: no other system's
    prediction is served instead.

    Args:
        rows: `tables.SLATE_ROWS`, of this date only. `tables.GAME_FACTS` go to the slate; where a price is
            known, a bet must be above its break-even instead of that of the usual odds.
        challenger_rows: the same with the features that the challenger reads, if those are others.
        created_at: now, with its time zone.

    Raises:
        SlateError: a row has another date, or a system was trained on games of this date or later.
        BundleError: a model's output is infinite.
    """
    by_side = systems.by_side()
    given = {side: rows if side == CHAMPION or challenger_rows is None else challenger_rows for side in by_side}
    for side, system in by_side.items():
        _require_date(given[side], day)
        _require_unseen(system, day)
    parts = {side: _partitioned(given[side], system.features) for side, system in by_side.items()}

    def serving(player: str | None) -> Side:
        other = player is not None and serving_model(systems.channel, player, day) != systems.channel.champion
        return "challenger" if other else "champion"

    serves = {player: serving(player) for part in parts.values() for player in part.players}
    scored = [
        _with_game_facts(
            _scored(side, system, parts[side].usable, serves, systems.channel.serial, created_at), given[side]
        )
        for side, system in by_side.items()
    ]
    table = pa.concat_tables(scored).sort_by([("player_lookup", "ascending"), ("role", "ascending")])
    served = set(table.filter(pc.equal(table.column("role"), SERVED)).column("player_lookup").to_pylist())
    unserved = [
        SetAside(
            player_lookup=row["player_lookup"],
            game_id=row["game_id"],
            reason=f"{by_side[side].version} serves, and has nothing to go by",
        )
        for side, part in parts.items()
        for row in part.usable.select(["player_lookup", "game_id"]).to_pylist()
        if serves[row["player_lookup"]] == side and row["player_lookup"] not in served
    ]
    # Of each row, what became of it for the system that serves it.
    reasons = [each for side, part in parts.items() for each in part.set_aside if serving(each.player_lookup) == side]
    early = sum(serving(player) == side for side, part in parts.items() for player in part.early)
    set_aside = sorted((*reasons, *unserved), key=lambda each: (each.player_lookup, each.game_id, each.reason))
    report = SlateReport(
        game_date=day,
        channel_serial=systems.channel.serial,
        champion=Scorer.of(systems.champion),
        challenger=Scorer.of(systems.challenger) if systems.challenger else None,
        share=systems.channel.share,
        rows=rows.num_rows,
        served=len(served),
        shadow=table.num_rows - len(served),
        early_season=early,
        set_aside=tuple(set_aside),
    )
    return Slate.of(table, report, created_at)


_TIES = ("player_lookup", "universal_player_id", "game_id")
"""Columns that can differ between rows with the same key, time and vector."""


def _require_date(rows: pa.Table, day: date) -> None:
    found = [each for each in rows.column("game_date").unique().to_pylist() if each != day]
    if found:
        raise SlateError(
            f"The rows of {day} include rows of {found[0]}. Nothing was scored. Fix the source, which mixes dates."
        )


def _require_unseen(system: PredictionSystem, day: date) -> None:
    """Raise SlateError if the system was trained on the date's games."""
    if system.extent.given_until >= day:
        raise SlateError(
            f"{system.version} was trained on games up to {system.extent.given_until}, so it has already seen the "
            f"results of {day}. Nothing was scored. Choose a later date, or serve a model of an earlier month: run "
            "`nba-ml champion promote MODEL_ID --reason ...` or `nba-ml champion rollback`."
        )


def _scored(
    side: Side,
    system: PredictionSystem,
    usable: pa.Table,
    serves: dict[str, Side],
    serial: int,
    created_at: datetime,
) -> pa.Table:
    """A system's predictions of the usable rows, in `tables.SLATE_PREDICTIONS`."""
    table = shadow_predictions([system], usable)
    players = table.column("player_lookup").to_pylist()
    known = dict(zip(*(usable.column(n).to_pylist() for n in ("player_lookup", "universal_player_id")), strict=True))
    more: dict[str, Sequence[object]] = {
        "universal_player_id": [known[player] for player in players],
        "side": [side] * len(players),
        "role": [SERVED if serves[player] == side else SHADOW for player in players],
        "channel_serial": [serial] * len(players),
        "created_at": [created_at] * len(players),
    }
    for name, values in more.items():
        table = table.append_column(name, pa.array(values, SLATE_PREDICTIONS.field(name).type))
    return table


def _with_game_facts(table: pa.Table, rows: pa.Table) -> pa.Table:
    """Predictions with the tip-off and prices of each player's row, and recommended at these prices."""
    names = ["player_lookup", *GAME_FACTS, SEPARATE_PRICES]
    facts = {row["player_lookup"]: row for row in rows.select(names).to_pylist()}
    of_rows = [facts[player] for player in table.column("player_lookup").to_pylist()]
    over, under = (np.array([row[name] for row in of_rows], np.float64) for name in PRICES)
    separate = np.array([bool(row[SEPARATE_PRICES]) for row in of_rows], np.bool_)
    points, line = (table.column(name).to_numpy() for name in ("model_points", "current_points_line"))
    prices = [pa.array(each, from_pandas=True) for each in prices_to_store(points, line, (over, under), separate)]
    tip_offs = pa.array([row["tip_off"] for row in of_rows], SLATE_PREDICTIONS.field("tip_off").type)
    for name, values in zip(GAME_FACTS, (tip_offs, *prices), strict=True):
        table = table.append_column(name, values)
    return recommended_at(table, *prices).cast(SLATE_PREDICTIONS)


@dataclass(frozen=True, slots=True)
class _Partition:
    """The usable rows as canonical columns, the players of the early-season rows, and the rows set aside."""

    usable: pa.Table
    early: list[str | None]
    set_aside: list[SetAside]

    @property
    def players(self) -> list[str]:
        names: list[str] = self.usable.column("player_lookup").to_pylist()
        return names


def _partitioned(rows: pa.Table, version: FeatureVersion) -> _Partition:
    rows = rows.sort_by([(name, "ascending") for name in _TIES])
    read = validate_rows(rows.select(FEATURE_ROWS.names), version)
    keys, usable = read.keys, read.valid
    table = pa.table(
        {
            **{name: rows.column(name).filter(pa.array(usable)) for name in ("player_lookup", "game_date")},
            "game_id": pa.array(keys.loc[usable, "game_id"].tolist(), pa.string()),
            "universal_player_id": rows.column("universal_player_id").filter(pa.array(usable)),
            # from_pandas=False keeps NaN a NaN, as in a snapshot.
            **{name: pa.array(read.vectors[:, i], from_pandas=False) for i, name in enumerate(version.names)},
        }
    )
    left_out: pd.DataFrame = keys.assign(reason=read.reasons)[read.reasons != ""]
    set_aside = [
        SetAside(player_lookup=player, game_id=game, reason=reason)
        for player, game, reason in zip(*(left_out[n] for n in ("player_lookup", "game_id", "reason")), strict=True)
    ]
    early: list[str | None] = rows.column("player_lookup").filter(pa.array(read.early)).to_pylist()
    return _Partition(table, early, set_aside)


RECOMMENDATIONS = (OVER, UNDER, PASS, NO_LINE)


def served_counts(slate: Slate) -> list[tuple[Side, str, dict[str, int]]]:
    """For each side: side, model, and recommendation -> players served. Includes a side that served no players."""
    served = slate.served
    found: list[tuple[Side, str, dict[str, int]]] = []
    sides: tuple[tuple[Side, Scorer | None], ...] = (
        ("champion", slate.report.champion),
        ("challenger", slate.report.challenger),
    )
    for side, scorer in sides:
        if scorer is not None:
            advice = served.filter(pc.equal(served.column("side"), side)).column("recommendation").to_pylist()
            found.append((side, scorer.model_version, dict(Counter(advice))))
    return found


def highest_edges(slate: Slate) -> pa.Table:
    """The ten served rows whose model's own number is furthest from their line, furthest first."""
    served = slate.served.filter(pc.is_finite(slate.served.column("current_points_line")))
    size = pc.abs(pc.subtract(served.column("model_points"), served.column("current_points_line")))
    ranked = served.append_column("edge", size).sort_by([("edge", "descending"), ("player_lookup", "ascending")])
    return ranked.slice(0, 10).drop_columns(["edge"])


def made(created_at: datetime, day: date, tip_off: datetime | None) -> Made:
    """Whether a prediction was made before its game.

    It was if it was made before tip-off or, if that is unknown, before noon Eastern of the date. Later on the date, it
    may have been: 'tip-off unknown'. Everything else is replayed.
    """
    if tip_off is not None:
        return AHEAD if created_at < tip_off else REPLAYED
    if created_at < eastern_noon(day):
        return AHEAD
    return UNKNOWN if created_at < eastern_midnight(day) else REPLAYED
