"""Drift of a month's player features against earlier seasons, measured by PSI.

Shared by the checks of two assets: the choice of reference rows and features, and the text of findings.
"""

from __future__ import annotations

import pyarrow as pa

from nba_ml.checks.check import CheckContext
from nba_ml.contract.features import FeatureVersion
from nba_ml.data.snapshot import Snapshot
from nba_ml.model.drift import population_stability_index

SNAPSHOT = "feature_store_snapshot"

SHARED_BY_A_TEAM = ("team", "opponent", "matchup")
"""Feature groups with one value per team. Thirty values a month are too few: their deciles differ by chance."""


Ranked = list[tuple[str, float]]
"""(feature, PSI), largest first."""


def same_month_of_earlier_seasons(context: CheckContext, newest: str = "9999-12") -> list[pa.Table]:
    """Non-empty samples of the same calendar month in earlier seasons, up to the month `newest`."""
    past = [
        each for each in context.months if each < context.month and each <= newest and each[-2:] == context.month[-2:]
    ]
    found = [context.load(SNAPSHOT, month) for month in past]
    return [each.table for each in found if isinstance(each, Snapshot) and each.table.num_rows]


def psi_of_features(reference: pa.Table, rows: pa.Table, version: FeatureVersion) -> Ranked:
    """PSI of every feature that is not shared by a team (see `SHARED_BY_A_TEAM`).

    Raises:
        ValueError: either table is empty.
    """
    psi = {
        feature.name: population_stability_index(
            reference.column(feature.name).to_numpy(), rows.column(feature.name).to_numpy()
        )
        for feature in version.features
        if feature.group not in SHARED_BY_A_TEAM
    }
    return sorted(psi.items(), key=lambda item: -item[1])


def moved(ranked: Ranked, limit: float) -> str:
    """Names of the features above the limit, or ''."""
    return ", ".join(name for name, psi in ranked if psi > limit)


def most_moved(ranked: Ranked) -> list[dict[str, object]]:
    """The five features with the largest PSI, for a finding."""
    return [{"feature": name, "PSI": round(psi, 3)} for name, psi in ranked[:5]]
