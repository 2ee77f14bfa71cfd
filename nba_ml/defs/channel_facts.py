"""What `champion` and `rollout` record of a channel's state.

Apart from the assets: the process that records a move imports this, and importing the assets takes longer than a move.
"""

from typing import Any

import dagster as dg

from nba_ml.contract.digest import bytes_digest
from nba_ml.contract.model_id import month_of_model, system_of_model
from nba_ml.evaluation.report.addresses import card_address
from nba_ml.registry.channel import Channel


def channel_version(channel: Channel) -> str:
    """The data version of `champion` and `rollout`: the digest of the channel's state."""
    return bytes_digest(channel.to_bytes())


def channel_facts(channel: Channel) -> dict[str, Any]:
    """Who serves, and since when, with the champion's card if it is a model of ours."""
    champion = channel.champion.model_id
    month, system = month_of_model(champion), system_of_model(champion)
    return {
        "serial": channel.serial,
        "champion": champion,
        **(
            {"champion_card": dg.MetadataValue.md(f"[The model card]({card_address(month, system)})")}
            if month and system
            else {}
        ),
        "challenger": channel.challenger.model_id if channel.challenger else "none",
        "challenger_share": channel.share,
        "moved_by": channel.kind,
        "moved_at": dg.MetadataValue.timestamp(channel.moved_at),
    }
