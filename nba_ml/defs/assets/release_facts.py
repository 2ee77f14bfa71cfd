"""What the assets of the release group record of the channel, and of a comparison."""

from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg
import pandas as pd
from pydantic import Field

from nba_ml.contract.digest import bytes_digest
from nba_ml.contract.model_id import month_of_model
from nba_ml.defs.assets.recording import markdown_table
from nba_ml.defs.internals import silence_preview_warnings
from nba_ml.evaluation.report.addresses import card_address
from nba_ml.registry.channel import CHAMPION, Channel, Evidence
from nba_ml.registry.promotion_rules import Condition
from nba_ml.storage.objects import ObjectStore


def recorded_channel(
    objects: ObjectStore, channel: Channel | None, facts: Mapping[str, Any]
) -> dg.MaterializeResult[None]:
    """A materialisation whose data version is the channel's digest, with the facts and where the pointer lies.

    `objects`: where models are published. `channel`: None before the first champion.
    """
    with silence_preview_warnings():
        return dg.MaterializeResult(
            data_version=dg.DataVersion(channel_version(channel) if channel else "none"),
            metadata={**facts, "pointer": dg.MetadataValue.path(objects.uri(CHAMPION))},
        )


def channel_version(channel: Channel) -> str:
    """The data version of `champion` and `rollout`: the digest of the channel's state."""
    return bytes_digest(channel.to_bytes())


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


def channel_facts(channel: Channel) -> dict[str, Any]:
    """Who serves, and since when, with the champion's card if it is a model of ours."""
    month = month_of_model(channel.champion.model_id)
    return {
        "serial": channel.serial,
        "champion": channel.champion.model_id,
        **({"champion_card": dg.MetadataValue.md(f"[The model card]({card_address(month)})")} if month else {}),
        "challenger": channel.challenger.model_id if channel.challenger else "none",
        "challenger_share": channel.share,
        "moved_by": channel.kind,
        "moved_at": dg.MetadataValue.timestamp(channel.moved_at),
    }
