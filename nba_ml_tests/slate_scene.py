"""Real dates, real systems and states of the channel: what slates are tested on."""

from __future__ import annotations

from datetime import UTC, date, datetime
from functools import cache

import pyarrow as pa
import pyarrow.compute as pc

from nba_ml.contract.digest import bytes_digest
from nba_ml.contract.features import V2_33FEATURES
from nba_ml.data.snapshot import MonthRows
from nba_ml.data.tables import PLAYER_GAME_SUMMARY
from nba_ml.registry.channel import Channel, ChannelModel, Share
from nba_ml.registry.systems.rules import RULES
from nba_ml.registry.systems.xgboost_v1 import XGBoostSystem
from nba_ml.slates.rows import with_tip_offs
from nba_ml.slates.slate import Slate, SlateSystems, score_slate
from nba_ml_tests.conftest import features_of
from nba_ml_tests.release_scene import model_of

DAY = date(2022, 1, 15)
"""Eleven games, after everything that the champion was given."""

BEFORE_THE_GAMES = datetime(2022, 1, 15, 16, tzinfo=UTC)
"""Eleven in the morning in New York."""
AFTERWARDS = datetime(2025, 7, 1, tzinfo=UTC)


@cache
def slate_rows_of(day: date) -> pa.Table:
    """The feature rows of a date in `tables.SLATE_ROWS`."""
    stored = features_of(f"{day:%Y-%m}")
    rows = MonthRows.of_tables(stored, PLAYER_GAME_SUMMARY.empty_table(), V2_33FEATURES).features
    whole = with_tip_offs(rows.append_column("universal_player_id", stored.column("universal_player_id")), {})
    return whole.filter(pc.equal(whole.column("game_date"), pa.scalar(day, pa.date32())))


@cache
def champion() -> XGBoostSystem:
    """The model of December 2021, as published."""
    made = model_of("2021-12")
    return XGBoostSystem(made.record, made.booster, held_out=False, threads=1)


def systems(rule: str | None = None, share: Share = 0, serial: int = 7) -> SlateSystems:
    """The champion alone, or with a rule as challenger on its share."""
    named = ChannelModel(
        system_id="xgboost_v1", model_id=champion().version, manifest_sha256=bytes_digest(b"a manifest")
    )
    challenger = None if rule is None else ChannelModel(system_id=rule, model_id=rule, manifest_sha256=None)
    channel = Channel(
        serial=serial,
        champion=named,
        challenger=challenger,
        share=share,
        graded_from=None if rule is None else DAY,
        kind="promote",
        reason="a test",
        moved_at=BEFORE_THE_GAMES,
    )
    return SlateSystems(channel, champion(), RULES[rule] if rule else None)


def slate(
    rows: pa.Table | None = None,
    who: SlateSystems | None = None,
    at: datetime = BEFORE_THE_GAMES,
    day: date = DAY,
) -> Slate:
    """A scored slate: by default the day's own rows, by the champion alone, before the games."""
    return score_slate(slate_rows_of(day) if rows is None else rows, who or systems(), day, at)
