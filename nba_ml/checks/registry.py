"""The only registry of monthly assets: how each is stored, and its checks.

The checks of a slate (`slate_predictions`) and the standing checks (`champion`) have no month: `defs` adds them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any

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
from nba_ml.contract.errors import OverrideError
from nba_ml.contract.systems import SYSTEMS, XGBOOST_V1, System
from nba_ml.contract.thresholds import Thresholds
from nba_ml.data.stored import FEATURES, SNAPSHOT, SPLIT, SUMMARY
from nba_ml.evaluation.stored import GRADES, PREDICTIONS
from nba_ml.model.stored import CHALLENGERS, METADATA, MODEL
from nba_ml.registry.artifact import ARTIFACT
from nba_ml.storage.months import StoredAsset


@dataclass(frozen=True, slots=True)
class MonthlyAsset:
    """An asset with one value a month. `checks` builds its checks from the limits; None if it has none."""

    stored: StoredAsset[Any]
    checks: Callable[[Thresholds], tuple[Check, ...]] | None = None


REGISTERED = (
    MonthlyAsset(SUMMARY),
    MonthlyAsset(FEATURES),
    MonthlyAsset(SNAPSHOT, feature_store_snapshot.checks),
    MonthlyAsset(SPLIT, train_split.checks),
    MonthlyAsset(MODEL, xgboost_model.checks),
    MonthlyAsset(METADATA, model_metadata.checks),
    MonthlyAsset(ARTIFACT, gcs_artifact.checks),
    MonthlyAsset(PREDICTIONS, predictions.checks),
    MonthlyAsset(GRADES, prediction_grades.checks),
    MonthlyAsset(CHALLENGERS),
)
"""In the order of the graph."""

STORED: Mapping[str, StoredAsset[Any]] = {
    stored.name: stored for system in SYSTEMS.values() for stored in (asset.stored.of(system) for asset in REGISTERED)
}
"""Asset name -> how its values are stored, for every system."""

_SHIPPED = Thresholds()


def all_checks(limits: Thresholds = _SHIPPED, systems: Iterable[System] = SYSTEMS.values()) -> tuple[Check, ...]:
    """The checks of the systems in graph order, with the given limits, on which the set of checks does not depend."""
    plain = [check for asset in REGISTERED if asset.checks for check in asset.checks(limits)]
    return tuple(
        _of_system(check, system)
        for system in systems
        for check in plain
        if not check.needs or check.needs in system.features.names
    )


def _of_system(check: Check, system: System) -> Check:
    threshold = check.threshold.replace(XGBOOST_V1.features.name, system.features.name)
    return replace(check, asset=system.asset(check.asset), threshold=threshold)


def blocking_checks(asset: str, limits: Thresholds = _SHIPPED) -> tuple[Check, ...]:
    """The checks of an asset that must pass before publication."""
    return tuple(check for check in all_checks(limits) if check.asset == asset and check.blocking)


OVERRIDABLE = tuple(check.key for check in all_checks() if check.consequence is Consequence.BLOCKS)
"""Checks that can be overridden. A check that stops the run is excluded, because it leaves nothing to publish."""


def require_overridable(key: str) -> None:
    """Do nothing if the check `asset.check` can be overridden.

    Raises:
        OverrideError: the check does not exist, does not block publication, or stops the run.
    """
    if key in OVERRIDABLE:
        return
    known = {check.key: check.consequence for check in all_checks()}
    if key in known:
        why = (
            f"{key} {known[key]} and cannot be overridden."
            if known[key] is Consequence.STOPS_RUN
            else (f"{key} {known[key]} and does not block publication, so there is nothing to override.")
        )
    else:
        close = get_close_matches(key, OVERRIDABLE, n=1)
        why = f"There is no check '{key}'." + (f" Did you mean {close[0]}?" if close else "")
    raise OverrideError(f"{why} Checks that can be overridden: {', '.join(OVERRIDABLE)}.")
