"""Jobs. Schedules and sensors will stand here too."""

from __future__ import annotations

import dagster as dg

from nba_ml.assets import CHAIN


def build_jobs() -> list[dg.UnresolvedAssetJobDefinition]:
    """The whole chain of a month, for the UI's job page and for schedules."""
    return [
        dg.define_asset_job(
            "monthly_chain",
            selection=dg.AssetSelection.assets(*CHAIN),
            description="Box scores of a month to its published model, with every check.",
        )
    ]
