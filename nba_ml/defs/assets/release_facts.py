"""What the assets of the release group record of the channel, and of a comparison."""

from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg
import pandas as pd
from pydantic import Field

from nba_ml.contract.systems import System
from nba_ml.defs.assets.recording import markdown_table, materialised
from nba_ml.defs.channel_facts import channel_version
from nba_ml.registry.channel import CHAMPION, Channel, Evidence
from nba_ml.registry.promotion_rules import Condition
from nba_ml.storage.objects import ObjectStore


def monthly_deps(systems: Sequence[System], *names: str) -> list[dg.AssetKey]:
    """The keys of these assets of every system's chain."""
    return [dg.AssetKey.from_user_string(system.asset(name)) for system in systems for name in names]


def recorded_channel(
    objects: ObjectStore, channel: Channel | None, facts: Mapping[str, Any]
) -> dg.MaterializeResult[None]:
    """A materialisation whose data version is the channel's digest, with the facts and where the pointer lies.

    `objects`: where models are published. `channel`: None before the first champion.
    """
    version = channel_version(channel) if channel else "none"
    return materialised(version, {**facts, "pointer": dg.MetadataValue.path(objects.uri(CHAMPION))})


def evidence_facts(evidence: Evidence) -> dict[str, Any]:
    """What a challenger or candidate gains on the champion, in points of MAE, and the whole comparison as a table."""
    table = pd.DataFrame([(name, str(value)) for name, value in evidence], columns=["evidence", "value"])
    return {
        "gain_over_champion": evidence.gain,
        "gain_over_champion_low": evidence.low,
        "gain_over_champion_high": evidence.high,
        "compared_rows": evidence.rows,
        "evidence": markdown_table(table),
    }


class ReleaseConfig(dg.Config):
    """What a model must beat besides the champion."""

    beat: str = Field(
        default="",
        description="A system of the platform whose predictions it must beat too, as platform_grades keeps them.",
    )


def beaten_facts(beaten: Evidence | None) -> dict[str, Any]:
    """What a model gains on what a system of the platform predicted; nothing if none was named."""
    if beaten is None:
        return {}
    return {
        "beat": beaten.champion,
        "gain_over_production": beaten.gain,
        "gain_over_production_low": beaten.low,
        "gain_over_production_high": beaten.high,
    }


def conditions_table(conditions: Sequence[Condition]) -> dg.MarkdownMetadataValue:
    """Each condition of a promotion or a backtest, whether it is met, and the numbers."""
    rows = [(c.name, "yes" if c.met else "no", c.detail) for c in conditions]
    return markdown_table(pd.DataFrame(rows, columns=["condition", "met", "found"]))
