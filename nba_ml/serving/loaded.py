"""The interface of a loaded model, of any system."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import datetime

from nba_ml.contract.features import FEATURE_VERSIONS, FeatureVersion
from nba_ml.serving.prediction import (
    ExplainedPrediction,
    Explanation,
    ModelIdentity,
    Prediction,
    Unexplained,
    explained,
)
from nba_ml.serving.rows import FeatureRows


@dataclass(frozen=True, slots=True)
class Loaded(ABC):
    """A verified, immutable model. Any number of threads may predict with it at once.

    `loaded_at` is when the checks passed. `newest_month` and the digest are '' for a rule, which has neither.
    """

    identity: ModelIdentity
    newest_month: str
    loaded_at: datetime

    @property
    def model_id(self) -> str:
        return self.identity.model_version

    @property
    def features(self) -> FeatureVersion:
        """What it reads."""
        return FEATURE_VERSIONS[self.identity.feature_version]

    @property
    def model_sha256(self) -> str:
        return self.identity.model_sha256

    @abstractmethod
    def predict(self, rows: FeatureRows) -> list[Prediction]:
        """The records (n,) of rows that keep the contract.

        Raises:
            BundleError: the model's output is not finite.
        """

    @abstractmethod
    def contributions(self, rows: FeatureRows) -> list[Explanation | Unexplained]:
        """What each feature contributes to the model's output for rows (n,)."""

    def explain(self, rows: FeatureRows) -> list[ExplainedPrediction]:
        """The records (n,), as `predict` makes them, each with its explanation. A thousand times slower than that.

        Raises:
            BundleError: the model's output is not finite.
        """
        parts = self.contributions(rows) if len(rows.features) else []
        return [explained(record, part) for record, part in zip(self.predict(rows), parts, strict=True)]
