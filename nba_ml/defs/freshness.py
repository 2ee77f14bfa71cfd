"""When Dagster's UI shows an asset as stale.

Attached only where the source grows. The embedded data end in a June, and a policy on them would be red for ever.

The deadline is the 8th of each month after a month with games: the asset must have been materialised since the 1st.
From August to October there is no deadline, and Dagster goes by the last one, July's: nobody is alarmed in the
off-season. But it looks at an asset as a whole, at whichever of its months was materialised last: a backfill of an old
month makes it fresh. The standing check `retraining_ran` is the exact one.
"""

from collections.abc import Sequence
from datetime import timedelta

import dagster as dg

from nba_ml.contract.systems import SYSTEMS
from nba_ml.defs.schedules import NEW_YORK

HELD_FRESH = frozenset(
    {system.asset(name) for system in SYSTEMS.values() for name in ("feature_store_snapshot", "xgboost_model")}
    | {"champion"}
)

POLICY = dg.FreshnessPolicy.cron(
    deadline_cron="0 0 8 11,12,1-7 *", lower_bound_delta=timedelta(days=7), timezone=NEW_YORK
)


def with_freshness(
    assets: Sequence[dg.AssetsDefinition | dg.SourceAsset],
) -> list[dg.AssetsDefinition | dg.SourceAsset]:
    """The assets, those of `HELD_FRESH` with the policy."""
    return [
        asset.map_asset_specs(lambda spec: spec.replace_attributes(freshness_policy=POLICY))
        if isinstance(asset, dg.AssetsDefinition) and {key.to_user_string() for key in asset.keys} <= HELD_FRESH
        else asset
        for asset in assets
    ]
