"""Systems that are a formula. They have no model and no interval, and cannot have memorised results."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from nba_ml.contract.features import V2_33FEATURES, FeatureVersion
from nba_ml.model import baselines
from nba_ml.registry.systems.interface import NOTHING, Columns, Floats, TrainingExtent


@dataclass(frozen=True, slots=True)
class Rule:
    """A formula over feature columns, as a system."""

    system_id: str
    formula: Callable[[Columns], Floats]
    model_type: str = "rule"
    model_sha256: str = ""
    newest_month: str = ""
    extent: TrainingExtent = NOTHING
    calibration: None = None
    features: FeatureVersion = V2_33FEATURES

    @property
    def version(self) -> str:
        """Its name. A changed formula must get a new name."""
        return self.system_id

    def predict(self, columns: Columns) -> Floats:
        """Points (n,), NaN before a player's first game of the season."""
        return self.formula(columns)


def moving_average(columns: Columns) -> Floats:
    """The platform's moving average: 0.5 of the last 5 games, 0.3 of the last 10, 0.2 of the season."""
    return 0.5 * columns["points_avg_last_5"] + 0.3 * columns["points_avg_last_10"] + 0.2 * columns["points_avg_season"]


RULES: Mapping[str, Rule] = {
    "moving_average": Rule("moving_average", moving_average),
    "mock": Rule("mock", baselines.mock, model_type="mock"),
}
"""System id -> rule. `mock` is what the platform served before it had a model; `model_type` marks its records."""
