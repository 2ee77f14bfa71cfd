"""What the assets of the release group record of the channel, and of a comparison."""

from typing import Any

import dagster as dg
import pandas as pd

from nba_ml.assets.recording import markdown_table
from nba_ml.core.channel import Channel, Evidence


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


def channel_facts(channel: Channel) -> dict[str, Any]:
    """Who serves, and since when."""
    return {
        "serial": channel.serial,
        "champion": channel.champion.model_id,
        "challenger": channel.challenger.model_id if channel.challenger else "none",
        "challenger_share": channel.share,
        "moved_by": channel.kind,
        "moved_at": dg.MetadataValue.timestamp(channel.moved_at),
    }
