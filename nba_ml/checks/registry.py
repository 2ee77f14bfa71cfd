"""Every check of a month. A module of checks is named here, and nowhere else.

The checks of a date's slate (`slate_predictions`) and the standing ones (`champion`) have no month: `definitions` takes
them as they are.
"""

from __future__ import annotations

from difflib import get_close_matches

from nba_ml.checks import (
    feature_store_snapshot,
    gcs_artifact,
    model_metadata,
    prediction_grades,
    predictions,
    train_split,
    xgboost_model,
)
from nba_ml.checks.check import Check, Consequence
from nba_ml.checks.thresholds import Thresholds
from nba_ml.core.errors import OverrideError

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


OVERRIDABLE = tuple(check.key for check in all_checks() if check.consequence is Consequence.BLOCKS)
"""The checks whose failure a person may accept. After one that stops the run there is nothing to publish."""


def require_overridable(key: str) -> None:
    """Pass silently if a person may accept a failure of the check `asset.check`.

    Raises:
        OverrideError: there is no such check, it does not block publication, or it stops the run.
    """
    if key in OVERRIDABLE:
        return
    known = {check.key: check.consequence for check in all_checks()}
    if key in known:
        why = (
            f"{key} {known[key]}: that cannot be overridden."
            if known[key] is Consequence.STOPS_RUN
            else (f"{key} {known[key]} and does not block publication: there is nothing to override.")
        )
    else:
        close = get_close_matches(key, OVERRIDABLE, n=1)
        why = f"There is no check '{key}'." + (f" Did you mean {close[0]}?" if close else "")
    raise OverrideError(f"{why} Checks that can be overridden: {', '.join(OVERRIDABLE)}.")
