"""The process that records a move of the channel as a materialisation. `cli.recording` starts it.

It opens Dagster's instance, then reads the new state from its standard input. If that ends empty, nothing was moved,
and nothing is recorded.
"""

import sys

import dagster as dg

from nba_ml.defs.channel_facts import channel_facts, channel_version
from nba_ml.defs.internals import DATA_VERSION_TAG
from nba_ml.registry.channel import Channel
from nba_ml.runner.home import open_instance
from nba_ml.settings import Settings


def record(asset: str, command: str) -> None:
    """Record the state on standard input as a materialisation of `asset`, with the command that led to it."""
    with open_instance(Settings.from_environment()) as instance:
        data = sys.stdin.buffer.read()
        if not data:
            return
        state = Channel.from_bytes(data, "the state of the move")
        event = dg.AssetMaterialization(
            asset,
            description=f"{state.kind}: {state.reason}",
            metadata={**channel_facts(state), "reason": state.reason, "command": command},
            tags={DATA_VERSION_TAG: channel_version(state)},
        )
        instance.report_runless_asset_event(event)


if __name__ == "__main__":
    record(*sys.argv[1:])
