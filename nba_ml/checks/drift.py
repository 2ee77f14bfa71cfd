"""How far the players' features of a month have moved from those of earlier seasons, each by its PSI.

What two assets' rules share: which rows are a fair reference, which features are measured, and what is shown.
"""

from __future__ import annotations

import pyarrow as pa

from nba_ml.checks.check import CheckContext
from nba_ml.contract.features import V2_33FEATURES
from nba_ml.data.snapshot import Snapshot
from nba_ml.model.drift import population_stability_index

SNAPSHOT = "feature_store_snapshot"

SHARED_BY_A_TEAM = ("team", "opponent", "matchup")
"""Groups of features that a team's players share: thirty values a month, whose deciles differ by chance."""


Ranked = list[tuple[str, float]]
"""Features with their PSI, the largest first."""


def same_month_of_earlier_seasons(context: CheckContext, newest: str = "9999-12") -> list[pa.Table]:
    """The samples of the scene's calendar month in earlier seasons, up to the month `newest`, where there are any."""
    past = [
        each for each in context.months if each < context.month and each <= newest and each[-2:] == context.month[-2:]
    ]
    found = [context.load(SNAPSHOT, month) for month in past]
    return [each.table for each in found if isinstance(each, Snapshot) and each.table.num_rows]


def psi_of_features(reference: pa.Table, rows: pa.Table) -> Ranked:
    """PSI of every feature that is a player's own: a team's come in too few values for ten bins.

    Raises:
        ValueError: either table is empty.
    """
    psi = {
        feature.name: population_stability_index(
            reference.column(feature.name).to_numpy(), rows.column(feature.name).to_numpy()
        )
        for feature in V2_33FEATURES.features
        if feature.group not in SHARED_BY_A_TEAM
    }
    return sorted(psi.items(), key=lambda item: -item[1])


def moved(ranked: Ranked, limit: float) -> str:
    """The names of the features above the limit; '' if none is."""
    return ", ".join(name for name, psi in ranked if psi > limit)


def most_moved(ranked: Ranked) -> list[dict[str, object]]:
    """The five that moved most, as a finding shows them."""
    return [{"feature": name, "PSI": round(psi, 3)} for name, psi in ranked[:5]]
