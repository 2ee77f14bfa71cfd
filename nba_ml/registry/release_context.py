"""The stores and limits that promotion and rollout work with."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from nba_ml.contract.features import V2_33FEATURES
from nba_ml.contract.thresholds import Thresholds
from nba_ml.data.stored import SNAPSHOT
from nba_ml.data.tables import snapshot_schema
from nba_ml.registry.external import ExternalLimits
from nba_ml.registry.promotion_rules import ReleaseLimits
from nba_ml.storage.months import MonthStore
from nba_ml.storage.objects import ObjectStore


@dataclass(frozen=True, slots=True)
class ReleaseContext:
    """The models, the months that they are graded on, and the limits for candidates."""

    objects: ObjectStore
    months: MonthStore
    limits: Thresholds
    threads: int | None = None

    @property
    def promotion(self) -> ReleaseLimits:
        """Limits for a candidate to become the champion."""
        return ReleaseLimits(self.limits.promotion_margin, self.limits.min_rows_to_promote, self.limits.bias)

    @property
    def external(self) -> ExternalLimits:
        """Limits for an external model before it serves."""
        return ExternalLimits(
            rows=self.limits.min_external_rows,
            margin=self.limits.external_margin,
            bias=self.limits.external_bias,
            spread=self.limits.min_external_spread,
            correlation=self.limits.min_external_correlation,
            leak_mae=self.limits.leak_mae,
        )

    def snapshots(self, first: str) -> dict[str, pa.Table]:
        """The stored snapshots of the months from `first` on ('' for all): month -> rows."""
        wanted = [month for month in self.months.stored(SNAPSHOT) if month >= first]
        columns = snapshot_schema(V2_33FEATURES).names  # without the rejects and results, which are stored separately
        loaded = {month: self.months.load(SNAPSHOT, month, columns) for month in wanted}
        return {month: value.table for month, value in loaded.items() if value is not None}
