"""Every check there is. A module of checks is named here, and nowhere else."""

from __future__ import annotations

from nba_ml.checks import feature_store_snapshot, model_metadata, train_split, xgboost_model
from nba_ml.checks.check import Check


def all_checks() -> tuple[Check, ...]:
    """The registry, in the order of the graph."""
    return (
        *feature_store_snapshot.CHECKS,
        *train_split.CHECKS,
        *xgboost_model.CHECKS,
        *model_metadata.CHECKS,
    )


def blocking_checks(asset: str) -> tuple[Check, ...]:
    """The checks of an asset that must have passed before anything is published."""
    return tuple(check for check in all_checks() if check.asset == asset and check.blocking)
