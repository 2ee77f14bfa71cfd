"""Every check of a month. A module of checks is named here, and nowhere else.

The checks of a date's slate (`slate_predictions`) and the standing ones (`champion`) have no month: `definitions` takes
them as they are.
"""

from __future__ import annotations

from nba_ml.checks import (
    feature_store_snapshot,
    gcs_artifact,
    model_metadata,
    prediction_grades,
    predictions,
    train_split,
    xgboost_model,
)
from nba_ml.checks.check import Check
from nba_ml.contract.thresholds import Thresholds

_MODULES = (
    feature_store_snapshot,
    train_split,
    xgboost_model,
    model_metadata,
    gcs_artifact,
    predictions,
    prediction_grades,
)
"""In the order of the graph."""

_SHIPPED = Thresholds()


def all_checks(limits: Thresholds = _SHIPPED) -> tuple[Check, ...]:
    """The registry, in the order of the graph, under the given limits. No limit changes which checks there are."""
    return tuple(check for module in _MODULES for check in module.checks(limits))


def blocking_checks(asset: str, limits: Thresholds = _SHIPPED) -> tuple[Check, ...]:
    """The checks of an asset that must have passed before anything is published."""
    return tuple(check for check in all_checks(limits) if check.asset == asset and check.blocking)
